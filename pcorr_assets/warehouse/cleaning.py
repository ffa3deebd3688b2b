"""Files of samples, targets, pools, their groups and LLMs that are gone, moved out of the way.

Belongs here: everything that rooms write under the home folder by key, which of it
belongs to keys that nobody knows any more, and moving it. Does not belong here: which keys
are known (the configuration, and the partitions of the instance).

Nothing is deleted: `<home>/removed/<time>/` keeps the paths that files had under the home,
so that moving them back restores them. Locks stay (a lock file that is taken away would let
two runs lock two files of one name), and so do caches, which go by content.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pcorr_assets.config.keys import from_slug, to_slug
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.registry import TABLES
from pcorr_assets.warehouse.store import IMPORTED, Warehouse

REMOVED = "removed"
HOLDER = "pcorr clean"


@dataclass(frozen=True)
class Folder:
    """What lies outside of the tables: the keys in its path, and the lock of its writer.

    At the last level stand folders, or files with an `ending`.
    """

    kinds: tuple[str, ...]
    lock: str
    ending: str = ""


FOLDERS = {
    "shards": Folder(("llm", "text sample"), "chunk_bpb"),
    "evaluations": Folder(("llm",), "benchmark_errors"),
    "pool_parts": Folder(("pool_group",), "pool_scores"),
    "mixtures": Folder(("sample", "target"), "sampling_distributions"),
    "filters": Folder(("text sample", "target"), "fasttext_filters"),
    "selected": Folder(("pool", "target"), "selections"),
    "selected/.unfinished": Folder(("pool", "target"), "selections"),
    "reports": Folder(("sample", "target"), "reports", ".html"),
    "exports/published": Folder(("sample",), "published_export"),
}
# Tables whose writer holds the lock of another one.
LOCK_OF_TABLE = {
    "matrix_coverage": "bpb_matrix",
    "low_cells": "bpb_matrix",
    "reliabilities": "error_vectors",
    "verdicts": "rank_predictions",
    "learning_curves": "next_llms",
    "changes": "reports",
    "pilots": "estimates",
    "compared_documents": "compared_selections",
    "scoring_runs": "chunk_bpb",
    "contaminated_chunks": "clean_estimates",
}
# Written together by whoever holds the lock of a group.
OF_A_GROUP = ("pool_documents", "pool_scores")
OF_TEXT = (
    "chunks",
    "chunk_bpb",
    "scoring_runs",
    "clean_estimates",
    "contaminated_chunks",
    "fasttext_filters",
)

Lock = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class KnownKeys:
    """All keys that are in use: what has another key is in nobody's way but its own.

    `pool_groups` are keys `pool/number`. Tables of an earlier version, which had a partition
    for each file, are of no group.
    """

    llms: frozenset[str]
    samples: frozenset[str]
    text_samples: frozenset[str]
    targets: frozenset[str]
    pools: frozenset[str]
    pool_groups: frozenset[str]

    def is_known(self, kind: str, key: str) -> bool:
        """Is it a key in use? `kind` is llm, sample, text sample, target, pool or pool_group."""
        known = {
            "llm": self.llms,
            "sample": self.samples,
            "text sample": self.text_samples,
            "target": self.targets,
            "pool": self.pools,
            "pool_group": self.pool_groups,
        }
        return key in known[kind]


@dataclass(frozen=True)
class Orphan:
    """A file or folder, relative to the home, of a key that is gone; `why` names the key.

    `locks` are those that whoever writes it would hold.
    """

    path: Path
    why: str
    byte_count: int
    locks: tuple[Lock, ...]


@dataclass(frozen=True)
class Cleaned:
    """What was moved to `folder`, and what was left because a run holds it (with its words)."""

    folder: Path
    moved: list[Orphan] = field(default_factory=list)
    held: list[tuple[Orphan, str]] = field(default_factory=list)


def find_orphans(home: Path, known: KnownKeys) -> list[Orphan]:
    """Everything under the home that belongs to keys that are not known, sorted by path."""
    found = [*_in_tables(Warehouse(home), known), *_in_folders(home, known)]
    return sorted(found, key=lambda orphan: orphan.path)


def move_away(home: Path, orphans: Iterable[Orphan]) -> Cleaned:
    """Move orphans to `<home>/removed/<UTC time>/`, leaving those that a run holds.

    Raises:
        PcorrError: a move failed; what was moved before stays moved, the rest stays.
    """
    home = home.absolute()
    wh = Warehouse(home)
    cleaned = Cleaned(_new_folder(home))
    for orphan in orphans:
        with ExitStack() as stack:
            try:
                for table, keys in orphan.locks:
                    stack.enter_context(wh.lock(table, *keys, holder=HOLDER))
            except PcorrError as error:
                cleaned.held.append((orphan, str(error)))
                continue
            if _move(home, orphan.path, cleaned.folder):
                cleaned.moved.append(orphan)
    return cleaned


def _in_tables(wh: Warehouse, known: KnownKeys) -> Iterator[Orphan]:
    for table in TABLES.values():
        for keys in wh.partitions(table.name):
            named = list(zip(table.partition_keys, keys, strict=False))
            if keys[0] == IMPORTED and len(keys) > len(table.partition_keys):
                named = [("sample", keys[1])]
            elif table.name in OF_TEXT:
                named = [("text sample" if k == "sample" else k, key) for k, key in named]
            why = _why(named, known)
            if why:
                path = wh.path(table.name, *keys)
                locks = _locks_of(wh, table.name, keys)
                yield Orphan(path.relative_to(wh.home), why, path.stat().st_size, locks)


def _locks_of(wh: Warehouse, table: str, keys: tuple[str, ...]) -> tuple[Lock, ...]:
    if keys[0] == IMPORTED:
        return (("bpb_matrix", keys[1:]),)
    if table in OF_A_GROUP:
        return (("pool_scores", keys[:1]),)
    if table != "llms":
        return ((LOCK_OF_TABLE.get(table, table), keys),)
    # The record of an LLM is read and written by all of its jobs.
    scored = wh.home / "locks" / "chunk_bpb" / to_slug(keys[0])
    samples = [from_slug(path.name.removesuffix(".lock")) for path in scored.glob("*.lock")]
    others: list[Lock] = [("chunk_bpb", (keys[0], sample)) for sample in sorted(samples)]
    return (("benchmark_errors", keys), *others)


def _in_folders(home: Path, known: KnownKeys) -> Iterator[Orphan]:
    for name, folder in FOLDERS.items():
        for path, keys in _named(home / name, len(folder.kinds), folder.ending):
            why = _why(list(zip(folder.kinds, keys, strict=True)), known)
            if why:
                yield Orphan(path.relative_to(home), why, _size(path), ((folder.lock, keys),))


def _named(
    folder: Path, levels: int, ending: str, keys: tuple[str, ...] = ()
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """What lies so many levels deep, with the keys that its path is named by."""
    is_last = levels == 1
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        key = _key_of(path, is_last, ending)
        if key is not None and is_last:
            yield path, (*keys, key)
        elif key is not None:
            yield from _named(path, levels - 1, ending, (*keys, key))


def _key_of(path: Path, is_last: bool, kept_as: str) -> str | None:
    """The key that a file or folder is named by; None for what the platform did not name."""
    is_file = is_last and bool(kept_as)
    if path.name.startswith(".") or path.is_file() != is_file:
        return None
    if is_file and not path.name.endswith(kept_as):
        return None
    try:
        return from_slug(path.name.removesuffix(kept_as) if is_file else path.name)
    except PcorrError:
        return None


def _why(named: list[tuple[str, str]], known: KnownKeys) -> str:
    gone = [f"{kind} {key}" for kind, key in named if not known.is_known(kind, key)]
    return " and ".join(gone)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())


def _new_folder(home: Path) -> Path:
    """A name of its own for each cleaning, even of two in one second."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    folder, number = home / REMOVED / stamp, 1
    while folder.exists():
        number += 1
        folder = home / REMOVED / f"{stamp}-{number}"
    return folder


def _move(home: Path, path: Path, folder: Path) -> bool:
    """Move one path, leaving its folder to whoever may be writing there; False if it is gone."""
    source, target = home / path, folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(source, target)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PcorrError(
            f"{source} could not be moved to {target} ({error.strerror}); what was moved before is "
            f"in {folder}"
        ) from error
    return True
