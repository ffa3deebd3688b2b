"""What an exported file says of itself: comments, views and the table README.

Belongs here: the words and the SQL that let somebody who has nothing but the file find
their way. Does not belong here: copying rows (`export`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pcorr_assets.warehouse.registry import TABLES, Table
from pcorr_assets.warehouse.views import sql_literal

if TYPE_CHECKING:
    import duckdb

# Section of README that names the selected estimator of each target, for `best_units`.
ESTIMATOR_SECTION = "estimator"
# Section of README that names, for `llms_used`, targets that allow less NaN than the matrix does.
NAN_SECTION = "max_nan_fraction"

ReadmeRow = tuple[str, str, str]

# Where no bootstrap could be made, only the configuration knows which estimator counts.
_VIEWS = {
    "selected_estimators": (
        "The estimator that the selection of a sample and target is made with.",
        f"""
SELECT e.sample, e.target, coalesce(
    any_value(e.estimator) FILTER (e.selection_frequency IS NOT NULL),
    any_value(r.value)
) AS estimator
FROM estimates AS e
LEFT JOIN README AS r ON r.section = '{ESTIMATOR_SECTION}' AND r.name = e.target
GROUP BY e.sample, e.target""",
    ),
    "best_units": (
        "Units (domains, pages or chunks) from best to worst for each sample and target by the "
        "selected estimator, with their sampling weight and the verdict on the whole estimate.",
        """
SELECT e.sample, e.target, e.level,
    rank() OVER (PARTITION BY e.sample, e.target ORDER BY e.estimate DESC) AS rank,
    e.unit, e.estimator, e.estimate, e.selection_frequency, d.weight, d.included, d.token_count,
    v.verdict, e.llm_count
FROM estimates AS e
JOIN selected_estimators AS s USING (sample, target, estimator)
LEFT JOIN sampling_distributions AS d
    ON d.sample = e.sample AND d.target = e.target AND d.level = e.level AND d.unit = e.unit
LEFT JOIN verdicts AS v ON v.sample = e.sample AND v.target = e.target""",
    ),
    "llms_used": (
        "LLMs behind the estimates of each sample and target: in the matrix of the sample and "
        "with an error on the target, with the commit and dtype of their weights.",
        f"""
SELECT c.sample, v.target, c.llm, v.family, l.name, l.revision, l.commit_sha, l.dtype,
    l.parameter_count, v.error, c.nan_count
FROM matrix_coverage AS c
JOIN error_vectors AS v ON v.llm = c.llm AND v.source = CASE
    WHEN c.sample IN (SELECT source FROM llms) THEN c.sample ELSE 'lm_eval' END
LEFT JOIN llms AS l ON l.llm = c.llm AND l.source = v.source
LEFT JOIN README AS r ON r.section = '{NAN_SECTION}' AND r.name = v.target
WHERE c.included AND NOT coalesce(c.nan_count > r.value::DOUBLE * c.chunk_count, false)""",
    ),
}

_OWN_TABLES = {
    "README": "What this file is, where it comes from, and queries to begin with",
    "partition_files": "The file that each part of a table was copied from (written_at in UTC)",
}


def own_statements() -> Iterator[str]:
    """SQL that makes the views, and describes them and the tables the warehouse lacks."""
    for name, (description, query) in _VIEWS.items():
        yield f'CREATE VIEW "{name}" AS {query}'
        yield f'COMMENT ON VIEW "{name}" IS {sql_literal(description)}'
    for name, description in _OWN_TABLES.items():
        yield f'COMMENT ON TABLE "{name}" IS {sql_literal(description)}'


def comment_statements(table: Table, columns: Sequence[str]) -> Iterator[str]:
    """SQL that describes a table and those of its columns that are exported."""
    yield f'COMMENT ON TABLE "{table.name}" IS {sql_literal(table.description)}'
    for name in columns:
        column = table.column(name)
        text = f"{column.description} [{column.unit}]" if column.unit else column.description
        yield f'COMMENT ON COLUMN "{table.name}"."{name}" IS {sql_literal(text)}'


def readme_rows(
    connection: duckdb.DuckDBPyConnection,
    provenance: Mapping[str, Mapping[str, str]],
    *,
    include_text: bool,
    storage_version: str,
    unsettled: Sequence[str],
) -> list[ReadmeRow]:
    """The rows (section, name, value) of README, over a connection to the finished tables."""
    return [
        *_about(storage_version, include_text, unsettled),
        *(("query", question, sql) for question, sql in _queries(connection)),
        *_tables(connection),
        *(("view", name, description) for name, (description, _) in _VIEWS.items()),
        *_llms(connection),
        *(
            (section, name, value)
            for section, values in provenance.items()
            for name, value in values.items()
        ),
    ]


def _about(storage_version: str, include_text: bool, unsettled: Sequence[str]) -> list[ReadmeRow]:
    import duckdb

    texts = (
        "The texts are in chunks.text, and what texts share with benchmarks in "
        "contaminated_chunks.words and pool_scores.shared_words."
        if include_text
        else "The texts themselves are not in it: chunks has every column but the text, "
        "contaminated_chunks and pool_scores every column but the shared words."
    )
    rows = [
        (
            "what this is",
            "Tables of a correlation between the loss of LLMs on texts (bits-per-byte) and their "
            "errors on benchmarks: which texts to pretrain on for which target, how far that can "
            f"be trusted, and all that it was computed from. {texts}",
        ),
        (
            "how to read it",
            "Open it with DuckDB, read-only: `duckdb -readonly FILE`, or in Python "
            "`duckdb.connect(FILE, read_only=True)`. Begin with the rows of README where section "
            "is 'query'. SELECT * FROM duckdb_columns() tells what each column means (comment).",
        ),
        ("made at", datetime.now(UTC).isoformat(timespec="seconds")),
        ("made by", f"DuckDB {duckdb.__version__}, storage version {storage_version}"),
    ]
    if unsettled:
        rows.append(
            (
                "written again while this file was made",
                "These parts are as they were shortly before: " + ", ".join(unsettled),
            )
        )
    return [("about", name, value) for name, value in rows]


def _queries(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str]]:
    """Questions with SQL that answers them in this file, for one of its targets."""
    found = connection.execute(
        "SELECT sample, target FROM estimates ORDER BY level <> 'domain', sample, target LIMIT 1"
    ).fetchone()
    sample, target = (sql_literal(key) for key in found or ("your-sample", "your-target"))
    of_target = f"WHERE sample = {sample} AND target = {target}"
    yield (
        "Which ten units (domains) are best for a target?",
        "SELECT rank, unit, estimate, selection_frequency, weight, verdict\n"
        f"FROM best_units\n{of_target}\nORDER BY rank, unit\nLIMIT 10;",
    )
    yield (
        "How sure are we?",
        "SELECT verdict, reason, delta, delta_low, delta_high, stability, permutation_p,\n"
        "    rank_correlation, mean_bpb_correlation, llm_count, group_count\n"
        f"FROM verdicts\n{of_target};",
    )
    yield (
        "Which LLMs were used, at which commit?",
        "SELECT llm, family, revision, commit_sha, dtype, error\n"
        f"FROM llms_used\n{of_target}\nORDER BY llm;",
    )
    yield (
        "Which LLMs were left out, and why?",
        f"SELECT llm, nan_count, reason FROM matrix_coverage\n"
        f"WHERE sample = {sample} AND NOT included\nORDER BY llm;",
    )
    yield (
        "Which samples and targets are there?",
        "SELECT sample, target, level, verdict, count(*) AS units\n"
        "FROM best_units\nGROUP BY ALL\nORDER BY ALL;",
    )
    yield (
        "What does each column mean?",
        "SELECT table_name, column_name, data_type, comment\n"
        "FROM duckdb_columns()\nWHERE NOT internal AND comment IS NOT NULL;",
    )


def _tables(connection: duckdb.DuckDBPyConnection) -> Iterator[ReadmeRow]:
    dates = connection.execute(
        "SELECT table_name, count(*), sum(row_count), min(written_at), max(written_at) "
        "FROM partition_files GROUP BY table_name"
    ).fetchall()
    written = {
        name: f"{rows:,} rows from {files:,} files, written {first:%Y-%m-%d %H:%M} to "
        f"{last:%Y-%m-%d %H:%M} UTC."
        for name, files, rows, first, last in dates
    }
    for table in TABLES.values():
        state = written.get(table.name, "Empty: nothing was computed for it.")
        yield "table", table.name, f"{table.description} {state}"
    for name, description in _OWN_TABLES.items():
        yield "table", name, f"{description}."


def _llms(connection: duckdb.DuckDBPyConnection) -> Iterator[ReadmeRow]:
    rows = connection.execute(
        "SELECT llm, source, family, name, revision, commit_sha, dtype FROM llms "
        "ORDER BY llm, source"
    ).fetchall()
    for llm, source, family, name, revision, commit, dtype in rows:
        weights = f"commit {commit or 'unknown'}, dtype {dtype or 'unknown'}"
        origin = "scored here" if source == "lm_eval" else f"imported with {source}"
        yield "llm", llm, f"{weights}; {name}, revision {revision}, family {family}; {origin}"
