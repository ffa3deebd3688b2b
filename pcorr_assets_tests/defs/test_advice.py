"""What would change a verdict, in Dagster and at the levels of a text sample."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.steps import levels
from pcorr_assets.steps.levels import at_coarser_level
from pcorr_assets.steps.next_llms import next_llms_of_targets
from pcorr_assets.steps.sensitivity import HANGS_ON_NOTE, sensitivity_of_targets
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.report.worlds import write_text_world


def key(target: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"sample": "published", "target": target})


@pytest.fixture
def two_benchmarks(matrix_settings: Settings) -> Settings:
    """The target `both`: a benchmark that the texts know of, and one that is noise."""
    folder = matrix_settings.home.parent
    return settings_from(
        {
            "home": "home",
            "samples": {
                "published": {
                    "matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv", "level": "page"}
                }
            },
            "targets": {"both": {"benchmarks": ["signal", "noise"]}},
            "selection": {"keep_ratio": 0.25},
            "candidates": [
                {"name": "fam0/llm-0", "parameters": 5},
                "fam0/llm-7b",
                "fresh/llm-1b",
                "fresh/llm-70m",
            ],
            "validation": {"bootstrap": 20, "halvings": 10, "permutations": 100},
        },
        folder=folder,
    )


def made(settings: Settings, materialise: Any, asset: str) -> dict[str, Any]:
    assert materialise(settings, ["bpb_matrix"], "published").success
    assert materialise(settings, ["error_vector"], "both").success
    result = materialise(settings, [asset], key("both"))
    assert result.success
    assert all(e.passed for e in result.get_asset_check_evaluations())
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def test_each_family_benchmark_llm_and_setting_is_a_row(
    two_benchmarks: Settings, materialise: Any
) -> None:
    shown = made(two_benchmarks, materialise, "sensitivity")
    wh = Warehouse(two_benchmarks.home)
    rows = wh.read("sensitivity", "published", "both").to_pylist()
    kinds = [row["kind"] for row in rows]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counts == {
        "none": 1, "family": 8, "benchmark": 2, "llm": 16, "keep_ratio": 2, "estimator": 4
    }  # fmt: skip
    by_change = {row["changed"]: row for row in rows}
    base = by_change["nothing"]
    assert (base["overlap"], base["gain_change"]) == (1, 0)
    # Without the noise the errors say which pages they depend on; without the signal, nothing.
    assert by_change["noise"]["verdict"] == "go"
    assert by_change["noise"]["gain"] > base["gain"] > by_change["signal"]["gain"]
    assert by_change["fam0"]["llm_count"] == 14
    assert {"0.125", "0.5"} <= set(by_change)
    words = json.loads(wh.metadata("sensitivity", "published", "both")[HANGS_ON_NOTE])
    assert any(sentence.startswith("Without benchmark signal") for sentence in words)
    assert "Without benchmark signal" in shown["what it hangs on"]


def test_an_llm_alone_in_its_family_is_the_family(
    two_benchmarks: Settings, materialise: Any
) -> None:
    errors = two_benchmarks.home.parent / "errors.csv"
    with errors.open(newline="") as file:
        lines = list(csv.reader(file))
    (gone,) = (place for place, name in enumerate(lines[0]) if "fam3/llm-1" in name)
    with errors.open("w", newline="") as file:
        csv.writer(file).writerows(line[:gone] + line[gone + 1 :] for line in lines)
    made(two_benchmarks, materialise, "sensitivity")
    rows = Warehouse(two_benchmarks.home).read("sensitivity", "published", "both").to_pylist()
    family, llm = ({**row, "kind": "", "changed": ""} for row in rows if "fam3" in row["changed"])
    assert family == llm
    assert family["llm_count"] == 14


def test_the_row_without_a_benchmark_is_the_target_without_it(
    two_benchmarks: Settings, materialise: Any
) -> None:
    made(two_benchmarks, materialise, "sensitivity")
    wh = Warehouse(two_benchmarks.home)
    rows = wh.read("sensitivity", "published", "both").to_pylist()
    (without,) = (row for row in rows if row["changed"] == "noise")
    alone = two_benchmarks.model_copy(
        update={
            "targets": {
                "both": two_benchmarks.targets["both"].model_copy(update={"benchmarks": ["signal"]})
            }
        }
    )
    assert materialise(alone, ["error_vector"], "both").success
    assert materialise(alone, ["rank_prediction"], key("both")).success
    (verdict,) = wh.read("verdicts", "published", "both").to_pylist()
    for name in ("verdict", "p_value", "gain", "gain_low", "gain_high", "stability"):
        assert without[name] == verdict[name], name


def test_a_change_that_cannot_be_is_a_row_that_says_why(
    matrix_settings: Settings, materialise: Any
) -> None:
    """All LLMs but one have one error: without it nothing can go with the errors."""
    folder = matrix_settings.home.parent
    path = folder / "errors.csv"
    with path.open(newline="") as file:
        header, signal, noise = csv.reader(file)
    signal[1:] = ["0.1", *["0.5"] * (len(signal) - 2)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, signal, noise])
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    assert materialise(matrix_settings, ["error_vector"], "good").success
    failures: dict[str, PcorrError] = {}
    wh = Warehouse(matrix_settings.home)
    (found,) = sensitivity_of_targets(wh, matrix_settings, "published", ["good"], failures)
    assert failures == {}
    rows = {row["changed"]: row for row in found.table.to_pylist()}
    assert "the errors are the same for all 15 LLMs" in rows["fam0/llm-0"]["reason"]
    assert rows["fam0/llm-0"]["verdict"] is None
    assert rows["fam1/llm-0"]["reason"] is None
    assert any("Without LLM fam0/llm-0 there is no analysis" in said for said in found.hangs_on)


def test_other_levels_of_a_text_sample_are_compared_at_the_coarser(tmp_path: Path) -> None:
    wh, settings = write_text_world(tmp_path)
    failures: dict[str, PcorrError] = {}
    (found,) = sensitivity_of_targets(wh, settings, "texts", ["good"], failures)
    rows = [row for row in found.table.to_pylist() if row["kind"] == "level"]
    assert [(row["changed"], row["level"]) for row in rows] == [("chunk", "chunk")]
    assert 0 < rows[0]["overlap"] <= 1
    chunks = wh.read("chunks", "texts", columns=["chunk_id", "domain"]).to_pylist()
    ids = sorted(row["chunk_id"] for row in chunks)
    domain_of = {row["chunk_id"]: row["domain"] for row in chunks}
    domains = sorted(set(domain_of.values()))
    fine = np.random.default_rng(0).dirichlet(np.ones(len(ids)))
    coarse = np.random.default_rng(1).dirichlet(np.ones(len(domains)))
    own, other = at_coarser_level(wh, "texts", ("domain", domains, coarse), ("chunk", ids, fine))
    np.testing.assert_array_equal(own, coarse)
    by_hand = [
        sum(weight for chunk, weight in zip(ids, fine, strict=True) if domain_of[chunk] == domain)
        for domain in domains
    ]
    np.testing.assert_allclose(other, by_hand)


def test_a_level_of_too_many_units_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wh, settings = write_text_world(tmp_path)
    monkeypatch.setattr(levels, "MOST_UNITS", 50)
    (found,) = sensitivity_of_targets(wh, settings, "texts", ["good"], {})
    (row,) = (row for row in found.table.to_pylist() if row["kind"] == "level")
    assert row["reason"] == "96 units are more than the 50 that are analysed"


def test_candidates_come_in_order_and_the_curve_ends_in_words(
    two_benchmarks: Settings, materialise: Any
) -> None:
    shown = made(two_benchmarks, materialise, "next_llms")
    wh = Warehouse(two_benchmarks.home)
    rows = wh.read("next_llms", "published", "both").to_pylist()
    # The first of the list is in the matrix already.
    assert [(row["position"], row["llm"], row["is_new_family"]) for row in rows] == [
        (1, "fresh/llm-70m", True), (2, "fresh/llm-1b", False), (3, "fam0/llm-7b", False)
    ]  # fmt: skip
    widths = [rows[0]["width"], *(row["width_in_order"] for row in rows)]
    assert widths[0] > widths[1]
    assert all(row["cost"] is None for row in rows), "nobody counted tokens"
    curve = wh.read("learning_curves", "published", "both").to_pylist()
    assert [(p["unit_count"], p["group_count"]) for p in curve if p["draws"] == 1] == [(40, 8)]
    (words,) = (point["advice"] for point in curve if point["advice"])
    assert words == shown["what to do next"]


def test_without_candidates_there_are_the_curve_and_the_words(tmp_path: Path) -> None:
    wh, settings = write_text_world(tmp_path)
    failures: dict[str, PcorrError] = {}
    (found,) = next_llms_of_targets(wh, settings, "texts", ["good"], failures)
    assert failures == {}
    assert found.next_llms.num_rows == 0
    assert found.learning_curve.num_rows > 3
    assert found.advice
    wh.write("next_llms", ("texts", "good"), found.next_llms, found.notes)
    assert wh.read("next_llms", "texts", "good").num_rows == 0
