"""The platform on the world, through its plain functions: from chunks to a scored pool.

Belongs here: calling the platform's stages in order. Does not belong here: computing anything,
and what is selected (`selections`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import refresh_groups
from pcorr_assets.filters.training import build_filter
from pcorr_assets.jobs import evaluate_llm, score_llm, score_pool_group
from pcorr_assets.jobs.description import evaluate_job, score_job
from pcorr_assets.jobs.score_pool_group import score_pool_group_job
from pcorr_assets.progress import Progress
from pcorr_assets.steps.benchmark_ngrams import write_ngrams
from pcorr_assets.steps.error_vectors import target_error_vector
from pcorr_assets.steps.estimates import estimate_targets
from pcorr_assets.steps.matrices import build_matrix
from pcorr_assets.steps.rank_predictions import validate_targets
from pcorr_assets.steps.sampling import sampling_distribution
from pcorr_assets.steps.verdicts import estimates_of
from pcorr_assets.warehouse import Warehouse
from scripts.studies.real.parallel import side_by_side
from scripts.studies.real.world import CONFIG, POOL, SAMPLE
from scripts.world_seeds import make_chunks

logger = logging.getLogger(__name__)


def run_chain(folder: Path, settings: Settings, processes: int) -> dict[str, dict[str, Any]]:
    """Make what is missing, up to the scores of the pool; of each target what is known of it.

    Of a target: `verdict`, `p`, `gain`, and by benchmark the lowest and highest error of LLMs.

    Raises:
        PcorrError: a stage fails for a target; it names both.
    """
    wh = Warehouse(settings.home)
    make_chunks(wh, settings, SAMPLE)
    keys = list(settings.llm_specs)
    with Progress("score and evaluate", total=len(keys), unit="LLMs", every=60) as progress:
        for _ in side_by_side(processes, score_and_evaluate, [(folder, key) for key in keys]):
            progress.update()
    build_matrix(wh, settings, SAMPLE, keys)
    facts = {target: _to_filter(wh, settings, target) for target in settings.targets}
    score_pool(wh, settings, processes)
    return facts


def score_and_evaluate(folder: Path, key: str) -> None:
    """The BPB and the errors of one LLM; what is there stays."""
    settings = load_settings(folder / CONFIG)
    score_llm.run(score_job(settings, SAMPLE, key))
    evaluate_llm.run(evaluate_job(settings, key))


def score_pool(wh: Warehouse, settings: Settings, processes: int) -> None:
    """The pass over the pool, for all targets at once."""
    for group in refresh_groups(wh, POOL, settings.pools[POOL]).keys:
        job = score_pool_group_job(settings, group, list(settings.targets), workers=processes)
        score_pool_group.run(job)


def _to_filter(wh: Warehouse, settings: Settings, target: str) -> dict[str, Any]:
    vector = target_error_vector(wh, settings, target, list(settings.llm_specs))
    wh.write("error_vectors", (target,), vector.table)
    failures: dict[str, PcorrError] = {}
    for found in estimate_targets(wh, settings, SAMPLE, [target], failures):
        wh.write("estimates", (SAMPLE, target), found.table, found.made_from)
    _raise(failures)
    (validated,) = list(validate_targets(wh, settings, SAMPLE, [target], failures)) or [None]
    _raise(failures)
    assert validated is not None
    verdict = validated.verdict
    distribution = sampling_distribution(wh, settings, SAMPLE, target)
    wh.write("sampling_distributions", (SAMPLE, target), distribution.table)
    write_ngrams(wh, settings, target)
    selection = settings.selection_for(target)
    estimates = estimates_of(wh, SAMPLE, target, selection.estimator)
    build_filter(wh, SAMPLE, target, selection, estimates=estimates, verdict=verdict.verdict)
    logger.info("%s: %s, p %s, gain %s", target, verdict.verdict, verdict.p_value, verdict.gain)
    return {
        "verdict": verdict.verdict,
        "p": verdict.p_value,
        "gain": verdict.gain,
        "rank_correlation": verdict.rank_correlation,
        "errors": _errors(wh, settings.benchmarks_of(target)),
    }


def _errors(wh: Warehouse, benchmarks: Collection[str]) -> dict[str, list[float]]:
    """The lowest and highest error of the LLMs on each benchmark."""
    found: dict[str, list[float]] = {name: [] for name in benchmarks}
    for row in wh.read_sound("benchmark_errors")[0].to_pylist():
        if row["benchmark"] in found:
            found[row["benchmark"]].append(row["error"])
    return {name: [min(errors), max(errors)] for name, errors in found.items()}


def _raise(failures: dict[str, PcorrError]) -> None:
    for error in failures.values():
        raise error
