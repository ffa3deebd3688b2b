"""The test of dependence: its statistic by hand, and its level where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.stats.ability import residuals
from pcorr_assets.stats.dependence import dependence_p, randomised, residual_p, selected_means
from pcorr_assets.stats.groups import group_llms
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.projection import linear


def panel_of(world) -> Panel:
    return make_panel(world.X, world.errors, world.tau, llms=world.llms, families=world.families)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.floats(1.0, 4.0),
    st.booleans(),
)
def test_selected_means_are_those_of_the_linear_projection(
    seed: int, text_count: int, room: float, equal: bool
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(3, text_count))
    shares = np.ones(text_count) if equal else rng.random(text_count) + 0.01
    tau = room * shares / shares.sum()
    expected = [linear(row, tau) @ row - row.mean() for row in scores]
    np.testing.assert_allclose(selected_means(scores, tau), expected, atol=1e-9)


def test_signs_are_of_whole_groups_and_of_deviations_within() -> None:
    families = ["a", "a", "b", "c", "c", "c"]
    groups = group_llms([f"llm-{row}" for row in range(6)], families)
    errors = np.array([3.0, 1.0, 2.0, 6.0, 0.0, 3.0])
    draws = randomised(errors, groups, 400, np.random.default_rng(0), apart=True)
    means = np.array([2.0, 2.0, 2.0, 3.0, 3.0, 3.0])
    rest = errors - means
    seen = set()
    for draw in draws:
        signs = []
        for rows in groups.members:
            mean_sign = np.sign(draw[rows].mean())
            signs.append(mean_sign)
            left = draw[rows] - mean_sign * means[rows]
            assert np.allclose(left, rest[rows]) or np.allclose(left, -rest[rows])
            signs.append(np.allclose(left, rest[rows]))
        seen.add(tuple(signs))
    # Three means, and deviations of the two groups that have any.
    assert len(seen) == 2**5
    whole = randomised(errors, groups, 100, np.random.default_rng(0), apart=False)
    assert len({tuple(draw) for draw in whole}) == 2**3
    np.testing.assert_array_equal(np.abs(whole), np.tile(errors, (100, 1)))


def test_p_is_uniform_where_the_null_is_exact() -> None:
    """Residuals of symmetric groups, independent of the texts: each draw of signs is as likely."""
    rng = np.random.default_rng(3)
    families = [f"family-{row // 2}" for row in range(20)]
    groups = group_llms([f"llm-{row:02}" for row in range(20)], families)
    X = rng.normal(size=(20, 30))
    plain = residuals(X, rng.normal(size=20))
    no_basis = np.zeros((20, 1))
    ps = []
    for seed in range(300):
        shared = rng.standard_t(3, size=10)[np.arange(20) // 2]
        errors = shared + rng.standard_t(3, size=20)
        rest = replace(plain, errors=errors, basis=no_basis)
        ps.append(residual_p(rest, np.full(30, 0.2), groups, randomisations=99, seed=seed))
    # The larger of two uniform numbers that go together: no smaller than uniform, nor by far.
    assert scipy.stats.kstest(ps, scipy.stats.uniform.cdf, alternative="greater").pvalue > 0.01
    assert np.mean(np.array(ps) <= 0.05) < 0.08
    assert np.mean(ps) < 0.6


def test_a_null_world_is_not_found_and_a_clear_one_is(clear_world, null_world) -> None:
    assert dependence_p(panel_of(clear_world), randomisations=199) == pytest.approx(1 / 200)
    assert dependence_p(panel_of(null_world), randomisations=199) > 0.05


def test_errors_that_are_ability_itself_have_p_1() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(12, 8))
    panel = make_panel(
        X, rng.normal(size=12), np.full(8, 0.25),
        llms=[f"llm-{row:02}" for row in range(12)], families=[f"f{row}" for row in range(12)],
    )  # fmt: skip
    rest = residuals(panel.X, panel.errors)
    nothing = replace(rest, errors=np.zeros(12))
    assert residual_p(nothing, panel.tau, panel.groups, randomisations=19) == 1


def test_the_order_of_the_llms_does_not_matter(make_world: Callable) -> None:
    world = make_world(5, error_noise=1.0)
    order = np.random.default_rng(0).permutation(len(world.llms))
    shuffled = replace(
        world,
        X=world.X[order],
        errors=world.errors[order],
        llms=[world.llms[row] for row in order],
        families=[world.families[row] for row in order],
    )
    p = dependence_p(panel_of(world), randomisations=199)
    assert dependence_p(panel_of(shuffled), randomisations=199) == p
    assert dependence_p(panel_of(world), randomisations=199, seed=1) != p
