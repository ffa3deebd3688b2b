"""Declarative automation: when Dagster launches a partition by itself.

Belongs here: one condition for each automated asset, in one table, and the sensor that
evaluates them, off until somebody switches it on. Does not belong here: adding partitions
(`registration`), and what people and schedules launch (`jobs`).

One launcher: the conditions never ask for a partition that is in progress, whoever
launched it, and the schedule leaves to them what they do while the sensor is on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg
from dagster import AutomationCondition as When
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData

from pcorr_assets.config import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.declarative_automation.automation_condition import (
        BuiltinAutomationCondition,
    )

    Condition: TypeAlias = BuiltinAutomationCondition[Any]

SENSOR = "automation"
SECONDS_BETWEEN_TICKS = 10
RUN_TAGS = {"pcorr/launched_by": SENSOR}


def conditions(settings: Settings) -> dict[str, Condition]:
    """Condition of each automated asset; assets that are not in it are never launched.

    Unless the configuration says otherwise, `pool_scores` and `selected_data` are left to the job
    `refresh_filters`, for a pool costs as much as many LLMs, and exports to the job `export` and
    the schedule. Without benchmarks nothing can be evaluated.
    """
    refresh = settings.automation.refresh
    found = {
        "chunk_bpb": scored_once(),
        "bpb_matrix": matrix_refreshed(refresh),
        "error_vector": errors_refreshed(refresh, imports=bool(settings.imported_samples)),
        "estimate": follows("bpb_matrix", "error_vector"),
        "rank_prediction": follows("bpb_matrix", "error_vector"),
        "sensitivity": follows("bpb_matrix", "error_vector"),
        "next_llms": follows("bpb_matrix", "error_vector"),
        "sampling_distribution": follows("estimate", together=True),
        "fasttext_filter": follows("sampling_distribution", "rank_prediction"),
        "report": follows_at_last(
            "estimate",
            "rank_prediction",
            "sampling_distribution",
            waits_for=("sensitivity", "next_llms", "clean_estimate", "fasttext_filter"),
        ),
    }
    if settings.benchmarks:
        found["benchmark_errors"] = evaluated_once()
    if settings.automation.pools:
        found["benchmark_ngrams"] = made_once()
        found["clean_estimate"] = follows("estimate", "benchmark_ngrams")
        found["pool_scores"] = pool_scored()
        found["selected_data"] = follows_at_last("pool_scores")
    if settings.automation.exports:
        found["exported_database"] = exported(settings.automation.nightly)
        found["published_export"] = exported(settings.automation.nightly, "bpb_matrix")
    return found


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """The one switch: off by default, and while it is off nothing here launches anything."""
    return dg.AutomationConditionSensorDefinition(
        SENSOR,
        target=dg.AssetSelection.all(),
        description="Scores and evaluates LLMs that are registered while it is on, then "
        "refreshes matrices, estimates, distributions, filters and reports. Off until you "
        "switch it on; see docs/automation.md.",
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        run_tags=RUN_TAGS,
    )


def _states(instance: dg.DagsterInstance) -> list[InstigatorState]:
    if instance.schedule_storage is None:
        return []
    found = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    return [state for state in found if state.instigator_name == SENSOR]


def automation_is_on(instance: dg.DagsterInstance) -> bool:
    """Whether the sensor was switched on, in the UI or by the API."""
    return any(state.is_running for state in _states(instance))


def forget_while_off(instance: dg.DagsterInstance) -> None:
    """Switched on again, automation starts from what is there then, as at the first time.

    Dagster keeps a stopped sensor's memory. With it, all LLMs that were registered while
    automation was off would count as new, and be launched by the flip of a switch.
    """
    for state in _states(instance):
        data = state.instigator_data
        if not state.is_running and isinstance(data, SensorInstigatorData) and data.cursor:
            forgotten = SensorInstigatorData(
                min_interval=data.min_interval, sensor_type=data.sensor_type
            )
            instance.update_instigator_state(state.with_data(forgotten))


# LLMs


def evaluated_once() -> Condition:
    """An LLM that is registered while automation is on is evaluated, and retried once.

    Only new ones: what was missing when automation was switched on may be months of GPU
    time, which nobody asked for by flipping a switch. The job `score_new_llms` does those.
    """
    return ((_new_llm(_appeared()) | failed_once()) & ~When.in_progress()).with_label(
        "evaluated once"
    )


def scored_once() -> Condition:
    """An LLM that is registered while automation is on is scored on each sample with chunks.

    Its cue is the new LLM, not the missing partition: a new *sample* makes one missing
    partition for every LLM there is, and that is a matter for the job as well. An LLM
    that comes before the chunks of a sample waits for them.
    """
    new = _new_llm(When.asset_matches("benchmark_errors", _appeared()) & When.missing())
    return ((new | failed_once()) & ~When.any_deps_missing() & ~When.in_progress()).with_label(
        "scored once"
    )


def _appeared() -> Condition:
    return When.missing().newly_true()


def _new_llm(appeared: Condition) -> Condition:
    """Until anybody runs it: a run that a person starts, and perhaps cancels, counts too."""
    handled = (
        When.newly_requested()
        | When.in_progress()
        | When.newly_updated()
        | When.initial_evaluation()
    ).with_label("somebody ran it")
    return appeared.since(handled).with_label("a new LLM")


def failed_once() -> Condition:
    """The first failure since the last success, seen while automation is on: one retry.

    A second failure in a row is no news, and a cancelled run is no failure: both rest until
    somebody looks. (The plain `execution_failed().newly_true()` fires again for each failure
    if Dagster's cache of states is rebuilt between; unbounded retries are how one bad LLM
    fills a queue.) It takes no `since_last_handled()`, which forgets a run that failed before
    the next tick; so what had failed when automation was switched on is left out explicitly.
    """
    first = When.execution_failed().since(When.newly_updated()).newly_true()
    return (first & ~When.initial_evaluation()).with_label("failed for the first time")


# once a tick of the cron expression


def matrix_refreshed(refresh: str) -> Condition:
    """Once a tick, a matrix takes in the LLMs that were scored since it was made.

    One that failed or is missing does not hold up the others: the matrix says who is not
    in it. It waits while LLMs of its sample are in progress, so that ten new LLMs make one
    refresh. The way to a sample's LLMs leads over its chunks: the matrix's own dependency
    counts all samples where there are imports (see `Partitions.text_samples_to_samples`).
    """

    def any_llm(condition: Condition) -> Condition:
        of_sample = When.asset_matches("chunk_bpb", condition)
        return When.asset_matches("chunked_dataset", of_sample)

    busy = any_llm(When.in_progress() | When.asset_matches("benchmark_errors", When.in_progress()))
    return _refreshed(refresh, any_llm(_changed()), busy)


def errors_refreshed(refresh: str, *, imports: bool) -> Condition:
    """Once a tick, an error vector takes in the LLMs that were evaluated since.

    It waits for scoring as well as for evaluation, so that an LLM enters the matrix and the
    error vectors at the same tick. Imported matrices bring errors with them; the matrices of
    text samples do not, and are not waited for.
    """
    changed = When.asset_matches("benchmark_errors", _changed())
    busy = When.asset_matches(
        "benchmark_errors", When.in_progress() | When.asset_matches("chunk_bpb", When.in_progress())
    )
    if imports:
        imported = ~When.asset_matches("chunked_dataset", ~When.missing())
        changed |= When.asset_matches("bpb_matrix", _changed() & imported)
        busy |= When.asset_matches("bpb_matrix", When.in_progress() & imported)
    return _refreshed(refresh, changed, busy)


def _refreshed(refresh: str, changed: Condition, busy: Condition) -> Condition:
    due = (_not_yet_in_it(changed) & When.cron_tick_passed(refresh)).with_label("due at this tick")
    return (
        (due | failed_once()) & ~busy.with_label("LLMs are in progress") & ~When.in_progress()
    ).with_label("refreshed once a tick")


# at once


def follows(*upstream: str, together: bool = False) -> Condition:
    """Made again as soon as what it is made from came out differently.

    Not before all of it is there and done, nor from an upstream whose latest run failed:
    mixing its old table with the new ones of the others would look like a result.
    `together`: asked for at the same moment as its upstream, to run right after it.
    """
    changed = _any_of(upstream, _changed())
    if together:
        changed |= _any_of(upstream, When.will_be_requested())
    return (
        (_not_yet_in_it(changed) | failed_once()) & _ready(upstream) & ~When.in_progress()
    ).with_label(f"follows {', '.join(upstream)}")


def follows_at_last(*upstream: str, waits_for: tuple[str, ...] = ()) -> Condition:
    """As `follows`, but only when a tick has passed on which nothing upstream moved.

    A report depends on every step of a chain. The moment between two of them, when the one
    is done and the next not yet asked for, would otherwise make a report each. It shows what
    `waits_for` came to as well, but does without what failed or cannot be.
    """
    chain = (*upstream, *waits_for)
    moving = _any_of(chain, _changed() | When.will_be_requested() | When.in_progress()).with_label(
        "still moving"
    )
    wanted = _not_yet_in_it(_any_of(chain, _changed()))
    return ((wanted | failed_once()) & ~moving & _ready(upstream) & ~When.in_progress()).with_label(
        f"follows {', '.join(upstream)} at last"
    )


# pools and exports, if the configuration says so


def made_once() -> Condition:
    """What a pool is searched for is made where it is missing: it takes no LLM, and seconds."""
    return ((_appeared() | failed_once()) & ~When.in_progress()).with_label("made once")


def pool_scored() -> Condition:
    """A group is scored when it is new or its files changed, and when a filter changed.

    It waits until no filter moves any more, so that one pass over the text scores for all
    targets; a filter that failed is done without, as long as there is one. So are
    n-grams of benchmarks.
    """
    chain = ("pool_files", "fasttext_filter", "benchmark_ngrams")
    any_filter = _any_of(("fasttext_filter",), ~When.missing()).with_label("there is a filter")
    return (follows_at_last("pool_files", waits_for=chain[1:]) & any_filter).with_label(
        f"follows {', '.join(chain)} at last"
    )


def exported(nightly: str, *needed: str) -> Condition:
    """Once a night, if anything that goes into it changed and nothing of it is in progress."""
    busy = When.any_deps_match(When.in_progress())
    due = _refreshed(nightly, When.any_deps_match(_changed()), busy)
    return (due & _ready(needed) if needed else due).with_label("exported in the night")


def _any_of(upstream: tuple[str, ...], condition: Condition) -> Condition:
    return When.any_deps_match(condition).allow(dg.AssetSelection.assets(*upstream))


def _ready(upstream: tuple[str, ...]) -> Condition:
    missing = When.missing() & ~When.will_be_requested()
    return ~_any_of(upstream, missing | When.in_progress() | When.execution_failed()).with_label(
        "something upstream is missing, in progress or failed"
    )


def _changed() -> Condition:
    """Materialised with other content; the same content again starts nothing downstream.

    What a run materialised together with the asset itself is in it already.
    """
    return (When.data_version_changed() & ~When.executed_with_root_target()).with_label("changed")


def _not_yet_in_it(changed: Condition) -> Condition:
    """Upstream changed since a run of this partition began, whoever launched that run.

    `since_last_handled()` counts from the *end* of the run: an LLM that was scored while
    the matrix was being built would be forgotten. So it counts from when a run is first seen;
    a run so short that no tick saw it counts at its end.
    """
    began = When.run_in_progress().newly_true()
    seen_running = (~When.run_in_progress()).newly_true()
    handled = (
        When.newly_requested()
        | began
        | (When.newly_updated() & ~seen_running)
        | When.initial_evaluation()
    ).with_label("a run began")
    return changed.since(handled).with_label("changed since the last run began")
