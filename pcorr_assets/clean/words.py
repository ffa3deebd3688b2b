"""The words of texts as 64-bit hashes, many texts at once.

Belongs here: what counts as a word and when two are the same. Does not belong here: n-grams
(`ngrams`).

Text is brought to NFC and lower case. A word is an unbroken run of letters, digits and the
marks on them (Unicode categories L, N, M); all else, punctuation and white space alike, stands
between words, as in GPT-3's filter (Brown et al. 2020, appendix C). Where a script sets no
spaces between words (Han, Kana, Thai, Lao, Khmer, Burmese, Tibetan), each character is a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

# First and last character of scripts without spaces between words.
_SPACELESS = (
    (0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF),
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x323AF),
)  # fmt: skip
# Marks that choose how a symbol is drawn make no word.
_DRAWN = range(0xFE00, 0xFE10)
_CODES = 0x323B0
_BETWEEN, _SPACED, _ALONE = 0, 1, 2
# Odd, so that it has an inverse modulo 2^64.
_BASE = 0x9E3779B97F4A7C15
# Pieces of this many characters stay in the cache of a core, and bound what is kept of powers.
PIECE = 1 << 16
_LARGEST = 1 << 20
_END = "\n"


@dataclass(frozen=True)
class Words:
    """Words of texts, in their order.

    Attributes:
        hashes: (W,) equal words have equal hashes; of 10^7 different words two meet with
            probability 3 * 10^-6.
        first: (T + 1,) where the words of each text begin; the last is W.
        start, stop: (W,) the characters of each within its text as `plain` has it.
    """

    hashes: Hashes
    first: Places
    start: Places
    stop: Places


def plain(text: str) -> str:
    """The text in lower case and NFC, as its words are cut from."""
    lower = text.lower()
    return lower if lower.isascii() else unicodedata.normalize("NFC", lower)


def words_of(texts: Sequence[str]) -> Words:
    """The words of texts."""
    pieces: list[_Piece] = []
    waiting, size = [], 0
    for number, text in enumerate(map(plain, texts)):
        for offset, part in _parts(text):
            waiting.append((number, offset, part))
            size += len(part) + 1
            if size >= PIECE:
                pieces.append(_words_of_piece(waiting))
                waiting, size = [], 0
    pieces.append(_words_of_piece(waiting))
    number = np.concatenate([piece.text for piece in pieces])
    return Words(
        np.concatenate([piece.hashes for piece in pieces]),
        np.searchsorted(number, np.arange(len(texts) + 1)),
        np.concatenate([piece.start for piece in pieces]),
        np.concatenate([piece.stop for piece in pieces]),
    )


def mixed(hashes: Hashes) -> Hashes:
    """Every bit depends on every bit (the finaliser of SplitMix64)."""
    found = hashes ^ (hashes >> np.uint64(30))
    found *= np.uint64(0xBF58476D1CE4E5B9)
    found ^= found >> np.uint64(27)
    found *= np.uint64(0x94D049BB133111EB)
    found ^= found >> np.uint64(31)
    return found


@dataclass(frozen=True)
class _Piece:
    hashes: Hashes
    text: Places
    start: Places
    stop: Places


def _parts(text: str) -> list[tuple[int, str]]:
    """A text in parts that are not too long, cut at a space where there is one, and their begin."""
    found, begin = [], 0
    while len(text) - begin > _LARGEST:
        cut = text.rfind(" ", begin, begin + _LARGEST) + 1
        cut = cut if cut > begin else begin + _LARGEST
        found.append((begin, text[begin:cut]))
        begin = cut
    return [*found, (begin, text[begin:])]


def _words_of_piece(parts: Sequence[tuple[int, int, str]]) -> _Piece:
    # A line end after each part, and one before all, so that every word has something around it.
    joined = _END + "".join(part + _END for _, _, part in parts)
    codes = (
        np.frombuffer(joined.encode(), np.uint8)
        if joined.isascii()
        else np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    )
    if codes.itemsize > 1:
        codes = np.minimum(codes, np.uint32(_CODES))  # nothing behind it is a word
    kinds, values = _tables()
    kind = kinds[codes]
    start, stop = _boundaries(kind)
    powers, inverses = _powers(max(codes.size, PIECE))
    sums = values[codes]
    sums *= powers[: codes.size]
    np.cumsum(sums, out=sums)
    # The character before a word is none of it: the sum up to there is that before the word.
    hashes = mixed((sums[stop - 1] - sums[start - 1]) * inverses[start])
    begins = np.cumsum([1, *(len(part) + 1 for *_, part in parts)])[:-1]
    own = np.searchsorted(begins, start, side="right") - 1
    offset = np.array([offset for _, offset, _ in parts], np.int64) - begins
    text = np.array([number for number, *_ in parts], np.int64)
    return _Piece(hashes, text[own], start + offset[own], stop + offset[own])


def _boundaries(kind: NDArray[np.uint8]) -> tuple[Places, Places]:
    """Where words begin and end (exclusive), of characters of these kinds."""
    change = kind[1:] != kind[:-1]
    if not (kind == _ALONE).any():
        places = np.flatnonzero(change) + 1
        return places[::2], places[1::2]
    alone = kind == _ALONE
    word = kind != _BETWEEN
    begins = np.flatnonzero(word[1:] & (change | alone[1:])) + 1
    ends = np.flatnonzero(word[:-1] & (change | alone[:-1])) + 1
    return begins, ends


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint8], Hashes]:
    """By character: its kind, and a number that stands for it (0 between words)."""
    kinds = np.zeros(_CODES + 1, np.uint8)
    for code in range(_CODES):
        if unicodedata.category(chr(code))[0] in "LNM" and code not in _DRAWN:
            kinds[code] = _SPACED
    for first, last in _SPACELESS:
        alone = kinds[first : last + 1]
        alone[alone == _SPACED] = _ALONE
    values = mixed(np.arange(1, _CODES + 2, dtype=np.uint64) * np.uint64(_BASE))
    values[kinds == _BETWEEN] = 0
    return kinds, values


@lru_cache(maxsize=1)
def _powers(size: int) -> tuple[Hashes, Hashes]:
    """Powers of the base and of its inverse, modulo 2^64, for pieces of at most `size`."""
    room = 1 << (size - 1).bit_length()
    found = []
    for base in (_BASE, pow(_BASE, -1, 1 << 64)):
        powers = np.full(room, np.uint64(base))
        powers[0] = 1
        found.append(np.cumprod(powers, dtype=np.uint64))
    return found[0], found[1]
