"""One normaliser: what str.split() would do, and nothing that fastText could misread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.filters.normalise import normalise, normalise_utf8

SPACES = [chr(code) for code in range(0x3100) if chr(code).isspace()]

nasty_texts = st.lists(
    st.sampled_from([*SPACES, "\0", "a", "É", "日本", "…", "🙂", "\ud83d", "x__label__y"])
).map("".join)


@given(nasty_texts)
def test_equals_splitting_at_unicode_whitespace(text: str) -> None:
    expected = " ".join(text.replace("\0", " ").split())
    assert normalise(text) == expected.replace("\ud83d", "\ufffd")


@given(st.text())
def test_is_idempotent_and_one_line(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "\n" not in once
    assert normalise_utf8(once.encode()) == once.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n\nb\r\nc\td", "a b c d"),
        ("one </s> two", "one two"),
        ("__label__include yes __label__x", "yes"),
        ("my__label__ </s>x Case, kept!", "my__label__ </s>x Case, kept!"),
        (" \n\u3000 ", ""),
    ],
)
def test_words_of_fasttext_are_left_out(text: str, expected: str) -> None:
    assert normalise(text) == expected
