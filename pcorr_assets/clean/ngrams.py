"""n-grams of benchmarks, and which texts hold one.

Belongs here: which n-grams of an item are searched, and the search. Does not belong here: what
is a word (`words`), items (`lm.benchmark_items`), and what becomes of a text that holds one.

Of a text of at least n words all n-grams are searched; of a shorter one, of at least
`LEAST_WORDS`, all of it. Shorter ones are too ordinary to say anything (8 words is the least in
GPT-3's filter, Brown et al. 2020, appendix C). What stands in more than `MOST_ITEMS` items of a
benchmark is how the task words its questions, not an item. A passage that many items ask about is
none of that: an n-gram that stands in parts of items counts once for each different part.

Each n-gram has two hashes of 64 bits: of its first words (the anchor), by which places are
found, and of all of its words. A text is hit only where both are equal; hashes of different
n-grams do so with probability 2^-128, for 10^7 n-grams in 10^13 words of text less than 10^-18.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pcorr_assets.clean.words import Hashes, Places, Words, mixed, words_of

LEAST_WORDS = 8
MOST_ITEMS = 10
_ANCHOR, _ALL = 0xD6E8FEB86659FD93, 0xA0761D6478BD642F
# Of so many places in the table at most one is taken by an n-gram.
_ROOM = 16


@dataclass(frozen=True)
class Item:
    """An item of a benchmark, by its name there.

    `texts` are what it asks, with and without each answer; `parts` what the task's wording stands
    around in them: a question, a passage, as the benchmark itself has them.
    """

    name: str
    texts: tuple[str, ...]
    parts: tuple[str, ...] = ()


@dataclass
class Ngrams:
    """What is searched of a benchmark: row by row an item, the words of an n-gram, its hashes.

    `too_short` counts items that have no text of `LEAST_WORDS` words, `common` the n-grams that
    stand in more than `MOST_ITEMS` items, or in as many different parts of items.
    """

    items: list[str] = field(default_factory=list)
    words: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    anchors: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    hashes: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    item_count: int = 0
    too_short: int = 0
    common: int = 0


def anchor_words(n: int) -> int:
    """How many words the anchor of an n-gram has."""
    return min(n, LEAST_WORDS)


def ngrams_of(items: Sequence[Item], n: int) -> Ngrams:
    """The n-grams that are searched of items; each once an item, in the order of the items."""
    texts = [text for item in items for text in (*item.texts, *item.parts)]
    texts_of_item = [len(item.texts) + len(item.parts) for item in items]
    owner = np.repeat(np.arange(len(items)), texts_of_item)
    words = words_of(texts)
    place, length, text = _searched(words, n)
    anchors = _hash_at(words.hashes, place, anchor_words(n), _ANCHOR)
    hashes = np.zeros(place.size, np.uint64)
    for size in np.unique(length).tolist():
        own = length == size
        hashes[own] = _hash_at(words.hashes, place[own], size, _ALL)
    item = owner[text]
    first = _first_pairs(item, hashes)
    first.sort()
    distinct, inverse = np.unique(hashes[first], return_inverse=True)
    in_parts = _different_parts(distinct, items, text, hashes)
    is_common = np.where(in_parts > 0, in_parts, np.bincount(inverse)) > MOST_ITEMS
    kept = first[~is_common[inverse]]
    return Ngrams(
        [items[number].name for number in item[kept].tolist()],
        length[kept],
        anchors[kept],
        hashes[kept],
        item_count=len(items),
        too_short=len(items) - np.unique(item).size,
        common=int(is_common.sum()),
    )


def _first_pairs(numbers: Places, hashes: Hashes) -> Places:
    """Where each pair of a number and a hash stands first, in the order of the pairs."""
    order = np.lexsort((hashes, numbers))
    numbers, hashes = numbers[order], hashes[order]
    is_new = np.ones(order.size, np.bool_)
    is_new[1:] = (numbers[1:] != numbers[:-1]) | (hashes[1:] != hashes[:-1])
    return order[is_new]


def _different_parts(
    distinct: Hashes, items: Sequence[Item], text: Places, hashes: Hashes
) -> NDArray[np.int64]:
    """In how many different parts of items each n-gram stands."""
    first: dict[str, int] = {}
    number = 0
    for one in items:
        number += len(one.texts)
        for part in one.parts:
            first.setdefault(part, number)
            number += 1
    is_new = np.zeros(number, np.bool_)
    is_new[list(first.values())] = True
    new = np.flatnonzero(is_new[text])
    pairs = new[_first_pairs(text[new], hashes[new])]
    return np.bincount(np.searchsorted(distinct, hashes[pairs]), minlength=distinct.size)


def _searched(words: Words, n: int) -> tuple[Places, Places, Places]:
    """First word, number of words and text of everything that is searched."""
    counts = np.diff(words.first)
    windows = np.where(counts >= n, counts - n + 1, (counts >= anchor_words(n)).astype(np.int64))
    text = np.repeat(np.arange(counts.size), windows)
    inside = np.arange(text.size) - np.repeat(np.cumsum(windows) - windows, windows)
    return words.first[text] + inside, np.minimum(counts[text], n), text


def _hash_at(words: Hashes, place: Places, size: int, base: int) -> Hashes:
    """The hash of `size` words from each of these places on."""
    found = np.zeros(place.size, np.uint64)
    for step in range(size):
        found *= np.uint64(base)
        found += words[place + step]
    return mixed(found)


def _rolling(words: Hashes, size: int, base: int) -> Hashes:
    """As `_hash_at`, of every place that has so many words: by doubling, in few passes."""
    if words.size < size:
        return np.empty(0, np.uint64)
    found: Hashes | None = None
    done, block, power, of_block = 0, words, base, 1
    while True:
        if size & of_block:
            if found is None:
                found, done = block, of_block
            else:
                room = min(found.size, block.size - done)
                found = found[:room] * np.uint64(power) + block[done : done + room]
                done += of_block
        if done == size:
            assert found is not None
            return mixed(found)
        block = block[:-of_block] * np.uint64(power) + block[of_block:]
        power = power * power % (1 << 64)
        of_block *= 2


@dataclass(frozen=True)
class Hit:
    """The first place of a text that an item of a benchmark has as well."""

    text: int
    benchmark: str
    item: str
    start: int
    stop: int


@dataclass(frozen=True)
class Found:
    """What was found in texts, for one set: pairs of text and benchmark, each once, in order."""

    texts: Places
    benchmarks: Places
    items: Places
    starts: Places
    stops: Places

    def pairs(self) -> Iterable[tuple[int, int]]:
        """Text and benchmark, by their numbers."""
        return zip(self.texts.tolist(), self.benchmarks.tolist(), strict=True)

    def named(self, ngrams: NgramSet) -> Iterable[Hit]:
        """With names; characters are those of the text as `words.plain` has it."""
        columns = (self.texts, self.benchmarks, self.items, self.starts, self.stops)
        for text, benchmark, row, start, stop in zip(*(c.tolist() for c in columns), strict=True):
            yield Hit(text, ngrams.benchmarks[benchmark], ngrams.items[row], start, stop)


class NgramSet:
    """n-grams of some benchmarks with the same n, ready to be searched.

    Memory: 40 bytes an n-gram and its item's name, and in a `Search` 16 to 32 bytes more.
    """

    def __init__(self, n: int, by_benchmark: Mapping[str, Ngrams]) -> None:
        self.n = n
        self.benchmarks = list(by_benchmark)
        parts = list(by_benchmark.values())
        benchmark = np.repeat(np.arange(len(parts)), [part.words.size for part in parts])
        empty = Ngrams()
        hashes = np.concatenate([empty.hashes, *(part.hashes for part in parts)])
        order = np.lexsort((benchmark, hashes))
        items = [item for part in parts for item in part.items]
        self.hashes = hashes[order]
        self.benchmark = benchmark[order]
        self.items = [items[number] for number in order.tolist()]
        self.words = np.concatenate([empty.words, *(part.words for part in parts)])[order]
        self.sizes: list[int] = np.unique(self.words).tolist()
        self.anchors = np.unique(np.concatenate([empty.anchors, *(p.anchors for p in parts)]))


class Search:
    """A search for the n-grams of several sets (of targets, say) in one pass over texts."""

    def __init__(self, sets: Mapping[str, NgramSet]) -> None:
        self._sets = dict(sets)
        sizes = sorted({anchor_words(one.n) for one in self._sets.values()})
        self._tables = {
            size: _Table([s.anchors for s in self._sets.values() if anchor_words(s.n) == size])
            for size in sizes
        }

    def find(self, texts: Sequence[str]) -> dict[str, Found]:
        """What each set has in common with each of the texts."""
        words = words_of(texts)
        places = {size: self._places(words, size, table) for size, table in self._tables.items()}
        return {
            name: _found(words, *places[anchor_words(one.n)], one)
            for name, one in self._sets.items()
        }

    def _places(self, words: Words, size: int, table: _Table) -> tuple[Places, Places]:
        """Places where some anchor of this size stands, and the text that each is in."""
        place = table.places(_rolling(words.hashes, size, _ANCHOR))
        text = np.searchsorted(words.first, place, side="right") - 1
        inside = place + size <= words.first[text + 1]
        return place[inside], text[inside]


class _Table:
    """Anchors, by a table of flags that most places of a text pass in one look."""

    def __init__(self, anchors: Sequence[Hashes]) -> None:
        self._anchors = np.unique(np.concatenate(anchors))
        bits = max(10, int(_ROOM * max(self._anchors.size, 1) - 1).bit_length())
        self._shift = np.uint64(64 - bits)
        self._flags = np.zeros(1 << bits, np.bool_)
        self._flags[self._anchors >> self._shift] = True

    def places(self, hashes: Hashes) -> Places:
        """Where one of the anchors stands."""
        place = np.flatnonzero(self._flags[hashes >> self._shift])
        return place[_member(self._anchors, hashes[place])]


def _member(of: Hashes, hashes: Hashes) -> NDArray[np.bool_]:
    if not of.size:
        return np.zeros(hashes.size, np.bool_)
    at = np.minimum(np.searchsorted(of, hashes), of.size - 1)
    return of[at] == hashes


def _found(words: Words, place: Places, text: Places, ngrams: NgramSet) -> Found:
    """Of places with an anchor those where all of an n-gram stands, the first of each kind."""
    columns: list[list[Places]] = [[], [], [], [], []]
    for size in ngrams.sizes:
        fits = place + size <= words.first[text + 1]
        at, of_text = place[fits], text[fits]
        hashes = _hash_at(words.hashes, at, size, _ALL)
        low = np.searchsorted(ngrams.hashes, hashes)
        count = np.searchsorted(ngrams.hashes, hashes, side="right") - low
        which = np.repeat(np.arange(at.size), count)
        row = low[which] + np.arange(which.size) - np.repeat(np.cumsum(count) - count, count)
        right = ngrams.words[row] == size
        which, row = which[right], row[right]
        stop = words.stop[at[which] + size - 1]
        for column, values in zip(
            columns,
            (of_text[which], ngrams.benchmark[row], row, words.start[at[which]], stop),
            strict=True,
        ):
            column.append(values)
    texts, benchmarks, rows, starts, stops = (
        np.concatenate([np.empty(0, np.int64), *column]) for column in columns
    )
    # The first place of a text for each benchmark, of several n-grams there the longest.
    order = np.lexsort((rows, -stops, starts, benchmarks, texts))
    pair = np.stack([texts[order], benchmarks[order]], 1)
    _, first = np.unique(pair, axis=0, return_index=True)
    chosen = order[first]
    return Found(*(values[chosen] for values in (texts, benchmarks, rows, starts, stops)))
