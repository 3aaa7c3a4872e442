"""Every rpc that a person's call reaches, with what its proto allows and nobody should send.

A message is a sane one of which one to three fields are hostile, so that it gets far.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from tests.security.conftest import CREDENTIAL, Front
from tests.security.counts import count
from tests.security.rpcs import OUTSIDE, call, methods

# No answer to bad input: a crash, or what would be tried again.
NEVER = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.CANCELLED,
}
F = FieldDescriptor
HOSTILE_TEXTS = [
    *("", "a\x00b", "x" * 3_000, "x" * 200_000, "\U0010ffff\u202e", "\n", "' OR 1=1 --", "%s{}"),
    *(
        "../../etc/passwd",
        "{",
        '{"a": NaN}',
        '{"a": "\\u0000"}',
        '{"a": "\\ud800"}',
        '{"a": 1e999}',
    ),
    *("[" * 50_000, '{"a":' * 80 + "1" + "}" * 80, '{"a": ' + "9" * 5000 + "}", "[]", "null"),
]
HOSTILE_BYTES = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"x" * 300_000,
    b"[" * 50_000,
    b"&a [*a]",
    b"!!python/x y",
]
SANE_TEXTS = {
    "crew": "hello",
    "name": "hello",
    "inputs_json": '{"topic": "gRPC"}',
    "email": "somebody@example.org",
    "role": "viewer",
    "url": "https://example.org/",
    "policy_json": "{}",
    "definition_json": "{}",
}


def sane(field: FieldDescriptor) -> Any:
    if field.type == F.TYPE_STRING:
        if field.name in SANE_TEXTS:
            return SANE_TEXTS[field.name]
        return str(uuid.UUID(int=1)) if field.name.endswith("id") else ""
    return {F.TYPE_BYTES: b"{}", F.TYPE_BOOL: False}.get(field.type, 1)


def hostile(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([0, 99, -1, 2**31 - 1])
    if field.type == F.TYPE_STRING:
        return st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=50)
    if field.type == F.TYPE_BYTES:
        return st.sampled_from(HOSTILE_BYTES) | st.binary(max_size=50)
    if field.type == F.TYPE_BOOL:
        return st.booleans()
    if field.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE):
        return st.sampled_from([float("nan"), float("inf"), -1.0])
    unsigned = field.type in (F.TYPE_UINT32, F.TYPE_UINT64)
    bits = 32 if field.type in (F.TYPE_UINT32, F.TYPE_INT32, F.TYPE_SINT32) else 64
    most = 2 ** (bits if unsigned else bits - 1) - 1
    return st.sampled_from([0, most, most // 2, most // 2 + 1, 0 if unsigned else -most - 1])


def places(kind: Descriptor, depth: int = 0) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Yield the way to every scalar field of a message, through the messages in it."""
    for field in kind.fields:
        if field.message_type is None:
            yield (field,)
        elif depth < 3 and not field.message_type.GetOptions().map_entry:
            yield from ((field, *rest) for rest in places(field.message_type, depth + 1))


def put(message: Message, place: tuple[FieldDescriptor, ...], value: Any) -> None:
    for field in place[:-1]:
        inner = getattr(message, field.name)
        message = (inner[0] if inner else inner.add()) if field.is_repeated else inner
    if place[-1].is_repeated:
        getattr(message, place[-1].name).append(value)
    else:
        setattr(message, place[-1].name, value)


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor) -> Message:
    message = GetMessageClass(kind)()
    ways = list(places(kind))
    chosen = draw(st.lists(st.sampled_from(ways), min_size=1, max_size=3, unique_by=tuple))
    for place in ways:
        if place in chosen:
            put(message, place, draw(hostile(place[-1])))
        elif not any(field.containing_oneof for field in place):
            put(message, place, sane(place[-1]))
    return message


async def fuzzed(front: Front, method: MethodDescriptor, message: Message) -> grpc.StatusCode:
    outside = method.containing_service.name in OUTSIDE
    metadata = CREDENTIAL if outside else front.store.person
    return (await call(front, method, message, metadata))[0]


async def fuzz(front: Front, method: MethodDescriptor, examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(messages(method.input_type))
    def generate(message: Message) -> None:
        generated.append(message)

    generated: list[Message] = []
    generate()
    seen = [(await fuzzed(front, method, message), message) for message in generated]
    count("gRPC fuzz", len(seen))
    assert not [(code.name, str(message)[:500]) for code, message in seen if code in NEVER]


def names(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


TAKING_SOMETHING = [method for method in methods() if method.input_type.fields]


@pytest.mark.parametrize("method", TAKING_SOMETHING, ids=names)
async def test_no_message_is_answered_by_a_crash(front: Front, method: MethodDescriptor) -> None:
    await fuzz(front, method, 12)


@pytest.mark.long
@pytest.mark.parametrize("method", TAKING_SOMETHING, ids=names)
async def test_no_message_of_many_is_answered_by_a_crash(
    front: Front, method: MethodDescriptor
) -> None:
    await fuzz(front, method, 120)
