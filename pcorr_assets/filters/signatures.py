"""MinHash signatures: how alike two texts are, told from 256 bytes of each.

Belongs here: making signatures, how they are compared, and how they are cut into bands. Does
not belong here: the n-grams (`shingles`), and which documents are left out (`near_duplicates`).

Each of 512 slots of a signature is equal in two texts with the probability of their Jaccard
similarity (the n-grams they share, of all that they have): Broder 1997, by the fast similarity
sketching of Dahlgaard, Knudsen and Thorup, arXiv 1704.04370, in the package rensa. Of a
slot four bits are kept, which are equal by chance once in 16 times (b-bit minwise hashing, Li and
König, arXiv 0910.3349): with the same bytes, more slots of fewer bits tell more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.filters.shingles import ngram_hashes

if TYPE_CHECKING:
    from pcorr_assets.config import NearDuplicates

# What `pool_documents` notes of its signatures: their kind, or nothing.
KIND = "signatures"
SLOTS = 512
SIGNATURE_BYTES = SLOTS // 2
SEED = 1
# Which slots two texts share is fixed with these; another value is another kind of signature.
FORM = 1
BY_CHANCE = 1 / 16
# Of pairs as alike as the threshold, how many have a band in common at least.
BAND_RECALL = 0.99
WORDS_AT_ONCE = 1 << 20
# A row of slots as Python has it costs as much as so many words.
WORDS_A_ROW = 1 << 11


def signature_kind(near: NearDuplicates) -> str:
    """What signatures depend on beside the text, in words; those of two kinds do not compare."""
    version = _minhash().ALGORITHM_VERSION
    return f"{near.ngram}-grams, {SLOTS} slots, form {FORM}, rensa's version {version}"


def _minhash() -> Any:
    # Compiled, without types; loaded where it is used, since most pools need none.
    return import_module("rensa").RMinHash


def signatures(texts: Sequence[bytes], ngram: int) -> list[bytes | None]:
    """The signature of each text in valid UTF-8; None for one without a word."""
    found: list[bytes | None] = []
    first = size = 0
    for number, text in enumerate(texts):
        # A word of one character takes two bytes with its space, or three without.
        words = len(text) // 2 + WORDS_A_ROW
        if number > first and size + words > WORDS_AT_ONCE:
            found += _signatures(texts[first:number], ngram)
            first, size = number, 0
        size += words
    return found + _signatures(texts[first:], ngram)


def _signatures(texts: Sequence[bytes], ngram: int) -> list[bytes | None]:
    hashes, offsets = ngram_hashes(texts, ngram)
    rows = _minhash().digest_matrix_from_flat_token_hashes(hashes, offsets, SLOTS, SEED).to_rows()
    # The high bits of a least hash are mostly zero; a multiplication moves all bits up.
    slots = np.array(rows, np.uint32).reshape(len(texts), SLOTS) * np.uint32(0x9E3779B1)
    halves = (slots >> np.uint32(28)).astype(np.uint8)
    kept = halves[:, ::2] << np.uint8(4) | halves[:, 1::2]
    return [
        kept[number].tobytes() if offsets[number] < offsets[number + 1] else None
        for number in range(len(texts))
    ]


def bytes_of_band(jaccard: float) -> int:
    """Bytes of a band, of which there are `SIGNATURE_BYTES` // bytes: as many as leave
    `BAND_RECALL` of the pairs at the threshold with a band in common,
    1 - (1 - J^slots)^bands."""
    fitting = [
        size
        for size in range(1, SIGNATURE_BYTES + 1)
        if 1 - (1 - jaccard ** (2 * size)) ** (SIGNATURE_BYTES // size) >= BAND_RECALL
    ]
    return max(fitting)


def least_equal(jaccard: float) -> int:
    """How many slots of two texts as alike as `jaccard` are equal, those by chance included."""
    return math.ceil(SLOTS * (jaccard + (1 - jaccard) * BY_CHANCE) - 1e-9)


def equal_slots(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many slots are equal, row by row of signatures as arrays of bytes."""
    differ = ones ^ others
    first = np.count_nonzero(differ & np.uint8(0xF0), axis=1)
    return SLOTS - first - np.count_nonzero(differ & np.uint8(0x0F), axis=1)


def jaccard_of(equal: int) -> float:
    """The estimate of the similarity of two texts with so many equal slots; its standard error
    is about 0.014 at J = 0.8."""
    return max((equal / SLOTS - BY_CHANCE) / (1 - BY_CHANCE), 0.0)
