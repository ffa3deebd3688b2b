"""Stage `sharing`, first part: what one sends to colleagues.

Belongs here: the assets `report` and `comparison`, and how the Dagster UI leads to their
files. Does not belong here: what they say (`report`), and exports of the tables (`exports`).
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import pyarrow as pa
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from pcorr_assets.config import Selection
from pcorr_assets.config.keys import to_slug
from pcorr_assets.defs.metadata import numbers, rows_table, sentences
from pcorr_assets.defs.partitions import SAMPLE, TARGET, keys_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.defs.versions import selection_sections
from pcorr_assets.report.changes import TABLE, History
from pcorr_assets.report.comparison_page import in_words
from pcorr_assets.report.files import (
    WrittenComparison,
    WrittenReport,
    write_comparison,
    write_report,
)
from pcorr_assets.warehouse import WrittenPartition
from pcorr_assets.warehouse.files import atomic_path

# What a report reads decides what it says, beside the tables themselves.
ROOMS = (
    "report",
    "stats/permuted_errors.py",
    "stats/verdict.py",
    "stats/sensitivity_words.py",
    "steps/inputs.py",
)

COMPARED = "comparison"
MAX_ROWS = 60


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_report(platform), _comparison(platform)]


def _report(platform: Platform) -> dg.AssetsDefinition:
    partitions = platform.partitions

    @table_asset(
        platform,
        tables=(TABLE,),
        rooms=ROOMS,
        # What else of the file it shows makes the tables that it reads come out differently.
        sections=(*selection_sections(*Selection.model_fields), "validation"),
        deps=[
            "estimate",
            "rank_prediction",
            "sampling_distribution",
            "sensitivity",
            "next_llms",
            ("clean_estimate", partitions.samples_to_text_samples),
            ("bpb_matrix", partitions.to_sample_target),
            # Text sample x target to sample x target: the same keys as the other way round.
            ("fasttext_filter", partitions.samples_to_text_samples),
        ],
        group_name="sharing",
        partitions_def=partitions.sample_target,
        kinds={"html"},
    )
    def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """One HTML file to send to colleagues: the verdict, the texts, and what both rest on."""
        keys = keys_of(context.partition_key)
        sample, target = keys[SAMPLE], keys[TARGET]
        with platform.lock(context, "reports", sample, target):
            written = write_report(platform.warehouse, platform.settings, sample, target)
            history = written.history
            if history.is_new:
                changes = platform.warehouse.write(TABLE, (sample, target), history.table)
            else:
                changes = platform.warehouse.written(TABLE, sample, target)
            link = _offer_download(context.instance, written.path, sample, target)
        file = WrittenPartition(written.path, 0, written.byte_count, written.sha256)
        metadata = _metadata(written, link)
        parts = [(TABLE, (sample, target), changes)]
        return materialised(platform, parts, metadata, also=[file], own_metadata=False)

    return report


def _comparison(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=(),
        rooms=(*ROOMS, "stats/mixtures.py"),
        sections=("samples", "targets", "selection"),
        deps=[
            (name, dg.AllPartitionMapping())
            for name in ("estimate", "rank_prediction", "sampling_distribution", "report")
        ],
        group_name="sharing",
        kinds={"html"},
    )
    def comparison(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """All samples and targets on one page: verdicts, overlaps of selections, trade-offs."""
        with platform.lock(context, "reports", COMPARED):
            written = write_comparison(platform.warehouse, platform.settings)
            link = _offer_download(context.instance, written.path, COMPARED)
        file = WrittenPartition(written.path, 0, written.byte_count, written.sha256)
        metadata = _comparison_metadata(written, link)
        return materialised(platform, [], metadata, also=[file], own_metadata=False)

    return comparison


def _comparison_metadata(written: WrittenComparison, link: str | None) -> dict[str, Any]:
    facts = written.facts
    shares = facts.overlap.shares if facts.overlap is not None else None
    rows = pa.table(
        {
            "sample": [pair.sample for pair in facts.pairs],
            "target": [pair.target for pair in facts.pairs],
            "verdict": [pair.verdict.state for pair in facts.pairs],
            "gain": pa.array([pair.verdict.gain for pair in facts.pairs], pa.float64()),
        }
    )
    opening = _opening(link, "comparison")
    return numbers(
        {
            "comparison": dg.MetadataValue.md(f"{opening}\n\n{in_words(facts)}"),
            "path": dg.MetadataValue.path(str(written.path)),
            "index of all reports": dg.MetadataValue.path(str(written.index)),
            "samples and targets": len(facts.pairs),
            "selections compared": 0 if shares is None else len(shares),
            "verdicts": rows_table(rows.slice(0, MAX_ROWS), rows.column_names),
            "left out": sentences([f"{name}: {why}" for name, why in facts.left_out.items()]),
            "bytes": written.byte_count,
            "sha256": written.sha256,
        }
    )


def _opening(link: str | None, what: str) -> str:
    if link:
        return f"[Download the {what}]({link}) and open it; it needs no network."
    return "Open the file at `path` in a browser; it needs no network."


def _metadata(written: WrittenReport, link: str | None) -> dict[str, Any]:
    summary = written.summary
    opening = _opening(link, "report")
    best = pa.table(dict(zip(("unit", "estimate"), zip(*written.best, strict=True), strict=True)))
    return numbers(
        {
            "report": dg.MetadataValue.md(f"{opening}\n\n**{summary.title}**: {written.reason}"),
            "verdict": summary.title,
            **_changed(written.history),
            "path": dg.MetadataValue.path(str(written.path)),
            "index of all reports": dg.MetadataValue.path(str(written.index)),
            "p_value": summary.p_value,
            "gain": summary.gain,
            "gain_low": summary.gain_low,
            "gain_high": summary.gain_high,
            "delta": summary.delta,
            "stability": summary.stability,
            "LLMs": summary.llm_count,
            "units selected": summary.selected_count,
            "top ten units": rows_table(best, ["unit", "estimate"]),
            "bytes": written.byte_count,
            "sha256": written.sha256,
        }
    )


def _changed(history: History) -> dict[str, Any]:
    """What this materialisation changed; if nothing, when something last did."""
    last, *_ = history.changes
    said = last.sentence if history.is_new else f"Nothing since {last.day}. {last.sentence}"
    columns = ("number", "tables of", "change")
    rows = [(change.number, change.day, change.sentence) for change in history.changes]
    listed = pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True)))
    return {"what changed": said, "changes": rows_table(listed, columns)}


def _offer_download(instance: dg.DagsterInstance, path: Path, *keys: str) -> str | None:
    """A path on the UI's own server that downloads the file, or None if it has none.

    Browsers follow no `file://` link from a page of a server, and Dagster's server serves no
    files, except the captured logs of runs: as attachments, which a browser saves and does
    not run within the UI. So a copy is put where those are. Instances that keep logs
    elsewhere (in a bucket) have no such path.
    """
    logs = instance.compute_log_manager
    if not isinstance(logs, LocalComputeLogManager):
        return None
    key = ["reports", *(to_slug(part) for part in keys)]
    with atomic_path(Path(logs.get_captured_local_path(key, "html"))) as temporary:
        temporary.write_bytes(path.read_bytes())
    return f"/logs/{'/'.join(quote(part) for part in key)}/html"
