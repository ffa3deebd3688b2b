"""Checks that stand beside the assets.

Belongs here: checks generated from the registry of tables, and the helpers that turn a
finding into a check result. Does not belong here: statistics (the verdict is computed in
`stats`; here it is only shown).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg
import pyarrow as pa

from pcorr_assets.stats.verdict import Verdict
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.validation import partition_problems

# Beyond this, rows are checked row group by row group, so that memory stays bounded.
MAX_ROWS_AT_ONCE = 2_000_000


def table_check_name(table: str) -> str:
    """Name of the check that a table holds what the registry says."""
    return f"{table}_fits_registry"


def table_check_specs(
    asset: str, tables: Sequence[str], partitions: dg.PartitionsDefinition | None
) -> list[dg.AssetCheckSpec]:
    """One check for each table of an asset, with the asset's partitions."""
    return [
        dg.AssetCheckSpec(
            table_check_name(table),
            asset=asset,
            partitions_def=partitions,
            description=f"Columns, NULL, NaN, ranges and unique keys of {table} "
            "are what the registry of tables says.",
        )
        for table in tables
    ]


def table_check_results(
    wh: Warehouse, partitions: Iterable[tuple[str, tuple[str, ...]]]
) -> list[dg.AssetCheckResult]:
    """Results for the partitions `(table, keys)` that a run wrote, one for each table."""
    problems: dict[str, list[str]] = {}
    for table, keys in partitions:
        found = problems.setdefault(table, [])
        found += [f"{'|'.join(keys)}: {problem}" for problem in _problems(wh, table, keys)]
    return [
        dg.AssetCheckResult(
            check_name=table_check_name(table),
            passed=not found,
            description="; ".join(found) or None,
            metadata={"problems": len(found)},
        )
        for table, found in problems.items()
    ]


def _problems(wh: Warehouse, table: str, keys: tuple[str, ...]) -> list[str]:
    with wh.open(table, *keys) as file:
        if file.metadata.num_rows <= MAX_ROWS_AT_ONCE:
            return partition_problems(TABLES[table], file.read())
        return [
            f"row group {index}: {problem}"
            for index in range(file.metadata.num_row_groups)
            for problem in partition_problems(
                TABLES[table], pa.Table.from_batches([*file.iter_batches(row_groups=[index])])
            )
        ]


TRUST_CHECK = "selection_is_trustworthy"


def trust_check_spec(asset: str, partitions: dg.PartitionsDefinition) -> dg.AssetCheckSpec:
    """The check that shows the verdict of each partition."""
    return dg.AssetCheckSpec(
        TRUST_CHECK,
        asset=asset,
        partitions_def=partitions,
        description="Passes where the verdict is go. Otherwise: add LLM families, take other "
        "texts, or estimate at another level before spending GPU hours.",
    )


def trust_check_result(where: str, verdict: Verdict) -> dg.AssetCheckResult:
    """The verdict of a partition (`where`), with its numbers and what to do."""
    return dg.AssetCheckResult(
        check_name=TRUST_CHECK,
        passed=verdict.verdict == "go",
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{where}: {verdict.verdict}. {verdict.reason}",
        metadata={where: _numbers_in_words(verdict)},
    )


def _numbers_in_words(verdict: Verdict) -> str:
    if verdict.gain is None:
        return verdict.verdict
    return (
        f"{verdict.verdict}: p {verdict.p_value:.3f}, gain over random texts {verdict.gain:+.3f} "
        f"({verdict.gain_low:+.3f} to {verdict.gain_high:+.3f}, {verdict.gain_needed:+.3f} "
        f"needed), lowest mean BPB {verdict.gain_mean_bpb:+.3f}, strongest LLM "
        f"{verdict.gain_strongest_llm:+.3f}, {verdict.group_count} groups"
    )
