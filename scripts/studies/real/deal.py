"""Who reads which documents: LLMs, sample, pool and benchmarks, each domains of its own.

Belongs here: dealing domains out, and the files of each part. Does not belong here: documents
themselves (`texts`), and what is made of a part.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pcorr_assets.demo.corpus import write_rows
from pcorr_assets.text.files import iter_file
from scripts.studies.real.settings import StudySettings
from scripts.studies.real.texts import Document

PARTS = ("zoo", "sample", "pool", "held_out")
# Of ten domains of a stratum in the order of their hash: two are read by the LLMs, three are
# sampled, four are in the pool, and one is held out.
_ORDER = ("held_out", "zoo", "sample", "pool", "pool", "sample", "zoo", "pool", "sample", "pool")
_COLUMNS = ["id", "domain", "language", "kind", "text"]
POOL_FILES = 4


def part_file(folder: Path, part: str) -> Path:
    """Where the documents of a part lie."""
    return folder / "texts" / f"{part}.jsonl.gz"


def deal(documents: Iterable[Document]) -> dict[str, list[Document]]:
    """The documents of each part. Every stratum has domains in every part, and no domain is in
    two parts."""
    domains: dict[tuple[str, str], dict[str, list[Document]]] = defaultdict(dict)
    for one in documents:
        domains[(one.language, one.kind)].setdefault(one.domain, []).append(one)
    parts: dict[str, list[Document]] = {part: [] for part in PARTS}
    for stratum in sorted(domains):
        own = domains[stratum]
        order = sorted(own, key=lambda name: hashlib.sha256(f"deal/{name}".encode()).digest())
        for number, name in enumerate(order):
            parts[_ORDER[number % len(_ORDER)]] += own[name]
    return parts


def write_parts(folder: Path, documents: Iterable[Document]) -> None:
    """Write a file for each part, and the pool's again as the files that the platform reads."""
    parts = deal(documents)
    for number in range(POOL_FILES):
        rows = [_row(one) for one in parts["pool"][number::POOL_FILES]]
        write_rows(folder / "pool" / f"part-{number}.jsonl.gz", rows)
    counts = {part: _count(own) for part, own in parts.items()}
    (folder / "texts").mkdir(parents=True, exist_ok=True)
    (folder / "texts" / "counts.json").write_text(json.dumps(counts, indent=1))
    for part, own in parts.items():
        write_rows(part_file(folder, part), [_row(one) for one in own])


def read_part(folder: Path, part: str) -> list[Document]:
    """The documents of a part as they were written."""
    return [
        Document(**row) for rows in iter_file(part_file(folder, part), _COLUMNS) for row in rows
    ]


def is_dealt(folder: Path) -> bool:
    """Whether all parts were written."""
    return all(part_file(folder, part).is_file() for part in PARTS)


def read_counts(folder: Path) -> dict[str, dict[str, int]]:
    """Documents, domains, languages, kinds and bytes of each part."""
    return json.loads((folder / "texts" / "counts.json").read_text())


def even_texts(documents: list[Document], settings: StudySettings) -> list[str]:
    """Texts that a tokenizer for all strata alike is trained on: as many of each."""
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in documents:
        strata[(one.language, one.kind)].append(one.text)
    each = max(1, settings.tokenizer_documents // len(strata))
    return [text for stratum in sorted(strata) for text in strata[stratum][:each]]


def _row(one: Document) -> dict[str, str]:
    return {name: getattr(one, name) for name in _COLUMNS}


def _count(documents: list[Document]) -> dict[str, int]:
    return {
        "documents": len(documents),
        "domains": len({one.domain for one in documents}),
        "languages": len({one.language for one in documents if one.kind != "code"}),
        "kinds": len({one.kind for one in documents}),
        "bytes": sum(len(one.text.encode()) for one in documents),
    }
