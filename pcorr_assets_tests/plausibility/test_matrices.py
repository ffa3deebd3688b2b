"""Findings on all LLMs of a sample: coverage, and LLMs unlike the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.matrix.candidates import NOT_MATERIALISED, REMOVED
from pcorr_assets.plausibility.matrices import (
    MAX_DEVIATION,
    coverage_is_high,
    deviations,
    no_llm_is_unlike_the_others,
)
from pcorr_assets.warehouse import TABLES

LLMS = [f"org/llm-{index:02}" for index in range(20)]


def coverage(**other: str) -> pa.Table:
    """All LLMs are in, but those that are named in `other` with a reason."""
    reasons = {name.replace("llm_", "org/llm-"): reason for name, reason in other.items()}
    rows = [
        {
            "sample": "web",
            "llm": llm,
            "included": llm not in reasons,
            "chunk_count": None if reasons.get(llm) == NOT_MATERIALISED else 1000,
            "nan_count": 0,
            "reason": reasons.get(llm),
        }
        for llm in LLMS
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["matrix_coverage"].schema)


def test_full_coverage_passes() -> None:
    found = coverage_is_high(coverage(), LLMS, 1000, "chunk")
    assert found.passed
    assert found.numbers == {
        "LLMs expected": 20,
        "share of LLMs": 1.0,
        "chunks": 1000,
        "share of chunks": 1.0,
    }


def test_an_llm_that_is_still_to_come_is_no_warning_three_are() -> None:
    one = coverage(llm_03=NOT_MATERIALISED)
    assert coverage_is_high(one, LLMS, 1000, "chunk").passed
    three = coverage(llm_03=NOT_MATERIALISED, llm_04=NOT_MATERIALISED, llm_05=NOT_MATERIALISED)
    found = coverage_is_high(three, LLMS, 1000, "chunk")
    assert "17 of 20 LLMs are in the matrix" in found.text
    assert "org/llm-03, org/llm-04, org/llm-05" in found.text


def test_an_llm_that_was_refused_is_named_with_its_reason() -> None:
    found = coverage_is_high(coverage(llm_07="too many NaN"), LLMS, 1000, "chunk")
    assert found.problems == ("1 LLM not in the matrix: org/llm-07 (too many NaN).",)


def test_an_llm_that_was_removed_is_not_missed() -> None:
    gone = coverage(llm_07=REMOVED)
    assert coverage_is_high(gone, [x for x in LLMS if x != "org/llm-07"], 1000, "chunk").passed


def test_lost_chunks_are_noticed_and_blamed_on_the_llms_that_lost_them() -> None:
    rows = coverage().to_pylist()
    rows[4]["nan_count"] = 90
    table = pa.Table.from_pylist(rows, schema=TABLES["matrix_coverage"].schema)
    found = coverage_is_high(table, LLMS, 910, "chunk")
    assert "91.0% of 1,000 chunks are in the matrix" in found.text
    assert "org/llm-04 (90)" in found.text
    assert coverage_is_high(table, LLMS, 960, "chunk").passed


def panel(llms: int, units: int, seed: int) -> np.ndarray:
    """BPB of LLMs of different size (10 % apart) on texts of different difficulty."""
    rng = np.random.default_rng(seed)
    return np.exp(
        rng.normal(0, 0.3, units)
        + rng.normal(0, 0.1, llms)[:, None]
        + rng.normal(0, 0.05, (llms, units))
    )


def test_deviations_are_those_of_their_definition() -> None:
    X = panel(7, 31, 0)
    logs = np.log(X)
    off = [np.median([logs[i, u] - np.median(logs[:, u]) for u in range(31)]) for i in range(7)]
    centred = np.array(off) - np.median(off)
    spread = max(1.4826 * np.median(np.abs(centred)), 0.1)
    np.testing.assert_allclose(deviations(X), centred / spread, rtol=1e-12)


@given(st.integers(0, 500), st.floats(0.01, 100), st.integers(5, 40))
@settings(max_examples=40)
def test_scale_and_order_do_not_matter(seed: int, scale: float, llms: int) -> None:
    X = panel(llms, 25, seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(llms)
    np.testing.assert_allclose(deviations(X * scale), deviations(X), atol=1e-9)
    np.testing.assert_allclose(deviations(X[order]), deviations(X)[order], atol=1e-9)


def test_ordinary_llms_are_rarely_flagged() -> None:
    flagged = sum(
        not no_llm_is_unlike_the_others(panel(n, 40, seed), LLMS[:n], "page").passed
        for n in (5, 8, 12, 20)
        for seed in range(100)
    )
    assert flagged <= 4  # of 400


@pytest.mark.parametrize("llms", [5, 8, 16, 20])
@pytest.mark.parametrize("factor", [3.5, 1 / 3.5])
def test_a_broken_llm_is_flagged_and_no_other(llms: int, factor: float) -> None:
    for seed in range(20):
        X = panel(llms, 40, seed)
        X[2] *= factor
        (problem,) = no_llm_is_unlike_the_others(X, LLMS[:llms], "page").problems
        assert problem.startswith("org/llm-02: on the median page its BPB is")


def test_a_few_odd_pages_make_no_llm_odd() -> None:
    X = panel(12, 40, 1)
    X[3, :15] *= 10
    assert no_llm_is_unlike_the_others(X, LLMS[:12], "page").passed


def test_too_few_llms_are_not_compared() -> None:
    X = panel(4, 40, 1)
    X[0] *= 100
    found = no_llm_is_unlike_the_others(X, LLMS[:4], "page")
    assert found.passed
    assert "4 LLMs are too few" in found.note


def test_a_text_known_by_heart_breaks_nothing() -> None:
    X = panel(8, 40, 1)
    X[:, 0] = 0
    X[1] = 0
    found = no_llm_is_unlike_the_others(X, LLMS[:8], "page")
    assert [problem.partition(":")[0] for problem in found.problems] == ["org/llm-01"]


def test_the_published_matrix(published_data: Path) -> None:
    """One of 90, a small Finnish LLM on English pages; random weights stand far beyond it."""
    frame = pd.read_csv(published_data / "bpb_by_page.csv", index_col=0)
    X = frame.to_numpy().T
    found = no_llm_is_unlike_the_others(X, list(frame.columns), "page")
    assert len(found.problems) == 1
    assert "TurkuNLP/gpt3-finnish-small" in found.problems[0]
    # A GPT-2 vocabulary by uniform guessing: log2(50257) bits for 4.2 bytes.
    random_weights = np.full((1, X.shape[1]), np.log2(50257) / 4.2)
    assert deviations(np.vstack([X, random_weights]))[-1] > 2 * MAX_DEVIATION
