"""The exported database, opened by somebody who has nothing else."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse import export as export_module
from pcorr_assets.warehouse.export import ExportedDatabase, export_database

HOSTILE = "o'r\"g/na;me--@rev+%2F"
SECRET = "the text nobody may see"


def rows(table: str, *records: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(records), schema=TABLES[table].schema)


def llm(key: str, source: str = "lm_eval", **values: object) -> pa.Table:
    record = {"llm": key, "source": source, "family": "f", "name": key, "revision": "main"}
    return rows("llms", {**record, **values})


def scored(key: str, losses: list[float], sample: str = "s") -> pa.Table:
    return rows(
        "chunk_bpb",
        *(
            {
                "sample": sample,
                "llm": key,
                "chunk_id": f"c{n}",
                "loss": loss,
                "token_count": 3,
                "byte_count": 9,
                "bpb": loss / 2,
                "unk_count": 0,
            }
            for n, loss in enumerate(losses)
        ),
    )


def errors(target: str, source: str, **by_llm: float) -> pa.Table:
    return rows(
        "error_vectors",
        *(
            {"target": target, "source": source, "llm": key, "family": "f", "error": error}
            for key, error in by_llm.items()
        ),
    )


def chunk(text: str) -> pa.Table:
    record = {"sample": "s", "chunk_id": "c0", "page_id": "p", "chunk_index": 0, "domain": None}
    return rows(
        "chunks", {**record, "text": text, "byte_count": len(text), "reference_token_count": 2}
    )


@pytest.fixture
def wh(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "home")
    warehouse.write("chunks", ("s",), chunk(SECRET), {"chunks_sha256": "abc"})
    warehouse.write("llms", (HOSTILE,), llm(HOSTILE, commit_sha="c0ffee", dtype="bfloat16"))
    notes = {"chunks_sha256": "abc", "dtype": "bfloat16", "manifest": "/private/path"}
    warehouse.write("chunk_bpb", (HOSTILE, "s"), scored(HOSTILE, [1.0, 2.0]), notes)
    return warehouse


def export(wh: Warehouse, path: Path, **options: object) -> ExportedDatabase:
    return export_database(wh.home, path, **{"provenance": {}, **options})


@contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def test_every_table_is_there_with_its_rows_and_what_each_column_means(
    wh: Warehouse, tmp_path: Path
) -> None:
    exported = export(wh, tmp_path / "out" / "x.duckdb")
    assert exported.row_counts == {**dict.fromkeys(TABLES, 0), "chunks": 1, "llms": 1} | {
        "chunk_bpb": 2
    }
    shutil.rmtree(wh.home)
    texts = {
        "chunks": {"text"}, "contaminated_chunks": {"words"}, "pool_scores": {"shared_words"},
    }  # fmt: skip
    with opened(exported.path) as db:
        for name, table in TABLES.items():
            described = {
                column: (kind, comment)
                for column, kind, comment in db.execute(
                    "SELECT column_name, data_type, comment FROM duckdb_columns() "
                    "WHERE table_name = ? ORDER BY column_index",
                    [name],
                ).fetchall()
            }
            left_out = texts.get(name, set())
            assert [*described] == [c.name for c in table.columns if c.name not in left_out]
            for column in table.columns:
                if column.name not in left_out:
                    assert column.description in described[column.name][1]
                    assert column.unit in described[column.name][1]
            (note,) = db.execute(
                "SELECT comment FROM duckdb_tables() WHERE table_name = ?", [name]
            ).fetchall()
            assert note == (table.description,)
        assert db.execute("SELECT chunk_id, loss, bpb FROM chunk_bpb").fetchall() == [
            ("c0", 1.0, 0.5),
            ("c1", 2.0, 1.0),
        ]
        assert db.execute("SELECT llm, commit_sha, dtype FROM llms").fetchall() == [
            (HOSTILE, "c0ffee", "bfloat16")
        ]


def test_rows_keep_their_order(wh: Warehouse, tmp_path: Path) -> None:
    """Those of chunk_bpb are in the order of the chunks, which their ids do not tell."""
    losses = [float(n * 7919 % 50_021) for n in range(50_021)]
    losses[7] = math.nan
    wh.write("chunk_bpb", ("a/b", "s"), scored("a/b", losses))
    with opened(export(wh, tmp_path / "x.duckdb").path) as db:
        found = db.execute("SELECT loss FROM chunk_bpb WHERE llm = 'a/b'").fetchall()
    np.testing.assert_array_equal([loss for (loss,) in found], losses)


@pytest.mark.parametrize("name", ["it's", 'a "b"', "a;--b", "x [y] *", "{a,b}", "ü%2F"])
def test_any_home_and_any_path(tmp_path: Path, name: str) -> None:
    warehouse = Warehouse(tmp_path / name / "home")
    warehouse.write("llms", (HOSTILE,), llm(HOSTILE))
    exported = export(warehouse, tmp_path / f"out {name}" / f"{name}.duckdb")
    with opened(exported.path) as db:
        assert db.execute("SELECT llm FROM llms").fetchall() == [(HOSTILE,)]
        (source,) = db.execute("SELECT value FROM README WHERE section = 'llm'").fetchall()
    assert source == (
        f"commit unknown, dtype unknown; {HOSTILE}, revision main, family f; scored here",
    )


def test_text_only_where_asked_for(wh: Warehouse, tmp_path: Path) -> None:
    without = export(wh, tmp_path / "x.duckdb")
    assert SECRET.encode() not in without.path.read_bytes()
    assert b"/private/path" not in without.path.read_bytes()
    with_text = export(wh, tmp_path / "y.duckdb", include_text=True)
    assert SECRET.encode() in with_text.path.read_bytes()
    with opened(with_text.path) as db:
        assert db.execute("SELECT text FROM chunks").fetchall() == [(SECRET,)]
    assert without.inputs_sha256 != with_text.inputs_sha256


def test_provenance_and_files_are_noted(wh: Warehouse, tmp_path: Path) -> None:
    provenance = {"configuration": {"pcorr.yaml": "home: it's\n"}, "version": {"numpy": "2"}}
    exported = export(wh, tmp_path / "x.duckdb", provenance=provenance)
    with opened(exported.path) as db:
        assert db.execute(
            "SELECT section, name, value FROM README WHERE section IN ('configuration', 'version')"
        ).fetchall() == [("configuration", "pcorr.yaml", "home: it's\n"), ("version", "numpy", "2")]
        found = db.execute(
            "SELECT row_count, byte_count, sha256, notes FROM partition_files "
            "WHERE table_name = 'chunk_bpb' AND partition_key = ?",
            [f"{HOSTILE}|s"],
        ).fetchall()
    written = wh.written("chunk_bpb", HOSTILE, "s")
    notes = '{"chunks_sha256": "abc", "dtype": "bfloat16"}'
    assert found == [(2, written.byte_count, written.sha256, notes)]


def test_a_file_for_all_duckdb_since_1_2(wh: Warehouse, tmp_path: Path) -> None:
    exported = export(wh, tmp_path / "x.duckdb")
    with opened(exported.path) as db:
        (tags,) = db.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = 'x'"
        ).fetchall()
    assert tags[0]["storage_version"].startswith("v1.2.0")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".x.duckdb.lock",
        "home",
        "x.duckdb",
    ]


def test_the_same_inputs_have_the_same_hash(wh: Warehouse, tmp_path: Path) -> None:
    first = export(wh, tmp_path / "x.duckdb")
    assert export(wh, tmp_path / "y.duckdb").inputs_sha256 == first.inputs_sha256
    other = export(wh, tmp_path / "x.duckdb", provenance={"a": {"b": "c"}})
    assert other.inputs_sha256 != first.inputs_sha256
    wh.write("chunk_bpb", (HOSTILE, "s"), scored(HOSTILE, [1.0, 2.5]))
    assert export(wh, tmp_path / "x.duckdb").inputs_sha256 != first.inputs_sha256


def test_who_has_the_old_file_open_goes_on_reading_it(wh: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    export(wh, path)
    with opened(path) as reader:
        wh.write("chunk_bpb", ("a/b", "s"), scored("a/b", [3.0]))
        export(wh, path)
        assert reader.execute("SELECT count(*) FROM chunk_bpb").fetchone() == (2,)
    with opened(path) as db:
        assert db.execute("SELECT count(*) FROM chunk_bpb").fetchone() == (3,)


def test_a_writer_of_the_old_file_is_not_run_over(wh: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    export(wh, path)
    with duckdb.connect(str(path)) as writer:
        writer.execute("CREATE TABLE mine (n INTEGER)")
        assert path.with_name("x.duckdb.wal").exists()
        with pytest.raises(PcorrError, match=r"open for writing somewhere.*x\.duckdb\.wal"):
            export(wh, path)
    assert export(wh, path).row_counts["chunk_bpb"] == 2


def test_a_partition_replaced_meanwhile_is_copied_again(
    wh: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that came and one that went, and an import is not its LLM's own row."""
    wh.write("llms", ("imported", "s2"), llm(HOSTILE, source="s2", commit_sha="imported"))
    wh.write("llms", ("gone/soon",), llm("gone/soon"))
    original, copied = export_module._copy_file, []

    def then_replace(connection: object, table: object, *rest: object) -> object:
        part = original(connection, table, *rest)  # type: ignore[arg-type]
        copied.append(part)
        if len(copied) == 5:
            wh.write("llms", (HOSTILE,), llm(HOSTILE, commit_sha="newer"))
            wh.write("llms", ("new/one",), llm("new/one"))
            wh.path("llms", "gone/soon").unlink()
        return part

    monkeypatch.setattr(export_module, "_copy_file", then_replace)
    exported = export(wh, tmp_path / "x.duckdb")
    assert len(copied) == 7
    assert exported.unsettled == ()
    with opened(exported.path) as db:
        assert db.execute("SELECT llm, source, commit_sha FROM llms ORDER BY ALL").fetchall() == [
            ("new/one", "lm_eval", None),
            (HOSTILE, "lm_eval", "newer"),
            (HOSTILE, "s2", "imported"),
        ]
    assert exported.row_counts["llms"] == 3


def test_what_never_stands_still_is_exported_and_named(
    wh: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export_module._copy_file

    def then_replace(connection: object, table: object, *rest: object) -> object:
        part = original(connection, table, *rest)  # type: ignore[arg-type]
        wh.write("chunk_bpb", (HOSTILE, "s"), scored(HOSTILE, [1.0, 2.0, time.time()]))
        return part

    monkeypatch.setattr(export_module, "_copy_file", then_replace)
    exported = export(wh, tmp_path / "x.duckdb")
    assert exported.unsettled == (f"chunk_bpb {HOSTILE}|s",)
    with opened(exported.path) as db:
        assert db.execute("SELECT count(*) FROM chunk_bpb").fetchone() == (3,)
        (said,) = db.execute("SELECT value FROM README WHERE name LIKE 'written again%'").fetchall()
    assert f"chunk_bpb {HOSTILE}|s" in said[0]


def test_a_crash_in_the_middle_leaves_the_old_file(wh: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    before = export(wh, path)
    code = f"""
        import os, sys
        from pcorr_assets.warehouse import export
        export._describe = lambda *rest: os.kill(os.getpid(), 9)
        export.export_database({str(wh.home)!r}, {str(path)!r}, provenance={{}})
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert killed.returncode == -9
    (left,) = tmp_path.glob(".x.duckdb.*.writing")
    log = left.with_name(f"{left.name}.wal")
    log.touch()
    of_another = left.with_name(left.name.replace(".x.duckdb.", ".x.duckdb.old."))
    of_another.touch()
    with opened(path) as db:
        assert db.execute("SELECT count(*) FROM chunk_bpb").fetchone() == (2,)
    after = export(wh, path)
    assert after.inputs_sha256 == before.inputs_sha256
    assert not left.exists()
    assert not log.exists()
    assert of_another.exists(), "an export to x.duckdb.old may be under way"


@pytest.mark.parametrize("room", [8_000, 1_000_000])
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path, room: int) -> None:
    """A limit on the size of files ends the write as a full disk does."""
    script = textwrap.dedent(
        f"""
        import resource
        from pathlib import Path
        import numpy as np
        from pcorr_assets.errors import PcorrError
        from pcorr_assets.warehouse import Warehouse
        from pcorr_assets.warehouse.export import export_database
        from pcorr_assets_tests.warehouse.test_export import scored

        home, path = Path({str(tmp_path / "home")!r}), Path({str(tmp_path / "out.duckdb")!r})
        wh = Warehouse(home)
        wh.write("chunk_bpb", ("a", "s"), scored("a", [1.0]))
        export_database(home, path, provenance={{}})
        before = path.read_bytes()
        random = np.random.default_rng(0).random(200_000).tolist()
        wh.write("chunk_bpb", ("a", "s"), scored("a", random))
        resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
        try:
            export_database(home, path, provenance={{}})
        except PcorrError as error:
            print(error)
        assert path.read_bytes() == before
        """
    )
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert f"{tmp_path / 'out.duckdb'} could not be written (IO Error: " in said
    assert "make room on its disk" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".out.duckdb.lock",
        "home",
        "out.duckdb",
    ]


def test_a_damaged_partition_is_named_and_the_old_file_stays(wh: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    export(wh, path)
    content = path.read_bytes()
    broken = wh.path("chunk_bpb", HOSTILE, "s")
    whole = broken.read_bytes()
    for damage in (b"PAR1 no PAR1", whole[:40] + b"\xff" * 64 + whole[104:]):
        broken.write_bytes(damage)
        with pytest.raises(PcorrError, match="is damaged") as refused:
            export(wh, path)
        assert str(broken) in str(refused.value)
        assert "\n" not in str(refused.value)
    assert path.read_bytes() == content
    assert not list(tmp_path.glob(".x.duckdb.*.writing"))


def test_two_exports_to_one_file(
    wh: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.duckdb"
    original = export_module._describe

    def second(*rest: object) -> None:
        with pytest.raises(PcorrError, match=r"x\.duckdb is being materialised by run 1"):
            export(wh, path, holder="run 2")
        original(*rest)  # type: ignore[arg-type]

    monkeypatch.setattr(export_module, "_describe", second)
    assert export(wh, path, holder="run 1").path == path


def test_an_older_home_lacks_a_column(wh: Warehouse, tmp_path: Path) -> None:
    path = wh.path("llms", HOSTILE)
    pq.write_table(wh.read("llms", HOSTILE).drop_columns(["dtype"]), path)
    with opened(export(wh, tmp_path / "x.duckdb").path) as db:
        assert db.execute("SELECT llm, dtype FROM llms").fetchall() == [(HOSTILE, None)]


def test_no_home_and_no_file_are_named(wh: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(PcorrError, match="holds no warehouse"):
        export_database(tmp_path / "nowhere", tmp_path / "x.duckdb", provenance={})
    with pytest.raises(PcorrError, match="is a folder"):
        export(wh, tmp_path)
    with pytest.raises(PcorrError, match=r"'\?' in it"):
        export(wh, tmp_path / "x?.duckdb")
    assert not (tmp_path / "nowhere").exists()


def test_only_an_export_is_replaced(wh: Warehouse, tmp_path: Path) -> None:
    config = tmp_path / "pcorr.yaml"
    config.write_text("home: data\n")
    with pytest.raises(PcorrError, match=r"pcorr\.yaml is there and cannot be read as an exported"):
        export(wh, config)
    assert config.read_text() == "home: data\n"
    with duckdb.connect(str(tmp_path / "own.duckdb")) as own:
        own.execute("CREATE TABLE mine AS SELECT 42 AS n")
    for database in (tmp_path / "own.duckdb", wh.home / "pcorr.duckdb"):
        content = database.read_bytes()
        with pytest.raises(PcorrError, match="not one that an export wrote"):
            export(wh, database)
        assert database.read_bytes() == content
    (tmp_path / "empty").touch()
    assert export(wh, tmp_path / "empty").row_counts["chunk_bpb"] == 2


def test_own_and_imported_llms_of_one_key_stay_apart(wh: Warehouse, tmp_path: Path) -> None:
    """The view llms_used follows the errors that a sample's estimates are made from."""
    wh.write("llms", ("imported", "pub"), llm("o/a", source="pub"))
    wh.write("llms", ("o/a",), llm("o/a", commit_sha="own"))
    for sample in ("s", "pub"):
        record = {"sample": sample, "llm": "o/a", "included": True, "nan_count": 0}
        wh.write("matrix_coverage", (sample,), rows("matrix_coverage", record))
    both = [errors("t", "lm_eval", **{"o/a": 0.25}), errors("t", "pub", **{"o/a": 0.5})]
    wh.write("error_vectors", ("t",), pa.concat_tables(both))
    with opened(export(wh, tmp_path / "x.duckdb").path) as db:
        assert db.execute(
            "SELECT sample, llm, error, commit_sha FROM llms_used ORDER BY sample"
        ).fetchall() == [("pub", "o/a", 0.5, None), ("s", "o/a", 0.25, "own")]


def test_llms_that_a_target_leaves_out_for_their_nan_were_not_used(
    wh: Warehouse, tmp_path: Path
) -> None:
    covered = [
        {"sample": "s", "llm": key, "included": True, "chunk_count": 100, "nan_count": count}
        for key, count in (("o/a", 1), ("o/b", 4))
    ]
    wh.write("matrix_coverage", ("s",), rows("matrix_coverage", *covered))
    for target in ("strict", "other"):
        own = errors(target, "lm_eval", **{"o/a": 0.25, "o/b": 0.5})
        wh.write("error_vectors", (target,), own)
    noted = {"max_nan_fraction": {"strict": "0.02"}}
    with opened(export(wh, tmp_path / "x.duckdb", provenance=noted).path) as db:
        assert db.execute(
            "SELECT target, llm FROM llms_used WHERE sample = 's' ORDER BY ALL"
        ).fetchall() == [("other", "o/a"), ("other", "o/b"), ("strict", "o/a")]


@pytest.mark.parametrize("frequency", [None, 0.5])
def test_the_best_units_are_those_of_the_selected_estimator(
    wh: Warehouse, tmp_path: Path, frequency: float | None
) -> None:
    """Where no bootstrap was possible, the configuration says which estimator that is."""
    values = {"product": (1.0, 2.0), "sign": (0.4, 0.2)}
    records = [
        {
            "sample": "s",
            "target": "t'",
            "level": "domain",
            "unit": unit,
            "estimator": estimator,
            "estimate": values[estimator][position],
            "llm_count": 3,
            "selection_frequency": frequency if estimator == "sign" else None,
        }
        for estimator in values
        for position, unit in enumerate(("a'b", "c"))
    ]
    wh.write("estimates", ("s", "t'"), rows("estimates", *records))
    configured = "product" if frequency else "sign"
    exported = export(wh, tmp_path / "x.duckdb", provenance={"estimator": {"t'": configured}})
    with opened(exported.path) as db:
        for name, query in db.execute(
            "SELECT name, value FROM README WHERE section = 'query'"
        ).fetchall():
            found = db.execute(query).fetchall()
            if name.startswith("Which ten units"):
                assert found == [
                    (1, "a'b", 0.4, frequency, None, None),
                    (2, "c", 0.2, frequency, None, None),
                ]
