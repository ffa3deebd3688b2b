"""From the scores of a method to the documents that fill the budget of a pool.

Belongs here: reading the documents of a scored pool in the order of its tables, and handing a
method's scores to the code that selects for the platform's filter, so that budget, copies,
near-duplicates and texts of benchmarks are treated alike. Does not belong here: methods, and how
documents are chosen (`filters.choosing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.contamination import searched_for
from pcorr_assets.filters.near_duplicates import signed_files
from pcorr_assets.filters.pools import Shard, iter_documents
from pcorr_assets.filters.scored import ScoredShards, common_note, find_scored
from pcorr_assets.filters.selection import OpenSelection, open_chooser
from pcorr_assets.filters.summary import SelectionSummary
from pcorr_assets.methods.material import Documents
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import scratch_folder

if TYPE_CHECKING:
    from pcorr_assets.config import Pool, SelectionCompute

SCRATCH = ".comparing-"
# What the chooser reads of a file with scores, beside the score.
COLUMNS = [
    "shard",
    "document_id",
    "token_count",
    "content_sha256",
    "contaminated_by",
    "shared_words",
]


@dataclass(frozen=True)
class ScoredPool:
    """A pool as `pool_scores` of a target have it: its documents, and what selects among them.

    Documents stand in the order of the tables: file by file, and in them row by row.
    """

    name: str
    pool: Pool
    target: str
    home: Path
    scored: ScoredShards
    shards: Mapping[str, Shard]
    row_counts: tuple[int, ...]
    signed: Sequence[Path] | None
    token_source: str
    decontaminate: str

    @property
    def documents(self) -> Documents:
        """All of them; a text that is not the one that was scored is an error."""
        return Documents(sum(self.row_counts), self._texts)

    def _texts(self) -> Iterator[bytes]:
        for file, path in enumerate(self.scored.paths):
            hashes = pq.read_table(path, columns=["content_sha256"])["content_sha256"]
            placed = [one for one in self.scored.places.items() if one[1].file == file]
            for key, place in sorted(placed, key=lambda one: one[1].first_row):
                expected = hashes.slice(place.first_row, place.row_count).to_pylist()
                yield from self._of_shard(self.shards[key], expected)

    def _of_shard(self, shard: Shard, expected: Sequence[str]) -> Iterator[bytes]:
        number = 0
        for documents in iter_documents(shard, self.pool):
            for document in documents:
                if number >= len(expected) or document.content_sha256 != expected[number]:
                    raise self._changed(shard, number)
                yield document.utf8
                number += 1
        if number < len(expected):
            raise self._changed(shard, number)

    def _changed(self, shard: Shard, row: int) -> PcorrError:
        return PcorrError(
            f"{shard.where}, row {row:,}: the text is not the one that was scored: the pool was "
            "changed; score the shard again"
        )

    @contextmanager
    def choose(
        self, scores: np.ndarray, compute: SelectionCompute | None = None
    ) -> Iterator[OpenSelection]:
        """The documents that fill the pool's budget, highest scores first.

        `scores` (D,) are of `documents`, in their order. The score that the selection has is
        the rank among the distinct scores as a share in (0, 1), for only the order counts.

        Raises:
            PcorrError: NaN among the scores, or not one for each document.
        """
        ranks = _ranks(scores, sum(self.row_counts))
        with scratch_folder(self.home, SCRATCH) as scratch:
            paths, first = [], 0
            for file, (path, count) in enumerate(
                zip(self.scored.paths, self.row_counts, strict=True)
            ):
                paths.append(scratch / f"{file}.parquet")
                _write_scores(path, ranks[first : first + count], paths[-1])
                first += count
            scored = replace(self.scored, paths=paths)
            with open_chooser(
                self.home, self.pool, scored, self.signed, compute, self.decontaminate
            ) as chooser:
                summary = chooser.choose(self.name, self.pool, "", self.token_source)
                yield OpenSelection(summary, chooser, scored)

    def chosen(self, scores: np.ndarray, compute: SelectionCompute | None = None) -> Chosen:
        """As `choose`, all at once."""
        starts = np.concatenate([[0], np.cumsum(self.row_counts)])
        tables, numbers = [_DOCUMENTS.empty_table()], [np.zeros(0, np.int64)]
        with self.choose(scores, compute) as selection:
            for key, place in self.scored.places.items():
                found = selection.documents(key)
                own = starts[place.file] + place.first_row + found["row"].to_numpy()
                numbers.append(own.astype(np.int64))
                values = scores[numbers[-1]]
                own_score = pa.array(values, pa.float64(), mask=np.isneginf(values))
                at = found.schema.get_field_index("score")
                found = found.set_column(at, "score", own_score)
                found = found.append_column("shard", pa.repeat(key, found.num_rows))
                tables.append(found.select(_DOCUMENTS.names).cast(_DOCUMENTS))
            return Chosen(selection.summary, pa.concat_tables(tables), np.concatenate(numbers))


@dataclass(frozen=True)
class Chosen:
    """What a method selects.

    `documents` have the columns `shard`, `row` (in the shard, from 0), `document_id`, `score`
    (the method's; NULL for -inf), `token_count` and `content_sha256`. `numbers` (D,) are their
    places among the documents of the pool.
    """

    summary: SelectionSummary
    documents: pa.Table
    numbers: np.ndarray

    @property
    def token_counts(self) -> np.ndarray:
        """Tokens (D,) of the documents."""
        return self.documents["token_count"].to_numpy()


_DOCUMENTS = pa.schema(
    [
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("document_id", pa.string()),
        ("score", pa.float64()),
        ("token_count", pa.int64()),
        ("content_sha256", pa.string()),
    ]
)


def scored_pool(
    warehouse: Warehouse,
    name: str,
    pool: Pool,
    target: str,
    shards: Sequence[Shard],
    groups: Sequence[str],
    decontaminate: str = "off",
) -> ScoredPool:
    """A pool that was scored for a target; arguments as of `filters.writing.write_selected`.

    Raises:
        PcorrError: as `filters.selection.select_documents`.
    """
    scored = find_scored(warehouse, name, target, [shard.key for shard in shards], groups)
    source = common_note(warehouse, groups, target, "token_source", "token counts")
    decontaminate = searched_for(warehouse, name, groups, target, decontaminate)
    for key in groups:
        warehouse.verified("pool_scores", key, target)
    signed = None
    if pool.near_duplicates is not None:
        signed = signed_files(warehouse, groups, target, pool.near_duplicates)
    row_counts = tuple(pq.read_metadata(path).num_rows for path in scored.paths)
    return ScoredPool(
        name,
        pool,
        target,
        warehouse.home,
        scored,
        {shard.key: shard for shard in shards},
        row_counts,
        signed,
        source,
        decontaminate,
    )


def _ranks(scores: np.ndarray, count: int) -> np.ndarray:
    if scores.shape != (count,):
        raise PcorrError(f"scores of {scores.shape} do not fit the {count:,} documents of the pool")
    if np.isnan(scores).any():
        raise PcorrError(f"{int(np.isnan(scores).sum()):,} scores are NaN: a method must rank all")
    distinct, places = np.unique(scores, return_inverse=True)
    return (places + 1) / (len(distinct) + 1)


def _write_scores(path: Path, ranks: np.ndarray, place: Path) -> None:
    # Scores of earlier versions lack some of them.
    there = pq.read_schema(path).names
    rows = pq.read_table(path, columns=[name for name in COLUMNS if name in there])
    pq.write_table(rows.append_column("score", pa.array(ranks, pa.float64())), place)
