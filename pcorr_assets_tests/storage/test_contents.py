"""Ids of files: equal where contents are, and each file read once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pcorr_assets.storage import contents
from pcorr_assets.storage.contents import BLOCKS, NOT_THERE, UNREADABLE, Contents
from pcorr_assets.warehouse.json_files import read_json

OLD = 1_600_000_000 * 10**9


def write(path: Path, content: bytes, time: int = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    return path


def test_neither_path_nor_time_counts(tmp_path: Path) -> None:
    ids = Contents()
    first = ids.of_file(write(tmp_path / "a", b"same"))
    assert first == ids.of_file(write(tmp_path / "b/c", b"same", OLD + 1))
    assert first != ids.of_file(write(tmp_path / "d", b"other"))
    assert ids.of_folder(tmp_path / "b") != ids.of_folder(tmp_path)
    write(tmp_path / "e/c", b"same")
    assert ids.of_folder(tmp_path / "b") == ids.of_folder(tmp_path / "e")
    write(tmp_path / "e/model.safetensors", b"weights")
    assert ids.of_folder(tmp_path / "b") == ids.of_folder(tmp_path / "e", {".safetensors"})


@pytest.mark.parametrize("place", [0, 100 * BLOCKS, 200 * BLOCKS - 1])
def test_of_a_large_file_blocks_from_its_first_to_its_last_byte_count(
    tmp_path: Path, place: int
) -> None:
    # Blocks of 100 bytes, of which 64 lie in twice as many bytes.
    ids, content = Contents(block_bytes=100), bytearray(200 * BLOCKS)
    whole = ids.of_file(write(tmp_path / "whole", bytes(content)))
    assert whole == Contents(block_bytes=100).of_file(write(tmp_path / "copy", bytes(content)))
    covered = {
        (len(content) - 100) * number // (BLOCKS - 1) + byte
        for number in range(BLOCKS)
        for byte in range(100)
    }
    nearest = min(covered, key=lambda byte: abs(byte - place))
    content[nearest] = 1
    assert ids.of_file(write(tmp_path / "edited", bytes(content))) != whole
    assert ids.of_file(write(tmp_path / "longer", bytes(len(content) + 1))) != whole


def test_a_file_is_read_again_only_if_it_looks_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, path = tmp_path / "cache/contents.json", write(tmp_path / "a", b"same")
    new = tmp_path / "new"
    new.write_bytes(b"just written, so it may be written again within the same tick")
    first = Contents(cache)
    ids = [first.of_file(path), first.of_file(new)]
    first.save()
    assert list(read_json(cache)) == [str(path)]

    def refuse(*_: object) -> str:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr(contents, "_id_of", refuse)
        assert Contents(cache).of_file(path) == ids[0]
    write(path, b"sama", OLD + 1)
    assert Contents(cache).of_file(path) != ids[0]
    # Another file in its place, of the same size and time.
    write(tmp_path / "b", b"none").rename(path)
    assert Contents(cache).of_file(path) not in ids
    for damage in ("", "[]", '{"x": 1}', json.dumps({str(path): [4, "?"]})):
        cache.write_text(damage)
        assert Contents(cache).of_file(path) not in ids


def test_what_cannot_be_read_has_an_id_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    ids = Contents(tmp_path / "pipe" / "contents.json")
    assert ids.of_file(tmp_path / "none") == ids.of_folder(tmp_path / "none") == NOT_THERE
    assert ids.of_file(tmp_path / "pipe") == UNREADABLE
    ids.of_file(write(tmp_path / "a", b""))
    ids.save()
