"""Whatever a task raises belongs to it; what lm-eval passes over in silence does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.evaluation import Evaluation, Evaluator
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.results import KeptResults
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.lm.conftest import COMMIT
from pcorr_assets_tests.lm.local_tasks import CHOICE, benchmark, choice, items, write_items

CODE = """
import sys
import zipfile


class OddError(BaseException if {base} else Exception):
    pass


def loading(**options):
    raise zipfile.BadZipFile("File is not a zip file")


def question(doc):
    return undefined_name


def scoring(doc, results):
    raise OddError("odd")


def mean(values):
    raise Exception("plain")


def leaving(docs):
    sys.exit(3)


def stopping(docs):
    raise KeyboardInterrupt
"""
LOOK = """
def mark(docs):
    return docs.map(lambda doc: {**doc, "seen": True})
"""
FAILING = {
    "a_syntax": ("doc_to_text: !function broken.text\n", ["SyntaxError", "broken.py, line 1"]),
    "b_name": (
        "doc_to_text: !function code.question\n",
        ["NameError while making a question", "code.py, line 15, in question", "undefined_name"],
    ),
    "c_zip": (
        "custom_dataset: !function code.loading\n",
        ["BadZipFile while loading the task's data", "code.py", "download it again"],
    ),
    "d_own": (
        "process_results: !function code.scoring\n",
        ["OddError while scoring an item", "code.py, line 19, in scoring): odd. Correct the task"],
    ),
    "e_plain": (
        "metric_list: [{metric: acc, aggregation: !function code.mean, higher_is_better: true}]\n",
        ["Exception while aggregating the scores", "code.py, line 23, in mean): plain."],
    ),
    "f_exit": ("process_docs: !function code.leaving\n", ["SystemExit while", "Take the call"]),
    "g_metric": (
        "metric_list: [{metric: acurracy}]\n",
        ["`metric_list` of the task names the metric 'acurracy'", "g_metric.yaml"],
    ),
    "h_target": (
        "doc_to_target: 7\n",
        ["`doc_to_target` of the first item is the index 7, but `doc_to_choice` gives 3 choices"],
    ),
    "i_column": (
        'doc_to_text: "{{qestion}}"\n',
        ["UndefinedError while making a question", "i_column.yaml", "qestion", "the columns"],
    ),
}


def replaced(text: str, more: str) -> str:
    """A task with its own keys instead of those of the same name."""
    keys = {line.partition(":")[0] for line in more.splitlines()}
    lines = [line for line in text.splitlines() if line.partition(":")[0] not in keys]
    kept = [line for line in lines if "metric_list" not in keys or not line.startswith("  - ")]
    return "\n".join([*kept, more])


def test_what_a_task_raises_is_its_own(
    tasks: Path, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # lm-eval looks for metrics that it does not know on the hub.
    monkeypatch.setattr("evaluate.load", lambda name: (_ for _ in ()).throw(OSError("offline")))
    (tasks / "broken.py").write_text("def text(doc:\n")
    (tasks / "code.py").write_text(CODE.format(base=False))
    for name, (more, _) in FAILING.items():
        (tasks / f"{name}.yaml").write_text(replaced(choice(name, tasks / "few.jsonl"), more))
    (tasks / "unread.yaml").write_text("task: [unread\n")
    benchmarks = {
        "choice": benchmark(tasks, limit=4),
        **{name: benchmark(tasks) for name in FAILING},
        "unread": benchmark(tasks),
        "second": benchmark(tasks),
    }
    outcome = evaluator.run(benchmarks, KeptResults(tmp_path / "kept"))
    assert outcome.evaluated == ["choice", "second"]
    assert [row["benchmark"] for row in outcome.rows] == ["choice", "second"]
    assert list(outcome.failures) == [*FAILING, "unread"]
    for name, (_, said) in FAILING.items():
        for words in said:
            assert words in outcome.failures[name], outcome.failures[name]
        assert "Traceback" not in outcome.failures[name]
    assert "unread.yaml cannot be read" in outcome.failures["unread"]


@pytest.mark.parametrize(
    ("function", "raised"), [("stopping", KeyboardInterrupt), ("scoring", BaseException)]
)
def test_what_ends_a_run_is_not_the_task(
    tasks: Path, evaluator: Evaluator, tmp_path: Path, function: str, raised: type[BaseException]
) -> None:
    """An interruption comes out of whatever runs at that moment; Dagster's has its own class."""
    (tasks / "code.py").write_text(CODE.format(base=True))
    key = "process_results" if function == "scoring" else "process_docs"
    more = f"{key}: !function code.{function}\n"
    (tasks / "ends.yaml").write_text(choice("ends", tasks / "few.jsonl", more))
    kept = KeptResults(tmp_path / "kept")
    with pytest.raises(raised):
        evaluator.run({"second": benchmark(tasks), "ends": benchmark(tasks)}, kept)
    assert [row["benchmark"] for row in kept.rows(COMMIT, "float32")] == ["second"]


def run(tasks: Path, evaluator: Evaluator, text: str, **options: Any) -> Evaluation:
    """Evaluate one task of this text; results are kept beside the tasks."""
    (tasks / "odd.yaml").write_text(text)
    kept = KeptResults(tasks.parent / "kept")
    return evaluator.run({"odd": benchmark(tasks, **options)}, kept)


def leaking(tasks: Path, how: str) -> str:
    """A task whose few-shot examples hold the items that they are examples for."""
    few = write_items(tasks / "dozen.jsonl", items(12))
    text = CHOICE.format(name="odd", data=few, train=few)
    without_train = text.replace(f', train: "{few}"', "").replace("fewshot_split: train\n", "")
    if how == "nothing but a test split":
        return without_train
    if how == "the validation split is evaluated":
        split = without_train.replace("test_split: test", "validation_split: test")
        return f"{split}fewshot_split: test\n"
    if how == "examples with another look":
        (tasks / "look.py").write_text(LOOK)
        config = "fewshot_config: {process_docs: !function look.mark}\n"
        return f"{without_train}fewshot_split: test\n{config}"
    assert how == "two splits of the same items"
    return text


@pytest.mark.parametrize(
    "how",
    [
        "nothing but a test split",
        "the validation split is evaluated",
        "examples with another look",
        "two splits of the same items",
    ],
)
def test_prompts_that_hold_their_answer_are_refused(
    tasks: Path, evaluator: Evaluator, how: str
) -> None:
    text = leaking(tasks, how)
    refused = run(tasks, evaluator, text, num_fewshot=4).failures["odd"]
    assert "of 12 prompts of odd hold the answer to their own item" in refused
    assert "`allow_leaked_answers: true`" in refused
    assert run(tasks, evaluator, text, num_fewshot=0).failures == {}

    allowed = run(tasks, evaluator, text, num_fewshot=4, allow_leaked_answers=True)
    assert len(allowed.rows) == 1
    assert "the score is too good by at most" in allowed.warnings[0]
    # Kept, and then no longer allowed: nothing is evaluated, and no row stays.
    later = run(tasks, evaluator, text, num_fewshot=4)
    assert "hold the answer to their own item" in later.failures["odd"]
    assert later.rows == []


def test_examples_of_the_test_split_that_lm_eval_keeps_apart_are_fine(
    tasks: Path, evaluator: Evaluator
) -> None:
    text = leaking(tasks, "nothing but a test split") + "fewshot_split: test\n"
    outcome = run(tasks, evaluator, text, num_fewshot=4)
    assert outcome.failures == {}
    assert outcome.warnings == []


def test_items_without_a_right_choice_are_refused(tasks: Path, evaluator: Evaluator) -> None:
    some = items(12)
    some[5]["answer"], some[7]["answer"] = 3, -1
    data = write_items(tasks / "labels.jsonl", some)
    text = choice("odd", data)
    # A number that is no plain digit comes out of a template as text.
    refused = run(tasks, evaluator, text).failures["odd"]
    assert "2 of 12 items have no right answer among their choices" in refused
    assert "the index 3 of 3 choices" in refused
    many = write_items(tasks / "labels.jsonl", [*some[:6], *items(194)])
    noted = run(tasks, evaluator, choice("odd", many))
    assert noted.failures == {}
    assert "1 of 200 items have no right answer" in noted.warnings[0]
    again = run(tasks, evaluator, choice("odd", many))
    assert (again.reused, again.warnings) == (["odd"], noted.warnings)


def test_answers_and_prompts_that_do_not_fit(tasks: Path, evaluator: Evaluator) -> None:
    long = [{**item, "choices": ["rain", "fox " * 400, "tide"]} for item in items(3)]
    text = choice("odd", write_items(tasks / "long.jsonl", long))
    refused = run(tasks, evaluator, text).failures["odd"]
    assert "more than the context of tiny/llm (256), so it cannot be scored" in refused
    assert "(it begins ' fox fox" in refused
    wordy = [{**item, "question": "and so on " * 200} for item in items(3)]
    text = choice("odd", write_items(tasks / "wordy.jsonl", wordy))
    outcome = run(tasks, evaluator, text)
    assert outcome.failures == {}
    assert "9 of 9 prompts are longer than the context of tiny/llm" in outcome.warnings[0]


def test_a_tokenizer_without_special_tokens(tasks: Path) -> None:
    bare = tiny.byte_tokenizer(bos_token=None, eos_token=None)
    spec = tiny.local_spec("tiny/llm", Path("nowhere"))
    resolved = ResolvedLLM(spec, COMMIT)
    evaluator = Evaluator(resolved, tiny.tiny_model("llama"), bare, "float32")
    text = choice("odd", tasks / "few.jsonl").replace(
        'doc_to_text: "{{question}}"', "doc_to_text: ''"
    )
    refused = run(tasks, evaluator, text).failures["odd"]
    assert "has neither a begin-of-text nor an end-of-text token" in refused
    written = text.replace("output_type: multiple_choice", "output_type: generate_until")
    written += "generation_kwargs: {max_gen_toks: 4}\n"
    assert "has no end-of-text token" in run(tasks, evaluator, written).failures["odd"]
    assert run(tasks, evaluator, choice("odd", tasks / "few.jsonl")).failures == {}


def test_losses_that_are_no_numbers(tasks: Path) -> None:
    model = tiny.tiny_model("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))  # pyright: ignore
    resolved = ResolvedLLM(tiny.local_spec("tiny/llm", Path("nowhere")), COMMIT)
    broken = Evaluator(resolved, model, tiny.byte_tokenizer("<s> $A"), "float32")
    refused = run(tasks, broken, choice("odd", tasks / "few.jsonl")).failures["odd"]
    assert "NaN" in refused
    assert "tiny/llm" in refused


def test_a_result_that_cannot_be_kept_costs_the_others_nothing(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "kept")
    (tmp_path / "kept" / "choice.json").mkdir(parents=True)
    outcome = evaluator.run({"choice": benchmark(tasks, limit=2), "second": benchmark(tasks)}, kept)
    assert "could not be kept" in outcome.failures["choice"]
    assert [row["benchmark"] for row in outcome.rows] == ["second"]
    with pytest.raises(PcorrError, match="1 of 2 benchmarks"):
        outcome.raise_failures("tiny/llm")


CLASS = """
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task


class Own(Task):
    VERSION = 0
    OUTPUT_TYPE = "loglikelihood"

    def download(self, *rest, **options):
        self.dataset = None

    def has_training_docs(self):
        return True

    def has_validation_docs(self):
        return False

    def has_test_docs(self):
        return True

    def test_docs(self):
        return [{"question": f"Word {n} of", "answer": f" rain {n}"} for n in range(12)]

    def training_docs(self):
        return self.test_docs()

    def doc_to_text(self, doc):
        return doc["question"]

    def doc_to_target(self, doc):
        return doc["answer"]

    def construct_requests(self, doc, ctx, metadata, **options):
        arguments = (ctx, self.doc_to_target(doc))
        return Instance(
            request_type="loglikelihood", doc=doc, arguments=arguments, idx=0, metadata=metadata
        )

    def process_results(self, doc, results):
        return {"acc": float(results[0][1])}

    def aggregation(self):
        return {"acc": mean}

    def higher_is_better(self):
        return {"acc": True}
"""


def test_a_python_class_is_watched_as_well(tasks: Path, evaluator: Evaluator) -> None:
    (tasks / "own.py").write_text(CLASS)
    text = "task: odd\nclass: !function own.Own\n"
    assert run(tasks, evaluator, text, num_fewshot=0).failures == {}
    refused = run(tasks, evaluator, text, num_fewshot=4).failures["odd"]
    assert "of 12 prompts of odd hold the answer to their own item" in refused


def test_files_that_lm_eval_would_not_end_with(tasks: Path, evaluator: Evaluator) -> None:
    """Its own reading would write out 400 million values, or scan the current folder."""
    text = choice("odd", tasks / "few.jsonl")
    bomb = "".join(
        f"{name}: &{name} [{', '.join([inner] * 9)}]\n"
        for name, inner in zip(
            "abcdefghi", ["x", *(f"*{name}" for name in "abcdefgh")], strict=True
        )
    )
    refused = run(tasks, evaluator, f"{bomb}{text}metadata: {{bomb: *i}}\n").failures["odd"]
    assert "the aliases in odd.yaml stand for more than 1,000,000 values" in refused
    endless = text.replace("metadata: {version: 2.0}", "metadata: &m {again: *m}")
    assert "the aliases in odd.yaml" in run(tasks, evaluator, endless).failures["odd"]
    everything = "\n".join(line for line in text.splitlines() if "dataset_kwargs" not in line)
    refused = run(tasks, evaluator, f"{everything}\n").failures["odd"]
    assert "odd.yaml reads json files, but does not say which" in refused
