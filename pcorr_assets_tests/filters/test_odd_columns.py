"""Whatever columns a pool has, its selection is written: by type, or else as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.config import Pool
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.pools import Shard, iter_documents
from pcorr_assets.filters.selected import SelectedRows
from pcorr_assets.filters.writing import _write_json_lines, _write_parquet
from pcorr_assets.text.arrow_files import column_values

NAN = float("nan")
DEEP = "[" * 12 + "1" + "]" * 12


def written(path: Path, output: str) -> tuple[list[dict[str, Any]], int]:
    """All documents of a file, written as a selection of it would be."""
    pool = Pool.model_validate(
        {"sample": "s", "files": [str(path)], "token_budget": 1, "format": output}
    )
    shard = Shard("crawl/x", "crawl", path)
    documents = [document for batch in iter_documents(shard, pool) for document in batch]
    chosen = pa.table(
        {
            "row": range(len(documents)),
            "score": [0.5] * len(documents),
            "content_sha256": [document.content_sha256 for document in documents],
        }
    )
    source = SelectedRows(shard, pool, chosen)
    target = path.with_name(f"out.{output}")
    if output == "parquet":
        _write_parquet(source, target)
        table = pq.read_table(target)
        return [dict(zip(table.schema.names, row, strict=True)) for row in _values(table)], 0
    _, non_finite = _write_json_lines(source, target, output, {"text", "id"})

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    lines = target.read_bytes().decode().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines], non_finite


def _values(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    columns = [column_values(table[name]) for name in table.schema.names]
    return zip(*columns, strict=True)


ODD_JSON: dict[str, tuple[list[Any], list[Any]]] = {
    # values in the file, and what they are as Parquet; JSON text where it has no type
    "always an empty object": ([{}, {}], ["{}", "{}"]),
    "an empty object inside": ([{"a": {}}, None], ['{"a": {}}', None]),
    "whole numbers beyond 64 bits": ([2**70, 1], [str(2**70), "1"]),
    "wide whole numbers and fractions": ([2**60 + 1, 0.5], [str(2**60 + 1), "0.5"]),
    "whole numbers and fractions": ([1, 0.5], [1.0, 0.5]),
    "number, then text": ([1, "a"], ["1", '"a"']),
    "bool, then number": ([True, 2], ["true", "2"]),
    "only null": ([None, None], [None, None]),
    "objects with other keys": ([{"a": 1}, {"b": 2}], [{"a": 1, "b": None}, {"a": None, "b": 2}]),
    "deep lists": ([json.loads(DEEP), []], [DEEP, "[]"]),
}


@pytest.mark.parametrize("name", ODD_JSON)
def test_json_fields_of_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    values, as_parquet = ODD_JSON[name]
    # A batch for each value: what does not fit shows only after the first was looked at.
    monkeypatch.setattr("pcorr_assets.text.files.BATCH_BYTES", 1)
    rows = [{"text": f"t{i}", "x": value} for i, value in enumerate(values)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["x"] for row in written(path, "jsonl")[0]] == values
    assert [row["x"] for row in written(path, "parquet")[0]] == as_parquet


def test_numbers_that_json_has_no_word_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "t", "x": NaN, "y": [1e999, {"z": -Infinity}], "q": "\\ud83d"}\n')
    (row,), non_finite = written(path, "jsonl")
    assert (row["x"], row["y"], row["q"], non_finite) == (None, [None, {"z": None}], "\ufffd", 3)
    (row,), _ = written(path, "parquet")
    assert row["x"] != row["x"]


def test_parquet_columns_of_any_type(tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["one", "two", "three"], pa.string_view()),
        "id": pa.array([b"a", b"b", b"c"], pa.binary_view()),
        "Score": pa.array([1.0, NAN, None]),
        "image": pa.array([b"\xff\x00", None, b""]),
        "when": pa.array([0, 1, None], pa.timestamp("s", "UTC")),
        "price": pa.array([1, 2, None]).cast(pa.decimal128(22, 2)),
        "tags": pa.array([["a"], [], None], pa.list_(pa.string_view())),
        "map": pa.array([[(1, NAN)], [], None], pa.map_(pa.int32(), pa.float64())),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "nothing": pa.nulls(3),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    rows, _ = written(path, "parquet")
    original = pq.read_table(path).to_pylist(maps_as_pydicts="lossy")
    assert repr([{n: r[n] for n in columns} for r in rows]) == repr(original)
    (first, second, _), non_finite = written(path, "jsonl")
    assert first == {
        "text": "one", "id": "a", "Score": 1.0, "image": "/wA=",
        "when": "1970-01-01T00:00:00+00:00", "price": "1.00", "tags": ["a"], "map": {"1": None},
        "kind": "x", "nothing": None, "pcorr_score": 0.5,
    }  # fmt: skip
    assert (second["Score"], non_finite) == (None, 2)


def test_times_that_python_has_no_value_for(tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["one", "two"]),
        "far": pa.array([0, 2**62], pa.timestamp("us", "UTC")),
        "further": pa.array([0, 2**62], pa.timestamp("us")),
        "zone": pa.array([0, None], pa.timestamp("s", "Mars/Base")),
        "day": pa.array([0, -(2**31)], pa.date32()),
        "lasts": pa.array([1, 2**62], pa.duration("s")),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    written(path, "parquet")
    assert pq.read_table(tmp_path / "out.parquet").select(list(columns)) == pq.read_table(path)
    (first, second), _ = written(path, "jsonl")
    assert [first[name] for name in columns] == [
        "one", "1970-01-01T00:00:00+00:00", "1970-01-01T00:00:00", "1970-01-01T00:00:00.000Z",
        "1970-01-01", "0:00:01",
    ]  # fmt: skip
    assert [second[name] for name in columns] == [
        "two", "17036-07-06T14:00:27.387904Z", str(2**62), None, str(-(2**31)), str(2**62),
    ]  # fmt: skip


ODD_ARROW: dict[str, tuple[pa.Array, list[Any], list[Any]]] = {
    # the column, and its values as JSON and as Parquet
    "empty objects": (
        pa.array([{}, None], pa.struct([])), [{}, None], ["{}", None],
    ),
    "lists of nothing": (
        pa.array([[], None], pa.list_(pa.int32(), 0)), [[], None], ["[]", None],
    ),
    "a dictionary of structs": (
        pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array([{"a": 1}])),
        [{"a": 1}, None], ['{"a": 1}', None],
    ),
    "a union": (
        pa.UnionArray.from_sparse(
            pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]
        ),
        [1, "b"], ["1", '"b"'],
    ),
    "months, days, nanoseconds": (
        pa.array([(1, 2, 3), None], pa.month_day_nano_interval()), [[1, 2, 3], None],
        ["[1, 2, 3]", None],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_ARROW)
def test_types_that_parquet_cannot_hold(tmp_path: Path, name: str) -> None:
    column, as_json, as_parquet = ODD_ARROW[name]
    table = pa.table({"text": pa.array(["one", "two"]), "x": column})
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)
    assert [row["x"] for row in written(path, "jsonl")[0]] == as_json
    assert [row["x"] for row in written(path, "parquet")[0]] == as_parquet


def test_values_within_others_that_python_has_none_for(tmp_path: Path) -> None:
    far = pa.timestamp("us", "UTC")
    invalid = pa.array([b"a\xff", b"b"]).view(pa.string())
    columns = {
        "text": pa.array(["one", "two"]),
        "struct": pa.array([{"at": 2**62, "n": 1}, None], pa.struct([("at", far), ("n", "int8")])),
        "list": pa.array([[2**62, None], []], pa.list_(pa.duration("s"))),
        "map": pa.array([[("a", 2**62)], None], pa.map_(pa.string(), far)),
        "text inside": pa.StructArray.from_arrays([invalid], ["t"]),
        "twice": pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"]),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    (first, second), _ = written(path, "jsonl")
    when = "17036-07-06T14:00:27.387904Z"
    assert [first[name] for name in columns] == [
        "one", {"at": when, "n": 1}, [str(2**62), None], {"a": when}, {"t": "a\ufffd"},
        [["a", 1], ["a", 3]],
    ]  # fmt: skip
    assert [second[name] for name in columns] == [
        "two", None, [], None, {"t": "b"}, [["a", 2], ["a", 4]],
    ]  # fmt: skip
    written(path, "parquet")
    assert pq.read_table(tmp_path / "out.parquet").select(list(columns)) == pq.read_table(path)


def test_a_column_that_comes_twice_is_refused_before_scoring(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = [pa.array(["t"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.table(columns, names=["text", "n", "n"]), path)
    with pytest.raises(PcorrError, match=r"a\.parquet: it has several columns 'n': rename them"):
        written(path, "parquet")
