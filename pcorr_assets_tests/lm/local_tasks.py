"""Local tasks of lm-eval, written on the spot, for tests of evaluation.

Belongs here: task files and the settings that name them. Does not belong here: odd ones
(`pcorr_assets_tests.inputs.task_files`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pcorr_assets.config import Benchmark

CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}", train: "{train}"}}}}
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 2.0}}
"""
LAST_WORD = """
task: last_word
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{question}}}}"
doc_to_target: " {{{{choices[answer]}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
GROUP = """
group: both
task: [choice, second]
aggregate_metric_list:
  - {metric: acc, aggregation: mean, weight_by_size: true}
"""
PLAIN_GROUP = "group: without_score\ntask: [choice, second]\n"


def choice(name: str, data: Path, more: str = "") -> str:
    """A multiple-choice task over these items, with few-shot examples of other items."""
    train = data.with_name("train.jsonl")
    return CHOICE.format(name=name, data=data, train=train) + more


def write_items(path: Path, items: list[dict[str, Any]]) -> Path:
    """Items as JSON lines."""
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def items(count: int, beginning: str = "Word") -> list[dict[str, Any]]:
    """Multiple-choice items that differ by their number."""
    return [
        {"question": f"{beginning} {n} of the", "choices": ["rain", "tide", "fox"], "answer": n % 3}
        for n in range(count)
    ]


def write_tasks(folder: Path) -> Path:
    """Two multiple-choice tasks, their groups, a LAMBADA-like one, and one without its data."""
    folder.mkdir()
    every = items(24)
    for name, some in (
        ("all", every),
        ("few", every[:6]),
        ("none", []),
        ("train", items(24, "Line")),
    ):
        write_items(folder / f"{name}.jsonl", some)
    few = folder / "few.jsonl"
    texts = {
        "choice": choice("choice", folder / "all.jsonl"),
        "second": choice("second", few),
        "without_data": choice("without_data", folder / "lost.jsonl"),
        "zero_shot": choice("zero_shot", few, "num_fewshot: 0\n"),
        "last_word": LAST_WORD.format(data=folder / "all.jsonl"),
        "both": GROUP,
        "without_score": PLAIN_GROUP,
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def benchmark(tasks: Path, name: str = "acc", **options: Any) -> Benchmark:
    """The settings of a benchmark out of this folder, with a metric."""
    return Benchmark.model_validate({"metric": name, "task_path": str(tasks), **options})
