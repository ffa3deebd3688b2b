# ruff: noqa: RUF001 (look-alike characters are the point of the nasty texts)
from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from pcorr_assets.errors import PcorrError
from pcorr_assets.text import chunking
from pcorr_assets.text.chunking import (
    chunk_id,
    chunk_pages,
    chunk_text,
    chunk_texts,
    find_cuts,
)
from pcorr_assets.text.sampling import Page

FAMILIES = ["byte-level", "word-piece", "byte-fallback", "unigram", "prefix-space"]
SIZES = [1, 7, 32, 512]
Tokenizers = dict[str, PreTrainedTokenizerFast]

ENGLISH = "In the beginning there was a plain sentence, and then there were many more of them. "
NASTY = [
    "",
    " ",
    "\n",
    "a",
    "  leading and trailing  ",
    "tabs\tand\r\nline\rends\n\n\n",
    " " * 700,
    "\n" * 100 + "end",
    "x" * 3000,
    "ab" * 2000 + " " + "c" * 50,
    "nul\x00inside\x00",
    "\ufeffbyte order mark",
    "zero\u200bwidth\u200djoiner\u2060word\u00adsoft",
    "👩‍👩‍👧‍👦 family 👍🏽 flag 🇩🇪🇫🇷",
    "😀" * 50,
    "e\u0301 combining " + "z" + "\u0300\u0301\u0302\u0303" * 20,
    "ﬁ ligature ﷺ ﷺﷺ ½ ℌ Å ｆｕｌｌ ①",
    "ﷺ" * 40,
    "İstanbul ıI ßẞ ŉ ǰ",
    "\u1100\u1161\u11a8 각 각",
    "مرحبا بالعالم שלום עולם",
    "私は学生です。漢字仮名交じり文" * 20,
    "สวัสดีชาวโลก नमस्ते दुनिया",
    "\u202eright to left\u202c",
    "private \ue000 unassigned \u0378 last \U0010ffff replacement \ufffd",
    "control \x01\x02\x1b[31m\x7f\x85\x9f",
    "line\u2028separator\u2029paragraph\x0b\x0c",
    "\xa0no\u2003break\u3000spaces\u202f",
    "specials <s></s><unk>[UNK][CLS]<|endoftext|> <0x41> ▁▁ Ġ ##ing",
    "https://example.org/a?b=c&d=%20#e " * 10,
    "def f(x):\n\treturn {'a': [1, 2.5e-3, None]}  # ünïcödé\n" * 5,
    "MiXeD cAsE ÀÉÎÕÜ àéîõü",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β → Ω",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 \U0001f9d1\U0001f3fe\u200d\U0001f4bb",
    ENGLISH * 30,
]


def brute_force_cuts(
    offsets: list[tuple[int, int]], length: int, chunk_tokens: int
) -> tuple[list[int], list[int]]:
    """The rule in words, token by token."""
    tokens = [(start, end) for start, end in offsets if end > start]
    is_legal = [
        all(end <= tokens[j][0] for _, end in tokens[:j]) if j < len(tokens) else True
        for j in range(len(tokens) + 1)
    ]
    ends, counts, i = [], [], 0
    while i < len(tokens):
        within = [j for j in range(i + 1, min(i + chunk_tokens, len(tokens)) + 1) if is_legal[j]]
        beyond = [j for j in range(i + chunk_tokens + 1, len(tokens) + 1) if is_legal[j]]
        j = within[-1] if within else beyond[0]
        ends.append(tokens[j][0] if j < len(tokens) else length)
        counts.append(j - i)
        i = j
    return (ends, counts) if tokens else ([length], [0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_joined_chunks_are_the_text(tokenizers: Tokenizers, family: str, size: int) -> None:
    tokenizer = tokenizers[family]
    for text, chunks in zip(NASTY, chunk_texts(NASTY, tokenizer, size), strict=True):
        assert "".join(chunk.text for chunk in chunks) == text
        assert all(chunk.text for chunk in chunks)
        offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        covering = [(s, e) for s, e in offsets["offset_mapping"] if e > s]
        assert sum(chunk.token_count for chunk in chunks) == len(covering)
        assert chunks == chunk_text(text, tokenizer, size)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("family", FAMILIES)
def test_cuts_of_real_texts_follow_the_rule(tokenizers: Tokenizers, family: str, size: int) -> None:
    for text in NASTY:
        if not text or len(text) > 500:
            continue
        offsets = tokenizers[family](text, return_offsets_mapping=True, add_special_tokens=False)[
            "offset_mapping"
        ]
        ends, counts = brute_force_cuts(offsets, len(text), size)
        chunks = chunk_text(text, tokenizers[family], size)
        assert [chunk.token_count for chunk in chunks] == counts
        assert list(np.cumsum([len(chunk.text) for chunk in chunks])) == ends


@st.composite
def offset_arrays(draw: st.DrawFn) -> NDArray[np.int64]:
    """Offsets that mostly advance, with repeats, overlaps and empty ones."""
    start, pairs = 0, []
    for step, width in draw(st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 4)))):
        start = max(start + step, 0)
        pairs.append((start, start + width))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@settings(max_examples=200)
@given(offsets=offset_arrays(), size=st.integers(1, 6), tail=st.integers(1, 3))
def test_find_cuts_equals_brute_force(offsets: NDArray[np.int64], size: int, tail: int) -> None:
    length = int(offsets.max(initial=0)) + tail
    pairs = [(int(start), int(end)) for start, end in offsets]
    assert find_cuts(offsets, length, size) == brute_force_cuts(pairs, length, size)


@settings(max_examples=40)
@given(data=st.data(), size=st.sampled_from(SIZES))
@pytest.mark.parametrize("family", FAMILIES)
def test_joined_chunks_are_any_text(
    tokenizers: Tokenizers, family: str, data: st.DataObject, size: int
) -> None:
    texts = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
    for text, chunks in zip(texts, chunk_texts(texts, tokenizers[family], size), strict=True):
        assert "".join(chunk.text for chunk in chunks) == text


def test_one_character_of_many_tokens_is_not_cut(tokenizers: Tokenizers) -> None:
    chunks = chunk_text("a😀b", tokenizers["byte-level"], 1)
    assert [chunk.text for chunk in chunks] == ["a", "😀", "b"]
    assert chunks[1].token_count > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_long_text_has_full_chunks_across_pieces(
    tokenizers: Tokenizers, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "PIECE_CHARS", 1000)
    text = ENGLISH * 200
    chunks = chunk_text(text, tokenizers[family], 20)
    assert "".join(chunk.text for chunk in chunks) == text
    # All but the last are full: no piece ended in the middle of a chunk.
    assert {chunk.token_count for chunk in chunks[:-1]} == {20}


@pytest.mark.parametrize("family", FAMILIES)
def test_long_nasty_text_is_kept(
    tokenizers: Tokenizers, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "PIECE_CHARS", 40)
    shuffled = random.Random(5).sample(NASTY, len(NASTY))
    text = "".join(shuffled)
    for size in (1, 5):
        chunks = chunk_text(text, tokenizers[family], size)
        assert "".join(chunk.text for chunk in chunks) == text
        assert all(chunk.text for chunk in chunks)


def test_pages_keep_order_and_numbering_across_portions(
    tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "PIECE_CHARS", 100)
    pages = [Page("short", None, "one two"), Page("long", "d", ENGLISH * 9), Page("last", "d", "x")]
    portions = list(chunk_pages(iter(pages), tokenizers["byte-level"], 10))
    assert [page.page_id for page, _, _ in portions][:2] == ["short", "long"]
    assert len(portions) > 3
    for page in pages:
        own = [(first, chunks) for found, first, chunks in portions if found is page]
        texts = [chunk.text for _, chunks in own for chunk in chunks]
        assert "".join(texts) == page.text
        assert [first for first, _ in own] == list(
            np.cumsum([0, *(len(chunks) for _, chunks in own[:-1])])
        )


def test_truncation_and_padding_of_the_tokenizer_do_not_matter(tokenizers: Tokenizers) -> None:
    inner = tokenizers["byte-level"].backend_tokenizer
    expected = chunk_text(ENGLISH * 3, tokenizers["byte-level"], 9)
    inner.enable_truncation(5)
    inner.enable_padding(length=64)
    assert chunk_text(ENGLISH * 3, tokenizers["byte-level"], 9) == expected


def test_lone_surrogate_and_bad_size_are_refused(tokenizers: Tokenizers) -> None:
    with pytest.raises(PcorrError, match="lone surrogate"):
        chunk_text("bad \ud800", tokenizers["byte-level"], 4)
    with pytest.raises(PcorrError, match="at least 1"):
        chunk_text("text", tokenizers["byte-level"], 0)


def test_chunk_ids_differ_by_page_index_and_text() -> None:
    parts = [
        ("p", 0, "text"),
        ("p", 1, "text"),
        ("q", 0, "text"),
        ("p", 0, "tex"),
        ("pt", 0, "ext"),
    ]
    names = {chunk_id(*part) for part in parts}
    assert len(names) == len(parts)
    assert all(len(name) == 32 for name in names)
    # Stored tables are compared by these names: a change of the rule must be noticed.
    assert chunk_id("p", 0, "text") == "a9a82d20e5e29493c13a982654ad8158"
