"""Findings on one LLM: they pass what LLMs give, and fail what is broken in one way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.plausibility.llms import (
    better_than_chance,
    losses_make_sense,
    tokens_fit_text,
)

CHUNKS = 40
BYTES = np.full(CHUNKS, 2000)


@pytest.mark.parametrize("bytes_per_token", [1.0, 1.5, 4.2, 12.0])
def test_tokens_of_languages_bytes_and_code_pass(bytes_per_token: float) -> None:
    tokens = (BYTES / bytes_per_token).astype(int)
    found = tokens_fit_text("a/llm", tokens, BYTES, np.zeros(CHUNKS, int))
    assert found.passed
    assert found.numbers["bytes per token"] == pytest.approx(bytes_per_token, rel=0.01)


@pytest.mark.parametrize("tokens", [8000, 50])
def test_too_many_or_too_few_tokens_are_noticed(tokens: int) -> None:
    found = tokens_fit_text("a/llm", np.full(CHUNKS, tokens), BYTES, np.zeros(CHUNKS, int))
    assert "a/llm has" in found.text
    assert "bytes a token" in found.text
    assert "unknown" not in found.text


def test_unknown_tokens_are_noticed() -> None:
    tokens = np.full(CHUNKS, 500)
    assert tokens_fit_text("a/llm", tokens, BYTES, np.full(CHUNKS, 5)).passed
    found = tokens_fit_text("a/llm", tokens, BYTES, np.full(CHUNKS, 100))
    assert found.text.startswith("20.0% of the tokens of a/llm are unknown")


def test_nothing_to_score_is_wrong() -> None:
    empty = np.zeros(CHUNKS, int)
    found = tokens_fit_text("a/llm", empty, BYTES, empty)
    assert found.wrong
    assert not found.passed


def losses(bpb: float, tokens: int = 500) -> np.ndarray:
    return np.full(CHUNKS, bpb * np.log(2) * BYTES[0] / tokens)


@given(st.floats(0.06, 7.9))
def test_the_bpb_of_the_sample_is_that_of_its_definition(bpb: float) -> None:
    found = losses_make_sense("a/llm", losses(bpb), np.full(CHUNKS, 500), BYTES, 0.05)
    assert found.passed
    assert found.numbers["BPB"] == pytest.approx(bpb)


@pytest.mark.parametrize(("bpb", "words"), [(9.0, "worse than guessing"), (0.01, "by heart")])
def test_impossible_losses_are_wrong(bpb: float, words: str) -> None:
    found = losses_make_sense("a/llm", losses(bpb), np.full(CHUNKS, 500), BYTES, 0.05)
    assert words in found.text
    assert found.wrong


def test_undefined_losses_beyond_what_the_matrix_takes_are_noticed() -> None:
    loss = losses(1.0)
    loss[:2] = np.nan
    tokens = np.full(CHUNKS, 500)
    assert losses_make_sense("a/llm", loss, tokens, BYTES, 0.05).passed
    loss[2] = np.nan
    found = losses_make_sense("a/llm", loss, tokens, BYTES, 0.05)
    assert found.text.startswith("7.5% of the losses of a/llm are undefined")
    assert not found.wrong
    assert found.numbers["BPB"] == pytest.approx(1.0)


def test_no_loss_at_all_is_noticed() -> None:
    loss = np.full(CHUNKS, np.nan)
    found = losses_make_sense("a/llm", loss, np.full(CHUNKS, 500), BYTES, 0.05)
    assert "100.0% of the losses" in found.text


def rows(**fields: Any) -> pa.Table:
    row = {
        "llm": "a/llm",
        "benchmark": "arc_easy",
        "metric": "acc,none",
        "higher_is_better": True,
        "score": 0.5,
        "error": 0.5,
        "stderr": 0.02,
    }
    return pa.Table.from_pylist([{**row, **fields}])


CHANCE = {"arc_easy": 0.25}


def test_an_llm_that_knows_something_passes() -> None:
    found = better_than_chance(rows(), CHANCE)
    assert found.passed
    assert found.numbers["arc_easy"] == "error 0.5, guessing 0.75"


@pytest.mark.parametrize("score", [0.25, 0.27, 0.23])
def test_an_error_like_that_of_guessing_is_noticed(score: float) -> None:
    found = better_than_chance(rows(score=score, error=1 - score), CHANCE)
    assert "no better than guessing (0.75" in found.text
    assert "a/llm" in found.text
    assert "arc_easy" in found.text


def test_an_error_worse_than_guessing_is_noticed() -> None:
    found = better_than_chance(rows(score=0.1, error=0.9), CHANCE)
    assert "worse than guessing (0.75): look for labels" in found.text


def test_a_scale_counts() -> None:
    found = better_than_chance(rows(score=0.4, error=0.5), {"arc_easy": 0.4})
    assert not found.passed
    assert found.numbers["arc_easy"] == "error 0.5, guessing 0.5"


def test_metrics_without_choices() -> None:
    perplexity = rows(metric="perplexity,none", higher_is_better=False, score=30.0, error=30.0)
    found = better_than_chance(perplexity, CHANCE)
    assert found.passed
    assert found.note == "Chance is not known for arc_easy."
    bytewise = rows(metric="bits_per_byte,none", higher_is_better=False, score=9.0, error=9.0)
    assert "worse than guessing (8)" in better_than_chance(bytewise, {}).text
    nothing = rows(metric="exact_match,strict", score=0.0, error=1.0)
    assert "score of 0 on arc_easy" in better_than_chance(nothing, {}).text


@given(st.floats(0.05, 0.95), st.integers(20, 2000), st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_a_guesser_is_never_better_than_chance_by_much(
    share: float, items: int, seed: int, chance: float
) -> None:
    """What passes lies below the error of guessing by the stated margin, and only that."""
    score = float(np.random.default_rng(seed).binomial(items, share)) / items
    stderr = (score * (1 - score) / items) ** 0.5
    found = better_than_chance(
        rows(score=score, error=1 - score, stderr=stderr), {"arc_easy": chance}
    )
    if abs(score - chance - 1.645 * stderr) > 1e-9:
        assert found.passed == (score > chance + 1.645 * stderr)


def test_texts_without_a_byte_are_no_error_of_arithmetic() -> None:
    nothing = np.zeros(2, np.int64)
    found = losses_make_sense("a", np.array([1.0, np.nan]), nothing, nothing, 0.5)
    assert found.passed
    assert "BPB" not in found.numbers
