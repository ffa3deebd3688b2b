from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pcorr_assets.config.texts import Sample
from pcorr_assets.errors import PcorrError
from pcorr_assets.text import chunked_dataset, chunking
from pcorr_assets.text.chunked_dataset import (
    CHUNK_SCHEMA,
    ChunkingReport,
    chunk_ids_sha256,
    chunk_sample,
)
from pcorr_assets.text.chunking import chunk_id
from pcorr_assets.warehouse import TABLES, Warehouse

SampleMaker = Callable[..., Sample]

PAGES = [
    {"id": f"p{i}", "site": f"d{i % 4}", "text": f"Page {i}: the quick brown fox. 😀\n" * (i + 1)}
    for i in range(12)
]


def write_pages(folder: Path, pages: list[dict[str, Any]]) -> None:
    (folder / "pages.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))


def chunk(tmp_path: Path, sample: Sample) -> tuple[ChunkingReport, pa.Table, dict[str, str]]:
    warehouse = Warehouse(tmp_path / "home")
    with warehouse.writer("chunks", ("s",)) as writer:
        report = chunk_sample("s", sample, writer)
    return report, warehouse.read("chunks", "s"), warehouse.metadata("chunks", "s")


def test_schema_is_that_of_the_registry() -> None:
    registered = TABLES["chunks"].schema
    assert CHUNK_SCHEMA.names == registered.names
    assert CHUNK_SCHEMA.types == registered.types
    assert [f.nullable for f in CHUNK_SCHEMA] == [f.nullable for f in registered]


def test_pages_come_back_from_the_table(
    tmp_path: Path, make_sample: SampleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_dataset, "WRITE_ROWS", 5)
    monkeypatch.setattr(chunking, "PIECE_CHARS", 90)
    write_pages(tmp_path, PAGES)
    sample = make_sample(files=["pages.jsonl"], domain_column="site")
    report, table, metadata = chunk(tmp_path, sample)
    rows = table.to_pylist()
    for page in PAGES:
        own = [row for row in rows if row["page_id"] == page["id"]]
        assert "".join(row["text"] for row in own) == page["text"]
        assert [row["chunk_index"] for row in own] == list(range(len(own)))
        assert {row["domain"] for row in own} == {page["site"]}
    assert list(dict.fromkeys(row["page_id"] for row in rows)) == [p["id"] for p in PAGES]
    for row in rows:
        assert row["sample"] == "s"
        assert row["chunk_id"] == chunk_id(row["page_id"], row["chunk_index"], row["text"])
        assert row["byte_count"] == len(row["text"].encode())
    assert len({row["chunk_id"] for row in rows}) == len(rows)
    assert metadata["chunks_sha256"] == report.chunks_sha256
    assert report.chunks_sha256 == chunk_ids_sha256(row["chunk_id"] for row in rows)
    assert (report.rows, report.pages, report.domains, report.chunks) == (12, 12, 4, len(rows))
    assert report.byte_count == sum(len(str(page["text"]).encode()) for page in PAGES)
    assert report.token_count == sum(row["reference_token_count"] for row in rows)
    short = sum(row["reference_token_count"] < 16 for row in rows)
    assert report.short_chunk_share == short / len(rows) > 0
    assert report.tokens_per_second > 0


def test_same_settings_same_rows(tmp_path: Path, make_sample: SampleMaker) -> None:
    write_pages(tmp_path, PAGES)
    tables = []
    for chunk_tokens in (32, 32, 33):
        sample = make_sample(files=["pages.jsonl"], chunk_tokens=chunk_tokens)
        report, table, _ = chunk(tmp_path, sample)
        assert set(table["domain"].to_pylist()) == {None}
        assert report.domains == 0
        tables.append(table)
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_nothing_left_says_what_dropped_it_and_keeps_the_old_table(
    tmp_path: Path, make_sample: SampleMaker
) -> None:
    write_pages(tmp_path, PAGES)
    _, before, _ = chunk(tmp_path, make_sample(files=["pages.jsonl"]))
    rows = [{"id": "a", "site": "d", "text": " "}, {"id": "", "site": "d", "text": "t"}]
    write_pages(tmp_path, [*rows, *PAGES])
    sample = make_sample(files=["pages.jsonl"], domain_column="site", pages_per_domain=4)
    with pytest.raises(
        PcorrError,
        match=r"'s' has no page left: 14 rows read; dropped: 1 without text, 1 without id, "
        r"12 in domains with fewer than pages_per_domain pages",
    ):
        chunk(tmp_path, sample)
    assert Warehouse(tmp_path / "home").read("chunks", "s").equals(before)


def test_an_imported_sample_and_a_missing_tokenizer_are_refused(
    tmp_path: Path, make_sample: SampleMaker
) -> None:
    write_pages(tmp_path, PAGES)
    with pytest.raises(PcorrError, match="no reference_tokenizer"):
        chunk(tmp_path, Sample.model_construct(files=["pages.jsonl"], reference_tokenizer=None))
    sample = make_sample(files=["pages.jsonl"], reference_tokenizer=str(tmp_path / "gone"))
    with pytest.raises(PcorrError, match="gone"):
        chunk(tmp_path, sample)
