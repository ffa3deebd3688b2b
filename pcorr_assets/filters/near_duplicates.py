"""Documents that are nearly the same as a better one: found by their signatures, not by texts.

Belongs here: which documents of a selection's candidates are left out for it. Does not belong
here: making signatures (`signatures`), and what is selected (`selection`).

Documents stand in the selection's order: by descending score, then by content hash. Two of them
are compared where they have a band of their signatures in common (locality-sensitive hashing,
Indyk and Motwani 1998), and a document is left out if it is as alike as the threshold to one that
comes before it, be that one selected or left out itself: of every chain that grows in the order
the first stays. What comes after a document decides nothing about it, so the documents down to
the budget's end give the same as all of them would.

Where many documents have a band in common, each is compared with the first few of them and with
the few right before it: work and memory grow with documents, not with pairs. In a group of
`EACH_WAY` + `EACH_WAY` + 1 documents that is all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    Signatures lie in a file in the scratch folder, 256 bytes for each candidate, and the bands in
    tables of DuckDB, as many bytes again; memory holds the documents of one band that have it in
    common with others.
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
        bands = self._read(signatures, bytes_of_band(self._near.jaccard))
        found = np.zeros(count, bool)
        for band in range(bands):
            for numbers, firsts in self._groups(band):
                _compare(signatures, least_equal(self._near.jaccard), numbers, firsts, found)
        left_out = pa.table({"number": np.flatnonzero(found)})
        self._sql.register("left_out_numbers", left_out)
        self._sql.execute(
            """INSERT INTO near_copies SELECT file_index, file_row_number, score, token_count
            FROM ordered SEMI JOIN left_out_numbers USING (number)"""
        )
        self._sql.unregister("left_out_numbers")
        self._sql.execute("DROP TABLE ordered; DROP TABLE bands")
        del signatures
        self._file.unlink()

    def _read(self, signatures: np.ndarray, size: int) -> int:
        """Lay signatures out by number, and each one's bands; returns how many bands there are."""
        bands = SIGNATURE_BYTES // size
        columns = ", ".join(f"band{band} UBIGINT" for band in range(bands))
        self._sql.execute(f"CREATE OR REPLACE TABLE bands (number BIGINT, {columns})")
        reader = self._sql.cursor()
        batches = reader.sql(
            """SELECT number, signature FROM signed JOIN ordered USING (file_index, file_row_number)
            WHERE signature IS NOT NULL"""
        ).to_arrow_reader(ROWS_AT_ONCE)
        for batch in batches:
            numbers = batch.column("number").to_numpy()
            held = np.frombuffer(b"".join(batch.column("signature").to_pylist()), np.uint8)
            held = held.reshape(-1, SIGNATURE_BYTES)
            signatures[numbers] = held
            keys = _keys(held, size, bands)
            part = pa.table({"number": numbers, **{f"band{n}": k for n, k in enumerate(keys)}})
            self._sql.register("part_of_bands", part)
            self._sql.execute("INSERT INTO bands FROM part_of_bands")
            self._sql.unregister("part_of_bands")
        return bands

    def _groups(self, band: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Documents with a band in common with others, in order group by group, and the place
        that the group of each begins at."""
        rows = self._sql.sql(
            f"""SELECT number, band{band} AS key FROM bands
            SEMI JOIN (SELECT band{band} FROM bands GROUP BY ALL HAVING count(*) > 1)
            USING (band{band}) ORDER BY key, number"""
        ).to_arrow_table()
        keys, numbers = rows["key"].to_numpy(), rows["number"].to_numpy()
        if len(keys):
            begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
            sizes = np.diff(np.append(begins, len(keys)))
            yield numbers, np.repeat(begins, sizes)


def _keys(signatures: np.ndarray, size: int, bands: int) -> list[np.ndarray]:
    """A number of 64 bits for each band of each signature; equal bytes, equal numbers."""
    keys = []
    for band in range(bands):
        held = signatures[:, band * size : (band + 1) * size]
        key = np.zeros(len(signatures), np.uint64)
        for place in range(size):
            # Up to eight bytes fit as they are; beyond that their polynomial is a hash.
            key = key * np.uint64(256 if size <= 8 else 0x9E3779B97F4A7C15) + held[:, place]
        keys.append(key)
    return keys


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
