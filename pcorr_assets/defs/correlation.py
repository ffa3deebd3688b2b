"""Stage `correlation`: from BPB and errors to estimates and whether to trust them.

Belongs here: the assets `bpb_matrix`, `error_vector`, `estimate`, `rank_prediction`.
Does not belong here: what they compute (`steps`, `matrix`, `stats`).
"""

from collections import Counter
from dataclasses import asdict
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.defs.check_events import Outcome
from pcorr_assets.defs.checks import trust_check_result, trust_check_spec
from pcorr_assets.defs.metadata import (
    numbers,
    overview,
    picture,
    rows_table,
    sentences,
)
from pcorr_assets.defs.partitions import LLM
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.plausibility_checks import (
    built_matrix,
    combined_errors,
    estimated,
    estimates_before,
    level_to_compare,
    specs,
)
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.defs.target_run import TargetRun
from pcorr_assets.defs.versions import selection_sections
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.plausibility.matrices import deviations
from pcorr_assets.report.overviews import matrix_overview
from pcorr_assets.report.plots import estimate_histogram, gain_plot, histogram, rank_plot
from pcorr_assets.stats.low_cells import find_low_cells
from pcorr_assets.stats.verdict import Verdict
from pcorr_assets.steps.error_vectors import target_error_vector
from pcorr_assets.steps.estimates import TargetEstimates, estimate_targets
from pcorr_assets.steps.inputs import level_of
from pcorr_assets.steps.low_cells import low_cell_rows
from pcorr_assets.steps.matrices import build_matrix
from pcorr_assets.steps.rank_predictions import TargetValidation, validate_targets
from pcorr_assets.steps.reliabilities import target_reliability

# What matrix, errors and caps of a target are chosen by; the data itself has its own hashes.
OF_ESTIMATES = (
    *selection_sections("level", "estimator", "keep_ratio", "tokenizer", "max_nan_fraction"),
    "samples.*.unit_tokens",
)
# How their inputs are read and aligned, and their caps counted.
INPUTS = (
    "matrix/combined.py",
    "matrix/errors.py",
    "matrix/layout.py",
    "steps/caps.py",
    "steps/combined.py",
    "steps/inputs.py",
    "text/token_counts.py",
)
SHOWN_UNITS = 10
SHOWN_LLMS = 100
SHOWN_OF_RELIABILITY = (
    "benchmark", "metric", "is_used", "llm_count", "item_count", "reliability",
)  # fmt: skip
SHOWN_OF_PILOT = (
    "page_share", "is_pilot", "overlap", "overlap_low", "overlap_high", "changed_share", "suffices",
)  # fmt: skip


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [
        _bpb_matrix(platform),
        _error_vector(platform),
        _estimate(platform),
        _rank_prediction(platform),
    ]


def from_matrix_and_errors(platform: Platform) -> dict[str, Any]:
    """What assets have in common that a matrix and error vectors make, target by target."""
    return {
        "deps": [
            ("bpb_matrix", platform.partitions.to_sample_target),
            ("error_vector", platform.partitions.to_sample_target),
        ],
        "group_name": "correlation",
        "partitions_def": platform.partitions.sample_target,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "kinds": {"numpy", "parquet"},
    }


def _bpb_matrix(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("bpb_matrix", "matrix_coverage", "low_cells"),
        rooms=("matrix", "steps/matrices.py", "steps/low_cells.py", "stats/low_cells.py"),
        sections=("samples", "selection.max_nan_fraction"),
        checks=[
            dg.AssetCheckSpec(
                "enough_llms",
                asset="bpb_matrix",
                partitions_def=platform.partitions.sample,
                description="Enough LLMs and families to correlate over, and none lost.",
            ),
            *specs("bpb_matrix", platform.partitions.sample),
        ],
        deps=[("chunk_bpb", platform.partitions.text_samples_to_samples)],
        group_name="correlation",
        partitions_def=platform.partitions.sample,
        kinds={"numpy", "parquet"},
    )
    def bpb_matrix(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """BPB of every LLM on every chunk, page and domain; or a published matrix."""
        sample = context.partition_key
        registered = context.instance.get_dynamic_partitions(LLM)
        with platform.lock(context, "bpb_matrix", sample):
            matrix = build_matrix(platform.warehouse, platform.settings, sample, registered)
            level = level_to_compare(matrix)
            view = read_matrix(platform.warehouse, sample, level)
            cells = find_low_cells(view.X)
            rows = low_cell_rows(sample, level, view, cells)
            matrix.written["low_cells"] = platform.warehouse.write("low_cells", (sample,), rows)
        left_out = matrix.coverage.filter(pc.field("included") == pa.scalar(False))
        metadata = {
            "LLMs included": matrix.llm_count,
            "families": matrix.family_count,
            **{f"{level}s": count for level, count in matrix.unit_counts.items()},
            "report": sentences(matrix.report),
            "LLMs left out": rows_table(left_out, ["llm", "nan_count", "reason"]),
            "unexpectedly low cells": rows_table(
                rows.slice(0, SHOWN_LLMS), ["llm", "unit", "bpb", "expected_bpb", "deviation"]
            ),
        }
        check = dg.AssetCheckResult(
            check_name="enough_llms",
            passed=not matrix.doubts,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(matrix.doubts) or None,
            metadata={"LLMs": matrix.llm_count, "families": matrix.family_count},
        )
        own = ("bpb_matrix", "matrix_coverage", "low_cells")
        written = [(table, (sample,), matrix.written[table]) for table in own]
        imported = [found for table, found in matrix.written.items() if table not in own]
        checks = built_matrix(platform.settings, sample, registered, matrix, level, view, cells)
        metadata |= overview(matrix_overview(view.X, view.llms, deviations(view.X), level))
        return materialised(platform, written, metadata, checks=[check, *checks], also=imported)

    return bpb_matrix


def _error_vector(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("error_vectors", "reliabilities"),
        rooms=(
            "matrix/combined.py",
            "matrix/errors.py",
            "steps/error_vectors.py",
            "lm/benchmark_settings.py",
            "steps/reliabilities.py",
            "stats/reliability.py",
        ),
        sections=("targets", "benchmarks"),
        checks=specs("error_vector", platform.partitions.target),
        # Between different single dimensions Dagster would silently map like keys to like keys.
        deps=[
            ("benchmark_errors", dg.AllPartitionMapping()),
            ("bpb_matrix", dg.AllPartitionMapping()),
        ],
        group_name="correlation",
        partitions_def=platform.partitions.target,
        kinds={"numpy", "parquet"},
    )
    def error_vector(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The error of each LLM on a target: its benchmarks, evaluated or imported, combined."""
        target = context.partition_key
        registered = context.instance.get_dynamic_partitions(LLM)
        with platform.lock(context, "error_vectors", target):
            vector = target_error_vector(platform.warehouse, platform.settings, target, registered)
            written = platform.warehouse.write(
                "error_vectors", (target,), vector.table, dict(vector.notes)
            )
            reliable = target_reliability(
                platform.warehouse, platform.settings, target, vector.table
            )
            rows = platform.warehouse.write("reliabilities", (target,), reliable.table)
        sources = Counter(vector.table["source"].to_pylist())
        metadata = {
            **{f"LLMs from {source}": count for source, count in sources.items()},
            "report": sentences([*vector.report, *reliable.notes]),
            "reliability": reliable.value,
            "reliability by metric": rows_table(reliable.table, SHOWN_OF_RELIABILITY),
            "LLMs, lowest error first": rows_table(
                vector.table.sort_by([("error", "ascending"), ("llm", "ascending")]).slice(
                    0, SHOWN_LLMS
                ),
                ["llm", "family", "source", "error"],
            ),
            "errors": picture(
                histogram(vector.table["error"].to_numpy(), target, "error", "LLMs"),
                "Histogram of the errors",
            ),
        }
        checks = combined_errors(
            platform.warehouse, platform.settings, target, vector.table, reliable
        )
        parts = [("error_vectors", (target,), written), ("reliabilities", (target,), rows)]
        return materialised(platform, parts, numbers(metadata), checks=checks)

    return error_vector


def _estimate(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("estimates",),
        rooms=("stats", "steps/estimates.py", "steps/pilots.py", *INPUTS),
        sections=(*OF_ESTIMATES, "validation.bootstrap", "validation.halvings", "validation.seed"),
        checks=specs("estimate", platform.partitions.sample_target),
        **from_matrix_and_errors(platform),
    )
    def estimate(context: dg.AssetExecutionContext) -> Outcome:
        """How well the loss on each unit goes with the error on the target, five ways."""
        wh, run = platform.warehouse, TargetRun(platform, context)
        with run.locked("estimates"):
            for sample, targets in run.targets_by_sample.items():
                for found in estimate_targets(
                    wh, platform.settings, sample, targets, run.failures[sample]
                ):
                    keys = (sample, found.target)
                    last = estimates_before(wh, platform.settings, *keys)
                    part = wh.write("estimates", keys, found.table, found.notes)
                    if found.pilot is not None:
                        wh.write("pilots", keys, found.pilot.table, found.notes)
                    level = level_of(platform.settings, *keys)
                    checks = estimated(last, "|".join(keys), level, found)
                    run.finished(
                        keys,
                        [("estimates", keys, part)],
                        _estimate_metadata(found),
                        *checks,
                    )
        return run.result()

    return estimate


def _estimate_metadata(found: TargetEstimates) -> dict[str, Any]:
    order = np.argsort(-found.estimate, kind="stable")
    ranked = pa.table({"unit": found.units, "estimate": found.estimate}).take(pa.array(order))
    frequency = found.frequency
    return numbers(
        {
            "LLMs": len(found.llms),
            "estimator": found.chosen,
            "units": len(order),
            "units selected": int(found.included.sum()),
            "top ten units": rows_table(ranked.slice(0, SHOWN_UNITS), ["unit", "estimate"]),
            "bottom ten units": rows_table(
                ranked.slice(max(0, len(order) - SHOWN_UNITS)), ["unit", "estimate"]
            ),
            "estimates": picture(
                estimate_histogram(found.estimate, found.included, f"Estimates: {found.target}"),
                "Histogram of the estimates",
            ),
            "selection frequency of selected units": frequency.selected_mean,
            "the same where no unit is better than another": frequency.chance_mean,
            "no selection frequency because": frequency.reason,
            "inclusion probability of selected units": None
            if found.inclusion.probability is None
            else float(found.inclusion.probability[found.included].mean()),
            "no inclusion probability because": found.inclusion.reason,
            "cells left out of estimate_without_low_cells": found.low_cell_count,
            "LLMs with only BPB or only errors": sentences(found.left_out),
            **_combination_metadata(found),
            **_pilot_metadata(found),
        }
    )


def _pilot_metadata(found: TargetEstimates) -> dict[str, Any]:
    """Of a pilot: how much of the selection would stay if all of its sample were scored."""
    if found.pilot is None:
        return {}
    return {
        "pilot": found.pilot.sentence,
        "overlap with the selection of all pages, by share of them": rows_table(
            found.pilot.table, SHOWN_OF_PILOT
        ),
    }


def _combination_metadata(found: TargetEstimates) -> dict[str, Any]:
    """Of a target that combines others: their weights, and what the selection gives each."""
    combination = found.combination
    if combination is None:
        return {}
    return {
        **{f"weight of {name}": value for name, value in combination.weights.items()},
        **{
            f"mean rank correlation of the selection with {name}": value
            for name, value in found.gives.items()
        },
        "largest minimum of these that the caps allow": combination.largest_minimum,
    }


def _rank_prediction(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("rank_predictions", "verdicts"),
        rooms=("stats", "steps/rank_predictions.py", *INPUTS),
        sections=(*OF_ESTIMATES, "validation"),
        checks=[trust_check_spec("rank_prediction", platform.partitions.sample_target)],
        **from_matrix_and_errors(platform),
    )
    def rank_prediction(context: dg.AssetExecutionContext) -> Outcome:
        """Do texts chosen without an LLM rank it right? The verdict says whether to go on."""
        wh, run = platform.warehouse, TargetRun(platform, context)
        with run.locked("rank_predictions"):
            for sample, targets in run.targets_by_sample.items():
                for found in validate_targets(
                    wh, platform.settings, sample, targets, run.failures[sample]
                ):
                    keys = (sample, found.target)
                    parts = [
                        (name, keys, wh.write(name, keys, table, found.notes))
                        for name, table in (
                            ("rank_predictions", found.rank_predictions),
                            ("verdicts", found.verdicts),
                        )
                    ]
                    verdict = trust_check_result("|".join(keys), found.verdict)
                    run.finished(keys, parts, _validation_metadata(found), verdict)
        return run.result()

    return rank_prediction


def _validation_metadata(found: TargetValidation) -> dict[str, Any]:
    plots = {
        f"ranks, scheme {scheme}": picture(
            rank_plot(
                prediction.predicted,
                prediction.actual,
                found.predictions.families,
                f"{found.target}: held-out ranks ({scheme}), R² {prediction.rank_r2:.2f}",
            ),
            "Predicted against actual ranks of held-out LLMs",
        )
        for (scheme, predictor), prediction in found.predictions.predictions.items()
        if predictor == "estimate"
    }
    values = asdict(found.verdict)
    return numbers(
        {
            "verdict": values.pop("verdict"),
            "in words": dg.MetadataValue.md(values.pop("reason")),
            "what the selection gains": _gain_picture(found.verdict),
            **values,
            **plots,
            "schemes not computed": sentences(list(found.predictions.impossible.values()))
            if found.predictions.impossible
            else None,
        }
    )


def _gain_picture(verdict: Verdict) -> dg.MetadataValue | None:
    """The gain beside its alternatives; None where nothing could be validated."""
    others = (
        ("lowest mean BPB", verdict.gain_mean_bpb),
        ("easiest for the best LLM", verdict.gain_strongest_llm),
    )
    gain, low, high = verdict.gain, verdict.gain_low, verdict.gain_high
    needed = verdict.gain_needed
    if gain is None or low is None or high is None or needed is None:
        return None
    shown = [(name, value) for name, value in others if value is not None]
    title = "Gain of the selection with its interval, beside simpler selections"
    return picture(gain_plot(gain, low, high, needed, shown), title)
