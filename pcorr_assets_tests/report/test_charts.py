"""Where things stand in the charts, against the numbers they show."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

from pcorr_assets.report import charts, gauges
from pcorr_assets.report.facts import Facts
from pcorr_assets.report.heat_map import cluster, heat_map, without_means
from pcorr_assets.report.plots import pixels


def test_an_axis_has_round_ticks_within_it() -> None:
    axis = charts.Axis(-0.31, 0.93, 0, 100)
    assert [label for _, label in axis.ticks(6)] == [
        "\u22120.2", "0.0", "0.2", "0.4", "0.6", "0.8",
    ]  # fmt: skip
    assert axis.at(-0.31) == 0
    assert axis.at(0.93) == 100


@pytest.mark.parametrize("rough", [1e-6, 0.003, 0.7, 1, 4.2, 9999])
def test_steps_are_the_nearest_round_number(rough: float) -> None:
    step = charts.nice_step(rough)
    assert rough / 1.6 <= step <= 1.6 * rough
    assert round(step / 10 ** np.floor(np.log10(step) + 1e-9)) in (1, 2, 5)


def test_the_histogram_holds_every_unit_once(text_facts: Facts) -> None:
    (chart, *_) = charts.estimate_charts(text_facts.estimates, "spearmanr")
    counts = {"all": 0, "chosen": 0}
    for bar in chart.bars:
        height = int(bar.tip.split(": ")[1].split()[0])
        counts["all"] += height if bar.kind == "all" else 0
        if bar.kind == "chosen":
            counts["chosen"] += int(bar.tip.rsplit(", ", 1)[1].split()[0])
    assert counts == {"all": 24, "chosen": 6}


def test_close_estimates_are_drawn_closer(text_facts: Facts) -> None:
    estimates = text_facts.estimates
    close = replace(estimates, values=np.linspace(0.95, 0.93, 24), permuted=estimates.permuted)
    assert len(charts.estimate_charts(close, "spearmanr")) == 2
    spread = replace(estimates, values=np.linspace(0.9, -0.9, 24))
    assert len(charts.estimate_charts(spread, "spearmanr")) == 1
    equal = replace(estimates, values=np.zeros(24), permuted=np.zeros((3, 24)))
    assert len(charts.estimate_charts(equal, "spearmanr")) == 1


def test_chance_is_that_of_the_permuted_worlds(text_facts: Facts) -> None:
    permuted = np.array([[0.1, 0.2], [0.3, 0.0], [0.2, 0.2]])
    values = np.array([0.9, 0.295, 0.1])
    chance = charts.chance_of(replace(text_facts.estimates, values=values, permuted=permuted))
    assert chance.largest == 0.9
    assert chance.largest_mean == pytest.approx(0.7 / 3)
    assert chance.largest_limit == pytest.approx(0.29)
    assert chance.above_limit == 2


def test_points_on_the_diagonal_are_right(text_facts: Facts) -> None:
    marks = charts.family_marks(text_facts.matrix.families)
    drawn = charts.rank_charts(text_facts.ranks, marks)
    assert [chart.title for chart in drawn] == [
        "selected texts, family held out",
        "selected texts, random fifth held out",
        "mean BPB (the baseline)",
    ]
    frame = drawn[0].frame
    for panel, chart in zip(text_facts.ranks[::2], drawn, strict=False):
        for point, mark in zip(panel.points, chart.marks, strict=True):
            on_diagonal = (mark.x - frame.left) / (frame.right - frame.left) == pytest.approx(
                (frame.bottom - mark.y) / (frame.bottom - frame.top), abs=1e-3
            )
            assert on_diagonal == (point.predicted == point.actual)
            assert point.llm in mark.tip


def test_forty_families_have_marks_of_their_own() -> None:
    families = [f"f{number}" for number in range(40)] + ["f7"] * 3
    marks = charts.family_marks(families)
    assert next(iter(marks)) == "f7"
    assert len({(mark.colour, mark.shape) for mark in marks.values()}) == 40


def test_the_gain_stands_beside_its_alternatives(text_facts: Facts) -> None:
    verdict = replace(
        text_facts.verdict, gain=0.1, gain_low=-0.1, gain_high=0.3, gain_needed=0.02,
        gain_mean_bpb=0.05, gain_strongest_llm=-0.05,
    )  # fmt: skip
    gauge = gauges.gain_gauge(verdict)
    assert gauge is not None
    own, mean_bpb, strongest, random_texts = gauge.rows
    assert own.low is not None
    assert own.high is not None
    assert own.low < strongest.value < gauge.zero < gauge.limit < mean_bpb.value < own.value
    assert own.value == pytest.approx((own.low + own.high) / 2, abs=0.1)
    assert random_texts.value == gauge.zero
    assert (mean_bpb.low, mean_bpb.high) == (None, None)
    assert "+0.100, 90 % interval \u22120.100 to +0.300" in gauge.alt
    assert gauges.gain_gauge(replace(verdict, gain=None)) is None


def test_gauges_pass_where_the_verdict_does(text_facts: Facts) -> None:
    verdict = replace(text_facts.verdict, delta=0.1, delta_low=0.01, delta_high=0.2, stability=0.5)
    delta, stability = gauges.delta_gauge(verdict), gauges.stability_gauge(verdict)
    assert delta is not None
    assert delta.passed
    assert stability is not None
    assert stability.passed
    assert stability.value == stability.limit
    lower = gauges.delta_gauge(replace(verdict, delta_low=0.0))
    assert lower is not None
    assert not lower.passed
    assert gauges.delta_gauge(replace(verdict, delta=None)) is None


def test_the_budget_counts_every_test_token_once(text_facts: Facts) -> None:
    assert text_facts.filter is not None
    budget = gauges.budget_of(text_facts.filter)
    assert budget is not None
    # 90 % of 100 wanted tokens are kept and are 90 % of what is kept.
    assert budget.kept_included == pytest.approx(90)
    assert budget.kept_excluded == pytest.approx(10)
    assert budget.lost_included == pytest.approx(10)
    assert budget.left_excluded == pytest.approx(890)
    assert sum(bar.width for bar in budget.bars) == pytest.approx(1000, abs=0.5)
    empty = replace(text_facts.filter, row={**text_facts.filter.row, "budget_precision": None})
    assert gauges.budget_of(empty) is None


def test_llms_of_like_patterns_stand_together() -> None:
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(3, 200))
    kind = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    bpb = 5 + rng.normal(size=(8, 1)) + patterns[kind] + 0.1 * rng.normal(size=(8, 200))
    deviation = without_means(bpb)
    assert np.abs(deviation.mean(axis=0)).max() < 1e-12
    assert np.abs(deviation.mean(axis=1)).max() < 1e-12
    _, order = cluster(deviation)
    ordered = kind[order]
    assert (np.diff(ordered) != 0).sum() == 2


def test_the_picture_has_a_pixel_for_each_llm_and_unit(text_facts: Facts) -> None:
    from PIL import Image

    values = np.array([[-1.0, 0.0, 1.0], [2.0, -2.0, 0.0]])
    image = Image.open(BytesIO(pixels(values, 1.0))).convert("RGB")
    assert image.size == (3, 2)
    blue, white, orange = (image.getpixel((x, 0)) for x in range(3))
    assert image.getpixel((0, 1)) == orange
    assert image.getpixel((1, 1)) == blue
    assert image.getpixel((2, 1)) == white
    marks = charts.family_marks(text_facts.matrix.families)
    drawn = heat_map(text_facts.matrix, marks, 6)
    assert len(drawn.rows) == 14
    assert drawn.selected_width == pytest.approx(560 * 6 / 24, abs=0.1)
    assert {row.name for row in drawn.rows} == set(text_facts.matrix.llms)


def test_a_matrix_without_deviations_is_drawn_too(text_facts: Facts) -> None:
    flat = replace(text_facts.matrix, bpb=np.ones_like(text_facts.matrix.bpb))
    marks = charts.family_marks(text_facts.matrix.families)
    assert heat_map(flat, marks, None).limit == 1.0
