"""Texts as vectors, without a model: words and their parts, hashed.

Texts that share words, or parts of them, are near each other; synonyms are not. It needs no
weights and no network, takes microseconds, and is the same on every machine.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

# Stands with each vector in the store: others can't be compared with it.
EMBEDDER: Final = "hashing-1"
_DIMENSIONS: Final = 512
_WORD: Final = re.compile(r"\w+")
# A part of a word says less than the word.
_PART_WEIGHT: Final = 0.4
_PART_CHARACTERS: Final = 4


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return a vector of length 1 for each text; of zeros for one without words."""
    return [_embed(text) for text in texts]


def _embed(text: str) -> list[float]:
    vector = np.zeros(_DIMENSIONS)
    for feature, weight in _features(text):
        hashed = zlib.crc32(feature.encode())
        # The sign makes features that fall together cancel out rather than add up.
        vector[hashed % _DIMENSIONS] += weight if hashed & 0x8000_0000 else -weight
    length = float(np.linalg.norm(vector))
    return list((vector / length if length else vector).astype(float))


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word, count in Counter(_WORD.findall(text.casefold())).items():
        weight = 1 + float(np.log(count))
        yield word, weight
        padded = f"<{word}>"
        for start in range(len(padded) - _PART_CHARACTERS + 1):
            yield padded[start : start + _PART_CHARACTERS], weight * _PART_WEIGHT
