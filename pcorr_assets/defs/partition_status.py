"""What is materialised, missing, failed, in progress or stale, partition by partition.

Belongs here: asking the Dagster instance, in few queries, and saying why in one line.
Does not belong here: showing it (the command, the standing check), and what a failure
means for others.

A partition is stale by Dagster's own rule: the code version of its asset, or the data
version of an upstream partition, is another than when it was materialised. Dagster's UI
leaves out dependencies on 100 partitions or more; here they count like all others. Beside
that rule a partition is stale if something that the configuration names is not what it was
made from (`made_from`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import dagster as dg
from dagster import DagsterEventType

from pcorr_assets.config import Settings
from pcorr_assets.defs.made_from import MadeFrom, changes, noted_in
from pcorr_assets.defs.partitions import dimensions_of
from pcorr_assets.defs.versions import CODE_VERSION_TAG
from pcorr_assets.matrix.wording import count, name_some

State = Literal["materialised", "missing", "failed", "in progress", "stale"]
STATES: tuple[State, ...] = ("materialised", "missing", "failed", "in progress", "stale")

RECORDS_AT_ONCE = 500
RUNS_AT_ONCE = 100
MAX_REASON = 500

_CODE_VERSION = "dagster/code_version"
_DATA_VERSION = "dagster/data_version"
_INPUT_POINTER = "dagster/input_event_pointer/"
_FINISHED = frozenset(
    {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
)

Partition = str | None


@dataclass(frozen=True)
class PartitionState:
    """One partition of one asset; `partition` is None for an asset without partitions.

    `reason` says why in one line: what a failed run raised, which upstream or whether the
    code changed of a stale one, and is empty where there is nothing to say. `run_id` is the
    run that the state comes from, None for what was never run. `has_data` tells whether
    it was ever materialised: a failed partition with data still has its old table.
    """

    asset: str
    partition: Partition
    state: State
    reason: str
    run_id: str | None
    has_data: bool


def partition_states(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions | Any,
    assets: Iterable[str] | None = None,
    settings: Settings | None = None,
) -> list[PartitionState]:
    """The state of every partition, by asset in the order of the graph.

    Args:
        definitions: the definitions, or their asset graph.
        assets: names of the assets to look at; None: all that can be materialised.
        settings: the configuration, to look at what it names; None: that is not looked at.

    Partitions are those that the definitions and the instance have now. A run that was
    cancelled leaves what was there before: the partition is `missing` or `materialised`,
    and the reason names the run. Raises KeyError for an unknown asset.
    """
    graph = (
        definitions.resolve_asset_graph()
        if isinstance(definitions, dg.Definitions)
        else definitions
    )
    names = [key for key in graph.toposorted_asset_keys if graph.get(key).is_materializable]
    if assets is not None:
        wanted = {dg.AssetKey(name) for name in assets}
        unknown = sorted(key.to_user_string() for key in wanted - set(names))
        if unknown:
            raise KeyError(f"there is no asset {name_some(unknown)}")
        names = [key for key in names if key in wanted]
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        made = None if settings is None else MadeFrom(settings)
        history = _History(instance, graph)
        found = [state for key in names for state in _AssetStates(history, key, made).states()]
    if made is not None:
        made.save()
    return found


@dataclass(frozen=True)
class _Materialisation:
    """The latest one of a partition: its place in the event log, its run, and what it noted."""

    storage_id: int
    run_id: str
    tags: Mapping[str, str]
    made_from: Mapping[str, str] | None

    def input_pointer(self, upstream: dg.AssetKey) -> int | None:
        """The last event of an upstream asset that the run knew of; None if it notes none."""
        pointer = self.tags.get(_INPUT_POINTER + upstream.to_user_string())
        if pointer is None:
            # Recorded by hand, after some targets of a run failed: only its time is known.
            return None if _CODE_VERSION in self.tags else self.storage_id
        return int(pointer) if pointer.isdigit() else 0


class _History:
    """What the event log says of assets, each question asked once."""

    def __init__(self, instance: dg.DagsterInstance, graph: Any) -> None:
        self.instance = instance
        self.graph = graph
        self._latest: dict[dg.AssetKey, dict[Partition, int]] = {}
        self._versions: dict[tuple[dg.AssetKey, int | None], Mapping[Partition, str | None]] = {}
        self._first_failures: dict[str, _Failure] = {}

    def latest_ids(self, key: dg.AssetKey) -> dict[Partition, int]:
        """The place in the log of the latest materialisation of each partition."""
        if key not in self._latest:
            if self.graph.get(key).is_partitioned:
                found = self.instance.get_latest_storage_id_by_partition(
                    key, DagsterEventType.ASSET_MATERIALIZATION
                )
                self._latest[key] = {**found}
            else:
                last = self._last(key, None)
                self._latest[key] = {} if last is None else {None: last.storage_id}
        return self._latest[key]

    def versions(self, key: dg.AssetKey, until: int | None) -> Mapping[Partition, str | None]:
        """Data versions of the partitions as they were at a place in the log; None: now."""
        if (key, until) not in self._versions:
            before = None if until is None else until + 1
            if self.graph.get(key).is_partitioned:
                tags = self.instance.event_log_storage.get_latest_tags_by_partition(
                    key, DagsterEventType.ASSET_MATERIALIZATION, [_DATA_VERSION], None, before
                )
                self._versions[key, until] = {
                    partition: found.get(_DATA_VERSION) for partition, found in tags.items()
                }
            else:
                last = self._last(key, before)
                self._versions[key, until] = (
                    {} if last is None else {None: _tags(last).get(_DATA_VERSION)}
                )
        return self._versions[key, until]

    def _last(self, key: dg.AssetKey, before: int | None) -> dg.EventLogRecord | None:
        wanted = dg.AssetRecordsFilter(asset_key=key, before_storage_id=before)
        return next(iter(self.instance.fetch_materializations(wanted, limit=1).records), None)

    def materialisations(self, key: dg.AssetKey) -> dict[Partition, _Materialisation]:
        """The latest materialisation of each partition."""
        places = {place: partition for partition, place in self.latest_ids(key).items()}
        found: dict[Partition, _Materialisation] = {}
        for some in _batches(sorted(places), RECORDS_AT_ONCE):
            wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=some)
            for record in self.instance.fetch_materializations(wanted, limit=len(some)).records:
                found[places[record.storage_id]] = _Materialisation(
                    record.storage_id, record.run_id, _tags(record), _made_from(record)
                )
        return found

    def attempts(self, key: dg.AssetKey) -> dict[Partition, str]:
        """The run of each partition whose last attempt has not materialised it."""
        if self.graph.get(key).is_partitioned:
            storage = self.instance.event_log_storage
            found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(  # noqa: E501
                key
            )
            return {partition: run_id for partition, (run_id, _) in found.items()}
        planned = self.instance.get_latest_planned_materialization_info(key)
        last = self.latest_ids(key).get(None, 0)
        return {None: planned.run_id} if planned and planned.storage_id > last else {}

    def runs(self, run_ids: Iterable[str]) -> dict[str, dg.DagsterRun]:
        """Runs by id; those that were deleted are not among them."""
        return {
            run.run_id: run
            for some in _batches(sorted(set(run_ids)), RUNS_AT_ONCE)
            for run in self.instance.get_runs(filters=dg.RunsFilter(run_ids=some))
        }

    def failure(self, run_id: str, step: str) -> _Failure:
        """What a step of a failed run raised, else what the run failed with first."""
        first = self._first_failures.get(run_id)
        if first is not None and first.step in (step, None):
            return first
        steps = DagsterEventType.STEP_FAILURE
        records = self.instance.get_records_for_run(run_id, of_type=steps).records
        found = [_Failure.of(record.event_log_entry.get_dagster_event()) for record in records]
        own = [failure for failure in found if failure.step == step]
        others = [first] if first is not None else found
        return next(iter(own or others), _Failure(None, f"run {run_id[:8]} failed"))

    def look_up_failures(self, run_ids: Iterable[str]) -> None:
        """Read how these runs ended: together, for each run's own log costs a file of its own."""
        wanted = set(run_ids) - set(self._first_failures)
        cursor, more = None, bool(wanted)
        while more:
            page = self.instance.fetch_run_status_changes(
                DagsterEventType.RUN_FAILURE, limit=RECORDS_AT_ONCE, cursor=cursor
            )
            for record in page.records:
                if record.run_id in wanted:
                    wanted.remove(record.run_id)
                    event = record.event_log_entry.get_dagster_event()
                    first = getattr(event.event_specific_data, "first_step_failure_event", None)
                    self._first_failures[record.run_id] = _Failure.of(first or event)
            cursor, more = page.cursor, page.has_more and bool(wanted)


@dataclass(frozen=True)
class _Failure:
    """A step that failed (None: the run as a whole), and what it raised."""

    step: str | None
    message: str

    @staticmethod
    def of(event: dg.DagsterEvent) -> _Failure:
        error = getattr(event.event_specific_data, "error", None)
        return _Failure(event.step_key, _raised(error) or event.message or "no reason is known")


class _AssetStates:
    """The states of one asset's partitions."""

    def __init__(self, history: _History, key: dg.AssetKey, made: MadeFrom | None) -> None:
        self._history = history
        self._key = key
        self._made = made
        self._node = history.graph.get(key)
        self._name = key.to_user_string()
        self._done = history.materialisations(key)
        self._attempts = history.attempts(key)
        self._runs = history.runs(self._attempts.values())
        failed = dg.DagsterRunStatus.FAILURE
        history.look_up_failures(key for key, run in self._runs.items() if run.status is failed)

    def states(self) -> Iterator[PartitionState]:
        """All of them, in the order of the partitions definition."""
        for partition in self._partitions():
            state, reason, run_id = self._judge(partition)
            yield PartitionState(
                self._name, partition, state, reason, run_id, partition in self._done
            )

    def _partitions(self) -> Sequence[Partition]:
        definition = self._node.partitions_def
        if definition is None:
            return [None]
        return list(definition.get_partition_keys(dynamic_partitions_store=self._history.instance))

    def _judge(self, partition: Partition) -> tuple[State, str, str | None]:
        run = self._runs.get(self._attempts.get(partition, ""))
        done = self._done.get(partition)
        if run is not None and run.status not in _FINISHED:
            return "in progress", f"the run is {run.status.value.lower()}", run.run_id
        if run is not None and run.status is dg.DagsterRunStatus.FAILURE:
            reason = self._failure(run.run_id, partition)
            if done is not None:
                reason += f" (what run {done.run_id[:8]} materialised before is still there)"
            return "failed", reason, run.run_id
        cancelled = run is not None and run.status is dg.DagsterRunStatus.CANCELED
        note = f"run {run.run_id[:8]} was cancelled" if run is not None and cancelled else ""
        if done is None:
            return "missing", note, run.run_id if run is not None and cancelled else None
        causes = [*self._stale_causes(partition, done), *([note] if note else [])]
        if len(causes) > bool(note):
            return "stale", "; ".join(causes), done.run_id
        return "materialised", note, done.run_id

    def _failure(self, run_id: str, partition: Partition) -> str:
        """What the asset's own step raised, else what kept it from starting.

        Every asset of the platform is one step that bears its name.
        """
        failure = self._history.failure(run_id, self._name)
        reason = _about(failure.message, partition)
        if failure.step in (None, self._name):
            return reason
        return f"not started, because {failure.step} failed: {reason}"

    def _stale_causes(self, partition: Partition, done: _Materialisation) -> Iterator[str]:
        noted = done.tags.get(_CODE_VERSION, done.tags.get(CODE_VERSION_TAG))
        if noted is not None and self._node.code_version not in (None, noted):
            yield "the code or the settings it depends on changed"
        if self._made is not None and done.made_from is not None:
            keys = dimensions_of(self._node.partitions_def, partition)
            if changed := changes(done.made_from, self._made.of(self._name, keys)):
                yield changed
        for upstream in sorted(self._upstream):
            pointer = done.input_pointer(upstream)
            name = upstream.to_user_string()
            if pointer is None:
                yield f"it was materialised before it depended on {name}"
                continue
            others = self._changed(partition, upstream, pointer)
            named = [found for found in others if found is not None]
            if named:
                yield f"{count(len(named), 'partition')} of {name} changed: {name_some(named, 3)}"
            elif others:
                yield f"{name} changed"

    @cached_property
    def _upstream(self) -> list[dg.AssetKey]:
        graph = self._history.graph
        return [key for key in self._node.parent_keys if graph.get(key).is_materializable]

    def _changed(self, partition: Partition, upstream: dg.AssetKey, until: int) -> list[Partition]:
        """Upstream partitions with another data version than at a place in the log."""
        newer = {p for p, place in self._history.latest_ids(upstream).items() if place > until}
        if not newer:
            return []
        if self._history.graph.get(upstream).is_partitioned:
            result = self._history.graph.get_parent_partition_keys_for_child(
                partition, upstream, self._key
            )
            newer &= set(result.partitions_subset.get_partition_keys())
        if not newer:
            return []
        then, now = (self._history.versions(upstream, place) for place in (until, None))
        return sorted((p for p in newer if then.get(p) != now.get(p)), key=str)


def _tags(record: dg.EventLogRecord) -> Mapping[str, str]:
    found = record.asset_materialization
    return (found.tags if found is not None else None) or {}


def _made_from(record: dg.EventLogRecord) -> Mapping[str, str] | None:
    found = record.asset_materialization
    return None if found is None else noted_in(found.metadata)


def _raised(error: Any) -> str | None:
    """The innermost PcorrError of a chain of errors, else its innermost error."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.cause or error.context
    if not chain:
        return None
    mendable = [found for found in chain if found.cls_name == "PcorrError"]
    found = (mendable or chain)[-1]
    # Dagster keeps what the interpreter prints: the class with its module, then the message.
    message = found.message.strip()
    _, colon, text = message.partition(": ")
    return text if mendable and colon else message


def _about(message: str, partition: Partition) -> str:
    """One line; of a run over several partitions the line that is about this one."""
    lines = message.splitlines()
    own = [line for line in lines if partition is not None and line.startswith(f"{partition}: ")]
    text = own[0].removeprefix(f"{partition}: ") if own else message
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 3]}..."


def _batches(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
