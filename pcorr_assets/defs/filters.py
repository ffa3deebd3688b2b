"""Stage `selection`, second part: filters, and the documents of pools they select.

Belongs here: the assets `fasttext_filter`, `pool_files`, `pool_scores` and `selected_data`. Does
not belong here: training, scoring and choosing (`filters`), and the distribution (`selection`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.cards.filter_card import write_filter_card
from pcorr_assets.cards.selection_card import selection_card
from pcorr_assets.config.texts import TextSource
from pcorr_assets.defs.compute import run_job
from pcorr_assets.defs.metadata import numbers, overview, rows_table, sentences
from pcorr_assets.defs.partitions import POOL, SAMPLE, TARGET, keys_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.registration import GROUPS, listed
from pcorr_assets.defs.table_asset import ALWAYS, materialised, table_asset
from pcorr_assets.defs.versions import code_version, selection_sections
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import groups_of, pool_of, refresh_groups
from pcorr_assets.filters.ngram_files import TABLE as BENCHMARK_NGRAMS
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.training import BuiltFilter, build_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.jobs.score_pool_group import partitions_of, score_pool_group_job
from pcorr_assets.report.overviews import group_overview, scores_overview, shards_overview
from pcorr_assets.steps.benchmark_ngrams import write_ngrams
from pcorr_assets.steps.verdicts import estimates_of, verdict_of
from pcorr_assets.warehouse import WrittenPartition

BUDGET_CHECK = "filter_beats_random"
# Which documents a pool has, and which filter scores them.
SOURCE = (*TextSource.model_fields, "files", "sample", "token_count_column", "near_duplicates")
# How the documents of a pool are read.
READING = (
    "filters/pools.py",
    *(
        f"text/{name}.py"
        for name in ("arrow_files", "bad_rows", "cleaning", "files", "formats", "wet_files")
    ),
)
# What a pass makes of them, whatever the target.
OF_A_PASS = (
    "filters/assembly.py",
    "filters/ids.py",
    "filters/parts.py",
    "filters/passes.py",
    "filters/shingles.py",
    "filters/signatures.py",
    "filters/tokens.py",
)
SEARCHING = ("clean", "filters/ngram_files.py")
SCORING = ("filters/model.py", "filters/normalise.py")


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [
        _fasttext_filter(platform),
        _benchmark_ngrams(platform),
        _pool_files(platform),
        _pool_scores(platform),
        _selected_data(platform),
    ]


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
            card = write_filter_card(wh, platform.settings, sample, target)
        path = wh.path(table, sample, target)
        check = dg.AssetCheckResult(
            check_name=BUDGET_CHECK,
            passed=built.beats_random,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(built.notes) or None,
        )
        written = WrittenPartition(path, 1, path.stat().st_size, built.sha256)
        return materialised(
            platform, [(table, (sample, target), written)], _shown(built, card), checks=[check]
        )

    return fasttext_filter


def _shown(built: BuiltFilter, card: Path) -> dict[str, Any]:
    metrics = {name: value for name, value in built.row.items() if isinstance(value, float | int)}
    terms = {
        f"terms of {label}": sentences([f"{term.text}: {term.weight:.3f}" for term in found])
        for label, found in built.terms.items()
    }
    return numbers(
        {
            **metrics,
            "model": dg.MetadataValue.path(str(built.path)),
            "card": dg.MetadataValue.path(str(card)),
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


def _benchmark_ngrams(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=(BENCHMARK_NGRAMS,),
        rooms=("clean", "lm/benchmark_items.py", "steps/benchmark_ngrams.py"),
        sections=("benchmarks", *selection_sections("decontaminate", "ngram_words")),
        group_name="selection",
        partitions_def=platform.partitions.searched_target,
        kinds={"numpy", "parquet"},
    )
    def benchmark_ngrams(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """Runs of words of the items that a target is measured by: no text may hold them."""
        target = context.partition_key
        with platform.lock(context, BENCHMARK_NGRAMS, target):
            found = write_ngrams(platform.warehouse, platform.settings, target)
        counts = [{"benchmark": name, **one} for name, one in found.counts.items()]
        columns = ("benchmark", "items", "too short", "n-grams", "in too many items")
        shown = {
            "searched": rows_table(pa.Table.from_pylist(counts), columns)
            if counts
            else "nothing: decontaminate is off"
            if found.is_off
            else "nothing",
            "benchmarks without a task": ", ".join(found.without_task) or "none",
        }
        return materialised(
            platform, [(BENCHMARK_NGRAMS, (target,), found.written)], numbers(shown)
        )

    return benchmark_ngrams


def _pool_files(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("pool_files",),
        rooms=("filters/groups.py", "filters/pools.py"),
        group_name="selection",
        partitions_def=platform.partitions.pool_group,
        kinds={"parquet"},
    )
    def pool_files(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The files of a group of a pool, as the pool is now; made when groups are registered."""
        group, wh = context.partition_key, platform.warehouse
        name = pool_of(group)
        pool = platform.settings.pools.get(name)
        if pool is None:
            raise PcorrError(f"{group} is of no pool of the configuration: `pcorr clean`")
        refresh_groups(wh, name, pool)
        written, files = listed(wh, group), wh.read("pool_files", group)
        there = files.filter(files["present"])
        metadata = {
            "files": there.num_rows,
            "bytes of files": sum(there["byte_count"].to_pylist()),
            "files that vanished": sentences(
                files.filter(pc.call_function("invert", [files["present"]]))["shard"].to_pylist()
            ),
        }
        return materialised(platform, [("pool_files", (group,), written)], metadata)

    return pool_files


def _pool_scores(platform: Platform) -> dg.AssetsDefinition:
    settings = platform.settings
    reading, tables = (*READING, *OF_A_PASS), ("pool_scores", "pool_documents")

    @table_asset(
        platform,
        tables=tables,
        rooms=(*reading, *SCORING, *SEARCHING),
        # Not the budget: another one selects anew from the same scores.
        sections=(*(f"pools.*.{name}" for name in SOURCE), *selection_sections("tokenizer")),
        deps=[
            ("fasttext_filter", dg.AllPartitionMapping()),
            ("benchmark_ngrams", dg.AllPartitionMapping()),
            "pool_files",
        ],
        group_name="selection",
        partitions_def=platform.partitions.pool_group,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        # One group at a time has all cores of this machine; on a cluster each is a job.
        pool=GROUPS,
        kinds={"fasttext", "parquet"},
    )
    def pool_scores(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """All targets' scores, and the tokens, of each document of a group of files of a pool."""
        group, wh = context.partition_key, platform.warehouse
        pool = settings.pools.get(pool_of(group))
        sample = pool.sample if pool is not None else ""
        targets = [t for t in settings.targets if wh.exists("fasttext_filters", sample, t)]
        with platform.lock(context, "pool_scores", group):
            job = score_pool_group_job(
                settings,
                group,
                targets,
                reading_code=code_version((*reading, *ALWAYS), settings, tables=tables),
                scoring_code=code_version(SCORING, settings),
                searching_code=code_version(SEARCHING, settings),
            )
            partitions = partitions_of(job)
            result = run_job(context, platform, "pool_scores", (group,), job, partitions=partitions)
        written = [
            (table, keys, WrittenPartition(
                Path(one["path"]), one["row_count"], one["byte_count"], one["sha256"]))
            for (table, keys), one in zip(partitions, [result, *result["others"]], strict=True)
        ]  # fmt: skip
        scores = [one for one in written if one[0] == "pool_scores"]
        shown = {
            **numbers(result["metadata"]),
            "dagster/row_count": sum(part.row_count for *_, part in scores),
            "bytes": sum(part.byte_count for *_, part in scores),
            "targets without a filter": ", ".join(t for t in settings.targets if t not in targets)
            or "none",
            **overview(group_overview(wh, group, targets)),
        }
        return materialised(platform, [*scores, written[0]], shown, own_metadata=False)

    return pool_scores


def _selected_data(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("selections",),
        rooms=(
            "filters/choosing.py",
            "filters/near_duplicates.py",
            "filters/ordering.py",
            "filters/signatures.py",
            "filters/contamination.py",
            "filters/selection.py",
            "filters/summary.py",
            "filters/scored.py",
            "filters/selected.py",
            "filters/writing.py",
            *READING,
        ),
        sections=("pools", *selection_sections("decontaminate")),
        deps=[("pool_scores", dg.AllPartitionMapping())],
        group_name="selection",
        partitions_def=platform.partitions.pool_target,
        kinds={"duckdb", "parquet"},
    )
    def selected_data(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The documents of a pool that fill its token budget, the best or drawn ones, as files."""
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
                groups_of(wh, name),
                config=pool.model_dump(mode="json"),
                run_id=context.run.run_id,
                compute=platform.settings.compute.selection,
                card=lambda manifest: selection_card(wh, platform.settings, name, target, manifest),
                decontaminate=platform.settings.selection_for(target).decontaminate,
            )
        written = wh.written("selections", name, target)
        rows = wh.read("selections", name, target)
        boundary = _boundary(rows)
        metadata = {
            "folder": dg.MetadataValue.path(str(selected.folder)),
            **({"output": selected.output} if selected.output is not None else {}),
            "manifest": dg.MetadataValue.json(dict(selected.manifest)),
            **numbers(
                {
                    f"{what} left out": selected.manifest[f"{name}_{unit}_count"]
                    for name, of in (("duplicate", "copies"), ("near_duplicate", "near-duplicates"))
                    for unit, what in (("document", of), ("token", f"tokens of {of}"))
                }
            ),
            "shards taken over from an interrupted run": selected.reused_shard_count,
            **_contaminated(selected.manifest),
            "boundary document": rows_table(boundary, boundary.schema.names),
            **overview(shards_overview(rows)),
            **overview(scores_overview(wh, "selections", (name, target), f"{name} for {target}")),
        }
        return materialised(platform, [("selections", (name, target), written)], metadata)

    return selected_data


def _contaminated(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What was found of the target's benchmarks in the pool."""
    by_benchmark = [
        {"benchmark": name, **counts} for name, counts in manifest["contaminated_by"].items()
    ]
    columns = ("benchmark", "documents", "tokens", "score_enough")
    shown: dict[str, Any] = {
        "decontaminate": manifest["decontaminate"],
        "documents with text of a benchmark": manifest["contaminated_document_count"],
    }
    if by_benchmark:
        rows = pa.Table.from_pylist(by_benchmark)
        shown["documents with text of a benchmark, by benchmark"] = rows_table(rows, columns)
    return shown


def _boundary(rows: pa.Table) -> pa.Table:
    return rows.filter(rows["is_boundary"]).select(["document_id", "shard", "score", "token_count"])
