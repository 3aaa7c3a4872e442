"""What a document may hold, whatever its syntax."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from crewmesh.common.documents.places import Place, show_place
from crewmesh.common.errors import InvalidInputError, Violation

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 32
# Keys, items and single values together, what stands behind YAML's aliases included.
MAX_VALUES: Final = 20_000

REASON: Final = "INVALID_DOCUMENT"


def decode(content: bytes | str) -> str:
    """Return a document's text; raise InvalidInputError if it's too long or not UTF-8."""
    if isinstance(content, str):
        content = content.encode("utf-8", errors="surrogatepass")
    if len(content) > MAX_BYTES:
        raise refusal(
            [Violation(show_place(()), f"{len(content):,} bytes long; at most {MAX_BYTES:,}")]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = f"byte {error.start} is not UTF-8; save the file as UTF-8"
        raise refusal([Violation(show_place(()), fault)]) from None


def refusal(faults: list[Violation]) -> InvalidInputError:
    """Return the error for a text that is no document that we take."""
    return InvalidInputError(
        f"the document can't be read: {len(faults)} fault(s), each listed with its place",
        reason=REASON,
        violations=faults,
    )


def value_faults(value: Any, place: Place = ()) -> Iterator[Violation]:
    """Yield what in a value could not be stored and passed on unchanged."""
    if isinstance(value, str):
        if fault := text_fault(value):
            yield Violation(show_place(place), fault)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Violation(show_place(place), "not a finite number")
    elif isinstance(value, dict):
        for key, item in value.items():
            if fault := text_fault(key):
                shown = key.encode(errors="replace").decode().replace("\x00", "?")
                yield Violation(show_place((*place, shown)), f"in the key: {fault}")
            else:
                yield from value_faults(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from value_faults(item, (*place, index))


def text_fault(text: str) -> str | None:
    """Return why a text can't be stored, or None."""
    if "\x00" in text:
        return "holds a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair"
    return None
