"""Files notice when a bit of them changes, and what follows from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.errors import DamagedFileError
from pcorr_assets.warehouse import Warehouse, connect
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.json_files import read_json, write_json
from pcorr_assets.warehouse.parquet_files import open_parquet, read_parquet, write_parquet
from pcorr_assets.warehouse.verification import verify_home
from pcorr_assets_tests.damage import MADE_AGAIN, DamagedHome, flip_bits

ROWS = pa.table({"text": [f"pcorr-seal-1: {n}" for n in range(40)], "number": [*range(40)]})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> DamagedHome:
    return DamagedHome(tmp_path_factory.mktemp("damage"))


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def errors(target: str = "t") -> pa.Table:
    return pa.table(
        {"target": [target], "source": ["lm_eval"], "llm": ["a/b"], "family": ["a"], "error": [0.5]}
    )


def test_no_flipped_bit_is_silent_or_raw(world: DamagedHome) -> None:
    tally = flip_bits(world, 270, seed=5)
    assert tally.bad == []
    again = {kind for kind, outcome in tally.outcomes if outcome == MADE_AGAIN}
    assert again == {"schema", "shard", "kept result", "cache"}
    assert verify_home(world.home).damaged == []


def test_every_part_of_a_file_is_guarded(tmp_path: Path) -> None:
    parquet, plain = tmp_path / "a.parquet", tmp_path / "a.json"
    write_parquet(parquet, ROWS, {"note": "pcorr-seal-1:"})
    write_json(plain, {"a": [1.5, "ü"], "content": {"b": None}})
    for path, read in ((parquet, read_parquet), (plain, read_json)):
        whole = path.read_bytes()
        for place in range(0, len(whole), 2):
            flip(path, place, place % 8)
            with pytest.raises(DamagedFileError):
                read(path)
            path.write_bytes(whole)
        read(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_no_word_for_is_never_written(tmp_path: Path, number: float) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": [{"b": number}]})
    assert read_json(path) == {"a": 1}


def test_a_sealed_file_is_plain_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, ROWS, {"note": "ü"})
    assert pq.read_table(path, page_checksum_verification=True).equals(ROWS)
    assert duckdb.read_parquet(str(path)).to_arrow_table().equals(ROWS)
    assert read_parquet(path) == (ROWS, {"note": "ü"})
    moved = path.rename(tmp_path / "b.parquet")
    assert read_parquet(moved)[0].equals(ROWS)
    content = moved.read_bytes()
    write_parquet(moved, ROWS, {"note": "ü"})
    assert moved.read_bytes() == content


def test_files_of_earlier_versions_are_read_and_not_called_damaged(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    path = wh.write("error_vectors", ("t",), errors()).path
    pq.write_table(errors(), path)
    note = tmp_path / "cache" / "old.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"a": 1}))
    assert wh.read("error_vectors", "t").equals(errors())
    assert read_json(note) == {"a": 1}
    found = verify_home(tmp_path)
    assert found.damaged == []
    assert found.without_hash == [note, path]


def test_rows_that_others_wrote_with_the_metadata_of_ours_are_no_damage(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_parquet(ours, ROWS, {"note": "x"})
    pq.write_table(pq.read_table(ours).slice(3), theirs)
    assert read_parquet(theirs)[0].num_rows == 37
    ours.write_bytes(ours.read_bytes()[:-400] + theirs.read_bytes()[-400:])
    with pytest.raises(DamagedFileError):
        read_parquet(ours)


def test_metadata_needs_the_footer_alone_and_rows_all_of_it(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    written = wh.write("error_vectors", ("t",), errors(), {"note": "x"})
    assert written.sha256 == sha256_file(written.path)
    flip(written.path, 20)
    assert wh.metadata("error_vectors", "t") == {"note": "x"}
    assert wh.row_count("error_vectors", "t") == 1
    with pytest.raises(DamagedFileError, match=r"materialise partition t of error_vectors again"):
        wh.read("error_vectors", "t")
    with pytest.raises(DamagedFileError):
        wh.verified("error_vectors", "t")
    (named,) = verify_home(tmp_path).damaged
    assert named.path == written.path
    assert "materialise partition t of error_vectors again" in str(named)


def test_a_page_that_changes_after_the_file_was_opened_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, ROWS)
    with open_parquet(path) as file:
        with path.open("r+b") as same:
            same.seek(60)
            same.write(b"\xff" * 4)
        with pytest.raises(OSError, match=r"(?i)crc"):
            file.read()


def test_a_damaged_database_of_views_is_written_again(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    wh.write("error_vectors", ("t",), errors())
    database = tmp_path / "pcorr.duckdb"
    flip(database, 5000)
    (named,) = verify_home(tmp_path).damaged
    assert named.path == database
    # Another process: this one wrote the file, and knows it.
    code = (
        "import sys; from pathlib import Path; from pcorr_assets.warehouse.views import "
        "ensure_layout; ensure_layout(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert f"{database} is damaged and is written again" in done.stderr
    with duckdb.connect(str(database), read_only=True) as views:
        assert views.sql("SELECT count(*) FROM error_vectors").fetchall() == [(1,)]
    assert connect(tmp_path).sql("SELECT llm FROM error_vectors").fetchall() == [("a/b",)]
