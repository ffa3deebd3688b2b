"""Rows of `contaminated_chunks`: chunks of a sample that hold text of a target's benchmarks.

Belongs here: reading chunks for the search, and its hits as rows. Does not belong here: the
search (`clean.ngrams`), what is searched for (`benchmark_ngrams`), and estimates without these
chunks (`clean_estimates`).
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pcorr_assets.clean.ngrams import NgramSet, Search
from pcorr_assets.clean.words import plain
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse import TABLES, Warehouse

TABLE = "contaminated_chunks"
BATCH_ROWS = 4096


def contaminated_chunks(
    wh: Warehouse, sample: str, sets: Mapping[str, NgramSet]
) -> dict[str, pa.Table]:
    """The rows of each target, in the order of the chunks: texts are read once for all.

    Words that a cut between two chunks separates are not found.

    Args:
        sets: the n-grams of each target that has any.

    Raises:
        PcorrError: the chunks are missing or damaged.
    """
    schema = TABLES[TABLE].schema
    found: dict[str, list[dict[str, str]]] = {target: [] for target in sets}
    if sets:
        search = Search(sets)
        with (
            wh.open("chunks", sample) as file,
            Progress(
                f"search of {sample}", total=file.metadata.num_rows, unit="chunks"
            ) as progress,
        ):
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=["chunk_id", "text"]):
                ids, texts = (batch[name].to_pylist() for name in ("chunk_id", "text"))
                for target, hits in search.find(texts).items():
                    found[target] += [
                        {
                            "sample": sample,
                            "target": target,
                            "chunk_id": ids[hit.text],
                            "benchmark": hit.benchmark,
                            "item": hit.item,
                            "words": plain(texts[hit.text])[hit.start : hit.stop],
                        }
                        for hit in hits.named(sets[target])
                    ]
                progress.update(len(ids))
    return {target: pa.Table.from_pylist(rows, schema=schema) for target, rows in found.items()}
