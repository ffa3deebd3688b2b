"""Queries from a shell: their rows as text, and nothing that writes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.queries import print_query
from pcorr_assets.warehouse.views import ensure_layout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    ensure_layout(home)
    return home


def ask(home: Path, sql: str, form: str = "csv") -> str:
    out = io.StringIO()
    print_query(home, sql, form, out)
    return out.getvalue()


def test_rows_in_three_forms(home: Path) -> None:
    sql = "SELECT range AS n, 'a,\"' || range AS text FROM range(2500)"
    rows = list(csv.reader(io.StringIO(ask(home, sql))))
    assert rows[0] == ["n", "text"]
    assert rows[1:] == [[str(n), f'a,"{n}'] for n in range(2500)]
    assert json.loads(ask(home, sql, "json")) == [{"n": n, "text": f'a,"{n}'} for n in range(2500)]
    table = ask(home, sql, "table")
    assert 'a,"0' in table
    assert 'a,"2499' in table


def test_json_is_valid_whatever_the_values_are(home: Path) -> None:
    sql = (
        "SELECT 'nan'::DOUBLE AS a, '-inf'::DOUBLE AS b, NULL AS c, [1.5, NULL] AS d, "
        "DATE '2026-01-02' AS e, {'x': 'inf'::DOUBLE} AS f, 1.25::DECIMAL(9,2) AS g"
    )
    assert json.loads(ask(home, sql, "json")) == [
        {"a": None, "b": None, "c": None, "d": [1.5, None], "e": "2026-01-02",
         "f": {"x": None}, "g": 1.25}
    ]  # fmt: skip
    assert json.loads(ask(home, "SELECT 1 WHERE false", "json")) == []


def test_json_drops_no_column_of_a_name_that_is_there_twice(home: Path) -> None:
    sql = "SELECT 1 AS a, 2 AS a"
    with pytest.raises(PcorrError, match=r"two columns of one name \(a\)"):
        ask(home, sql, "json")
    assert ask(home, sql) == "a,a\n1,2\n"


@pytest.mark.parametrize(
    "sql",
    ["DESCRIBE chunks", "SHOW TABLES", "SUMMARIZE verdicts", "EXPLAIN SELECT 1", "FROM estimates",
     "EXPLAIN ANALYZE SELECT 1", "WITH a AS (SELECT 1) FROM a;", "VALUES (1)"],
)  # fmt: skip
def test_ways_to_ask(home: Path, sql: str) -> None:
    assert ask(home, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{}'",
        "explain /* */ analyze copy (select 1) to '{}'",
        "/* */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{}'",
        "ATTACH '{}' AS other",
        "EXPORT DATABASE '{}'",
        "SELECT 1; COPY (SELECT 1) TO '{}'",
        "CREATE TABLE t AS SELECT 1",
        "INSTALL httpfs",
        "SET threads = 1",
        "",
    ],
)
def test_nothing_else_is_run(home: Path, tmp_path: Path, sql: str) -> None:
    written = tmp_path / "written"
    with pytest.raises(PcorrError):
        ask(home, sql.format(written))
    assert not written.exists()


def test_a_pivot_names_its_columns(home: Path) -> None:
    pivot = "PIVOT (SELECT 'x' AS k, 1 AS v) ON k {} USING first(v)"
    assert "1" in ask(home, pivot.format("IN ('x')"))
    with pytest.raises(PcorrError, match="name them"):
        ask(home, pivot.format(""))


def test_mistakes_are_told_on_one_line(home: Path) -> None:
    for sql, words in (
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM verdict", 'Did you mean "verdicts"'),
        ("SELECT CAST('a' AS INT)", "Could not convert"),
    ):
        for form in ("table", "csv", "json"):
            with pytest.raises(PcorrError, match=words) as refusal:
                ask(home, sql, form)
            assert "\n" not in str(refusal.value)
    with pytest.raises(PcorrError, match="holds no warehouse"):
        ask(home / "elsewhere", "SELECT 1")
    assert Warehouse(home).partitions("verdicts") == []


def test_bytes_of_another_encoding_are_named(home: Path) -> None:
    sql = b"SELECT 1 AS caf\xe9".decode("utf-8", "surrogateescape")
    with pytest.raises(PcorrError, match=r"not UTF-8 after 'SELECT 1 AS caf'"):
        ask(home, sql)
