"""The best selection for the worst-served target, against the linear programme itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.worst_case import worst_case


def largest_minimum(estimates: np.ndarray, tau: np.ndarray) -> float:
    """max t with <w, e_k> >= t for every target k, over all weights within the caps."""
    targets, texts = estimates.shape
    found = linprog(
        np.append(np.zeros(texts), -1.0),
        A_ub=np.column_stack([-estimates, np.ones(targets)]),
        b_ub=np.zeros(targets),
        A_eq=np.append(np.ones(texts), 0.0)[np.newaxis],
        b_eq=[1.0],
        bounds=[*((0, cap) for cap in tau), (None, None)],
        method="highs",
    )
    assert found.status == 0
    return -found.fun


@pytest.mark.parametrize("targets", [2, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_dual_of_the_linear_programme(targets: int, seed: int) -> None:
    rng = np.random.default_rng([targets, seed])
    estimates = np.round(rng.normal(scale=0.3, size=(targets, 80)), 1 + seed % 3)  # also ties
    tau = rng.uniform(0.01, 0.1, size=80)
    found = worst_case(estimates, tau)
    assert found.value == pytest.approx(largest_minimum(estimates, tau), abs=2e-8)
    assert found.weights.min() >= 0
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    # The mean with these weights attains it, within what the texts at its threshold weigh.
    selected = linear(found.weights @ estimates, tau)
    assert selected @ (found.weights @ estimates) == pytest.approx(found.value, abs=1e-12)


def test_many_texts_converge() -> None:
    """Their cuts lie nearer to each other than what a solver tolerates by default."""
    rng = np.random.default_rng(0)
    estimates, tau = rng.normal(scale=0.2, size=(2, 100_000)), np.full(100_000, 1e-4)
    found = worst_case(estimates, tau)
    # Without the bound: g is convex, so it is no lower a step to either side.
    for step in (-1e-3, 1e-3):
        weights = found.weights + np.array([step, -step])
        assert linear(weights @ estimates, tau) @ (weights @ estimates) > found.value - 1e-8


def test_without_ties_the_projection_is_short_by_the_texts_at_the_threshold() -> None:
    rng = np.random.default_rng(4)
    estimates, tau = rng.normal(scale=0.3, size=(2, 400)), np.full(400, 1 / 40)
    found = worst_case(estimates, tau)
    least = (estimates @ linear(found.weights @ estimates, tau)).min()
    assert found.value - tau.max() * np.ptp(estimates) <= least <= found.value + 1e-8
    alone = [(estimates @ linear(row, tau)).min() for row in estimates]
    assert least > max(alone)


def test_closed_forms() -> None:
    tau = np.ones(3)
    # Each target has its own text: w = (1/2, 1/2) gives both 1/2.
    opposite = worst_case([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], tau)
    assert opposite.value == pytest.approx(0.5)
    assert opposite.weights == pytest.approx([0.5, 0.5])
    # l = 1/4 balances 3 and 1: 3/4.
    uneven = worst_case([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]], tau)
    assert uneven.value == pytest.approx(0.75)
    assert uneven.weights == pytest.approx([0.25, 0.75])
    # A target that is served worst by every selection decides alone.
    below = worst_case([[0.1, 0.2, 0.3], [0.5, 0.6, 0.9]], tau)
    assert below.value == pytest.approx(0.3)
    assert below.weights == pytest.approx([1, 0])
    same = worst_case([[0.1, 0.4, 0.3]] * 3, np.full(3, 0.5))
    assert same.value == pytest.approx(0.35)
    assert same.weights.sum() == pytest.approx(1)


def test_caps_that_cannot_be_filled_are_refused() -> None:
    with pytest.raises(PcorrError):
        worst_case(np.ones((2, 3)), np.full(3, 0.1))
