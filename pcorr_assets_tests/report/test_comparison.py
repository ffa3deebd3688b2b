"""All samples and targets on one page: facts against the tables, the page, and the asset."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.errors import PcorrError
from pcorr_assets.report import comparing, comparison_charts
from pcorr_assets.report.comparison_facts import ComparisonFacts, OverlapFacts
from pcorr_assets.report.comparison_page import render_comparison
from pcorr_assets.report.files import write_comparison, write_index
from pcorr_assets.report.reading_comparison import read_comparison
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.report import worlds
from pcorr_assets_tests.report.conftest import World

PAIRS = {"texts|good", "texts|else", "texts|alike", "texts|fine", "published|good"}


@pytest.fixture(scope="module")
def facts(comparison_world: World) -> ComparisonFacts:
    return read_comparison(*comparison_world, {("texts", "good"): "texts/good.html"})


@pytest.fixture
def own_world(comparison_world: World, tmp_path: Path) -> World:
    """A copy to be changed."""
    folder = comparison_world[1].home.parent
    shutil.copytree(folder, tmp_path / "copy")
    settings = load_settings(tmp_path / "copy" / "pcorr.yaml")
    return Warehouse(settings.home), settings


def weights(wh: Warehouse, name: str) -> dict[str, float]:
    rows = wh.read("sampling_distributions", *name.split("|")).to_pylist()
    return {row["unit"]: row["weight"] for row in rows}


def test_verdicts_are_those_of_the_tables(comparison_world: World, facts: ComparisonFacts) -> None:
    wh, _ = comparison_world
    assert {pair.name for pair in facts.pairs} == PAIRS
    assert facts.left_out == {}
    for pair in facts.pairs:
        (row,) = wh.read("verdicts", pair.sample, pair.target).to_pylist()
        assert pair.verdict.state == row["verdict"]
        assert (pair.verdict.gain, pair.verdict.gain_mean_bpb) == (
            row["gain"], row["gain_mean_bpb"],
        )  # fmt: skip
        assert pair.selected_count == sum(
            one["included"]
            for one in wh.read("sampling_distributions", pair.sample, pair.target).to_pylist()
        )
        assert pair.report == ("texts/good.html" if pair.name == "texts|good" else None)
    order = [(pair.verdict.state, pair.verdict.gain) for pair in facts.pairs]
    assert [state for state, _ in order] == sorted(
        (state for state, _ in order), key=("go", "caution", "no-go").index
    )


def test_overlaps_are_sums_of_smaller_weights(
    comparison_world: World, facts: ComparisonFacts
) -> None:
    wh, _ = comparison_world
    overlap = facts.overlap
    assert overlap is not None
    domains = {row["chunk_id"]: row["domain"] for row in wh.read("chunks", "texts").to_pylist()}
    of = {name: weights(wh, name) for name in PAIRS}
    summed: defaultdict[str, float] = defaultdict(float)
    for chunk, weight in of["texts|fine"].items():
        summed[domains[chunk]] += weight
    place = {name: index for index, name in enumerate(overlap.names)}
    for a in PAIRS:
        for b in PAIRS:
            found = overlap.shares[place[a], place[b]]
            if {a, b} == {"texts|fine", "published|good"}:
                # Other samples are compared on one level only.
                assert np.isnan(found)
                continue
            one, other = of[a], of[b]
            if (a == "texts|fine") != (b == "texts|fine"):
                one = summed if a == "texts|fine" else one
                other = summed if b == "texts|fine" else other
            expected = sum(min(one[unit], other[unit]) for unit in one.keys() & other.keys())
            assert found == pytest.approx(expected, abs=1e-12), (a, b)
    assert overlap.shares[place["texts|good"], place["texts|else"]] < 0.2
    # A projection of another estimator's estimates under the same caps: the table's own order.
    rows = wh.read("estimates", "texts", "good").to_pylist()
    signs = {row["unit"]: row["estimate"] for row in rows if row["estimator"] == "sign"}
    top = sorted(signs, key=lambda unit: -signs[unit])[:6]
    expected = sum(of["texts|good"][unit] for unit in top)
    assert overlap.shares[place["texts|good"], place["texts|good by sign"]] == pytest.approx(
        expected
    )
    assert len(overlap.names) == 5 + 5 * 4


def test_too_many_selections_are_cut_and_counted(
    comparison_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "MAX_SELECTIONS", 7)
    overlap = read_comparison(*comparison_world, {}).overlap
    assert overlap is not None
    assert set(overlap.names[:5]) == PAIRS
    assert (len(overlap.names), overlap.left_out) == (7, 18)


def test_units_that_several_targets_want(comparison_world: World, facts: ComparisonFacts) -> None:
    wh, _ = comparison_world
    (group,) = facts.wanted
    assert (group.sample, group.level) == ("texts", "domain")
    assert set(group.targets) == {"good", "else", "alike"}
    wanting: dict[str, set[str]] = {}
    total: defaultdict[str, float] = defaultdict(float)
    for target in group.targets:
        for row in wh.read("sampling_distributions", "texts", target).to_pylist():
            total[row["unit"]] += row["weight"]
            if row["included"]:
                wanting.setdefault(row["unit"], set()).add(target)
    expected = {unit: targets for unit, targets in wanting.items() if len(targets) > 1}
    assert expected
    assert {unit.unit: set(unit.targets) for unit in group.units} == expected
    assert group.count == len(expected)
    for unit in group.units:
        assert unit.weight == pytest.approx(total[unit.unit] / 3)
    keys = [(-len(unit.targets), -unit.weight) for unit in group.units]
    assert keys == sorted(keys)


def test_mixes_run_from_one_selection_to_the_other(facts: ComparisonFacts) -> None:
    assert [trade.overlap for trade in facts.trades] == sorted(
        trade.overlap for trade in facts.trades
    )
    assert {frozenset(trade.targets) for trade in facts.trades} == {
        frozenset(pair) for pair in (("good", "else"), ("good", "alike"), ("alike", "else"))
    }
    for trade in facts.trades:
        # These are linear projections, so the ends of the curve are the selections.
        ends = ((trade.mixes.first[-1], trade.mixes.second[-1]),
                (trade.mixes.first[0], trade.mixes.second[0]))  # fmt: skip
        assert np.array(ends) == pytest.approx(np.array(trade.own), abs=1e-12)
        chart = comparison_charts.trade_chart(trade)
        by_kind = {mark.kind: (mark.x, mark.y) for mark in chart.marks}
        mixed = [(mark.x, mark.y) for mark in chart.marks if mark.kind == "mix"]
        assert (mixed[0], mixed[-1]) == (by_kind["second"], by_kind["first"])


def test_what_belongs_to_other_tables_is_left_out_with_its_reason(own_world: World) -> None:
    wh, settings = own_world
    path = wh.path("verdicts", "texts", "else")
    rows, noted = wh.read("verdicts", "texts", "else"), wh.metadata("verdicts", "texts", "else")
    wh.write("verdicts", ("texts", "else"), rows, {**noted, "error_vector_sha256": "0" * 64})
    damaged = wh.path("sampling_distributions", "texts", "alike")
    damaged.write_bytes(damaged.read_bytes()[:-40])
    found = read_comparison(wh, settings, {})
    assert path.exists()
    assert {pair.name for pair in found.pairs} == PAIRS - {"texts|else", "texts|alike"}
    assert "verdicts were made from another error vector" in found.left_out["texts|else"]
    assert "texts|alike" in found.left_out
    assert "Materialise rank_prediction again" in render_comparison(found)
    for target in ("good", "fine", "else", "alike"):
        wh.path("estimates", "texts", target).unlink()
    alone = read_comparison(wh, settings, {})
    assert [pair.name for pair in alone.pairs] == ["published|good"]
    page = render_comparison(alone)
    assert page.count("No sample has selections for two targets") == 2
    wh.path("estimates", "published", "good").unlink()
    with pytest.raises(PcorrError, match="nothing to compare"):
        read_comparison(wh, settings, {})


def test_before_there_are_verdicts_and_distributions(own_world: World) -> None:
    wh, settings = own_world
    for table in ("verdicts", "rank_predictions", "sampling_distributions"):
        shutil.rmtree(wh.path(table, "texts", "good").parent.parent)
    page = render_comparison(read_comparison(wh, settings, {}))
    assert "No gain is known yet" in page
    assert "There are no two selections to compare" in page
    assert page.count("Not validated yet") == len(PAIRS)


def test_equal_facts_give_equal_bytes_and_strings_are_escaped(facts: ComparisonFacts) -> None:
    page = render_comparison(facts)
    assert render_comparison(facts) == page
    assert facts.overlap is not None
    group = facts.wanted[0]
    unit = replace(group.units[0], unit=worlds.HOSTILE_DOMAIN, link=None, targets=(worlds.SCRIPT,))
    pair = replace(facts.pairs[0], sample=worlds.SCRIPT, target=worlds.SCRIPT)
    hostile = replace(
        facts,
        pairs=(pair, *facts.pairs[1:]),
        overlap=replace(
            facts.overlap, names=tuple(f"{worlds.SCRIPT}{name}" for name in facts.overlap.names)
        ),
        wanted=(replace(group, sample=worlds.SCRIPT, units=(unit,)),),
        trades=tuple(replace(one, targets=(worlds.SCRIPT, "b")) for one in facts.trades),
        left_out={worlds.SCRIPT: worlds.HOSTILE_DOMAIN},
    )
    assert "owned" in render_comparison(hostile)
    assert re.search(r"<script>document|<img", render_comparison(hostile)) is None


def test_like_selections_stand_together() -> None:
    shares = np.array(
        [[1, 0, 0.9, np.nan], [0, 1, 0.1, 0.8], [0.9, 0.1, 1, 0], [np.nan, 0.8, 0, 1]]
    )
    found = comparison_charts.overlap_map(OverlapFacts(tuple("abcd"), ("page",) * 4, shares, 0))
    assert {frozenset(found.order[:2]), frozenset(found.order[2:])} == {
        frozenset({0, 2}), frozenset({1, 3}),
    }  # fmt: skip
    assert sum(cell.opacity is None for cell in found.cells) == 2
    for place, cell in enumerate(found.cells):
        share = shares[found.order[place // 4], found.order[place % 4]]
        assert cell.text == ("" if np.isnan(share) else f"{share:.2f}")


def test_the_index_and_the_asset_lead_to_the_page(own_world: World, tmp_path: Path) -> None:
    wh, settings = own_world
    assert "comparison.html" not in write_index(wh.home).read_text()
    job = dg.define_asset_job("run", selection=["comparison"])
    resolved = dg.Definitions(assets=build_definitions(settings).assets, jobs=[job])
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        runs = [
            resolved.resolve_job_def("run").execute_in_process(instance=instance) for _ in range(2)
        ]
    events = [run.asset_materializations_for_node("comparison")[0] for run in runs]
    versions = {(event.tags or {})["dagster/data_version"] for event in events}
    metadata: dict[str, Any] = {name: value.value for name, value in events[0].metadata.items()}
    path = wh.home / "reports" / "comparison.html"
    assert (metadata["path"], metadata["sha256"]) == (str(path), sha256_file(path))
    assert len(versions) == 1
    assert "[Download the comparison](/logs/reports/comparison/html)" in metadata["comparison"]
    assert metadata["samples and targets"] == len(PAIRS)
    assert 'href="comparison.html"' in (wh.home / "reports" / "index.html").read_text()
    assert write_comparison(wh, settings).sha256 == metadata["sha256"]
