"""Stage `sharing`: files to give away.

Belongs here: the assets `exported_database` and `published_export`. Does not belong here:
writing the files (`warehouse.export`, `matrix.exports`), and reports (`reports`).
"""

from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
from pydantic import Field

from pcorr_assets.defs.automation import conditions
from pcorr_assets.defs.metadata import rows_table, sentences
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import OWNER
from pcorr_assets.defs.versions import code_version
from pcorr_assets.steps.sharing import SharedDatabase, share_database, share_published
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.store import content_hash
from pcorr_assets.warehouse.views import STORAGE_VERSION

GROUP = "sharing"
ROOMS = ("warehouse/registry.py", "warehouse/tables", "steps/sharing.py")

# Every asset that writes a table.
TABLE_ASSETS = (
    "chunked_dataset",
    "chunk_bpb",
    "benchmark_errors",
    "bpb_matrix",
    "error_vector",
    "estimate",
    "rank_prediction",
    "sensitivity",
    "next_llms",
    "clean_estimate",
    "sampling_distribution",
    "fasttext_filter",
    "benchmark_ngrams",
    "pool_files",
    "pool_scores",
    "selected_data",
    "compared_selections",
    "report",
)
# What README of the database says of the configuration.
STATED = ("samples", "llms", "benchmarks", "targets", "selection", "validation", "pools")


class DatabaseOptions(dg.Config):
    """What goes into the exported database."""

    include_text: bool = Field(
        default=False,
        description="Also export the texts of the chunks. Off: whoever gets the file sees ids, "
        "domains and numbers, but no text.",
    )


class PublishedOptions(dg.Config):
    """Which files of the published format are written."""

    format: str = Field(default="csv", description="csv, as published, or parquet (smaller)")
    level: str = Field(
        default="",
        description="chunk, page or domain; empty: the levels that the targets are estimated at",
    )


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_exported_database(platform), _published_export(platform)]


def _exported_database(platform: Platform) -> dg.AssetsDefinition:
    @dg.asset(
        group_name=GROUP,
        deps=[dg.AssetDep(name, partition_mapping=_all()) for name in TABLE_ASSETS],
        code_version=code_version(
            (*ROOMS, "warehouse/export.py", "warehouse/export_readme.py"),
            platform.settings,
            (*STATED, "exports"),
        ),
        automation_condition=conditions(platform.settings).get("exported_database"),
        owners=[OWNER],
        kinds={"duckdb"},
    )
    def exported_database(
        context: dg.AssetExecutionContext, config: DatabaseOptions
    ) -> dg.MaterializeResult:
        """One DuckDB file with every table and where it comes from, to give to somebody else."""
        shared = share_database(
            platform.settings,
            include_text=config.include_text,
            holder=f"run {context.run.run_id}",
        )
        # Not the bytes of the file, which differ each time: what was copied into it.
        return dg.MaterializeResult(
            metadata=_shown(shared, config.include_text),
            data_version=dg.DataVersion(shared.exported.inputs_sha256),
        )

    return exported_database


def _all() -> dg.PartitionMapping:
    return dg.AllPartitionMapping()


def _shown(shared: SharedDatabase, include_text: bool) -> dict[str, Any]:
    exported = shared.exported
    rows = pa.table({"table": [*exported.row_counts], "rows": [*exported.row_counts.values()]})
    return {
        "path": dg.MetadataValue.path(str(exported.path)),
        **({"output": shared.url} if shared.url is not None else {}),
        "bytes": exported.byte_count,
        "dagster/row_count": sum(exported.row_counts.values()),
        "rows by table": rows_table(rows, ["table", "rows"]),
        "texts included": include_text,
        "sha256": exported.sha256,
        "DuckDB": f"{duckdb.__version__}, storage version {STORAGE_VERSION}",
        "how to open": dg.MetadataValue.md(
            f"`duckdb -readonly {exported.path.name}`, then "
            "`SELECT * FROM README WHERE section = 'query';`"
        ),
        "written again during the export": sentences(exported.unsettled),
    }


def _published_export(platform: Platform) -> dg.AssetsDefinition:
    @dg.asset(
        group_name=GROUP,
        partitions_def=platform.partitions.sample,
        deps=[
            dg.AssetDep("bpb_matrix"),
            dg.AssetDep("benchmark_errors", partition_mapping=_all()),
            # Its token counts travel with the matrix.
            dg.AssetDep(
                "sampling_distribution", partition_mapping=platform.partitions.to_sample_target
            ),
        ],
        code_version=code_version(
            (
                *ROOMS,
                "matrix/exports.py",
                "matrix/identity.py",
                "matrix/layout.py",
                "matrix/wide_files.py",
            ),
            platform.settings,
            ("targets", "benchmarks", "selection.level", "exports"),
        ),
        automation_condition=conditions(platform.settings).get("published_export"),
        owners=[OWNER],
        kinds={"csv"},
    )
    def published_export(
        context: dg.AssetExecutionContext, config: PublishedOptions
    ) -> dg.MaterializeResult:
        """The matrix and the benchmark errors as wide files that `matrix_csv` imports again."""
        sample = context.partition_key
        with platform.lock(context, "published_export", sample):
            shared = share_published(
                platform.settings,
                sample,
                levels=[config.level] if config.level else [],
                format=config.format,
            )
        found = shared.levels
        paths = [*dict.fromkeys(path for files in found for path in files.paths)]
        report = dict.fromkeys(sentence for files in found for sentence in files.report)
        return dg.MaterializeResult(
            metadata={
                "LLMs": found[0].llm_count,
                "benchmarks": found[0].benchmark_count,
                **{f"{files.level}s": files.unit_count for files in found},
                **{path.name: dg.MetadataValue.path(str(path)) for path in paths},
                **({"output": shared.url} if shared.url is not None else {}),
                "bytes": sum(path.stat().st_size for path in paths),
                "what the files cannot say": sentences([*report]),
            },
            data_version=dg.DataVersion(content_hash(*(sha256_file(path) for path in paths))),
        )

    return published_export
