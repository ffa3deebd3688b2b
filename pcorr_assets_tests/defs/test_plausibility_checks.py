"""Checks that come from an asset's own run: they pass on good data, and say what is broken."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.plausibility_checks import DESCRIPTIONS, evaluated_llm, scored_llm
from pcorr_assets.jobs.evaluate_llm import CHANCE
from pcorr_assets.warehouse import TABLES, Warehouse

Materialise = Callable[..., dg.ExecuteInProcessResult]


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    assert result.success
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    return {name for name, check in checks(result).items() if not check.passed}


def edit(path: Path, change: Callable[[list[list[str]]], Any]) -> None:
    """Change the rows of a CSV file in place."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_every_check_is_partitioned_like_its_asset(matrix_settings: Settings) -> None:
    graph = build_definitions(matrix_settings).resolve_asset_graph()
    for asset, names in DESCRIPTIONS.items():
        node = graph.get(dg.AssetKey(asset))
        there = {key.name for key in node.check_keys}
        assert set(names) <= there
        for name in names:
            spec = graph.get_check_spec(dg.AssetCheckKey(dg.AssetKey(asset), name))
            assert spec.partitions_def == node.partitions_def


def test_the_page_of_checks_lists_them_all(matrix_settings: Settings) -> None:
    graph = build_definitions(matrix_settings).resolve_asset_graph()
    there = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, flags=re.MULTILINE))
    assert listed == {(asset, name) for asset, name in there if not name.endswith("_fits_registry")}


def test_a_good_matrix_passes(matrix_settings: Settings, materialise: Materialise) -> None:
    result = materialise(matrix_settings, ["bpb_matrix"], "published")
    assert failed(result) == set()
    found = checks(result)
    assert found["coverage_is_high"].metadata["share of LLMs"].value == 1.0
    assert found["no_llm_is_unlike_the_others"].metadata["allowed"].value == 5.0


def test_a_broken_llm_is_named(
    matrix_settings: Settings, materialise: Materialise, tmp_path: Path
) -> None:
    def quadruple(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[3] = str(4 * float(row[3]))

    edit(tmp_path / "bpb.csv", quadruple)
    result = materialise(matrix_settings, ["bpb_matrix"], "published")
    assert failed(result) == {"no_llm_is_unlike_the_others"}
    found = checks(result)["no_llm_is_unlike_the_others"]
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert (found.description or "").startswith("fam1/llm-0: on the median page its BPB is 3.86")


def test_a_text_that_an_llm_knows_is_found_and_listed(
    matrix_settings: Settings, materialise: Materialise, tmp_path: Path
) -> None:
    def learn(rows: list[list[str]]) -> None:
        rows[5][3] = str(0.2 * float(rows[5][3]))

    edit(tmp_path / "bpb.csv", learn)
    result = materialise(matrix_settings, ["bpb_matrix"], "published")
    assert failed(result) == {"no_text_is_known_by_heart"}
    found = checks(result)["no_text_is_known_by_heart"]
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "fam1/llm-0 on page-04 (0." in (found.description or "")
    (row,) = Warehouse(matrix_settings.home).read("low_cells", "published").to_pylist()
    assert (row["llm"], row["unit"], row["level"]) == ("fam1/llm-0", "page-04", "page")
    assert row["bpb"] < 0.3 * row["expected_bpb"]
    assert row["deviation"] < -5
    materialise(matrix_settings, ["error_vector"], "good")
    assert materialise(matrix_settings, ["estimate"], key("good")).success
    rows = Warehouse(matrix_settings.home).read("estimates", "published", "good").to_pylist()
    plain = {row["unit"] for row in rows if row["estimate_without_low_cells"] == row["estimate"]}
    selected = {row["unit"] for row in rows if row["estimator"] == "spearmanr"}
    assert selected - plain == {"page-04"}


def test_lost_pages_are_noticed(
    matrix_settings: Settings, materialise: Materialise, tmp_path: Path
) -> None:
    def blank(rows: list[list[str]]) -> None:
        for row in rows[1:5]:
            row[3] = "nan"

    edit(tmp_path / "bpb.csv", blank)
    lenient = settings_from(
        {
            **matrix_settings.model_dump(mode="json", exclude_unset=True, exclude={"path"}),
            "selection": {"keep_ratio": 0.25, "max_nan_fraction": 0.2},
        },
        folder=tmp_path,
    )
    result = materialise(lenient, ["bpb_matrix"], "published")
    assert failed(result) == {"coverage_is_high"}
    assert "90.0% of 40 pages are in the matrix" in (
        checks(result)["coverage_is_high"].description or ""
    )


@pytest.fixture
def imported(matrix_settings: Settings, materialise: Materialise) -> Settings:
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    return matrix_settings


def test_good_errors_pass(imported: Settings, materialise: Materialise) -> None:
    result = materialise(imported, ["error_vector"], "good")
    assert failed(result) == set()
    assert checks(result)["benchmarks_agree"].description == "The target has one benchmark."


def with_target(settings: Settings, benchmarks: list[str]) -> Settings:
    stated = settings.model_dump(mode="json", exclude_unset=True, exclude={"path"})
    return settings_from(
        {**stated, "targets": {"good": {"benchmarks": benchmarks}}}, folder=settings.home.parent
    )


def test_benchmarks_that_disagree_are_named(imported: Settings, materialise: Materialise) -> None:
    both = with_target(imported, ["signal", "noise"])
    result = materialise(both, ["error_vector"], "good")
    assert failed(result) == {"benchmarks_agree"}
    description = checks(result)["benchmarks_agree"].description or ""
    assert description.startswith("published: signal and noise put the LLMs in different orders")


def test_errors_that_hardly_differ_are_noticed(
    matrix_settings: Settings, materialise: Materialise, tmp_path: Path
) -> None:
    def level(rows: list[list[str]]) -> None:
        rows[1][1:] = [f"0.75{index:04}" for index in range(len(rows[1]) - 1)]

    edit(tmp_path / "errors.csv", level)
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    result = materialise(matrix_settings, ["error_vector"], "good")
    assert failed(result) == {"errors_differ"}


def test_few_llms_with_errors_are_noticed(
    matrix_settings: Settings, materialise: Materialise, tmp_path: Path
) -> None:
    edit(tmp_path / "errors.csv", lambda rows: [row.__delitem__(slice(6, None)) for row in rows])
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    result = materialise(matrix_settings, ["error_vector"], "good")
    assert failed(result) == {"enough_llms"}


def key(target: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"sample": "published", "target": target})


def test_an_estimate_is_compared_with_the_one_it_replaces(
    imported: Settings, materialise: Materialise, tmp_path: Path
) -> None:
    assert materialise(imported, ["error_vector"], "good").success
    first = checks(materialise(imported, ["estimate"], key("good")))["stable_since_last"]
    assert first.passed
    assert first.description == (
        "published|good: the first estimate; there is none to compare it with."
    )
    again = checks(materialise(imported, ["estimate"], key("good")))["stable_since_last"]
    assert again.passed
    name = "rank correlation with the last, published|good"
    assert again.metadata[name].value == pytest.approx(1)

    def swap(rows: list[list[str]]) -> None:
        rows[1][0], rows[2][0] = rows[2][0], rows[1][0]

    edit(tmp_path / "errors.csv", swap)
    assert materialise(imported, ["bpb_matrix"], "published").success
    assert materialise(imported, ["error_vector"], "good").success
    other = materialise(imported, ["estimate"], key("good"))
    assert failed(other) == {"stable_since_last"}
    last = checks(materialise(imported, ["estimate"], key("good")))["stable_since_last"]
    assert last.passed, "what is the answer now is what the next one is compared with"


def test_an_llm_whose_errors_its_losses_do_not_explain_is_named(
    matrix_settings: Settings, materialise: Materialise, tmp_path: Path
) -> None:
    """Ability makes both, but for one LLM that is the best on the benchmark and not on texts."""

    def follow(rows: list[list[str]]) -> None:
        size = len(rows[0]) - 1
        rows[1][1:] = [str(0.3 + 0.01 * (n + (n % 3) / 2)) for n in range(size)]
        rows[1][size - 2] = "0.2"

    def able(rows: list[list[str]]) -> None:
        for page, row in enumerate(rows[1:]):
            row[1:] = [str(1 + 0.02 * n + 0.001 * (n * page % 7)) for n in range(len(row) - 1)]

    edit(tmp_path / "bpb.csv", able)
    edit(tmp_path / "errors.csv", follow)
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    assert materialise(matrix_settings, ["error_vector"], "good").success
    result = materialise(matrix_settings, ["estimate"], key("good"))
    assert failed(result) == {"errors_go_with_losses"}
    found = checks(result)["errors_go_with_losses"]
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert (found.description or "").startswith("published|good: fam6/llm-1 (-")
    assert found.metadata["LLMs whose errors are too low, published|good"].value == 1


def test_a_damaged_old_estimate_costs_the_new_one_nothing(
    imported: Settings, materialise: Materialise
) -> None:
    assert materialise(imported, ["error_vector"], "good").success
    path = Warehouse(imported.home).path("estimates", "published", "good")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no Parquet")
    found = checks(materialise(imported, ["estimate"], key("good")))["stable_since_last"]
    assert found.passed
    assert "cannot be read" in (found.description or "")


def test_an_old_estimate_of_another_layout_costs_the_new_one_nothing(
    imported: Settings, materialise: Materialise
) -> None:
    assert materialise(imported, ["error_vector"], "good").success
    assert materialise(imported, ["estimate"], key("good")).success
    path = Warehouse(imported.home).path("estimates", "published", "good")
    rows = pq.read_table(path)
    for old in (
        rows.drop_columns(["level"]),
        rows.set_column(
            rows.schema.get_field_index("estimate"),
            "estimate",
            pa.array([float("nan")] * rows.num_rows),
        ),
    ):
        pq.write_table(old, path)
        found = checks(materialise(imported, ["estimate"], key("good")))["stable_since_last"]
        assert found.passed
        assert "cannot be" in (found.description or "")
        assert pq.read_table(path) == rows


def test_an_llm_that_guesses_is_noticed(tmp_path: Path) -> None:
    """The partition says what guessing gives; the rest of the run is tested with the job."""
    wh = Warehouse(tmp_path)
    row = {
        "llm": "a/llm", "source": "lm_eval", "benchmark": "arc", "metric": "acc,none",
        "higher_is_better": True, "score": 0.26, "error": 0.74, "stderr": 0.02,
    }  # fmt: skip
    schema = TABLES["benchmark_errors"].schema
    table = pa.Table.from_pylist([row], schema=schema)
    for chance, passed in (('{"arc": 0.25}', False), ('{"arc": 0.1}', True), ("{}", True)):
        wh.write("benchmark_errors", ("a/llm",), table, {CHANCE: chance})
        (found,) = evaluated_llm(wh, "a/llm")
        assert found.passed is passed


def test_an_llm_whose_losses_are_impossible_is_an_error(
    tmp_path: Path, matrix_settings: Settings
) -> None:
    wh = Warehouse(tmp_path / "other")
    schema = TABLES["chunk_bpb"].schema

    def write(loss: float, tokens: int, unknown: int) -> dict[str, dg.AssetCheckResult]:
        rows = [
            {"sample": "web", "llm": "a/llm", "chunk_id": f"c{index}", "loss": loss,
             "token_count": tokens, "byte_count": 2000, "bpb": 1.0, "unk_count": unknown}
            for index in range(10)
        ]  # fmt: skip
        wh.write("chunk_bpb", ("a/llm", "web"), pa.Table.from_pylist(rows, schema=schema))
        return {found.check_name or "": found for found in
                scored_llm(wh, matrix_settings, "a/llm", "web")}  # fmt: skip

    good = write(2.5, 500, 0)
    assert all(found.passed for found in good.values())
    broken = write(40.0, 500, 0)["losses_make_sense"]
    assert not broken.passed
    assert broken.severity == dg.AssetCheckSeverity.ERROR
    unknown = write(2.5, 500, 400)["tokens_fit_text"]
    assert not unknown.passed
    assert unknown.severity == dg.AssetCheckSeverity.WARN
