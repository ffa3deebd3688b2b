"""Stage `texts`: text samples cut into chunks.

Belongs here: the asset `chunked_dataset`. Does not belong here: reading and chunking
(`text`).
"""

from dataclasses import asdict

import dagster as dg

from pcorr_assets.defs.metadata import overview, sentences
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.report.overviews import chunks_overview
from pcorr_assets.text.chunked_dataset import SHORT_CHUNK_TOKENS, ChunkingReport, chunk_sample


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_chunked_dataset(platform)]


def _chunked_dataset(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("chunks",),
        rooms=("text",),
        sections=("samples",),
        group_name="texts",
        partitions_def=platform.partitions.text_sample,
        kinds={"parquet", "huggingface"},
    )
    def chunked_dataset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The pages of a text sample, cut into chunks that joined give the page again."""
        key = context.partition_key
        with (
            platform.lock(context, "chunks", key),
            platform.warehouse.writer("chunks", (key,)) as writer,
        ):
            report = chunk_sample(key, platform.settings.samples[key], writer)
        shown = {**_shown(report), **overview(chunks_overview(platform.warehouse, key))}
        return materialised(platform, [("chunks", (key,), writer.written)], shown)

    return chunked_dataset


def _shown(report: ChunkingReport) -> dict[str, object]:
    dropped = {
        name.replace("_", " "): count
        for name, count in asdict(report).items()
        if isinstance(count, int) and count and name not in _TOTALS
    }
    return {
        **{name: getattr(report, name) for name in _TOTALS},
        f"share of chunks below {SHORT_CHUNK_TOKENS} tokens": report.short_chunk_share,
        "tokens per second": report.tokens_per_second,
        "chunks_sha256": report.chunks_sha256,
        "rows that were not taken or mended": sentences(
            [f"{name}: {count:,}" for name, count in dropped.items()]
        ),
        "texts of another type": sentences(report.places_of_another_type),
        "skipped rows": sentences(report.places_of_skipped_rows),
    }


_TOTALS = ("rows", "pages", "domains", "chunks", "byte_count", "token_count")
