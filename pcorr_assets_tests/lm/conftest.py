"""Fixtures of this room: one thread for torch, a folder of tasks, and who evaluates them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pcorr_assets.lm.evaluation import Evaluator
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets_tests.lm import local_tasks, tiny

COMMIT = "0" * 64


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny LLMs gain nothing from two threads, and lose much where they must share cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of local tasks of lm-eval."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return local_tasks.write_tasks(tmp_path / "tasks")


@pytest.fixture
def evaluator() -> Evaluator:
    """A tiny LLM, to be evaluated."""
    spec = tiny.local_spec("tiny/llm", Path("nowhere"))
    return Evaluator(
        ResolvedLLM(spec, COMMIT),
        tiny.tiny_model("llama"),
        tiny.byte_tokenizer("<s> $A"),
        "float32",
    )
