"""Stage `selection`, third part: what other methods would select.

Belongs here: the asset `compared_selections`. Does not belong here: methods (`methods`), and the
documents that are selected for training (`filters`).
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from pcorr_assets.defs.correlation import INPUTS
from pcorr_assets.defs.costs import measured_llms
from pcorr_assets.defs.filters import READING
from pcorr_assets.defs.metadata import rows_table, sentences
from pcorr_assets.defs.partitions import POOL, TARGET, keys_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.defs.versions import selection_sections
from pcorr_assets.steps.compared_selections import DOCUMENTS, TABLE, write_compared

# What decides which documents are chosen, and the labels and the training of classifiers.
CHOOSING = tuple(
    f"filters/{name}.py"
    for name in (
        "choosing",
        "contamination",
        "near_duplicates",
        "ordering",
        "scored",
        "selection",
        "signatures",
    )
)
TRAINING = tuple(
    f"filters/{name}.py"
    for name in ("corpus", "fitting", "labels", "model", "normalise", "splitting", "training")
)
SHOWN = (
    "method",
    "document_count",
    "token_count",
    "overlap",
    "cpu_seconds",
    "llm_count",
    "gpu_hours",
    "reason",
)


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this part."""
    return [_compared_selections(platform)]


def _compared_selections(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=(TABLE, DOCUMENTS),
        rooms=(
            "methods",
            "lm/benchmark_items.py",
            "lm/training_texts.py",
            "stats/projection.py",
            "steps/compared_selections.py",
            *INPUTS,
            *CHOOSING,
            *TRAINING,
            *READING,
        ),
        sections=(
            "pools",
            "benchmarks",
            "samples.*.unit_tokens",
            *selection_sections(
                "decontaminate",
                "fasttext",
                "keep_ratio",
                "language_model",
                "max_nan_fraction",
                "tokenizer",
            ),
        ),
        deps=[
            ("pool_scores", dg.AllPartitionMapping()),
            ("fasttext_filter", dg.AllPartitionMapping()),
            ("bpb_matrix", dg.AllPartitionMapping()),
            ("error_vector", dg.AllPartitionMapping()),
        ],
        group_name="selection",
        partitions_def=platform.partitions.compared_pool_target,
        kinds={"fasttext", "duckdb", "parquet"},
    )
    def compared_selections(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """What the `methods` of a pool would select for a target, beside the platform's filter."""
        keys = keys_of(context.partition_key)
        pair = (keys[POOL], keys[TARGET])
        with platform.lock(context, TABLE, *pair):
            found = write_compared(
                platform.warehouse,
                platform.settings,
                *pair,
                measured=measured_llms(platform.warehouse),
            )
        written = [(table, pair, part) for table, part in found.written.items()]
        return materialised(platform, written, _shown(found.rows, found.notes))

    return compared_selections


def _shown(rows: pa.Table, notes: list[str]) -> dict[str, Any]:
    return {"methods": rows_table(rows, SHOWN), "notes": sentences(notes)}
