"""Reliability against all splits into halves, and against what chance was put in."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.reliability import combined_reliability, rank_weights, reliability


def answers(
    seed: int, llm_count: int, item_count: int, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, K) of LLMs of differing ability (N,) on items of differing difficulty."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(size=llm_count)
    scores = ability[:, np.newaxis] + rng.normal(size=item_count) * 2
    return scores + noise * rng.normal(size=(llm_count, item_count)), ability


def test_it_is_the_mean_over_all_halves() -> None:
    scores, _ = answers(0, 9, 8, noise=1.5)
    halves = []
    for chosen in combinations(range(8), 4):
        one = np.isin(np.arange(8), chosen)
        a, b = scores[:, one].sum(axis=1), scores[:, ~one].sum(axis=1)
        halves.append(4 * np.cov(a, b)[0, 1] / np.var(a + b, ddof=1))
    assert reliability(scores) == pytest.approx(np.mean(halves))


def test_it_is_the_spearman_brown_formula_for_two_halves_of_equal_variance() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 40))
    a, b = ((x - x.mean()) / x.std() for x in (a, a + b))
    r = np.corrcoef(a, b)[0, 1]
    assert reliability(np.column_stack([a, b])) == pytest.approx(2 * r / (1 + r))


@pytest.mark.parametrize(("item_count", "noise"), [(20, 2.0), (100, 10.0), (400, 1.0)])
def test_it_is_the_squared_correlation_with_ability(item_count: int, noise: float) -> None:
    scores, ability = answers(2, 4000, item_count, noise)
    truth = np.corrcoef(scores.mean(axis=1), ability)[0, 1] ** 2
    assert reliability(scores) == pytest.approx(truth, abs=0.02)


def test_scale_difficulty_and_undefined_items_do_not_matter() -> None:
    scores, _ = answers(3, 12, 30)
    value = reliability(scores)
    assert reliability(5 - 3 * scores) == pytest.approx(value)
    assert reliability(scores + np.arange(30)) == pytest.approx(value)
    odd = np.column_stack([scores, np.full(12, np.nan)])
    odd[3, -1] = 1.0
    assert reliability(odd) == pytest.approx(value)


def test_what_says_nothing_has_none() -> None:
    scores, _ = answers(4, 12, 30)
    assert reliability(scores[:5]) is None
    assert reliability(scores[:, :1]) is None
    assert reliability(np.tile(scores[0], (12, 1))) is None
    assert reliability(np.tile(np.arange(6) / 3, (12, 1))[:, ::-1]) is None
    with pytest.raises(PcorrError, match="expected LLMs by items"):
        reliability(scores[0])


def test_several_benchmarks_have_the_reliability_that_their_errors_have() -> None:
    """Squared correlation of the noisy means with the true ones, of very many LLMs."""
    rng = np.random.default_rng(5)
    truth = rng.multivariate_normal([0, 0, 0], [[1, 0.5, 0], [0.5, 1, 0.2], [0, 0.2, 4]], 100_000)
    noise = np.array([0.5, 2.0, 1.0])
    errors = truth + noise * rng.normal(size=truth.shape)
    each = [np.corrcoef(errors[:, b], truth[:, b])[0, 1] ** 2 for b in range(3)]
    whole = np.corrcoef(errors.mean(axis=1), truth.mean(axis=1))[0, 1] ** 2
    assert combined_reliability(errors, each) == pytest.approx(whole, abs=0.01)
    assert combined_reliability(errors[:, :1], each[:1]) == pytest.approx(each[0])
    assert combined_reliability(errors[:5], each) is None
    assert combined_reliability(np.ones((9, 2)), [0.5, 0.5]) is None


def test_weights_are_those_of_the_best_linear_combination() -> None:
    """Bartlett's weights are the regression of the common part, when a fifth is not common."""
    reliable = np.array([0.95, 0.6, 0.3])
    loadings = (0.8 * reliable) ** 0.5
    covariance = np.outer(loadings, loadings) + np.diag(1 - loadings**2)
    best = np.linalg.solve(covariance, loadings)
    assert rank_weights(reliable) == pytest.approx(best / best.sum())
    assert rank_weights([0.7] * 4) == pytest.approx([0.25] * 4)
    # Estimates beyond what can be are taken for the limits.
    assert rank_weights([-0.5, 1.0]) == pytest.approx(rank_weights([0.05, 0.98]))
