"""Whether every file under a home is still the one that was written.

Belongs here: which files there are, how each kind is verified, and what to do about a damaged
one. Does not belong here: the seals (`parquet_files`, `json_files`), and mending.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pcorr_assets.config.keys import from_slug
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.json_files import has_hash, read_json
from pcorr_assets.warehouse.parquet_files import SEAL, naming_damage, open_parquet
from pcorr_assets.warehouse.store import remedy_of_partition
from pcorr_assets.warehouse.views import DATABASE, SCHEMA_FILE, database_is_whole

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
# What is given away has it beside itself, and its owner writes into it.
CARD = "README.md"
_MODEL = re.compile(r"([0-9a-f]{64})\.(bin|ftz)")

# The first folder under the home, and what to do about a damaged file in it.
REMEDIES = {
    "shards": "Nothing need be done: the next scoring leaves it out and scores its batches again.",
    "pool_parts": "Nothing need be done: the next run over this group reads its rows again.",
    "evaluations": "Materialise benchmark_errors of this LLM again: the benchmark is evaluated "
    "again if the configuration still lists it.",
    "cache": "Nothing need be done: it is counted again when it is needed.",
    "filters": "Materialise fasttext_filter of this sample and target again.",
    "mixtures": "Materialise sampling_distribution of this sample and target again.",
    "selected": "Remove it and materialise selected_data of this pool and target again.",
    "exports": "Export again.",
}

OF_PARQUET = ("warehouse", "shards", "pool_parts", "mixtures", "exports")


@dataclass
class Verified:
    """What was found: how many files were verified and are whole, which are damaged (sorted by
    path), and which carry no hash, because an earlier version or somebody else wrote them."""

    whole: int = 0
    byte_count: int = 0
    damaged: list[DamagedFileError] = field(default_factory=list)
    without_hash: list[Path] = field(default_factory=list)


def verify_home(home: Path) -> Verified:
    """Read every file under the home that the platform would notice damage of.

    A file that a run replaces meanwhile is verified as old or new; one that it removes is
    passed over.

    Raises:
        PcorrError: there is no such folder.
    """
    if not home.is_dir():
        raise PcorrError(
            f"{home} is not there. Give the folder that `home` names in pcorr.yaml, or "
            "materialise something into it first."
        )
    files = [*_files(home)]
    found = Verified()
    with Progress("verify", total=sum(size for _, size in files), unit="bytes") as progress:
        for path, size in files:
            try:
                is_hashed = verify_file(home, path)
            except FileNotFoundError:
                continue
            except DamagedFileError as error:
                found.damaged.append(error)
            else:
                found.without_hash += [] if is_hashed else [path]
                found.whole += is_hashed
                found.byte_count += size if is_hashed else 0
            progress.update(size)
    return found


def verify_file(home: Path, path: Path) -> bool:
    """Read one file under the home; True if it is as it was written, False if nothing says so.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFileError: it is not as it was written; with what to do.
    """
    verify = _verifier(path.relative_to(home).parts)
    try:
        return verify is not None and verify(path)
    except DamagedFileError as error:
        remedy = _remedy(home, path) or error.remedy
        raise DamagedFileError(path, error.reason, remedy) from None


def _files(home: Path) -> Iterator[tuple[Path, int]]:
    for path in sorted(home.rglob("*")):
        if _verifier(path.relative_to(home).parts) is not None and path.is_file():
            yield path, path.stat().st_size


def _verifier(place: tuple[str, ...]) -> Callable[[Path], bool] | None:
    name, suffix = place[-1], Path(place[-1]).suffix
    # Temporary files and scratch folders of runs.
    if any(part.startswith(".") for part in place):
        return None
    if place == (DATABASE,):
        return _verify_database
    if place[0] == "filters":
        return _verify_model if _MODEL.fullmatch(name) else None
    if place[0] == "selected":
        # A card is there to be edited.
        return None if name == CARD else _verify_selected
    if suffix == ".parquet" and place[0] in OF_PARQUET:
        return _verify_parquet
    if suffix == ".json" and place[0] in ("evaluations", "cache"):
        return _verify_json
    return None


def _verify_parquet(path: Path) -> bool:
    with open_parquet(path) as file, naming_damage(path):
        if SEAL.encode() in (file.metadata.metadata or {}):
            return True
        for group in range(file.num_row_groups):  # what can be said: whether it can be read
            file.read_row_group(group)
    return False


def _verify_json(path: Path) -> bool:
    read_json(path)
    return has_hash(path)


def _verify_model(path: Path) -> bool:
    if sha256_file(path) != path.stem:
        raise DamagedFileError(path, "it does not have the hash that it is named by")
    return True


def _verify_selected(path: Path) -> bool:
    """Files of selected documents are known to the manifest."""
    if path.name == MANIFEST:
        return _verify_json(path)
    manifest = path.with_name(MANIFEST)
    try:
        entries = read_json(manifest)["files"] if manifest.is_file() else []
    except DamagedFileError:  # which is said of that file
        return False
    expected = [entry["sha256"] for entry in entries if entry["file"] == path.name]
    if expected and sha256_file(path) != expected[0]:
        raise DamagedFileError(path, "it does not have the hash that its manifest names")
    return bool(expected)


def _verify_database(path: Path) -> bool:
    if not database_is_whole(path):
        raise DamagedFileError(
            path, "DuckDB cannot read it", "Nothing need be done: the next run writes it again."
        )
    return True


def _remedy(home: Path, path: Path) -> str:
    place = path.relative_to(home).parts
    if place[0] != "warehouse":
        return REMEDIES.get(place[0], "")
    if place[-1] == SCHEMA_FILE:
        return "Nothing need be done: the next run writes it again."
    slugs = (*place[2:-1], Path(place[-1]).stem)
    try:
        keys = tuple(from_slug(slug) for slug in slugs)
    except PcorrError:
        return ""
    return remedy_of_partition(place[1], keys)
