"""The training and test lines of a filter, written to files without holding the texts.

Belongs here: joining chunks to pages, one normalised line a page, in an order that mixes
the classes. Does not belong here: which pages, and what is trained on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.normalise import LABEL_PREFIX, normalise_utf8
from pcorr_assets.filters.splitting import seeded_order
from pcorr_assets.progress import Progress

INCLUDE = LABEL_PREFIX + "include"
EXCLUDE = LABEL_PREFIX + "exclude"

TEXT_COLUMNS = ["page_id", "text"]


@dataclass(frozen=True)
class Lines:
    """A file of normalised pages, one a line, and where each page's line stands.

    `offsets` and `lengths` (bytes, without the line end) are in the order of the page ids
    that were asked for.
    """

    path: Path
    offsets: np.ndarray
    lengths: np.ndarray

    def read(self, indices: Iterable[int]) -> Iterator[bytes]:
        """The lines at these indices, one by one, without their line ends."""
        with self.path.open("rb") as file:
            for index in indices:
                file.seek(int(self.offsets[index]))
                yield file.read(int(self.lengths[index]))


def write_lines(chunks: Iterable[pa.RecordBatch], page_ids: Sequence[str], path: Path) -> Lines:
    """Write the normalised text of the pages, in the order of the chunk rows.

    Args:
        chunks: batches with `TEXT_COLUMNS`; the chunks of a page follow one another.
        page_ids: the pages wanted; others are passed over.

    Raises:
        PcorrError: a page is missing, or its chunks do not follow one another.
    """
    index_of = {page_id: index for index, page_id in enumerate(page_ids)}
    offsets = np.full(len(page_ids), -1, np.int64)
    lengths = np.zeros(len(page_ids), np.int64)
    position = 0
    with path.open("wb") as file, Progress("pages", total=len(page_ids), unit="pages") as progress:
        for page_id, text in _pages(chunks):
            index = index_of.get(page_id)
            if index is None:
                continue
            if offsets[index] >= 0:
                raise PcorrError(
                    f"the chunks of page {page_id!r} do not follow one another in the table "
                    "chunks: materialise chunked_dataset again"
                )
            line = normalise_utf8(text)
            offsets[index], lengths[index] = position, len(line)
            position += file.write(line) + file.write(b"\n")
            progress.update()
    missing = np.flatnonzero(offsets < 0)
    if missing.size:
        raise PcorrError(
            f"{missing.size:,} labelled pages have no chunks, the first is "
            f"{page_ids[missing[0]]!r}: materialise sampling_distribution again"
        )
    return Lines(path, offsets, lengths)


def _pages(chunks: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, bytes]]:
    """(page id, text in UTF-8) of one page after the other."""
    current: str | None = None
    parts: list[bytes] = []
    for batch in chunks:
        texts = batch["text"].cast(pa.binary()).to_pylist()
        for page_id, text in zip(batch["page_id"].to_pylist(), texts, strict=True):
            if page_id != current and current is not None:
                yield current, b"".join(parts)
                parts = []
            current = page_id
            parts.append(text)
    if current is not None:
        yield current, b"".join(parts)


def write_training_file(
    lines: Lines,
    page_ids: Sequence[str],
    indices: np.ndarray,
    is_included: np.ndarray,
    seed: int,
    path: Path,
) -> None:
    """Write a fastText training file of the pages at `indices`, labels of `is_included`.

    The order depends on the seed and the page ids only: fastText learns line by line, and
    would end on the last class if the classes were not mixed. Pages without a word stay out.
    """
    index_of = {page_ids[int(index)]: int(index) for index in indices}
    order = [index_of[page_id] for page_id in seeded_order(seed, list(index_of))]
    with path.open("wb") as file:
        for index, line in zip(order, lines.read(order), strict=True):
            if line:
                label = INCLUDE if is_included[index] else EXCLUDE
                file.write(label.encode() + b" " + line + b"\n")
