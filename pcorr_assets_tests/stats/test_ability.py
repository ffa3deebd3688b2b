"""What overall ability leaves: projections, splines and normal scores against plain algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.interpolate
import scipy.stats

from pcorr_assets.stats.ability import ability_basis, normal_scores, residuals


def test_normal_scores_are_quantiles_of_average_ranks() -> None:
    values = np.array([3.0, 1.0, 3.0, 9.0, -2.0])
    expected = scipy.stats.norm.ppf((scipy.stats.rankdata(values) - 0.5) / 5)
    np.testing.assert_allclose(normal_scores(values), expected, atol=1e-14)


@pytest.mark.parametrize(("count", "columns"), [(8, 2), (29, 2), (30, 3), (45, 4), (90, 4)])
def test_the_curve_bends_as_often_as_there_are_llms_for(count: int, columns: int) -> None:
    basis = ability_basis(np.random.default_rng(count).normal(size=count) - 40)
    assert basis.shape == (count, columns)
    np.testing.assert_allclose(basis.T @ basis, np.eye(columns), atol=1e-12)


def test_the_basis_spans_the_natural_cubic_splines() -> None:
    rng = np.random.default_rng(0)
    ability = rng.normal(size=60)
    knots = np.quantile(ability, [0, 1 / 3, 2 / 3, 1])
    spline = scipy.interpolate.CubicSpline(knots, rng.normal(size=4), bc_type="natural")
    values = spline(ability)
    basis = ability_basis(ability)
    np.testing.assert_allclose(basis @ (basis.T @ values), values, atol=1e-9)


def test_equal_ability_leaves_a_constant() -> None:
    basis = ability_basis(np.full(10, 0.7))
    np.testing.assert_allclose(basis, np.full((10, 1), 10**-0.5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_residuals_are_those_of_least_squares(dtype: type) -> None:
    rng = np.random.default_rng(1)
    X = (1 + 0.1 * rng.normal(size=(20, 1)) + 0.05 * rng.normal(size=(20, 9))).astype(dtype)
    errors = rng.normal(size=20)
    rest = residuals(X, errors)
    design = np.column_stack([np.ones(20), X.mean(axis=1, dtype=np.float64)])

    def left(values: np.ndarray) -> np.ndarray:
        return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]

    np.testing.assert_allclose(rest.errors, left(normal_scores(errors)), atol=1e-9)
    texts = left(X.astype(np.float64))
    texts /= np.linalg.norm(texts, axis=0)
    np.testing.assert_allclose(rest.texts, texts - texts.mean(axis=1, keepdims=True), atol=1e-6)
    assert rest.texts.dtype == np.float32


def test_a_text_that_ability_explains_wholly_has_no_residual() -> None:
    rng = np.random.default_rng(2)
    ability = rng.normal(size=(12, 1))
    X = np.hstack([1 - 0.1 * ability, 2 - 0.3 * ability, np.ones((12, 1))])
    np.testing.assert_array_equal(residuals(X, rng.normal(size=12)).texts, 0)
