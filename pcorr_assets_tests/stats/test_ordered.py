"""Correlations on parts of the LLMs: bit by bit those of the estimator on those rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.stats import ordered
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.ordered import order_texts


@given(st.integers(0, 2**32 - 1), st.integers(4, 30), st.sampled_from([0, 1, 2, 9]))
def test_they_are_those_of_the_estimator(seed: int, count: int, digits: int) -> None:
    """Few digits make ties within and between texts."""
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(count, 40)), digits)
    errors = np.round(rng.normal(size=count), digits + 1) + 0.01 * np.arange(count)
    parts = [rng.permutation(count)[: rng.integers(3, count + 1)] for _ in range(5)]
    found = order_texts(X).correlations(errors, parts)
    for part, row in zip(parts, found, strict=True):
        expected = estimate_all(X, errors, ("spearmanr",), rows=part)["spearmanr"]
        np.testing.assert_array_equal(row, expected)


def test_an_independent_source_agrees() -> None:
    rng = np.random.default_rng(1)
    X, errors = rng.normal(size=(20, 6)), rng.normal(size=20)
    part = np.array([3, 1, 17, 8, 9, 12])
    (found,) = order_texts(X).correlations(errors, [part])
    expected = [
        np.corrcoef(*map(scipy.stats.rankdata, (X[part, t], errors[part])))[0, 1] for t in range(6)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_part_of_a_part_is_known_by_its_new_places() -> None:
    rng = np.random.default_rng(2)
    X, errors = rng.normal(size=(12, 9)), rng.normal(size=12)
    some = np.array([0, 2, 3, 5, 8, 11])
    rows = np.array([5, 1, 3, 0])
    (found,) = order_texts(X).part(some).correlations(errors[some], [rows])
    (expected,) = order_texts(X[some]).correlations(errors[some], [rows])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [130, 300])
def test_many_llms_need_larger_integers(count: int) -> None:
    rng = np.random.default_rng(3)
    X, errors = rng.normal(size=(count, 5)), rng.normal(size=count)
    (found,) = order_texts(X).correlations(errors, [np.arange(count)])
    np.testing.assert_array_equal(found, estimate_all(X, errors, ("spearmanr",))["spearmanr"])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    X, errors = rng.normal(size=(10, 500)).round(2), rng.normal(size=10)
    parts = [np.arange(5), np.arange(3, 10)]
    whole = order_texts(X).correlations(errors, parts)
    monkeypatch.setattr(ordered, "_BLOCK_ENTRIES", 70)
    monkeypatch.setattr(ordered, "_PARTS_ENTRIES", 100)
    np.testing.assert_array_equal(order_texts(X).correlations(errors, parts), whole)
