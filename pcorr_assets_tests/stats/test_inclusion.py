"""Inclusion probabilities at their limits, and against an independent computation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from pcorr_assets.stats.inclusion import NOISE_KEPT, inclusion_probability
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.stability import Stability, stability


def panel_of(world) -> Panel:
    return make_panel(world.X, world.errors, world.tau, llms=world.llms, families=world.families)


def steady(held_out: float) -> Stability:
    return Stability(0.5, 0, None, held_out, 0.3)


def test_it_is_the_share_of_draws_that_select(make_world: Callable) -> None:
    panel = panel_of(make_world(3, error_noise=1.0))
    ranks = scipy.stats.rankdata(panel.X, axis=0)
    ranks = (ranks - ranks.mean(axis=0)) / np.linalg.norm(ranks - ranks.mean(axis=0), axis=0)
    errors = scipy.stats.rankdata(panel.errors)
    errors = (errors - errors.mean()) / np.linalg.norm(errors - errors.mean())
    parts = ranks * errors[:, np.newaxis]
    parts -= parts.mean(axis=1, keepdims=True)
    groups = np.stack([parts[rows].sum(axis=0) for rows in panel.groups.members])
    rng = np.random.default_rng(0)
    count = len(groups)
    times = np.stack(
        [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(4000)]
    )
    draws = (2 * 0.5 / 1.5) ** 0.5 * groups.sum(axis=0) + NOISE_KEPT * (times - 1) @ groups
    selected = round(1 / panel.tau[0] + 0.499)
    place = np.argsort(np.argsort(-draws, axis=1), axis=1)
    expected = (place < selected).mean(axis=0)
    found = inclusion_probability(panel, steady(0.15), draws=4000)
    assert found.probability is not None
    np.testing.assert_allclose(found.probability, expected, atol=4 * (2 * 0.25 / 4000) ** 0.5)


def test_without_reliability_nothing_is_known_and_with_it_much(clear_world, null_world) -> None:
    clear, null = panel_of(clear_world), panel_of(null_world)
    known = inclusion_probability(clear, stability(clear, halvings=10))
    unknown = inclusion_probability(null, steady(0.0))
    assert known.probability is not None
    assert unknown.probability is not None
    assert known.probability[clear_world.topics == 0].min() > 0.9
    assert known.probability[clear_world.topics != 0].mean() < 0.1
    assert unknown.probability.max() < 0.6


def test_few_groups_have_a_reason_instead(make_world: Callable) -> None:
    few = panel_of(make_world(1, family_count=4, llms_per_family=5))
    found = inclusion_probability(few, steady(0.2))
    assert found.probability is None
    assert "4 independent group(s) of LLMs are too few" in (found.reason or "")
    enough = panel_of(make_world(1, family_count=6))
    nothing = inclusion_probability(enough, Stability(None, 0, "cannot be halved"))
    assert nothing.reason == "cannot be halved"


def test_the_order_of_the_llms_does_not_matter(make_world: Callable) -> None:
    world = make_world(5)
    order = np.random.default_rng(0).permutation(len(world.llms))
    shuffled = replace(
        world,
        X=world.X[order],
        errors=world.errors[order],
        llms=[world.llms[row] for row in order],
        families=[world.families[row] for row in order],
    )
    one, other = (
        inclusion_probability(panel_of(which), steady(0.2)).probability
        for which in (world, shuffled)
    )
    assert one == pytest.approx(other)
