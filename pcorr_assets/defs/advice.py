"""Stage `correlation`, second part: what would change a verdict, and what to do next.

Belongs here: the assets `sensitivity` and `next_llms`. Does not belong here: what they
compute (`steps`, `stats`), and the verdict itself (`correlation`).
"""

from typing import Any

import dagster as dg
import pyarrow.compute as pc

from pcorr_assets.defs.check_events import Outcome
from pcorr_assets.defs.correlation import INPUTS, OF_ESTIMATES, from_matrix_and_errors
from pcorr_assets.defs.metadata import numbers, rows_table, sentences
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import table_asset
from pcorr_assets.defs.target_run import TargetRun
from pcorr_assets.steps.next_llms import TargetNext, next_llms_of_targets
from pcorr_assets.steps.sensitivity import TargetSensitivity, sensitivity_of_targets

OF_VALIDATION = ("validation.halvings", "validation.permutations", "validation.seed")
SHOWN_CHANGES = 100


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_sensitivity(platform), _next_llms(platform)]


def _sensitivity(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("sensitivity",),
        rooms=(
            "stats",
            "steps/sensitivity.py",
            "steps/levels.py",
            "steps/error_vectors.py",
            *INPUTS,
        ),
        sections=(*OF_ESTIMATES, *OF_VALIDATION),
        **from_matrix_and_errors(platform),
    )
    def sensitivity(context: dg.AssetExecutionContext) -> Outcome:
        """What the verdict hangs on: without each family, benchmark and LLM, and set otherwise."""
        wh, run = platform.warehouse, TargetRun(platform, context)
        with run.locked("sensitivity"):
            for sample, targets in run.targets_by_sample.items():
                for found in sensitivity_of_targets(
                    wh, platform.settings, sample, targets, run.failures[sample]
                ):
                    keys = (sample, found.target)
                    part = wh.write("sensitivity", keys, found.table, found.notes)
                    run.finished(keys, [("sensitivity", keys, part)], _shown(found))
        return run.result()

    return sensitivity


def _next_llms(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("next_llms", "learning_curves"),
        rooms=("stats", "steps/next_llms.py", *INPUTS),
        sections=(*OF_ESTIMATES, *OF_VALIDATION, "candidates"),
        **from_matrix_and_errors(platform),
    )
    def next_llms(context: dg.AssetExecutionContext) -> Outcome:
        """How many more LLMs a go would take, and which of the candidates to add first."""
        wh, run = platform.warehouse, TargetRun(platform, context)
        with run.locked("next_llms"):
            for sample, targets in run.targets_by_sample.items():
                for found in next_llms_of_targets(
                    wh, platform.settings, sample, targets, run.failures[sample]
                ):
                    keys = (sample, found.target)
                    parts = [
                        (name, keys, wh.write(name, keys, table, found.notes))
                        for name, table in (
                            ("next_llms", found.next_llms),
                            ("learning_curves", found.learning_curve),
                        )
                    ]
                    run.finished(keys, parts, _shown_next(found))
        return run.result()

    return next_llms


def _shown_next(found: TargetNext) -> dict[str, Any]:
    return {
        "what to do next": dg.MetadataValue.md(found.advice),
        "learning curve": rows_table(
            found.learning_curve,
            ["unit_count", "group_count", "llm_count", "gain", "stability", "power", "strength"],
        ),
        "candidates, in the order in which to add them": rows_table(
            found.next_llms.slice(0, SHOWN_CHANGES),
            ["position", "llm", "family", "is_new_family", "parameter_count", "width_in_order"],
        ),
    }


def _shown(found: TargetSensitivity) -> dict[str, Any]:
    analysed = found.table.filter(pc.field("verdict").is_valid())
    least = analysed.sort_by([("overlap", "ascending"), ("kind", "ascending")])
    return numbers(
        {
            "what it hangs on": sentences(found.hangs_on),
            "changes": found.table.num_rows - 1,
            "changes without an analysis": found.table.num_rows - analysed.num_rows,
            "changes, least of the selection left first": rows_table(
                least.slice(0, SHOWN_CHANGES),
                ["kind", "changed", "verdict", "overlap", "gain", "gain_change", "p_value"],
            ),
        }
    )
