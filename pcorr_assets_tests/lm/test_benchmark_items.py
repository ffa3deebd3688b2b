"""Items as texts, of every kind of task that lm-eval asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcorr_assets.clean.ngrams import MOST_ITEMS, NgramSet, Search, ngrams_of
from pcorr_assets.config import Benchmark
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.benchmark_items import read_items
from pcorr_assets.lm.training_texts import read_training_texts
from pcorr_assets_tests.lm.local_tasks import GROUP, LAST_WORD, choice, write_items

ITEMS = [
    {"question": "Is ice cold?", "choices": ["yes", "no"], "answer": 0},
    {"question": "Is fire wet?", "choices": ["yes", "no"], "answer": 1},
]
WRITTEN = """
task: written
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: generate_until
description: "Answer in one word.\\n"
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["\\n"]}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""
# A text with a gap: what is asked is one of its beginnings, as in winogrande.
GAP = """
task: gap
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}", train: "{train}"}}}}
training_split: train
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{answer}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "said it."
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
ROLLING = """
task: rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list:
  - {{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = write_items(tmp_path / "items.jsonl", ITEMS)
    write_items(tmp_path / "train.jsonl", [{**ITEMS[0], "question": "Is an example asked?"}])
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    shots = "num_fewshot: 1\ndescription: 'Questions.'\n"
    (tasks / "choice.yaml").write_text(choice("choice", data, shots))
    (tasks / "second.yaml").write_text(choice("second", data))
    (tasks / "both.yaml").write_text(GROUP)
    (tasks / "last_word.yaml").write_text(LAST_WORD.format(data=data))
    (tasks / "written.yaml").write_text(WRITTEN.format(data=data))
    (tasks / "rolling.yaml").write_text(ROLLING.format(data=data))
    return tasks


def texts(folder: Path, name: str) -> dict[str, tuple[str, ...]]:
    benchmark = Benchmark.model_validate({"metric": "acc", "task_path": str(folder), "limit": 1})
    return {item.name: item.texts for item in read_items(name, benchmark)}


def test_items_hold_what_is_asked_and_every_answer(folder: Path) -> None:
    asked = {
        0: ("Is ice cold?", "Is ice cold? yes", "Is ice cold? no"),
        1: ("Is fire wet?", "Is fire wet? yes", "Is fire wet? no"),
    }
    assert texts(folder, "choice") == {f"choice/{n}": found for n, found in asked.items()}
    assert texts(folder, "both") == {
        f"{task}/{n}": found for task in ("choice", "second") for n, found in asked.items()
    }
    assert texts(folder, "last_word") == {
        "last_word/0": ("Is ice cold?", "Is ice cold? yes"),
        "last_word/1": ("Is fire wet?", "Is fire wet? no"),
    }
    assert texts(folder, "written") == {
        "written/0": ("Is ice cold?", "Is ice cold? yes"),
        "written/1": ("Is fire wet?", "Is fire wet? no"),
    }
    assert texts(folder, "rolling") == {
        "rolling/0": ("Is ice cold?",),
        "rolling/1": ("Is fire wet?",),
    }


QUIZ = [
    {
        "passage": "Sloops have one mast. "
        + " ".join(f"Sail {n} is cut from cloth." for n in "abc"),
        "question": f"Which {sail} of a sloop is set before the only mast?",
        "choices": ["the jib", "the spanker"],
        "answer": 0,
        "why": "One learns it in school, and nobody forgets it who has sailed before the wind.",
    }
    for sail in ("sail", "of the sails", "piece", "cloth", "canvas", "thing", "triangle")
] * 2


def test_a_question_is_found_without_the_wording_of_its_task(folder: Path) -> None:
    """It is shorter than an n-gram, and more items ask about the passage than may share words."""
    data = write_items(folder.parent / "quiz.jsonl", QUIZ)
    prompt = "Read. {{passage}}\\n\\nQuestion:  {{question}}\\nAnswer:"
    task = choice("quiz", data).replace('"{{question}}"', f'"{prompt}"')
    (folder / "quiz.yaml").write_text(task)
    items = read_items(
        "quiz", Benchmark.model_validate({"metric": "acc", "task_path": str(folder)})
    )
    assert len(items) == len(QUIZ) > MOST_ITEMS
    for item, row in zip(items, QUIZ, strict=True):
        assert item.parts == (row["passage"], row["question"])
    own = NgramSet(13, {"quiz": ngrams_of(items, 13)})
    documents = [
        f"1. {QUIZ[0]['question']} (a) jib (b) spanker",
        f"Of boats. {QUIZ[0]['passage']}",
        "Question: which sail of a sloop is set? Answer: the jib",
        QUIZ[0]["why"],
    ]
    hits = Search({"t": own}).find(documents)["t"].named(own)
    assert [hit.text for hit in hits] == [0, 1]


def test_a_task_that_there_is_not_is_named(folder: Path) -> None:
    with pytest.raises(PcorrError, match=r"chioce: .*did you mean choice"):
        texts(folder, "chioce")


def test_training_text_is_that_of_examples_and_never_what_is_scored(folder: Path) -> None:
    def training(name: str) -> list[str]:
        benchmark = Benchmark.model_validate({"metric": "acc", "task_path": str(folder)})
        return read_training_texts(name, benchmark)

    data, train = folder.parent / "items.jsonl", folder.parent / "train.jsonl"
    (folder / "gap.yaml").write_text(GAP.format(data=data, train=train))
    example = "Is an example asked? yes"
    assert training("choice") == [example]
    assert training("both") == [example], "each text once"
    assert training("gap") == ["yes said it."]
    assert training("last_word") == []
    # Where nothing is named that examples are of, lm-eval takes them from the validation split.
    without = choice("without", data).replace(
        "fewshot_split: train", "validation_split: validation"
    )
    without = without.replace("train:", "validation:")
    (folder / "without.yaml").write_text(without)
    assert training("without") == [example]
    (folder / "scored.yaml").write_text(
        without.replace("task: without", "task: scored").replace("test_split: test", "")
    )
    assert training("scored") == []
    on_itself = choice("self", data).replace("fewshot_split: train", "fewshot_split: test")
    (folder / "self.yaml").write_text(on_itself)
    assert training("self") == []
    with pytest.raises(PcorrError, match="no_such"):
        training("no_such")
