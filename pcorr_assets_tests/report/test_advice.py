"""What a report says of what would change the verdict, and of what to do next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pcorr_assets.config.llms import Candidate
from pcorr_assets.errors import PcorrError
from pcorr_assets.report import advice_charts
from pcorr_assets.report.facts import ChangeFacts, Facts, SensitivityFacts
from pcorr_assets.report.page import render_report
from pcorr_assets.report.reading import read_facts
from pcorr_assets.steps.next_llms import next_llms_of_targets
from pcorr_assets.steps.sensitivity import sensitivity_of_targets
from pcorr_assets_tests.report import worlds
from pcorr_assets_tests.report.conftest import World

KEYS = ("published", "good")
HOSTILE = '<b onclick="x">/llm'


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A matrix whose verdict was analysed, with candidates, one of them hostile."""
    wh, settings = worlds.write_matrix_world(tmp_path_factory.mktemp("advised"))
    listed = ["new/llm-1b", {"name": HOSTILE, "parameters": "7b", "family": "fam0"}]
    candidates = [Candidate.model_validate(candidate) for candidate in listed]
    settings = settings.model_copy(update={"candidates": candidates})
    failures: dict[str, PcorrError] = {}
    (found,) = sensitivity_of_targets(wh, settings, "published", ["good"], failures)
    wh.write("sensitivity", KEYS, found.table, found.notes)
    (following,) = next_llms_of_targets(wh, settings, "published", ["good"], failures)
    wh.write("next_llms", KEYS, following.next_llms, following.notes)
    wh.write("learning_curves", KEYS, following.learning_curve, following.notes)
    assert failures == {}
    return wh, settings


@pytest.fixture(scope="module")
def facts(advised: World) -> Facts:
    return read_facts(*advised, *KEYS)


def test_facts_are_the_rows(advised: World, facts: Facts) -> None:
    wh, _ = advised
    assert facts.sensitivity is not None
    assert facts.next is not None
    rows = {row["changed"]: row for row in wh.read("sensitivity", *KEYS).to_pylist()}
    assert len(facts.sensitivity.changes) == len(rows)
    assert facts.sensitivity.changes[0].kind == "none"
    for change in facts.sensitivity.changes:
        row = rows[change.changed]
        assert (change.verdict, change.gain) == (row["verdict"], row["gain"])
        differs = row["verdict"] != rows["nothing"]["verdict"] or row["overlap"] < 0.5
        assert change.matters == (differs and change.kind != "none")
    assert [c.llm for c in facts.next.candidates] == ["new/llm-1b", HOSTILE]
    assert facts.next.advice in wh.read("learning_curves", *KEYS)["advice"].to_pylist()


def test_the_page_says_both_and_escapes_names(facts: Facts) -> None:
    page = render_report(facts)
    assert facts.next is not None
    assert "What the verdict hangs on" in page
    assert facts.next.advice in page
    assert "&lt;b onclick=" in page
    assert HOSTILE not in page


def test_what_is_not_there_or_outdated_is_said(advised: World, matrix_facts: Facts) -> None:
    assert matrix_facts.sensitivity is None
    assert matrix_facts.sensitivity_absence == "sensitivity has not been materialised."
    assert "next_llms has not been materialised." in render_report(matrix_facts)
    wh, settings = advised
    rows, noted = wh.read("sensitivity", *KEYS), wh.metadata("sensitivity", *KEYS)
    wh.write("sensitivity", KEYS, rows, {**noted, "bpb_matrix_sha256": "0" * 64})
    facts = read_facts(wh, settings, *KEYS)
    wh.write("sensitivity", KEYS, rows, noted)
    assert facts.sensitivity is None
    assert "from another matrix" in (facts.sensitivity_absence or "")
    assert facts.next is not None


def change(kind: str, name: str, gain: float | None, *, matters: bool = False) -> ChangeFacts:
    low, high = (None, None) if gain is None else (gain - 0.1, gain + 0.1)
    return ChangeFacts(
        kind, name, f"Without {name}", matters, "go", 0.8, gain, low, high, 0.01, None
    )


def test_rows_of_the_picture_stand_at_their_numbers() -> None:
    families = [change("family", f"f{n:02}", 0.2 + 0.001 * n) for n in range(20)]
    decisive = change("family", "decisive", 0.2, matters=True)
    found = SensitivityFacts(
        (), (change("none", "nothing", 0.2), *families, decisive, change("llm", "none", None))
    )
    chart = advice_charts.change_chart(found)
    assert chart is not None
    labels = [row.label for row in chart.rows]
    assert labels[:3] == ["as it is", "without family decisive", "without family f19"]
    assert (len(labels), chart.left_out) == (13, 9)
    assert chart.base == chart.rows[0].value == chart.rows[1].value
    assert chart.rows[2].value > chart.base > chart.zero
    for row in chart.rows:
        assert row.low < row.value < row.high
        assert (row.value - row.low) == pytest.approx(row.high - row.value, abs=0.2)
    assert "Decisive: without family decisive" in chart.alt
    assert advice_charts.change_chart(None) is None


def test_bars_of_the_curve_are_shares_of_all_units(facts: Facts) -> None:
    assert facts.next is not None
    chart = advice_charts.learning_chart(facts.next)
    assert chart is not None
    whole = [point for point in facts.next.curve if point.unit_count == 30]
    assert len(chart.bars) == len(whole)
    full = chart.frame.bottom - chart.frame.top
    for bar, point in zip(chart.bars, whole, strict=True):
        assert bar.height == pytest.approx((point.power or 0) * full, abs=0.2)
    assert chart.bars[-1].kind == "chosen"
    assert advice_charts.learning_chart(replace(facts, next=None).next) is None


def test_units_have_the_probability_of_the_estimates(advised: World, facts: Facts) -> None:
    wh, _ = advised
    rows = {
        row["unit"]: row["inclusion_probability"]
        for row in wh.read("estimates", *KEYS).to_pylist()
        if row["estimator"] == "spearmanr"
    }
    assert {unit.unit: unit.probability for unit in facts.estimates.shown} == rows
    first = facts.estimates.top[0].probability
    assert first is not None
    assert f"belongs above the budget line with probability {first:.2f}" in render_report(facts)


def test_the_probability_may_be_unknown(tmp_path: Path) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path, families=4)
    facts = read_facts(wh, settings, *KEYS)
    assert {unit.probability for unit in facts.estimates.shown} == {None}
    assert "with probability" not in render_report(facts)


def test_two_groups_carry_no_analysis_and_the_page_says_so(tmp_path: Path) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path, families=2, per_family=4)
    failures: dict[str, PcorrError] = {}
    (found,) = sensitivity_of_targets(wh, settings, "published", ["good"], failures)
    wh.write("sensitivity", KEYS, found.table, found.notes)
    (following,) = next_llms_of_targets(wh, settings, "published", ["good"], failures)
    wh.write("next_llms", KEYS, following.next_llms, following.notes)
    wh.write("learning_curves", KEYS, following.learning_curve, following.notes)
    assert failures == {}
    assert found.table.num_rows == 1
    page = render_report(read_facts(wh, settings, *KEYS))
    assert "There is no analysis to compare with: only 2 independent group(s)" in page
    assert "Add LLM families, of any kind: only 2 independent group(s)" in page
