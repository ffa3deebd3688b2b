"""Published files as Parquet, which others write in their own ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.wide_files import read_wide

A, B = "('f', 'o/a')", "('g', 'o/b')"


def written(path: Path, columns: Mapping[str, Any]) -> Path:
    pq.write_table(pa.table(dict(columns)), path)
    return path


def test_pandas_writes_an_index_last(tmp_path: Path) -> None:
    frame = pd.DataFrame({A: [1.5, np.nan], B: [2.5, 3.5]}, index=pd.Index(["p", "q"], name="id"))
    frame.to_parquet(tmp_path / "bpb.PARQUET")
    assert pq.read_schema(tmp_path / "bpb.PARQUET").names == [A, B, "id"]
    wide = read_wide(tmp_path / "bpb.PARQUET", "id")
    assert wide.columns == [("f", "o/a"), ("g", "o/b")]
    assert wide.names.to_pylist() == ["p", "q"]
    np.testing.assert_array_equal(wide.values, [[1.5, np.nan], [2.5, 3.5]])


def test_any_kind_of_number_is_a_number(tmp_path: Path) -> None:
    columns = {
        "id": pa.array(["p", "q"]).dictionary_encode(),
        "o/1": pa.array([1, None], pa.int32()),
        "o/2": pa.array([0.1, 0.2], pa.float32()),
        "o/3": pa.nulls(2),
        "o/4": pa.array(["1e-3", " NA"]),
    }
    wide = read_wide(written(tmp_path / "x.parquet", columns), "id")
    singles = np.array([0.1, 0.2], np.float32)
    expected = [[1, np.nan], singles, [np.nan] * 2, [1e-3, np.nan]]
    np.testing.assert_array_equal(wide.values, expected)
    by_number = written(tmp_path / "y.parquet", {"id": pa.array([7, 8]), "o/1": [0.5, 0.25]})
    assert read_wide(by_number, "id").names.to_pylist() == ["7", "8"]


def test_mistakes_are_named_as_in_csv_files(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"page": ["p"], "o/a": [1.0]}, "0 columns 'id'"),
        ({"id": ["p"]}, "no column beside 'id', so it names no LLM"),
        ({"id": ["p"], "o/a": pa.array([[1.0]])}, "column 'o/a' holds list<.*expected numbers"),
        ({"id": [0.5], "o/a": [1.0]}, "column 'id' holds double; expected text"),
        ({"id": ["p", "p"], "o/a": [1.0, 2.0]}, r"id given more than once: 'p' \(2 times\)"),
        ({"id": pa.array([None], pa.string()), "o/a": [1.0]}, "1 row without id"),
        ({"id": ["p"], "o/a": ["much"]}, "'much' in column o/a at p"),
        ({"id": ["p"], "('x',)": [1.0]}, "names no LLM"),
        ({"id": pa.array([], pa.string()), "o/a": pa.array([], pa.float64())}, "no rows"),
    ]
    for columns, message in cases:
        written(path, columns)
        with pytest.raises(PcorrError, match=message):
            read_wide(path, "id")
    twice = pa.table([["p"], [1.0], [2.0]], names=["id", "o/a", "o/a"])
    pq.write_table(twice, path)
    with pytest.raises(PcorrError, match="column given more than once"):
        read_wide(path, "id")
    path.write_text("id,o/a\np,1\n")
    with pytest.raises(PcorrError, match="cannot be read as a Parquet file"):
        read_wide(path, "id")
    with pytest.raises(PcorrError, match="does not exist"):
        read_wide(tmp_path / "nowhere.parquet", "id")
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    with pytest.raises(PcorrError, match="cannot be read as a Parquet file"):
        read_wide(folder, "id")
