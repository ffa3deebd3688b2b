"""Groups of files: where files go, that they stay there, and what shows when they change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pcorr_assets.config import Pool
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters import groups
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.warehouse import TABLES, Warehouse

COST = groups.FILE_COST_BYTES


def write_files(folder: Path, **sizes: int) -> None:
    folder.mkdir(exist_ok=True)
    for name, size in sizes.items():
        (folder / f"{name}.jsonl").write_bytes(b" " * size)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool.model_validate(
        {
            "sample": "texts",
            "files": [str(tmp_path / "pool/*.jsonl")],
            "keep_ratio": 0.5,
            "group_bytes": 2 * COST,
        }
    )


def members(wh: Warehouse, pool: str = "crawl") -> dict[str, list[str]]:
    return {
        key: [shard.key.removeprefix(f"{pool}/") for shard in read_group(wh, key).shards]
        for key in groups_of(wh, pool)
    }


def score(wh: Warehouse, key: str) -> None:
    """As far as groups look: there are documents of it."""
    wh.write("pool_documents", (key,), TABLES["pool_documents"].schema.empty_table())


def test_files_fill_groups_by_bytes_in_their_order(tmp_path: Path, pool: Pool) -> None:
    wh = Warehouse(tmp_path / "home")
    # A small file counts as what it costs to open it; a large one makes a group of its own.
    write_files(tmp_path / "pool", a=1, b=COST, c=3 * COST, d=1, e=1, f=1)
    found = refresh_groups(wh, "crawl", pool)
    assert found.keys == ["crawl/0000", "crawl/0001", "crawl/0002", "crawl/0003"]
    assert list(members(wh).values()) == [
        ["a.jsonl", "b.jsonl"], ["c.jsonl"], ["d.jsonl", "e.jsonl"], ["f.jsonl"]
    ]  # fmt: skip
    assert set(found.changed) == set(found.keys)
    assert refresh_groups(wh, "crawl", pool).changed == {}


def test_a_large_pool_has_a_few_hundred_groups_and_a_small_one_has_one() -> None:
    def count(sizes: list[int]) -> int:
        limit = groups._default_bytes(
            [groups.Shard(f"p/{n}", "p", byte_count=size) for n, size in enumerate(sizes)]
        )
        found, filled = 1, 0
        for size in sizes:
            cost = max(size, COST)
            found, filled = (found + 1, cost) if filled + cost > limit else (found, filled + cost)
        return found

    assert count([1 << 30] * 10_000) <= 400
    assert count([1000] * 100_000) <= 10  # 100,000 files of a kilobyte
    assert count([1000] * 3_000) == 1


def test_files_that_come_later_leave_finished_groups_alone(tmp_path: Path, pool: Pool) -> None:
    wh = Warehouse(tmp_path / "home")
    write_files(tmp_path / "pool", b=COST, d=COST, f=1)
    refresh_groups(wh, "crawl", pool)
    score(wh, "crawl/0000")
    write_files(tmp_path / "pool", a=1, c=1)
    found = refresh_groups(wh, "crawl", pool)
    # Nothing of the last group was scored: it is filled up first.
    assert members(wh) == {
        "crawl/0000": ["b.jsonl", "d.jsonl"],
        "crawl/0001": ["f.jsonl", "a.jsonl"],
        "crawl/0002": ["c.jsonl"],
    }
    assert set(found.changed) == {"crawl/0001", "crawl/0002"}
    score(wh, "crawl/0002")
    write_files(tmp_path / "pool", e=1)
    assert set(refresh_groups(wh, "crawl", pool).changed) == {"crawl/0003"}


def test_a_file_that_changed_or_vanished_shows_in_its_group_only(
    tmp_path: Path, pool: Pool
) -> None:
    wh = Warehouse(tmp_path / "home")
    write_files(tmp_path / "pool", a=COST, b=COST, c=COST, d=COST)
    refresh_groups(wh, "crawl", pool)
    before = read_group(wh, "crawl/0001")
    os.utime(tmp_path / "pool/a.jsonl", ns=(1, 1))
    os.utime(tmp_path / "pool/c.jsonl", ns=(1, 1))
    assert refresh_groups(wh, "crawl", pool).changed == {}, "the same content is no change"
    assert read_group(wh, "crawl/0001").identities == before.identities
    (tmp_path / "pool/c.jsonl").write_bytes(b"x" * COST)
    assert list(refresh_groups(wh, "crawl", pool).changed) == ["crawl/0001"]
    after = read_group(wh, "crawl/0001")
    assert [a.version != b.version for a, b in zip(after.shards, before.shards, strict=True)] == [
        True, False
    ]  # fmt: skip
    (tmp_path / "pool/b.jsonl").rename(tmp_path / "b.jsonl")
    with pytest.raises(PcorrError, match=r"b\.jsonl of group crawl/0000 is not there any more"):
        read_group(wh, "crawl/0000")
    assert list(refresh_groups(wh, "crawl", pool).changed) == ["crawl/0000"]
    assert members(wh)["crawl/0000"] == ["a.jsonl"]
    # It comes back to where it was.
    (tmp_path / "b.jsonl").rename(tmp_path / "pool/b.jsonl")
    refresh_groups(wh, "crawl", pool)
    assert members(wh)["crawl/0000"] == ["a.jsonl", "b.jsonl"]


def test_a_group_without_files_is_gone_and_its_number_is_not_given_again(
    tmp_path: Path, pool: Pool
) -> None:
    wh = Warehouse(tmp_path / "home")
    write_files(tmp_path / "pool", a=COST, b=COST, c=COST, d=COST)
    refresh_groups(wh, "crawl", pool)
    for name in "cd":
        (tmp_path / f"pool/{name}.jsonl").unlink()
    found = refresh_groups(wh, "crawl", pool)
    assert (found.keys, found.gone) == (["crawl/0000"], ["crawl/0001"])
    with pytest.raises(PcorrError, match=r"crawl/0001 has no file any more: `pcorr clean`"):
        read_group(wh, "crawl/0001")
    score(wh, "crawl/0001")
    write_files(tmp_path / "pool", e=1)
    assert refresh_groups(wh, "crawl", pool).keys == ["crawl/0000", "crawl/0002"]
    with pytest.raises(PcorrError, match="pool crawl has no group 'crawl/0009'; it has crawl/0000"):
        read_group(wh, "crawl/0009")


def test_files_below_the_home_are_found_where_the_home_is(tmp_path: Path) -> None:
    """A cluster may see the home under another path."""
    write_files(tmp_path / "home", a=1)
    settings: dict[str, Any] = {"sample": "texts", "keep_ratio": 0.5}
    pool = Pool.model_validate({**settings, "files": [str(tmp_path / "home/*.jsonl")]})
    refresh_groups(Warehouse(tmp_path / "home"), "crawl", pool)
    (tmp_path / "home").rename(tmp_path / "moved")
    (shard,) = read_group(Warehouse(tmp_path / "moved"), "crawl/0000").shards
    assert shard.path == tmp_path / "moved/a.jsonl"


def test_the_table_says_which_files_a_group_has(tmp_path: Path, pool: Pool) -> None:
    wh = Warehouse(tmp_path / "home")
    write_files(tmp_path / "pool", a=5)
    refresh_groups(wh, "crawl", pool)
    rows: pa.Table = wh.read("pool_files", "crawl/0000")
    (row,) = rows.to_pylist()
    assert row["path"] == str(tmp_path / "pool/a.jsonl")
    assert (row["shard"], row["byte_count"], row["present"]) == ("crawl/a.jsonl", 5, True)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_group_whose_file_had_to_be_removed_is_made_again_as_it_was(
    tmp_path: Path, pool: Pool, number: int
) -> None:
    wh = Warehouse(tmp_path / "home")
    write_files(tmp_path / "pool", a=1, b=COST, c=3 * COST, d=1, e=1, f=1)
    refresh_groups(wh, "crawl", pool)
    before = members(wh)
    key = f"crawl/{number:04d}"
    rows = wh.read("pool_files", key)
    wh.written("pool_files", key).path.unlink()
    assert set(refresh_groups(wh, "crawl", pool).changed) == {key}
    assert members(wh) == before
    assert wh.read("pool_files", key) == rows
