"""The generic checks find what they are there to find."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pcorr_assets.warehouse import TABLES
from pcorr_assets.warehouse.validation import partition_problems

TABLE = TABLES["chunk_bpb"]
GOOD = [
    ("s", "a/b", "c1", 2.5, 10, 30, 1.2, 0),
    ("s", "a/b", "c2", float("nan"), 1, 3, float("nan"), 0),
]


def rows(*values: tuple) -> pa.Table:
    columns = dict(zip(TABLE.schema.names, zip(*values, strict=True), strict=True))
    fields = [pa.field(field.name, field.type) for field in TABLE.schema]
    return pa.table({k: list(v) for k, v in columns.items()}, schema=pa.schema(fields))


def problems(*values: tuple) -> list[str]:
    table = rows(*values)
    nullable_cast = pa.Table.from_arrays(table.columns, schema=TABLE.schema)
    return partition_problems(TABLE, nullable_cast)


def test_good_rows_have_no_problem() -> None:
    assert problems(*GOOD) == []


@pytest.mark.parametrize(
    ("position", "value", "expected"),
    [
        (2, "c1", "1 rows repeat the key (sample, llm, chunk_id)"),
        (2, None, "chunk_bpb.chunk_id: 1 values are NULL"),
        (4, -1, "chunk_bpb.token_count: -1 is below 0"),
        (6, float("inf"), "chunk_bpb.bpb: 1 values are infinite"),
    ],
)
def test_each_kind_of_bad_value_is_found(position: int, value: object, expected: str) -> None:
    changed: list[object] = list(GOOD[1])
    changed[position] = value
    assert any(expected in problem for problem in problems(GOOD[0], tuple(changed)))


def test_other_columns_are_a_problem_of_their_own() -> None:
    assert "not those of the registry" in partition_problems(TABLE, pa.table({"x": [1]}))[0]
