"""Single bits that flip in files at rest, in every kind of file that the platform writes.

Belongs here: which file, who reads it, and what must come of it. Does not belong here: faults
of a running stage (`kinds`).

A bit that flips must be named by whoever reads it, or be without effect: the file is made
again, or the values are those that were written. The remedy that the platform names, to remove
the file and materialise it again, is then followed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.faults import moments
from pcorr_assets_tests.faults.bench import Bench
from pcorr_assets_tests.faults.outcomes import LOST, RAW, SILENT, STRAY, Outcome
from pcorr_assets_tests.faults.process import Child, in_child
from pcorr_assets_tests.faults.runs import run_stage
from pcorr_assets_tests.faults.tree import differences
from pcorr_assets_tests.faults.world import LLMS, STAGES, Stage

KIND = "a bit flips"
KIND_READ = "a bit flips, read directly"


@dataclass(frozen=True)
class Place:
    """A kind of file: `files`, a glob under the home; `reader`, the stage that reads them.

    `rewritten`: the reader makes the file itself, and does so again. `unfinished`: the file is
    there only after the reader was killed.
    """

    what: str
    files: str
    reader: str
    rewritten: bool = False
    unfinished: bool = False


_PAIR = "*/colour.parquet"
TABLES = (
    Place("chunks", "warehouse/chunks/web.parquet", "chunk_bpb"),
    Place("llms", f"warehouse/llms/{LLMS[0]}.parquet", "benchmark_errors"),
    Place("chunk_bpb", f"warehouse/chunk_bpb/{LLMS[1]}/web.parquet", "bpb_matrix"),
    Place("benchmark_errors", f"warehouse/benchmark_errors/{LLMS[1]}.parquet", "error_vector"),
    Place("bpb_matrix", "warehouse/bpb_matrix/web.parquet", "estimate"),
    Place("matrix_coverage", "warehouse/matrix_coverage/web.parquet", "report"),
    Place("error_vectors", "warehouse/error_vectors/*.parquet", "estimate"),
    Place("estimates", f"warehouse/estimates/{_PAIR}", "sampling_distribution"),
    Place("benchmark_ngrams", "warehouse/benchmark_ngrams/colour.parquet", "pool_scores"),
    Place("clean_estimates", f"warehouse/clean_estimates/{_PAIR}", "report"),
    Place("contaminated_chunks", f"warehouse/contaminated_chunks/{_PAIR}", "report"),
    Place("rank_predictions", "warehouse/rank_predictions/*/*.parquet", "exported_database"),
    Place("verdicts", f"warehouse/verdicts/{_PAIR}", "report"),
    Place("sampling_distributions", f"warehouse/sampling_distributions/{_PAIR}", "fasttext_filter"),
    Place("changes", f"warehouse/changes/{_PAIR}", "report", rewritten=True),
    Place("fasttext_filters", f"warehouse/fasttext_filters/{_PAIR}", "pool_scores"),
    Place("pool_files", "warehouse/pool_files/*0000.parquet", "pool_scores"),
    Place(
        "pool_documents", "warehouse/pool_documents/*0000.parquet", "pool_scores", rewritten=True
    ),
    Place("pool_scores", "warehouse/pool_scores/*0000/*.parquet", "selected_data"),
    Place("selections", f"warehouse/selections/{_PAIR}", "exported_database"),
)
OTHERS = (
    Place("schema of a table", "warehouse/chunk_bpb/_schema.parquet", "bpb_matrix"),
    Place("kept result", f"evaluations/{LLMS[0]}/*.json", "benchmark_errors", rewritten=True),
    Place("shard of a scoring", f"shards/{LLMS[0]}/*/*.parquet", "chunk_bpb", unfinished=True),
    Place("token counts", "cache/unit_tokens/*.json", "sampling_distribution"),
    Place("filter model", "filters/*/*/*.bin", "pool_scores"),
    Place("mixture", "mixtures/*/*/mixture.*", "sampling_distribution", rewritten=True),
    Place("selected documents", "selected/*/*/*.jsonl", "selected_data", rewritten=True),
    Place(
        "note of a finished shard",
        "selected/.unfinished/*/*/*.part.json",
        "selected_data",
        unfinished=True,
    ),
    Place("manifest", "selected/*/*/manifest.json", "selected_data", rewritten=True),
    Place("report", "reports/*/*.html", "report", rewritten=True),
    Place("comparison", "reports/comparison.html", "comparison", rewritten=True),
    Place("index of reports", "reports/index.html", "report", rewritten=True),
    Place("exported database", "exports/*.duckdb", "exported_database", rewritten=True),
    Place("published files", "exports/published/*/*.csv", "published_export", rewritten=True),
    Place("views", "pcorr.duckdb", "report"),
    Place("note of the views", "warehouse/views.sql", "report"),
    Place("lock", "locks/estimates/*/*.lock", "estimate", rewritten=True),
)


def flip_and_run(bench: Bench, place: Place, seed: int) -> Outcome:
    """Flip a bit, and run the stage that reads the file."""
    stage = _stage(place.reader)
    outcome = Outcome(KIND, f"{place.what} -> {place.reader}", seed)
    again = place.rewritten
    state = bench.before(stage, again)
    bench.restore(state)
    path = _unfinished(bench, stage, place) if place.unfinished else _file(bench.home, place, seed)
    outcome.moment = flip(path, f"{place.what} {seed}")
    ended = Child(run_stage, bench.project, stage).end()
    said = ended.value
    bench.note(outcome, ended)
    # A matrix is made without an LLM whose file is damaged, and says so.
    left_out = said.succeeded and path.stem in said.report and "damaged" in said.report
    outcome.named |= left_out
    if left_out or not said.succeeded:
        if not left_out and str(path) not in said.words:
            outcome.bad.append((RAW, f"the error does not name {path}: {said.words}"))
        path.unlink(missing_ok=True)
        for needed in (_maker(bench, path), stage):
            relaunched = in_child(run_stage, bench.project, needed) if needed else None
            if relaunched is not None and not relaunched.succeeded:
                outcome.bad.append((LOST, f"the remedy fails: {relaunched.words}"))
    _judge(bench, outcome, stage, path.relative_to(bench.home).as_posix())
    return outcome


def flip_and_read(bench: Bench, place: Place, seeds: Sequence[int]) -> Iterator[Outcome]:
    """Flip single bits of a table, and read it by `Warehouse`."""
    bench.restore(len(bench.stages))
    expected = in_child(_read, bench.home, place.what)
    for seed in seeds:
        path = _file(bench.home, place, seed)
        content, times = path.read_bytes(), path.stat()
        outcome = Outcome(KIND_READ, place.what, seed, flip(path, f"{place.what} read {seed}"))
        # A process of its own, which has read nothing of it before.
        found = in_child(_read, bench.home, place.what)
        if isinstance(found, str):
            outcome.named = True
        elif found != expected:
            outcome.bad.append((SILENT, "Warehouse.read_all gives other rows"))
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        yield outcome


def flip(path: Path, seed: str) -> str:
    """Turn one bit over, leaving the file's times as they were; where it was, in words."""
    rng = random.Random(seed)
    times = path.stat()
    content = bytearray(path.read_bytes())
    if not content:
        return f"{path.name} is empty"
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return f"bit {bit} of byte {place:,} of {len(content):,} of {path.name}"


def _judge(bench: Bench, outcome: Outcome, stage: Stage, flipped: str) -> None:
    expected = bench.trees[bench.before(stage) + 1]
    found = differences(bench.tree(), expected)
    column = {"missing": LOST, "stray": STRAY, "differs": SILENT}
    for what, paths in found.items():
        # A file that this stage read a part of, or needed not, is the next reader's.
        outcome.bad += [(column[what], path) for path in paths if path != flipped]


def _stage(name: str) -> Stage:
    return next(stage for stage in STAGES if stage.name == name)


def _file(home: Path, place: Place, seed: int) -> Path:
    found = sorted(home.glob(place.files))
    if not found:
        raise RuntimeError(f"the world has no {place.what} ({place.files})")
    return found[seed % len(found)]


def _unfinished(bench: Bench, stage: Stage, place: Place) -> Path:
    """A file that a killed run leaves for the next."""
    count = len(bench.moments(stage))
    for number in range(count // 3, count + 1):
        bench.restore(bench.before(stage))
        bench.disturbed(stage, moments.kill_at(number)).end()
        if found := sorted(bench.home.glob(place.files)):
            return found[0]
    raise RuntimeError(f"no kill leaves a {place.what}")


def _maker(bench: Bench, path: Path) -> Stage | None:
    """The stage that makes a file."""
    name = path.relative_to(bench.home).as_posix()
    return next(
        (s for s, tree in zip(bench.stages, bench.trees[1:], strict=True) if name in tree), None
    )


def _read(home: Path, table: str) -> list[str] | str:
    """Rows of a table as text; or the words of the error."""
    try:
        return [repr(row) for row in Warehouse(home).read_all(table).to_pylist()]
    except PcorrError as error:
        return str(error)
