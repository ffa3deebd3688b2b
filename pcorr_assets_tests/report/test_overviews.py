"""Small tables and pictures of partitions, against NumPy and pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pcorr_assets.report.overviews import (
    bpb_overview,
    chunks_overview,
    matrix_overview,
    scores_overview,
    shards_overview,
)
from pcorr_assets.report.plots import png
from pcorr_assets.warehouse import TABLES, Warehouse

PNG = b"\x89PNG\r\n"


def write(wh: Warehouse, table: str, keys: tuple[str, ...], rows: list[dict]) -> None:
    with wh.writer(table, keys) as writer:
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            writer.write(pa.Table.from_pylist(half, schema=TABLES[table].schema))


def test_chunks(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    rows = [
        {
            "sample": "web",
            "chunk_id": f"{page}-{index}",
            "page_id": f"page-{page}",
            "chunk_index": index,
            "domain": None if page == 0 else f"site-{page % 3}",
            "text": "",
            "byte_count": 0,
            "reference_token_count": 64 if index < 2 else 7,
        }
        for page in range(12)
        for index in range(3)
    ]
    write(wh, "chunks", ("web",), rows)
    found = chunks_overview(wh, "web")
    assert found.tables["domains with the most pages"].to_pylist() == [
        {"domain": "site-1", "pages": 4, "chunks": 12},
        {"domain": "site-2", "pages": 4, "chunks": 12},
        {"domain": "site-0", "pages": 3, "chunks": 9},
    ]
    quantiles = {row["share below"]: row["tokens"] for row in _rows(found, "tokens of a chunk")}
    assert (quantiles["0 %"], quantiles["50 %"], quantiles["100 %"]) == (7, 64, 64)
    assert png(found.pictures["lengths of the chunks"]).startswith(PNG)


def _rows(found, title: str) -> list[dict]:
    return found.tables[title].to_pylist()


def test_bpb_without_the_undefined(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    bpb = np.random.default_rng(0).gamma(9, 0.1, 101)
    rows = [
        {
            "sample": "web", "llm": "a/llm", "chunk_id": str(index), "loss": 1.0,
            "token_count": 1, "byte_count": 1, "unk_count": 0,
            "bpb": float("nan") if index < 20 else bpb[index],
        }
        for index in range(101)
    ]  # fmt: skip
    write(wh, "chunk_bpb", ("a/llm", "web"), rows)
    found = bpb_overview(wh, ("a/llm", "web"))
    shown = [row["bpb"] for row in _rows(found, "bits-per-byte of the chunks")]
    theirs = np.quantile(bpb[20:], [0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1])
    assert shown == pytest.approx(theirs, rel=1e-6)
    assert png(found.pictures["bits-per-byte"]).startswith(PNG)
    write(wh, "chunk_bpb", ("a/llm", "web"), [{**row, "bpb": float("nan")} for row in rows])
    assert bpb_overview(wh, ("a/llm", "web")).tables == {}


@pytest.mark.parametrize("llms", [3, 200])
def test_llms_of_a_matrix(llms: int) -> None:
    X = np.random.default_rng(1).gamma(9, 0.1, (llms, 30))
    names = [f"llm-{index}" for index in range(llms)]
    found = matrix_overview(X, names, np.arange(llms) / 2, "domain")
    shown = _rows(found, "LLMs, best first")
    assert [row["mean bpb"] for row in shown] == pytest.approx(sorted(X.mean(axis=1)))
    best = int(X.mean(axis=1).argmin())
    assert (shown[0]["llm"], shown[0]["off the others"]) == (f"llm-{best}", best / 2)
    picture = png(found.pictures["mean bits-per-byte"])
    assert picture.startswith(PNG)
    assert len(picture) < 150_000


def test_scores_and_shards(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    rows = [
        {
            "pool": "crawl", "target": "t", "document_id": str(index), "shard": f"s{index % 3}",
            "score": index / 10, "token_count": 100 * (index % 3) + 1, "is_boundary": index == 9,
        }
        for index in range(10)
    ]  # fmt: skip
    write(wh, "selections", ("crawl", "t"), rows)
    found = scores_overview(wh, "selections", ("crawl", "t"), "crawl for t")
    assert _rows(found, "scores of the documents")[4]["score"] == pytest.approx(0.45)
    assert png(found.pictures["scores"]).startswith(PNG)
    by_shard = shards_overview(wh.read("selections", "crawl", "t"))
    assert _rows(by_shard, "shards that gave the most") == [
        {"shard": "s2", "documents": 3, "tokens": 603},
        {"shard": "s1", "documents": 3, "tokens": 303},
        {"shard": "s0", "documents": 4, "tokens": 4},
    ]
