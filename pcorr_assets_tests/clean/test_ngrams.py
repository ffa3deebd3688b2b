"""n-grams are found where they stand, and nowhere else: against a search word by word."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.clean import words as words_module
from pcorr_assets.clean.ngrams import (
    LEAST_WORDS,
    MOST_ITEMS,
    Item,
    NgramSet,
    Search,
    anchor_words,
    ngrams_of,
)
from pcorr_assets.clean.words import plain, words_of

SPACELESS = "\u4e00\u4e8c\u3042\u0e01\u0e34"


def brute_words(text: str) -> list[str]:
    """The words of a text, character by character."""
    found: list[str] = []
    inside = False
    for character in plain(text):
        is_word = unicodedata.category(character)[0] in "LNM"
        if is_word and character in SPACELESS:
            found.append(character)
            inside = False
        elif is_word and inside:
            found[-1] += character
        elif is_word:
            found.append(character)
            inside = True
        else:
            inside = False
    return found


def brute_searched(item: Item, n: int) -> set[tuple[str, ...]]:
    found = set()
    for text in (*item.texts, *item.parts):
        words = brute_words(text)
        size = n if len(words) >= n else len(words)
        if size >= anchor_words(n):
            found |= {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
    return found


def brute_holds(text: str, ngrams: set[tuple[str, ...]]) -> bool:
    words = brute_words(text)
    return any(
        tuple(words[i : i + len(ngram)]) == ngram for ngram in ngrams for i in range(len(words))
    )


# Few words, so that texts have much in common.
TEXTS = st.lists(
    st.sampled_from(["a", "B", "b", "c\u00e9", "ce\u0301", "x7", *SPACELESS, "-", "_", "\n"]),
    max_size=40,
).map(" ".join)
ITEMS = st.lists(
    st.tuples(st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, max_size=2)), max_size=4
).map(
    lambda found: [
        Item(str(i), tuple(texts), tuple(parts)) for i, (texts, parts) in enumerate(found)
    ]
)


@settings(max_examples=150, deadline=None)
@given(ITEMS, ITEMS, st.lists(TEXTS, max_size=6), st.integers(5, 11))
def test_what_is_found_is_what_is_there(
    one: list[Item], other: list[Item], texts: list[str], n: int
) -> None:
    sets = {"t": NgramSet(n, {"one": ngrams_of(one, n), "other": ngrams_of(other, n)})}
    found = Search(sets).find(texts)["t"]
    wanted = [
        (number, benchmark)
        for number, text in enumerate(texts)
        for benchmark, items in enumerate((one, other))
        if any(brute_holds(text, brute_searched(item, n)) for item in items)
    ]
    assert list(found.pairs()) == wanted
    for hit in found.named(sets["t"]):
        (item,) = (i for i in (one if hit.benchmark == "one" else other) if i.name == hit.item)
        shown = plain(texts[hit.text])[hit.start : hit.stop]
        assert tuple(brute_words(shown)) in brute_searched(item, n)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_words_are_cut_as_character_by_character(texts: list[str]) -> None:
    texts = [text + " \u4e00\u0e34 end" for text in texts]
    known = {c for text in texts for c in plain(text)} - set(SPACELESS)
    spaceless = [c for c in known if any(a <= ord(c) <= b for a, b in words_module._SPACELESS)]
    if spaceless or any(ord(c) >= 0x323B0 or ord(c) in range(0xFE00, 0xFE10) for c in known):
        return
    found = words_of(texts)
    for number, text in enumerate(texts):
        own = slice(int(found.first[number]), int(found.first[number + 1]))
        cut = [
            plain(text)[start:stop]
            for start, stop in zip(found.start[own], found.stop[own], strict=True)
        ]
        assert cut == brute_words(text)


def test_equal_words_have_equal_hashes_wherever_they_stand() -> None:
    text = "one two " * 40_000 + "\u00e9 one"
    found = words_of(["two", text, "One, two; ONE"])
    names = ["two", *["one", "two"] * 40_000, "\u00e9", "one", "one", "two", "one"]
    by_name: dict[str, set[int]] = {}
    for name, value in zip(names, found.hashes.tolist(), strict=True):
        by_name.setdefault(name, set()).add(value)
    assert sorted(map(len, by_name.values())) == [1, 1, 1]
    assert len(set.union(*by_name.values())) == 3


def test_a_text_longer_than_a_piece_is_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "_LARGEST", 50)
    monkeypatch.setattr(words_module, "PIECE", 70)
    text = " ".join(f"w{i}" for i in range(200))
    cut = words_of([text, "x", text])
    monkeypatch.undo()
    whole = words_of([text, "x", text])
    for name in ("hashes", "first", "start", "stop"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


def test_short_items_are_counted_and_wording_of_tasks_is_left_alone() -> None:
    template = "which of these answers is the right one for the question asked above here"
    items = [Item(f"q/{i}", (f"{template} {'x' * (i + 1)} y z",)) for i in range(MOST_ITEMS + 1)]
    items.append(Item("q/short", ("seven words are too few to mean",)))
    items.append(Item("q/contained", ("eight words are looked for as a whole",)))
    found = ngrams_of(items, 13)
    assert (found.item_count, found.too_short) == (13, 1)
    assert found.common == 2  # the template has 14 words
    own = NgramSet(13, {"q": found})
    search = Search({"t": own})
    hits = search.find(
        [template, f"So: {template} XXX y.", "Eight words\nare looked for, as a WHOLE!", "eight"]
    )["t"].named(own)
    assert [(hit.text, hit.item) for hit in hits] == [(1, "q/2"), (2, "q/contained")]
    assert LEAST_WORDS == 8


PASSAGE = "In spring the river flooded the lower town twice before the dam of nineteen twelve held."


def test_a_passage_that_many_items_ask_about_is_searched() -> None:
    """It is no wording; a phrase that as many different questions begin with is."""
    phrase = "Which of the following sentences is the best short summary of what is said on"
    items = []
    for number in range(2 * MOST_ITEMS):
        question = f"{phrase} {'x' * (number + 1)} y?"
        items.append(Item(str(number), (f"{PASSAGE} Q: {question}",), (PASSAGE, question)))
    found = ngrams_of(items, 13)
    own = NgramSet(13, {"q": found})
    texts = [PASSAGE, phrase, f"{phrase} xxx y", "Q: which of the following sentences"]
    assert [pair[0] for pair in Search({"t": own}).find(texts)["t"].pairs()] == [0, 2]
    # Without knowing what the parts are, both are wording.
    bare = ngrams_of([Item(one.name, one.texts) for one in items], 13)
    assert bare.common > found.common
    assert not list(Search({"t": NgramSet(13, {"q": bare})}).find([PASSAGE])["t"].pairs())


def test_nothing_to_search_for_finds_nothing() -> None:
    empty = NgramSet(13, {})
    assert list(Search({"t": empty}).find(["some text"])["t"].pairs()) == []
    assert Search({}).find(["some text"]) == {}
    assert list(Search({"t": empty}).find([])["t"].pairs()) == []


def test_a_word_has_one_hash_however_long_it_is_and_whatever_stands_beside_it() -> None:
    words = [
        "".join("abcdefghij"[(i * i + size) % 10] for i in range(size)) for size in range(1, 200)
    ]
    words += [f"{word}\u00e9" for word in words]
    alone = words_of(words)
    assert alone.hashes.size == len(words)
    assert np.unique(alone.hashes).size == len(words)
    # In pieces with other characters, at other places, and in another order.
    beside = words_of([f"\u4e00 - {word}! \U0001d538 " for word in reversed(words)])
    assert np.array_equal(beside.hashes[1::3][::-1], alone.hashes)
    assert np.array_equal((beside.stop - beside.start)[1::3][::-1], list(map(len, words)))
