"""The gain of a selection against its definition, and how it shrinks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from pcorr_assets.stats.gain import (
    gains_on,
    jackknife_error,
    leave_outs,
    selection_gain,
    shrunk,
)
from pcorr_assets.stats.ordered import order_texts
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.stability import Stability, stability
from scripts.studies.worlds import Cell, draw, true_correlations


def panel_of(world, estimator: str = "spearmanr") -> Panel:
    return make_panel(
        world.X, world.errors, world.tau,
        llms=world.llms, families=world.families, estimator=estimator,
    )  # fmt: skip


def spearman(panel: Panel) -> np.ndarray:
    return np.array([scipy.stats.spearmanr(x, panel.errors)[0] for x in panel.X.T])


def test_gains_are_those_of_the_definition_on_every_part(make_world: Callable) -> None:
    world = make_world(1)
    panel = panel_of(world)
    rho = spearman(panel)
    weights = np.random.default_rng(0).dirichlet(np.ones(rho.size), size=2).T
    parts = [panel.all_rows, *leave_outs(panel), np.array([3])]
    gains, random_texts = gains_on(panel, order_texts(panel.X), weights, parts)
    np.testing.assert_allclose(gains[0], weights.T @ rho - rho.mean(), atol=1e-12)
    assert random_texts == pytest.approx(rho.mean())
    np.testing.assert_array_equal(gains[-1], 0)
    without = []
    for number, members in enumerate(panel.groups.members):
        kept = np.setdiff1d(np.arange(len(world.llms)), members)
        fewer = np.array([scipy.stats.spearmanr(x, panel.errors[kept])[0] for x in panel.X[kept].T])
        without.append(weights.T @ fewer - fewer.mean())
        np.testing.assert_allclose(gains[1 + number], without[-1], atol=1e-12)
    expected = np.sqrt(len(without) - 1) * np.std([gain[0] for gain in without])
    assert jackknife_error(panel, gains[:-1, 0]) == pytest.approx(expected)


def test_correlations_near_1_have_narrow_intervals() -> None:
    """Where ability is nearly all, the interval is as wide as gains differ between worlds."""
    cell = Cell(60, 20, 0.75, False, size=4.4)
    rho = true_correlations(cell)
    off, errors = [], []
    for seed in range(40):
        panel = draw(cell, [77, seed])
        weights = panel.weights(panel.all_rows)[:, np.newaxis]
        parts = [panel.all_rows, *leave_outs(panel)]
        gains = gains_on(panel, order_texts(panel.X), weights, parts)[0][:, 0]
        off.append(gains[0] - (weights[:, 0] @ rho - rho.mean()))
        errors.append(jackknife_error(panel, gains))
    assert np.mean(errors) == pytest.approx(np.std(off), rel=0.35)


@pytest.mark.parametrize("estimator", ["spearmanr", "sign", "product"])
def test_the_alternatives_are_what_they_are_called(make_world: Callable, estimator: str) -> None:
    panel = panel_of(make_world(2), estimator)
    rho = spearman(panel)
    found = selection_gain(panel, stability(panel, halvings=5))
    lowest = linear(-panel.X.mean(axis=0), panel.tau)
    assert found.mean_bpb == pytest.approx(lowest @ rho - rho.mean())
    easiest = linear(-panel.X[panel.errors.argmin()], panel.tau)
    assert found.strongest_llm == pytest.approx(easiest @ rho - rho.mean())
    assert found.low < found.value < found.high


def test_the_gain_lies_between_held_out_and_own() -> None:
    def steady(held_out: float | None, own: float | None) -> Stability:
        return Stability(0.5, 0, None, held_out, own)

    assert shrunk(0.4, steady(0.3, 0.3)) == (0.3, pytest.approx(0.4))
    assert shrunk(0.4, steady(0.0, 0.3)) == (0.0, 0.0)
    # Halves of reliability 1/2 make a whole of 2/3.
    assert shrunk(0.4, steady(0.1, 0.2))[1] == pytest.approx(0.1 + 2 / 3 * 0.3)
    assert shrunk(0.4, steady(-0.1, 0.2))[1] == pytest.approx(-0.1)
    assert shrunk(0.4, steady(None, None)) == (None, 0.0)


def test_halves_gain_what_their_estimates_say(make_world: Callable) -> None:
    world = make_world(11, family_count=2, llms_per_family=5)
    panel = panel_of(world, "sign")
    halves = panel.groups.members
    rho = [
        np.array([scipy.stats.spearmanr(x, panel.errors[rows])[0] for x in panel.X[rows].T])
        for rows in halves
    ]
    weights = [panel.weights(rows) for rows in halves]
    held_out = [weights[1 - half] @ rho[half] - rho[half].mean() for half in (0, 1)]
    own = [weights[half] @ rho[half] - rho[half].mean() for half in (0, 1)]
    found = stability(panel, halvings=2)
    assert found.gain_held_out == pytest.approx(np.mean(held_out))
    assert found.gain_own == pytest.approx(np.mean(own))


def test_without_halves_nothing_is_promised(make_world: Callable) -> None:
    panel = panel_of(make_world(1, family_count=4, llms_per_family=1))
    found = selection_gain(panel, stability(panel, halvings=2))
    assert found.value == 0
    assert found.low < 0 < found.high


def test_errors_of_chance_gain_little_and_a_clear_world_much(clear_world, null_world) -> None:
    clear, null = (
        selection_gain(panel, stability(panel, halvings=20))
        for panel in (panel_of(clear_world), panel_of(null_world))
    )
    assert clear.low > 0
    assert clear.value > 4 * abs(null.value)
