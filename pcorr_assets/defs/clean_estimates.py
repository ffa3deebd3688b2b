"""Stage `correlation`, third part: estimates without chunks that hold text of benchmarks.

Belongs here: the asset `clean_estimate`. Does not belong here: the search and the estimates
(`steps`), and what pools are searched for (`filters`).
"""

from typing import Any

import dagster as dg
import pyarrow.compute as pc

from pcorr_assets.defs.check_events import Outcome
from pcorr_assets.defs.correlation import INPUTS, OF_ESTIMATES
from pcorr_assets.defs.metadata import numbers, rows_table
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import table_asset
from pcorr_assets.defs.target_run import TargetRun
from pcorr_assets.steps.clean_estimates import (
    TABLE,
    TargetCleanEstimates,
    clean_estimates_of_targets,
)
from pcorr_assets.steps.contaminated_chunks import TABLE as CHUNKS

SHOWN_ROWS = 100


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_clean_estimate(platform)]


def _clean_estimate(platform: Platform) -> dg.AssetsDefinition:
    partitions = platform.partitions

    @table_asset(
        platform,
        tables=(TABLE, CHUNKS),
        rooms=(
            "clean",
            "filters/ngram_files.py",
            "matrix/units.py",
            "stats/estimation.py",
            "stats/projection.py",
            "stats/ranks.py",
            "stats/without_chunks.py",
            "steps/clean_estimates.py",
            "steps/contaminated_chunks.py",
            *INPUTS,
        ),
        sections=OF_ESTIMATES,
        deps=[
            ("estimate", partitions.samples_to_text_samples),
            ("chunked_dataset", partitions.to_text_sample_target),
            ("benchmark_ngrams", partitions.searched_to_text_samples),
        ],
        group_name="correlation",
        partitions_def=partitions.text_sample_target,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"numpy", "parquet"},
    )
    def clean_estimate(context: dg.AssetExecutionContext) -> Outcome:
        """The estimate without chunks that hold text of the target's benchmarks, beside it."""
        wh, run = platform.warehouse, TargetRun(platform, context)
        with run.locked(TABLE):
            for sample, targets in run.targets_by_sample.items():
                for found in clean_estimates_of_targets(
                    wh, platform.settings, sample, targets, run.failures[sample]
                ):
                    keys = (sample, found.target)
                    parts = [
                        (name, keys, wh.write(name, keys, table, found.notes))
                        for name, table in ((TABLE, found.table), (CHUNKS, found.chunks))
                    ]
                    run.finished(keys, parts, _shown(found))
        return run.result()

    return clean_estimate


def _shown(found: TargetCleanEstimates) -> dict[str, Any]:
    compared = found.compared
    touched = found.table.filter(pc.field("contaminated_chunk_count") > 0)
    return numbers(
        {
            "compared": compared.sentence,
            "chunks": compared.chunk_count,
            "chunks with text of a benchmark": compared.contaminated_chunk_count,
            "units": compared.unit_count,
            "units with such chunks": compared.contaminated_unit_count,
            "rank correlation with the estimate": compared.rank_correlation,
            "share of the selection that stays": compared.overlap,
            "units with such chunks, and both estimates": rows_table(
                touched.slice(0, SHOWN_ROWS),
                ["unit", "chunk_count", "contaminated_chunk_count", "estimate", "clean_estimate"],
            ),
            "such chunks": rows_table(
                found.chunks.slice(0, SHOWN_ROWS), ["chunk_id", "benchmark", "item", "words"]
            ),
        }
    )
