"""The n-grams of words that a text consists of, each as a hash of 64 bits.

Belongs here: what a word is, and hashes of words that follow each other, the same on every
machine and in every version of Python and numpy. Does not belong here: what the hashes are
compared for (`signatures`).

A word is a run of letters, digits and characters beyond ASCII; case of ASCII letters does not
count. Scripts that are written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
have no such runs: there each character is a word. All of it is done on the bytes of many texts
at once, since a loop over words would take longer than the filters do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from pcorr_assets.filters.tokens import pieces_of

# So much is worked on at once that the arrays of it stay in the processor's caches.
BATCH_BYTES = 1 << 17
WORD_BASE = 0x9E3779B97F4A7C15
NGRAM_BASE = 0xC2B2AE3D27D4EB4F
_MASK = (1 << 64) - 1
_SPACE = 0x20
_LETTERS = bytes(range(0x30, 0x3A)) + bytes(range(0x61, 0x7B)) + bytes(range(0x80, 0x100))
_FOLDED = bytes(
    byte if byte in _LETTERS else byte + 0x20 if 0x41 <= byte <= 0x5A else _SPACE
    for byte in range(0x100)
)


def ngram_hashes(texts: Sequence[bytes], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all n-grams of `length` words, text by text, and where each text's begin.

    Texts are valid UTF-8. A text of fewer words than `length` has one n-gram, of all of its
    words; one without a word has none. The second array has one entry more than there are texts.
    """
    words, counts = _words_of_texts(texts)
    # Short texts are filled up, so that every text with a word has an n-gram.
    slots = np.where(counts > 0, np.maximum(counts, length), 0)
    starts = np.concatenate([[0], np.cumsum(slots)])
    if (slots != counts).any():
        filled = np.zeros(starts[-1], np.uint64)
        offset = np.repeat(starts[:-1] - (np.cumsum(counts) - counts), counts)
        filled[np.arange(len(words)) + offset] = words
        words = filled
    begins = len(words) - length + 1
    if begins <= 0:
        return np.zeros(0, np.uint64), np.zeros(len(texts) + 1, np.int64)
    hashes = np.zeros(begins, np.uint64)
    for place in range(length):
        hashes *= np.uint64(NGRAM_BASE)
        hashes += words[place : place + begins]
    # An n-gram must not reach into the next text.
    inside = np.ones(begins, bool)
    for end in starts[1:-1]:
        inside[max(end - length + 1, 0) : end] = False
    ngrams = np.where(slots > 0, slots - length + 1, 0)
    return _mixed(hashes[inside]), np.concatenate([[0], np.cumsum(ngrams)]).astype(np.int64)


def _words_of_texts(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the words of all texts, and how many words each text has."""
    hashes, counts = [np.zeros(0, np.uint64)], np.zeros(len(texts), np.int64)
    for first, ends, joined in _batches(texts):
        found, begins = _words(joined)
        hashes.append(found)
        counts[first : first + len(ends)] += np.diff(np.searchsorted(begins, ends), prepend=0)
    return np.concatenate(hashes), counts


def _batches(texts: Sequence[bytes]) -> Iterator[tuple[int, list[int], bytes]]:
    """Texts joined up to `BATCH_BYTES`: the first of them, where each ends, and the bytes.

    A larger text comes in pieces, so that memory grows with its words and not with its bytes.
    """
    waiting: list[bytes] = []
    first = size = 0
    for number, text in enumerate(texts):
        if waiting and size + len(text) >= BATCH_BYTES:
            yield _joined(first, waiting)
            waiting, size = [], 0
        if len(text) >= BATCH_BYTES:
            for piece in pieces_of(text, BATCH_BYTES):
                yield _joined(number, [piece])
            continue
        if not waiting:
            first = number
        waiting.append(text)
        size += len(text) + 1
    if waiting:
        yield _joined(first, waiting)


def _joined(first: int, texts: Sequence[bytes]) -> tuple[int, list[int], bytes]:
    ends = np.cumsum([len(text) + 1 for text in texts])
    return first, ends.tolist(), b" ".join(texts) + b" "


def _words(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the words of a text that ends with a space, and the byte that each begins at."""
    data = np.frombuffer(text.translate(_FOLDED), np.uint8)
    is_word = data != _SPACE
    begins = is_word.copy()
    begins[1:] &= ~is_word[:-1]
    if not text.isascii():
        data, is_word, begins = _beyond_ascii(data, is_word, begins)
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.zeros(0, np.uint64), starts
    powers, inverses = _powers(len(data))
    # Bytes as digits of a number to a base, modulo 2^64: differences of its sums are words.
    summed = np.cumsum(np.where(is_word, data, 0).astype(np.uint64) * powers)
    ends = np.append(starts[1:], len(data))
    before = np.where(starts > 0, summed[starts - 1], np.uint64(0))
    return _mixed((summed[ends - 1] - before) * inverses[starts]), starts


def _beyond_ascii(
    data: np.ndarray, is_word: np.ndarray, begins: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Punctuation beyond ASCII separates, and characters of scripts without spaces are words."""
    second = np.append(data[1:], np.uint8(_SPACE))
    # U+2000 to U+203F (dashes, quotes, the ellipsis), U+3000 to U+303F, U+FF00 to U+FF0F.
    separates = ((data == 0xE2) | (data == 0xE3)) & (second == 0x80)
    separates |= (data == 0xEF) & (second == 0xBC) & (np.append(second[1:], np.uint8(0)) < 0x90)
    is_separator = separates.copy()
    is_separator[1:] |= separates[:-1]
    is_separator[2:] |= separates[:-2]
    is_word = is_word & ~is_separator
    alone = ((data >= 0xE3) & (data <= 0xE9)) | (
        (data == 0xEF) & (second >= 0xA4) & (second <= 0xAB)
    )
    alone |= (data == 0xF0) & (second >= 0xA0) & (second <= 0xB2)
    alone |= (data == 0xE0) & (second >= 0xB8) & (second <= 0xBB)
    alone |= (data == 0xE1) & (
        (second == 0x80) | (second == 0x81) | (second == 0x82) | (second == 0x9E) | (second == 0x9F)
    )
    alone &= is_word
    after = np.zeros_like(alone)
    length = np.where(data == 0xF0, 4, 3)
    places = np.flatnonzero(alone)
    ends = places + length[places]
    after[ends[ends < len(data)]] = True
    begins = is_word.copy()
    begins[1:] &= ~is_word[:-1] | alone[1:] | after[1:]
    return data, is_word, begins


@cache
def _all_powers() -> tuple[np.ndarray, np.ndarray]:
    """Powers of the base and of its inverse modulo 2^64, for as many bytes as come at once."""
    count = BATCH_BYTES + 1
    base = np.full(count, WORD_BASE, np.uint64)
    inverse = np.full(count, pow(WORD_BASE, -1, _MASK + 1), np.uint64)
    base[0] = inverse[0] = 1
    return np.cumprod(base), np.cumprod(inverse)


def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    powers, inverses = _all_powers()
    return powers[:count], inverses[:count]


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Every bit of the input moves about half of the bits (the finaliser of MurmurHash3)."""
    hashes = hashes ^ (hashes >> np.uint64(33))
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    hashes ^= hashes >> np.uint64(33)
    return hashes
