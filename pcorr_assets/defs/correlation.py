"""Stage `correlation`: from BPB and errors to estimates and whether to trust them.

Belongs here: the assets `bpb_matrix`, `error_vector`, `estimate`, `rank_prediction`.
Does not belong here: what they compute (`steps`, `matrix`, `stats`).
"""

from collections import Counter

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.defs.metadata import (
    rows_table,
    sentences,
)
from pcorr_assets.defs.partitions import LLM
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.steps.error_vectors import target_error_vector
from pcorr_assets.steps.matrices import build_matrix

SHOWN_UNITS = 10


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [
        _bpb_matrix(platform),
        _error_vector(platform),
        # _estimate(platform),
        # _rank_prediction(platform),
    ]


def _bpb_matrix(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("bpb_matrix", "matrix_coverage"),
        rooms=("matrix",),
        sections=("samples",),
        checks=[
            dg.AssetCheckSpec(
                "enough_llms",
                asset="bpb_matrix",
                description="Enough LLMs and families to correlate over, and none lost.",
            )
        ],
        deps=[("chunk_bpb", platform.partitions.text_samples_to_samples)],
        group_name="correlation",
        partitions_def=platform.partitions.sample,
        kinds={"numpy", "parquet"},
    )
    def bpb_matrix(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """BPB of every LLM on every chunk, page and domain; or a published matrix."""
        sample = context.partition_key
        registered = context.instance.get_dynamic_partitions(LLM)
        with platform.lock(context, "bpb_matrix", sample):
            matrix = build_matrix(platform.warehouse, platform.settings, sample, registered)
        left_out = matrix.coverage.filter(pc.field("included") == pa.scalar(False))
        metadata = {
            "LLMs included": matrix.llm_count,
            "families": matrix.family_count,
            **{f"{level}s": count for level, count in matrix.unit_counts.items()},
            "report": sentences(matrix.report),
            "LLMs left out": rows_table(left_out, ["llm", "nan_count", "reason"]),
        }
        check = dg.AssetCheckResult(
            check_name="enough_llms",
            passed=not matrix.doubts,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(matrix.doubts) or None,
            metadata={"LLMs": matrix.llm_count, "families": matrix.family_count},
        )
        own = ("bpb_matrix", "matrix_coverage")
        written = [(table, (sample,), matrix.written[table]) for table in own]
        return materialised(platform, written, metadata, checks=[check])

    return bpb_matrix


def _error_vector(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("error_vectors",),
        rooms=("matrix/errors.py",),
        sections=("targets", "benchmarks"),
        # Between different single dimensions Dagster would silently map like keys to like keys.
        deps=[
            ("benchmark_errors", dg.AllPartitionMapping()),
            ("bpb_matrix", dg.AllPartitionMapping()),
        ],
        group_name="correlation",
        partitions_def=platform.partitions.target,
        kinds={"numpy", "parquet"},
    )
    def error_vector(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The error of each LLM on a target: its benchmarks, evaluated or imported, combined."""
        target = context.partition_key
        registered = context.instance.get_dynamic_partitions(LLM)
        with platform.lock(context, "error_vectors", target):
            vector = target_error_vector(platform.warehouse, platform.settings, target, registered)
            written = platform.warehouse.write("error_vectors", (target,), vector.table)
        sources = Counter(vector.table["source"].to_pylist())
        metadata = {
            **{f"LLMs from {source}": count for source, count in sources.items()},
            "report": sentences(vector.report),
            "lowest errors": rows_table(
                vector.table.sort_by([("error", "ascending"), ("llm", "ascending")]).slice(0, 10),
                ["llm", "family", "source", "error"],
            ),
        }
        return materialised(platform, [("error_vectors", (target,), written)], metadata)

    return error_vector


def _estimate(platform: Platform) -> dg.AssetsDefinition:
    raise NotImplementedError


def _rank_prediction(platform: Platform) -> dg.AssetsDefinition:
    raise NotImplementedError
