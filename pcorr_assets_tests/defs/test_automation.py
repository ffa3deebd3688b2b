"""What automation launches, tick by tick, on the real definitions; nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.automation import (
    SENSOR,
    automation_is_on,
    conditions,
    forget_while_off,
)
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.plans import OF_MATRIX_AND_ERRORS
from pcorr_assets_tests.defs.automation_world import AutomationWorld

TEXTS = {"files": ["pages/*.jsonl"], "reference_tokenizer": "org/tokenizer"}
IMPORT = {"matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv"}}
CONFIG: dict[str, Any] = {
    "samples": {"web": TEXTS},
    "llms": [{"family": "a", "models": ["a/one", "a/two"]}],
    "benchmarks": {"arc_easy": {"metric": "acc"}, "piqa": {"metric": "acc"}},
    "targets": {"arc": {"benchmarks": ["arc_easy"]}, "piqa": {"benchmarks": ["piqa"]}},
}
OLD, NEW, NEXT = "a/one", "a/two", "b/three"
PAIRS = ("web|arc", "web|piqa")
FIRST_WAVE = {
    (asset, pair) for asset in (*OF_MATRIX_AND_ERRORS, "sampling_distribution") for pair in PAIRS
}
REFRESH = {("bpb_matrix", "web"), ("error_vector", "arc"), ("error_vector", "piqa")}
FILTERS = {("fasttext_filter", pair) for pair in PAIRS}
REPORTS = {("report", pair) for pair in PAIRS}


def settings(folder: Path, **changes: Any) -> Settings:
    return settings_from({**CONFIG, **changes}, folder=folder)


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> AutomationWorld:
    """One LLM was scored and all was made from it; then automation was switched on."""
    world = AutomationWorld(settings(tmp_path), instance)
    world.add_llms(OLD)
    world.materialise("chunked_dataset", "web")
    world.materialise("chunk_bpb", f"{OLD}|web")
    world.materialise("benchmark_errors", OLD)
    world.materialise("bpb_matrix", "web")
    world.materialise("error_vector", "arc", "piqa")
    for wave in (FIRST_WAVE, FILTERS, REPORTS):
        carry_out(world, wave)
    assert world.tick() == set()
    return world


def arrive(world: AutomationWorld, llm: str) -> None:
    """The LLM is scored and evaluated as automation asked for."""
    world.add_llms(llm)
    assert world.tick() == {("chunk_bpb", f"{llm}|web"), ("benchmark_errors", llm)}
    world.materialise("chunk_bpb", f"{llm}|web")
    world.materialise("benchmark_errors", llm)


def carry_out(world: AutomationWorld, requested: set[tuple[str, str]]) -> None:
    for asset, partition in sorted(requested):
        world.materialise(asset, partition)


# switching on


def test_the_sensor_is_off_and_targets_every_condition(tmp_path: Path) -> None:
    definitions = build_definitions(settings(tmp_path))
    repository = definitions.get_repository_def()
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    assert sensors[SENSOR].default_status is dg.DefaultSensorStatus.STOPPED
    others = {"register_llms", "register_pool_groups", "free_slots", "tell_of_failures"}
    assert set(sensors) == {*others, SENSOR}
    graph = definitions.resolve_asset_graph()
    automated = {
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if graph.get(key).automation_condition is not None
    }
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert automated == set(conditions(settings(tmp_path))) & names
    assert not automated & {"chunked_dataset", "pool_scores", "selected_data", "exported_database"}


def test_switched_off_it_forgets(tmp_path: Path) -> None:
    """LLMs that are registered while it is off are no news when it is switched on again."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("pcorr"), "__repository__"), SENSOR
    )

    def state(status: InstigatorStatus) -> InstigatorState:
        data = SensorInstigatorData(min_interval=10, cursor="what it has seen")
        return InstigatorState(origin, InstigatorType.SENSOR, status, data)

    def seen(instance: dg.DagsterInstance) -> str | None:
        (found,) = instance.all_instigator_state()
        assert isinstance(found.instigator_data, SensorInstigatorData)
        return found.instigator_data.cursor

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        instance.add_instigator_state(state(InstigatorStatus.RUNNING))
        forget_while_off(instance)
        assert seen(instance) == "what it has seen"
        instance.update_instigator_state(state(InstigatorStatus.STOPPED))
        forget_while_off(instance)
        assert seen(instance) is None
        assert not automation_is_on(instance)


def test_switching_on_launches_no_backlog(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = AutomationWorld(settings(tmp_path), instance)
    world.add_llms(OLD, NEW)
    world.materialise("chunked_dataset", "web")
    world.materialise("chunk_bpb", f"{OLD}|web")
    world.fail(world.begin("benchmark_errors", OLD))
    for requested in (world.tick(), world.tick(), world.cron_tick(), world.tick()):
        assert requested == set()


def test_without_benchmarks_nothing_is_evaluated(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = AutomationWorld(settings(tmp_path, benchmarks={}, targets={}), instance)
    world.materialise("chunked_dataset", "web")
    world.tick()
    world.add_llms(NEW)
    assert world.tick() == {("chunk_bpb", f"{NEW}|web")}


# LLMs


def test_a_new_llm_is_scored_and_evaluated_once(world: AutomationWorld) -> None:
    arrive(world, NEW)
    assert world.tick() == set()
    world.add_llms(NEXT)
    assert world.tick() == {("chunk_bpb", f"{NEXT}|web"), ("benchmark_errors", NEXT)}
    assert world.tick() == set()


def test_only_samples_with_chunks_are_scored(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = AutomationWorld(settings(tmp_path, samples={"web": TEXTS, "books": TEXTS}), instance)
    world.materialise("chunked_dataset", "web")
    world.tick()
    world.add_llms(NEW)
    assert world.tick() == {("chunk_bpb", f"{NEW}|web"), ("benchmark_errors", NEW)}
    world.materialise("chunked_dataset", "books")
    assert world.tick() == {("chunk_bpb", f"{NEW}|books")}
    assert world.tick() == set()


def test_a_new_sample_is_no_new_llm(world: AutomationWorld, tmp_path: Path) -> None:
    world.change(settings(tmp_path, samples={"web": TEXTS, "books": TEXTS}))
    assert world.tick() == set()
    world.materialise("chunked_dataset", "books")
    assert world.tick() == set()
    assert world.cron_tick() == set()
    world.add_llms(NEW)
    assert world.tick() == {
        ("chunk_bpb", f"{NEW}|web"),
        ("chunk_bpb", f"{NEW}|books"),
        ("benchmark_errors", NEW),
    }


def test_a_failed_llm_is_retried_once_and_then_rests(world: AutomationWorld) -> None:
    world.add_llms(NEW)
    world.tick()
    run, other = world.begin("chunk_bpb", f"{NEW}|web"), world.begin("benchmark_errors", NEW)
    assert world.tick() == set()
    world.fail(run)
    assert world.tick() == {("chunk_bpb", f"{NEW}|web")}
    assert world.tick() == set()
    run = world.begin("chunk_bpb", f"{NEW}|web")
    assert world.tick() == set()
    world.fail(run)
    world.finish(other, "benchmark_errors", NEW)
    assert [world.tick() for _ in range(3)] == [set()] * 3


def test_an_llm_that_fails_between_two_ticks_is_retried_as_well(world: AutomationWorld) -> None:
    world.add_llms(NEW)
    world.tick()
    world.fail(world.begin("benchmark_errors", NEW))
    assert world.tick() == {("benchmark_errors", NEW)}
    world.fail(world.begin("benchmark_errors", NEW))
    assert [world.tick() for _ in range(3)] == [set()] * 3


def test_after_a_success_a_failure_is_news_again(world: AutomationWorld) -> None:
    world.fail(world.begin("benchmark_errors", OLD))
    assert world.tick() == {("benchmark_errors", OLD)}
    world.materialise("benchmark_errors", OLD, version="the same")
    assert world.tick() == set()
    world.fail(world.begin("benchmark_errors", OLD))
    assert world.tick() == {("benchmark_errors", OLD)}


def test_a_cancelled_run_is_not_launched_again(world: AutomationWorld) -> None:
    world.add_llms(NEW)
    world.tick()
    run, other = world.begin("chunk_bpb", f"{NEW}|web"), world.begin("benchmark_errors", NEW)
    world.tick()
    world.cancel(run)
    world.cancel(other)
    assert [world.tick(), world.tick(), world.cron_tick()] == [set()] * 3


def test_what_a_person_runs_is_left_to_that_person(world: AutomationWorld) -> None:
    world.add_llms(NEW)
    run, other = world.begin("chunk_bpb", f"{NEW}|web"), world.begin("benchmark_errors", NEW)
    assert world.tick() == set()
    world.cancel(run)
    world.finish(other, "benchmark_errors", NEW)
    assert [world.tick(), world.tick()] == [set()] * 2


# refreshing


def test_the_refresh_waits_for_its_tick_and_happens_once(world: AutomationWorld) -> None:
    arrive(world, NEW)
    assert world.tick() == set()
    assert world.cron_tick() == REFRESH
    assert world.tick() == set()
    carry_out(world, REFRESH)
    assert world.tick() == FIRST_WAVE
    assert world.tick() == set()
    carry_out(world, FIRST_WAVE)
    assert world.tick() == FILTERS
    runs = [(world.begin(*filter_), *filter_) for filter_ in sorted(FILTERS)]
    assert world.tick() == set()
    for run in runs:
        world.finish(*run)
    assert world.tick() == set(), "the report waits until nothing moves any more"
    assert world.tick() == REPORTS
    carry_out(world, REPORTS)
    assert [world.tick(), world.cron_tick(), world.tick()] == [set()] * 3


def test_no_refresh_while_an_llm_is_in_progress(world: AutomationWorld) -> None:
    world.add_llms(NEW)
    world.tick()
    scoring, evaluating = (
        world.begin("chunk_bpb", f"{NEW}|web"),
        world.begin("benchmark_errors", NEW),
    )
    world.tick()
    world.finish(scoring, "chunk_bpb", f"{NEW}|web")
    assert world.cron_tick() == set()
    world.finish(evaluating, "benchmark_errors", NEW)
    assert world.tick() == set()
    assert world.cron_tick() == REFRESH


def test_a_failed_llm_does_not_hold_up_the_others(world: AutomationWorld) -> None:
    world.add_llms(NEW, NEXT)
    world.tick()
    for _ in range(2):
        world.fail(world.begin("chunk_bpb", f"{NEXT}|web"))
        world.tick()
    world.materialise("chunk_bpb", f"{NEW}|web")
    world.materialise("benchmark_errors", NEW, NEXT)
    world.tick()
    assert world.cron_tick() == REFRESH


def test_an_llm_that_is_never_run_does_not_hold_up_the_others(world: AutomationWorld) -> None:
    world.add_llms(NEW)
    world.tick()
    world.materialise("benchmark_errors", NEW)
    world.tick()
    assert world.cron_tick() == {("error_vector", "arc"), ("error_vector", "piqa")}


def test_the_same_content_again_starts_nothing(world: AutomationWorld) -> None:
    world.materialise("bpb_matrix", "web", version="same")
    assert world.tick() == FIRST_WAVE
    carry_out(world, FIRST_WAVE)
    carry_out(world, world.tick())
    world.tick()
    carry_out(world, world.tick())
    world.materialise("bpb_matrix", "web", version="same")
    assert [world.tick(), world.cron_tick(), world.tick()] == [set()] * 3


def test_an_llm_that_comes_while_the_matrix_is_made_is_not_forgotten(
    world: AutomationWorld,
) -> None:
    arrive(world, NEW)
    world.tick()
    assert world.cron_tick() == REFRESH
    run = world.begin("bpb_matrix", "web")
    carry_out(world, REFRESH - {("bpb_matrix", "web")})
    assert world.tick() == set(), "estimates wait for the matrix"
    arrive(world, NEXT)
    assert world.tick() == set()
    world.finish(run, "bpb_matrix", "web")
    assert world.tick() == FIRST_WAVE
    carry_out(world, FIRST_WAVE)
    carry_out(world, world.tick())
    assert world.cron_tick() == REFRESH


def test_a_failed_refresh_is_retried_once(world: AutomationWorld) -> None:
    arrive(world, NEW)
    world.tick()
    world.cron_tick()
    carry_out(world, REFRESH - {("error_vector", "arc")})
    world.fail(world.begin("error_vector", "arc"))
    mine = {(asset, pair) for asset, pair in FIRST_WAVE if pair == "web|piqa"}
    assert world.tick() == {("error_vector", "arc"), *mine}
    world.fail(world.begin("error_vector", "arc"))
    carry_out(world, mine)
    assert world.tick() == {("fasttext_filter", "web|piqa")}
    carry_out(world, {("fasttext_filter", "web|piqa")})
    assert [world.tick(), world.tick()] == [set(), {("report", "web|piqa")}]
    carry_out(world, {("report", "web|piqa")})
    assert [world.tick(), world.cron_tick()] == [set()] * 2


def test_a_report_does_without_a_filter_that_failed(world: AutomationWorld) -> None:
    world.materialise("bpb_matrix", "web")
    carry_out(world, world.tick())
    assert world.tick() == FILTERS
    for expected in (FILTERS, REPORTS):
        for asset, pair in sorted(FILTERS):
            world.fail(world.begin(asset, pair))
        assert world.tick() == expected


def test_nothing_follows_from_what_is_not_there(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = AutomationWorld(settings(tmp_path), instance)
    world.materialise("chunked_dataset", "web")
    world.tick()
    world.add_llms(NEW)
    world.tick()
    world.materialise("chunk_bpb", f"{NEW}|web")
    world.fail(world.begin("benchmark_errors", NEW))
    assert world.tick() == {("benchmark_errors", NEW)}
    world.fail(world.begin("benchmark_errors", NEW))
    assert world.cron_tick() == {("bpb_matrix", "web")}
    world.materialise("bpb_matrix", "web")
    assert [world.tick(), world.cron_tick()] == [set()] * 2


# pools and exports


POOL_GROUPS = {("pool_scores", "crawl/0000"), ("pool_scores", "crawl/0001")}
NGRAMS = {("benchmark_ngrams", "arc"), ("benchmark_ngrams", "piqa")}
CLEAN = {("clean_estimate", "web|arc"), ("clean_estimate", "web|piqa")}
SELECTIONS = {("selected_data", "crawl|arc"), ("selected_data", "crawl|piqa")}


@pytest.fixture
def with_pool(world: AutomationWorld, tmp_path: Path) -> AutomationWorld:
    """The same, of a project that has a pool of two groups and automation of everything."""
    pools = {"crawl": {"sample": "web", "files": ["*.jsonl"], "keep_ratio": 0.1}}
    world.change(settings(tmp_path, pools=pools, automation={"pools": True, "exports": True}))
    add_groups(world, "crawl/0000", "crawl/0001")
    carry_out(world, POOL_GROUPS | SELECTIONS | NGRAMS | CLEAN | REPORTS)
    assert [world.tick(), world.tick()] == [set()] * 2
    return world


def add_groups(world: AutomationWorld, *groups: str) -> None:
    world.instance.add_dynamic_partitions("pool_group", list(groups))
    world.materialise("pool_files", *groups)


def test_files_that_come_are_scored_and_selected_from(with_pool: AutomationWorld) -> None:
    add_groups(with_pool, "crawl/0002")
    new = {("pool_scores", "crawl/0002")}
    assert [with_pool.tick(), with_pool.tick()] == [set(), new]
    carry_out(with_pool, new)
    assert [with_pool.tick(), with_pool.tick()] == [set(), SELECTIONS]
    carry_out(with_pool, SELECTIONS)
    assert [with_pool.tick(), with_pool.tick()] == [set()] * 2


def test_one_pass_for_all_filters_that_changed(with_pool: AutomationWorld) -> None:
    with_pool.materialise("fasttext_filter", "web|arc")
    other = with_pool.begin("fasttext_filter", "web|piqa")
    quiet = [with_pool.tick() & POOL_GROUPS for _ in range(3)]
    assert quiet == [set()] * 3
    with_pool.finish(other, "fasttext_filter", "web|piqa")
    asked = [with_pool.tick() & POOL_GROUPS for _ in range(3)]
    assert sorted(map(len, asked)) == [0, 0, 2]


def test_what_pools_are_searched_for_is_made_and_then_searched_for(
    world: AutomationWorld, tmp_path: Path
) -> None:
    pools = {"crawl": {"sample": "web", "files": ["*.jsonl"], "keep_ratio": 0.1}}
    world.change(settings(tmp_path, pools=pools, automation={"pools": True}))
    add_groups(world, "crawl/0000", "crawl/0001")
    carry_out(world, POOL_GROUPS | SELECTIONS)
    asked = [world.tick() for _ in range(3)]
    assert sorted(map(len, asked)) == [0, 0, 2]
    assert NGRAMS in asked
    carry_out(world, NGRAMS)
    assert [world.tick(), world.tick()] == [CLEAN, POOL_GROUPS]
    carry_out(world, CLEAN | POOL_GROUPS)
    assert [world.tick(), world.tick()] == [set(), SELECTIONS | REPORTS]


def test_an_export_is_made_in_the_night_if_something_changed(with_pool: AutomationWorld) -> None:
    exports = {("exported_database", "None"), ("published_export", "web")}

    def night() -> set[tuple[str, str]]:
        return with_pool.tick(86_400) & exports

    assert night() == set()
    with_pool.materialise("bpb_matrix", "web")
    assert with_pool.tick() & exports == set()
    assert night() == exports
    with_pool.materialise("published_export", "web")
    with_pool.materialise("exported_database", None)
    assert night() == set()


# imported matrices


def test_imports_are_not_imported_again_but_taken_in(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    samples = {"web": TEXTS, "published": IMPORT, "books": TEXTS}
    world = AutomationWorld(settings(tmp_path, samples=samples), instance)
    world.materialise("chunked_dataset", "web")
    world.tick()
    arrive(world, NEW)
    world.tick()
    assert world.cron_tick() == REFRESH
    carry_out(world, REFRESH)
    assert world.tick() == FIRST_WAVE
    carry_out(world, FIRST_WAVE)
    assert world.tick() == FILTERS
    carry_out(world, FILTERS)
    assert [world.tick(), world.tick()] == [set(), REPORTS]
    carry_out(world, REPORTS)
    assert [world.tick(), world.cron_tick()] == [set()] * 2

    def published(wave: set[tuple[str, str]]) -> set[tuple[str, str]]:
        return {(asset, pair.replace("web", "published")) for asset, pair in wave}

    world.materialise("bpb_matrix", "published")
    assert world.tick() == published(FIRST_WAVE)
    carry_out(world, published(FIRST_WAVE))
    assert [world.tick(), world.tick()] == [set(), published(REPORTS)]
    carry_out(world, published(REPORTS))
    assert world.cron_tick() == REFRESH - {("bpb_matrix", "web")}, "the errors it brought"
