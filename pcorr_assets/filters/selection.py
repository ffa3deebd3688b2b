"""Which documents of a pool fill the token budget: exact, in DuckDB, without any text.

Belongs here: the order of documents, the threshold, duplicates, the budget. Does not
belong here: scores (`scoring`) and writing documents out (`writing`).

Documents are taken in descending order of score, equal scores in ascending order of
content hash, until their tokens reach the budget; the document that reaches it is taken
whole and is the boundary. Of documents with the same content only the first in the order
(score, then shard, then row) counts. Sorting everything would need memory for everything;
so a histogram of log-odds says where the budget ends, and only that slice is sorted.
"""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb

    from pcorr_assets.config import Pool

logger = logging.getLogger(__name__)

MEMORY_LIMIT = "2GB"
THREADS = 2
BINS_PER_UNIT = 2000
SMALLEST = 1e-12
# A little further than the budget, so that some copies do not need a second search.
FIRST_REACH = 1.05

_LOG_ODDS_BIN = (
    f"CAST(round(ln(greatest(score, {SMALLEST}) / greatest(1 - score, {SMALLEST}))"
    f" * {BINS_PER_UNIT}) AS INTEGER)"
)


@dataclass(frozen=True)
class Boundary:
    """The last document taken, which fills the budget."""

    shard: str
    document_id: str
    score: float
    content_sha256: str
    token_count: int


@dataclass(frozen=True)
class SelectionSummary:
    """What was selected. `budget` is in tokens; `pool_*` count all scored documents.

    `is_short` says that the pool holds fewer tokens than the budget; all of it was selected
    then, and `boundary` is None. `duplicate_*` count the copies that were left out because
    their content was taken already. `threshold` is the lowest score selected.
    """

    budget: int
    document_count: int
    token_count: int
    pool_document_count: int
    pool_token_count: int
    empty_document_count: int
    duplicate_document_count: int
    duplicate_token_count: int
    threshold: float
    boundary: Boundary | None
    is_short: bool
    filter_sha256: str
    token_source: str


class OpenSelection:
    """A computed selection, from which each shard's documents can be asked."""

    def __init__(
        self,
        summary: SelectionSummary,
        connection: duckdb.DuckDBPyConnection,
        paths: Mapping[str, Path],
    ) -> None:
        self.summary = summary
        self._connection = connection
        self._paths = paths

    @property
    def shards(self) -> list[str]:
        """Keys of the shards, in the order they were given."""
        return list(self._paths)

    def documents(self, shard: str) -> pa.Table:
        """The selected documents of one shard, in the shard's order.

        Columns: `row` (position in the shard, from 0), `document_id`, `score`,
        `token_count`, `content_sha256`, `is_boundary`.
        """
        last = self.summary.boundary
        condition = is_boundary = "true"
        values: dict[str, object] = {"path": str(self._paths[shard])}
        if last is None:
            is_boundary = "false"
        else:
            condition = "(score > $score OR (score = $score AND content_sha256 <= $hash))"
            is_boundary = "content_sha256 = $hash"
            values |= {"score": last.score, "hash": last.content_sha256}
        return self._connection.sql(
            f"""
            SELECT file_row_number AS row, document_id, score, token_count, content_sha256,
                   {is_boundary} AS is_boundary
            FROM read_parquet($path, file_row_number = true) AS scored
            WHERE token_count > 0 AND {condition} AND file_row_number NOT IN (
                SELECT file_row_number FROM copies WHERE filename = $path)
            ORDER BY file_row_number
            """,
            params=values,
        ).to_arrow_table()


@contextmanager
def select_documents(
    warehouse: Warehouse, pool_name: str, pool: Pool, target: str, shards: Sequence[str]
) -> Iterator[OpenSelection]:
    """Choose the documents of a pool that fill its `token_budget` (or `keep_ratio`).

    `keep_ratio` is of the tokens of all scored documents, copies included. A pool that
    holds less than the budget is selected whole, with a warning. Memory stays below 3 GiB,
    what does not fit goes to a scratch folder in home.

    Raises:
        PcorrError: a shard has no scores, shards were scored with different filters or
            tokenizers, or no document has a token.
    """
    paths = {key: warehouse.path("pool_scores", key, target) for key in shards}
    missing = [key for key, path in paths.items() if not path.is_file()]
    if missing or not shards:
        raise PcorrError(
            f"pool {pool_name}, target {target}: {len(missing)} of {len(shards)} shards have no "
            f"scores ({', '.join(missing[:5])}): materialise pool_scores for them first"
        )
    filter_sha256 = _common(warehouse, shards, target, "filter_sha256", "filters")
    source = _common(warehouse, shards, target, "token_source", "token counts")
    warehouse.home.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".selecting-", dir=warehouse.home))
    try:
        with _connect(scratch) as connection:
            summary = _Chooser(connection, list(paths.values())).choose(pool, filter_sha256, source)
            if summary.is_short:
                logger.warning(
                    "pool %s, target %s: the budget is %s tokens, but the pool holds only %s "
                    "(exact duplicates once): everything was selected, so the filter decided "
                    "nothing; lower the budget or add shards",
                    pool_name,
                    target,
                    f"{summary.budget:,}",
                    f"{summary.token_count:,}",
                )
            yield OpenSelection(summary, connection, paths)
    finally:
        shutil.rmtree(scratch)


def _common(warehouse: Warehouse, shards: Sequence[str], target: str, name: str, what: str) -> str:
    found: dict[str, str] = {}
    for shard in shards:
        found.setdefault(warehouse.metadata("pool_scores", shard, target)[name], shard)
    if len(found) > 1:
        listed = "; ".join(f"{shard}: {value[:60]}" for value, shard in list(found.items())[:3])
        raise PcorrError(
            f"pool_scores of target {target} come from different {what} ({listed}): their order "
            "means nothing together; materialise pool_scores for all shards of the pool again"
        )
    return next(iter(found))


@contextmanager
def _connect(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET threads = {THREADS}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = '{str(scratch).replace(chr(39), chr(39) * 2)}'")
        yield connection


def budget_tokens(pool: Pool, pool_token_count: int) -> int:
    """The budget in tokens: `token_budget`, or `keep_ratio` of the pool's, rounded up."""
    if pool.token_budget is not None:
        return pool.token_budget
    # As a decimal fraction: in floats .1 x 30 is above 3, and would take one more.
    return math.ceil(Fraction(str(pool.keep_ratio)) * pool_token_count)


class _Chooser:
    """The steps of one selection, on scores of documents with at least one token."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
        self._sql = connection
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        connection.execute(
            "CREATE VIEW scanned AS SELECT * FROM read_parquet("
            f"[{listed}], file_row_number = true, filename = true)"
        )
        connection.execute("CREATE VIEW scored AS SELECT * FROM scanned WHERE token_count > 0")
        connection.execute(
            f"""CREATE TABLE bins AS
            SELECT {_LOG_ODDS_BIN} AS bin, min(score) AS low, max(score) AS high,
                   sum(token_count)::BIGINT AS tokens, count(*) AS documents
            FROM scored GROUP BY bin"""
        )

    def choose(self, pool: Pool, filter_sha256: str, source: str) -> SelectionSummary:
        tokens, documents = self._row("SELECT sum(tokens)::BIGINT, sum(documents) FROM bins")
        (all_documents,) = self._row("SELECT count(*) FROM scanned")
        if not tokens:
            raise PcorrError(
                f"none of the {all_documents:,} scored documents has a token: check text_column "
                "and the token counts of the pool"
            )
        budget = budget_tokens(pool, tokens)
        lowest, available = self._reach(budget, tokens)
        boundary = self._boundary(budget) if available >= budget else None
        count, selected, threshold = self._taken("scored", boundary, lowest)
        copies, copy_tokens, _ = self._taken("copies", boundary, lowest)
        return SelectionSummary(
            budget=budget,
            document_count=count - copies,
            token_count=selected - copy_tokens,
            pool_document_count=all_documents,
            pool_token_count=tokens,
            empty_document_count=all_documents - documents,
            duplicate_document_count=copies,
            duplicate_token_count=copy_tokens,
            threshold=threshold,
            boundary=boundary,
            is_short=available < budget,
            filter_sha256=filter_sha256,
            token_source=source,
        )

    def _taken(
        self, table: str, boundary: Boundary | None, lowest: float
    ) -> tuple[int, int, float]:
        """Documents and tokens up to the boundary, and the lowest score among them."""
        # Only the few documents that tie with the boundary need their hashes read.
        found = (
            [
                ("score > ?", [boundary.score]),
                ("score = ? AND content_sha256 <= ?", [boundary.score, boundary.content_sha256]),
            ]
            if boundary
            else []
        )
        found = found or [("score >= ?", [lowest])]
        rows = [
            self._row(
                "SELECT count(*), coalesce(sum(token_count), 0)::BIGINT, min(score) "
                f"FROM {table} WHERE {condition}",
                values,
            )
            for condition, values in found
        ]
        scores = [score for _, _, score in rows if score is not None]
        return sum(r[0] for r in rows), sum(r[1] for r in rows), min(scores, default=lowest)

    def _reach(self, budget: int, pool_tokens: int) -> tuple[float, int]:
        """A score from which on there are at least `budget` tokens without the copies (or
        the lowest score of all), and how many there are. Fills the table `copies`."""
        wanted = math.ceil(FIRST_REACH * budget)
        while True:
            lowest, found = self._row(
                """SELECT min(low), sum(tokens)::BIGINT FROM (
                    SELECT low, tokens, sum(tokens) OVER (ORDER BY bin DESC) - tokens AS above
                    FROM bins) WHERE above < ?""",
                [wanted],
            )
            self._find_copies(lowest)
            (copied,) = self._row("SELECT coalesce(sum(token_count), 0)::BIGINT FROM copies")
            (found,) = self._row(
                "SELECT sum(token_count)::BIGINT FROM scored WHERE score >= ?", [lowest]
            )
            if found - copied >= budget or found >= pool_tokens:
                return lowest, found - copied
            # As much more as the copies so far make likely, so that this ends soon.
            wanted = max(found + 1, math.ceil(1.05 * budget * found / max(found - copied, 1)))

    def _find_copies(self, lowest: float) -> None:
        """Documents from `lowest` on whose content comes earlier in the order."""
        self._sql.execute(
            """CREATE OR REPLACE TABLE repeated AS
            SELECT code FROM (SELECT hash(content_sha256) AS code FROM scored WHERE score >= ?)
            GROUP BY code HAVING count(*) > 1""",
            [lowest],
        )
        self._sql.execute(
            """CREATE OR REPLACE TABLE copies AS
            SELECT filename, file_row_number, score, content_sha256, token_count FROM (
                SELECT *, row_number() OVER (
                    PARTITION BY content_sha256
                    ORDER BY score DESC, shard, file_row_number) AS place
                FROM scored
                WHERE score >= ? AND hash(content_sha256) IN (SELECT code FROM repeated))
            WHERE place > 1""",
            [lowest],
        )

    def _boundary(self, budget: int) -> Boundary:
        """The document at which the tokens reach the budget."""
        low, high, above = self._slice(budget)
        row = self._row(
            """SELECT shard, document_id, score, content_sha256, token_count FROM (
                SELECT shard, document_id, score, content_sha256, token_count,
                       sum(token_count) OVER (
                    ORDER BY score DESC, content_sha256 ROWS UNBOUNDED PRECEDING) AS reached
                FROM scored ANTI JOIN copies USING (filename, file_row_number)
                WHERE scored.score BETWEEN ? AND ?)
            WHERE reached >= ? ORDER BY reached LIMIT 1""",
            [low, high, budget - above],
        )
        return Boundary(*row)

    def _slice(self, budget: int) -> tuple[float, float, int]:
        """Scores between which the budget is reached, and the tokens above them.

        It is the range of one bin, widened where rounding in `ln` made bins overlap.
        """
        low, high = self._row(
            f"""WITH copied AS (
                SELECT {_LOG_ODDS_BIN} AS bin, sum(token_count) AS tokens FROM copies GROUP BY bin
            ), kept AS (
                SELECT bin, low, high, bins.tokens - coalesce(copied.tokens, 0) AS tokens
                FROM bins LEFT JOIN copied USING (bin)
            ), summed AS (
                SELECT bin, sum(tokens) OVER down AS reached, min(low) OVER down AS low,
                       max(high) OVER (ORDER BY bin) AS high
                FROM kept WINDOW down AS (ORDER BY bin DESC)
            )
            SELECT low, high FROM summed WHERE reached >= ? ORDER BY bin DESC LIMIT 1""",
            [budget],
        )
        (above,) = self._row(
            """SELECT (SELECT coalesce(sum(token_count), 0) FROM scored WHERE score > ?)
                    - (SELECT coalesce(sum(token_count), 0) FROM copies WHERE score > ?)""",
            [high, high],
        )
        return low, high, int(above)

    def _row(self, query: str, values: Sequence[object] = ()) -> tuple:
        (row,) = self._sql.execute(query, list(values)).fetchall()
        return row
