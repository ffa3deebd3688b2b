"""Documents that are nearly the same as one before them: found by their signatures, not by texts.

Belongs here: which documents of a selection's candidates are left out for it. Does not belong
here: making signatures (`signatures`), and what is selected (`selection`).

Documents stand in the selection's order: by descending score (or as they are drawn), then by
content hash. Two of them are compared where they have a band of their signatures in common
(locality-sensitive hashing, Indyk and Motwani 1998), and a document is left out if it is as alike
as the threshold to one that comes before it, be that one selected or left out itself: of every
chain that grows in the order the first stays. What comes after a document decides nothing about
it, so the documents down to the budget's end give the same as all of them would.

Where many documents have a band in common, each is compared with the first few of them and with
the few right before it: work and memory grow with documents, not with pairs. In a group of
`EACH_WAY` + `EACH_WAY` + 1 documents that is all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.assembly import SHARDS
from pcorr_assets.filters.signatures import (
    KIND,
    SIGNATURE_BYTES,
    bytes_of_band,
    equal_slots,
    least_equal,
    signature_kind,
)
from pcorr_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb

    from pcorr_assets.config import NearDuplicates

EACH_WAY = 16
ROWS_AT_ONCE = 1 << 16


def signed_files(
    warehouse: Warehouse, groups: Sequence[str], target: str, near: NearDuplicates
) -> list[Path]:
    """The files with the signatures of a pool's groups, in the order of those with scores.

    Raises:
        PcorrError: a group has none, or its signatures are of another kind.
    """
    paths, kind = [], signature_kind(near)
    for group in groups:
        if not warehouse.exists("pool_scores", group, target):
            continue
        noted = {}
        if warehouse.exists("pool_documents", group):
            warehouse.verified("pool_documents", group)
            noted = warehouse.metadata("pool_documents", group)
        scores = warehouse.metadata("pool_scores", group, target)
        if noted.get(KIND) != kind or noted[SHARDS] != scores[SHARDS]:
            raise PcorrError(
                f"near_duplicates needs signatures ({kind}) of all documents, but group {group} "
                f"has {noted.get(KIND) or 'none'}: materialise pool_scores for all groups of the "
                "pool again (that makes them, and scores nothing anew)"
            )
        paths.append(warehouse.path("pool_documents", group))
    return paths


class NearDuplicateSearch:
    """Fills the table `near_copies` from `scored` without `copies`, the selection's tables.

    Signatures lie in a file in the scratch folder, 256 bytes for each document, of which memory
    holds what is free for it; beside that it holds some 40 bytes for each, to sort one band.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        paths: Sequence[Path],
        near: NearDuplicates,
        scratch: Path,
    ) -> None:
        self._sql = connection
        self._near = near
        self._file = scratch / "signatures"
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        connection.execute(
            "CREATE VIEW signed AS SELECT file_index, file_row_number, signature "
            f"FROM read_parquet([{listed}])"
        )

    def find(self, lowest: float) -> None:
        """Look at the documents that score at least `lowest`."""
        self._sql.execute(
            """CREATE OR REPLACE TABLE ordered AS
            SELECT file_index, file_row_number, scored.score, scored.token_count,
                   row_number() OVER (ORDER BY scored.score DESC, content_sha256) - 1 AS number
            FROM scored ANTI JOIN copies USING (file_index, file_row_number)
            WHERE scored.score >= ?""",
            [lowest],
        )
        count = self._sql.sql("SELECT count(*) AS n FROM ordered").to_arrow_table()["n"][0].as_py()
        if not count:
            return
        signatures = np.memmap(self._file, np.uint8, "w+", shape=(count, SIGNATURE_BYTES))
        signed = self._read(signatures)
        size, least = bytes_of_band(self._near.jaccard), least_equal(self._near.jaccard)
        found = np.zeros(count, bool)
        for band in range(SIGNATURE_BYTES // size):
            keys = _keys(signatures, signed, slice(band * size, (band + 1) * size))
            _compare(signatures, least, *_groups(signed, keys), found)
        left_out = pa.table({"number": np.flatnonzero(found)})
        self._sql.register("left_out_numbers", left_out)
        self._sql.execute(
            """INSERT INTO near_copies SELECT file_index, file_row_number, score, token_count
            FROM ordered SEMI JOIN left_out_numbers USING (number)"""
        )
        self._sql.unregister("left_out_numbers")
        self._sql.execute("DROP TABLE ordered")
        del signatures
        self._file.unlink()

    def _read(self, signatures: np.ndarray) -> np.ndarray:
        """Lay signatures out by number; returns the numbers that have one, in order."""
        has_one = np.zeros(len(signatures), bool)
        batches = self._sql.sql(
            """SELECT number, signature FROM signed JOIN ordered USING (file_index, file_row_number)
            WHERE signature IS NOT NULL"""
        ).to_arrow_reader(ROWS_AT_ONCE)
        for batch in batches:
            numbers = batch.column("number").to_numpy()
            held = np.frombuffer(b"".join(batch.column("signature").to_pylist()), np.uint8)
            signatures[numbers] = held.reshape(-1, SIGNATURE_BYTES)
            has_one[numbers] = True
        return np.flatnonzero(has_one)


def _keys(signatures: np.ndarray, signed: np.ndarray, band: slice) -> np.ndarray:
    """A number of 64 bits for the band of each signature; equal bytes, equal numbers."""
    keys = np.zeros(len(signed), np.uint64)
    # Up to eight bytes fit as they are; beyond that their polynomial is a hash.
    base = np.uint64(256 if band.stop - band.start <= 8 else 0x9E3779B97F4A7C15)
    for start in range(0, len(signed), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        held = signatures[signed[part], band]
        for place in range(held.shape[1]):
            keys[part] = keys[part] * base + held[:, place]
    return keys


def _groups(signed: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Documents with a band in common with others, in order group by group, and the place that
    the group of each begins at."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    is_same = keys[1:] == keys[:-1]
    is_shared = (np.append(is_same, False) | np.append(False, is_same))[: len(keys)]
    numbers, keys = signed[order[is_shared]], keys[is_shared]
    begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    return numbers, np.repeat(begins, np.diff(np.append(begins, len(keys))))


def _compare(
    signatures: np.ndarray, least: int, numbers: np.ndarray, firsts: np.ndarray, found: np.ndarray
) -> None:
    """Set `found` for documents of which one before them in their group is as alike."""
    places = np.arange(len(numbers))
    for step in range(EACH_WAY):
        for others in (firsts + step, places - step - 1):
            is_before = (others >= firsts) & (others < places) & ~found[numbers]
            for start in range(0, len(chosen := np.flatnonzero(is_before)), ROWS_AT_ONCE):
                later = numbers[part := chosen[start : start + ROWS_AT_ONCE]]
                equal = equal_slots(signatures[later], signatures[numbers[others[part]]])
                found[later[equal >= least]] = True
