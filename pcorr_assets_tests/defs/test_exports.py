"""The assets that give files away, launched as Dagster launches them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.errors import PcorrError
from pcorr_assets.steps.sharing import share_published
from pcorr_assets.warehouse import TABLES

KEY = dg.MultiPartitionKey({"sample": "published", "target": "good"})
STATISTICS = ["estimate", "rank_prediction", "sampling_distribution"]


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def version(result: dg.ExecuteInProcessResult, asset: str) -> str:
    (event,) = result.asset_materializations_for_node(asset)
    return (event.tags or {})["dagster/data_version"]


def options(asset: str, **config: Any) -> dict[str, Any]:
    return {"run_config": {"ops": {asset: {"config": config}}}}


@pytest.fixture
def finished(matrix_settings: Settings, materialise: Any) -> Settings:
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    for target in matrix_settings.targets:
        assert materialise(matrix_settings, ["error_vector"], target).success
    assert materialise(matrix_settings, STATISTICS, KEY).success
    return matrix_settings


def test_every_asset_that_writes_a_table_is_above_the_database() -> None:
    graph = build_definitions(load_settings(None)).resolve_asset_graph()
    key = dg.AssetKey("exported_database")
    writers = {
        node.key
        for node in graph.asset_nodes
        if "dagster/table_name" in node.metadata and node.key != key
    }
    assert len(writers) == 18
    assert graph.get(key).parent_keys == writers
    assert not graph.get(key).is_partitioned
    assert graph.get(key).group_name == "sharing"


def test_an_export_does_not_replace_what_the_sample_was_imported_from(
    matrix_settings: Settings,
) -> None:
    published = matrix_settings.samples["published"].matrix_csv
    assert published is not None
    bpb = Path(published.bpb)
    folder, content = bpb.parent, bpb.read_bytes()
    errors = Path(published.errors).rename(folder / "benchmark_errors.csv")
    moved = published.model_copy(update={"errors": errors})
    sample = matrix_settings.samples["published"].model_copy(update={"matrix_csv": moved})
    settings = matrix_settings.model_copy(update={"samples": {"published": sample}})
    with pytest.raises(PcorrError, match=r"would replace .*benchmark_errors\.csv, which a sample"):
        share_published(settings, "published", folder)
    assert bpb.read_bytes() == content


def test_somebody_who_has_only_the_file_can_answer(
    finished: Settings, materialise: Any, tmp_path: Path
) -> None:
    result = materialise(finished, ["exported_database"])
    assert result.success
    shown = metadata(result, "exported_database")
    assert shown["path"] == str(finished.home / "exports" / "pcorr_export.duckdb")
    assert shown["bytes"] == Path(shown["path"]).stat().st_size
    rows = {record.data["table"]: record.data["rows"] for record in shown["rows by table"].records}
    assert list(rows) == list(TABLES)
    assert rows["bpb_matrix"] == 16 * 40
    assert rows["selections"] == 0

    elsewhere = tmp_path / "given-away.duckdb"
    shutil.copyfile(shown["path"], elsewhere)
    shutil.rmtree(finished.home)
    with duckdb.connect(str(elsewhere), read_only=True) as connection:
        queries = dict(
            connection.execute("SELECT name, value FROM README WHERE section = 'query'").fetchall()
        )
        best = connection.execute(
            queries["Which ten units (domains) are best for a target?"]
        ).fetchall()
        (sure,) = connection.execute(queries["How sure are we?"]).fetchall()
        used = connection.execute(queries["Which LLMs were used, at which commit?"]).fetchall()
        stated = connection.execute(
            "SELECT value FROM README WHERE section = 'configuration'"
        ).fetchone()
    assert len(best) == 10
    assert {unit for _, unit, *_ in best} <= {f"page-{d:02}" for d in range(20)}
    assert sure[0] == "go"
    assert [llm for llm, *_ in used] == sorted(f"fam{f}/llm-{i}" for f in range(8) for i in (0, 1))
    assert stated is not None
    assert "keep_ratio: 0.25" in stated[0]


def test_the_version_is_that_of_what_was_copied(finished: Settings, materialise: Any) -> None:
    first, again = (materialise(finished, ["exported_database"]) for _ in range(2))
    assert version(first, "exported_database") == version(again, "exported_database")
    with_text = materialise(
        finished, ["exported_database"], **options("exported_database", include_text=True)
    )
    assert with_text.success
    assert metadata(with_text, "exported_database")["texts included"] is True
    assert version(with_text, "exported_database") != version(first, "exported_database")
    assert materialise(finished, ["estimate"], KEY).success
    settled = materialise(finished, ["exported_database"])
    assert version(settled, "exported_database") == version(first, "exported_database")


def test_nothing_needs_to_be_materialised_but_something(
    matrix_settings: Settings, materialise: Any
) -> None:
    nothing = materialise(matrix_settings, ["exported_database"])
    assert not nothing.success
    (failure,) = nothing.get_failed_step_keys()
    assert failure == "exported_database"
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    result = materialise(matrix_settings, ["exported_database"])
    assert result.success
    with duckdb.connect(metadata(result, "exported_database")["path"], read_only=True) as db:
        assert db.execute("SELECT count(*) FROM bpb_matrix").fetchone() == (640,)
        assert db.execute("SELECT count(*) FROM best_units").fetchone() == (0,)


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_published_files_are_a_sample_again(
    finished: Settings, materialise: Any, tmp_path: Path, format: str
) -> None:
    result = materialise(
        finished,
        ["published_export"],
        "published",
        **options("published_export", format=format),
    )
    assert result.success
    shown = metadata(result, "published_export")
    folder = finished.home / "exports" / "published" / "published"
    assert shown[f"bpb_by_page.{format}"] == str(folder / f"bpb_by_page.{format}")
    assert (shown["LLMs"], shown["pages"], shown["benchmarks"]) == (16, 40, 2)
    stated = finished.model_dump(mode="json", exclude_none=True, exclude={"compute"})
    again = settings_from(
        {
            **stated,
            "home": "home-again",
            "samples": {
                "published": {
                    "matrix_csv": {
                        "bpb": str(folder / f"bpb_by_page.{format}"),
                        "errors": str(folder / f"benchmark_errors.{format}"),
                    }
                }
            },
        },
        folder=tmp_path,
    )
    assert materialise(again, ["bpb_matrix"], "published").success
    assert materialise(again, ["error_vector"], "good").success
    assert materialise(again, STATISTICS, KEY).success
    for table in ("estimates", "sampling_distributions", "rank_predictions", "verdicts"):
        path = Path("warehouse") / table / "published" / "good.parquet"
        assert (again.home / path).read_bytes() == (finished.home / path).read_bytes(), table


def test_token_counts_travel_with_the_matrix(
    matrix_settings: Settings, materialise: Any, tmp_path: Path
) -> None:
    counts = "".join(f"page-{d:02},{100 + 7 * d}\n" for d in range(40))
    (tmp_path / "caps.csv").write_text(f"unit,token_count\n{counts}")
    stated = matrix_settings.model_dump(mode="json", exclude_none=True, exclude={"compute"})
    source = {**stated["samples"]["published"]["matrix_csv"]}
    folder = tmp_path / "first" / "exports" / "published" / "published"
    exported = {
        "bpb": str(folder / "bpb_by_page.csv"),
        "errors": str(folder / "benchmark_errors.csv"),
    }
    homes = {
        "first": (source, "caps.csv"),
        "again": (exported, str(folder / "unit_tokens_by_page.csv")),
    }
    for home, (files, tokens) in homes.items():
        sample = {"matrix_csv": files, "unit_tokens": tokens}
        settings = settings_from(
            {**stated, "home": home, "samples": {"published": sample}}, folder=tmp_path
        )
        assert materialise(settings, ["bpb_matrix"], "published").success
        assert materialise(settings, ["error_vector"], "good").success
        assert materialise(settings, STATISTICS, KEY).success
        assert materialise(settings, ["published_export"], "published").success
    weights = [
        (tmp_path / home / "warehouse/sampling_distributions/published/good.parquet").read_bytes()
        for home in homes
    ]
    assert weights[0] == weights[1]


def test_an_option_that_does_not_exist_is_named(finished: Settings, materialise: Any) -> None:
    for config, message in (
        ({"format": "xlsx"}, "choose csv or parquet"),
        ({"level": "domain"}, "has no level 'domain'"),
    ):
        result = materialise(
            finished, ["published_export"], "published", **options("published_export", **config)
        )
        assert not result.success
        (event,) = result.get_step_failure_events()
        assert event.step_failure_data.error is not None
        assert message in str(event.step_failure_data.error)
