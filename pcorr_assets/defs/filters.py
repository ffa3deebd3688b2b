"""Stage `selection`, second part: filters, and the documents of pools they select.

Belongs here: the assets `fasttext_filter`, `pool_scores` and `selected_data`. Does not
belong here: training, scoring and choosing (`filters`), and the distribution (`selection`).
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from pcorr_assets.config.texts import TextSource
from pcorr_assets.defs.compute import run_job
from pcorr_assets.defs.metadata import numbers, overview, rows_table, sentences
from pcorr_assets.defs.partitions import POOL, SAMPLE, SHARD, TARGET, keys_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.defs.versions import selection_sections
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.training import BuiltFilter, build_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.jobs.score_pool_shard import score_pool_shard_job
from pcorr_assets.report.overviews import scores_overview, shards_overview
from pcorr_assets.steps.verdicts import estimates_of, verdict_of
from pcorr_assets.warehouse import WrittenPartition

BUDGET_CHECK = "filter_beats_random"
# Which documents a pool has, and which filter scores them.
SOURCE = (*TextSource.model_fields, "files", "sample", "token_count_column")
# How the documents of a pool are read.
READING = (
    "filters/pools.py",
    *(
        f"text/{name}.py"
        for name in ("arrow_files", "bad_rows", "cleaning", "files", "formats", "wet_files")
    ),
)


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_fasttext_filter(platform), _pool_scores(platform), _selected_data(platform)]


def _fasttext_filter(platform: Platform) -> dg.AssetsDefinition:
    partitions = platform.partitions

    @table_asset(
        platform,
        tables=("fasttext_filters",),
        rooms=("filters",),
        sections=selection_sections("estimator", "fasttext", "keep_ratio", "language_model"),
        checks=[
            dg.AssetCheckSpec(
                BUDGET_CHECK,
                asset="fasttext_filter",
                partitions_def=partitions.text_sample_target,
                description="On domains it has never seen, the filter used at the token budget "
                "is better than 95 % of random filters.",
            )
        ],
        deps=[
            ("sampling_distribution", partitions.samples_to_text_samples),
            ("rank_prediction", partitions.samples_to_text_samples),
            ("chunked_dataset", partitions.to_text_sample_target),
        ],
        group_name="selection",
        partitions_def=partitions.text_sample_target,
        kinds={"fasttext", "parquet"},
    )
    def fasttext_filter(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """A fastText model that tells the selected pages from the others, tested on new domains."""
        keys = keys_of(context.partition_key)
        sample, target = keys[SAMPLE], keys[TARGET]
        wh, table = platform.warehouse, "fasttext_filters"
        selection = platform.settings.selection_for(target)
        with platform.lock(context, table, sample, target):
            built = build_filter(
                wh,
                sample,
                target,
                selection,
                estimates=estimates_of(wh, sample, target, selection.estimator),
                verdict=verdict_of(wh, sample, target),
            )
        path = wh.path(table, sample, target)
        check = dg.AssetCheckResult(
            check_name=BUDGET_CHECK,
            passed=built.beats_random,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(built.notes) or None,
        )
        written = WrittenPartition(path, 1, path.stat().st_size, built.sha256)
        return materialised(
            platform, [(table, (sample, target), written)], _shown(built), checks=[check]
        )

    return fasttext_filter


def _shown(built: BuiltFilter) -> dict[str, Any]:
    metrics = {name: value for name, value in built.row.items() if isinstance(value, float | int)}
    terms = {
        f"terms of {label}": sentences([f"{term.text}: {term.weight:.3f}" for term in found])
        for label, found in built.terms.items()
    }
    return numbers(
        {
            **metrics,
            "model": dg.MetadataValue.path(str(built.path)),
            "boundary unit": built.row["boundary_unit"],
            "notes": sentences(built.notes),
            "languages": dg.MetadataValue.json(
                {name: dict(shares) for name, shares in built.languages.items()}
            )
            if built.languages is not None
            else "no selection.language_model is set, so languages were not identified",
            **terms,
        }
    )


def _pool_scores(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("pool_scores",),
        rooms=("filters/scoring.py", "filters/model.py", "filters/normalise.py", *READING),
        # Not the budget: another one selects anew from the same scores.
        sections=(*(f"pools.*.{name}" for name in SOURCE), *selection_sections("tokenizer")),
        deps=[("fasttext_filter", platform.partitions.same_target)],
        group_name="selection",
        partitions_def=platform.partitions.shard_target,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        kinds={"fasttext", "parquet"},
    )
    def pool_scores(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The filter's score, and the tokens, of each document of one shard of a pool."""
        keys = keys_of(context.partition_key)
        shard, target = keys[SHARD], keys[TARGET]
        with platform.lock(context, "pool_scores", shard, target):
            job = score_pool_shard_job(platform.settings, shard, target)
            result = run_job(context, platform, "pool_scores", (shard, target), job)
        written = WrittenPartition(
            Path(result["path"]), result["row_count"], result["byte_count"], result["sha256"]
        )
        partition = ("pool_scores", (shard, target), written)
        found = scores_overview(platform.warehouse, "pool_scores", (shard, target), shard)
        shown = {**numbers(result["metadata"]), **overview(found)}
        return materialised(platform, [partition], shown)

    return pool_scores


def _selected_data(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("selections",),
        rooms=("filters/selection.py", "filters/selected.py", "filters/writing.py", *READING),
        sections=("pools",),
        deps=[("pool_scores", platform.partitions.same_target)],
        group_name="selection",
        partitions_def=platform.partitions.pool_target,
        kinds={"duckdb", "parquet"},
    )
    def selected_data(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The documents of a pool that fill its token budget, best score first, as files."""
        keys = keys_of(context.partition_key)
        name, target = keys[POOL], keys[TARGET]
        pool, wh = platform.settings.pools[name], platform.warehouse
        with platform.lock(context, "selections", name, target):
            selected = write_selected(
                wh,
                name,
                pool,
                target,
                list_shards(name, pool),
                config=pool.model_dump(mode="json"),
                run_id=context.run.run_id,
                compute=platform.settings.compute.selection,
            )
        written = wh.written("selections", name, target)
        rows = wh.read("selections", name, target)
        boundary = _boundary(rows)
        metadata = {
            "folder": dg.MetadataValue.path(str(selected.folder)),
            "manifest": dg.MetadataValue.json(dict(selected.manifest)),
            "shards taken over from an interrupted run": selected.reused_shard_count,
            "boundary document": rows_table(boundary, boundary.schema.names),
            **overview(shards_overview(rows)),
            **overview(scores_overview(wh, "selections", (name, target), f"{name} for {target}")),
        }
        return materialised(platform, [("selections", (name, target), written)], metadata)

    return selected_data


def _boundary(rows: pa.Table) -> pa.Table:
    return rows.filter(rows["is_boundary"]).select(["document_id", "shard", "score", "token_count"])
