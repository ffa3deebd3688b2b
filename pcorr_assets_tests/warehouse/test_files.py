"""Atomic files: what killed writers leave, and disks that take nothing more."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from pcorr_assets.config import FastText
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.fitting import train_model
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.export import export_database
from pcorr_assets.warehouse.files import (
    atomic_path,
    remove_stale,
    scratch_folder,
    write_text,
    writing,
)
from pcorr_assets.warehouse.json_files import write_json
from pcorr_assets.warehouse.parquet_files import write_parquet

HOLD = """
import sys, time
from pathlib import Path
from pcorr_assets.warehouse.files import atomic_path, scratch_folder
folder = Path(sys.argv[1])
with scratch_folder(folder, ".training-") as scratch, atomic_path(folder / "a.txt") as temporary:
    (scratch / "half").write_text("x")
    temporary.write_text("half")
    print("holding", flush=True)
    time.sleep(600)
"""


def rows(count: int) -> pa.Table:
    return pa.table(
        {
            "target": ["t"] * count,
            "source": ["lm_eval"] * count,
            "llm": [f"org/llm-{i}-{hash(i * 0.1)}" for i in range(count)],
            "family": ["org"] * count,
            "error": [i / count for i in range(count)],
        }
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    run = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(run, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holding\n"
        held = names(tmp_path)
        assert len(held) == 2
        with scratch_folder(tmp_path, ".training-"):
            write_text(tmp_path / "b.txt", "b")
        remove_stale(tmp_path)
        assert names(tmp_path) == held | {"b.txt"}
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert names(tmp_path) == held | {"b.txt"}
    with scratch_folder(tmp_path, ".training-"):
        write_text(tmp_path / "a.txt", "a")
    assert names(tmp_path) == {"a.txt", "b.txt"}


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    for name in (".notes.tmp", "a.tmp", ".training-of-mine"):
        (tmp_path / name).write_text("x")
    before = names(tmp_path)
    with scratch_folder(tmp_path, ".training-"), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert names(tmp_path) == before | {"a.txt"}


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes: what a full disk does, anywhere."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def database(folder: Path) -> None:
    export_database(folder / "home", folder / "x.duckdb", provenance={})


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda folder: Warehouse(folder / "home").write("error_vectors", ("t",), rows(400)), "t"),
        (lambda folder: write_json(folder / "a.json", {"a": "b" * 5000}), "a.json"),
        (lambda folder: write_text(folder / "a.json", "b" * 5000), "a.json"),
        (database, "x.duckdb"),
    ],
    ids=["table", "json", "text", "database"],
)
def test_no_room_is_said_and_nothing_is_lost(
    tmp_path: Path, write: Callable[[Path], object], name: str
) -> None:
    Warehouse(tmp_path / "home").write("error_vectors", ("t",), rows(3))
    (tmp_path / "a.json").write_text("before")
    (tmp_path / ".x.duckdb.lock").touch()
    content = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with no_room_beyond(3000), pytest.raises(PcorrError, match=r"(could not|cannot) be") as refused:
        write(tmp_path)
    assert name in str(refused.value)
    assert "again" in str(refused.value)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    after[tmp_path / ".x.duckdb.lock"] = b""
    assert after == content


def test_a_filter_that_was_not_written_whole_is_no_filter(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("__label__include mast keel\n__label__exclude flour oven\n" * 20)
    settings = FastText.model_validate({"dim": 8, "bucket": 20_000, "epoch": 1})
    with (
        no_room_beyond(300_000),
        pytest.raises(PcorrError, match="its disk is full"),
        scratch_folder(tmp_path, ".training-") as scratch,
    ):
        train_model(corpus, settings, scratch / "model")
    assert names(tmp_path) == {"corpus.txt"}
    train_model(corpus, settings, tmp_path / "model", quantize=True)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "its disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
        (errno.EIO, "fault"),
    ],
)
def test_refusals_of_the_system_are_said_in_words(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "a.txt"
    said = rf"a\.txt cannot be written: .*{words}.*again\."
    with pytest.raises(PcorrError, match=said), writing(path):
        raise OSError(number, os.strerror(number), str(path))


def test_what_the_block_may_not_read_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), writing(tmp_path / "out" / "a.txt"):
        raise PermissionError(errno.EACCES, "no", "/elsewhere/secret")


READ_ONLY = """
import os, sys
from pathlib import Path
import duckdb, pyarrow.dataset
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import scratch_folder, write_text
home = Path(sys.argv[1])
if os.geteuid() == 0:  # whom no permission stops
    os.setegid(65534)
    os.seteuid(65534)
wh = Warehouse(home, with_database=False)

def lock():
    with wh.lock("estimates", "s", "t", holder="a run"):
        pass

def scratch():
    with scratch_folder(home / "filters", ".training-"):
        pass

table = wh.read("error_vectors", "t")
for do in (lambda: wh.write("error_vectors", ("t",), table), lock, scratch,
           lambda: write_text(home / "reports" / "a.html", "x")):
    try:
        do()
    except PcorrError as error:
        assert str(home) in str(error) and "may not write there" in str(error), error
    else:
        raise AssertionError("it could be written")
print("refused in words")
"""


def test_a_home_that_cannot_be_written_to_is_said_and_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Warehouse(home).write("error_vectors", ("t",), rows(3))
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    before = {path: path.stat().st_mode for path in [*tmp_path.parents, tmp_path, *folders]}
    above = [path for path in before if path not in folders and path.owner() == tmp_path.owner()]
    try:
        for path in folders:
            path.chmod(0o555)
        for path in above:  # another user must get there
            path.chmod(before[path] | 0o111)
        run = [sys.executable, "-c", READ_ONLY, str(home)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    finally:
        for path, mode in before.items():
            if path in folders or path in above:
                path.chmod(mode)
    assert done.stdout == "refused in words\n", done.stderr


def test_a_full_disk_in_the_middle_of_a_parquet_file(tmp_path: Path) -> None:
    with (
        no_room_beyond(3000),
        pytest.raises(PcorrError, match=r"a\.parquet cannot be written"),
        atomic_path(tmp_path / "a.parquet") as temporary,
    ):
        write_parquet(temporary, rows(2000))
    assert names(tmp_path) == set()


@pytest.mark.parametrize("cuts", [(1000,), (50_001, 90_000)])
def test_bytes_do_not_tell_in_which_pieces_rows_came(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    """Columns of several pages each, which Arrow would end where a piece ends."""
    count = 120_000
    hashes = [sha256(str(number).encode()).hexdigest() for number in range(count)]
    numbers = [number / 7 for number in range(count)]
    whole = pa.table({"hash": hashes, "number": numbers})
    edges = (0, *cuts, count)
    pieces = [whole.slice(start, stop - start) for start, stop in pairwise(edges)]
    write_parquet(tmp_path / "whole.parquet", whole)
    write_parquet(tmp_path / "pieces.parquet", pa.concat_tables(pieces))
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "pieces.parquet").read_bytes()
