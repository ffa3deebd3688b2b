"""What an asset's run came to, as Dagster's events: each check result at its partition.

Belongs here: the end of a run as `Outcome`, and its events. Does not belong here: what is
checked (`checks`, `plausibility_checks`), and the data of an outcome (`table_asset`,
`target_run`).

Dagster puts a check result at its partition only in runs that are launched for one key. A
run over a range (and that is what its daemon makes of a backfill with a policy, even of one
partition) gets one result without partition, and the UI shows every partition of it as
skipped. So the evaluations are made here, after the materialisation that they point to.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

# The run's own materialisation is the last, unless others followed at once.
RECORDS_TO_SEARCH = 10

Checks = Mapping[str | None, Sequence[dg.AssetCheckResult]]


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        result: what the run materialised; None if one of its partitions failed.
        checks: results by partition; the key of an asset without partitions is None.
        finished: where a partition failed, those that did not: their tables are there.
        failure: where a partition failed, the error that the run ends with.
    """

    result: dg.MaterializeResult | None
    checks: Checks = field(default_factory=dict)
    finished: Sequence[dg.AssetMaterialization] = ()
    failure: Exception | None = None


Events = Iterator[
    dg.MaterializeResult | dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output
]


def with_check_events(
    function: Callable[[dg.AssetExecutionContext], dg.MaterializeResult | Outcome],
) -> Callable[[dg.AssetExecutionContext], Events]:
    """The function of an asset, from one that returns how its run ended.

    A `MaterializeResult` is that of the one partition of the run.
    """

    def compute(context: dg.AssetExecutionContext) -> Events:
        outcome = function(context)
        if isinstance(outcome, dg.MaterializeResult):
            own = {_only_partition(context): outcome.check_results}
            outcome = Outcome(outcome._replace(check_results=[]), own)
        if outcome.result is not None:
            yield outcome.result
        yield from outcome.finished
        # From here on the materialisations stand in the log.
        for partition, results in outcome.checks.items():
            yield from _evaluations(context, partition, results)
        if outcome.failure is not None:
            raise outcome.failure
        selected = context.selected_asset_check_keys
        for name, spec in context.assets_def.check_specs_by_output_name.items():
            if spec.key in selected:
                yield dg.Output(None, output_name=name)

    return compute


def _only_partition(context: dg.AssetExecutionContext) -> str | None:
    has_partition = context.has_partition_key or context.has_partition_key_range
    return context.partition_key if has_partition else None


def _evaluations(
    context: dg.AssetExecutionContext,
    partition: str | None,
    results: Sequence[dg.AssetCheckResult],
) -> Iterator[dg.AssetCheckEvaluation]:
    wanted = dg.AssetRecordsFilter(
        asset_key=context.asset_key,
        asset_partitions=None if partition is None else [partition],
    )
    records = context.instance.fetch_materializations(wanted, limit=RECORDS_TO_SEARCH).records
    own = (record for record in records if record.run_id == context.run.run_id)
    target = next((_pointer(record) for record in own), None)
    for found in results:
        yield dg.AssetCheckEvaluation(
            asset_key=context.asset_key,
            check_name=found.check_name or "",
            passed=found.passed,
            metadata=found.metadata,
            target_materialization_data=target,
            severity=found.severity,
            description=found.description,
            blocking=False,
            partition=partition,
        )


def _pointer(record: dg.EventLogRecord) -> AssetCheckEvaluationTargetMaterializationData:
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )
