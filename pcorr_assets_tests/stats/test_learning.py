"""What more LLMs would bring, where it is known how much they do bring."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from pcorr_assets.stats import learning
from pcorr_assets.stats.candidates import Candidate, Spread, advise, spread_of, variances
from pcorr_assets.stats.learning import (
    WANTED_STRENGTH,
    CurvePoint,
    groups_needed,
    learning_curve,
    noise_share,
    strength_line,
)
from pcorr_assets.stats.learning_words import next_step
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.sensitivity import Analysis
from pcorr_assets.stats.verdict import ValidationSettings, judge
from scripts.studies.advice import interval_width
from scripts.studies.worlds import Cell, draw

QUICK = ValidationSettings(bootstrap=20, halvings=6, permutations=60)


def panel_of(world) -> Panel:
    return make_panel(world.X, world.errors, world.tau, llms=world.llms, families=world.families)


def points_of(strengths: dict[int, float], units: int = 40) -> list[CurvePoint]:
    return [
        CurvePoint(groups, 2 * groups, units, 5, 0.1, 0.5, 0.2, 0.2, strength)
        for groups, strength in strengths.items()
    ]


def test_the_last_point_is_the_verdict_and_units_follow(
    make_world: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "DRAWS", 3)
    panel = panel_of(make_world(4, error_noise=0.5))
    points = learning_curve(panel, QUICK)
    whole = [point for point in points if point.unit_count == 48]
    assert [point.group_count for point in whole] == [4, 5, 6, 7, 8]
    assert [point.draws for point in whole] == [3, 3, 3, 3, 1]
    assert [point.llm_count for point in whole] == [8, 10, 12, 14, 16]
    verdict = judge(panel, settings=QUICK)
    last = whole[-1]
    assert (last.gain, last.stability) == (verdict.gain, verdict.stability)
    assert verdict.p_value is not None
    assert last.power == (verdict.p_value <= 0.05)
    assert [(p.unit_count, p.group_count) for p in points[5:]] == [(24, 8), (12, 8), (6, 8)]
    assert learning_curve(panel, QUICK) == points


def test_a_line_is_found_again() -> None:
    line = points_of({groups: -1.0 + 1.2 * groups**0.5 for groups in (4, 6, 8, 10)})
    assert strength_line(line) == pytest.approx((-1.0, 1.2))
    assert groups_needed(line) == pytest.approx(((WANTED_STRENGTH + 1.0) / 1.2) ** 2)
    # Other numbers of units are no part of it.
    assert strength_line([*line, *points_of({10: 9.0}, units=20)]) == strength_line(line)


def test_a_start_beyond_its_limits_is_held_there() -> None:
    start, slope = strength_line(points_of({4: 0.0, 6: 3.0, 8: 6.0}))
    assert start == learning.LOWEST_START
    root, strength = np.sqrt([4, 6, 8]), np.array([0.0, 3.0, 6.0])
    expected = np.linalg.lstsq(root[:, np.newaxis], strength + 2, rcond=None)[0][0]
    assert slope == pytest.approx(expected)
    assert strength_line(points_of({4: 2.0, 6: 1.5, 8: 1.0}))[0] == 0
    assert groups_needed(points_of({4: -0.2, 6: -0.3, 8: -0.5})) == math.inf


def test_a_clear_effect_needs_few_groups_and_none_needs_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learning, "DRAWS", 3)

    def needed(cell: Cell) -> list[float]:
        return [groups_needed(learning_curve(draw(cell, [5, seed]), QUICK)) for seed in range(4)]

    clear, null = needed(Cell(16, 8, 0.25, False)), needed(Cell(16, 8, 0.75, True))
    assert np.median(clear) < 14
    assert np.median(null) > 40


def test_noise_is_what_reliability_leaves_beside_ability() -> None:
    """Errors of ability, skill and noise of known sizes."""
    rng = np.random.default_rng(0)
    ability, skill, noise = rng.normal(size=(3, 4000)) * np.array([[3.0], [0.5], [1.0]])
    X = np.column_stack([ability, ability, ability])
    panel = make_panel(
        X, ability + skill + noise, np.full(3, 0.5),
        llms=[f"llm-{row:04}" for row in range(4000)],
        families=[f"family-{row:04}" for row in range(4000)],
    )  # fmt: skip
    total = 9 + 0.25 + 1
    assert noise_share(panel, 1 - 1 / total) == pytest.approx(1 / 1.25, rel=0.1)
    assert noise_share(panel, 1.0) == 0
    assert noise_share(panel, -0.5) == 1


NOW = Analysis("no-go", 0.3, 0.05, -0.02, 0.12, 0.02, 0.4, 16, 8, np.ones(1))


def test_words_say_how_many_families_or_what_else() -> None:
    rising = points_of({groups: -1.0 + 0.9 * groups**0.5 for groups in (4, 6, 8)})
    flat = points_of({4: 0.1, 6: 0.1, 8: 0.1})
    said = next_step(NOW, rising, None)
    more = math.ceil(((WANTED_STRENGTH + 1) / 0.9) ** 2) - 8
    assert said.startswith(f"About {more} more families of LLMs for a go at the present effect")
    assert "noise" not in said
    assert "Evaluate on more items" in next_step(NOW, rising, 0.7)
    assert next_step(NOW, flat, 0.7).startswith("More LLMs will not help, the errors do: 70%")
    assert "no effect that would show" in next_step(NOW, flat, 0.1)
    assert "not known" in next_step(NOW, flat, None)
    slow = points_of({groups: 0.25 * groups**0.5 for groups in (4, 6, 8)})
    assert "would take about 117 families for a go, and there are 8" in next_step(NOW, slow, 0.1)
    assert "24 more families" in next_step(replace(NOW, verdict="go"), rising, None)
    found = replace(NOW, p_value=0.01, verdict="caution")
    assert "3 more independent families" in next_step(replace(found, group_count=3), rising, None)
    assert "interval, which reaches" in next_step(replace(found, gain=0.01), rising, None)
    little = replace(found, gain=0.001, gain_high=0.01)
    assert "will not change that" in next_step(little, rising, None)
    assert "take the simpler selection" in next_step(found, rising, None)


def test_variances_of_a_balanced_design_are_those_of_textbooks() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(6, 4)) + 3 * rng.normal(size=(6, 1))
    labels = np.repeat(np.arange(6), 4)
    between, within = variances(values.ravel(), labels)
    f_value = scipy.stats.f_oneway(*values)[0]
    assert within == pytest.approx(values.var(axis=1, ddof=1).mean())
    assert between == pytest.approx((f_value - 1) * within / 4)
    assert variances(values[:, 0], np.arange(6)) == pytest.approx((values[:, 0].var(ddof=1), 0))


def test_the_width_now_is_the_interval_s(make_world: Callable) -> None:
    panel = panel_of(make_world(6))
    spread = spread_of(panel)
    assert spread.width([2] * 8) == pytest.approx(interval_width(panel))


def test_the_order_is_greedy_and_new_families_of_few_parameters_come_first(
    make_world: Callable,
) -> None:
    panel = panel_of(make_world(6))
    candidates = [
        Candidate("big", "new", 8_000_000_000),
        Candidate("sibling", "family-01", 1_000_000_000),
        Candidate("small", "new", 1_000_000_000),
        Candidate("other", "newer", 1_000_000_000),
    ]
    found = advise(panel, candidates)
    assert [a.candidate.name for a in found] == ["other", "small", "sibling", "big"]
    assert [a.new_family for a in found] == [True, True, False, False]
    spread = spread_of(panel)
    assert found[0].width_in_order == found[0].width_alone == spread.width([*[2] * 8, 1])
    assert found[1].width_in_order == spread.width([*[2] * 8, 1, 1])
    assert found[2].width_in_order == spread.width([2, 3, *[2] * 6, 1, 1])
    assert found[3].width_in_order == spread.width([2, 3, *[2] * 6, 1, 2])
    assert advise(panel, []) == []


def test_a_new_family_helps_more_the_more_families_differ() -> None:
    alike, apart = Spread(0.0, 1.0, 1.0), Spread(1.0, 0.1, 1.0)
    sizes = [2] * 8
    sibling, new = [3, *sizes[1:]], [*sizes, 1]
    assert apart.width(new) < apart.width(sizes) < apart.width(sibling)
    assert alike.width(new) < alike.width(sibling) < alike.width(sizes)
