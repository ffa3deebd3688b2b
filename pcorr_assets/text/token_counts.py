"""Tokens of each unit, for the caps of the sampling distribution.

Belongs here: counting tokens of the pretraining run's tokenizer over a chunk table, and
reading counts that the user measured on the real pool. Does not belong here: what is
done with them (`stats`).

A unit's count is the sum over its chunks, each tokenised by itself and without special
tokens. A page counted as a whole would differ by less than one token a cut on average;
counting by chunk makes chunks, pages and domains add up, and lets chunks that the NaN mask
removed be left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.text.files import iter_file
from pcorr_assets.text.tokenizers import rust_tokenizer
from pcorr_assets.warehouse.parquet_files import open_parquet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNIT_COLUMNS = {"chunk": "chunk_id", "page": "page_id", "domain": "domain"}
BATCH_ROWS = 256
NAMES_SHOWN = 5
VALUE_SHOWN = 60
LARGEST_COUNT = 2**63 - 1


def count_unit_tokens(
    chunks: Path | pa.Table,
    level: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    surviving: Container[str] | None = None,
    units: Sequence[str | None] | None = None,
) -> dict[str, int]:
    """Count the tokens of each unit of a level (`chunk`, `page` or `domain`, or by `units`).

    Args:
        chunks: table `chunks`, or its Parquet file, which is streamed.
        surviving: chunk ids to count (None: all); a unit without any is absent.
        units: the unit of each chunk at a level that is no column of `chunks`; None counts
            nowhere.

    Returns unit -> tokens, units in order of first appearance.

    Raises PcorrError for an unknown level, or level `domain` where the sample has no domains.
    """
    if units is None and level not in UNIT_COLUMNS:
        raise PcorrError(f"unknown level {level!r}; expected one of {', '.join(UNIT_COLUMNS)}")
    unit_column = UNIT_COLUMNS.get(level, "page_id") if units is None else "page_id"
    columns = list(dict.fromkeys(["chunk_id", unit_column, "text"]))
    first = 0
    counts: dict[str, int] = {}
    total = _row_count(chunks)
    with Progress(f"count tokens of each {level}", total=total, unit="chunks") as progress:
        for batch in _batches(chunks, columns):
            names, own, texts = (
                batch.column(name).to_pylist() for name in ("chunk_id", unit_column, "text")
            )
            if units is not None:
                own = units[first : first + len(names)]
            first += len(names)
            kept = [row for row, name in enumerate(names) if surviving is None or name in surviving]
            token_counts = _count(tokenizer, [texts[row] for row in kept])
            for row, count in zip(kept, token_counts, strict=True):
                unit = own[row]
                if unit is None and units is not None:
                    continue
                if unit is None:
                    raise PcorrError(
                        f"chunk {names[row]} has no domain: set domain_column for the sample and "
                        "chunk it again, or choose level page or chunk"
                    )
                counts[unit] = counts.get(unit, 0) + count
            progress.update(len(names))
    return counts


def read_unit_tokens(
    path: Path, units: Collection[str], known: Collection[str] | None = None
) -> dict[str, int]:
    """Read a CSV file `unit,token_count`: the tokens of each unit in the real pool.

    Args:
        units: those that need a count.
        known: all units of the sample at the level in question, where `units` lacks some
            (None: `units` are all); the file may list these as well.

    Returns unit -> tokens, in the order of `units`.

    Raises PcorrError naming the file and the line or units for a unit that is listed twice,
    unknown or missing, and for a count that is not a whole number of at least 0.
    """
    counts: dict[str, int] = {}
    row_number = 0
    for rows in iter_file(path, ["unit", "token_count"]):
        for row in rows:
            row_number += 1
            unit = row["unit"]
            where = f"{path}, row {row_number:,} (unit {unit[:VALUE_SHOWN]!r})"
            if unit in counts:
                raise PcorrError(f"{where}: the unit is listed twice: keep one line for it")
            counts[unit] = _parse_count(row["token_count"], where)
    all_units = set(units) | set(known or ())
    _refuse(
        [unit for unit in counts if unit not in all_units],
        f"{path}: units that the sample does not have",
        "check level and spelling, or remove the lines",
    )
    _refuse(
        [unit for unit in units if unit not in counts],
        f"{path}: no token count for units of the sample",
        "add a line for each (0 excludes a unit)",
    )
    return {unit: counts[unit] for unit in units}


def _row_count(chunks: Path | pa.Table) -> int:
    if isinstance(chunks, Path):
        with open_parquet(chunks, only_footer=True) as file:
            return file.metadata.num_rows
    return chunks.num_rows


def _batches(chunks: Path | pa.Table, columns: list[str]) -> Iterable[pa.RecordBatch]:
    if isinstance(chunks, Path):
        with open_parquet(chunks) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)
    else:
        yield from chunks.select(columns).to_batches(max_chunksize=BATCH_ROWS)


def _count(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[int]:
    if not texts:
        return []
    if tokenizer.is_fast:
        inner = rust_tokenizer(tokenizer)
        return [len(found) for found in inner.encode_batch_fast(texts, add_special_tokens=False)]
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _parse_count(value: str, where: str) -> int:
    written = value.strip()
    is_whole = written.lstrip("+-").isdigit()
    try:
        # Python's own numbers may have underscores; a column of counts has none.
        number = float(value.replace("_", " "))
        if is_whole and math.isinf(number):  # too many digits for int(), or for a text
            count = number = -1 if number < 0 else LARGEST_COUNT + 1
        else:
            count = int(written) if is_whole else int(number)
    except (ValueError, OverflowError) as error:
        hint = "; write it without separators" if _has_separators(value) else ""
        said = f"{where}: token_count {value[:VALUE_SHOWN]!r} is not a whole number{hint}"
        raise PcorrError(said) from error
    if count != number and abs(count) < 2**53:
        raise PcorrError(f"{where}: token_count {value[:VALUE_SHOWN]!r} is not a whole number")
    if not 0 <= count <= LARGEST_COUNT:
        what = "negative" if count < 0 else "larger than any text"
        raise PcorrError(f"{where}: token_count {value[:VALUE_SHOWN]!r} is {what}")
    return count


def _has_separators(value: str) -> bool:
    return value.replace(",", "").replace(".", "").strip().isdigit()


def _refuse(units: list[str], what: str, remedy: str) -> None:
    if units:
        shown = ", ".join(map(repr, units[:NAMES_SHOWN]))
        more = f" and {len(units) - NAMES_SHOWN:,} more" if len(units) > NAMES_SHOWN else ""
        raise PcorrError(f"{what}: {shown}{more}: {remedy}")
