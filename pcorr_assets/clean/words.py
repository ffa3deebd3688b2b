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
from hashlib import blake2b

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
# Odd, so that multiplying by it loses nothing.
_BASE = 0x9E3779B97F4A7C15
# Pieces of this many characters stay in the cache of a core.
PIECE = 1 << 16
# Words of more bytes are hashed one by one; there are few of them.
_LONG = 128
_LARGEST = 1 << 20
# The lowest so many bytes of eight.
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
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
    utf8 = joined.encode("utf-8", "surrogatepass")
    if len(utf8) == len(joined):
        start, stop = _boundaries(np.frombuffer(utf8.translate(_ascii_kinds()), np.uint8))
        hashes = _hash(utf8, start, stop)
    else:
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        # Nothing behind the last code of the table is a word.
        start, stop = _boundaries(_kinds()[np.minimum(codes, np.uint32(_CODES))])
        place = _places_in_utf8(codes)
        hashes = _hash(utf8, place[start], place[stop])
    begins = np.cumsum([1, *(len(part) + 1 for *_, part in parts)])[:-1]
    own = np.searchsorted(begins, start, side="right") - 1
    offset = np.array([offset for _, offset, _ in parts], np.int64) - begins
    text = np.array([number for number, *_ in parts], np.int64)
    return _Piece(hashes, text[own], start + offset[own], stop + offset[own])


def _places_in_utf8(codes: NDArray[np.uint32]) -> Places:
    """The byte that each character begins at, and where the last one ends."""
    size = np.ones(codes.size, np.int64)
    for least in (0x80, 0x800, 0x10000):
        size += codes >= least
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])


def _hash(utf8: bytes, start: Places, stop: Places) -> Hashes:
    """A hash of each of these runs of bytes, from eight of them at a time.

    Runs of at most eight bytes, none of them 0, have different hashes.
    """
    size = stop - start
    padded = utf8 + bytes(16 - len(utf8) % 8)
    blocks = np.frombuffer(padded, "<u8")
    hashes = mixed(_eight(blocks, start) & _MASKS.take(np.minimum(size, 8)))
    done, going = 8, np.flatnonzero((size > 8) & (size <= _LONG))
    while going.size:
        mask = _MASKS.take(np.minimum(size[going] - done, 8))
        block = _eight(blocks, start[going] + done) & mask
        hashes[going] = mixed(hashes[going] * np.uint64(_BASE) + block)
        done += 8
        going = going[size[going] > done]
    for place in np.flatnonzero(size > _LONG).tolist():
        digest = blake2b(utf8[start[place] : stop[place]], digest_size=8).digest()
        hashes[place] = int.from_bytes(digest, "little")
    return hashes


def _boundaries(kind: NDArray[np.uint8]) -> tuple[Places, Places]:
    """Where words begin and end (exclusive), of characters of these kinds."""
    change = kind[1:] != kind[:-1]
    if kind.max() < _ALONE:
        places = np.flatnonzero(change) + 1
        return places[::2], places[1::2]
    alone = kind == _ALONE
    word = kind != _BETWEEN
    begins = np.flatnonzero(word[1:] & (change | alone[1:])) + 1
    ends = np.flatnonzero(word[:-1] & (change | alone[:-1])) + 1
    return begins, ends


def _eight(blocks: Hashes, place: Places) -> Hashes:
    """The eight bytes from each of these places on, of bytes as blocks of eight."""
    block = place >> 3
    shift = ((place & 7) << 3).astype(np.uint64)
    found = blocks.take(block) >> shift
    # A shift by 64 is none in C, so that of no bytes of the next block is made in two.
    found |= (blocks.take(block + 1) << np.uint64(1)) << (np.uint64(63) - shift)
    return found


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    """The kind of each character."""
    kinds = np.zeros(_CODES + 1, np.uint8)
    for code in range(_CODES):
        if unicodedata.category(chr(code))[0] in "LNM" and code not in _DRAWN:
            kinds[code] = _SPACED
    for first, last in _SPACELESS:
        alone = kinds[first : last + 1]
        alone[alone == _SPACED] = _ALONE
    return kinds


@lru_cache(maxsize=1)
def _ascii_kinds() -> bytes:
    """The same of each byte of an ASCII text."""
    return _kinds()[:256].tobytes()
