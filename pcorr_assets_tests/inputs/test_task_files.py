"""Odd task files: a result, or a message that says where and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pcorr_assets.lm.evaluation import Evaluator
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.task_files import task_files_sha256
from pcorr_assets_tests.inputs import task_files
from pcorr_assets_tests.inputs.amount import SHIFT, amount
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.lm.conftest import COMMIT

SEED, COUNT = 20 + SHIFT, amount(30, 1000)


@pytest.fixture
def evaluator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    """A tiny LLM on a machine without a connection."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("evaluate.load", _offline)
    # A thousand resamples of mcc are honest work of seconds, whatever the task.
    monkeypatch.setattr("pcorr_assets.lm.evaluation.BOOTSTRAP_ITERATIONS", 10)
    torch.set_num_threads(1)
    return Evaluator(
        ResolvedLLM(tiny.local_spec("tiny/llm", Path("nowhere")), COMMIT),
        tiny.tiny_model("llama"),
        tiny.byte_tokenizer("<s> $A"),
        "float32",
    )


def _offline(name: str) -> None:
    raise ConnectionError(f"no connection to look for {name}")


def test_odd_task_files_are_evaluated_or_explained(evaluator: Evaluator, tmp_path: Path) -> None:
    found = {}
    for index, odd in enumerate(task_files.odd_tasks(SEED, COUNT)):
        if problems := task_files.problems(odd, evaluator, tmp_path / str(index)):
            found[index, odd.kinds] = problems
    assert found == {}


def test_reading_a_folder_of_tasks_runs_nothing(tmp_path: Path) -> None:
    task = task_files.good_task() | {"doc_to_text": task_files.Function("touching.text")}
    files = task_files.odd_task(0, 0).files
    text = task_files.yaml.dump(task, Dumper=task_files._Dumper).encode()
    odd = task_files.OddTask((), {**files, "odd.yaml": text})
    odd.write(tmp_path / "tasks")
    task_files_sha256(task_files.NAME, tmp_path / "tasks")
    assert not (tmp_path / "tasks" / task_files.CANARY).exists()
