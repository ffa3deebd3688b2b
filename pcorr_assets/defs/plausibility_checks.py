"""Checks whether what an asset made makes sense, from the asset's own run.

Belongs here: which asset has which checks, what they read, and a finding as a check
result. Does not belong here: the questions themselves (`plausibility`), and the checks that
follow from the registry of tables (`checks`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs.evaluate_llm import CHANCE
from pcorr_assets.matrix.candidates import bpb_keys
from pcorr_assets.matrix.layout import MatrixView
from pcorr_assets.plausibility import Finding, estimates, llms, matrices, targets
from pcorr_assets.stats.low_cells import LowCells
from pcorr_assets.steps.estimates import TargetEstimates
from pcorr_assets.steps.inputs import level_of
from pcorr_assets.steps.matrices import BuiltMatrix
from pcorr_assets.steps.reliabilities import TargetReliability
from pcorr_assets.warehouse import Warehouse

# Fewer units than these do not say what an LLM does on most texts.
UNITS_TO_COMPARE = 20

DESCRIPTIONS = {
    "chunk_bpb": {
        "tokens_fit_text": "The tokenizer gives as many tokens as text has, and knows nearly all "
        "of it.",
        "losses_make_sense": "The LLM is better than guessing bytes, does not know the texts by "
        "heart, and has a loss on nearly every chunk.",
    },
    "benchmark_errors": {
        "better_than_chance": "The LLM does better on each benchmark than by guessing.",
    },
    "bpb_matrix": {
        "coverage_is_high": "Nearly all registered LLMs and nearly all chunks are in the matrix.",
        "no_llm_is_unlike_the_others": "No LLM's BPB is far off that of the others on most texts: "
        "such an LLM is probably broken.",
        "no_text_is_known_by_heart": "No LLM's BPB on some text is far below what LLM and text "
        "explain: it may have been trained on it.",
    },
    "error_vector": {
        "enough_llms": "Enough LLMs and families have an error to correlate over.",
        "errors_differ": "The errors tell the LLMs apart.",
        "benchmarks_agree": "The benchmarks of the target put the LLMs in similar orders.",
        "errors_are_reliable": "Other items of the benchmarks would put the LLMs in much the same "
        "order.",
    },
    "estimate": {
        "errors_go_with_losses": "No LLM does far better on the benchmarks than its losses "
        "explain: it may have seen them.",
        "stable_since_last": "The estimates and the selection are nearly those of the last "
        "materialisation; the first passes.",
    },
}


def specs(asset: str, partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """The checks of an asset, with its partitions."""
    return [
        dg.AssetCheckSpec(name, asset=asset, partitions_def=partitions, description=description)
        for name, description in DESCRIPTIONS[asset].items()
    ]


def result(name: str, found: Finding) -> dg.AssetCheckResult:
    """A finding (of one partition) as the result of a check."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.ERROR if found.wrong else dg.AssetCheckSeverity.WARN,
        description=found.text or None,
        metadata=dict(found.numbers),
    )


def scored_llm(wh: Warehouse, settings: Settings, llm: str, sample: str) -> list:
    """Results of the checks of `chunk_bpb`, from the partition that was just written."""
    columns = ["loss", "token_count", "byte_count", "unk_count"]
    rows = wh.read("chunk_bpb", *bpb_keys(llm, sample), columns=columns)
    loss, tokens, size, unknown = (rows[name].to_numpy() for name in columns)
    limit = settings.selection.max_nan_fraction
    return [
        result("tokens_fit_text", llms.tokens_fit_text(llm, tokens, size, unknown)),
        result("losses_make_sense", llms.losses_make_sense(llm, loss, tokens, size, limit)),
    ]


def evaluated_llm(wh: Warehouse, llm: str) -> list[dg.AssetCheckResult]:
    """Results of the checks of `benchmark_errors`, from the partition just written."""
    chance = json.loads(wh.metadata("benchmark_errors", llm).get(CHANCE, "{}"))
    found = llms.better_than_chance(wh.read("benchmark_errors", llm), chance)
    return [result("better_than_chance", found)]


def built_matrix(
    settings: Settings,
    sample: str,
    registered: Sequence[str],
    matrix: BuiltMatrix,
    level: str,
    view: MatrixView,
    cells: LowCells,
) -> list[dg.AssetCheckResult]:
    """Results of the checks of `bpb_matrix`.

    `view` is the matrix at a level, `cells` what is unexpectedly low there.
    """
    is_text = settings.samples[sample].is_text
    expected = registered if is_text else matrix.coverage["llm"].to_pylist()
    finest = max(matrix.unit_counts, key=lambda level: matrix.unit_counts[level])
    coverage = matrices.coverage_is_high(
        matrix.coverage, expected, matrix.unit_counts[finest], finest
    )
    unlike = matrices.no_llm_is_unlike_the_others(view.X, view.llms, level)
    names = view.units.to_pylist()
    known = matrices.no_text_is_known_by_heart(cells, view.X, view.llms, names, level)
    return [
        result("coverage_is_high", coverage),
        result("no_llm_is_unlike_the_others", unlike),
        result("no_text_is_known_by_heart", known),
    ]


def level_to_compare(matrix: BuiltMatrix) -> str:
    """The level with the fewest units that are enough to compare LLMs over."""
    enough = {level: n for level, n in matrix.unit_counts.items() if n >= UNITS_TO_COMPARE}
    choose: Callable = min if enough else max
    among = enough or matrix.unit_counts
    return choose(among, key=lambda level: among[level])


def combined_errors(
    wh: Warehouse,
    settings: Settings,
    target: str,
    vectors: pa.Table,
    reliable: TargetReliability,
) -> list[dg.AssetCheckResult]:
    """Results of the checks of `error_vector`; `vectors` are the rows just written."""
    benchmarks = settings.benchmarks_of(target)
    rows, _ = wh.read_sound("benchmark_errors")
    by_benchmark = targets.errors_by_benchmark(vectors, rows, benchmarks)
    agree = (
        Finding(note="Benchmarks are compared in each of the targets that this one combines.")
        if settings.targets[target].combine_targets
        else targets.benchmarks_agree(by_benchmark)
    )
    return [
        result("enough_llms", targets.enough_llms(vectors)),
        result("errors_differ", targets.errors_differ(vectors)),
        result("benchmarks_agree", agree),
        result(
            "errors_are_reliable",
            targets.errors_are_reliable(
                target, reliable.table, reliable.value, " ".join(reliable.notes)
            ),
        ),
    ]


def estimates_before(
    wh: Warehouse, settings: Settings, sample: str, target: str
) -> estimates.Estimates | str | None:
    """The estimates that the coming write replaces; None if there are none.

    Of the estimator that is selected now. A text says why the old file cannot be read (it is
    damaged, or of an older layout), which must not keep the new one from being written.
    """
    if not wh.exists("estimates", sample, target):
        return None
    estimator = settings.selection_for(target).estimator
    columns = ["level", "unit", "estimator", "estimate"]
    try:
        rows = wh.read("estimates", sample, target, columns=columns).select(columns)
    except (PcorrError, KeyError, OSError, pa.ArrowException) as error:
        return str(error)
    rows = rows.filter(pc.field("estimator") == estimator)
    level = rows["level"][0].as_py() if rows.num_rows else level_of(settings, sample, target)
    values = np.asarray(rows["estimate"].to_numpy())
    return estimates.Estimates(level, rows["unit"].to_pylist(), values)


def estimated(
    last: estimates.Estimates | str | None, where: str, level: str, found: TargetEstimates
) -> list[dg.AssetCheckResult]:
    """Results of the checks of `estimate` for a partition (`where`), beside the `last` one."""
    low = estimates.errors_go_with_losses(where, found.low_errors, found.llms)
    return [
        result("errors_go_with_losses", low),
        result("stable_since_last", compared_estimates(last, where, level, found)),
    ]


def compared_estimates(
    before: estimates.Estimates | str | None, where: str, level: str, found: TargetEstimates
) -> Finding:
    """Whether the estimates of a partition (`where`) are nearly those from before."""
    if isinstance(before, str):
        return Finding(note=f"{where}: the last estimates cannot be read ({before})")
    now = estimates.Estimates(level, found.units.to_pylist(), found.estimate)
    try:
        return estimates.stable_since_last(where, before, now, found.tau)
    except PcorrError as error:
        # The new estimates are written: numbers that an old file should not hold cost nothing.
        return Finding(note=f"{where}: the last estimates cannot be compared ({error})")
