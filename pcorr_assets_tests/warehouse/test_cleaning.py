"""Files of keys that are gone: found by what they are named, moved, and moved back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pcorr_assets.config.keys import to_slug
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.cleaning import KnownKeys, find_orphans, move_away

KNOWN = KnownKeys(
    llms=frozenset({"org/kept", "org/kept@step1"}),
    samples=frozenset({"web", "published"}),
    text_samples=frozenset({"web"}),
    targets=frozenset({"t"}),
    pools=frozenset({"crawl"}),
    pool_groups=frozenset({"crawl/0000"}),
)
# For each kind of key one that is known and one that is gone.
KEYS = {
    "llm": ("org/kept@step1", "org/gone@step1"),
    "sample": ("web", "old"),
    "target": ("t", "old-t"),
    "pool": ("crawl", "old-pool"),
    "pool_group": ("crawl/0000", "crawl/0001"),
}
FOLDERS = {
    "shards": ("llm", "sample"),
    "pool_parts": ("pool_group",),
    "evaluations": ("llm",),
    "mixtures": ("sample", "target"),
    "filters": ("sample", "target"),
    "selected": ("pool", "target"),
    "reports": ("sample", "target"),
    "exports/published": ("sample",),
}


def fill(home: Path) -> set[str]:
    """One path for every combination of kept and gone keys; returns those of gone keys."""
    wh = Warehouse(home)
    gone = set()
    for table in TABLES.values():
        for keys in combinations(table.partition_keys):
            path = write(wh.path(table.name, *keys))
            if set(keys) & {old for _, old in KEYS.values()}:
                gone.add(path.relative_to(home).as_posix())
    for name, kinds in FOLDERS.items():
        for keys in combinations(kinds):
            path = home.joinpath(name, *map(to_slug, keys))
            if name == "reports":
                path = path.with_name(f"{path.name}.html")
                write(path)
            else:
                write(path / "part" / "file")
            if any(key == KEYS[kind][1] for kind, key in zip(kinds, keys, strict=True)):
                gone.add(path.relative_to(home).as_posix())
    return gone


def combinations(kinds: tuple[str, ...]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for kind in kinds:
        found = [(*keys, key) for keys in found for key in KEYS[kind]]
    return found


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(path))
    return path


def tree(home: Path) -> dict[str, str]:
    return {
        path.relative_to(home).as_posix(): path.read_text()
        for path in home.rglob("*")
        if path.is_file() and "locks" not in path.relative_to(home).parts
    }


def test_exactly_what_belongs_to_a_key_that_is_gone_is_found(tmp_path: Path) -> None:
    gone = fill(tmp_path)
    found = find_orphans(tmp_path, KNOWN)
    assert {orphan.path.as_posix() for orphan in found} == gone
    assert [orphan.path for orphan in found] == sorted(orphan.path for orphan in found)
    by_path = {orphan.path.as_posix(): orphan for orphan in found}
    both = by_path["warehouse/chunk_bpb/org%2Fgone%40step1/old.parquet"]
    assert both.why == "llm org/gone@step1 and text sample old"
    assert both.byte_count == (tmp_path / both.path).stat().st_size


def test_moving_away_loses_nothing_and_moving_back_restores_all(tmp_path: Path) -> None:
    gone = fill(tmp_path)
    before = tree(tmp_path)
    cleaned = move_away(tmp_path, find_orphans(tmp_path, KNOWN))
    assert {orphan.path.as_posix() for orphan in cleaned.moved} == gone
    assert cleaned.held == []
    assert cleaned.folder.parent == tmp_path / "removed"
    assert find_orphans(tmp_path, KNOWN) == []
    moved = tree(cleaned.folder)
    kept = {path: text for path, text in tree(tmp_path).items() if path.split("/")[0] != "removed"}
    assert moved.keys() | kept.keys() == before.keys()
    assert not moved.keys() & kept.keys()
    shutil.copytree(cleaned.folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "removed")
    assert tree(tmp_path) == before


def test_two_cleanings_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = []
    for _ in range(2):
        write(tmp_path / "evaluations" / "gone" / "file")
        folders.append(move_away(tmp_path, find_orphans(tmp_path, KNOWN)).folder)
    assert len(set(folders)) == 2
    assert all((folder / "evaluations" / "gone" / "file").is_file() for folder in folders)


@pytest.mark.parametrize(
    ("path", "lock"),
    [
        ("warehouse/chunk_bpb/gone/web.parquet", ("chunk_bpb", "gone", "web")),
        ("shards/gone/web/x.parquet", ("chunk_bpb", "gone", "web")),
        ("warehouse/llms/gone.parquet", ("chunk_bpb", "gone", "web")),
        ("warehouse/llms/gone.parquet", ("benchmark_errors", "gone")),
        ("evaluations/gone/x.json", ("benchmark_errors", "gone")),
        ("warehouse/matrix_coverage/old.parquet", ("bpb_matrix", "old")),
        ("warehouse/verdicts/old/t.parquet", ("rank_predictions", "old", "t")),
        ("selected/old/t/x.parquet", ("selections", "old", "t")),
        ("warehouse/pool_scores/crawl%2F0001/t.parquet", ("pool_scores", "crawl/0001")),
        ("warehouse/pool_documents/crawl%2F0001.parquet", ("pool_scores", "crawl/0001")),
        ("pool_parts/crawl%2F0001/x.parquet", ("pool_scores", "crawl/0001")),
        ("reports/old/t.html", ("reports", "old", "t")),
    ],
)
def test_what_a_run_holds_stays(tmp_path: Path, path: str, lock: tuple[str, ...]) -> None:
    file = write(tmp_path / path)
    wh = Warehouse(tmp_path)
    table, *keys = lock
    with wh.lock(table, *keys, holder="run 123"):
        cleaned = move_away(tmp_path, find_orphans(tmp_path, KNOWN))
        assert cleaned.moved == []
        ((_, why),) = cleaned.held
        assert "run 123" in why
        assert file.is_file()
    assert len(move_away(tmp_path, find_orphans(tmp_path, KNOWN)).moved) == 1
    assert not file.exists()


def test_imported_rows_go_with_their_sample(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    for sample in ("published", "old"):
        for table in ("llms", "benchmark_errors"):
            write(wh.path(table, "imported", sample))
    found = find_orphans(tmp_path, KNOWN)
    assert [orphan.why for orphan in found] == ["sample old", "sample old"]


def test_a_text_sample_that_became_an_import_leaves_its_texts(tmp_path: Path) -> None:
    wh = Warehouse(tmp_path)
    for table in ("chunks", "bpb_matrix"):
        write(wh.path(table, "published"))
    assert [orphan.path.name for orphan in find_orphans(tmp_path, KNOWN)] == ["published.parquet"]
    assert find_orphans(tmp_path, KNOWN)[0].path.parts[1] == "chunks"


def test_scores_of_single_files_are_of_an_earlier_version(tmp_path: Path) -> None:
    write(Warehouse(tmp_path).path("pool_scores", "crawl/b.parquet", "t"))
    write(Warehouse(tmp_path).path("pool_scores", "crawl/0000", "t"))
    (orphan,) = find_orphans(tmp_path, KNOWN)
    assert orphan.why == "pool_group crawl/b.parquet"


def test_what_the_platform_did_not_write_stays(tmp_path: Path) -> None:
    strays = [
        "reports/index.html",
        "reports/old/notes.txt",
        "evaluations/.hidden/x",
        "evaluations/read me/x",
        "shards/notes.txt",
        "cache/unit_tokens/abc.json",
        "refused/chunk_bpb/x.parquet",
        "own folder/file",
        "warehouse/chunks/_schema.parquet",
        "exports/pcorr_export.duckdb",
    ]
    for stray in strays:
        write(tmp_path / stray)
    assert find_orphans(tmp_path, KNOWN) == []


def test_an_empty_home_has_none(tmp_path: Path) -> None:
    assert find_orphans(tmp_path / "nothing", KNOWN) == []
