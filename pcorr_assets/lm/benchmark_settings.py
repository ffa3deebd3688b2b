"""What an evaluation depends on, as hashes, so that only what changed is evaluated again.

Belongs here: hashes of a benchmark's settings; nothing here needs torch or lm-eval.
Does not belong here: evaluating (`evaluation`), and which results are kept (`results`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pcorr_assets.errors import PcorrError

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
        }
    )


def _evaluation_settings(name: str, benchmark: Benchmark) -> dict[str, object]:
    folder = benchmark.task_path
    return {
        "benchmark": name,
        "num_fewshot": benchmark.num_fewshot,
        "limit": benchmark.limit,
        "seed": benchmark.seed,
        # Contents, not the path: a cluster may see the same files under another one.
        "tasks": None if folder is None else _folder_sha256(name, folder),
    }


def _folder_sha256(name: str, folder: Path) -> str:
    if not folder.is_dir():
        raise PcorrError(
            f"Benchmark {name}: the folder of local tasks is not there: {folder}. Correct "
            "`task_path` in pcorr.yaml."
        )
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{inside.as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _hash(settings: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
