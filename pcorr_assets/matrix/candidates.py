"""Which LLMs may go into the matrix of a sample, judged before any loss is read.

Belongs here: what is there for each LLM, and whether it belongs together: the same
chunking, one commit and one dtype. Does not belong here: the losses (`assemble`) and
the NaN mask (`mask`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow.parquet as pq

from pcorr_assets.config.keys import llm_key_problem
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.wording import count
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.parquet_files import stored_metadata

CHUNKS_HASH = "chunks_sha256"
# Which matrix a coverage belongs to, kept where reading it is cheap; estimates note it.
MATRIX_HASH = "bpb_matrix_sha256"
NOT_MATERIALISED = "not materialised yet"
REMOVED = "removed"


@dataclass(frozen=True)
class ScoredLLM:
    """An LLM whose `chunk_bpb` file fits the sample; `stamp` tells it from a newer file."""

    llm: str
    stamp: tuple[int, int, int]


@dataclass(frozen=True)
class Candidates:
    """LLMs that fit, and for each other LLM why it does not and how many chunks it has."""

    scored: list[ScoredLLM]
    reasons: dict[str, str]
    chunk_counts: dict[str, int]


def find_candidates(
    wh: Warehouse,
    sample: str,
    llm_keys: Sequence[str],
    chunk_count: int,
    expected_hash: str,
) -> Candidates:
    """Look at the `chunk_bpb` file of every registered LLM and of every other one there is.

    `chunk_count` and `expected_hash` (`chunks_sha256`) are those of the sample's chunks.
    Files of LLMs that are no longer registered stay out as `removed`. What is wrong with
    one LLM is a reason to leave it out, never to build no matrix.
    """
    scored: list[ScoredLLM] = []
    reasons: dict[str, str] = {}
    chunk_counts: dict[str, int] = {}
    registered = dict.fromkeys(llm_keys)
    for llm in registered:
        # Dagster registers any text; a key that no file can have must not cost the others.
        problem = llm_key_problem(llm)
        keys = bpb_keys(llm, sample)
        if problem:
            reasons[llm] = f"it cannot be the key of an LLM: {problem}"
        elif not wh.exists("chunk_bpb", *keys):
            reasons[llm] = NOT_MATERIALISED
        else:
            stamp = _stamp(wh, keys)
            try:
                with wh.open("chunk_bpb", *keys) as file:
                    rows, noted = file.metadata.num_rows, stored_metadata(file)
                chunk_counts[llm] = rows
                mixture = _mixture(wh, llm, noted)
            except PcorrError as error:
                reasons[llm] = str(error)
                continue
            reason = _other_chunking(noted, expected_hash, chunk_counts[llm], chunk_count)
            reason = reason or mixture
            if reason:
                reasons[llm] = reason
            else:
                scored.append(ScoredLLM(llm, stamp))
    reasons |= dict.fromkeys(set(_scored_llms(wh, sample)) - set(registered), REMOVED)
    return Candidates(scored, reasons, chunk_counts)


def noted_chunking(wh: Warehouse, sample: str) -> str:
    """The `chunks_sha256` of a sample; PcorrError if its chunks carry none."""
    noted = wh.metadata("chunks", sample)
    if CHUNKS_HASH not in noted:
        raise PcorrError(
            f"The chunks of sample {sample!r} carry no {CHUNKS_HASH}, so no LLM's losses can be "
            "matched with them; materialise chunked_dataset again"
        )
    return noted[CHUNKS_HASH]


def bpb_keys(llm: str, sample: str) -> tuple[str, ...]:
    """Keys of the `chunk_bpb` partition of an LLM and a sample, in the table's order."""
    values = {"llm": llm, "sample": sample}
    return tuple(values[name] for name in TABLES["chunk_bpb"].partition_keys)


@contextmanager
def open_scored(wh: Warehouse, sample: str, scored: ScoredLLM) -> Iterator[pq.ParquetFile]:
    """The file that was judged; PcorrError if a run has replaced it since."""
    keys = bpb_keys(scored.llm, sample)
    with wh.open("chunk_bpb", *keys) as file:
        # Looked at after opening: a file replaced at any moment before is noticed.
        if _stamp(wh, keys) != scored.stamp:
            raise PcorrError(
                f"The chunk_bpb file of {scored.llm!r} and sample {sample!r} was replaced while "
                "the matrix was being built from it; materialise bpb_matrix again"
            )
        yield file


def _stamp(wh: Warehouse, keys: Iterable[str]) -> tuple[int, int, int]:
    status = os.stat(wh.path("chunk_bpb", *keys))
    return status.st_ino, status.st_mtime_ns, status.st_size


def _scored_llms(wh: Warehouse, sample: str) -> Iterator[str]:
    names = TABLES["chunk_bpb"].partition_keys
    for keys in wh.partitions("chunk_bpb"):
        partition = dict(zip(names, keys, strict=True))
        if partition["sample"] == sample:
            yield partition["llm"]


def _other_chunking(
    noted: dict[str, str], expected_hash: str, rows: int, chunk_count: int
) -> str | None:
    scored_hash = noted.get(CHUNKS_HASH)
    if scored_hash != expected_hash:
        described = f"{scored_hash[:12]}..." if scored_hash else "one it does not name"
        return (
            f"it scored another chunking of the sample ({described}, now "
            f"{expected_hash[:12]}...); materialise its chunk_bpb again"
        )
    if rows != chunk_count:
        return (
            f"its file has {count(rows, 'row')}, the sample {count(chunk_count, 'chunk')}; "
            "materialise its chunk_bpb again"
        )
    return None


def _mixture(wh: Warehouse, llm: str, noted: dict[str, str]) -> str | None:
    for table in ("llms", "benchmark_errors"):
        if not wh.exists(table, llm):
            continue
        rows = wh.read(table, llm, columns=["commit_sha", "dtype"])
        for name in ("commit_sha", "dtype"):
            recorded = {value for value in rows[name].to_pylist() if value is not None}
            others = sorted(recorded - {noted.get(name)})
            if others:
                return (
                    f"its losses are from {name} {noted.get(name)}, but {table} has "
                    f"{', '.join(others)}: results of one LLM must not be mixed; materialise "
                    "its chunk_bpb and benchmark_errors again"
                )
        # `llms` is the record that the rows of an evaluation are judged by, one by one
        # (see `errors`), so that a single stale benchmark does not cost the matrix an LLM.
        return None
    return None
