"""All LLMs of a sample together: who is missing, and who is unlike the others?

Belongs here: questions about `bpb_matrix` and its coverage. Does not belong here: deciding
who is in the matrix (`matrix.candidates`, `matrix.mask`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from pcorr_assets.matrix.candidates import NOT_MATERIALISED, REMOVED
from pcorr_assets.matrix.wording import count, name_some
from pcorr_assets.plausibility.finding import Finding
from pcorr_assets.stats.low_cells import FALSE_DISCOVERY_RATE, LowCells

# A backfill that is nearly through needs no warning; an LLM that was refused always does.
MIN_LLM_SHARE = 0.9
MIN_CHUNK_SHARE = 0.95

# Deviations are told in robust standard deviations of the LLMs' own spread. On the published
# matrix of 90 LLMs 5 flags one, a small Finnish LLM on English pages; an LLM whose weights
# were not loaded stands at 13 there. Among Gaussian LLMs it flags one matrix in 100.
MAX_DEVIATION = 5.0
# Siblings differ by little; below 5 % between LLMs nobody is unlike the others.
MIN_SPREAD = 0.1
MIN_LLMS_TO_COMPARE = 5
# Makes the median absolute deviation of a Gaussian its standard deviation.
GAUSSIAN = 1.4826
# BPB of 0, of a text known by heart, has no logarithm.
LEAST_BPB = 1e-6


def coverage_is_high(
    coverage: pa.Table, expected: Collection[str], unit_count: int, unit: str
) -> Finding:
    """Are nearly all LLMs and nearly all chunks in the matrix?

    Args:
        coverage: the sample's rows of `matrix_coverage`.
        expected: the registered LLMs (of an import, all LLMs of its files).
        unit_count: chunks (or imported units) in the matrix, which the NaN mask left.
        unit: the word for them.
    """
    rows = {row["llm"]: row for row in coverage.to_pylist()}
    wanted = sorted(set(expected))
    included = [llm for llm in wanted if llm in rows and rows[llm]["included"]]
    reasons = {llm: rows[llm]["reason"] for llm in wanted if llm in rows}
    refused = [
        f"{llm} ({reasons[llm]})"
        for llm in wanted
        if llm in rows and llm not in included and reasons[llm] not in (NOT_MATERIALISED, REMOVED)
    ]
    waiting = [llm for llm in wanted if llm not in rows or reasons[llm] == NOT_MATERIALISED]
    share = len(included) / len(wanted) if wanted else 0.0
    total = max((row["chunk_count"] or 0 for row in rows.values() if row["included"]), default=0)
    kept = unit_count / total if total else 0.0
    problems = []
    if refused:
        problems.append(f"{count(len(refused), 'LLM')} not in the matrix: {name_some(refused)}.")
    if share < MIN_LLM_SHARE and waiting:
        problems.append(
            f"{len(included):,} of {count(len(wanted), 'LLM')} are in the matrix; chunk_bpb is not "
            f"materialised for {name_some(waiting)}. Run the backfill of its missing partitions, "
            "then bpb_matrix again."
        )
    if kept < MIN_CHUNK_SHARE:
        worst = sorted(
            (row for row in rows.values() if row["included"] and row["nan_count"]),
            key=lambda row: -row["nan_count"],
        )
        blame = name_some((f"{row['llm']} ({row['nan_count']:,})" for row in worst), 3)
        problems.append(
            f"{kept:.1%} of {count(total, unit)} are in the matrix; the others have an undefined "
            f"loss for one LLM or another. Most of these: {blame or 'none noted'}. Lower "
            "selection.max_nan_fraction so that such LLMs leave, or score them with overlong: "
            "window."
        )
    numbers = {
        "LLMs expected": len(wanted),
        "share of LLMs": share,
        f"{unit}s": unit_count,
        f"share of {unit}s": kept,
    }
    return Finding(tuple(problems), numbers)


def deviations(X: np.ndarray) -> np.ndarray:
    """How far each LLM (N,) is off the others, in robust standard deviations; + is worse.

    `X` (N, D) is BPB. d_i is the median over units of log BPB minus the median over LLMs
    of log BPB of the unit, so that it takes most units to move it; the deviation is
    (d_i - median d) / max(1.4826 MAD(d), `MIN_SPREAD`).
    """
    logs = np.log(np.maximum(X, LEAST_BPB))
    off = np.median(logs - np.median(logs, axis=0), axis=1)
    centred = off - np.median(off)
    spread = GAUSSIAN * float(np.median(np.abs(centred)))
    return centred / max(spread, MIN_SPREAD)


def no_llm_is_unlike_the_others(X: np.ndarray, llms: Sequence[str], level: str) -> Finding:
    """Is there an LLM whose BPB is far off that of the others on most units?

    `X` (N, D) BPB, `llms` (N,) its rows, `level` what a unit is.
    """
    if len(llms) < MIN_LLMS_TO_COMPARE:
        return Finding(
            note=f"{count(len(llms), 'LLM')} are too few to say that one is unlike the others."
        )
    found = deviations(X)
    logs = np.log(np.maximum(X, LEAST_BPB))
    ratios = np.exp(np.median(logs - np.median(logs, axis=0), axis=1))
    order = np.argsort(-np.abs(found), kind="stable")
    problems = []
    for index in order:
        if abs(found[index]) <= MAX_DEVIATION:
            break
        worse = found[index] > 0
        problems.append(
            f"{llms[index]}: on the median {level} its BPB is {ratios[index]:.2f} times the usual "
            f"({found[index]:+.1f} robust standard deviations). "
            + (
                "Its weights or tokenizer may be broken, or these texts are not in its languages; "
                if worse
                else "It may have seen these texts in training; "
            )
            + "look at its chunk_bpb, and take it out of the file if it does not belong here."
        )
    worst = int(order[0])
    numbers = {
        "LLM farthest off": llms[worst],
        "its deviation": float(found[worst]),
        "allowed": MAX_DEVIATION,
    }
    return Finding(tuple(problems), numbers)


def no_text_is_known_by_heart(
    cells: LowCells, X: np.ndarray, llms: Sequence[str], units: Sequence[str], level: str
) -> Finding:
    """Is an LLM's BPB on some unit far below what the LLM and the unit explain?

    `cells` are those of `X` (N, D), whose rows are `llms` and whose columns are `units`.
    """
    if cells.reason:
        return Finding(note=f"{cells.reason}.")
    numbers = {
        "cells found": cells.rows.size,
        "of cells": X.size,
        "false-discovery rate": FALSE_DISCOVERY_RATE,
    }
    if not cells.rows.size:
        return Finding(numbers=numbers)
    worst = [
        f"{llms[row]} on {units[column]} ({X[row, column]:.3f} bits per byte, {expected:.3f} "
        "expected)"
        for row, column, expected in zip(cells.rows, cells.columns, cells.expected, strict=True)
    ]
    found, counts = np.unique(cells.rows, return_counts=True)
    most = int(counts.argmax())
    problem = (
        f"{count(cells.rows.size, 'cell')} (LLM and {level}) of {X.size:,} are lower than chance "
        f"explains, with a false-discovery rate of {FALSE_DISCOVERY_RATE:.0%}, "
        f"{counts[most]:,} of them of {llms[found[most]]}: {name_some(worst, 3)}. The LLM may have "
        "been trained on these texts, or be the only one made for their language or kind. They are "
        "in the table low_cells; compare estimate_without_low_cells with estimate."
    )
    return Finding((problem,), numbers)
