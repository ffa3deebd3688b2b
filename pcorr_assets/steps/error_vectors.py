"""Rows of `error_vectors` from what `benchmark_errors` and `llms` hold.

Belongs here: reading all LLMs' errors. Does not belong here: combining them (`matrix`).
"""

from __future__ import annotations

from collections.abc import Collection

from pcorr_assets.config import Settings
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256
from pcorr_assets.matrix.errors import ErrorVector, error_vector
from pcorr_assets.warehouse import Warehouse


def target_error_vector(
    wh: Warehouse, settings: Settings, target: str, llm_keys: Collection[str]
) -> ErrorVector:
    """The error vector of a target, from own evaluations and imports.

    `llm_keys` are the registered LLMs. Own evaluations count only if they were made with
    the benchmark settings of today. Raises what `pcorr_assets.matrix.errors` raises.
    """
    return error_vector(
        target,
        settings.targets[target],
        wh.read_all("benchmark_errors"),
        wh.read_all("llms"),
        expected_settings={
            name: benchmark_settings_sha256(name, benchmark)
            for name, benchmark in settings.benchmarks.items()
        },
        llm_keys=llm_keys,
        scales={
            name: benchmark.scale
            for name, benchmark in settings.benchmarks.items()
            if benchmark.scale is not None
        },
    )
