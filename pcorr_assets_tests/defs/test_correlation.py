"""From a published matrix to a verdict and a sampling distribution, in Dagster."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.report.reading import read_facts
from pcorr_assets.warehouse import Warehouse, connect

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def key(target: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"sample": "published", "target": target})


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    return next(e for e in result.get_asset_check_evaluations() if e.check_name == name)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def run_until_vectors(settings: Settings, materialise: Any) -> dg.ExecuteInProcessResult:
    result = materialise(settings, ["bpb_matrix"], "published")
    assert result.success
    for target in settings.targets:
        assert materialise(settings, ["error_vector"], target).success
    return result


STATISTICS = ["estimate", "rank_prediction", "sampling_distribution"]


def test_a_published_matrix_goes_all_the_way(matrix_settings: Settings, materialise: Any) -> None:
    imported = run_until_vectors(matrix_settings, materialise)
    assert metadata(imported, "bpb_matrix")["LLMs included"] == 16
    assert metadata(imported, "bpb_matrix")["dagster/row_count"] == 16 * 40
    result = materialise(matrix_settings, STATISTICS, key("good"))
    assert result.success
    with connect(matrix_settings.home) as connection:
        best = connection.execute(
            "SELECT unit FROM estimates WHERE target = 'good' AND estimator = 'spearmanr' "
            "ORDER BY estimate DESC LIMIT 10"
        ).fetchall()
        assert {unit for (unit,) in best} <= {f"page-{d:02}" for d in range(20)}
        weights = connection.execute(
            "SELECT sum(weight), sum(weight) FILTER (unit < 'page-20'), count(*) FILTER (included) "
            "FROM sampling_distributions"
        ).fetchall()
        assert weights == [(pytest.approx(1), pytest.approx(1), 10)]
        (verdict,) = connection.execute("SELECT verdict FROM verdicts").fetchall()
    assert verdict == ("go",)
    assert check(result, "selection_is_trustworthy").passed
    assert all(e.passed for e in result.get_asset_check_evaluations())
    shown = metadata(result, "estimate")
    assert shown["units selected"] == 10
    assert [r.data["unit"] for r in shown["top ten units"].records] == [unit for (unit,) in best]
    assert "data:image/png;base64," in shown["estimates"]
    shown = metadata(result, "rank_prediction")
    assert shown["verdict"] == "go"
    assert "data:image/png" in shown["what the selection gains"]


def test_a_verdict_that_is_no_go_is_a_warning_with_advice(
    matrix_settings: Settings, materialise: Any
) -> None:
    run_until_vectors(matrix_settings, materialise)
    result = materialise(matrix_settings, ["rank_prediction"], key("bad"))
    assert result.success
    found = check(result, "selection_is_trustworthy")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "published|bad: no-go" in (found.description or "")
    assert "More LLM families" in (found.description or "")


def test_a_range_of_targets_is_one_run_with_metadata_of_its_own(
    matrix_settings: Settings, materialise: Any, instance: dg.DagsterInstance
) -> None:
    run_until_vectors(matrix_settings, materialise)
    tags = {START: "published|good", END: "published|bad"}
    result = materialise(matrix_settings, ["estimate"], tags=tags)
    assert result.success
    events = result.asset_materializations_for_node("estimate")
    shown = {event.partition: event.metadata["sha256"].value for event in events}
    wh = Warehouse(matrix_settings.home)
    assert set(shown) == {"published|bad", "published|good"}
    assert len(set(shown.values())) == 2
    for target in ("good", "bad"):
        assert wh.row_count("estimates", "published", target) == 5 * 40
        alone = materialise(matrix_settings, ["estimate"], key(target))
        assert metadata(alone, "estimate")["sha256"] == shown[f"published|{target}"]


def test_a_failed_target_of_a_range_costs_the_others_nothing(
    matrix_settings: Settings, materialise: Any, instance: dg.DagsterInstance
) -> None:
    run_until_vectors(matrix_settings, materialise)
    wh = Warehouse(matrix_settings.home)
    wh.path("error_vectors", "good").unlink()
    tags = {START: "published|good", END: "published|bad"}
    result = materialise(matrix_settings, ["estimate"], tags=tags)
    assert not result.success
    failure = result.failure_data_for_node("estimate")
    assert failure
    assert failure.error
    assert failure.error.cause
    assert "1 target(s) failed, 1 are materialised" in failure.error.cause.message
    assert "published|good: error_vectors: partition good is not there" in (
        failure.error.cause.message
    )
    done = instance.get_materialized_partitions(dg.AssetKey("estimate"))
    assert done == {"published|bad"}
    assert wh.exists("estimates", "published", "bad")


def test_estimates_of_another_matrix_are_refused(
    matrix_settings: Settings, materialise: Any, tmp_path: Path
) -> None:
    run_until_vectors(matrix_settings, materialise)
    assert materialise(matrix_settings, ["estimate"], key("good")).success
    bpb = tmp_path / "bpb.csv"
    bpb.write_text(bpb.read_text().replace("page-39", "page-40"))
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    result = materialise(matrix_settings, ["sampling_distribution"], key("good"))
    failure = result.failure_data_for_node("sampling_distribution")
    assert failure
    assert failure.error
    assert failure.error.cause
    assert "made from another matrix" in failure.error.cause.message


@pytest.mark.parametrize(
    ("asset", "table"), [("estimate", "estimates"), ("rank_prediction", "rank_predictions")]
)
def test_a_second_run_of_a_target_computes_nothing(
    matrix_settings: Settings, materialise: Any, asset: str, table: str
) -> None:
    with Warehouse(matrix_settings.home).lock(table, "published", "good", holder="run abc"):
        result = materialise(matrix_settings, [asset], key("good"))
    failure = result.failure_data_for_node(asset)
    assert failure
    assert failure.error
    assert failure.error.cause
    assert "is being materialised by run abc" in failure.error.cause.message


def test_a_changed_errors_file_makes_another_data_version(
    matrix_settings: Settings, materialise: Any, tmp_path: Path
) -> None:
    def version() -> str:
        result = materialise(matrix_settings, ["bpb_matrix"], "published")
        (event,) = result.asset_materializations_for_node("bpb_matrix")
        return event.tags["dagster/data_version"]

    first = version()
    errors = tmp_path / "errors.csv"
    errors.write_text(errors.read_text().replace("noise", "other"))
    assert version() != first


def test_the_same_again_has_the_same_data_version(
    matrix_settings: Settings, materialise: Any
) -> None:
    def version() -> str:
        result = materialise(matrix_settings, ["bpb_matrix"], "published")
        (event,) = result.asset_materializations_for_node("bpb_matrix")
        return event.tags["dagster/data_version"]

    first = version()
    assert version() == first
    bpb = Path(str(matrix_settings.home)).parent / "bpb.csv"
    bpb.write_text(bpb.read_text().replace("page-39", "page-40"))
    assert version() != first


def test_a_second_run_of_a_partition_names_the_first(
    matrix_settings: Settings, materialise: Any
) -> None:
    with Warehouse(matrix_settings.home).lock("bpb_matrix", "published", holder="run abc"):
        result = materialise(matrix_settings, ["bpb_matrix"], "published")
    assert not result.success
    failure = result.failure_data_for_node("bpb_matrix")
    assert failure is not None
    assert failure.error is not None
    assert failure.error.cause is not None
    assert "is being materialised by run abc" in failure.error.cause.message


def test_an_estimate_without_its_inputs_says_what_to_do(
    matrix_settings: Settings, materialise: Any
) -> None:
    result = materialise(matrix_settings, ["estimate"], key("good"))
    failure = result.failure_data_for_node("estimate")
    assert failure is not None
    assert failure.error is not None
    assert failure.error.cause is not None
    assert "materialise" in failure.error.cause.message.lower()
    assert "bpb_matrix" in failure.error.cause.message


def test_few_llms_are_a_warning(
    matrix_settings: Settings, materialise: Any, tmp_path: Path
) -> None:
    for name in ("bpb.csv", "errors.csv"):
        with (tmp_path / name).open(newline="") as file:
            cut = [row[:5] for row in csv.reader(file)]
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows(cut)
    result = materialise(matrix_settings, ["bpb_matrix"], "published")
    found = check(result, "enough_llms")
    assert not found.passed
    assert "4 LLMs are few" in (found.description or "")
    assert "2 families are few" in (found.description or "")


def test_estimator_auto_from_estimate_to_distribution(
    matrix_settings: Settings, materialise: Any, tmp_path: Path
) -> None:
    stated = matrix_settings.model_dump(mode="json", exclude_unset=True, exclude={"path"})
    stated["selection"]["estimator"] = "auto"
    settings = settings_from(stated, folder=tmp_path)
    run_until_vectors(settings, materialise)
    assert materialise(settings, STATISTICS, key("good")).success
    wh = Warehouse(settings.home)
    rows = wh.read("estimates", "published", "good").to_pylist()
    chosen = wh.metadata("estimates", "published", "good")["chosen_estimator"]
    by_name = {
        name: [row["estimate"] for row in rows if row["estimator"] == name]
        for name in ("auto", chosen)
    }
    assert by_name["auto"] == by_name[chosen]
    assert len(rows) == 6 * 40
    assert {row["estimator"] for row in rows if row["selection_frequency"] is not None} == {"auto"}
    assert wh.read("verdicts", "published", "good")["verdict"].to_pylist() == ["go"]
    ranks = wh.read("rank_predictions", "published", "good")
    assert set(ranks["estimator"].to_pylist()) == {"auto"}
    facts = read_facts(wh, settings, "published", "good")
    assert facts.estimator == f"auto: {chosen}"
