"""Documents of a pool that hold text of a target's benchmarks: left out, marked, or not looked for.

Belongs here: what `decontaminate` comes to in a selection, and counting. Does not belong here:
the search (`clean.ngrams`, `passes`) and choosing documents (`selection`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.ngram_files import SEARCHED, find_ngrams, made_to_search
from pcorr_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

# Settings of `decontaminate` under which documents are searched.
MARK = "mark"
SEARCHING = ("drop", MARK)
EXAMPLES = 5
NOTHING = "nothing to search for"
NOT_SEARCHED = "not searched"


def counting(decontaminate: str) -> str:
    """The condition, in SQL, under which a document counts: tokens, and nothing against it."""
    counts = "token_count > 0"
    return f"{counts} AND contaminated_by = ''" if decontaminate == "drop" else counts


def contaminated(
    connection: duckdb.DuckDBPyConnection, decontaminate: str, threshold: float
) -> dict[str, Any]:
    """What a `SelectionSummary` says of documents in `scanned` with text of a benchmark."""
    found: dict[str, Any] = {"decontaminate": decontaminate}
    if decontaminate not in SEARCHING:
        return found
    hit = "FROM scanned WHERE token_count > 0 AND contaminated_by <> ''"
    ((count, tokens),) = connection.execute(
        f"SELECT count(*), coalesce(sum(token_count), 0)::BIGINT {hit}"
    ).fetchall()
    by_benchmark = connection.execute(
        f"""SELECT benchmark, count(*), sum(token_count)::BIGINT, count(*) FILTER (score >= ?)
        FROM (SELECT unnest(string_split(contaminated_by, ',')) AS benchmark, token_count, score
              {hit})
        GROUP BY benchmark ORDER BY benchmark""",
        [threshold],
    ).fetchall()
    columns = ("shard", "document_id", "contaminated_by", "shared_words")
    # Documents that were scored before there was `shared_words` are counted without them.
    known = {name for name, *_ in connection.execute("FROM scanned LIMIT 0").description or ()}
    shown = ", ".join(name if name in known else f"NULL AS {name}" for name in columns)
    examples = connection.execute(
        f"SELECT {shown} {hit} "
        f"ORDER BY score DESC, content_sha256, shard, document_id LIMIT {EXAMPLES}"
    ).fetchall()
    return found | {
        "contaminated_examples": [dict(zip(columns, row, strict=True)) for row in examples],
        "contaminated_document_count": count,
        "contaminated_token_count": tokens,
        "contaminated_by": {
            name: {"documents": documents, "tokens": own, "score_enough": enough}
            for name, documents, own, enough in by_benchmark
        },
    }


def searched_for(
    warehouse: Warehouse, pool: str, groups: Sequence[str], target: str, decontaminate: str
) -> str:
    """`decontaminate` as it applies: `NOTHING` where the target has no n-grams, `NOT_SEARCHED`
    (with a warning) where `benchmark_ngrams` was never made, or made with `off`.

    Raises:
        PcorrError: the documents were not searched for the n-grams that the target has now.
    """
    if decontaminate not in SEARCHING:
        return decontaminate
    if not made_to_search(warehouse, target):
        logger.warning(
            "pool %s, target %s: documents with text of its benchmarks are not left out, for "
            "benchmark_ngrams was never made, or with `decontaminate: off`: materialise it, then "
            "pool_scores and selected_data",
            pool,
            target,
        )
        return NOT_SEARCHED
    ngrams = find_ngrams(warehouse, target)
    if ngrams is None:
        return NOTHING
    for group in groups:
        noted = warehouse.metadata("pool_scores", group, target).get(SEARCHED, "")
        if not noted.startswith(ngrams.sha256):
            what = "for other texts than" if noted else "not for what"
            raise PcorrError(
                f"pool {pool}, target {target}: the documents of {group} were searched {what} "
                "the benchmarks hold now: materialise pool_scores for all groups of the pool "
                "again, or set `decontaminate: off`"
            )
    return decontaminate
