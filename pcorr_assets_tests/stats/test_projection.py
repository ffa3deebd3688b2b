"""Projections against scipy.optimize, the published package, and their optimality conditions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from perplexity_correlations import projection as reference

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.projection import PROJECTIONS, l2, linear

SIZES = st.integers(1, 40)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """An estimate with ties at any scale, and feasible caps, some of them 0."""
    size = draw(SIZES)
    scale = 10.0 ** draw(st.integers(-12, 12))
    estimate = scale * np.array(
        draw(
            st.lists(
                st.one_of(st.integers(-3, 3), st.floats(-3, 3, allow_subnormal=False)),
                min_size=size,
                max_size=size,
            )
        ),
        dtype=float,
    )
    shares = np.array(draw(st.lists(st.integers(0, 50), min_size=size, max_size=size)), float)
    shares[draw(st.integers(0, size - 1))] += 1
    keep_ratio = draw(st.floats(0.01, 1))
    return estimate, shares / shares.sum() / keep_ratio


def assert_feasible(weights: np.ndarray, tau: np.ndarray) -> None:
    assert weights.dtype == np.float64
    assert abs(math.fsum(weights) - 1) <= 1e-12
    assert (weights >= 0).all()
    assert (weights <= tau + 1e-15).all()


@given(problems())
@settings(max_examples=150)
def test_linear_is_feasible_and_optimal(problem: tuple[np.ndarray, np.ndarray]) -> None:
    estimate, tau = problem
    weights = linear(estimate, tau)
    assert_feasible(weights, tau)
    # Optimal: whoever has weight has no better text with room left.
    with_room = weights < tau - 1e-12
    if with_room.any() and (weights > 1e-12).any():
        assert estimate[weights > 1e-12].min() >= estimate[with_room].max()
    # At most one text is cut, and it is the last in order.
    assert np.count_nonzero((weights > 0) & with_room & (weights < 1 - 1e-12)) <= 1


@given(problems())
@settings(max_examples=150)
def test_l2_is_feasible_and_optimal(problem: tuple[np.ndarray, np.ndarray]) -> None:
    estimate, tau = problem
    weights = l2(estimate, tau)
    assert_feasible(weights, tau)
    # KKT: estimate - w is one number c inside, at most c at 0, at least c at the cap.
    shifted = estimate - weights
    tolerance = 1e-11 + 4 * np.finfo(float).eps * np.abs(estimate).max()
    lower = shifted[weights > 1e-13].min()
    room = weights < tau
    upper = shifted[room].max() if room.any() else -np.inf
    assert upper - lower <= tolerance


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_scipy_optimize(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 12))
    estimate, tau = rng.normal(size=size), rng.random(size)
    tau /= tau.sum() * rng.uniform(0.1, 0.95)
    bounds = list(zip(np.zeros(size), tau, strict=True))
    solved = scipy.optimize.linprog(
        -estimate, A_eq=np.ones((1, size)), b_eq=[1], bounds=bounds, method="highs"
    )
    assert estimate @ linear(estimate, tau) == pytest.approx(-solved.fun, abs=1e-9)
    nearest = scipy.optimize.minimize(
        lambda w: np.sum((w - estimate) ** 2),
        linear(estimate, tau),
        jac=lambda w: 2 * (w - estimate),
        bounds=bounds,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(size)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(l2(estimate, tau), nearest.x, rtol=0, atol=1e-6)


def test_agrees_with_the_published_package() -> None:
    rng = np.random.default_rng(0)
    estimate, tau = rng.normal(size=3000) * 0.001, rng.random(3000) * 0.005
    # The published linear computes in float32, the published l2 stops at 1e-12 a weight.
    np.testing.assert_allclose(
        linear(estimate, tau), reference.linear(estimate, tau), rtol=0, atol=3e-7
    )
    np.testing.assert_allclose(l2(estimate, tau), reference.l2(estimate, tau), rtol=0, atol=2e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1.0, 1e6, 1e300])
@pytest.mark.parametrize("name", ["linear", "l2"])
def test_any_scale_is_exact(name: str, scale: float) -> None:
    rng = np.random.default_rng(1)
    estimate, tau = rng.normal(size=2000) * scale, rng.random(2000) * 0.01
    weights = PROJECTIONS[name](estimate, tau)
    assert_feasible(weights, tau)
    if name == "linear" or scale >= 1e6:
        # Gaps far above the caps leave l2 the same choice as linear.
        np.testing.assert_allclose(weights, linear(estimate / scale, tau), rtol=0, atol=1e-15)


def test_l2_shares_what_is_left_between_huge_ties() -> None:
    weights = l2(np.array([1e300, 1e300, 0.0, 1e301]), np.array([0.7, 0.7, 0.7, 0.4]))
    np.testing.assert_allclose(weights, [0.3, 0.3, 0, 0.4], rtol=0, atol=1e-15)


def test_l2_survives_differences_beyond_float64() -> None:
    estimate, tau = np.array([-1.7e308, 1.7e308, 0.0]), np.array([0.5, 0.4, 0.9])
    np.testing.assert_allclose(l2(estimate, tau), [0, 0.4, 0.6], rtol=0, atol=1e-15)


def test_linear_fills_ties_in_the_order_of_the_input() -> None:
    estimate = np.array([1.0, 2.0, 1.0, 1.0, 2.0])
    weights = linear(estimate, np.full(5, 0.3))
    np.testing.assert_allclose(weights, [0.3, 0.3, 0.1, 0, 0.3], rtol=0, atol=1e-15)
    assert weights[3] == 0


@pytest.mark.parametrize("name", ["linear", "l2"])
@pytest.mark.parametrize("size", [1, 3, 7, 10, 263, 49_999])
def test_caps_that_sum_to_one_within_rounding_are_returned(name: str, size: int) -> None:
    rng = np.random.default_rng(size)
    counts = rng.integers(1, 1000, size)
    for tau in (counts / counts.sum(), np.full(size, 1 / size), np.full(size, (1 - 5e-13) / size)):
        weights = PROJECTIONS[name](rng.normal(size=size), tau)
        assert_feasible(weights, tau)
        np.testing.assert_allclose(weights, tau, rtol=1e-11, atol=0)


@pytest.mark.parametrize("size", [10, 100, 1000, 10_000, 99_990])
def test_no_text_is_included_for_a_rounding_error(size: int) -> None:
    # A tenth of equal texts, although their caps need not add up to 1 in floating point.
    weights = linear(np.arange(size), np.full(size, (1 / size) / 0.1))
    assert np.count_nonzero(weights) == size // 10


def test_caps_above_one_leave_everything_to_the_best_text() -> None:
    for tau in ([5.0, 5.0, 5.0], [np.inf, 1.0, 2.0]):
        np.testing.assert_array_equal(linear([3.0, 1.0, 2.0], tau), [1, 0, 0])
    np.testing.assert_allclose(l2([0.5, 0.2, 0.9], [np.inf] * 3), [0.3, 0, 0.7], atol=1e-15)


@pytest.mark.parametrize("name", ["linear", "l2"])
@pytest.mark.parametrize(
    ("estimate", "tau", "words"),
    [
        ([1.0, 2.0], [0.4, 0.5], r"sum to 0\.9,"),
        ([1.0, 2.0], [0.4, 0.6 - 1e-9], r"sum to 0\.99999999"),
        ([1.0, 2.0], [1.4, -0.1], "1 negative or NaN.*-0.1 at position 1"),
        ([1.0, 2.0], [np.nan, 2.0], "negative or NaN.*position 0"),
        ([1.0, np.nan], [1.0, 1.0], "1 NaN .*position 1"),
        ([np.inf, 1.0], [1.0, 1.0], "1 infinite .*position 0"),
        ([1.0, 2.0], [1.0], "one for each text"),
        ([], [], "empty"),
        ([[1.0]], [[1.0]], "2 dimension"),
    ],
)
def test_bad_input_is_refused(name: str, estimate: list, tau: list, words: str) -> None:
    with pytest.raises(PcorrError, match=words):
        PROJECTIONS[name](estimate, tau)
