"""Keys become partitions and file names: nothing may slip through, nothing may collide."""

from __future__ import annotations

import string
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pcorr_assets.config.keys import (
    MAX_SLUG_BYTES,
    check_llm_key,
    check_name_key,
    from_slug,
    llm_key_problem,
    name_key_problem,
    split_hub_key,
    to_slug,
)
from pcorr_assets.errors import PcorrError

LLM_CHARACTERS = string.ascii_letters + string.digits + "._/@+-"


@pytest.mark.parametrize(
    "key",
    [
        "EleutherAI/pythia-6.9b-deduped@step100000",
        "LLM360/Amber+amber2",
        "tiny-a",
        "a",
        "org/name@refs/pr/1",
        "0.5b",
    ],
)
def test_good_llm_keys_are_returned(key: str) -> None:
    assert check_llm_key(key) == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "expected a letter or digit"),
        ("a|b", "expected a letter or digit"),
        ("a\n", "expected a letter or digit"),
        ("é", "expected a letter or digit"),
        ("a b", "expected a letter or digit"),
        ("-a", "expected a letter or digit"),
        ("/etc/passwd", "expected a letter or digit"),
        ("../a", "expected a letter or digit"),
        ("a...b", "two dots in a row"),
        ("a/../b", "two dots in a row"),
        ("a//b", "every part between slashes"),
        ("a/./b", "every part between slashes"),
        ("a/", "every part between slashes"),
        ("org/a@x@y", "at most one '@'"),
        ("org/a@", "a revision starts with"),
        ("org/a@-x", "a revision starts with"),
        ("org/a@main", "write 'org/a'"),
        ("a/@x", "a name is missing"),
        ("a" * 200, "too long"),
        ("a/" * 60 + "a", "too long"),
    ],
)
def test_bad_llm_keys_are_refused_with_a_reason(key: str, reason: str) -> None:
    with pytest.raises(PcorrError, match="cannot be the key of an LLM") as caught:
        check_llm_key(key)
    assert reason in str(caught.value)


def test_the_longest_llm_key_has_the_longest_slug() -> None:
    assert len(to_slug(check_llm_key("a" * MAX_SLUG_BYTES))) == MAX_SLUG_BYTES < 200


@pytest.mark.parametrize("key", ["rpjv2", "a" * 100, "0", "A.b_c-d", "a..b"])
def test_good_name_keys_are_returned(key: str) -> None:
    assert check_name_key(key) == key


@pytest.mark.parametrize(
    "key", ["", "a" * 101, "a/b", "a@b", "a|b", "a...b", ".a", "_a", "a\n", "a b", "ä"]
)
def test_bad_name_keys_are_refused(key: str) -> None:
    with pytest.raises(PcorrError, match="cannot be a target"):
        check_name_key(key, "target")


@pytest.mark.parametrize("key", [None, 3, True, b"a"])
def test_keys_that_are_no_text_are_problems(key: object) -> None:
    assert llm_key_problem(key)
    assert name_key_problem(key)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("org/name", ("org/name", "main")),
        ("org/name@step1", ("org/name", "step1")),
        ("tiny-a", None),
        ("a/b/c", None),
        ("org/na--me", None),
        ("LLM360/Amber+amber2", None),
    ],
)
def test_hub_keys_are_split(key: str, parts: tuple[str, str] | None) -> None:
    assert split_hub_key(key) == parts


def test_slugs_as_they_stand_in_the_warehouse() -> None:
    assert to_slug("EleutherAI/pythia-6.9b@step1") == "EleutherAI%2Fpythia-6.9b%40step1"
    assert to_slug("LLM360/Amber+amber2") == "LLM360%2FAmber%2Bamber2"
    assert to_slug("100%") == "100%25"
    assert to_slug("..") == "%2E."
    assert to_slug("é") == "%C3%A9"


@given(
    st.text(
        st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" \0\n"),
        min_size=1,
        max_size=60,
    )
)
def test_any_slug_is_a_safe_file_name_and_gives_its_key_back(key: str) -> None:
    try:
        slug = to_slug(key)
    except PcorrError:
        assert not key.isascii()
        return
    assert from_slug(slug) == key
    assert slug.isascii()
    assert len(slug) < 200
    assert not slug.startswith(".")
    assert PurePosixPath("home", slug).parts == ("home", slug)
    assert not set(slug) & set('/\\:*?"<>| \n\0')


@given(st.text(LLM_CHARACTERS, min_size=1, max_size=70), st.text(LLM_CHARACTERS, min_size=1))
def test_slugs_of_different_keys_differ(one: str, other: str) -> None:
    assume(one != other and len(other) < 65)
    assert to_slug(one) != to_slug(other)


@given(st.text(LLM_CHARACTERS + "|\n %", max_size=40))
def test_every_accepted_llm_key_has_a_slug_and_no_range(key: str) -> None:
    if llm_key_problem(key) is None:
        assert from_slug(to_slug(key)) == key
        assert "..." not in key
        assert "|" not in key
        assert key == key.strip()


@pytest.mark.parametrize("slug", ["", "a/b", "a%2fb", "%61", ".a", "a b", "%FF", "a%", "..", "é"])
def test_names_that_no_key_has_are_refused(slug: str) -> None:
    with pytest.raises(PcorrError, match="not a file name made of a key"):
        from_slug(slug)


@pytest.mark.parametrize("key", ["", "a" * 200, "/" * 67, "\ud800"])
def test_keys_without_a_slug_are_refused(key: str) -> None:
    with pytest.raises(PcorrError, match="file name"):
        to_slug(key)
