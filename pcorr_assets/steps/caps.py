"""The caps tau: how large the weight of a unit may become.

Belongs here: token counts of units, counted, given or absent, and what follows from
them. Does not belong here: tokenising (`text`) and projecting (`stats`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcorr_assets.config import Sample, Selection, Settings
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.lm.loading import tokenizer_sha256
from pcorr_assets.matrix.candidates import CHUNKS_HASH
from pcorr_assets.matrix.layout import read_units
from pcorr_assets.matrix.units import with_units
from pcorr_assets.matrix.wide_files import read_wide
from pcorr_assets.storage.copies import local_copy
from pcorr_assets.text.token_counts import UNIT_COLUMNS, count_unit_tokens, read_unit_tokens
from pcorr_assets.text.tokenizers import load_tokenizer
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.json_files import read_json, write_json
from pcorr_assets.warehouse.store import content_hash

logger = logging.getLogger(__name__)

COUNTS = "token_counts"


@dataclass(frozen=True)
class Caps:
    """`tau` (D,) is the token share of each unit divided by `keep_ratio`.

    `token_count` (D,) is None, and every share 1 / D, where there is no text or no
    tokenizer to count with. `origin` says in words where the counts come from.
    """

    tau: np.ndarray
    token_count: np.ndarray | None
    origin: str


def unit_caps(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    selection: Selection,
    level: str,
    units: Sequence[str],
) -> Caps:
    """Caps of the units (D) of a matrix, in their order.

    Tokens are those of the file `unit_tokens` of the sample, else what
    `selection.tokenizer` counts in the chunks that survive in the matrix. Raises
    PcorrError for counts that do not fit the units or sum to 0.
    """
    counts, origin = _token_counts(wh, settings, sample, selection, level, units)
    if counts is None:
        return Caps(np.full(len(units), 1 / len(units) / selection.keep_ratio), None, origin)
    token_count = np.array([counts[unit] for unit in units], dtype=np.int64)
    total = token_count.sum(dtype=np.float64)
    if total == 0:
        raise PcorrError(
            f"sample {sample!r}: all units have 0 tokens ({origin}), so no caps follow"
        )
    return Caps(token_count / total / selection.keep_ratio, token_count, origin)


def _token_counts(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    selection: Selection,
    level: str,
    units: Sequence[str],
) -> tuple[dict[str, int] | None, str]:
    source = settings.samples[sample]
    if (file := source.unit_tokens_of(level)) is not None:
        # The file may list units that the NaN mask has since removed from the matrix.
        known = _all_units(wh, sample, level, source)
        with local_copy(file, source.storage) as path:
            counts = read_unit_tokens(path, units, known)
        return counts, f"from {file}"
    if not source.is_text:
        return None, "uniform: an imported matrix has no text to count tokens in"
    if selection.tokenizer is None:
        return None, "uniform: selection.tokenizer names no tokenizer"
    return (
        _counted(wh, sample, level, selection.tokenizer),
        f"counted with the tokenizer {selection.tokenizer}",
    )


def _all_units(wh: Warehouse, sample: str, level: str, source: Sample) -> list[str]:
    if source.matrix_csv is not None:
        with local_copy(source.matrix_csv.bpb, source.storage) as path:
            return read_wide(path, "id").names.to_pylist()
    _, units = with_units(wh, sample, level)
    return units.unique().drop_null().to_pylist()


def _refuse_other_chunking(wh: Warehouse, sample: str) -> None:
    matrix, chunks = (
        wh.metadata(table, sample).get(CHUNKS_HASH) for table in ("bpb_matrix", "chunks")
    )
    if matrix != chunks:
        raise PcorrError(
            f"Sample {sample!r} was chunked anew since its matrix was built. Materialise chunk_bpb "
            "for its LLMs and then bpb_matrix again."
        )


def _counted(wh: Warehouse, sample: str, level: str, tokenizer_name: str) -> dict[str, int]:
    """Counts of the surviving chunks; kept, since several assets and targets need them."""
    _refuse_other_chunking(wh, sample)
    tokenizer = load_tokenizer(tokenizer_name)
    surviving = frozenset(read_units(wh, sample, "chunk").to_pylist())
    # A chunk's id does not say its domain, so the units are part of what is counted.
    names, of_chunks = with_units(wh, sample, level, ["chunk_id"])
    units = of_chunks.to_pylist()
    counted = (
        f"{chunk}\0{unit}"
        for chunk, unit in zip(names["chunk_id"].to_pylist(), units, strict=True)
        if chunk in surviving
    )
    key = content_hash(level, tokenizer_sha256(tokenizer), *counted)
    kept: Path = wh.home / "cache" / "unit_tokens" / f"{key}.json"
    found = kept_counts(kept)
    if found is None:
        chunks = wh.path("chunks", sample)
        by_column = None if level in UNIT_COLUMNS else units
        found = count_unit_tokens(chunks, level, tokenizer, surviving=surviving, units=by_column)
        write_json(kept, {COUNTS: found}, indent=None)
    return found


def kept_counts(kept: Path) -> dict[str, int] | None:
    """Tokens of each unit as an earlier run counted them; None without, or if they are damaged."""
    if not kept.is_file():
        return None
    try:
        found = read_json(kept)
    except DamagedFileError as error:
        logger.warning("%s is damaged (%s): the tokens are counted again", kept, error.reason)
        return None
    counts = found.get(COUNTS)
    return counts if isinstance(counts, dict) else found  # earlier versions wrote them bare
