from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pcorr_assets.errors import PcorrError
from pcorr_assets.text.arrow_files import iter_batches
from pcorr_assets.text.files import expand_globs, iter_file

Row = dict[str, Any]

ROWS: list[Row] = [
    {"id": f"p{i}", "text": f'Page {i}, "quoted"\nand é on two lines', "lang": "en"}
    for i in range(3000)
]


def read(path: Path, columns: list[str] | None = None, optional: tuple[str, ...] = ()) -> list[Row]:
    return [row for batch in iter_file(path, columns, optional) for row in batch]


def to_lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_parquet(path: Path, rows: list[Row]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=700)


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


WRITERS: dict[str, Callable[[Path, list[Row]], object]] = {
    "pages.parquet": write_parquet,
    "pages.jsonl": lambda path, rows: path.write_bytes(to_lines(rows)),
    "pages.jsonl.gz": lambda path, rows: path.write_bytes(gzip.compress(to_lines(rows))),
    "pages.jsonl.zst": lambda path, rows: path.write_bytes(zstandard.compress(to_lines(rows))),
    "pages.ndjson": lambda path, rows: path.write_bytes(to_lines(rows)),
    "pages.json.gz": lambda path, rows: path.write_bytes(gzip.compress(to_lines(rows))),
    "pages.json.zst": lambda path, rows: path.write_bytes(zstandard.compress(to_lines(rows))),
    "pages.jsonl.zstd": lambda path, rows: path.write_bytes(zstandard.compress(to_lines(rows))),
    "pages.json.bz2": lambda path, rows: path.write_bytes(bz2.compress(to_lines(rows))),
    "pages.jsonl.xz": lambda path, rows: path.write_bytes(lzma.compress(to_lines(rows))),
    "pages.csv": write_csv,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, ROWS)
    assert read(path) == ROWS
    assert read(path, ["text", "id"]) == [{"text": r["text"], "id": r["id"]} for r in ROWS]
    assert read(path, ["id"], ("lang", "nothing"))[7] == {"id": "p7", "lang": "en", "nothing": None}


@pytest.mark.parametrize("name", WRITERS)
def test_missing_column_lists_those_there_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, ROWS)
    with pytest.raises(PcorrError, match=r"no column 'body'; it has 'id', 'text', 'lang'"):
        read(path, ["id", "body"])


@pytest.mark.parametrize("name", ["pages.parquet", "pages.jsonl.gz", "pages.jsonl.zst"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_file_is_refused_by_name(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    WRITERS[name](path, ROWS)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PcorrError, match=rf"{name}.*(truncated|the file is empty)"):
        read(path)


def test_truncated_lines_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_bytes(to_lines(ROWS[:5])[:-10])
    with pytest.raises(PcorrError, match=r"cut\.jsonl, line 5: not one whole JSON object"):
        read(path)
    table = tmp_path / "cut.csv"
    table.write_text('id,text\n1,"fine"\n2,"cut o')
    with pytest.raises(PcorrError, match=r"cut\.csv, after line 2: .*cut off"):
        read(table)


def test_rows_before_the_damage_are_yielded(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl.gz"
    content = gzip.compress(to_lines(ROWS), compresslevel=0)
    path.write_bytes(content[:-1000])
    batches = iter_file(path)
    assert next(batches)[0] == ROWS[0]
    with pytest.raises(PcorrError, match=r"half\.jsonl\.gz: .* far beyond line 2,\d\d\d"):
        list(batches)


@pytest.mark.parametrize(
    ("actual", "claimed", "message"),
    [
        ("pages.jsonl.gz", "x.jsonl", "plain jsonl, but the content is gzip"),
        ("pages.jsonl.zst", "x.jsonl.gz", "gzip, but the content is zstd"),
        ("pages.jsonl", "x.jsonl.zst", "zstd, but the content is something else"),
        ("pages.jsonl", "x.parquet", "parquet, but the content is something else"),
        ("pages.parquet", "x.csv", "plain csv, but the content is parquet"),
        ("pages.csv", "x.jsonl", "line 1: not one whole JSON object"),
        ("pages.csv", "x.txt", "cannot tell the format"),
    ],
)
def test_file_that_is_not_what_its_ending_says(
    tmp_path: Path, actual: str, claimed: str, message: str
) -> None:
    path = tmp_path / claimed
    WRITERS[actual](path, ROWS[:10])
    with pytest.raises(PcorrError, match=message):
        read(path)


def test_json_lines_oddities(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "bom"}\r\n\r\n'
        b'{"text": "line\xe2\x80\xa8separator"}\n'
        b'{"text": "bad \xff byte"}\n'
        b'{"text": "lone \\ud83d escape", "extra": [1, {"a": null}]}'
    )
    assert [row["text"] for row in read(path)] == [
        "bom",
        "line\u2028separator",
        "bad \udcff byte",
        "lone \ud83d escape",
    ]
    assert read(path, ["text"], ("extra",))[3]["extra"] == [1, {"a": None}]


@pytest.mark.parametrize("line", [b"[1, 2]", b'"text"', b"3", b'{"a": 1}{"a": 2}', b"[" * 100_000])
def test_line_that_is_not_an_object(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    with pytest.raises(PcorrError, match=r"odd\.jsonl, line 3: "):
        read(path)


def test_several_compressed_members_are_one_file(tmp_path: Path) -> None:
    halves = to_lines(ROWS[:1500]), to_lines(ROWS[1500:])
    path = tmp_path / "parts.jsonl.gz"
    path.write_bytes(b"".join(gzip.compress(half) for half in halves))
    assert read(path) == ROWS
    path = tmp_path / "parts.jsonl.zst"
    path.write_bytes(b"".join(zstandard.compress(half) for half in halves))
    assert read(path) == ROWS


def test_zeros_after_gzip_members_are_padding_and_anything_else_is_damage(tmp_path: Path) -> None:
    halves = [gzip.compress(to_lines(half)) for half in (ROWS[:1500], ROWS[1500:])]
    path = tmp_path / "padded.jsonl.gz"
    path.write_bytes(halves[0] + bytes(512) + halves[1] + bytes(100_000))
    assert read(path) == ROWS
    path.write_bytes(halves[0] + bytes(512) + b"x" * 512)
    with pytest.raises(PcorrError, match=r"padded\.jsonl\.gz: .* probably truncated or damaged"):
        read(path)
    flipped = bytearray(halves[0])
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(PcorrError, match=r"padded\.jsonl\.gz: .* probably truncated or damaged"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("id,text\n1\n", "line 2: 1 fields, but the header has 2"),
        ("id,text\n1,a\n2,b,c\n", "line 3: 3 fields"),
        ("id,id\n1,2\n", "repeats 'id'"),
        ('id,text\n1,"a"b"\n', "after line 1: not valid CSV"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(PcorrError, match=message):
        read(path)


def test_csv_with_bom_long_fields_and_bad_bytes(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    long_text = "word " * 100_000
    path.write_bytes(b"\xef\xbb\xbfid,text\n1," + long_text.encode() + b"\n\n2,bad \xff\n")
    assert read(path) == [{"id": "1", "text": long_text}, {"id": "2", "text": "bad \udcff"}]


def test_parquet_keeps_arrow_types_and_all_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a", None],
            "when": [date(2024, 1, 2), None],
            "tags": [["x"], []],
            "meta": [{"url": "u", "n": 1}, None],
        }
    )
    path = tmp_path / "typed.parquet"
    pq.write_table(table, path)
    batches = list(iter_batches(path))
    assert pa.Table.from_batches(batches).equals(table)
    assert read(path, ["meta"]) == [{"meta": {"url": "u", "n": 1}}, {"meta": None}]


def test_parquet_strings_that_are_not_utf8(tmp_path: Path) -> None:
    damaged = pa.array([b"good \xc3\xa9", b"bad \xff", None]).view(pa.string())
    path = tmp_path / "damaged.parquet"
    pq.write_table(pa.table({"text": damaged}), path)
    assert [row["text"] for row in read(path)] == ["good é", "bad \udcff", None]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    page = {"text": "x" * 100_000}
    path = tmp_path / "large.jsonl.zst"
    path.write_bytes(zstandard.compress(to_lines([page]) * 1000))
    tracemalloc.start()
    count = sum(len(batch) for batch in iter_file(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1000
    # 100 MB of text, read in batches of 8 MiB; at most two are alive at once.
    assert peak < 40e6


def test_zstd_with_a_long_window(tmp_path: Path) -> None:
    """As `zstd --long=31` writes; Arrow alone would call it damaged."""
    path = tmp_path / "long.jsonl.zst"
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=31)
    with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(
        path.open("wb")
    ) as stream:
        stream.write(to_lines(ROWS))
    assert zstandard.get_frame_parameters(path.read_bytes()[:18]).window_size == 2**31
    assert read(path) == ROWS
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(PcorrError, match=r"long\.jsonl\.zst: .* truncated"):
        read(path)
    path.write_bytes(whole[:4] + b"\0" + bytes([22 << 3]) + b"\1\0\0")
    with pytest.raises(PcorrError, match=r"window of more than 2 GiB .* --long=31"):
        read(path)


def test_lines_of_any_length_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcorr_assets.text.lines.LINE_BYTES", 100_000)
    path = tmp_path / "one.jsonl"
    path.write_bytes(to_lines(ROWS).replace(b"\n", b""))
    with pytest.raises(PcorrError, match=r"one\.jsonl, line 1: longer than"):
        read(path)


def test_nested_json_is_read_no_deeper_than_it_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text('{"a": ' + "[" * 199 + "]" * 199 + "}\n")
    assert len(read(path)) == 1
    path.write_text("{}\n" + '{"a": ' + "[" * 200 + "]" * 200 + "}\n")
    with pytest.raises(PcorrError, match=r"deep\.jsonl, line 2: nested more than 200 levels"):
        read(path)
    path.write_text('{"a": [' + "[], " * 500 + "{}]}\n")
    assert len(read(path)) == 1


@pytest.mark.parametrize("name", WRITERS)
def test_batches_say_where_their_rows_stand(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, ROWS)
    batch = list(iter_file(path, ["id"]))[-1]
    last = {"pages.parquet": "row 3,000", "pages.csv": "line 6,000"}.get(name, "line 3,000")
    assert batch.place(len(batch) - 1) == f"{path}, {last}"


def test_globs(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.csv", "sub/d.jsonl", "odd[1].jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    found = expand_globs(
        [
            str(tmp_path / "c.csv"),
            str(tmp_path / "*.jsonl"),
            tmp_path / "a.jsonl",
            str(tmp_path / "odd[1].jsonl"),
            str(tmp_path / "**/d.jsonl"),
        ]
    )
    names = [str(Path(str(path)).relative_to(tmp_path)) for path in found]
    assert names == ["c.csv", "a.jsonl", "b.jsonl", "odd[1].jsonl", "sub/d.jsonl"]
    with pytest.raises(PcorrError, match=r"no file matches '.*nothing\*'"):
        expand_globs([str(tmp_path / "a.jsonl"), str(tmp_path / "nothing*")])
    with pytest.raises(PcorrError, match=r"it is a folder: add a pattern .*sub/\*\.jsonl"):
        expand_globs([str(tmp_path / "sub")])
    with pytest.raises(PcorrError, match=r"gone\.jsonl: no such file"):
        read(tmp_path / "gone.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a", "id": ' + b"9" * 5000 + b"}\n", r"line 1: a whole number of more than"),
        (b'{"text": "a", "id": ' + b"[" * 100_000 + b"\n", r"line 1: nested more than 200 levels"),
        ('{"text": "wörter"}\n'.encode("utf-16"), "line 1: it is UTF-16 or binary, not UTF-8"),
        ('{"text": "wörter"}\n'.encode("utf-16-be"), "line 1: it is UTF-16 or binary, not UTF-8"),
    ],
)
def test_lines_that_are_refused_for_other_reasons_than_a_cut(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(PcorrError, match=message):
        list(iter_file(path, ["text"]))
