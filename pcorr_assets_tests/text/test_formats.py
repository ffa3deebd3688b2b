"""Formats beside the plain ones: what they hold, how damage shows, and rows that are skipped."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from warcio.warcwriter import WARCWriter

from pcorr_assets.errors import PcorrError
from pcorr_assets.text import bad_rows
from pcorr_assets.text.arrow_files import column_names
from pcorr_assets.text.bad_rows import BadRows
from pcorr_assets.text.chunked_dataset import chunk_sample
from pcorr_assets.text.files import iter_file
from pcorr_assets.text.sources import open_source
from pcorr_assets_tests.text.conftest import SampleMaker
from pcorr_assets_tests.text.test_files import ROWS, read, to_lines

COMPRESS: dict[str, Callable[[bytes], bytes]] = {"bz2": bz2.compress, "xz": lzma.compress}


def write_arrow(path: Path, *, stream: bool) -> None:
    table = pa.Table.from_pylist(ROWS)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with path.open("wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


def wet(records: list[tuple[str | None, bytes, dict[str, str]]], *, compressed: bool) -> bytes:
    """A WET file as warcio writes it: a warcinfo, then a conversion for each page."""
    file = io.BytesIO()
    writer = WARCWriter(file, gzip=compressed)
    writer.write_record(writer.create_warcinfo_record("x.warc.wet.gz", {"software": "test"}))
    for uri, text, headers in records:
        record = writer.create_warc_record(
            uri or "",
            "conversion",
            payload=io.BytesIO(text),
            length=len(text),
            warc_content_type="text/plain",
            warc_headers_dict={"WARC-Date": "2024-05-18T01:58:10Z", **headers},
        )
        if uri is None:
            record.rec_headers.remove_header("WARC-Target-URI")
        writer.write_record(record)
    return file.getvalue()


PAGES: list[tuple[str | None, bytes, dict[str, str]]] = [
    ("http://Example.org/a?b=1", b"first\npage", {"WARC-Identified-Content-Language": "eng"}),
    ("https://user@sub.example.org:8080/", "zweite Seite é".encode(), {}),
    (None, b"a page of nowhere", {}),
    ("http://[broken/", b"bad \xff bytes", {}),
    ("http://example.org/empty", b"", {}),
]


@pytest.mark.parametrize("kind", COMPRESS)
def test_damage_in_any_member_is_told(tmp_path: Path, kind: str) -> None:
    """Python's own readers end without a word where a member after the first is damaged."""
    first, second = (COMPRESS[kind](to_lines(half)) for half in (ROWS[:1500], ROWS[1500:]))
    path = tmp_path / f"parts.jsonl.{kind}"
    path.write_bytes(first + second)
    assert read(path) == ROWS
    if kind == "xz":
        path.write_bytes(first + bytes(8) + second + bytes(100_000))
        assert read(path) == ROWS
    for damaged in (first + second[:-9], first[:-9], first + second[:3], first + b"garbage" * 9):
        path.write_bytes(damaged)
        with pytest.raises(PcorrError, match=rf"parts\.jsonl\.{kind}: .*(truncated|damaged)"):
            read(path)
    path.write_bytes(gzip.compress(to_lines(ROWS)))
    with pytest.raises(PcorrError, match="but the content is gzip"):
        read(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_what_unpacks_to_much_is_read_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    page = {"text": "x" * 100_000}
    path = tmp_path / f"large.jsonl.{kind}"
    path.write_bytes(COMPRESS[kind](to_lines([page]) * 300))
    tracemalloc.start()
    count = sum(len(batch) for batch in iter_file(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 300
    assert peak < 40e6


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_arrow_files_and_streams(tmp_path: Path, stream: bool) -> None:
    path = tmp_path / "x.arrow"
    write_arrow(path, stream=stream)
    assert read(path) == ROWS
    assert read(path, ["id"], ("lang", "none"))[2999] == {"id": "p2999", "lang": "en", "none": None}
    assert column_names(path) == ["id", "text", "lang"]
    assert list(iter_file(path))[-1].place(0).endswith("row 2,801")
    with pytest.raises(PcorrError, match=r"no column 'body'; it has 'id', 'text', 'lang'"):
        read(path, ["body"])
    whole = path.read_bytes()
    # Behind a whole message, and within one.
    for cut in (len(whole) - 8, len(whole) // 2, 12):
        path.write_bytes(whole[:cut])
        with pytest.raises(PcorrError, match=r"x\.arrow: .* truncated or damaged"):
            read(path)
    path.write_bytes(to_lines(ROWS))
    with pytest.raises(PcorrError, match="the ending says arrow, but the content is something"):
        read(path)


@pytest.mark.parametrize("name", ["x.warc.wet.gz", "x.wet.gz", "x.warc.wet", "x.wet.xz"])
def test_wet_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = wet(PAGES, compressed=name.endswith(".gz"))
    path.write_bytes(lzma.compress(content) if name.endswith(".xz") else content)
    rows = read(path)
    assert [row["text"] for row in rows] == [
        "first\npage", "zweite Seite é", "a page of nowhere", "bad \udcff bytes", ""
    ]  # fmt: skip
    assert [row["id"] for row in rows] == [uri for uri, _, _ in PAGES]
    assert [row["url"] for row in rows] == [uri for uri, _, _ in PAGES]
    assert [row["domain"] for row in rows] == [
        "example.org", "sub.example.org", None, None, "example.org"
    ]  # fmt: skip
    assert [row["language"] for row in rows] == ["eng", None, None, None, None]
    assert {row["date"] for row in rows} == {"2024-05-18T01:58:10Z"}
    # The warcinfo is record 1.
    (batch,) = iter_file(path)
    assert batch.place(0) == f"{path}, record 2"
    with pytest.raises(PcorrError, match=r"no column 'lang'; it has 'text', 'id', 'url', 'domain'"):
        read(path, ["lang"])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
@pytest.mark.parametrize("name", ["x.wet.gz", "x.wet"])
def test_cut_wet_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    """warcio by itself takes the end of the bytes for the end of the file."""
    path = tmp_path / name
    content = wet(PAGES[:2] * 20, compressed=name.endswith(".gz"))
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PcorrError, match=rf"{name}.*(truncated|damaged)"):
        read(path)


def test_wet_records_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.wet"
    content = wet(PAGES[:2], compressed=False)
    path.write_bytes(content.replace(b"Content-Length: 10", b"Content-Length: 7"))
    with pytest.raises(PcorrError, match=r"x\.wet, record \d: no whole WET record"):
        read(path)
    path.write_bytes(content.replace(b"WARC-Type: conversion", b"WARC-Type: response"))
    with pytest.raises(PcorrError, match=r"record 2: a record of type 'response'"):
        read(path)
    path.write_bytes(to_lines(ROWS[:3]))
    with pytest.raises(PcorrError, match=r"record 1: no whole WET record"):
        read(path)


def test_a_wet_file_as_a_sample(tmp_path: Path, make_sample: SampleMaker) -> None:
    (tmp_path / "a.warc.wet.gz").write_bytes(wet(PAGES, compressed=True))
    sample = make_sample(files=["*.wet.gz"], domain_column="domain")
    rows = list(open_source(sample))
    assert [(row.page_id, row.domain) for row in rows][:3] == [
        ("http://Example.org/a?b=1", "example.org"),
        ("https://user@sub.example.org:8080/", "sub.example.org"),
        (None, None),
    ]


def test_a_named_format_overrides_the_ending(tmp_path: Path, make_sample: SampleMaker) -> None:
    (tmp_path / "part-0001").write_bytes(gzip.compress(to_lines(ROWS[:3])))
    sample = make_sample(files=["part-*", "part-0001"], file_format="json.gz")
    assert [row.page_id for row in open_source(sample)] == ["p0", "p1", "p2"]
    with pytest.raises(PcorrError, match="file_format says zstd, but the content is gzip"):
        list(open_source(make_sample(files=["part-*"], file_format="jsonl.zst")))
    with pytest.raises(PcorrError, match=r"name it \(file_format: jsonl\.gz\)"):
        list(open_source(make_sample(files=["part-*"])))


class Sink:
    """Takes the chunks of a sample."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Nothing is kept."""


BAD = [b"{cut", b"[1]", b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}"]


def test_bad_rows_are_skipped_counted_and_named(tmp_path: Path, make_sample: SampleMaker) -> None:
    good = to_lines(ROWS).splitlines()
    lines = [*good[:1000], *BAD, *good[1000:]]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(PcorrError, match=r"a\.jsonl, line 1,001: not one whole JSON object"):
        list(open_source(make_sample(files=["a.jsonl"])))
    sample = make_sample(files=["a.jsonl"], on_bad_row="skip")
    report = chunk_sample("s", sample, Sink())
    assert (report.rows, report.skipped_rows) == (3000, 3)
    assert [place.partition(": ")[0] for place in report.places_of_skipped_rows] == [
        f"{path}, line 1,001", f"{path}, line 1,002", f"{path}, line 1,003"
    ]  # fmt: skip
    clean = tmp_path / "clean.jsonl"
    clean.write_bytes(b"\n".join(good))
    plain = chunk_sample("s", make_sample(files=["clean.jsonl"]), Sink())
    assert report.chunks_sha256 == plain.chunks_sha256
    # 3 of 3,003 is below .001, 4 of 3,004 above.
    path.write_bytes(b"\n".join([*lines, b"{"]))
    with pytest.raises(PcorrError, match=r"4 of 3,004 rows .* more than max_bad_rows \(0\.001\)"):
        chunk_sample("s", sample, Sink())
    more = make_sample(files=["a.jsonl"], on_bad_row="skip", max_bad_rows=0.01)
    assert chunk_sample("s", more, Sink()).skipped_rows == 4


def test_csv_lines_of_other_fields_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,a\n2\n3,c\n4,d,e\n")
    bad = BadRows(skip=True, max_share=0.5)
    rows = [row for batch in iter_file(path, bad=bad) for row in batch]
    assert rows == [{"id": "1", "text": "a"}, {"id": "3", "text": "c"}]
    assert (bad.count, bad.good) == (2, 2)
    bad.check("all")
    with pytest.raises(PcorrError, match=r"all: 2 of 4 rows"):
        BadRows(True, 0.4, bad.count, bad.good, bad.places).check("all")


def test_only_the_first_places_are_kept_and_a_hopeless_file_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" + b"no\n" * 2000)
    bad = BadRows(skip=True, max_share=1.0)
    assert sum(len(batch) for batch in iter_file(path, bad=bad)) == 1
    assert (bad.count, len(bad.places)) == (2000, 100)
    bad.check("all")
    path.write_bytes(b"no\n" * 2000)
    with pytest.raises(PcorrError, match="none of the first 1,000 rows can be read"):
        list(iter_file(path, bad=BadRows(skip=True, max_share=1.0)))
    monkeypatch.setattr(bad_rows, "HOPELESS", 10**9)
    assert list(iter_file(path, bad=BadRows(skip=True, max_share=1.0))) == []


def test_damage_is_no_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(to_lines(ROWS))[:-20])
    with pytest.raises(PcorrError, match="truncated"):
        list(iter_file(path, bad=BadRows(skip=True, max_share=1.0)))
