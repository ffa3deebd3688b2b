"""Published CSV files: the real ones end to end, and small ones with every kind of mistake."""

from __future__ import annotations

import csv
import gzip
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pcorr_assets.config import MatrixCsv
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix import ImportedMatrix, import_published, parse_column, read_matrix
from pcorr_assets.warehouse import TABLES, Warehouse

LLMS = ["('f', 'o/a')", "('f', 'o/b')", "('g', 'o/c_step5')"]
BPB = {"p1": [1.0, 2.0, 3.0], "p2": [4.0, 5.0, 6.0], "p0": [7.0, 8.0, 9.0]}
ERRORS = {"arc": [0.1, 0.2, 0.3], "piqa": [0.4, 0.5, 0.6]}


def write_csv(
    path: Path,
    first: str,
    columns: Sequence[str],
    rows: dict[str, list[float]] | list[list[object]],
) -> Path:
    lines = [[name, *cells] for name, cells in rows.items()] if isinstance(rows, dict) else rows
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[first, *columns], *lines])
    return path


def run(
    folder: Path,
    *,
    bpb: dict[str, list[float]] | list[list[object]] = BPB,
    errors: dict[str, list[float]] | list[list[object]] = ERRORS,
    bpb_llms: Sequence[str] = LLMS,
    error_llms: Sequence[str] = LLMS,
    max_nan_fraction: float = 0.5,
) -> ImportedMatrix:
    files = MatrixCsv(
        bpb=write_csv(folder / "bpb.csv", "id", bpb_llms, bpb),
        errors=write_csv(folder / "errors.csv", "benchmark", error_llms, errors),
        level="page",
    )
    return import_published("s", files, max_nan_fraction)


def wide(imported: ImportedMatrix) -> pd.DataFrame:
    return imported.bpb_matrix.to_pandas().pivot(index="unit", columns="llm", values="bpb")


def test_the_published_files_come_back_number_by_number(
    published_data: Path, tmp_path: Path
) -> None:
    files = MatrixCsv(
        bpb=published_data / "bpb_by_page.csv",
        errors=published_data / "benchmark_errors.csv",
        level="page",
    )
    imported = import_published("published", files, 0.05)
    wh = Warehouse(tmp_path)
    imported.write(wh)
    view = read_matrix(wh, "published", "page")
    llms = wh.read("llms", "imported", "published").to_pandas().set_index("llm")
    errors = wh.read("benchmark_errors", "imported", "published").to_pandas()
    coverage = wh.read("matrix_coverage", "published").to_pandas()

    published = pd.read_csv(files.bpb, index_col="id")
    assert view.X.shape == (90, 263)
    assert view.byte_count is None
    assert view.units.to_pylist() == sorted(published.index)
    by_key = pd.DataFrame(view.X.T, index=view.units.to_pylist(), columns=view.llms)
    error_columns = pd.read_csv(files.errors, index_col="benchmark")
    for column in published.columns:
        family, name = parse_column(column)
        stem, _, step = name.partition("_step")
        key = f"{stem}@step{step}" if step else name
        if (family, name) == ("amber", "LLM360/Amber"):
            key = "LLM360/Amber+amber"
        assert (llms.loc[key, "family"], llms.loc[key, "name"]) == (family, stem)
        assert llms.loc[key, "revision"] == (f"step{step}" if step else "main")
        assert (by_key[key] == published.loc[by_key.index, column]).all()
        own = errors[errors["llm"] == key].set_index("benchmark")["error"]
        assert (own == error_columns.loc[own.index, column]).all()
        assert len(own) == 9
    assert set(llms["source"]) == set(errors["source"]) == {"published"}
    assert set(errors["metric"]) == {"imported"}
    assert coverage["included"].all()
    assert len(coverage) == 90
    assert imported.report == [
        "LLM360/Amber stands under the families llm360 and amber; the first has the key "
        "LLM360/Amber, the second LLM360/Amber+amber."
    ]


def test_tables_fit_the_registry_and_say_null_where_a_csv_does_not_know(tmp_path: Path) -> None:
    imported = run(tmp_path)
    for name in ("bpb_matrix", "matrix_coverage", "llms", "benchmark_errors"):
        assert getattr(imported, name).schema.equals(TABLES[name].schema)
    assert imported.report == []
    assert imported.llms["commit_sha"].null_count == imported.llms["dtype"].null_count == 3
    assert imported.benchmark_errors["score"].null_count == 6
    assert imported.benchmark_errors["higher_is_better"].null_count == 6
    assert imported.bpb_matrix["unit"].to_pylist() == ["p0", "p1", "p2"] * 3
    assert imported.bpb_matrix["llm"].to_pylist()[::3] == ["o/a", "o/b", "o/c@step5"]


def test_columns_are_matched_by_name_not_by_position(tmp_path: Path) -> None:
    plain = run(tmp_path)
    shuffled = run(
        tmp_path,
        error_llms=[LLMS[2], LLMS[0], LLMS[1]],
        errors={name: [cells[2], cells[0], cells[1]] for name, cells in ERRORS.items()},
    )
    assert shuffled.benchmark_errors.equals(plain.benchmark_errors)
    turned = run(
        tmp_path,
        bpb_llms=LLMS[::-1],
        bpb={name: cells[::-1] for name, cells in reversed(BPB.items())},
    )
    assert turned.bpb_matrix.equals(plain.bpb_matrix)


def test_a_name_under_two_families_is_two_llms_in_both_files(tmp_path: Path) -> None:
    llms = ["('f', 'o/a')", "('g', 'o/a')", "('h', 'o/b')"]
    imported = run(tmp_path, bpb_llms=llms, error_llms=llms[::-1])
    errors = imported.benchmark_errors.to_pandas().set_index(["llm", "benchmark"])["error"]
    # The order of the BPB file names them, and errors still go to the right family.
    assert wide(imported).loc["p1"].to_dict() == {"o/a": 1.0, "o/a+g": 2.0, "o/b": 3.0}
    assert errors.loc[("o/a", "arc")] == 0.3
    assert errors.loc[("o/a+g", "arc")] == 0.2


def test_missing_cells_follow_the_mask_and_are_reported(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["p1", 1, "", "NaN"],
        ["p2", "NA", "", 6],
        ["p3", 4, 5, 6],
        ["p4", 4, 5, 6],
    ]
    imported = run(tmp_path, bpb=rows, max_nan_fraction=0.25)
    assert wide(imported).index.tolist() == ["p3", "p4"]
    coverage = imported.matrix_coverage.to_pandas().set_index("llm")
    assert coverage["included"].to_dict() == {"o/a": True, "o/b": False, "o/c@step5": True}
    assert coverage["nan_count"].to_dict() == {"o/a": 1, "o/b": 2, "o/c@step5": 1}
    assert coverage["chunk_count"].tolist() == [4, 4, 4]
    left, empty = imported.report
    assert left.startswith("o/b is not in the matrix: 2 of 4 pages are NaN")
    assert empty == (
        "2 BPB cells of LLMs in the matrix are empty (o/a (1), o/c@step5 (1)); "
        "2 pages left it for all LLMs: p1, p2."
    )


def test_blanks_around_a_missing_cell_do_no_harm(tmp_path: Path) -> None:
    rows: list[list[object]] = [["p1", 1, " NA", 3], ["p2", " 4", 5.5, 6], ["p3", 7, 8, "  "]]
    imported = run(tmp_path, bpb=rows, max_nan_fraction=0.5)
    assert wide(imported).to_dict("index") == {"p2": {"o/a": 4.0, "o/b": 5.5, "o/c@step5": 6.0}}
    assert "2 BPB cells" in imported.report[0]


def test_an_llm_in_one_file_only_is_named(tmp_path: Path) -> None:
    imported = run(tmp_path, error_llms=[LLMS[0], LLMS[1], "('h', 'o/c_step5')"])
    assert wide(imported).columns.tolist() == ["o/a", "o/b", "o/c@step5"]
    assert set(imported.benchmark_errors["llm"].to_pylist()) == {"o/a", "o/b"}
    coverage = imported.matrix_coverage.to_pandas().set_index("llm")
    assert coverage.loc["o/c@step5", "included"]
    assert "cannot be used for targets" in str(coverage.loc["o/c@step5", "reason"])
    assert not coverage.loc["o/c@step5+h", "included"]
    report = "\n".join(imported.report)
    assert (
        "o/c@step5 of family g stands in bpb.csv and not in errors.csv (there its name stands"
        in (report)
    )
    assert "o/c@step5+h of family h stands in errors.csv and not in bpb.csv" in report
    assert "its errors were left out" in report


def test_an_empty_error_is_left_out_and_named(tmp_path: Path) -> None:
    imported = run(tmp_path, errors=[["arc", 0.1, "", 0.3], ["piqa", 0.4, 0.5, 0.6]])
    assert imported.benchmark_errors.num_rows == 5
    assert imported.report == ["arc has no error for 1 LLM, which were left out of it: o/b."]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["p1", 1, 2, 3], ["p1", 4, 5, 6]], r"id given more than once: 'p1' \(2 times\)"),
        (
            [["p1", 1, -0.5, 3], ["p2", 4, 5, -1]],
            "2 cells with negative or infinite BPB: -0.5 for o/b",
        ),
        ([["p1", 1, "inf", 3]], "1 cell with negative or infinite BPB: inf for o/b at p1"),
        (
            [["p1", 1, "a lot", 3]],
            r"1 cell without a number: 'a lot' in column \('f', 'o/b'\) at p1",
        ),
        (
            [["p1", " NA", "1_0", 3], ["p2", 1, 2, "٣"]],
            r"2 cells without a number: '1_0' in column \('f', 'o/b'\) at p1, '٣' in .* at p2",
        ),
        ([["", 1, 2, 3]], "1 row without id"),
        ([["p1", 1, 2]], "cannot be read as a CSV file"),
        ([], "there are no rows under the header"),
    ],
)
def test_what_cannot_be_bpb_is_refused_by_name(
    tmp_path: Path, rows: list[list[object]], message: str
) -> None:
    with pytest.raises(PcorrError, match=message):
        run(tmp_path, bpb=rows)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    rows: list[list[object]] = [["p1", 1, "x", 3], ["p1", 4, 5, 6]]
    with pytest.raises(PcorrError) as refused:
        run(tmp_path, bpb=rows, bpb_llms=[LLMS[0], LLMS[0], "('broken',)"])
    for part in ("'p1' (2 times)", "'x' in column", "names no LLM", "('f', 'o/a')"):
        assert part in str(refused.value)


def test_unusable_errors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PcorrError, match="1 cell with infinite errors: inf for o/a at arc"):
        run(tmp_path, errors={"arc": [math.inf, 0.1, 0.2]})
    with pytest.raises(PcorrError, match="benchmark given more than once"):
        run(tmp_path, errors=[["arc", 1, 2, 3], ["arc", 1, 2, 3]])
    with pytest.raises(PcorrError, match="No LLM stands in both"):
        run(tmp_path, error_llms=["x/1", "x/2", "x/3"])


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Path) -> None:
    good = write_csv(tmp_path / "errors.csv", "benchmark", LLMS, ERRORS)
    wrong = write_csv(tmp_path / "wrong.csv", "page", LLMS, BPB)
    empty = tmp_path / "empty.csv"
    empty.touch()
    alone = tmp_path / "alone.csv"
    alone.write_text("id\np1\n")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id,größe\np1,1\n".encode("latin-1"))
    for bpb, message in (
        (tmp_path / "nowhere.csv", "nowhere.csv does not exist"),
        (tmp_path, "cannot be read as a CSV file"),
        (wrong, "first column of .*wrong.csv is 'page'; expected 'id'"),
        (empty, "empty.csv is empty"),
        (alone, "names no LLM"),
        (latin, "UTF-8"),
    ):
        with pytest.raises(PcorrError, match=message):
            import_published("s", MatrixCsv(bpb=bpb, errors=good, level="page"), 0.05)


def test_names_may_hold_what_csv_can_quote(tmp_path: Path) -> None:
    names = [' I, "Antichrist"?', "two\nlines", "NA", "überfällig"]
    imported = run(tmp_path, bpb={name: [1.0, 2.0, 3.0] for name in names})
    assert wide(imported).index.tolist() == sorted(names)


def test_a_byte_order_mark_and_blanks_around_numbers_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "marked.csv"
    path.write_text("id,o/a,o/b\np1, 1.5 ,2\np2,3,4e0\n", encoding="utf-8-sig")
    errors = write_csv(tmp_path / "errors.csv", "benchmark", ["o/a", "o/b"], {"arc": [0.1, 0.2]})
    imported = import_published("s", MatrixCsv(bpb=path, errors=errors, level="chunk"), 0.05)
    np.testing.assert_array_equal(wide(imported).to_numpy(), [[1.5, 2.0], [3.0, 4.0]])
    assert set(imported.llms["family"].to_pylist()) == {"o"}


GOOD = 'id,o/a,o/b\n"x,1",1,2\ny,3,4\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n" + GOOD.encode(), "line 1 is blank; the header must be the first line"),
        (GOOD.encode("utf-16"), "it is UTF-16 or binary, not UTF-8"),
        (GOOD.encode("utf-16-le"), "it is UTF-16 or binary, not UTF-8"),
        (gzip.compress(GOOD.encode(), mtime=0), "its content is gzip, whatever its name says"),
        (b"id;o/a;o/b\nx;1,5;2,5\n", "separated by semicolons, not by commas"),
        (b"id\to/a\nx\t1\n", "separated by tabs, not by commas"),
        (b'id,o/a\nx,"1,5"\ny,"2,5"\n', r"'1,5' in column o/a at x.*decimal points \(0\.5\)"),
        (
            b"id,x.org,y.org\no/a,1,2\no/b,3,4\n",
            r"has its LLMs as rows \('o/a', \.\.\.\).*transpose",
        ),
        (b"llm,x.org\no/a,1\n", "first column of .* is 'llm'.*if its rows are the LLMs, transpose"),
        (b"id,o/a\nx," + b"9" * 5000 + b"\n", "(negative or infinite|without a number)"),
        (b"id,o/a\nx," + b"a" * 5000 + b"\n", r"'a{60}\.\.\.' in column o/a at x"),
        (b"id,o/a,o/b\nx,1\n", "each line needs 3 fields as the header has"),
        (b"id," + b"o" * 5000 + b"\nx,1\n", r"'o{50}\.\.\.' names no LLM"),
        (b"id," + b"(" * 900 + b"\nx,1\n", "names no LLM"),
        (b"id,o/a\n\xff\xfe,1\n", "in UTF-8"),
    ],
)
def test_odd_files_are_named_for_what_they_are(
    tmp_path: Path, content: bytes, message: str
) -> None:
    good = write_csv(tmp_path / "errors.csv", "benchmark", LLMS, ERRORS)
    path = tmp_path / "bpb.csv"
    path.write_bytes(content)
    with pytest.raises(PcorrError, match=message) as caught:
        import_published("s", MatrixCsv(bpb=path, errors=good, level="page"), 0.05)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    good = write_csv(tmp_path / "errors.csv", "benchmark", LLMS, ERRORS)
    os.mkfifo(tmp_path / "bpb.csv")
    with pytest.raises(PcorrError, match="a folder or a pipe"):
        import_published("s", MatrixCsv(bpb=tmp_path / "bpb.csv", errors=good), 0.05)
