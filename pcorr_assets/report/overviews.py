"""What a partition looks like at a glance: a few rows and one picture, for the Dagster UI.

Belongs here: summaries of large tables, read row group by row group so that memory stays
bounded. Does not belong here: the HTML report (`page`), and whether what is seen makes
sense (`plausibility`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pcorr_assets.report.plots import dots, histogram
from pcorr_assets.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 10
QUANTILES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Overview:
    """Small tables by title, and pictures by title."""

    tables: dict[str, pa.Table]
    pictures: dict[str, Figure]


def chunks_overview(wh: Warehouse, sample: str) -> Overview:
    """Chunk lengths of a sample, and its domains with the most pages."""
    lengths: Counter[int] = Counter()
    pages: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    columns = ["reference_token_count", "chunk_index", "domain"]
    for rows in _row_groups(wh, "chunks", (sample,), columns):
        lengths.update(_counted(rows["reference_token_count"]))
        chunks.update(_counted(rows["domain"]))
        # Every page has exactly one first chunk.
        first = rows.filter(pa.array(rows["chunk_index"].to_numpy() == 0))
        pages.update(_counted(first["domain"]))
    largest = sorted(pages, key=lambda domain: (-pages[domain], domain))[:SHOWN]
    tables = {}
    if largest:
        tables["domains with the most pages"] = pa.table(
            {
                "domain": largest,
                "pages": [pages[domain] for domain in largest],
                "chunks": [chunks[domain] for domain in largest],
            }
        )
    if not lengths:
        return Overview(tables, {})
    values = np.array(sorted(lengths))
    counts = np.array([lengths[value] for value in values.tolist()])
    tables["tokens of a chunk"] = _quantiles(np.repeat(values, _scaled(counts)), "tokens")
    figure = histogram(values, f"Chunks of {sample}", "reference tokens", "chunks", counts=counts)
    return Overview(tables, {"lengths of the chunks": figure})


def bpb_overview(wh: Warehouse, keys: tuple[str, ...]) -> Overview:
    """The BPB of the chunks of one `chunk_bpb` partition; undefined ones are left out."""
    parts = [
        rows["bpb"].to_numpy().astype(np.float32)
        for rows in _row_groups(wh, "chunk_bpb", keys, ["bpb"])
    ]
    bpb = np.concatenate([np.empty(0, np.float32), *parts])
    defined = bpb[~np.isnan(bpb)]
    if not defined.size:
        return Overview({}, {})
    title = " on ".join(keys)
    return Overview(
        {"bits-per-byte of the chunks": _quantiles(defined, "bpb")},
        {"bits-per-byte": histogram(defined, title, "bits-per-byte", "chunks")},
    )


def matrix_overview(
    X: np.ndarray, llms: Sequence[str], deviations: np.ndarray, level: str
) -> Overview:
    """Mean BPB of each LLM over the units of a level, X (N, D), and how far it is off (N,)."""
    mean = X.mean(axis=1)
    order = np.argsort(mean, kind="stable")
    table = pa.table(
        {
            "llm": [llms[index] for index in order],
            "mean bpb": mean[order],
            "off the others": deviations[order],
        }
    )
    figure = dots(llms, mean, f"Mean bits-per-byte over {X.shape[1]:,} {level}s", "bits-per-byte")
    return Overview({"LLMs, best first": table}, {"mean bits-per-byte": figure})


def scores_overview(wh: Warehouse, table: str, keys: tuple[str, ...], title: str) -> Overview:
    """The filter's scores of the documents of a partition of `pool_scores` or `selections`."""
    parts = [rows["score"].to_numpy() for rows in _row_groups(wh, table, keys, ["score"])]
    scores = np.concatenate([np.empty(0), *parts])
    if not scores.size:
        return Overview({}, {})
    figure = histogram(scores, title, "probability of include", "documents")
    return Overview({"scores of the documents": _quantiles(scores, "score")}, {"scores": figure})


def group_overview(wh: Warehouse, group: str, targets: Sequence[str]) -> Overview:
    """The filters' scores of the documents of a group, a column for each target."""
    found = {}
    for target in targets:
        parts = [
            rows["score"].to_numpy()
            for rows in _row_groups(wh, "pool_scores", (group, target), ["score"])
        ]
        scores = np.concatenate([np.empty(0), *parts])
        if scores.size:
            found[target] = np.quantile(scores, QUANTILES)
    if not found:
        return Overview({}, {})
    columns = {"share below": [f"{100 * q:g} %" for q in QUANTILES], **found}
    return Overview({"scores of the documents": pa.table(columns)}, {})


def shards_overview(rows: pa.Table) -> Overview:
    """Documents and tokens taken from each shard, most tokens first, of rows of `selections`."""
    sums = rows.group_by("shard").aggregate([("token_count", "sum"), ("token_count", "count")])
    ordered = sums.sort_by([("token_count_sum", "descending"), ("shard", "ascending")])
    table = ordered.select(["shard", "token_count_count", "token_count_sum"])
    table = table.rename_columns(["shard", "documents", "tokens"])
    return Overview({"shards that gave the most": table.slice(0, SHOWN)}, {})


def _row_groups(
    wh: Warehouse, table: str, keys: tuple[str, ...], columns: list[str]
) -> Iterator[pa.Table]:
    with wh.open(table, *keys) as file:
        for batch in file.iter_batches(batch_size=1_000_000, columns=columns):
            yield pa.table(batch)


def _counted(column: pa.ChunkedArray) -> dict:
    return {
        entry["values"]: entry["counts"]
        for entry in column.value_counts().to_pylist()
        if entry["values"] is not None
    }


def _scaled(counts: np.ndarray) -> np.ndarray:
    """Counts of at most a million in all; every value that occurs stays."""
    factor = min(1.0, 1e6 / counts.sum())
    return np.ceil(counts * factor).astype(np.int64)


def _quantiles(values: np.ndarray, name: str) -> pa.Table:
    found = np.quantile(values.astype(np.float64), QUANTILES)
    return pa.table({"share below": [f"{100 * q:g} %" for q in QUANTILES], name: found})
