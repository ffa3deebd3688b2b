"""A home with every kind of file that the platform reads back, and what one flipped bit does.

Belongs here: making the home, flipping seeded bits in it, and judging what the readers of the
platform made of each. Does not belong here: how many flips a suite makes.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pcorr_assets.config import FastText, Pool, Selection
from pcorr_assets.config.keys import from_slug
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.mixture import export_mixture
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.training import build_filter, find_filter, load_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.lm.batching import plan_batches
from pcorr_assets.lm.results import KeptResults, Result
from pcorr_assets.lm.shards import ShardFolder
from pcorr_assets.matrix.exports import export_published
from pcorr_assets.matrix.wide_files import read_wide
from pcorr_assets.steps.caps import COUNTS, kept_counts
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.json_files import write_json
from pcorr_assets.warehouse.parquet_files import read_parquet
from pcorr_assets.warehouse.verification import verify_file
from pcorr_assets.warehouse.views import SCHEMA_FILE, ensure_layout
from pcorr_assets_tests.filters.conftest import SAMPLE, TARGET, chunk_rows, distribution_of
from pcorr_assets_tests.report.worlds import write_matrix_world

IDENTITY = {"llm": "org/llm", "chunks_sha256": "c" * 64}
EVALUATION = ("quiz", "a" * 40, "float32", "e" * 64)
MADE_AGAIN = "made again"


@dataclass
class Tally:
    """What became of flipped bits: counts by kind of file and outcome, and every bad case."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = sorted({kind for kind, _ in self.outcomes})
        names = ("same", "named", MADE_AGAIN, "silent", "raw")
        lines = [
            f"{kind:20}" + "".join(f"{self.outcomes[kind, name]:>12}" for name in names)
            for kind in kinds
        ]
        return "\n".join(["kind".ljust(20) + "".join(f"{n:>12}" for n in names), *lines])


class DamagedHome:
    """A home made once, and its files with what each of them says to its reader."""

    def __init__(self, folder: Path) -> None:
        self.wh, _ = write_matrix_world(folder, pages=12)
        self.home = self.wh.home
        self.plan = plan_batches(np.full(40, 7), np.full(40, True), 56)
        _make_selection(self.wh, folder)
        _make_shards(self.shards(), self.plan.batch_count)
        self.kept().keep(_result(), None)
        write_json(self.cache, {COUNTS: {f"page-{n}": n for n in range(50)}}, indent=None)
        published = self.home / "exports" / "published" / "published"
        export_published(self.wh, "published", published, "page", "parquet", expected_settings={})
        self.files = {
            kind: sorted(path for path in files if path.is_file())
            for kind, files in self._kinds().items()
        }
        assert all(self.files.values()), self.files

    @property
    def cache(self) -> Path:
        return self.home / "cache" / "unit_tokens" / "some.json"

    def shards(self) -> ShardFolder:
        return ShardFolder(self.home / "shards" / "llm" / "web", IDENTITY, self.plan)

    def kept(self) -> KeptResults:
        return KeptResults(self.home / "evaluations" / "org%2Fllm")

    def _kinds(self) -> dict[str, Iterable[Path]]:
        tables = [*(self.home / "warehouse").rglob("*.parquet")]
        return {
            "partition": [path for path in tables if path.name != SCHEMA_FILE],
            "schema": [path for path in tables if path.name == SCHEMA_FILE],
            "shard": self.shards().folder.glob("*"),
            "kept result": self.kept().folder.glob("*"),
            "cache": [self.cache],
            "filter": (self.home / "filters").rglob("*.bin"),
            "mixture": (self.home / "mixtures").rglob("*.parquet"),
            "selected": (self.home / "selected").rglob("*.*"),
            "published export": (self.home / "exports").rglob("*.parquet"),
        }

    def read(self, kind: str, path: Path) -> Any:
        """What the platform's own reader of such a file makes of it, as something to compare.

        `MADE_AGAIN` if the file is made again, now or by the run that reads it.
        """
        readers: dict[str, Callable[[Path], Any]] = {
            "partition": self._partition,
            "schema": self._schema,
            "shard": self._shards,
            "kept result": self._kept,
            "cache": lambda path: kept_counts(path) or MADE_AGAIN,
            "filter": lambda path: load_filter(self.wh, SAMPLE, TARGET).sha256,
            "mixture": lambda path: read_parquet(path)[0],
            "selected": lambda path: path.read_bytes() if verify_file(self.home, path) else None,
            "published export": lambda path: read_wide(path, _first_column(path)).names,
        }
        return readers[kind](path)

    def _partition(self, path: Path) -> Any:
        table, *slugs = path.relative_to(self.home / "warehouse").with_suffix("").parts
        keys = [from_slug(slug) for slug in slugs]
        return (
            self.wh.read(table, *keys),
            self.wh.metadata(table, *keys),
            self.wh.row_count(table, *keys),
        )

    def _schema(self, path: Path) -> Any:
        before = path.read_bytes()
        ensure_layout(self.home, with_database=False)
        return read_parquet(path)[0] if path.read_bytes() == before else MADE_AGAIN

    def _shards(self, path: Path) -> Any:
        found = self.shards().read()
        if found.refused:
            assert [path.name in reason for reason in found.refused] == [True]
            return MADE_AGAIN  # its batches count as not done
        return found.nll.tobytes(), found.done.tobytes(), found.effective_batch_tokens

    def _kept(self, path: Path) -> Any:
        found = self.kept().find(*EVALUATION)
        if found is None:
            assert [str(path) in warning for warning in self.kept().damaged()] == [True]
        return found or MADE_AGAIN


def flip_bits(world: DamagedHome, count: int, seed: int) -> Tally:
    """Flip `count` seeded bits, one at a time, in files of every kind in turn.

    Half of the bits lie in the last 700 bytes, where the footer or the hash is. Beside what its
    reader says, `verify_file` must name each of the damaged files.
    """
    generator, tally = random.Random(seed), Tally()
    before = {path: world.read(kind, path) for kind, path in _all(world)}
    for number in range(count):
        kind = [*world.files][number % len(world.files)]
        path = generator.choice(world.files[kind])
        content = path.read_bytes()
        first = max(0, len(content) - 700) if generator.random() < 0.5 else 0
        place, bit = generator.randrange(first, len(content)), generator.randrange(8)
        flipped = content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
        path.write_bytes(flipped)
        try:
            outcome = _judge(world, kind, path, before[path])
        finally:
            path.write_bytes(content)
        tally.outcomes[kind, outcome.partition(":")[0]] += 1
        if outcome.startswith(("silent", "raw")):
            tally.bad.append(f"{path} byte {place} bit {bit} (seed {seed}): {outcome}")
    return tally


def _all(world: DamagedHome) -> list[tuple[str, Path]]:
    return [(kind, path) for kind, paths in world.files.items() for path in paths]


def _judge(world: DamagedHome, kind: str, path: Path, before: Any) -> str:
    try:
        verify_file(world.home, path)
        return "silent: it passes verification"
    except DamagedFileError as error:
        said = str(error)
    except Exception as error:  # noqa: BLE001  whatever else is raised is what is looked for
        return f"raw: {error!r} when verified"
    if str(path) not in said:
        return f"raw: not named in {said}"
    try:
        after = world.read(kind, path)
    except PcorrError as error:
        return "named" if str(path) in str(error) else f"raw: not named in {error}"
    except Exception as error:  # noqa: BLE001
        return f"raw: {error!r}"
    if isinstance(after, str) and after == MADE_AGAIN:
        return MADE_AGAIN
    return "same" if after == before else "silent: another value"


def _make_selection(wh: Warehouse, folder: Path) -> None:
    rows = chunk_rows(domains=12, pages=3)
    wh.write("chunks", (SAMPLE,), pa.Table.from_pylist(rows, schema=TABLES["chunks"].schema))
    domains = list(dict.fromkeys(str(row["domain"]) for row in rows))
    units = {
        name: ((0.25, 0.3, True) if name.startswith("sailing") else (0.0, 0.3, False))
        for name in domains
    }
    distribution = distribution_of(units)
    wh.write("sampling_distributions", (SAMPLE, TARGET), distribution)
    export_mixture(distribution, wh.home / "mixtures" / SAMPLE / TARGET)
    settings = FastText.model_validate({"dim": 4, "bucket": 500, "epoch": 5, "lr": 0.5})
    build_filter(wh, SAMPLE, TARGET, Selection(keep_ratio=0.3, fasttext=settings))
    for form in ("jsonl", "parquet"):
        documents = folder / form / "pool.jsonl"
        documents.parent.mkdir()
        documents.write_text(
            "".join(
                json.dumps({"id": str(n), "text": row["text"], "tokens": 9}) + "\n"
                for n, row in enumerate(rows[:30])
            )
        )  # fmt: skip
        pool = Pool.model_validate(
            {"sample": SAMPLE, "files": [str(documents)], "text_column": "text", "id_column": "id",
             "token_count_column": "tokens", "keep_ratio": 0.5, "format": form}
        )  # fmt: skip
        groups = refresh_groups(wh, form, pool).keys
        for key in groups:
            filters = {TARGET: find_filter(wh, SAMPLE, TARGET)}
            score_group(wh, read_group(wh, key), pool, filters)
        write_selected(wh, form, pool, TARGET, list_shards(form, pool), groups)


def _make_shards(folder: ShardFolder, batches: int) -> None:
    nll = np.random.default_rng(1).normal(size=len(folder.plan.length))
    for batch in range(0, batches - 1, 2):
        folder.write([batch, batch + 1], nll, 56)


def _result() -> Result:
    benchmark, commit, dtype, evaluation = EVALUATION
    return Result(
        "org/llm", benchmark, commit, dtype, evaluation, "0.4", "1", 0, None, 1, 40,
        {"acc,none": 0.625, "acc_stderr,none": 0.05}, {"acc": True}, 0.25,
    )  # fmt: skip


def _first_column(path: Path) -> str:
    return "benchmark" if path.name.startswith("benchmark") else "id"
