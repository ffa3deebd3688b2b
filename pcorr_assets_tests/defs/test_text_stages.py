"""From pages to selected documents, with tiny random LLMs, all through Dagster."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.config.texts import METHODS
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.partition_status import partition_states
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets.warehouse import Warehouse, connect
from pcorr_assets_tests.defs.text_world import configuration, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


@pytest.fixture
def settings(world: Path, tmp_path: Path) -> Settings:
    stated = configuration(world, tmp_path / "home")
    stated["pools"]["crawl"]["methods"] = list(METHODS)
    return settings_from(stated, folder=tmp_path)


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def test_pages_become_selected_documents(
    settings: Settings,
    materialise: Callable[..., dg.ExecuteInProcessResult],
    instance: dg.DagsterInstance,
) -> None:
    def run(asset: str, partition: str | dict[str, str]) -> dg.ExecuteInProcessResult:
        key = dg.MultiPartitionKey(partition) if isinstance(partition, dict) else partition
        result = materialise(settings, [asset], key)
        assert result.success, asset
        return result

    llms = register_llms(instance, settings)
    groups = register_pool_groups(instance, settings)
    assert (len(llms), groups) == (4, ["crawl/0000"])
    assert shown(run("chunked_dataset", "web"), "chunked_dataset")["pages"] == 24
    for llm in llms[:3]:
        run("chunk_bpb", {"llm": llm, "sample": "web"})
        run("benchmark_errors", llm)
    matrix = run("bpb_matrix", "web")
    assert shown(matrix, "bpb_matrix")["LLMs included"] == 3
    (left_out,) = shown(matrix, "bpb_matrix")["LLMs left out"].records
    assert left_out.data["llm"] == llms[3]
    assert "not materialised" in str(left_out.data["reason"])

    for llm in llms[3:]:
        run("chunk_bpb", {"llm": llm, "sample": "web"})
        run("benchmark_errors", llm)
    run("bpb_matrix", "web")
    run("error_vector", "colour")
    pair = {"sample": "web", "target": "colour"}
    for asset in ("estimate", "rank_prediction", "sampling_distribution", "fasttext_filter"):
        run(asset, pair)
    run("benchmark_ngrams", "colour")
    assert "chunks" in shown(run("clean_estimate", pair), "clean_estimate")["compared"]
    scored = shown(run("pool_scores", groups[0]), "pool_scores")
    assert (scored["files"], scored["documents"]) == (2, scored["documents read now"])
    selected = shown(run("selected_data", {"pool": "crawl", "target": "colour"}), "selected_data")
    assert selected["manifest"]["token_count"] >= 60
    _methods_are_compared(settings, run)
    with connect(settings.home) as connection:
        (tokens, boundaries) = connection.execute(
            "SELECT sum(token_count), count(*) FILTER (is_boundary) FROM selections"
        ).fetchall()[0]
        assert tokens == selected["manifest"]["token_count"]
        assert boundaries == 1
        (weight, capped) = connection.execute(
            "SELECT sum(weight), bool_and(weight <= tau) FROM sampling_distributions"
        ).fetchall()[0]
        assert weight == pytest.approx(1, abs=1e-12)
        assert capped
    assert (settings.home / "mixtures" / "web" / "colour" / "mixture.yaml").is_file()
    _a_changed_file_makes_its_group_stale(settings, instance)


def _methods_are_compared(
    settings: Settings, run: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    compared = run("compared_selections", {"pool": "crawl", "target": "colour"})
    noted = shown(compared, "compared_selections")
    assert "colours has no split of examples" in str(noted["notes"])
    with connect(settings.home) as connection:
        rows = connection.sql(
            """SELECT method, reason IS NULL AS made, overlap, llm_count, gpu_hours,
                      scoring_cpu_hours > 0 AS on_cpus, token_count = (
                          SELECT sum(token_count) FROM compared_documents AS own
                          WHERE own.method = compared_selections.method)
            FROM compared_selections"""
        ).fetchall()
        own = connection.sql(
            """SELECT shard, document_id FROM compared_documents WHERE method = 'filter'
            EXCEPT SELECT shard, document_id FROM selections"""
        ).fetchall()
    found = {method: values for method, *values in rows}
    assert list(found) == ["filter", *settings.pools["crawl"].methods]
    assert found["filter"] == [True, 1.0, 4, 0.0, True, True]
    assert own == []
    assert found["random"][2:] == [0, 0.0, False, True]
    assert found["preselect"][2:] == [4, 0.0, True, True]
    assert found["mean_bpb"][2:] == [4, 0.0, True, True]
    assert found["strongest_llm"][2:] == [1, 0.0, True, True]
    assert [found[name][0] for name in ("dsir", "classifier")] == [False, False]


def _a_changed_file_makes_its_group_stale(settings: Settings, instance: dg.DagsterInstance) -> None:
    def states() -> dict[str, tuple[str, str]]:
        graph = build_definitions(settings)
        found = partition_states(instance, graph, ["pool_scores", "selected_data"])
        return {one.asset: (one.state, one.reason) for one in found}

    file = min(map(Path, glob.glob((settings.pools["crawl"].files or [""])[0])))
    register_pool_groups(instance, settings)
    assert {state for state, _ in states().values()} == {"materialised"}
    before, content = file.stat(), file.read_bytes()
    os.utime(file, ns=(1, 1))
    assert register_pool_groups(instance, settings) == []
    assert states()["pool_scores"][0] == "materialised", "a touched file is the same"
    file.write_bytes(content.removesuffix(b"\n") + b" ")
    assert register_pool_groups(instance, settings) == []
    assert states()["pool_scores"] == (
        "stale", "1 partition of pool_files changed: crawl/0000"
    )  # fmt: skip
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    register_pool_groups(instance, settings)
    assert states()["pool_scores"][0] == "materialised"


def test_scoring_again_changes_nothing(
    settings: Settings,
    materialise: Callable[..., dg.ExecuteInProcessResult],
    instance: dg.DagsterInstance,
) -> None:
    llm, *_ = register_llms(instance, settings)
    key = dg.MultiPartitionKey({"llm": llm, "sample": "web"})
    assert materialise(settings, ["chunked_dataset"], "web").success
    versions = []
    for _ in range(2):
        result = materialise(settings, ["chunk_bpb"], key)
        (event,) = result.asset_materializations_for_node("chunk_bpb")
        versions.append((event.tags or {})["dagster/data_version"])
    assert versions[0] == versions[1]
    wh = Warehouse(settings.home)
    assert (
        wh.metadata("chunk_bpb", llm, "web")["chunks_sha256"]
        == (wh.metadata("chunks", "web")["chunks_sha256"])
    )


def test_a_malformed_llm_key_added_through_the_api_is_refused(
    settings: Settings,
    materialise: Callable[..., dg.ExecuteInProcessResult],
    instance: dg.DagsterInstance,
) -> None:
    instance.add_dynamic_partitions("llm", ["../evil"])
    result = materialise(settings, ["benchmark_errors"], "../evil")
    failure = result.failure_data_for_node("benchmark_errors")
    assert failure
    assert failure.error
    assert failure.error.cause
    assert "'../evil' cannot be the key of an LLM" in failure.error.cause.message
