"""Which documents of a pool count, and where they fill the budget: exact, in DuckDB, without text.

Belongs here: the order of documents, the threshold, duplicates, the budget. Does not belong here:
where scores lie (`scored`), what is nearly the same (`near_duplicates`), and asking for the
documents that were chosen (`selection`).

Documents are taken in descending order of score, equal scores in ascending order of
content hash, until their tokens reach the budget; the document that reaches it is taken
whole and is the boundary. Of documents with the same content only the first in the order
(score, then shard, then row) counts. Documents that hold text of a benchmark of the target do
not count at all, where the settings say so (`contamination`), and where the pool says so a
document that is nearly the same as one before it does not count either (`near_duplicates`).
Both look at what comes before a document in the order and at nothing else, so that it is enough
to look at documents down to where the budget ends. Sorting everything would need memory for
everything; so a histogram of log-odds says where the budget ends, and only that slice is sorted.

Where another value decides (`ordering`), it is the `score` of all tables here, and the filter's
score is `filter_score`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.contamination import contaminated, counting
from pcorr_assets.filters.near_duplicates import NearDuplicateSearch
from pcorr_assets.filters.ordering import BY_SCORE, Order
from pcorr_assets.filters.pools import budget_tokens
from pcorr_assets.filters.scored import ScoredShards
from pcorr_assets.filters.summary import Boundary, SelectionSummary

if TYPE_CHECKING:
    import duckdb

    from pcorr_assets.config import Pool

# Why documents do not count, each a table: copies of one before, and nearly the same as one.
LEFT_OUT = ("copies", "near_copies")
BINS_PER_UNIT = 2000
# A little further than the budget, so that some copies do not need a second search.
FIRST_REACH = 1.05


class Chooser:
    """The steps of one selection.

    The Parquet files are read three times: for the histogram, for the documents that may
    be selected (`candidates`, without texts, ids and hashes), and for those that tie with
    the last one selected.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        scored: ScoredShards,
        near: NearDuplicateSearch | None,
        decontaminate: str = "off",
        order: Order = BY_SCORE,
    ) -> None:
        self.connection = self._sql = connection
        self.order = order
        self._bin = f"CAST(round({order.spread} * {BINS_PER_UNIT}) AS INTEGER)"
        self._decontaminate = decontaminate
        self._near = near
        self._in_order = scored.in_order
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in scored.paths)
        if not scored.in_order:
            connection.register("places", scored.table())
        connection.execute(
            f"CREATE VIEW scanned AS SELECT * REPLACE ({order.value} AS score), "
            "score AS filter_score, file_index, file_row_number "
            f"FROM read_parquet([{listed}], union_by_name = true)"
        )
        connection.execute(
            f"CREATE VIEW scored AS SELECT * FROM scanned WHERE {counting(decontaminate)}"
        )
        connection.execute(
            f"""CREATE TABLE bins AS
            SELECT {self._bin} AS bin, min(score) AS low, max(score) AS high,
                   sum(token_count)::BIGINT AS tokens, count(*) AS documents
            FROM scored GROUP BY bin"""
        )
        # Documents that do not count, and why: tables of one form, each row in one of them.
        for reason in LEFT_OUT:
            connection.execute(
                f"""CREATE TABLE {reason} (
                file_index UBIGINT, file_row_number BIGINT, score DOUBLE, token_count BIGINT)"""
            )
        listed = " UNION ALL ".join(f"FROM {reason}" for reason in LEFT_OUT)
        connection.execute(f"CREATE VIEW left_out AS {listed}")

    def choose(
        self, pool_name: str, pool: Pool, filter_sha256: str, source: str
    ) -> SelectionSummary:
        (left,) = self._row("SELECT coalesce(sum(tokens), 0)::BIGINT FROM bins")
        all_documents, tokens, empty = self._row(
            """SELECT count(*), coalesce(sum(token_count), 0)::BIGINT,
                      count(*) FILTER (token_count = 0) FROM scanned"""
        )
        if not tokens:
            raise PcorrError(
                f"pool {pool_name}: none of the {all_documents:,} scored documents has a token: "
                "check text_column and the token counts of the pool"
            )
        if not left:
            raise PcorrError(
                f"pool {pool_name}: all {all_documents - empty:,} documents with a token hold text "
                "of the target's benchmarks: look at the n-grams (`ngram_words`), or let "
                "`decontaminate` mark them only"
            )
        budget = budget_tokens(pool, tokens)
        available = self._reach(budget, left)
        boundary = self._boundary(budget) if available >= budget else None
        left_out = {reason: self._taken(reason, boundary) for reason in LEFT_OUT}
        count, selected = self._taken("candidates", boundary)
        (lowest,) = self._row(
            "SELECT min(score) FROM candidates "
            "ANTI JOIN left_out USING (file_index, file_row_number)"
        )
        last = boundary.value if boundary else lowest
        return SelectionSummary(
            budget=budget,
            document_count=count - sum(documents for documents, _ in left_out.values()),
            token_count=selected - sum(tokens for _, tokens in left_out.values()),
            pool_document_count=all_documents,
            pool_token_count=tokens,
            empty_document_count=empty,
            duplicate_document_count=left_out["copies"][0],
            duplicate_token_count=left_out["copies"][1],
            near_duplicate_document_count=left_out["near_copies"][0],
            near_duplicate_token_count=left_out["near_copies"][1],
            threshold=last if self.order.is_of_scores else None,
            boundary=boundary,
            is_short=available < budget,
            filter_sha256=filter_sha256,
            token_source=source,
            **contaminated(self._sql, self._decontaminate, last),
        )

    def _reach(self, budget: int, left: int) -> int:
        """Fill `candidates` from the top, until without what is left out they hold the budget
        (or are all there are). Returns how many tokens they hold without it."""
        wanted = math.ceil(FIRST_REACH * budget)
        while True:
            (lowest,) = self._row(
                """SELECT min(low) FROM (
                    SELECT low, sum(tokens) OVER (ORDER BY bin DESC) - tokens AS above FROM bins)
                WHERE above < ?""",
                [wanted],
            )
            self._find_candidates(lowest)
            (found,) = self._row("SELECT sum(token_count)::BIGINT FROM candidates")
            kept = found - self._left_out_tokens()
            if self._near is not None and (kept >= budget or found >= left):
                self._near.find(lowest)
                kept = found - self._left_out_tokens()
            if kept >= budget or found >= left:
                return kept
            # As much more as what was left out so far makes likely, so that this ends soon.
            wanted = max(found + 1, math.ceil(FIRST_REACH * budget * found / max(kept, 1)))

    def _left_out_tokens(self) -> int:
        return self._row("SELECT coalesce(sum(token_count), 0)::BIGINT FROM left_out")[0]

    def _find_candidates(self, lowest: float) -> None:
        """Documents that score at least `lowest`, and `copies`: those of them whose content
        comes earlier in the order. Files that came later may stand in the middle of it: then
        places are looked up. Two hashes of 64 bits, one of each half of the content hash, stand
        for it: among 10^12 documents two would meet with probability 10^-15."""
        self._sql.execute(
            """CREATE OR REPLACE TABLE candidates AS
            SELECT file_index, file_row_number, score, token_count,
                   hash(left(content_sha256, 32)) AS code, hash(right(content_sha256, 32)) AS code2
            FROM scored WHERE score >= ?""",
            [lowest],
        )
        repeated = "candidates SEMI JOIN repeated USING (code, code2)"
        order = "file_index"
        if not self._in_order:
            order = "ordinal"
            repeated = f"""(SELECT * FROM {repeated}) AS again ASOF JOIN places
                ON again.file_index = places.file AND again.file_row_number >= places.first_row"""
        self._sql.execute(
            f"""DELETE FROM near_copies; DELETE FROM copies; INSERT INTO copies
            WITH repeated AS (
                SELECT code, code2 FROM candidates GROUP BY code, code2 HAVING count(*) > 1
            ), placed AS (
                SELECT file_index, file_row_number, score, token_count, row_number() OVER (
                    PARTITION BY code, code2 ORDER BY score DESC, {order}, file_row_number
                ) AS place
                FROM {repeated}
            )
            SELECT * EXCLUDE (place) FROM placed WHERE place > 1"""
        )

    def _boundary(self, budget: int) -> Boundary:
        """The document at which the tokens reach the budget."""
        low, high = self._slice(budget)
        (above,) = self._row(
            """SELECT (SELECT coalesce(sum(token_count), 0) FROM candidates WHERE score > ?)
                    - (SELECT coalesce(sum(token_count), 0) FROM left_out WHERE score > ?)""",
            [high, high],
        )
        score, reached, tokens = self._row(
            """WITH kept AS (
                SELECT score, token_count
                FROM candidates ANTI JOIN left_out USING (file_index, file_row_number)
                WHERE candidates.score BETWEEN ? AND ?
            ), by_score AS (
                SELECT score, sum(token_count)::BIGINT AS tokens FROM kept GROUP BY score
            ), summed AS (
                SELECT score, tokens, sum(tokens) OVER (ORDER BY score DESC) AS reached
                FROM by_score
            )
            SELECT score, reached::BIGINT, tokens FROM summed
            WHERE reached >= ? ORDER BY reached LIMIT 1""",
            [low, high, budget - int(above)],
        )
        self._sql.execute(
            """CREATE TABLE ties AS
            SELECT * FROM scored WHERE score = ?""",
            [score],
        )
        row = self._row(
            """SELECT shard, document_id, filter_score, content_sha256, token_count, score FROM (
                SELECT *, sum(token_count) OVER (
                    ORDER BY content_sha256 ROWS UNBOUNDED PRECEDING) AS reached
                FROM ties ANTI JOIN left_out USING (file_index, file_row_number))
            WHERE reached >= ? ORDER BY reached LIMIT 1""",
            [budget - int(above) - (reached - tokens)],
        )
        return Boundary(*row)

    def _slice(self, budget: int) -> tuple[float, float]:
        """Scores between which the budget is reached.

        It is the range of one bin, widened where rounding in `ln` made bins overlap.
        """
        return self._row(
            f"""WITH copied AS (
                SELECT {self._bin} AS bin, sum(token_count) AS tokens FROM left_out GROUP BY bin
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

    def _taken(self, table: str, boundary: Boundary | None) -> tuple[int, int]:
        """Documents and tokens of `candidates`, or of a table of what is left out, up to the
        boundary."""
        count = "SELECT count(*), coalesce(sum(token_count), 0)::BIGINT FROM"
        if boundary is None:
            return self._row(f"{count} {table}")
        documents, tokens = self._row(f"{count} {table} WHERE score > ?", [boundary.value])
        tied = (
            "ties"
            if table == "candidates"
            else f"ties SEMI JOIN {table} USING (file_index, file_row_number)"
        )
        more, more_tokens = self._row(
            f"{count} {tied} WHERE content_sha256 <= ?", [boundary.content_sha256]
        )
        return documents + more, tokens + more_tokens

    def _row(self, query: str, values: Sequence[object] = ()) -> tuple:
        (row,) = self._sql.execute(query, list(values)).fetchall()
        return row
