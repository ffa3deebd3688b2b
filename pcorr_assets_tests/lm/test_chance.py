"""What guessing would score, against lm-eval scoring an LLM that guesses."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import lm_eval.evaluator
import pytest
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from pcorr_assets.lm.chance import chance_score

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
{metrics}
"""
ACC = "  - {metric: acc, aggregation: mean, higher_is_better: true}\n"
MUTUAL = "  - {metric: acc_mutual_info, aggregation: mean, higher_is_better: true}\n"
ROLLING = """
task: rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list:
  - {{metric: byte_perplexity}}
"""


class Guesser(LM):
    """Gives every choice a random likelihood."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(seed)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return [(-self._rng.random(), False) for _ in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        return [-1.0 for _ in requests]

    def generate_until(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError


def items(answer: Any) -> list[dict[str, Any]]:
    """Half of the items have two choices, half have five."""
    words = ["rain", "tide", "fox", "oak", "moss"]
    return [
        {"question": f"q{n}", "choices": words[: 2 if n % 2 else 5], "answer": answer}
        for n in range(300)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for name, answer, metrics in (
        ("plain", 1, ACC),
        ("several", [0, 1], ACC),
        ("mutual", 1, ACC + MUTUAL),
    ):
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in items(answer)))
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, data=data, metrics=metrics))
    (tmp_path / "rolling.yaml").write_text(ROLLING.format(data=tmp_path / "plain.jsonl"))
    return tmp_path


def evaluated(folder: Path, names: list[str], limit: int | None = None) -> tuple[Any, Any]:
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    loaded = manager.load(names)
    found: Any = lm_eval.evaluator.evaluate(
        lm=Guesser(3), task_dict=loaded, limit=limit, bootstrap_iters=0, log_samples=False
    )
    return loaded["tasks"].values(), found["results"]


@pytest.mark.parametrize(
    ("name", "chance"),
    [("plain", (1 / 2 + 1 / 5) / 2), ("several", (2 / 2 + 2 / 5) / 2), ("mutual", 0.35)],
)
def test_a_guesser_scores_what_chance_says(folder: Path, name: str, chance: float) -> None:
    tasks, results = evaluated(folder, [name])
    assert chance_score(tasks) == pytest.approx(chance)
    # 300 items: three standard errors of a share are at most 0.09.
    assert results[name]["acc,none"] == pytest.approx(chance, abs=0.09)


def test_only_the_items_that_were_evaluated_count(folder: Path) -> None:
    tasks, _ = evaluated(folder, ["plain"], limit=1)
    assert chance_score(tasks) == pytest.approx(1 / 5)


def test_a_task_without_choices_has_no_chance(folder: Path) -> None:
    tasks, _ = evaluated(folder, ["rolling"])
    assert chance_score(tasks) is None
    tasks, _ = evaluated(folder, ["plain", "rolling"])
    assert chance_score(tasks) is None
