"""Stage `texts`: text samples cut into chunks.

Belongs here: the asset `chunked_dataset`. Does not belong here: reading and chunking
(`text`).
"""

from contextlib import ExitStack
from dataclasses import asdict

import dagster as dg

from pcorr_assets.defs.bill import bill_metadata
from pcorr_assets.defs.metadata import overview, sentences
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.report.overviews import chunks_overview
from pcorr_assets.steps.pilot_chunks import write_pilot
from pcorr_assets.text.chunked_dataset import SHORT_CHUNK_TOKENS, ChunkingReport, chunk_sample


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_chunked_dataset(platform)]


def _chunked_dataset(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("chunks",),
        rooms=("text", "steps/pilot_chunks.py"),
        sections=("samples",),
        group_name="texts",
        partitions_def=platform.partitions.text_sample,
        kinds={"parquet", "huggingface"},
    )
    def chunked_dataset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The pages of a text sample, cut into chunks that joined give the page again."""
        key, wh = context.partition_key, platform.warehouse
        sample = platform.settings.samples[key]
        if sample.pilot_of is not None:
            return _pilot(context, platform, key)
        with platform.lock(context, "chunks", key), ExitStack() as stack:
            # What is entered last is written first: no chunks appear before their units.
            writer = stack.enter_context(wh.writer("chunks", (key,)))
            units = None
            if sample.unit_columns or wh.exists("page_units", key):
                units = stack.enter_context(wh.writer("page_units", (key,)))
            report = chunk_sample(key, sample, writer, units)
        left = bill_metadata(platform.settings, wh)
        shown = {**_shown(report), **left, **overview(chunks_overview(wh, key))}
        also = [units.written] if units is not None else []
        return materialised(platform, [("chunks", (key,), writer.written)], shown, also=also)

    return chunked_dataset


def _pilot(context: dg.AssetExecutionContext, platform: Platform, key: str) -> dg.MaterializeResult:
    with platform.lock(context, "chunks", key):
        found = write_pilot(platform.warehouse, platform.settings, key)
    left_out = ("written", "units")
    shown = {name: value for name, value in vars(found).items() if name not in left_out}
    also = [] if found.units is None else [found.units]
    return materialised(
        platform,
        [("chunks", (key,), found.written)],
        {
            **shown,
            **bill_metadata(platform.settings, platform.warehouse),
            **overview(chunks_overview(platform.warehouse, key)),
        },
        also=also,
    )


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
        "units by level": sentences(
            [
                f"{level}: {count:,} ({report.pages_without_unit[level]:,} pages without)"
                for level, count in report.units.items()
            ]
        ),
        "texts of another type": sentences(report.places_of_another_type),
        "skipped rows": sentences(report.places_of_skipped_rows),
    }


_TOTALS = ("rows", "pages", "domains", "chunks", "byte_count", "token_count")
