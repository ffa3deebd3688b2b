"""The facts of a report against the tables, and against independent computation."""

from __future__ import annotations

import glob
import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import yaml
from scipy.stats import rankdata

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.report.facts import CANNOT_BE_VALIDATED, NOT_VALIDATED, Facts
from pcorr_assets.report.page import render_report
from pcorr_assets.report.provenance import _in_words
from pcorr_assets.report.reading import read_facts
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.report import worlds
from pcorr_assets_tests.report.conftest import World


def test_units_are_the_estimates_in_descending_order(text_world: World, text_facts: Facts) -> None:
    wh, _ = text_world
    matrix = read_matrix(wh, "texts", "domain")
    errors = {row["llm"]: row["error"] for row in wh.read("error_vectors", "good").to_pylist()}
    of_errors = rankdata([errors[llm] for llm in matrix.llms])
    expected = {
        unit: float(np.corrcoef(rankdata(matrix.X[:, place]), of_errors)[0, 1])
        for place, unit in enumerate(matrix.units.to_pylist())
    }
    shown = text_facts.estimates.shown
    assert {unit.unit: pytest.approx(unit.estimate, abs=1e-12) for unit in shown} == expected
    assert [unit.estimate for unit in shown] == pytest.approx(
        sorted(expected.values(), reverse=True), abs=1e-12
    )
    assert [unit.position for unit in shown] == list(range(1, 25))
    included = [unit.unit for unit in shown if unit.included]
    # A cap of 4/24 for each of 24 equal domains fills six of them.
    assert included == [unit.unit for unit in shown[:6]]
    assert sum(unit.weight or 0 for unit in shown) == pytest.approx(1)
    assert text_facts.estimates.selected_count == 6


def test_selection_frequency_stands_beside_chance(text_world: World, text_facts: Facts) -> None:
    wh, _ = text_world
    estimates = text_facts.estimates
    assert estimates.frequency is not None
    noted = json.loads(wh.metadata("estimates", "texts", "good")["selection_frequency"])
    assert estimates.frequency_chance == noted["chance_mean"]
    mean = float(estimates.frequency[:6].mean())
    assert estimates.frequency_mean == pytest.approx(mean) == pytest.approx(noted["selected_mean"])


def test_the_ends_come_with_beginnings_of_their_pages(text_facts: Facts) -> None:
    units = (*text_facts.estimates.top, *text_facts.estimates.bottom)
    assert len(text_facts.estimates.top) == len(text_facts.estimates.bottom) == 8
    for unit in units:
        assert len(unit.snippets) == 2
        assert all(f"of {unit.unit} & more" in text for text in unit.snippets)
        assert {text.split()[4] for text in unit.snippets} == {"0", "1"}
        assert all(len(text) <= 200 for text in unit.snippets)


def test_hostile_units_get_no_link(text_facts: Facts) -> None:
    links = {unit.unit: unit.link for unit in text_facts.estimates.shown}
    assert links.pop(worlds.HOSTILE_DOMAIN) is None
    assert links == {unit: f"https://{unit}" for unit in links}


def test_chunks_are_shown_with_their_pages(tmp_path: Path) -> None:
    wh, settings = worlds.write_text_world(tmp_path, level="chunk")
    facts = read_facts(wh, settings, "texts", "good")
    pages = {row["chunk_id"]: row["page_id"] for row in wh.read("chunks", "texts").to_pylist()}
    assert {unit.unit: unit.page for unit in facts.estimates.shown} == pages
    scripts = [unit for unit in facts.estimates.shown if "javascript" in (unit.page or "")]
    assert len(scripts) == 4
    assert {unit.link for unit in scripts} == {None}
    assert all(len(unit.snippets) == 1 for unit in facts.estimates.top)


def test_ranks_verdict_and_coverage_are_the_tables(text_world: World, text_facts: Facts) -> None:
    wh, _ = text_world
    (verdict,) = wh.read("verdicts", "texts", "good").to_pylist()
    assert text_facts.verdict.state == verdict["verdict"]
    assert text_facts.verdict.delta == verdict["delta"]
    panels = {(panel.scheme, panel.predictor): panel for panel in text_facts.ranks}
    assert set(panels) == {(s, p) for s in ("family", "random") for p in ("estimate", "mean_bpb")}
    assert panels["family", "estimate"].correlation == pytest.approx(verdict["rank_correlation"])
    by_llm = {llm.llm: llm for llm in text_facts.llms}
    assert len(by_llm) == 15
    assert by_llm["lab9/gone"].note == "it failed"
    assert not by_llm["lab9/gone"].used
    assert by_llm["lab1/llm-a"].link == f"https://huggingface.co/lab1/llm-a/tree/{worlds.COMMIT}"
    assert by_llm[worlds.HOSTILE_LLM].link is None


def test_tables_are_named_with_their_hashes(text_world: World, text_facts: Facts) -> None:
    wh, _ = text_world
    tables = {table.table: table for table in text_facts.provenance.tables}
    assert len(tables) == 9
    estimates = tables["estimates"]
    assert estimates.sha256 == sha256_file(wh.path("estimates", "texts", "good"))
    assert estimates.rows == wh.row_count("estimates", "texts", "good") == 5 * 24
    selection = text_facts.provenance.settings["selection of this target"]
    assert selection["keep_ratio"] == "0.25"
    assert text_facts.provenance.settings["samples.texts"]["files"] == "*.jsonl"


def test_an_imported_matrix_has_no_texts_and_no_filter(matrix_facts: Facts) -> None:
    assert matrix_facts.filter is None
    assert "imported matrix" in (matrix_facts.filter_absence or "")
    assert all(unit.snippets == () for unit in matrix_facts.estimates.top)
    assert all(unit.token_count is None for unit in matrix_facts.estimates.shown)
    settings = matrix_facts.provenance.settings
    assert "level" not in settings["selection of this target"]
    assert set(settings["samples.published"]) == {
        "matrix_csv.bpb", "matrix_csv.errors", "matrix_csv.level",
    }  # fmt: skip


def test_too_few_groups_cannot_be_validated(tmp_path: Path) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path, families=2, per_family=4)
    facts = read_facts(wh, settings, "published", "good")
    assert facts.verdict.state == CANNOT_BE_VALIDATED
    assert facts.verdict.delta is None
    assert facts.estimates.frequency is None
    assert "too few to resample" in (facts.estimates.frequency_reason or "")


def test_what_is_not_there_yet_is_said(tmp_path: Path) -> None:
    wh, settings = worlds.write_text_world(tmp_path)
    for table in ("verdicts", "rank_predictions", "sampling_distributions", "fasttext_filters"):
        wh.path(table, "texts", "good").unlink()
    facts = read_facts(wh, settings, "texts", "good")
    assert facts.verdict.state == NOT_VALIDATED
    assert facts.ranks == ()
    assert facts.ranks_absence == ("rank_prediction has not been materialised.",)
    assert facts.distribution is None
    assert facts.estimates.included is None
    assert "materialise fasttext_filter" in (facts.filter_absence or "")


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path)
    key = ("published", "good")
    distribution = wh.read("sampling_distributions", *key)
    flipped = pc.call_function("invert", [distribution["included"]])
    place = distribution.schema.get_field_index("included")
    wh.write("sampling_distributions", key, distribution.set_column(place, "included", flipped))
    with pytest.raises(PcorrError, match="do not follow from its estimates"):
        read_facts(wh, settings, *key)
    wh.write("sampling_distributions", key, distribution)
    verdicts = wh.read("verdicts", *key)
    noted = wh.metadata("verdicts", *key)
    wh.write("verdicts", key, verdicts, {**noted, "bpb_matrix_sha256": "0" * 64})
    with pytest.raises(PcorrError, match=r"verdicts of published\|good were made from another"):
        read_facts(wh, settings, *key)
    wh.write("verdicts", key, verdicts, noted)
    vector = wh.read("error_vectors", "good")
    wh.write("error_vectors", ("good",), vector.take(list(reversed(range(len(vector))))))
    with pytest.raises(PcorrError, match="another error vector"):
        read_facts(wh, settings, *key)


@pytest.mark.parametrize(
    ("section", "change", "again"),
    [
        ("selection", {"keep_ratio": 0.4}, "sampling_distribution again"),
        ("selection", {"projection": "l2"}, "sampling_distribution again"),
    ],
)
def test_settings_of_today_are_not_shown_beside_numbers_of_others(
    tmp_path: Path, section: str, change: dict[str, object], again: str
) -> None:
    wh, settings = worlds.write_text_world(tmp_path)
    read_facts(wh, settings, "texts", "good")
    config = yaml.safe_load((tmp_path / "pcorr.yaml").read_text())
    config[section] = {**config[section], **change}
    with pytest.raises(PcorrError, match=again):
        read_facts(wh, worlds.write_config(tmp_path, config), "texts", "good")


def test_a_filter_of_an_earlier_distribution_says_so(tmp_path: Path) -> None:
    wh, settings = worlds.write_text_world(tmp_path)
    found = read_facts(wh, settings, "texts", "good").filter
    assert found is not None
    assert found.notes == (f"Note {worlds.SCRIPT}",)
    worlds.write_filter(wh, trained_on="0" * 64)
    outdated = read_facts(wh, settings, "texts", "good").filter
    assert outdated is not None
    assert "trained on an earlier sampling distribution" in outdated.notes[1]


def test_a_damaged_note_of_what_scoring_took_costs_no_report(tmp_path: Path) -> None:
    wh, settings = worlds.write_text_world(tmp_path)
    llms = [run.llm for run in read_facts(wh, settings, "texts", "good").scoring]
    path = wh.path("scoring_runs", llms[3], "texts")
    path.write_bytes(path.read_bytes()[:-20])
    again = read_facts(wh, settings, "texts", "good")
    assert [run.llm for run in again.scoring] == llms[:3] + llms[4:]
    with pytest.raises(PcorrError, match="Remove it: it says what scoring took"):
        wh.read("scoring_runs", llms[3], "texts")


def test_without_estimates_there_is_no_report(tmp_path: Path) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path)
    wh.path("estimates", "published", "good").unlink()
    with pytest.raises(PcorrError, match="estimates: partition published"):
        read_facts(wh, settings, "published", "good")


def test_of_many_units_the_ends_are_shown(tmp_path: Path) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path, families=6, per_family=1, pages=1000)
    facts = read_facts(wh, settings, "published", "good")
    assert facts.estimates.count == 1000
    assert [unit.position for unit in facts.estimates.shown] == [
        *range(1, 601), *range(801, 1001),
    ]  # fmt: skip
    assert facts.matrix.bpb.shape == (6, 400)
    assert facts.matrix.columns[[0, -1]].tolist() == [0, 999]


@pytest.mark.parametrize("folder", ["/plain", "/star*", "/[what?]"])
def test_files_are_named_within_the_project_whatever_its_folder_is_called(folder: str) -> None:
    place = Path(folder)
    patterns = [f"{glob.escape(folder)}/texts/*.jsonl", f"{folder}/tokens.csv", "/else/where.csv"]
    assert _in_words(patterns, place) == "texts/*.jsonl, tokens.csv, …/where.csv"


def test_the_reliability_of_errors_stands_beside_verdict_and_benchmarks(tmp_path: Path) -> None:
    wh, settings = worlds.write_text_world(tmp_path)
    assert "reliability of the errors" in render_report(read_facts(wh, settings, "texts", "good"))
    for llm in read_facts(wh, settings, "texts", "good").llms:
        if llm.used:
            row = {
                "llm": llm.llm, "source": "lm_eval", "benchmark": "quiz", "metric": "acc,none",
                "error": llm.error,
            }  # fmt: skip
            wh.write("benchmark_errors", (llm.llm,), worlds.table("benchmark_errors", [row]))
    rows = [
        {
            "target": "good", "benchmark": "quiz", "metric": metric, "is_used": used,
            "llm_count": 14, "item_count": 40, "reliability": value, "target_reliability": 0.625,
        }
        for metric, used, value in (
            ("acc,none", True, 0.625), ("gold_bpb,none", False, 0.9375), ("x,y", False, None),
        )
    ]  # fmt: skip
    wh.write("reliabilities", ("good",), worlds.table("reliabilities", rows))
    facts = read_facts(wh, settings, "texts", "good")
    (quiz,) = facts.provenance.benchmarks
    assert (facts.provenance.reliability, quiz.reliability) == (0.625, 0.625)
    assert quiz.reliability_of_others == "gold_bpb 0.94"
    report = render_report(facts)
    assert "Reliability of the target's error: 0.62." in report.replace("&#39;", "'")
    assert "gold_bpb 0.94" in report
