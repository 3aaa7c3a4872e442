"""Many texts in two arrays, which can be mapped from files and searched without being read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Names:
    """Texts one after the other as UTF-8: the n-th is text[offsets[n]:offsets[n + 1]].

    `find` needs them in the order of their bytes, in which DuckDB sorts.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[Any]) -> Names:
        """Return the texts as arrays; None is an empty text."""
        parts = ["" if text is None else str(text) for text in texts]
        encoded = [part.encode(errors="replace") for part in parts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(part) for part in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> str:
        return self._bytes(place).decode(errors="replace")

    def find(self, text: str) -> int | None:
        """Return the place of a text, or None."""
        wanted = text.encode(errors="replace")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._bytes(low) == wanted else None

    def _bytes(self, place: int) -> bytes:
        return self.text[self.offsets[place] : self.offsets[place + 1]].tobytes()
