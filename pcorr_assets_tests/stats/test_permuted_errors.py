"""Estimates under permuted errors: what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.permuted_errors import permuted_estimates


def test_few_llms_give_every_permutation_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    X, errors = rng.normal(size=(4, 3)), rng.normal(size=4)
    estimates = permuted_estimates(X, errors, "spearmanr", permutations=400)
    assert estimates.shape == (400, 3)
    ranks = np.apply_along_axis(rankdata, 0, X)
    # Spearman's correlation of four different values: 1 - 6 sum d^2 / (4 * 15).
    possible = {
        tuple(np.round(1 - np.sum((ranks - order[:, None]) ** 2, axis=0) / 10, 9))
        for order in np.array(np.meshgrid(*[[1, 2, 3, 4]] * 4)).reshape(4, -1).T
        if len(set(order)) == 4
    }
    assert {tuple(row) for row in np.round(estimates, 9)} == possible


@pytest.mark.parametrize("estimator", ["product", "sign", "sign_cdf", "sign_sign", "spearmanr"])
def test_chance_is_centred_on_zero(estimator: str) -> None:
    rng = np.random.default_rng(1)
    X, errors = rng.normal(size=(20, 50)), rng.normal(size=20)
    estimates = permuted_estimates(X, errors - errors.mean(), estimator, permutations=2000)
    spread = estimates.std(axis=0)
    assert (np.abs(estimates.mean(axis=0)) < 5 * spread / np.sqrt(2000)).all()


def test_the_cost_is_bounded_and_the_seed_decides() -> None:
    rng = np.random.default_rng(2)
    X, errors = rng.normal(size=(8, 300)), rng.normal(size=8)
    whole = permuted_estimates(X, errors, "spearmanr", permutations=5, max_texts=300)
    part = permuted_estimates(X, errors, "spearmanr", permutations=5, max_texts=40)
    assert part.shape == (5, 40)
    assert whole.shape == (5, 300)
    again = permuted_estimates(X, errors, "spearmanr", permutations=5, max_texts=40)
    other = permuted_estimates(X, errors, "spearmanr", permutations=5, max_texts=40, seed=1)
    assert np.array_equal(part, again)
    assert not np.array_equal(part, other)


def test_no_permutation_is_refused() -> None:
    with pytest.raises(PcorrError, match="at least 1"):
        permuted_estimates(np.ones((3, 2)), np.arange(3.0), "spearmanr", permutations=0)
