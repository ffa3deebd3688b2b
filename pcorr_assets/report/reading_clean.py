"""Text of a target's benchmarks in chunks and in documents of pools, as facts.

Belongs here: the tables `clean_estimates`, `contaminated_chunks` and `selections` of one sample
and target. Does not belong here: the search (`clean`) and leaving out (`filters`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.filters.writing import SUMMARY
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.report import clean_facts as f
from pcorr_assets.steps.clean_estimates import TABLE, read_compared
from pcorr_assets.steps.contaminated_chunks import TABLE as CHUNKS
from pcorr_assets.steps.inputs import AlignedInputs
from pcorr_assets.warehouse import Warehouse

UNITS_SHOWN, CHUNKS_SHOWN = 30, 5


def read_clean(
    wh: Warehouse, settings: Settings, inputs: AlignedInputs, target: str
) -> f.CleanFacts:
    """What was found, or in the sentence why nothing was looked for."""
    sample = inputs.sample
    pools = tuple(_pools(wh, settings, sample, target))
    if (absence := _absence(wh, settings, inputs, target)) is not None:
        return f.CleanFacts(absence, (), (), pools)
    compared = read_compared(wh, sample, target)
    assert compared is not None
    return f.CleanFacts(
        compared.sentence,
        tuple(_units(wh.read(TABLE, sample, target))),
        tuple(
            f.SharedFacts(row["chunk_id"], row["benchmark"], row["words"])
            for row in wh.read(CHUNKS, sample, target).slice(0, CHUNKS_SHOWN).to_pylist()
        ),
        pools,
    )


def _absence(wh: Warehouse, settings: Settings, inputs: AlignedInputs, target: str) -> str | None:
    sample = inputs.sample
    if not settings.samples[sample].is_text:
        return "The sample is an imported matrix: it has no texts to search."
    if not wh.exists(TABLE, sample, target):
        return "The chunks have not been searched: materialise clean_estimate, then report."
    now = inputs.made_from[target][MATRIX_HASH]
    if wh.metadata(TABLE, sample, target).get(MATRIX_HASH, now) != now:
        return (
            "The chunks were searched for an earlier matrix than the present one: materialise "
            "clean_estimate again, then report."
        )
    return None


def _units(rows: pa.Table) -> Iterator[f.CleanUnitFacts]:
    """Units with such chunks, those first whose estimate changes most."""
    found = [row for row in rows.to_pylist() if row["contaminated_chunk_count"]]

    def change(row: dict) -> float:
        clean = row["clean_estimate"]
        return float("inf") if clean is None else abs(clean - row["estimate"])

    for row in sorted(found, key=lambda row: (-change(row), row["unit"]))[:UNITS_SHOWN]:
        yield f.CleanUnitFacts(
            row["unit"],
            row["chunk_count"],
            row["contaminated_chunk_count"],
            row["estimate"],
            row["clean_estimate"],
        )


def _pools(wh: Warehouse, settings: Settings, sample: str, target: str) -> Iterator[f.PoolFacts]:
    for name, pool in settings.pools.items():
        if pool.sample != sample or not wh.exists("selections", name, target):
            continue
        noted = wh.metadata("selections", name, target).get(SUMMARY)
        if noted is None:  # of a version that noted none
            continue
        found = json.loads(noted)
        yield f.PoolFacts(
            pool=name,
            document_count=found["document_count"],
            decontaminate=found["decontaminate"],
            contaminated=_of(found, "contaminated"),
            by_benchmark=tuple(
                (benchmark, one["documents"], one["tokens"], one["score_enough"])
                for benchmark, one in sorted(found["contaminated_by"].items())
            ),
            examples=tuple(
                f.SharedFacts(one["document_id"], one["contaminated_by"], one["shared_words"])
                for one in found["contaminated_examples"]
            ),
            copies=_of(found, "duplicate"),
            near_duplicates=_of(found, "near_duplicate"),
            looks_for_near_duplicates=pool.near_duplicates is not None,
        )


def _of(found: dict, what: str) -> tuple[int, int]:
    return found[f"{what}_document_count"], found[f"{what}_token_count"]
