"""What no message may hold, wherever it goes: what couldn't be stored, or is no value of its type.

Protobuf takes any bytes as a Timestamp, any number as an enum's, and NUL in texts; Postgres and
Python don't. The server's interceptor asks here before a servicer sees a message, so that no servicer
has to. What a field means, and how long it may be, is its servicer's to judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from crewmesh.common.documents.places import WHOLE
from crewmesh.common.documents.values import text_fault
from crewmesh.common.errors import InvalidInputError, Violation

# Returns what is wrong with a value, or None.
_Check = Callable[[Any], str | None]

# Postgres counts with a sign.
_MOST_BY_TYPE: Final = {
    FieldDescriptor.TYPE_UINT32: 2**31 - 1,
    FieldDescriptor.TYPE_UINT64: 2**63 - 1,
}
_NANOS: Final = 1_000_000_000
# Well within what Python's and Postgres' intervals hold, and 300 years.
_MOST_SECONDS: Final = 10_000_000_000
# 0001-01-02 to 9999-12-30, so that no time zone leads out of the calendar.
_FIRST_SECOND: Final = -62_135_510_400
_LAST_SECOND: Final = 253_402_128_000
_WIRE_BYTES: Final = 2
# Of a field that isn't repeated; descriptors say it otherwise in every version of protobuf.
_SINGULAR: Final = (str, int, float, bytes, Message)


def check_message(message: Message) -> None:
    """Raise InvalidInputError with every fault of the message, each with its field's path."""
    if faults := list(_message_faults(message, "")):
        raise InvalidInputError(
            f"{len(faults)} field(s) hold what can't be taken", violations=faults
        )


def decoding(
    message_type: Descriptor, decode: Callable[[bytes], Message]
) -> Callable[[bytes], Any]:
    """Return `decode`, which for bytes that aren't such a message returns the error to raise."""

    def decode_or_say(content: bytes) -> Message | InvalidInputError:
        try:
            return decode(content)
        except DecodeError:
            faults = list(_text_faults(content, message_type, ""))
            return InvalidInputError(
                f"the request is no {message_type.full_name}",
                violations=faults or [Violation(WHOLE, "it can't be decoded")],
            )

    return decode_or_say


def _message_faults(message: Message, place: str) -> Iterator[Violation]:
    for field, value in message.ListFields():
        check = _check_of(field)
        if check is None:
            continue
        here = place + field.name
        if isinstance(value, _SINGULAR):
            yield from _value_faults(check, value, here)
        elif _is_map(field):
            yield from _map_faults(field, value, here)
        else:
            for index, item in enumerate(value):
                yield from _value_faults(check, item, f"{here}[{index}]")


def _value_faults(check: _Check, value: Any, place: str) -> Iterator[Violation]:
    if check is _look_inside:
        yield from _message_faults(value, place + ".")
    elif fault := check(value):
        yield Violation(place, fault)


def _map_faults(field: FieldDescriptor, entries: Any, place: str) -> Iterator[Violation]:
    assert field.message_type is not None
    key_field, value_field = field.message_type.fields
    check_key, check_value = _check_of(key_field), _check_of(value_field)
    for key in entries:
        if check_key is not None and (fault := check_key(key)):
            yield Violation(place, f"in a key: {fault}")
        elif check_value is not None:
            yield from _value_faults(check_value, entries[key], f"{place}.{key}")


@cache
def _check_of(field: FieldDescriptor) -> _Check | None:
    """Return how a field's values are checked; None where every value is fine."""
    if field.message_type is not None:
        return _CHECK_BY_MESSAGE.get(field.message_type.full_name, _look_inside)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text_fault
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return _float_fault
    if field.enum_type is not None:
        return _enum_check(field.enum_type)
    most = _MOST_BY_TYPE.get(field.type)
    return None if most is None else _integer_check(most)


def _look_inside(_message: Message) -> None:
    """Stand for a message, whose own fields are checked."""


@cache
def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _text_fault(text: str) -> str | None:
    # A text that was decoded is UTF-8, so holds no half of a surrogate pair.
    return text_fault(text) if "\x00" in text else None


def _float_fault(value: float) -> str | None:
    return None if math.isfinite(value) else "not a finite number"


def _enum_check(enum: EnumDescriptor) -> _Check:
    known = frozenset(enum.values_by_number)
    names = ", ".join(value.name for value in enum.values if value.number)
    return lambda value: None if value in known else f"{value} is none of {names}"


def _integer_check(most: int) -> _Check:
    return lambda value: None if value <= most else f"at most {most:,}"


def _timestamp_fault(moment: Any) -> str | None:
    if _FIRST_SECOND <= moment.seconds <= _LAST_SECOND and 0 <= moment.nanos < _NANOS:
        return None
    return "no time of the years 1 to 9999"


def _duration_fault(length: Any) -> str | None:
    seconds, nanos = length.seconds, length.nanos
    if abs(seconds) <= _MOST_SECONDS and abs(nanos) < _NANOS and seconds * nanos >= 0:
        return None
    return f"no length of time of at most {_MOST_SECONDS:,} s"


_CHECK_BY_MESSAGE: Final[dict[str, _Check]] = {
    "google.protobuf.Timestamp": _timestamp_fault,
    "google.protobuf.Duration": _duration_fault,
}


def _text_faults(content: bytes, message_type: Descriptor, place: str) -> Iterator[Violation]:
    """Yield which texts of a message's bytes aren't UTF-8."""
    try:
        unknown: Any = UnknownFieldSet(Empty.FromString(content))
    except DecodeError:
        return
    for found in unknown:
        field = message_type.fields_by_number.get(found.field_number)
        if field is None or found.wire_type != _WIRE_BYTES:
            continue
        here = place + field.name
        if field.message_type is not None:
            yield from _text_faults(found.data, field.message_type, here + ".")
        elif field.type == FieldDescriptor.TYPE_STRING and not _is_utf8(found.data):
            yield Violation(here, "not UTF-8, or it holds half of a surrogate pair")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
