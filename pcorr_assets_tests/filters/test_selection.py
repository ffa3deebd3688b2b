"""The budget is filled exactly: DuckDB against brute force, and what is written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.config import Pool, SelectionCompute
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters import selection
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.filters.mixture import export_mixture
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.selection import SelectionSummary, select_documents
from pcorr_assets.filters.training import build_filter, find_filter, load_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.json_files import read_json

SAMPLE, TARGET = "texts", "sailing_quiz"
METADATA = {"filter_sha256": "f" * 64, "token_source": "column tokens"}

Scored = tuple[str, float, int]  # content, score, tokens


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_scores(
    warehouse: Warehouse,
    shards: list[list[Scored]],
    metadata: dict[str, str] | None = None,
    groups: list[list[int]] | None = None,
) -> list[str]:
    """Keys of the shards; `groups` are their numbers (default: a group for each)."""
    keys = [f"crawl/{number}.jsonl" for number in range(len(shards))]
    for group, members in enumerate(groups or [[number] for number in range(len(shards))]):
        parts = [scores_of(keys[number], shards[number]) for number in members]
        held = json.dumps([[keys[number], len(shards[number])] for number in members])
        noted = {**(metadata or METADATA), "shards": held}
        where = (f"crawl/{group:04d}", TARGET)
        warehouse.write("pool_scores", where, pa.concat_tables(parts), noted)
    return keys


def scores_of(key: str, rows: list[Scored]) -> pa.Table:
    return pa.table(
        {
            "pool": pa.array(["crawl"] * len(rows), pa.string()),
            "shard": pa.array([key] * len(rows), pa.string()),
            "target": pa.array([TARGET] * len(rows), pa.string()),
            "document_id": pa.array([f"{key}:{i}" for i in range(len(rows))], pa.string()),
            "score": pa.array([row[1] for row in rows], pa.float64()),
            "token_count": pa.array([row[2] for row in rows], pa.int64()),
            "byte_count": pa.array([1] * len(rows), pa.int64()),
            "content_sha256": pa.array([sha(row[0]) for row in rows], pa.string()),
            "contaminated_by": pa.nulls(len(rows), pa.string()),
            "shared_words": pa.nulls(len(rows), pa.string()),
        }
    )


def pool_of(**options: Any) -> Pool:
    return Pool.model_validate({"sample": SAMPLE, "files": ["/pool/*.jsonl"], **options})


def select(
    warehouse: Warehouse, pool: Pool, keys: list[str], compute: SelectionCompute | None = None
) -> tuple[SelectionSummary, dict[str, list[dict[str, Any]]]]:
    groups = sorted({group for group, _ in warehouse.partitions("pool_scores")})
    with select_documents(warehouse, "crawl", pool, TARGET, keys, groups, compute) as selection:
        return selection.summary, {k: selection.documents(k).to_pylist() for k in keys}


def brute_force(shards: list[list[Scored]], budget: int) -> tuple[list[tuple[int, int]], bool]:
    """(shard, row) of the documents taken, in the order they are taken; is the pool short?"""
    order = sorted(
        (-score, sha(content), number, row, tokens)
        for number, rows in enumerate(shards)
        for row, (content, score, tokens) in enumerate(rows)
        if tokens
    )
    first: dict[str, tuple[float, int, int]] = {}
    for negative, content, number, row, _ in order:
        place = (negative, number, row)
        first[content] = min(first.get(content, place), place)
    taken, reached = [], 0
    for negative, content, number, row, tokens in order:
        if first[content] != (negative, number, row):
            continue
        if reached >= budget:
            return taken, False
        taken.append((number, row))
        reached += tokens
    return taken, reached < budget


contents = st.sampled_from([f"text {i}" for i in range(12)])
some_scores = st.sampled_from([0.0, 1e-13, 0.25, 0.5, 0.75, 0.7500000001, 1 - 1e-13, 1.0])
documents = st.tuples(contents, some_scores | st.floats(0, 1), st.integers(0, 9))


# The order in which shards came, and where groups end: files that come later make groups later.
GROUPINGS = (
    lambda numbers: None,
    lambda numbers: [numbers],
    lambda numbers: [numbers[::-1]],
    lambda numbers: [numbers[1:], numbers[:1]] if len(numbers) > 1 else [numbers],
)


@settings(max_examples=60)
@given(
    st.lists(st.lists(documents, max_size=12), min_size=1, max_size=3),
    st.integers(1, 150),
    st.integers(0, len(GROUPINGS) - 1),
)
def test_selection_equals_brute_force(
    shards: list[list[Scored]], budget: int, grouping: int
) -> None:
    """However shards lie in groups, the documents are those of a table for each file."""
    if not sum(tokens for rows in shards for _, _, tokens in rows):
        return
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        groups = GROUPINGS[grouping](list(range(len(shards))))
        keys = write_scores(warehouse, shards, groups=groups)
        summary, found = select(warehouse, pool_of(token_budget=budget), keys)
    taken, is_short = brute_force(shards, budget)
    assert [(n, r["row"]) for n, key in enumerate(keys) for r in found[key]] == sorted(taken)
    assert summary.is_short == is_short
    assert summary.document_count == len(taken)
    assert summary.token_count == sum(shards[n][r][2] for n, r in taken)
    marked = [(n, r["row"]) for n, k in enumerate(keys) for r in found[k] if r["is_boundary"]]
    assert marked == ([] if is_short else [taken[-1]])
    if is_short:
        assert summary.boundary is None
    else:
        assert summary.token_count - shards[taken[-1][0]][taken[-1][1]][2] < budget
        assert summary.boundary is not None
        assert summary.boundary.document_id == f"{keys[taken[-1][0]]}:{taken[-1][1]}"
    assert summary.threshold == min(shards[n][r][1] for n, r in taken)


@settings(max_examples=10)
@given(st.lists(documents, min_size=1, max_size=12), st.sampled_from(["0.1", "0.3", "1.0"]))
def test_keep_ratio_is_of_the_scored_tokens(rows: list[Scored], ratio: str) -> None:
    total = sum(tokens for _, _, tokens in rows)
    if not total:
        return
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        keys = write_scores(warehouse, [rows])
        summary, _ = select(warehouse, pool_of(keep_ratio=float(ratio)), keys)
    assert Fraction(ratio) * total <= summary.budget < Fraction(ratio) * total + 1


def test_many_copies_far_down_are_reached(tmp_path: Path) -> None:
    """Copies fill what the histogram promised, so the search has to go further down."""
    rows = [("same", 0.9, 10)] * 500 + [(f"t{i}", 0.8 - i / 1000, 10) for i in range(300)]
    warehouse = Warehouse(tmp_path)
    keys = write_scores(warehouse, [rows])
    summary, found = select(warehouse, pool_of(token_budget=2000), keys)
    assert [row["row"] for row in found[keys[0]]] == [0, *range(500, 699)]
    assert summary.duplicate_document_count == 499
    assert summary.duplicate_token_count == 4990
    assert summary.pool_document_count == 800


def test_a_pool_below_the_budget_is_selected_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse = Warehouse(tmp_path)
    keys = write_scores(warehouse, [[("a", 0.1, 5), ("b", 0.9, 5), ("", 0.0, 0)]])
    summary, found = select(warehouse, pool_of(token_budget=11), keys)
    assert summary.is_short
    assert [row["row"] for row in found[keys[0]]] == [0, 1]
    assert summary.empty_document_count == 1
    assert "the pool holds only 10" in caplog.text
    exact, _ = select(warehouse, pool_of(token_budget=10), keys)
    assert not exact.is_short
    assert exact.boundary is not None


def test_missing_and_mixed_scores_are_refused(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    keys = write_scores(warehouse, [[("a", 0.5, 1)], [("b", 0.5, 1)]])
    with pytest.raises(PcorrError, match=r"1 of 3 shards have no scores \(crawl/9\.jsonl\)"):
        select(warehouse, pool_of(token_budget=1), [*keys, "crawl/9.jsonl"])
    with pytest.raises(PcorrError, match=r"1 shards have scores, but .*crawl/1\.jsonl"):
        select(warehouse, pool_of(token_budget=1), keys[:1])
    where = ("crawl/0000", TARGET)
    noted = {**warehouse.metadata("pool_scores", *where), "filter_sha256": "0"}
    warehouse.write("pool_scores", where, warehouse.read("pool_scores", *where), noted)
    with pytest.raises(PcorrError, match="come from different filters"):
        select(warehouse, pool_of(token_budget=1), keys)
    warehouse.path("pool_scores", "crawl/0001", TARGET).unlink()
    write_scores(warehouse, [[("", 0.0, 0)]])
    with pytest.raises(PcorrError, match="none of the 1 scored documents has a token"):
        select(warehouse, pool_of(token_budget=1), keys[:1])


PoolWorld = Callable[..., tuple[Warehouse, Pool, Path]]


@pytest.fixture
def make_pool(make_world: Callable[..., Any], tmp_path: Path) -> PoolWorld:
    """A pool of two shards, scored with a real filter."""

    def make(ending: str = ".jsonl", **options: Any) -> tuple[Warehouse, Pool, Path]:
        world = make_world()
        build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
        folder = tmp_path / "pool"
        folder.mkdir()
        for number in range(2):
            rows = [
                {
                    "id": f"{number}-{i}",
                    "text": f"{'mast keel' if i % 3 == 0 else 'rook oven'} {number} {i} \u00e9",
                    "tokens": 4,
                    "meta": {"lang": "en", "n": i} if ending == ".parquet" or i % 2 else None,
                }
                for i in range(30)
            ]
            if ending == ".parquet":
                pq.write_table(pa.Table.from_pylist(rows), folder / f"{number}.parquet")
            else:
                text = "".join(json.dumps(row) + "\n" for row in rows)
                (folder / f"{number}.jsonl").write_text(text)
        options = {"token_budget": 40, "token_count_column": "tokens", **options}
        pool = Pool.model_validate(
            {"sample": SAMPLE, "files": [str(folder / f"*{ending}")], **options}
        )
        filters = {TARGET: find_filter(world.warehouse, SAMPLE, TARGET)}
        for key in refresh_groups(world.warehouse, "crawl", pool).keys:
            score_group(world.warehouse, read_group(world.warehouse, key), pool, filters)
        return world.warehouse, pool, folder

    return make


def write(warehouse: Warehouse, pool: Pool, **options: Any) -> Any:
    shards = list_shards("crawl", pool)
    groups = groups_of(warehouse, "crawl")
    return write_selected(warehouse, "crawl", pool, TARGET, shards, groups, **options)


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return [json.loads(line) for line in data.decode().splitlines()]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("output", ["parquet", "jsonl", "jsonl.zst"])
def test_documents_are_written_with_their_columns(
    make_pool: PoolWorld, ending: str, output: str
) -> None:
    warehouse, pool, folder = make_pool(ending, format=output)
    done = write(warehouse, pool, config={"keep": 1}, run_id="run-7")
    manifest = read_json(done.folder / "manifest.json")
    assert manifest == json.loads(json.dumps(done.manifest))
    assert manifest["document_count"] == 10
    assert manifest["token_count"] == 40
    assert manifest["run_id"] == "run-7"
    assert manifest["config"] == {"keep": 1}
    assert manifest["filter_sha256"] == load_filter(warehouse, SAMPLE, TARGET).sha256
    names = {"manifest.json", *(entry["file"] for entry in manifest["files"])}
    assert {path.name for path in done.folder.iterdir()} == names
    selections = warehouse.read("selections", "crawl", TARGET).to_pylist()
    assert sum(row["is_boundary"] for row in selections) == 1
    written = [row for entry in manifest["files"] for row in rows_of(done.folder / entry["file"])]
    originals = {row["id"]: row for path in folder.iterdir() for row in rows_of(path)}
    for row, selected in zip(written, selections, strict=True):
        assert row["score"] == selected["score"] >= manifest["threshold"]
        assert "mast" in row["text"]
        assert {k: v for k, v in row.items() if k != "score"} == originals[row["id"]]
        assert row["id"] == selected["document_id"]


def test_drawn_documents_are_written_with_their_scores(make_pool: PoolWorld) -> None:
    warehouse, pool, _ = make_pool(draw={})
    first = write(warehouse, pool)
    parts = [warehouse.read("pool_scores", *keys) for keys in warehouse.partitions("pool_scores")]
    own = {row["document_id"]: row["score"] for part in parts for row in part.to_pylist()}
    selected = warehouse.read("selections", "crawl", TARGET).to_pylist()
    assert all(row["score"] == own[row["document_id"]] for row in selected)
    manifest = first.manifest
    assert manifest["threshold"] is manifest["fasttext_threshold"] is None
    assert manifest["document_count"] == len(selected) == 10
    names = [entry["file"] for entry in manifest["files"]]
    before = [(first.folder / name).read_bytes() for name in names]
    again = write(warehouse, pool)
    assert [(again.folder / name).read_bytes() for name in names] == before


def test_a_score_column_of_the_pool_is_kept(make_pool: PoolWorld) -> None:
    warehouse, pool, folder = make_pool(format="jsonl")
    for path in folder.iterdir():
        rows = [{**row, "score": "old"} if i else row for i, row in enumerate(rows_of(path))]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for output in ("jsonl", "parquet"):
        pool = pool.model_copy(update={"format": output})
        done = write(warehouse, pool)
        rows = [r for entry in done.manifest["files"] for r in rows_of(done.folder / entry["file"])]
        assert {entry["score_column"] for entry in done.manifest["files"]} == {"pcorr_score"}
        assert {row.get("score") for row in rows} == {"old", None}
        assert all(0 <= row["pcorr_score"] <= 1 for row in rows)
        assert {p.name for p in done.folder.iterdir()} == {
            "manifest.json", *(entry["file"] for entry in done.manifest["files"])
        }  # fmt: skip


def test_json_columns_of_mixed_types_become_json_text(make_pool: PoolWorld) -> None:
    warehouse, pool, folder = make_pool()
    for path in folder.iterdir():
        rows = [{**row, "meta": row["id"] if i % 2 else i} for i, row in enumerate(rows_of(path))]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = write(warehouse, pool)
    rows = [r for entry in done.manifest["files"] for r in rows_of(done.folder / entry["file"])]
    for row in rows:
        number = int(row["id"].split("-")[1])
        assert json.loads(row["meta"]) == (row["id"] if number % 2 else number)


def test_a_pool_that_changed_after_scoring_is_refused(make_pool: PoolWorld) -> None:
    warehouse, pool, folder = make_pool()
    path = folder / "1.jsonl"
    original = path.read_text()
    path.write_text(original.replace("mast", "Mast"))
    with pytest.raises(PcorrError, match=r"1\.jsonl, row \d+: the text is not the one"):
        write(warehouse, pool)
    path.write_text("".join(original.splitlines(keepends=True)[:2]))
    with pytest.raises(PcorrError, match=r"1\.jsonl: it has 2 rows now"):
        write(warehouse, pool)
    assert not warehouse.exists("selections", "crawl", TARGET)
    # What was written of the first shard is kept, and goes on from there.
    path.write_text(original)
    done = write(warehouse, pool)
    assert done.reused_shard_count == 1
    assert done.manifest["document_count"] == 10
    again = write(warehouse, pool)
    assert again.reused_shard_count == 0
    assert again.manifest == done.manifest


def test_files_of_an_earlier_selection_go(make_pool: PoolWorld) -> None:
    warehouse, pool, _ = make_pool(format="jsonl")
    first = write(warehouse, pool)
    smaller = pool.model_copy(update={"token_budget": 4, "format": "parquet"})
    done = write(warehouse, smaller)
    assert done.manifest["document_count"] == 1
    assert len(first.manifest["files"]) == 2
    assert {path.suffix for path in done.folder.iterdir()} == {".json", ".parquet"}
    assert len(list(done.folder.iterdir())) == 2


@pytest.mark.parametrize("moment", ["a shard", "the move aside", "the move into place"])
def test_a_killed_writer_leaves_the_old_selection_whole(
    make_pool: PoolWorld, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    warehouse, pool, _ = make_pool(format="jsonl")
    first = write(warehouse, pool)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    smaller = pool.model_copy(update={"token_budget": 4})
    real = os.rename

    def die(source: Path, target: Path) -> None:
        is_aside = Path(target).name.startswith(".old-")
        if is_aside == (moment == "the move aside"):
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as killed:
        if moment == "a shard":
            killed.setattr("pcorr_assets.filters.writing._manifest", _interrupt)
        else:
            killed.setattr("pcorr_assets.warehouse.files.os.rename", die)
        with pytest.raises(KeyboardInterrupt):
            write(warehouse, smaller)
    # What a crash between the two moves left is put right before anything else is done.
    with monkeypatch.context() as again:
        again.setattr("pcorr_assets.filters.writing.select_documents", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(warehouse, smaller)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before
    done = write(warehouse, smaller)
    assert done.manifest["document_count"] == 1
    assert {path.name for path in done.folder.iterdir()} == {
        "manifest.json", *(entry["file"] for entry in done.manifest["files"])
    }  # fmt: skip
    unfinished = warehouse.home / "selected" / ".unfinished"
    assert not [path for path in unfinished.rglob("*") if path.is_file() or ".old-" in path.name]


def _interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_mixture_files(tmp_path: Path) -> None:
    units = {"b.example": (0.25, 0.5), "a.example": (0.5, 0.5), "c.example": (0.0, 0.5),
             "no": (0.25, 0.25)}  # fmt: skip
    table = pa.table(
        {
            "unit": list(units),
            "weight": [weight for weight, _ in units.values()],
            "tau": [tau for _, tau in units.values()],
            "token_count": pa.array([1, None, 3, 4], pa.int64()),
        }
    )
    files = export_mixture(table, tmp_path)
    expected = {"a.example": 0.5, "b.example": 0.25, "no": 0.25}
    loaded = yaml.safe_load(files.yaml.read_text())
    assert loaded == expected  # a domain named "no" stays text
    assert list(loaded) == list(expected)
    rows = pq.read_table(files.parquet).to_pylist()
    assert {row["unit"]: row["weight"] for row in rows} == expected
    assert sum(row["weight"] for row in rows) == 1
    assert {row["inclusion_probability"] for row in rows} == {None}
    files = export_mixture(table, tmp_path, pa.chunked_array([[0.4, 0.9, 0.1, 0.7]]))
    rows = pq.read_table(files.parquet).to_pylist()
    assert {row["unit"]: row["inclusion_probability"] for row in rows} == {
        "a.example": 0.9, "b.example": 0.4, "no": 0.7
    }  # fmt: skip
    assert files.unit_count == 3
    with pytest.raises(PcorrError, match="no mixture"):
        export_mixture(table.slice(2, 1), tmp_path)


@pytest.mark.parametrize("memory", ["200M", "4G"])
def test_threads_and_memory_change_nothing_but_the_time(tmp_path: Path, memory: str) -> None:
    rng = np.random.default_rng(0)
    numbers = zip(rng.integers(0, 60_000, 100_000), rng.random(100_000), strict=True)
    rows = [(f"text {content}", float(score), 3) for content, score in numbers]
    warehouse = Warehouse(tmp_path / "home")
    keys = write_scores(warehouse, [rows[:50_000], rows[50_000:]])
    pool = pool_of(keep_ratio=0.5)
    compute = SelectionCompute(threads=1 if memory == "200M" else 3, memory=memory)
    limited, documents = select(warehouse, pool, keys, compute)
    plain, expected = select(warehouse, pool, keys)
    assert limited == plain
    assert documents == expected


def test_the_machine_decides_where_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "cpu_count", lambda: 3)
    monkeypatch.setattr(selection, "free_memory_bytes", lambda: 6 << 30)
    asked = "SELECT current_setting('threads'), current_setting('memory_limit')"
    said = [None, SelectionCompute(memory="700M"), SelectionCompute(threads=5)]
    found = []
    for compute in said:
        with selection._connect(tmp_path, compute) as connection:
            found += connection.execute(asked).fetchall()
    assert found == [(3, "3.0 GiB"), (3, "700.0 MiB"), (5, "3.0 GiB")]
    monkeypatch.setattr(selection, "free_memory_bytes", lambda: 0)
    with selection._connect(tmp_path, None) as connection:
        assert connection.execute(asked).fetchall() == [(3, "512.0 MiB")]
