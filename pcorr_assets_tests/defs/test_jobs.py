"""The named jobs ask for the right partitions, once; the schedule leaves work to automation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.automation import automation_is_on
from pcorr_assets.defs.backfills import wait_until_taken_up
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets_tests.defs.automation_world import AutomationWorld

TEXTS = {"files": ["pages/*.jsonl"], "reference_tokenizer": "org/tokenizer"}
CONFIG: dict[str, Any] = {
    "samples": {"web": TEXTS, "books": TEXTS},
    "llms": [{"family": "a", "models": ["a/one", "a/two"]}],
    "benchmarks": {"arc_easy": {"metric": "acc"}, "piqa": {"metric": "acc"}},
    "targets": {"arc": {"benchmarks": ["arc_easy"]}, "piqa": {"benchmarks": ["piqa"]}},
    "pools": {"crawl": {"sample": "web", "files": ["pool/*.jsonl"], "keep_ratio": 0.1,
                        "token_count_column": "tokens"}},
}  # fmt: skip
ONE, TWO = "a/one", "a/two"
CHAIN = ("estimate", "rank_prediction", "sensitivity", "next_llms", "sampling_distribution")


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> AutomationWorld:
    """Two LLMs are registered and sample `web` is chunked."""
    world = AutomationWorld(settings_from(CONFIG, folder=tmp_path), instance)
    world.add_llms(ONE, TWO)
    world.materialise("chunked_dataset", "web")
    return world


def run(world: AutomationWorld, job: str, op: str, **config: Any) -> dg.ExecuteInProcessResult:
    return world.definitions.resolve_job_def(job).execute_in_process(
        instance=world.instance,
        run_config={"ops": {op: {"config": config}}},
        raise_on_error=False,
    )


def score(world: AutomationWorld, **config: Any) -> dg.ExecuteInProcessResult:
    return run(world, "score_new_llms", "submit_llms", **config)


def estimates(world: AutomationWorld, **config: Any) -> dg.ExecuteInProcessResult:
    return run(world, "refresh_estimates", "submit_estimates", **config)


def filters(world: AutomationWorld, **config: Any) -> dg.ExecuteInProcessResult:
    return run(world, "refresh_filters", "submit_filters", **config)


def everything(world: AutomationWorld, **config: Any) -> dg.ExecuteInProcessResult:
    return run(world, "refresh_everything", "submit_all", **config)


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success
    (output,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    error = event.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    return error.cause.message


def backfills(world: AutomationWorld) -> list[PartitionBackfill]:
    return list(world.instance.get_backfills())


def asked_for(world: AutomationWorld) -> set[tuple[str, str | None]]:
    """The parts of the latest backfill."""
    latest = max(backfills(world), key=lambda found: found.backfill_timestamp)
    graph = world.definitions.resolve_asset_graph()
    with dg.partition_loading_context(dynamic_partitions_store=world.instance):
        data = latest.get_asset_backfill_data(graph)
        return {
            (part.asset_key.to_user_string(), part.partition_key)
            for part in data.target_subset.iterate_asset_partitions()
        }


def end(world: AutomationWorld) -> None:
    for found in backfills(world):
        if found.status is BulkActionStatus.REQUESTED:
            world.instance.update_backfill(found.with_status(BulkActionStatus.COMPLETED_SUCCESS))


def through_estimates(world: AutomationWorld) -> None:
    """Everything up to the distributions is there, for sample `web`."""
    world.materialise("chunk_bpb", f"{ONE}|web", f"{TWO}|web")
    world.materialise("benchmark_errors", ONE, TWO)
    world.materialise("bpb_matrix", "web")
    world.materialise("error_vector", "arc", "piqa")
    for asset in CHAIN:
        world.materialise(asset, "web|arc", "web|piqa")


# what the daemon does with it


def daemon_shows_itself(world: AutomationWorld) -> None:
    world.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "BACKFILL", "one", []))


def test_a_backfill_that_was_refused_fails_its_job_with_the_reason(
    world: AutomationWorld,
) -> None:
    assert score(world, llms=[ONE]).success
    (found,) = backfills(world)
    error = SerializableErrorInfo("Targeted 1 unavailable partitions of chunk_bpb", [], None)
    world.instance.update_backfill(found.with_status(BulkActionStatus.FAILING).with_error(error))
    graph = world.definitions.resolve_asset_graph()
    with pytest.raises(PcorrError, match="unavailable partitions of chunk_bpb") as raised:
        wait_until_taken_up(world.instance, graph, found.backfill_id)
    assert "reload the code location (Deployment > Code locations" in str(raised.value)


def test_a_job_ends_when_its_backfill_has_begun_or_nobody_will_begin_it(
    world: AutomationWorld,
) -> None:
    assert score(world, llms=[ONE]).success  # no daemon
    (found,) = backfills(world)
    graph = world.definitions.resolve_asset_graph()
    assert not wait_until_taken_up(world.instance, graph, found.backfill_id)
    daemon_shows_itself(world)
    assert not wait_until_taken_up(world.instance, graph, found.backfill_id, seconds=0)
    with dg.partition_loading_context(dynamic_partitions_store=world.instance):
        begun = found.get_asset_backfill_data(graph).with_requested_runs_for_target_roots(True)
        world.instance.update_backfill(
            found.with_asset_backfill_data(
                begun, dynamic_partitions_store=world.instance, asset_graph=graph
            )
        )
    assert wait_until_taken_up(world.instance, graph, found.backfill_id)


# what is asked for


def test_missing_llms_of_samples_with_chunks(world: AutomationWorld) -> None:
    world.materialise("chunk_bpb", f"{ONE}|web")
    said = shown(score(world))
    assert asked_for(world) == {
        ("chunk_bpb", f"{TWO}|web"),
        ("benchmark_errors", ONE),
        ("benchmark_errors", TWO),
    }
    (backfill,) = backfills(world)
    assert said["submitted"] == 3
    assert said["backfill"] == backfill.backfill_id
    assert said["progress"] == f"/runs/b/{backfill.backfill_id}"
    assert "a/one|books: chunked_dataset books is not materialised" in said["cannot be made yet"]
    assert backfill.tags["pcorr/launched_by"] == "score_new_llms"


def test_failed_llms_are_asked_for_unless_told_not_to(world: AutomationWorld) -> None:
    world.materialise("chunk_bpb", f"{TWO}|web")
    world.materialise("benchmark_errors", ONE, TWO)
    world.fail(world.begin("chunk_bpb", f"{ONE}|web"))
    assert "Nothing" in shown(score(world, samples=["web"], retry_failed=False))["submitted"]
    score(world)
    assert asked_for(world) == {("chunk_bpb", f"{ONE}|web")}


def test_only_the_llms_that_are_named(world: AutomationWorld) -> None:
    score(world, llms=[TWO], samples=["web"])
    assert asked_for(world) == {("chunk_bpb", f"{TWO}|web"), ("benchmark_errors", TWO)}


def test_nothing_is_asked_for_twice(world: AutomationWorld) -> None:
    world.begin("benchmark_errors", ONE)
    score(world)
    assert asked_for(world) == {
        ("chunk_bpb", f"{ONE}|web"),
        ("chunk_bpb", f"{TWO}|web"),
        ("benchmark_errors", TWO),
    }
    said = shown(score(world))
    assert "in progress already" in said["submitted"]
    assert f"chunk_bpb {ONE}|web" in said["in progress already"]
    assert f"benchmark_errors {ONE}" in said["in progress already"]
    assert len(backfills(world)) == 1


def test_what_is_made_from_something_in_progress_waits(world: AutomationWorld) -> None:
    """Also where the job does not make it itself: these are the chunks that LLMs would score."""
    through_estimates(world)
    run = world.begin("chunked_dataset", "web")
    world.add_llms("a/three")
    said = shown(score(world))
    assert asked_for(world) == {("benchmark_errors", "a/three")}
    assert "chunk_bpb a/three|web (what it is made from)" in said["in progress already"]
    world.finish(run, "chunked_dataset", "web")
    end(world)
    world.begin("estimate", "web|arc")
    said = shown(filters(world, samples=["web"], score_pools=False, everything=True))
    assert {part for part in asked_for(world) if part[1] == "web|arc"} == set()
    assert "sampling_distribution web|arc (what it is made from)" in said["in progress already"]
    assert ("sampling_distribution", "web|piqa") in asked_for(world)


def test_what_is_up_to_date_is_left_alone_and_said_to_be(world: AutomationWorld) -> None:
    through_estimates(world)
    assert shown(estimates(world, samples=["web"])) == {
        "submitted": "Nothing to do: everything that was asked for is up to date."
    }
    assert backfills(world) == []
    estimates(world, samples=["web"], targets=["arc"], everything=True)
    assert asked_for(world) == {
        ("bpb_matrix", "web"),
        ("error_vector", "arc"),
        *((asset, "web|arc") for asset in CHAIN),
    }


def test_what_follows_from_something_stale_is_asked_for_with_it(world: AutomationWorld) -> None:
    through_estimates(world)
    world.materialise("benchmark_errors", TWO)
    estimates(world)
    assert asked_for(world) == {
        ("error_vector", "arc"),
        ("error_vector", "piqa"),
        *((asset, f"web|{target}") for asset in CHAIN for target in ("arc", "piqa")),
    }


def test_estimates_wait_for_nobody_and_need_their_inputs(world: AutomationWorld) -> None:
    world.materialise("chunk_bpb", f"{ONE}|web")
    world.materialise("benchmark_errors", ONE)
    world.begin("chunk_bpb", f"{TWO}|web")
    said = shown(estimates(world))
    assert said["submitted"] == 1 + 2 + 2 * len(CHAIN)
    assert "bpb_matrix books: chunked_dataset books" in said["cannot be made yet"]
    assert "estimate books|arc: bpb_matrix books" in said["cannot be made yet"]


def test_a_sample_without_errors_of_its_own_source_is_left_out(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    published = {"matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv"}}
    settings = settings_from(
        {**CONFIG, "samples": {"web": TEXTS, "published": published}}, folder=tmp_path
    )
    world = AutomationWorld(settings, instance)
    world.add_llms(ONE)
    world.materialise("chunked_dataset", "web")
    world.materialise("chunk_bpb", f"{ONE}|web")
    world.materialise("benchmark_errors", ONE)
    world.materialise("bpb_matrix", "web", "published")
    world.materialise("error_vector", "arc", "piqa")
    rows = [{"target": "arc", "source": "lm_eval", "llm": ONE, "family": "a", "error": 0.5}]
    table = pa.Table.from_pylist(rows, schema=TABLES["error_vectors"].schema)
    Warehouse(settings.home).write("error_vectors", ("arc",), table)
    said = shown(estimates(world, targets=["arc"]))
    assert asked_for(world) == {(asset, "web|arc") for asset in CHAIN}
    assert "target arc has no errors of published" in said["cannot be made yet"]


def test_filters_reach_to_the_selected_data(world: AutomationWorld) -> None:
    through_estimates(world)
    world.instance.add_dynamic_partitions("pool_group", ["crawl/0000", "crawl/0001"])
    filters(world, targets=["arc"])
    chosen = asked_for(world)
    assert chosen == {
        ("fasttext_filter", "web|arc"),
        ("benchmark_ngrams", "arc"),
        ("clean_estimate", "web|arc"),
        *((asset, f"crawl/000{n}") for asset in ("pool_files", "pool_scores") for n in (0, 1)),
        ("selected_data", "crawl|arc"),
        ("report", "web|arc"),
        ("comparison", None),
    }
    end(world)
    filters(world, targets=["piqa"], score_pools=False)
    assert asked_for(world) == {
        ("fasttext_filter", "web|piqa"), ("report", "web|piqa"), ("comparison", None),
    }  # fmt: skip


def test_everything_ends_in_the_export_and_touches_no_llm(world: AutomationWorld) -> None:
    through_estimates(world)
    world.add_llms("a/three")
    everything(world)
    assert asked_for(world) == {
        *((asset, f"web|{t}") for asset in ("fasttext_filter", "report") for t in ("arc", "piqa")),
        ("comparison", None),
        ("exported_database", None),
    }
    end(world)
    everything(world, leave_to_automation=True)
    assert asked_for(world) == {("comparison", None), ("exported_database", None)}


@pytest.mark.parametrize(
    ("job", "config", "message"),
    [
        (score, {"samples": ["wob"]}, "'wob' is not one of the text samples; did you mean web?"),
        (score, {"llms": ["a/twoo"]}, "'a/twoo' is not one of the registered LLMs; did you mean"),
        (
            estimates,
            {"targets": ["boolq"]},
            "'boolq' is not one of the targets; targets: arc, piqa",
        ),
        (filters, {"pools": ["craw"]}, "'craw' is not one of the pools; did you mean crawl?"),
    ],
)
def test_keys_that_there_are_not(
    world: AutomationWorld, job: Any, config: dict[str, Any], message: str
) -> None:
    assert message in failure(job(world, **config))
    assert backfills(world) == []


def test_every_option_of_the_launch_pad_explains_itself(world: AutomationWorld) -> None:
    for name, op in (
        ("score_new_llms", "submit_llms"),
        ("refresh_estimates", "submit_estimates"),
        ("refresh_filters", "submit_filters"),
        ("refresh_everything", "submit_all"),
    ):
        job = world.definitions.resolve_job_def(name)
        assert job.description
        assert job.tags["pcorr/job"] == name
        options: Any = job.graph.node_dict[op].definition
        fields = options.config_schema.config_type.fields
        assert fields
        assert all(found.description and not found.is_required for found in fields.values())
    assert world.definitions.resolve_job_def("export").description


# one launcher


def test_automation_leaves_a_backfill_of_a_job_alone(world: AutomationWorld) -> None:
    through_estimates(world)
    world.materialise("fasttext_filter", "web|arc", "web|piqa")
    world.materialise("report", "web|arc", "web|piqa")
    world.tick()
    world.materialise("benchmark_errors", TWO)
    everything(world)
    world.tick()
    waves = (
        [("error_vector", "arc"), ("error_vector", "piqa")],
        *([(asset, f"web|{t}") for t in ("arc", "piqa")]
          for asset in (*CHAIN, "fasttext_filter", "report")),
    )  # fmt: skip
    for wave in waves:
        assert set(wave) <= asked_for(world)
        assert world.cron_tick() == set()
        for asset, partition in wave:
            world.materialise(asset, partition)
        assert world.tick() == set()
    end(world)
    assert [world.tick(), world.tick(), world.cron_tick()] == [set()] * 3


# the schedule


def switch_automation(instance: dg.DagsterInstance, status: InstigatorStatus) -> None:
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("pcorr"), "__repository__"),
        "automation",
    )
    state = InstigatorState(origin, InstigatorType.SENSOR, status)
    if status is InstigatorStatus.RUNNING:
        instance.add_instigator_state(state)
    else:
        instance.update_instigator_state(state)


def test_the_schedule_leaves_to_automation_what_that_does(tmp_path: Path) -> None:
    definitions = build_definitions(settings_from(CONFIG, folder=tmp_path))
    schedule = definitions.resolve_schedule_def("nightly_refresh")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == "0 3 * * *"

    def night(instance: dg.DagsterInstance) -> dg.RunRequest:
        context = dg.build_schedule_context(instance=instance)
        (request,) = schedule.evaluate_tick(context).run_requests or []
        return request

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        assert not automation_is_on(instance)
        assert not night(instance).run_config
        switch_automation(instance, InstigatorStatus.RUNNING)
        assert automation_is_on(instance)
        config = night(instance).run_config["ops"]["submit_all"]["config"]
        assert config["leave_to_automation"] is True
        switch_automation(instance, InstigatorStatus.STOPPED)
        assert not night(instance).run_config
