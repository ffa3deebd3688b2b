"""Rows of `error_vectors` from what `benchmark_errors` and `llms` hold.

Belongs here: reading all LLMs' errors. Does not belong here: combining them (`matrix`).
"""

from __future__ import annotations

from collections.abc import Collection

from pcorr_assets.config import Settings
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256
from pcorr_assets.lm.task_folders import local_benchmarks
from pcorr_assets.matrix.combined import combine_vectors
from pcorr_assets.matrix.errors import ErrorVector, error_vector
from pcorr_assets.steps.reliabilities import benchmark_weights
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.store import IMPORTED


def target_error_vector(
    wh: Warehouse, settings: Settings, target: str, llm_keys: Collection[str]
) -> ErrorVector:
    """The error vector of a target, from own evaluations and imports.

    That of a target that combines others is made from their benchmark errors, not from their
    error vectors: so it needs none of them to be there, and none can be outdated.

    `llm_keys` are the registered LLMs. Own evaluations count only if they were made with
    the benchmark settings of today. LLMs with a damaged file are left out and named, as in
    the matrix. Raises what `pcorr_assets.matrix.errors` raises, and PcorrError for a damaged
    import, or if no errors are left.
    """
    stated = settings.targets[target]
    if stated.combine_targets:
        return combine_vectors(
            target,
            stated,
            {
                part: target_error_vector(wh, settings, part, llm_keys)
                for part in stated.combine_targets
            },
        )
    errors, damaged = wh.read_sound("benchmark_errors")
    llms, damaged_records = wh.read_sound("llms")
    damaged |= damaged_records
    for keys, error in damaged.items():
        if keys[0] == IMPORTED or not errors.num_rows:
            raise error
    return error_vector(
        target,
        stated,
        errors,
        llms,
        unreadable={llm: str(error) for (llm, *_), error in damaged.items()},
        expected_settings={
            name: benchmark_settings_sha256(name, benchmark)
            for name, benchmark in local_benchmarks(settings).items()
        },
        llm_keys=llm_keys,
        weigh=lambda own: benchmark_weights(wh, settings, target, own),
        scales={
            name: benchmark.scale
            for name, benchmark in settings.benchmarks.items()
            if benchmark.scale is not None
        },
    )


def with_benchmarks(settings: Settings, target: str, benchmarks: Collection[str]) -> Settings:
    """Settings in which a target, or those it combines, has only some of its benchmarks.

    A target that is combined and left without any leaves the combination.
    """
    stated = settings.targets[target]
    names = list(stated.combine_targets) or [target]
    reduced = {}
    for name in names:
        kept = [one for one in settings.targets[name].benchmarks if one in benchmarks]
        if kept:
            reduced[name] = settings.targets[name].model_copy(update={"benchmarks": kept})
    if stated.combine_targets:
        left = {name: stated.combine_targets[name] for name in reduced}
        reduced[target] = stated.model_copy(update={"combine_targets": left})
    return settings.model_copy(update={"targets": reduced})
