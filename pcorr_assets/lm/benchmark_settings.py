"""What an evaluation depends on, as hashes, so that only what changed is evaluated again.

Belongs here: hashes of a benchmark's settings; nothing here needs torch or lm-eval.
Does not belong here: evaluating (`evaluation`), which results are kept (`results`), and
the files of local tasks (`task_files`).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.task_files import task_files_sha256

if TYPE_CHECKING:
    from pcorr_assets.config import Benchmark


def evaluation_sha256(name: str, benchmark: Benchmark) -> str:
    """Hash of the settings that decide what lm-eval does; another hash needs a new evaluation.

    Metric, direction and scale are not among them: lm-eval gives all metrics of a task.

    Raises:
        PcorrError: the folder of local tasks is not there.
    """
    return _hash(_evaluation_settings(name, benchmark))


def benchmark_settings_sha256(name: str, benchmark: Benchmark) -> str:
    """Hash of all settings of a benchmark: a row of `benchmark_errors` with another is outdated.

    Raises:
        PcorrError: the folder of local tasks is not there.
    """
    return _hash(
        {
            **_evaluation_settings(name, benchmark),
            "metric": benchmark.metric,
            "lower_is_better": benchmark.lower_is_better,
            "scale": benchmark.scale,
            **_unusual_settings(benchmark),
        }
    )


def _unusual_settings(benchmark: Benchmark) -> dict[str, object]:
    """Settings that came later: left out where they say nothing, so that old rows stay valid."""
    unusual: dict[str, object] = {}
    if not benchmark.lower_is_better and benchmark.worst_score != 0:
        unusual["worst"] = benchmark.worst_score
    if benchmark.allow_leaked_answers:
        unusual["allow_leaked_answers"] = True
    return unusual


def _evaluation_settings(name: str, benchmark: Benchmark) -> dict[str, object]:
    folder = benchmark.task_folder
    if folder is not None and not folder.is_dir():
        raise PcorrError(
            f"Benchmark {name}: the folder of local tasks is not there: {folder}. Correct "
            "`task_path` in pcorr.yaml."
        )
    return {
        "benchmark": name,
        "num_fewshot": benchmark.num_fewshot,
        "limit": benchmark.limit,
        "seed": benchmark.seed,
        "tasks": None if folder is None else task_files_sha256(name, folder),
    }


def _hash(settings: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
