"""The matrix of a text sample, put together from the losses of all its LLMs.

Belongs here: levels by their exact definitions, coverage of every LLM, and writing it
all without ever holding the matrix. Does not belong here: scoring, the rules of who
fits (`candidates`, `mask`), the order of rows in the file (`layout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import (
    CHUNKS_HASH,
    MATRIX_HASH,
    Candidates,
    ScoredLLM,
    find_candidates,
    noted_chunking,
    open_scored,
)
from pcorr_assets.matrix.layout import TABLE, LevelLayout, sort_order
from pcorr_assets.matrix.mask import MAX_LOST_SHARE, NanMask, lost_too_much, nan_mask
from pcorr_assets.matrix.units import at_level, column_levels, units_of_pages
from pcorr_assets.matrix.wording import count, name_some
from pcorr_assets.progress import Progress
from pcorr_assets.text.chunked_dataset import check_chunk_ids
from pcorr_assets.text.token_counts import UNIT_COLUMNS
from pcorr_assets.warehouse import TABLES, Warehouse, WrittenPartition


@dataclass(frozen=True)
class _Level:
    """One level: which unit each of the S surviving chunks that have one belongs to.

    `codes` (S,) are positions among the sorted D units, `chunks` (S,) positions in the
    sample, `byte_count` (D,) what survives of each unit. `flagged` units lost more
    bytes than they should, `lost` ones everything, so they are not among the D.
    """

    layout: LevelLayout
    codes: np.ndarray
    chunks: np.ndarray
    byte_count: np.ndarray
    flagged: list[str]
    lost: list[str]

    def bpb(self, loss: np.ndarray, token_count: np.ndarray) -> np.ndarray:
        """(D,) bits-per-byte of the units: the token-weighted mean loss per byte."""
        nats = token_count[self.chunks] * loss[self.chunks]
        total = np.bincount(self.codes, weights=nats, minlength=self.byte_count.size)
        return total / self.byte_count / np.log(2)


@dataclass(frozen=True)
class AssembledMatrix:
    """The matrix of a sample, ready to be written; the losses are read while it is.

    `llms` are included, `coverage` has a row for every LLM that was looked at, `report`
    says in sentences what is missing or doubtful, and `flagged` names for each level
    the units that lost more than 20 % of their bytes to the NaN mask.
    """

    sample: str
    llms: list[str]
    coverage: pa.Table
    report: list[str]
    flagged: dict[str, list[str]]
    unit_counts: dict[str, int]
    chunks_sha256: str
    _wh: Warehouse
    _scored: list[ScoredLLM]
    _levels: list[_Level]

    def tables(self) -> Iterator[pa.Table]:
        """The rows of `bpb_matrix`, one table for each level and LLM, in the file's order."""
        steps = len(self._levels) * len(self._scored)
        with Progress(f"matrix of {self.sample}", total=steps, unit="columns") as progress:
            for level in self._levels:
                for scored in self._scored:
                    with open_scored(self._wh, self.sample, scored) as file:
                        rows = file.read(columns=["loss", "token_count"])
                    bpb = level.bpb(rows["loss"].to_numpy(), rows["token_count"].to_numpy())
                    yield level.layout.table(scored.llm, bpb)
                    progress.update()

    def write(self) -> dict[str, WrittenPartition]:
        """Write `bpb_matrix` and `matrix_coverage`, a row group for each level and LLM."""
        with self._wh.writer(TABLE, (self.sample,)) as writer:
            writer.metadata[CHUNKS_HASH] = self.chunks_sha256
            for table in self.tables():
                writer.write(table)
        note = {MATRIX_HASH: writer.written.sha256}
        coverage = self._wh.write("matrix_coverage", (self.sample,), self.coverage, note)
        return {TABLE: writer.written, "matrix_coverage": coverage}


def assemble(
    wh: Warehouse, sample: str, llm_keys: Sequence[str], max_nan_fraction: float
) -> AssembledMatrix:
    """Decide who and what is in the matrix of a sample; `write` then computes it.

    `llm_keys` are the registered LLMs: files of others stay out as `removed`. LLMs that
    are not there yet, that scored another chunking, or whose commits or dtypes are mixed
    are left out and named in the coverage. The NaN mask is the design's: LLMs with a
    larger share of NaN than `max_nan_fraction` leave, then the chunks with any NaN.

    For a unit with chunks i, BPB = sum(token_count_i * loss_i) / sum(byte_count_i) / ln 2
    (arXiv 2409.05816 defines it for a chunk). Levels: chunk, page, domain where the
    sample has domains, and those of its `unit_columns`.

    Raises PcorrError if the chunks are missing, or if no LLM or no chunk is left.
    """
    chunks = wh.read("chunks", sample, columns=["chunk_id", "page_id", "domain", "byte_count"])
    if not chunks.num_rows:
        raise PcorrError(
            f"Sample {sample!r} has no chunks; see what chunked_dataset reports about its source"
        )
    chunks_sha256 = noted_chunking(wh, sample)
    check_chunk_ids(sample, chunks["chunk_id"].to_pylist(), chunks_sha256)
    byte_count = chunks["byte_count"].to_numpy()
    if not (byte_count > 0).all():
        raise PcorrError(
            f"Sample {sample!r} has {count(int((byte_count <= 0).sum()), 'chunk')} without a "
            "byte of text (or no byte counts); materialise chunked_dataset again"
        )
    candidates = find_candidates(wh, sample, llm_keys, chunks.num_rows, chunks_sha256)
    usable, flags = _undefined_losses(wh, sample, candidates)
    if not usable:
        raise PcorrError(_nobody(sample, candidates))
    mask = nan_mask(flags, [scored.llm for scored in usable], max_nan_fraction)
    levels = list(_levels(wh, sample, chunks, byte_count, mask.keeps_chunk))
    kept = [scored for scored, keeps in zip(usable, mask.keeps_llm, strict=True) if keeps]
    kept.sort(key=lambda scored: scored.llm)
    nan_counts = {
        scored.llm: int(nans) for scored, nans in zip(usable, mask.nan_counts, strict=True)
    }
    reasons = candidates.reasons | mask.reasons
    return AssembledMatrix(
        sample=sample,
        llms=[scored.llm for scored in kept],
        coverage=_coverage(sample, [s.llm for s in kept], candidates, reasons, nan_counts),
        report=_report(reasons, mask, levels),
        flagged={level.layout.level: level.flagged for level in levels},
        unit_counts={level.layout.level: level.byte_count.size for level in levels},
        chunks_sha256=chunks_sha256,
        _wh=wh,
        _scored=kept,
        _levels=levels,
    )


def _undefined_losses(
    wh: Warehouse, sample: str, candidates: Candidates
) -> tuple[list[ScoredLLM], list[np.ndarray]]:
    """Flags of NaN for each LLM; those with losses that cannot be are given a reason."""
    usable, flags = [], []
    label = f"losses of {sample}"
    with Progress(label, total=len(candidates.scored), unit="LLMs") as progress:
        for scored in candidates.scored:
            with open_scored(wh, sample, scored) as file:
                loss = file.read(columns=["loss"])["loss"].to_numpy()
            impossible = np.count_nonzero((loss < 0) | np.isinf(loss))
            if impossible:
                candidates.reasons[scored.llm] = (
                    f"{impossible:,} of its {loss.size:,} losses are negative or infinite, which "
                    "no loss can be; materialise its chunk_bpb again"
                )
            else:
                usable.append(scored)
                flags.append(np.isnan(loss))
            progress.update()
    return usable, flags


def _levels(
    wh: Warehouse,
    sample: str,
    chunks: pa.Table,
    byte_count: np.ndarray,
    keeps_chunk: np.ndarray,
) -> Iterator[_Level]:
    """The levels in the order of the file, by name: chunk, domain, page among others."""
    for level in sorted((*UNIT_COLUMNS, *column_levels(wh, sample))):
        column = UNIT_COLUMNS.get(level)
        if column is not None:
            names = chunks[column].combine_chunks()
        else:
            units = units_of_pages(wh, sample, level)
            names = at_level(chunks["page_id"], units).combine_chunks()
        if names.null_count < len(names):
            yield _level(sample, level, names, byte_count, keeps_chunk)


def _level(
    sample: str, level: str, names: pa.Array, byte_count: np.ndarray, keeps_chunk: np.ndarray
) -> _Level:
    encoded = names.dictionary_encode()
    order = sort_order(encoded.dictionary)
    rank = np.empty_like(order, dtype=np.int64)
    rank[order] = np.arange(order.size)
    named = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
    # Chunks without a domain stay in the other levels.
    all_codes = rank[encoded.indices.fill_null(0).to_numpy()]
    total = np.bincount(all_codes[named], byte_count[named], minlength=order.size)
    chosen = np.flatnonzero(keeps_chunk & named)
    surviving = np.bincount(all_codes[chosen], byte_count[chosen], minlength=order.size)
    units = encoded.dictionary.take(pa.array(order))
    has_text = surviving > 0
    position = np.cumsum(has_text) - 1
    bytes_left = surviving[has_text].astype(np.int64)
    return _Level(
        layout=LevelLayout(sample, level, units.filter(pa.array(has_text)), pa.array(bytes_left)),
        codes=position[all_codes[chosen]],
        chunks=chosen,
        byte_count=bytes_left,
        flagged=units.filter(pa.array(has_text & lost_too_much(surviving, total))).to_pylist(),
        lost=units.filter(pa.array(~has_text)).to_pylist(),
    )


def _coverage(
    sample: str,
    included: Sequence[str],
    candidates: Candidates,
    reasons: dict[str, str],
    nan_counts: dict[str, int],
) -> pa.Table:
    llms = sorted({*included, *reasons})
    return pa.table(
        {
            "sample": [sample] * len(llms),
            "llm": llms,
            "included": [llm not in reasons for llm in llms],
            "chunk_count": [candidates.chunk_counts.get(llm) for llm in llms],
            "nan_count": [nan_counts.get(llm) for llm in llms],
            "reason": [reasons.get(llm) for llm in llms],
        },
        schema=TABLES["matrix_coverage"].schema,
    )


def _report(reasons: dict[str, str], mask: NanMask, levels: Sequence[_Level]) -> list[str]:
    report = [f"{llm} is not in the matrix: {reason}." for llm, reason in sorted(reasons.items())]
    lost = int(np.count_nonzero(~mask.keeps_chunk))
    if lost:
        report.append(
            f"{count(lost, 'chunk')} of {mask.keeps_chunk.size:,} left the matrix for all LLMs, "
            "because one of those that stay has NaN there."
        )
    for level in levels:
        name = level.layout.level
        if level.lost and name != "chunk":
            report.append(
                f"{count(len(level.lost), name)} without a chunk left, and so without a BPB: "
                f"{name_some(level.lost)}."
            )
        if level.flagged:
            report.append(
                f"{count(len(level.flagged), name)} lost more than {MAX_LOST_SHARE:.0%} of the "
                f"bytes; look before you trust the BPB: {name_some(level.flagged)}."
            )
    return report


def _nobody(sample: str, candidates: Candidates) -> str:
    why = "\n".join(f"- {llm}: {reason}" for llm, reason in sorted(candidates.reasons.items()))
    if not why:
        return (
            f"No LLM is registered, so sample {sample!r} has no matrix; add LLMs to the config "
            "(section llms) and materialise chunk_bpb"
        )
    return f"No LLM can be used in the matrix of sample {sample!r}:\n{why}"
