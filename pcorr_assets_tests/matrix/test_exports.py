"""Published files that are written here, and come back as what they were."""

from __future__ import annotations

import csv
import math
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.config import MatrixCsv, Target
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix import (
    ImportedMatrix,
    assemble,
    error_vector,
    import_published,
    read_matrix,
)
from pcorr_assets.matrix.exports import PublishedFiles, export_published
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.warehouse import TABLES, Warehouse

IMPORTED_TABLES = ("bpb_matrix", "matrix_coverage", "llms", "benchmark_errors")
FORMATS = ("csv", "parquet")


def header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


def imported(files: PublishedFiles, sample: str = "s") -> ImportedMatrix:
    paths = {"bpb": files.bpb, "errors": files.errors, "level": files.level}
    return import_published(sample, MatrixCsv.model_validate(paths), 0.5)


def own_errors(rows: dict[str, dict[str, float]], **values: object) -> dict[str, pa.Table]:
    """Own evaluations by LLM."""
    common = {"source": "lm_eval", "metric": "acc", "settings_sha256": "now"}
    pinned = {"commit_sha": "c1", "dtype": "float32"}
    return {
        llm: pa.Table.from_pylist(
            [
                {"llm": llm, "benchmark": name, "error": error, **common, **pinned, **values}
                for name, error in errors.items()
            ],
            schema=TABLES["benchmark_errors"].schema,
        )
        for llm, errors in rows.items()
    }


@pytest.mark.parametrize("format", FORMATS)
def test_the_published_files_come_back_as_they_were(
    published_data: Path, tmp_path: Path, format: str
) -> None:
    original = MatrixCsv(
        bpb=published_data / "bpb_by_page.csv",
        errors=published_data / "benchmark_errors.csv",
        level="page",
    )
    first = import_published("p", original, 0.05)
    wh = Warehouse(tmp_path / "home")
    first.write(wh)
    files = export_published(wh, "p", tmp_path / "out", "page", format)
    assert (files.llm_count, files.unit_count, files.benchmark_count) == (90, 263, 9)
    assert files.report == []
    again = imported(files, "p")
    for table in IMPORTED_TABLES:
        assert getattr(again, table).equals(getattr(first, table)), table
    if format == "csv":
        for path, published in ((files.bpb, original.bpb), (files.errors, original.errors)):
            assert path.name == Path(published).name
            assert sorted(header(path)) == sorted(header(Path(published)))
            exact = pd.read_csv(published, index_col=0)
            written = pd.read_csv(path, index_col=0)
            assert (written == exact.loc[written.index, written.columns]).all(axis=None)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("level", ["chunk", "page", "domain"])
def test_own_llms_have_equal_estimates_by_all_estimators(
    make_world: Callable, tmp_path: Path, level: str, format: str
) -> None:
    rng = np.random.default_rng(3)
    world = make_world(
        [f"p{i // 2}" for i in range(24)],
        [f"d{i // 6}" for i in range(24)],
        rng.integers(20, 90, 24).tolist(),
    )
    llms = [f"fam{i}-org/llm" for i in range(7)] + ["fam0-org/llm@step1000", "fam1-org/llm@v1.0"]
    for llm in llms:
        loss = rng.normal(3, 0.3, 24)
        loss[5] = np.nan
        world.score(llm, loss)
    errors = {llm: {"acc": rng.random(), "ppl": 10 ** rng.uniform(0, 6)} for llm in llms}
    for llm, table in own_errors(errors).items():
        world.wh.write("benchmark_errors", (llm,), table)
    assemble(world.wh, "web", llms, 0.5).write()
    files = export_published(world.wh, "web", tmp_path / "out", level, format)
    assert "left the matrix for all" in files.report[0]
    other = Warehouse(tmp_path / "other")
    imported(files).write(other)

    before, after = read_matrix(world.wh, "web", level), read_matrix(other, "s", level)
    assert after.llms == before.llms == sorted(llms)
    assert after.units.equals(before.units)
    assert after.X.tobytes() == before.X.tobytes()
    target = Target(benchmarks=["acc", "ppl"])
    vectors = []
    for warehouse in (world.wh, other):
        vector = error_vector(
            "t",
            target,
            warehouse.read_all("benchmark_errors"),
            warehouse.read_all("llms"),
            expected_settings={"acc": "now", "ppl": "now"},
        ).table
        vectors.append(
            dict(zip(vector["llm"].to_pylist(), vector["error"].to_pylist(), strict=True))
        )
    assert vectors[0] == vectors[1]
    y = np.array([vectors[1][llm] for llm in after.llms])
    ours, theirs = (estimate_all(view.X, y[:, None]) for view in (before, after))
    for name, values in ours.items():
        assert values.tobytes() == theirs[name].tobytes(), name
    families = other.read("llms", "imported", "s").to_pandas().set_index("llm")["family"]
    assert families.to_dict() == {llm: llm.split("-")[0] for llm in llms}


def write_import(
    wh: Warehouse,
    matrix: dict[str, list[float]],
    units: list[str],
    errors: dict[str, dict[str, float]],
    families: dict[str, str] | None = None,
) -> None:
    """A sample `s` at level page, as an import writes it: `matrix[llm]` in the order of units."""
    order = sorted(range(len(units)), key=lambda d: units[d].encode())
    by_table: dict[str, list[dict[str, object]]] = {
        "bpb_matrix": [],
        "matrix_coverage": [
            {"llm": llm, "included": llm in matrix, "nan_count": 0}
            for llm in sorted({*matrix, *errors})
        ],
        "llms": [
            {
                "llm": llm,
                "source": "s",
                "family": (families or {}).get(llm, "f"),
                "name": llm,
                "revision": "main",
            }
            for llm in sorted({*matrix, *errors})
        ],
        "benchmark_errors": [
            {"llm": llm, "source": "s", "benchmark": name, "metric": "imported", "error": error}
            for llm, cells in errors.items()
            for name, error in cells.items()
        ],
    }
    with wh.writer("bpb_matrix", ("s",)) as writer:
        for llm in sorted(matrix):
            rows = [
                {
                    "sample": "s",
                    "level": "page",
                    "unit": units[d],
                    "llm": llm,
                    "bpb": matrix[llm][d],
                }
                for d in order
            ]
            writer.write(pa.Table.from_pylist(rows, schema=TABLES["bpb_matrix"].schema))
    for table in ("matrix_coverage", "llms", "benchmark_errors"):
        keys = ("s",) if table == "matrix_coverage" else ("imported", "s")
        own = {"sample": "s"} if table == "matrix_coverage" else {}
        rows = [{**own, **row} for row in by_table[table]]
        wh.write(table, keys, pa.Table.from_pylist(rows, schema=TABLES[table].schema))


names = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="@+"), min_size=1, max_size=8
)
unit_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: bool(text.strip())
)
bpb_values = st.floats(0, 1e300, allow_subnormal=True)


@pytest.fixture(scope="module")
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A home that every example writes over."""
    return Warehouse(tmp_path_factory.mktemp("home"))


@settings(max_examples=30)
@given(data=st.data())
@pytest.mark.parametrize("format", FORMATS)
def test_any_number_and_any_name_comes_back(
    one_home: Warehouse, format: str, data: st.DataObject
) -> None:
    llms = data.draw(st.lists(names, min_size=1, max_size=4, unique=True))
    llms = [llm for llm in llms if not llm.rpartition("_step")[2].isdecimal()] or ["org/llm"]
    units = data.draw(st.lists(unit_names, min_size=1, max_size=5, unique=True))
    numbers = st.lists(bpb_values, min_size=len(units), max_size=len(units))
    matrix = {llm: data.draw(numbers) for llm in llms}
    finite = st.floats(allow_nan=False, allow_infinity=False)
    errors = {llm: {"b, 1": data.draw(finite), 'b"2': data.draw(finite)} for llm in llms}
    families = {llm: data.draw(names) for llm in llms}
    write_import(one_home, matrix, units, errors, families)
    files = export_published(one_home, "s", one_home.home / "out", "page", format)
    assert files.report == []
    again = imported(files)
    for table in ("bpb_matrix", "benchmark_errors"):
        keys = ("s",) if table == "bpb_matrix" else ("imported", "s")
        order = [(name, "ascending") for name in TABLES[table].unique_key]
        written = one_home.read(table, *keys).sort_by(order)
        assert getattr(again, table).sort_by(order).equals(written)
    assert {row["llm"]: row["family"] for row in again.llms.to_pylist()} == families


@pytest.mark.parametrize("format", FORMATS)
def test_names_of_units_that_look_like_something_else(one_home: Warehouse, format: str) -> None:
    units = [
        "a\r\nb",
        "a\nb",
        "a\rb",
        "\0",
        "\ufeffx",
        ' "q"',
        "NA",
        "null",
        "1.50",
        "'",
        " a",
        "a",
    ]
    write_import(one_home, {"o/a": [1.0] * len(units)}, units, {"o/a": {"b": 0.5}})
    files = export_published(one_home, "s", one_home.home / "out", "page", format)
    found = imported(files).bpb_matrix["unit"].to_pylist()
    assert found == sorted(units, key=str.encode)


def test_a_name_under_two_families_and_a_checkpoint(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    families = {"o/a": "first", "o/a+second": "second", "o/a@step5": "first", "o/a@step5+x": "x"}
    matrix = {llm: [1.0 + n] for n, llm in enumerate(families)}
    write_import(wh, matrix, ["u"], {llm: {"b": 0.5} for llm in families}, families)
    files = export_published(wh, "s", tmp_path, "page")
    assert header(files.bpb) == [
        "id",
        "('first', 'o/a')",
        "('second', 'o/a')",
        "('first', 'o/a_step5')",
        "('x', 'o/a_step5')",
    ]
    assert files.report == []
    found = {row["llm"]: row for row in imported(files).llms.to_pylist()}
    assert {llm: row["family"] for llm, row in found.items()} == families
    assert {row["name"] for row in found.values()} == {"o/a"}


def test_a_key_that_the_format_has_no_name_for(tmp_path: Path) -> None:
    """`_step5` at the end of a local key reads as a checkpoint: said, or refused if taken."""
    wh = Warehouse(tmp_path)
    errors = {llm: {"b": 0.5} for llm in ("o/a_step5", "o/b")}
    write_import(wh, {"o/a_step5": [1.0], "o/b": [2.0]}, ["u"], errors)
    files = export_published(wh, "s", tmp_path, "page")
    (said,) = files.report
    assert said.startswith("o/a_step5 comes back as o/a@step5:")
    assert {row["llm"] for row in imported(files).llms.to_pylist()} == {"o/a@step5", "o/b"}

    errors["o/a@step5"] = {"b": 0.5}
    write_import(wh, {"o/a_step5": [1.0], "o/a@step5": [2.0]}, ["u"], errors)
    with pytest.raises(PcorrError, match=r"o/a@step5, o/a_step5 cannot stand in one file"):
        export_published(wh, "s", tmp_path, "page")


def test_missing_errors_are_empty_cells(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    errors = {"o/a": {"b": 0.5, "c": 0.25}, "o/b": {"c": 6e5}}
    write_import(wh, {"o/a": [1.0], "o/b": [2.0], "o/c": [3.0]}, ["u"], errors)
    files = export_published(wh, "s", tmp_path, "page")
    assert files.errors.read_text().splitlines() == [
        "benchmark,\"('f', 'o/a')\",\"('f', 'o/b')\"",
        '"b",0.5,',
        '"c",0.25,600000',
    ]
    found = imported(files).benchmark_errors.to_pylist()
    assert [(row["llm"], row["benchmark"], row["error"]) for row in found] == [
        ("o/a", "b", 0.5),
        ("o/a", "c", 0.25),
        ("o/b", "c", 6e5),
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_llms_outside_of_the_matrix_count_for_ranks(tmp_path: Path, format: str) -> None:
    wh = Warehouse(tmp_path / "home")
    errors = {
        "o/a": {"b": 0.1, "c": 0.9},
        "o/b": {"b": 0.3, "c": 0.5},
        "o/c": {"b": 0.4, "c": 0.1},
        "o/out": {"b": 0.2, "c": 0.2},
    }
    write_import(wh, {llm: [1.0] for llm in errors if llm != "o/out"}, ["u"], errors)
    files = export_published(wh, "s", tmp_path, "page", format)
    assert files.llm_count == 3
    assert files.report == [
        "1 LLM with errors and without a place in the matrix got an empty column of BPB: o/out."
    ]
    again = imported(files)
    assert again.matrix_coverage.to_pandas().set_index("llm")["included"].to_dict() == {
        llm: llm != "o/out" for llm in errors
    }
    target = Target(benchmarks=["b", "c"], combine="mean_rank")
    before, after = (
        error_vector("t", target, found, llms, expected_settings={}).table
        for found, llms in (
            (wh.read_all("benchmark_errors"), wh.read_all("llms")),
            (again.benchmark_errors, again.llms),
        )
    )
    assert after.equals(before)


def test_outdated_and_removed_evaluations_stay_at_home(
    make_world: Callable, tmp_path: Path
) -> None:
    world = make_world(["p0", "p1"])
    for llm in ("a-x", "b-x", "c-x"):
        world.score(llm, [1.0, 2.0])
    tables = own_errors({llm: {"b": 0.5, "c": 0.25} for llm in ("a-x", "b-x", "c-x")})
    tables["b-x"] = own_errors({"b-x": {"b": 0.5}}, settings_sha256="then")["b-x"]
    for llm, table in tables.items():
        world.wh.write("benchmark_errors", (llm,), table)
    assemble(world.wh, "web", ["a-x", "b-x"], 0.5).write()
    files = export_published(
        world.wh, "web", tmp_path, "page", expected_settings={"b": "now", "c": "now"}
    )
    assert header(files.errors) == ["benchmark", "('a', 'a-x')"]
    assert header(files.bpb) == ["id", "('a', 'a-x')", "('b', 'b-x')"]
    (said,) = files.report
    assert said.startswith("The error of b-x on b is left out: its result on b is outdated")
    all_of_them = export_published(world.wh, "web", tmp_path, "page")
    assert header(all_of_them.errors) == ["benchmark", "('a', 'a-x')", "('b', 'b-x')"]


def test_what_cannot_be_exported_is_named(make_world: Callable, tmp_path: Path) -> None:
    wh = Warehouse(tmp_path / "home")
    write_import(wh, {"o/a": [1.0, 2.0]}, [" ", "u"], {"o/a": {"b": 0.5}})
    with pytest.raises(PcorrError, match="1 page with a blank name"):
        export_published(wh, "s", tmp_path, "page")
    with pytest.raises(PcorrError, match="no level 'domain'"):
        export_published(wh, "s", tmp_path, "domain")
    with pytest.raises(PcorrError, match="'xlsx' is no format"):
        export_published(wh, "s", tmp_path, "page", "xlsx")
    with pytest.raises(PcorrError, match="partition other is not there"):
        export_published(wh, "other", tmp_path, "page")
    lost = Warehouse(tmp_path / "without-llms")
    write_import(lost, {"o/a": [1.0], "o/b": [2.0]}, ["u"], {"o/a": {"b": 0.5}})
    known = lost.read("llms", "imported", "s")
    lost.write("llms", ("imported", "s"), known.slice(0, 1))
    with pytest.raises(PcorrError, match="llms does not know o/b"):
        export_published(lost, "s", tmp_path, "page")
    world = make_world(["p0"], folder="without-errors")
    world.score("a-x", [1.0])
    assemble(world.wh, "web", ["a-x"], 0.5).write()
    with pytest.raises(PcorrError, match="materialise benchmark_errors first"):
        export_published(world.wh, "web", tmp_path, "page")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_failure_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pcorr_assets.matrix import exports

    wh = Warehouse(tmp_path / "home")
    write_import(wh, {"o/a": [1.0]}, ["u"], {"o/a": {"b": 0.5}})
    files = export_published(wh, "s", tmp_path, "page")
    content = files.bpb.read_bytes()
    write_import(wh, {"o/a": [math.pi]}, ["u"], {"o/a": {"b": 0.5}})

    def broken(*_: object) -> object:
        yield pa.table({"0": ["u"], "1": [1.5]})
        raise OSError("disk full")

    monkeypatch.setattr(exports, "_bpb_tables", broken)
    with pytest.raises(OSError, match="disk full"):
        export_published(wh, "s", tmp_path, "page")
    assert files.bpb.read_bytes() == content
    assert not list(tmp_path.glob(".*"))


def test_many_units_are_written_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pcorr_assets.matrix import exports

    monkeypatch.setattr(exports, "CELLS_AT_ONCE", 7)
    wh = Warehouse(tmp_path / "home")
    units = [f"{letter}{n}" for letter in string.ascii_lowercase for n in range(5)]
    matrix = {f"o/{k}": [k + d / 7 for d in range(len(units))] for k in range(3)}
    write_import(wh, matrix, units, {llm: {"b": 0.5} for llm in matrix})
    for format in FORMATS:
        again = imported(export_published(wh, "s", tmp_path, "page", format))
        assert again.bpb_matrix.combine_chunks().equals(wh.read("bpb_matrix", "s").combine_chunks())
