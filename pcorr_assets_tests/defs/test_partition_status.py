"""What is materialised, missing, failed, in progress or stale, after real runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.dagster_run import DagsterRun

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs import versions as code_versions
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.partition_status import PartitionState, partition_states
from pcorr_assets.warehouse import Warehouse

Materialise = Callable[..., dg.ExecuteInProcessResult]
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


SELECTION = ("estimate", "rank_prediction", "sensitivity", "next_llms", "sampling_distribution")
# Also what is only made where there is a pool.
WITH_POOL = (*SELECTION, "clean_estimate")


def by_partition(
    instance: dg.DagsterInstance, settings: Settings, asset: str
) -> dict[str | None, PartitionState]:
    states = partition_states(instance, build_definitions(settings), [asset])
    assert {state.asset for state in states} == {asset}
    return {state.partition: state for state in states}


def key(target: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"sample": "published", "target": target})


def planned_run(instance: dg.DagsterInstance, settings: Settings, partition: str) -> DagsterRun:
    """A run of error_vector that was launched and has not ended."""
    job = dg.define_asset_job("later", selection=["error_vector"])
    definitions = dg.Definitions(assets=build_definitions(settings).assets, jobs=[job])
    return instance.create_run_for_job(
        definitions.resolve_job_def("later"), tags={"dagster/partition": partition}
    )


def test_missing_becomes_materialised(
    matrix_settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    (before,) = by_partition(instance, matrix_settings, "bpb_matrix").values()
    assert before == PartitionState("bpb_matrix", "published", "missing", "", None, False)
    run = materialise(matrix_settings, ["bpb_matrix"], "published")
    (after,) = by_partition(instance, matrix_settings, "bpb_matrix").values()
    assert after == PartitionState("bpb_matrix", "published", "materialised", "", run.run_id, True)


def test_a_failure_has_the_words_of_the_innermost_error_and_the_old_data(
    matrix_settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    failed = materialise(matrix_settings, ["error_vector"], "good")
    states = by_partition(instance, matrix_settings, "error_vector")
    assert states["bad"].state == "missing"
    assert (states["good"].state, states["good"].run_id) == ("failed", failed.run_id)
    assert states["good"].reason.startswith("Target 'good': no LLM has an error on signal;")
    assert "\n" not in states["good"].reason
    assert not states["good"].has_data

    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    done = materialise(matrix_settings, ["error_vector"], "good")
    assert by_partition(instance, matrix_settings, "error_vector")["good"].state == "materialised"
    with Warehouse(matrix_settings.home).lock("error_vectors", "good", holder="run abc"):
        materialise(matrix_settings, ["error_vector"], "good")
    again = by_partition(instance, matrix_settings, "error_vector")["good"]
    assert (again.state, again.has_data) == ("failed", True)
    assert "is being materialised by run abc" in again.reason
    assert f"what run {done.run_id[:8]} materialised before is still there" in again.reason


def test_a_failed_range_says_of_each_target_what_is_wrong_with_it(
    matrix_settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    assert materialise(matrix_settings, ["error_vector"], "bad").success
    tags = {START: "published|good", END: "published|bad"}
    assert not materialise(matrix_settings, ["estimate"], tags=tags).success
    states = by_partition(instance, matrix_settings, "estimate")
    assert states["published|bad"].state == "materialised"
    assert states["published|good"].state == "failed"
    assert states["published|good"].reason.startswith("error_vectors: partition good is not there")
    now = edited(matrix_settings, validation={"bootstrap": 41})
    changed = by_partition(instance, now, "estimate")["published|bad"]
    assert (changed.state, changed.reason) == (
        "stale",
        "the code or the settings it depends on changed",
    )


@pytest.mark.filterwarnings("ignore:Asset job run materializes assets with varying")
def test_what_never_started_names_the_step_that_kept_it_from_starting(
    matrix_settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    materialise(matrix_settings, ["estimate", "sampling_distribution"], key("good"))
    found = by_partition(instance, matrix_settings, "sampling_distribution")["published|good"]
    assert found.state == "failed"
    assert found.reason.startswith("not started, because estimate failed: bpb_matrix: partition")


def test_in_progress_then_cancelled(
    matrix_settings: Settings, instance: dg.DagsterInstance
) -> None:
    run = planned_run(instance, matrix_settings, "good")
    states = by_partition(instance, matrix_settings, "error_vector")
    assert (states["good"].state, states["good"].run_id) == ("in progress", run.run_id)
    assert states["bad"].state == "missing"
    instance.report_run_canceled(run)
    found = by_partition(instance, matrix_settings, "error_vector")["good"]
    assert found.state == "missing"
    assert "was cancelled" in found.reason


def test_a_run_that_died_without_a_word_of_its_step_is_a_failure(
    matrix_settings: Settings, instance: dg.DagsterInstance
) -> None:
    run = planned_run(instance, matrix_settings, "good")
    instance.report_run_failed(run, "the machine was turned off")
    found = by_partition(instance, matrix_settings, "error_vector")["good"]
    assert (found.state, found.reason) == ("failed", "the machine was turned off")


def stale_by_dagster(instance: dg.DagsterInstance, settings: Settings) -> set[tuple[str, str]]:
    graph = build_definitions(settings).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        return {
            (asset.to_user_string(), partition)
            for asset in graph.materializable_asset_keys
            if (definition := graph.get(asset).partitions_def) is not None
            for partition in definition.get_partition_keys()
            if resolver.get_status(asset, partition) == StaleStatus.STALE
        }


def stale(instance: dg.DagsterInstance, settings: Settings) -> dict[tuple[str, Any], str]:
    return {
        (state.asset, state.partition): state.reason
        for state in partition_states(instance, build_definitions(settings))
        if state.state == "stale"
    }


@pytest.fixture
def finished(matrix_settings: Settings, materialise: Materialise) -> Settings:
    """Everything that a published matrix makes, materialised in its order."""
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    for target in matrix_settings.targets:
        assert materialise(matrix_settings, ["error_vector"], target).success
        for asset in SELECTION:
            assert materialise(matrix_settings, [asset], key(target)).success
    return matrix_settings


def edited(settings: Settings, **changes: Any) -> Settings:
    """The same home and config with some sections changed."""
    stated = settings.model_dump(mode="json", exclude_unset=True, exclude={"path"})
    return settings_from({**stated, **changes}, folder=settings.home.parent)


def test_upstream_data_that_changed_makes_stale_what_reads_it(
    finished: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    assert stale(instance, finished) == {}
    assert stale_by_dagster(instance, finished) == set()
    assert materialise(finished, ["bpb_matrix"], "published").success
    assert stale(instance, finished) == {}, "the same data again is no change"
    bpb = finished.home.parent / "bpb.csv"
    bpb.write_text(bpb.read_text().replace("page-39", "page-40"))
    assert materialise(finished, ["bpb_matrix"], "published").success
    found = stale(instance, finished)
    reason = "1 partition of bpb_matrix changed: published"
    assert found == {
        ("error_vector", "good"): reason,
        ("error_vector", "bad"): reason,
        **{
            (asset, f"published|{target}"): reason
            for asset in ("estimate", "rank_prediction", "sensitivity", "next_llms")
            for target in ("good", "bad")
        },
    }
    assert set(found) == stale_by_dagster(instance, finished)


def test_an_edit_of_the_config_makes_stale_what_it_changes_and_nothing_else(
    finished: Settings, instance: dg.DagsterInstance
) -> None:
    edits: list[tuple[dict[str, Any], set[str]]] = [
        ({"compute": {"batch_tokens": 64, "max_parallel_llms": 2}}, set()),
        ({"llms": [{"family": "new", "models": ["new/one"]}]}, set()),
        # The other settings of `validation` go back to their defaults.
        (
            {"validation": {"bootstrap": 41}},
            {"estimate", "rank_prediction", "sensitivity", "next_llms"},
        ),
        ({"selection": {"keep_ratio": 0.5}}, set(SELECTION)),
        (
            {"selection": {"keep_ratio": 0.25, "max_nan_fraction": 0.5}},
            {"bpb_matrix", "estimate", "rank_prediction", "sensitivity", "next_llms"},
        ),
        ({"benchmarks": {"other": {"metric": "acc"}}}, {"error_vector"}),
    ]
    for changes, assets in edits:
        now = edited(finished, **changes)
        found = stale(instance, now)
        assert {asset for asset, _ in found} == assets, changes
        assert set(found.values()) <= {"the code or the settings it depends on changed"}
        assert set(found) == stale_by_dagster(instance, now)


WORLD: dict[str, Any] = {
    "samples": {
        "web": {
            "files": ["pages.jsonl"],
            "reference_tokenizer": "org/tokenizer",
            "domain_column": "site",
        }
    },
    "llms": [{"family": "a", "models": ["a/one"]}],
    "benchmarks": {"arc_easy": {"metric": "acc"}},
    "targets": {"arc": {"benchmarks": ["arc_easy"]}},
    "pools": {"crawl": {"sample": "web", "files": ["pool.jsonl"], "keep_ratio": 0.5}},
}
CRAWL: dict[str, Any] = WORLD["pools"]["crawl"]
# What gives the configuration, or all tables, away with them.
SHARING = {"report", "comparison", "exported_database", "published_export"}


@pytest.mark.parametrize(
    ("section", "value", "assets"),
    [
        ("llms", [{"family": "a", "models": ["a/one", "a/two"]}], set()),
        ("compute", {"batch_tokens": 64, "max_parallel_llms": 2}, set()),
        ("automation", {"nightly": "30 4 * * *"}, set()),
        ("compute", {"overlong": "window"}, {"chunk_bpb"}),
        (
            "samples",
            {"web": {**WORLD["samples"]["web"], "chunk_tokens": 64}},
            {"chunked_dataset", "bpb_matrix"},
        ),
        (
            "benchmarks",
            {"arc_easy": {"metric": "acc", "limit": 50}},
            {"benchmark_errors", "error_vector", "benchmark_ngrams", "compared_selections"},
        ),
        (
            "samples",
            {"web": {**WORLD["samples"]["web"], "unit_tokens": "caps.csv"}},
            {"chunked_dataset", "bpb_matrix", *WITH_POOL, "compared_selections"},
        ),
        (
            "pools",
            {"crawl": {**CRAWL, "keep_ratio": 0.4}},
            {"selected_data", "compared_selections"},
        ),
        # An empty list is none: pools are what they were before there were methods.
        ("pools", {"crawl": {**CRAWL, "methods": []}}, set()),
        # Paths are no settings: what lies there counts, which runs note.
        ("pools", {"crawl": {**CRAWL, "files": ["x.jsonl"]}}, set()),
        ("samples", {"web": {**WORLD["samples"]["web"], "files": ["x.jsonl"]}}, set()),
        ("targets", {**WORLD["targets"], "more": {"benchmarks": ["arc_easy"]}}, {"error_vector"}),
        (
            "targets",
            {"arc": {"benchmarks": ["arc_easy"], "keep_ratio": 0.2}},
            {"error_vector", *WITH_POOL, "fasttext_filter", "compared_selections"},
        ),
        ("selection", {"fasttext": {"dim": 8}}, {"fasttext_filter", "compared_selections"}),
        (
            # The default of dim, which the target then no longer takes from selection.
            "targets",
            {"arc": {"benchmarks": ["arc_easy"], "fasttext": {"dim": 100}}},
            {"error_vector", "fasttext_filter", "compared_selections"},
        ),
        # With an id column that is named, documents without one are refused.
        ("pools", {"crawl": {**CRAWL, "id_column": "id"}}, {"pool_scores"}),
        ("selection", {"projection": "l2"}, {"sampling_distribution"}),
        (
            "selection",
            {"tokenizer": "org/other"},
            {*WITH_POOL, "pool_scores", "compared_selections"},
        ),
        ("validation", {"bootstrap": 50}, {"estimate", "rank_prediction"}),
        ("validation", {"go_stability": 0.6}, {"rank_prediction"}),
    ],
)
def test_code_versions_of_the_whole_graph(
    section: str, value: Any, assets: set[str], tmp_path: Path
) -> None:
    """Without running anything: which assets an edit makes stale, of all there are."""

    def versions(config: dict[str, Any]) -> dict[str, str | None]:
        definitions = build_definitions(settings_from(config, folder=tmp_path))
        graph = definitions.resolve_asset_graph()
        return {
            key.to_user_string(): graph.get(key).code_version
            for key in graph.materializable_asset_keys
        }

    before, after = versions(WORLD), versions({**WORLD, section: value})
    changed = {name for name in before if before[name] != after[name]}
    assert changed - SHARING == assets


@pytest.mark.parametrize(
    ("module", "assets"),
    [
        ("steps/matrices.py", {"bpb_matrix"}),
        ("steps/error_vectors.py", {"error_vector", "sensitivity"}),
        ("lm/benchmark_settings.py", {"benchmark_errors", "error_vector"}),
        (
            "matrix/layout.py",
            {"bpb_matrix", *SELECTION[:-1], "clean_estimate", "compared_selections"},
        ),
        ("text/token_counts.py", {"chunked_dataset", *WITH_POOL, "compared_selections"}),
        ("filters/model.py", {"fasttext_filter", "pool_scores", "compared_selections"}),
        ("filters/groups.py", {"fasttext_filter", "pool_files"}),
        (
            "text/files.py",
            {"chunked_dataset", "pool_scores", "selected_data", "compared_selections"},
        ),
        ("plausibility/llms.py", set()),
    ],
)
def test_an_edit_of_a_module_makes_stale_what_it_computes(
    module: str, assets: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def versions() -> dict[str, str | None]:
        graph = build_definitions(settings_from(WORLD, folder=tmp_path)).resolve_asset_graph()
        return {
            key.to_user_string(): graph.get(key).code_version
            for key in graph.materializable_asset_keys
        }

    monkeypatch.setattr(code_versions, "_room_hash", code_versions._room_hash.__wrapped__)
    before = versions()
    source, code_of = (code_versions.PACKAGE / module).read_text(), code_versions._code_of
    edit = "\nEDITED = True\n"
    monkeypatch.setattr(
        code_versions, "_code_of", lambda text: code_of(text + edit if text == source else text)
    )
    after = versions()
    assert {name for name in before if before[name] != after[name]} - SHARING == assets


def test_an_unknown_asset_is_refused(
    matrix_settings: Settings, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(KeyError, match="no asset nonsense"):
        partition_states(instance, build_definitions(matrix_settings), ["nonsense"])


def test_without_a_configuration_there_is_nothing_to_say_of_partitions(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = settings_from({}, folder=tmp_path)
    states = partition_states(instance, build_definitions(settings))
    assert [state for state in states if state.partition is not None] == []


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]), code_version="1")
def parts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion(context.run.tags["content"]))


@dg.asset(deps=[parts], code_version="1")
def whole(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    if "fail" in context.run.tags:
        raise RuntimeError("no space left")
    return dg.MaterializeResult(data_version=dg.DataVersion(context.run.tags["content"]))


@dg.asset(deps=[whole], code_version="1")
def reader() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("same"))


def test_assets_without_partitions(instance: dg.DagsterInstance) -> None:
    definitions = dg.Definitions(assets=[parts, whole, reader])

    def run(asset: dg.AssetsDefinition, content: str, **options: Any) -> None:
        tags = {"content": content, **options.pop("tags", {})}
        dg.materialize([asset], instance=instance, tags=tags, raise_on_error=False, **options)

    def state(asset: str) -> tuple[str, str]:
        (found,) = partition_states(instance, definitions, [asset])
        assert found.partition is None
        return found.state, found.reason

    assert state("whole") == ("missing", "")
    for partition in ("a", "b"):
        run(parts, "1", partition_key=partition)
    run(whole, "1")
    run(reader, "1")
    assert (state("whole"), state("reader")) == (("materialised", ""), ("materialised", ""))
    run(parts, "2", partition_key="b")
    assert state("whole") == ("stale", "1 partition of parts changed: b")
    run(whole, "2")
    assert (state("whole"), state("reader")) == (("materialised", ""), ("stale", "whole changed"))
    run(whole, "2", tags={"fail": ""})
    assert state("whole")[0] == "failed"
    assert state("whole")[1].startswith("RuntimeError: no space left (what run ")
