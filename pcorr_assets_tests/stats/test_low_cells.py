"""Cells that are lower than their LLM and text explain: found, and not too many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats import low_cells
from pcorr_assets.stats.low_cells import (
    estimate_without,
    find_low_cells,
    find_low_errors,
    residual_errors,
)


def matrix(
    seed: int, llm_count: int = 30, text_count: int = 200, heavy: bool = False
) -> np.ndarray:
    """BPB of LLMs of differing ability on texts of differing difficulty, and chance."""
    rng = np.random.default_rng(seed)
    shape = llm_count, text_count
    chance = rng.standard_t(3, shape) / 3**0.5 if heavy else rng.standard_normal(shape)
    logs = rng.normal(0, 0.1, (llm_count, 1)) + rng.normal(0, 0.3, text_count) + 0.02 * chance
    return np.exp(logs)


def planted(X: np.ndarray, seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The matrix with this share of its cells lowered by two fifths, and which they are."""
    seen = np.random.default_rng([seed, 1]).random(X.shape) < share
    return np.where(seen, 0.6 * X, X), seen


def marked(cells: low_cells.LowCells, shape: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(shape, dtype=bool)
    found[cells.rows, cells.columns] = True
    return found


def test_a_single_text_known_by_heart_is_found_with_what_was_expected() -> None:
    X = matrix(0)
    expected = X[7, 11]
    X[7, 11] *= 0.5
    cells = find_low_cells(X)
    assert (cells.rows.tolist(), cells.columns.tolist()) == ([7], [11])
    assert cells.expected[0] == pytest.approx(expected, rel=0.1)
    assert cells.deviation[0] < -20
    assert cells.reason is None


@pytest.mark.parametrize("heavy", [False, True])
def test_false_discoveries_stay_at_the_stated_rate(heavy: bool) -> None:
    shares, powers = [], []
    for seed in range(60):
        X, seen = planted(matrix(seed, heavy=heavy), seed, 0.005)
        found = marked(find_low_cells(X), X.shape)
        shares.append((found & ~seen).sum() / max(1, found.sum()))
        powers.append((found & seen).sum() / seen.sum())
    # The mean of 60 shares that are at most .05 on average: .05 and three standard errors.
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / 60**0.5
    assert np.mean(powers) > 0.9


def test_without_contamination_hardly_anything_is_found() -> None:
    found = [find_low_cells(matrix(seed)).rows.size for seed in range(60)]
    assert np.mean(np.array(found) > 0) <= 0.15


def test_cells_that_are_unexpectedly_high_are_no_contamination() -> None:
    X = matrix(1)
    X[3, 5] *= 2
    assert find_low_cells(X).rows.size == 0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = planted(matrix(2), 2, 0.01)
    whole = find_low_cells(X)
    monkeypatch.setattr(low_cells, "_BLOCK_ENTRIES", 7 * X.shape[0])
    parts = find_low_cells(X)
    assert whole.rows.size
    for name in ("rows", "columns", "expected", "deviation"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_the_order_of_llms_and_texts_does_not_matter() -> None:
    X, _ = planted(matrix(3), 3, 0.01)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(X.shape[0]), rng.permutation(X.shape[1])
    shuffled = marked(find_low_cells(X[rows][:, columns]), X.shape)
    assert np.array_equal(shuffled, marked(find_low_cells(X), X.shape)[rows][:, columns])


def test_what_cannot_be_said_has_a_reason() -> None:
    for few in (7, 2, 1):
        said = find_low_cells(matrix(0, few)).reason or ""
        assert f"{few} LLMs on 200 texts are too few" in said
    assert "19 texts" in (find_low_cells(matrix(0, 30, 19)).reason or "")
    exact = np.outer(np.arange(1.0, 11), np.arange(1.0, 31))
    assert "ability and text alone" in (find_low_cells(exact).reason or "")


@pytest.mark.parametrize("rate", [0, 1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(PcorrError, match="false-discovery rate"):
        find_low_cells(matrix(0), rate=rate)


def test_the_published_matrix_has_no_cell_that_stands_out(published: Any) -> None:
    assert find_low_cells(published.X).rows.size == 0


def test_the_estimate_without_cells_is_the_one_over_the_other_llms() -> None:
    X, seen = planted(matrix(4), 4, 0.02)
    errors = np.random.default_rng(5).random(X.shape[0])
    rows, columns = np.nonzero(seen)
    cells = low_cells.LowCells(rows, columns, np.empty(rows.size), np.empty(rows.size))
    found = estimate_without(X, errors, cells, "spearmanr")
    expected = [
        scipy.stats.spearmanr(X[~gone, column], errors[~gone])[0]
        for column, gone in enumerate(seen.T)
    ]
    assert seen.any(axis=0).sum() > 20
    assert found == pytest.approx(np.array(expected), abs=1e-12)


def test_a_text_that_keeps_too_few_llms_has_no_estimate() -> None:
    X, errors = matrix(6, 4, 30), np.array([0.1, 0.2, 0.3, 0.4])
    cells = low_cells.LowCells(np.array([0, 1]), np.array([2, 2]), np.ones(2), -np.ones(2))
    found = estimate_without(X, errors, cells, "spearmanr")
    assert np.flatnonzero(np.isnan(found)).tolist() == [2]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_errors_are_regressed_on_bpb_as_theil_and_sen_do(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    bpb = rng.standard_normal(count)
    errors = bpb + rng.standard_normal(count)
    x, y = (2 * scipy.stats.rankdata(values) - (count + 1) for values in (bpb, errors))
    slope = scipy.stats.theilslopes(y, x)[0]
    off = y - slope * x - np.median(y - slope * x)
    spread = 1.4826 * np.median(np.abs(off))
    expected = off / spread if spread else np.zeros(count)
    assert residual_errors(bpb, errors) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_an_llm_whose_errors_are_too_good_stands_out() -> None:
    rng = np.random.default_rng(7)
    bpb = np.sort(rng.random(30))
    errors = bpb + 0.02 * rng.standard_normal(30)
    errors[28] = 0.0
    found = residual_errors(bpb, errors)
    assert int(np.argmin(found)) == 28
    assert found[28] < -5
    assert np.delete(found, 28).min() > -5


def follow(seed: int, llm_count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean BPB and errors of LLMs in families of two, both made by ability."""
    rng = np.random.default_rng(seed)
    ability = np.repeat(rng.standard_normal(llm_count // 2), 2) + rng.standard_normal(llm_count)
    return ability, ability + noise * rng.standard_normal(llm_count)


@pytest.mark.parametrize("noise", [0.1, 0.4, 1.0])
def test_low_errors_by_chance_are_seldom_named(noise: float) -> None:
    named = [find_low_errors(*follow(seed, 30, noise)).rows.size > 0 for seed in range(200)]
    assert np.mean(named) <= 0.05


def test_llms_that_saw_the_benchmark_are_named_lowest_first() -> None:
    found = 0
    for seed in range(50):
        bpb, errors = follow(seed, 60, 0.3)
        # Two of the worst do as well as the best, one of them a little better.
        seen = np.argsort(bpb)[[-5, -3]]
        errors[seen] = errors.min() - np.array([0.1, 0.2])
        low = find_low_errors(bpb, errors)
        found += low.rows.tolist() == seen[::-1].tolist()
        assert (low.deviation < -low.allowed).all()
    assert found >= 45


def test_the_published_errors_have_one_llm_that_stands_out(published: Any) -> None:
    mean = published.X.mean(axis=1)
    named = {
        target: [published.names[row] for row in find_low_errors(mean, errors).rows]
        for target, errors in published.targets.items()
    }
    assert {target: names for target, names in named.items() if names} == {
        "arc_easy": ["Dampish/StellarX-4B-V0.2"]
    }


def test_an_llm_that_does_far_worse_is_not_named_and_few_llms_say_nothing() -> None:
    bpb, errors = follow(0, 40, 0.1)
    errors[np.argmin(bpb)] = errors.max() + 1
    assert find_low_errors(bpb, errors).rows.size == 0
    few = find_low_errors(bpb[:7], errors[:7])
    assert (few.rows.size, few.reason) == (
        0, "7 LLMs are too few to tell whose errors are unexpected",
    )  # fmt: skip
