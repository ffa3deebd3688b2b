"""Pools of every format, and pools with rows that are skipped: scored, selected, written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.training import build_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.filters.test_pools import SAMPLE, TARGET, pool_of, score
from pcorr_assets_tests.text.test_formats import wet

ROWS = [
    {"id": f"http://example.org/{i}", "text": f"mast {i} rook\n" * (i % 7), "tokens": i}
    for i in range(300)
]


@pytest.fixture
def trained(make_world: Callable[..., Any]) -> FilterFile:
    world = make_world()
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    return FilterFile(built.path, built.sha256)


def write_arrow(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


def test_arrow_and_bad_rows_select_what_plain_lines_select(
    trained: FilterFile, tmp_path: Path
) -> None:
    lines = [json.dumps(row) for row in ROWS]
    (tmp_path / "plain.jsonl").write_text("\n".join(lines))
    (tmp_path / "odd.jsonl").write_text("\n".join([*lines[:100], "{cut", *lines[100:]]))
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    write_arrow(tmp_path / "x.arrow")
    pools = {
        "plain": pool_of(tmp_path / "plain.jsonl", format="jsonl", token_budget=20_000),
        "odd": pool_of(
            tmp_path / "odd.jsonl", format="jsonl", token_budget=20_000, on_bad_row="skip",
            max_bad_rows=0.01,
        ),
        "named": pool_of(
            tmp_path / "lines.txt", format="jsonl", token_budget=20_000, file_format="jsonl"
        ),
        "arrow": pool_of(tmp_path / "x.arrow", format="jsonl", token_budget=20_000),
    }  # fmt: skip
    warehouse = Warehouse(tmp_path / "home")
    written = {}
    for name, pool in pools.items():
        key = score(warehouse, pool, trained, name)
        shards = list_shards(name, pool)
        selected = write_selected(warehouse, name, pool, TARGET, shards, [key])
        (part,) = selected.manifest["files"]
        written[name] = (selected.folder / part["file"]).read_text()
    assert 0 < written["plain"].count("\n") < len(ROWS)
    assert set(written.values()) == {written["plain"]}
    metadata = warehouse.metadata("pool_scores", "odd/0000", TARGET)
    assert metadata["skipped_rows"] == "1"
    assert metadata["first_skipped_rows"].startswith(f"{tmp_path / 'odd.jsonl'}, line 101: ")


def test_too_many_bad_rows_leave_no_scores(trained: FilterFile, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"text": "mast", "tokens": 1}\n' * 98 + "x\ny\n")
    warehouse = Warehouse(tmp_path / "home")
    pool = pool_of(tmp_path / "odd.jsonl", on_bad_row="skip", max_bad_rows=0.01)
    with pytest.raises(PcorrError, match=r"odd\.jsonl: 2 of 100 rows cannot be read"):
        score(warehouse, pool, trained, "odd")
    assert not warehouse.exists("pool_scores", "odd/0000", TARGET)


def test_a_wet_file_as_a_shard(trained: FilterFile, tmp_path: Path) -> None:
    pages = [("http://example.org/a", b"mast keel", {}), (None, b"rook", {})]
    (tmp_path / "a.warc.wet.gz").write_bytes(wet(pages, compressed=True))
    pool = pool_of(tmp_path / "*.wet.gz", token_count_column=None)
    (shard,) = list_shards("crawl", pool)
    warehouse = Warehouse(tmp_path / "home")
    with pytest.raises(PcorrError, match="tokens cannot be counted"):
        score(warehouse, pool, trained)
    ids = [row for rows in _documents(shard, pool) for row in rows]
    assert ids == ["http://example.org/a", None]


def _documents(shard: Any, pool: Any) -> Any:
    from pcorr_assets.filters.pools import iter_documents

    return ([document.id for document in batch] for batch in iter_documents(shard, pool))
