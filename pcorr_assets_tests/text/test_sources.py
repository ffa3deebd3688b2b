from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.config.texts import Sample
from pcorr_assets.errors import PcorrError
from pcorr_assets.text.sources import SourceRow, explained, open_source, parse_metadata

SampleMaker = Callable[..., Sample]

ROWS = [{"url": f"https://d{i % 3}.org/{i}", "text": f"page {i}", "site": i % 3} for i in range(9)]
EXPECTED = [SourceRow(f"page {i}", f"https://d{i % 3}.org/{i}", str(i % 3)) for i in range(9)]
COLUMNS = {"id_column": "url", "domain_column": "site"}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_files_of_several_formats_in_order(tmp_path: Path, make_sample: SampleMaker) -> None:
    write_lines(tmp_path / "b.jsonl", ROWS[3:6])
    pq.write_table(pa.Table.from_pylist(ROWS[:3]), tmp_path / "a.parquet")
    lines = [f"{row['url']},{row['text']},{row['site']}" for row in ROWS[6:]]
    (tmp_path / "c.csv").write_text("\n".join(["url,text,site", *lines]) + "\n")
    sample = make_sample(files=["a.parquet", "*.jsonl", "c.csv"], **COLUMNS)
    assert list(open_source(sample)) == EXPECTED


def test_saved_dataset_and_its_splits(tmp_path: Path, make_sample: SampleMaker) -> None:
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(tmp_path / "plain")
    datasets.DatasetDict({"test": rows.select(range(2)), "train": rows}).save_to_disk(
        tmp_path / "splits"
    )
    assert list(open_source(make_sample(saved="plain", **COLUMNS))) == EXPECTED
    assert list(open_source(make_sample(saved="splits", **COLUMNS))) == EXPECTED
    sample = make_sample(saved="splits", split="test", **COLUMNS)
    assert list(open_source(sample)) == EXPECTED[:2]
    with pytest.raises(PcorrError, match=r"no split 'dev'; it has test, train"):
        list(open_source(make_sample(saved="splits", split="dev", **COLUMNS)))
    with pytest.raises(PcorrError, match=r"no column 'body'; it has 'url', 'text', 'site'"):
        list(open_source(make_sample(saved="plain", text_column="body", **COLUMNS)))
    with pytest.raises(PcorrError, match="no such folder"):
        list(open_source(make_sample(saved="gone", **COLUMNS)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PcorrError, match=r"empty: cannot be read .*save_to_disk wrote"):
        list(open_source(make_sample(saved="empty", **COLUMNS)))


@pytest.mark.parametrize("subsample_ratio", [1.0, 0.5])
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_dataset_of_the_loader_streamed_and_not(
    tmp_path: Path, make_sample: SampleMaker, subsample_ratio: float, file_format: str
) -> None:
    folder = tmp_path / "dataset"
    if file_format == "jsonl":
        write_lines(folder / "train.jsonl", ROWS)
        write_lines(folder / "test.jsonl", ROWS[:4])
    else:
        folder.mkdir()
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
        pq.write_table(pa.Table.from_pylist(ROWS[:4]), folder / "test.parquet")
    options = {"dataset": "./dataset", "subsample_ratio": subsample_ratio, **COLUMNS}
    assert list(open_source(make_sample(**options))) == EXPECTED
    assert list(open_source(make_sample(split="test", **options))) == EXPECTED[:4]
    with pytest.raises(PcorrError, match=r"cannot be read .*dev"):
        list(open_source(make_sample(split="dev", **options)))
    with pytest.raises(PcorrError, match=r"no column 'body'; it has 'url', 'text', 'site'"):
        list(open_source(make_sample(text_column="body", **options)))


def test_a_loading_script_is_refused_with_what_to_do_instead(
    tmp_path: Path, make_sample: SampleMaker
) -> None:
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "scripted.py").write_text("open('it-ran', 'w')\n")
    with pytest.raises(PcorrError, match=r"scripted.*loading script.*under `files` instead"):
        list(open_source(make_sample(dataset="./scripted", **COLUMNS)))
    assert not Path("it-ran").exists()


def test_hub_dataset_that_is_not_there(make_sample: SampleMaker) -> None:
    with pytest.raises(PcorrError, match=r"'nobody/nothing': cannot be read .*HF_TOKEN.*offline"):
        list(open_source(make_sample(dataset="nobody/nothing", **COLUMNS)))


def test_a_dropped_connection_says_to_run_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_in_part() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        thread = threading.Thread(target=answer_in_part)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        try:
            with (
                pytest.raises(
                    PcorrError, match=r"d: the connection failed \(Remote.*run this again"
                ),
                explained("d", "help"),
            ):
                httpx2.get(url, trust_env=False)
        finally:
            thread.join()


@pytest.mark.parametrize(
    "metadata",
    [
        {"url": "u", "site": "s"},
        json.dumps({"url": "u", "site": "s"}),
        repr({"url": "u", "site": "s", "none": None, "quote": 'it\'s "so"'}),
        "  {'url': 'u', 'site': 's'}\n",
    ],
)
def test_id_and_domain_in_metadata(
    tmp_path: Path, make_sample: SampleMaker, metadata: object
) -> None:
    write_lines(tmp_path / "a.jsonl", [{"text": "t", "meta": metadata}])
    sample = make_sample(files=["a.jsonl"], metadata_column="meta", **COLUMNS)
    assert list(open_source(sample)) == [SourceRow("t", "u", "s")]


def test_metadata_in_a_parquet_struct_and_own_columns_first(
    tmp_path: Path, make_sample: SampleMaker
) -> None:
    rows = [
        {"text": "a", "url": "own", "meta": {"url": "inside", "site": 1}},
        {"text": "b", "url": None, "meta": {"url": "inside", "site": None}},
        {"text": "c", "url": "own 2", "meta": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    sample = make_sample(files=["a.parquet"], metadata_column="meta", **COLUMNS)
    assert list(open_source(sample)) == [
        SourceRow("a", "own", "1"),
        SourceRow("b", "inside", None),
        SourceRow("c", "own 2", None),
    ]


@pytest.mark.parametrize("value", ["{broken", "[1, 2]", "3", "__import__('os')", "(" * 9999, 4.5])
def test_unreadable_metadata_is_marked(
    tmp_path: Path, make_sample: SampleMaker, value: object
) -> None:
    assert parse_metadata(value) is None
    write_lines(tmp_path / "a.jsonl", [{"text": "t", "meta": value}])
    sample = make_sample(files=["a.jsonl"], metadata_column="meta", id_column="url")
    assert list(open_source(sample)) == [SourceRow("t", None, None, True)]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": None, "url": "u"}, (None, "u")),
        ({"url": "u"}, (None, "u")),
        ({"text": "", "url": "u"}, (None, "u")),
        ({"text": " \n\t", "url": "u"}, (None, "u")),
        ({"text": 12, "url": "u"}, (None, "u")),
        ({"text": "t"}, ("t", None)),
        ({"text": "t", "url": ""}, ("t", None)),
        ({"text": "t", "url": 7}, ("t", "7")),
        ({"text": "t", "url": 0}, ("t", "0")),
        ({"text": "t", "url": float("nan")}, ("t", None)),
    ],
)
def test_what_counts_as_text_and_id(
    tmp_path: Path,
    make_sample: SampleMaker,
    row: dict[str, object],
    expected: tuple[str | None, str | None],
) -> None:
    write_lines(tmp_path / "a.jsonl", [{"text": "x", "url": "y"}, row])
    found = list(open_source(make_sample(files=["a.jsonl"], id_column="url")))[1]
    assert (found.text, found.page_id) == expected


def test_binary_text_column_and_structured_id(tmp_path: Path, make_sample: SampleMaker) -> None:
    table = pa.table({"text": [b"caf\xc3\xa9", b"\xff"], "id": [1, 2], "meta": [{"id": 1}] * 2})
    pq.write_table(table, tmp_path / "a.parquet")
    texts = [row.text for row in open_source(make_sample(files=["a.parquet"]))]
    assert texts == ["café", "\udcff"]
    with pytest.raises(PcorrError, match=r"'meta' holds a dict.*metadata_column: meta"):
        list(open_source(make_sample(files=["a.parquet"], id_column="meta")))


def test_a_value_of_another_type_is_named_and_a_column_of_them_refused(
    tmp_path: Path, make_sample: SampleMaker
) -> None:
    rows = [{"text": "t", "id": "a"}, {"text": 7, "id": "b"}, {"text": float("nan"), "id": "c"}]
    write_lines(tmp_path / "a.jsonl", rows)
    found = list(open_source(make_sample(files=["a.jsonl"])))
    assert [row.text for row in found] == ["t", None, None]
    place = f"{tmp_path / 'a.jsonl'}, line 2 (int)"
    assert [row.other_type for row in found] == [None, place, None]
    pq.write_table(pa.table({"text": [1.5, None], "id": [1, 2]}), tmp_path / "b.parquet")
    with pytest.raises(PcorrError, match=r"b\.parquet: column 'text' holds no text: .* row 1 \(fl"):
        list(open_source(make_sample(files=["a.jsonl", "b.parquet"])))
    write_lines(tmp_path / "a.jsonl", [{"text": "t", "id": ["a"]}])
    with pytest.raises(PcorrError, match=r"a\.jsonl, line 1: column 'id' holds a list"):
        list(open_source(make_sample(files=["a.jsonl"])))
