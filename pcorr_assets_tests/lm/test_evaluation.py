"""Evaluation by the real lm-eval on local tasks: scores, keeping, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import BertConfig, BertLMHeadModel

from pcorr_assets.config import Benchmark
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256, evaluation_sha256
from pcorr_assets.lm.evaluation import Evaluation, Evaluator, missing_benchmarks
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.results import KeptResults, Result, find_metric, make_row
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.lm.conftest import COMMIT
from pcorr_assets_tests.lm.local_tasks import benchmark, choice


def by_name(outcome: Evaluation) -> dict[str, dict[str, Any]]:
    return {row["benchmark"]: row for row in outcome.rows}


def test_scores_are_those_of_simple_evaluate(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    benchmarks = {
        "choice": benchmark(tasks, num_fewshot=2, limit=20, seed=5),
        "last_word": benchmark(tasks, "perplexity", lower_is_better=True, seed=5),
        "both": benchmark(tasks),
    }
    outcome = evaluator.run(benchmarks, KeptResults(tmp_path / "kept"))
    outcome.raise_failures("tiny/llm")
    rows = by_name(outcome)

    options: dict[str, Any] = {
        "pretrained": tiny.tiny_model("llama"),
        "tokenizer": tiny.byte_tokenizer("<s> $A"),
        "batch_size": 8,
        "device": "cpu",
    }
    harness: Any = HFLM(**options)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    for name, options in {
        "choice": {"num_fewshot": 2, "limit": 20},
        "last_word": {},
        "both": {},
    }.items():
        seeds = dict.fromkeys(
            ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"), 5
        )
        simple_evaluate: Any = lm_eval.simple_evaluate
        theirs = simple_evaluate(
            model=harness,
            tasks=[name],
            task_manager=manager,
            bootstrap_iters=0,
            **options,
            **seeds,
        )
        assert rows[name]["score"] == theirs["results"][name][rows[name]["metric"]]
    assert rows["choice"]["error"] == 1 - rows["choice"]["score"]
    assert rows["last_word"]["error"] == rows["last_word"]["score"] > 1
    assert [rows[name]["sample_count"] for name in benchmarks] == [20, 24, 30]
    assert [rows[name]["num_fewshot"] for name in benchmarks] == [2, 0, 0]
    assert rows["choice"]["task_version"] == "2.0"
    assert rows["choice"]["metric"] == "acc,none"
    assert 0 < rows["choice"]["stderr"] < 0.2
    assert rows["last_word"]["stderr"] > 0
    assert rows["choice"]["settings_sha256"] == benchmark_settings_sha256(
        "choice", benchmarks["choice"]
    )
    assert outcome.chance == pytest.approx({"choice": 1 / 3, "both": 1 / 3})


def test_failures_are_collected_and_the_others_kept(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "kept")
    benchmarks = {
        "chioce": benchmark(tasks),
        "without_data": benchmark(tasks),
        "without_score": benchmark(tasks),
        "second": benchmark(tasks, "exact_match"),
        "last_word": benchmark(tasks, "perplexity", lower_is_better=False),
        "choice": benchmark(tasks),
        "gone": benchmark(tasks / "gone"),
    }
    outcome = evaluator.run(benchmarks, kept)
    with pytest.raises(PcorrError) as caught:
        outcome.raise_failures("tiny/llm")
    message = str(caught.value)
    assert "6 of 7 benchmarks of tiny/llm failed" in message
    assert "did you mean choice" in message
    assert "lost.jsonl" in message
    assert "without_score is a group without a score of its own" in message
    assert "second has no metric exact_match; it has acc, acc_norm" in message
    assert "outside [0, 1]" in message
    assert "folder of local tasks is not there" in message
    assert list(by_name(outcome)) == ["choice"]

    # Another metric of a task that was evaluated needs no new evaluation.
    benchmarks = {
        "second": benchmark(tasks, "acc_norm"),
        "last_word": benchmark(tasks, "perplexity", lower_is_better=True),
    }
    assert missing_benchmarks(benchmarks, kept, COMMIT, "float32") == []
    outcome = evaluator.run(benchmarks, kept)
    assert (outcome.evaluated, outcome.reused) == ([], ["second", "last_word"])
    assert list(by_name(outcome)) == ["choice", "last_word", "second"]


def test_only_what_changed_is_evaluated_again(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "kept")
    evaluator.run({"choice": benchmark(tasks)}, kept)

    def missing(**changed: Any) -> list[str]:
        benchmarks = {
            "choice": benchmark(tasks),
            "second": benchmark(tasks),
            **changed.pop("benchmarks", {}),
        }
        identity = {"commit_sha": COMMIT, "dtype": "float32", **changed}
        return missing_benchmarks(benchmarks, kept, **identity)

    assert missing() == ["second"]
    assert missing(dtype="bfloat16") == ["choice", "second"]
    assert missing(commit_sha="1" * 64) == ["choice", "second"]
    changed = {"choice": benchmark(tasks, num_fewshot=1)}
    assert missing(benchmarks=changed) == ["choice", "second"]
    # "choice" does not read that file; the task added to the folder is nobody's business.
    (tasks / "few.jsonl").write_text((tasks / "none.jsonl").read_text())
    (tasks / "new.yaml").write_text(choice("new", tasks / "few.jsonl"))
    assert missing() == ["second"]
    (tasks / "all.jsonl").write_text((tasks / "none.jsonl").read_text())
    assert missing() == ["choice", "second"]


def test_a_row_of_other_weights_is_not_a_row_of_these(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "kept")
    evaluator.run({"second": benchmark(tasks)}, kept)
    assert len(kept.rows(COMMIT, "float32")) == 1
    assert kept.rows(COMMIT, "bfloat16") == []


def test_a_task_that_fixes_its_few_shot_number(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "kept")
    outcome = evaluator.run({"zero_shot": benchmark(tasks, num_fewshot=3)}, kept)
    assert by_name(outcome)["zero_shot"]["num_fewshot"] == 0
    assert "the task itself fixes their number" in outcome.warnings[0]


def test_a_task_without_items(tasks: Path, evaluator: Evaluator, tmp_path: Path) -> None:
    text = (tasks / "second.yaml").read_text().replace("task: second", "task: empty")
    (tasks / "empty.yaml").write_text(text + "process_docs: !function empty.nothing\n")
    (tasks / "empty.py").write_text("def nothing(docs):\n    return docs.select([])\n")
    outcome = evaluator.run({"empty": benchmark(tasks)}, KeptResults(tmp_path / "kept"))
    assert "no items to evaluate" in outcome.failures["empty"]


def test_an_unknown_task_of_lm_eval(evaluator: Evaluator, tmp_path: Path) -> None:
    unknown = Benchmark.model_validate({"metric": "acc"})
    outcome = evaluator.run({"lambada_opneai": unknown}, KeptResults(tmp_path / "kept"))
    assert "did you mean lambada_openai" in outcome.failures["lambada_opneai"]


def test_an_encoder_is_not_evaluated(tasks: Path, tmp_path: Path) -> None:
    spec = tiny.local_spec("tiny/bert", Path("nowhere"))
    bert = BertLMHeadModel(BertConfig(**tiny.SHAPE)).eval()
    encoder = Evaluator(ResolvedLLM(spec, COMMIT), bert, tiny.byte_tokenizer(), "float32")
    outcome = encoder.run({"choice": benchmark(tasks)}, KeptResults(tmp_path / "kept"))
    assert "tiny/bert is not a causal language model" in outcome.failures["choice"]


def test_a_task_that_guessing_cannot_be_counted_for_keeps_its_result(
    tasks: Path, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusual(tasks: object) -> float:
        raise TypeError("unhashable type: 'list'")

    monkeypatch.setattr("pcorr_assets.lm.evaluation.chance_score", unusual)
    outcome = evaluator.run({"choice": benchmark(tasks, limit=2)}, KeptResults(tmp_path / "kept"))
    assert outcome.failures == {}
    assert outcome.chance == {}
    assert list(by_name(outcome)) == ["choice"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"result": {"llm": 1}, "row": null}'])
def test_a_damaged_result_is_evaluated_again(
    tasks: Path, evaluator: Evaluator, tmp_path: Path, damage: str
) -> None:
    kept = KeptResults(tmp_path / "kept")
    benchmarks = {"second": benchmark(tasks), "choice": benchmark(tasks, limit=2)}
    undisturbed = evaluator.run(benchmarks, kept).rows
    for name in ("second", "no_longer_configured"):
        (tmp_path / "kept" / f"{name}.json").write_text(damage)
    assert missing_benchmarks(benchmarks, kept, COMMIT, "float32") == ["second"]
    outcome = evaluator.run(benchmarks, kept)
    assert (outcome.evaluated, outcome.reused) == (["second"], ["choice"])
    assert outcome.rows == undisturbed
    assert ["no_longer_configured.json is not" in text for text in outcome.warnings] == [
        True,
        False,
    ]
    assert "second.json is not a kept result" in outcome.warnings[1]


def result(**values: float | None) -> Result:
    return Result(
        llm="tiny/llm", benchmark="task", commit_sha=COMMIT, dtype="float32",
        evaluation_sha256="e", lm_eval_version="0", task_version=None, num_fewshot=0, limit=None,
        seed=0, sample_count=5,
        values={key.replace("__", ",").replace("S", "-"): value for key, value in values.items()},
        higher_is_better={"acc": True, "perplexity": False, "bleu": True},
    )  # fmt: skip


def row(found: Result, metric: str, **options: Any) -> tuple[dict[str, Any], list[str]]:
    return make_row(found, Benchmark.model_validate({"metric": metric, **options}))


def test_metrics_with_filters() -> None:
    found = result(exact_match__strictSmatch=0.5, exact_match__flexible=0.7, acc__custom=0.25)
    assert find_metric(found, "exact_match,strict-match") == "exact_match,strict-match"
    assert find_metric(found, "acc") == "acc,custom"
    with pytest.raises(PcorrError, match="under several filters; say which: exact_match,flexible"):
        find_metric(found, "exact_match")
    assert find_metric(result(acc__none=0.1, acc__other=0.2), "acc") == "acc,none"


def test_errors_directions_and_scales() -> None:
    made, warnings = row(result(acc__none=0.75, acc_stderr__none=0.1), "acc")
    assert (made["error"], made["stderr"], warnings) == (0.25, 0.1, [])
    made, _ = row(result(bleu__none=30.0, bleu_stderr__none=None), "bleu",
                  lower_is_better=False, scale=100)  # fmt: skip
    assert (made["error"], made["score"], made["stderr"]) == (0.7, 30.0, None)
    made, warnings = row(result(perplexity__none=50.0), "perplexity", lower_is_better=True)
    assert (made["error"], made["higher_is_better"], warnings) == (50.0, False, [])
    made, warnings = row(result(acc__none=0.75), "acc", lower_is_better=True)
    assert made["error"] == 0.75
    assert "lm-eval says that higher is better" in warnings[0]


@pytest.mark.parametrize(
    ("metric", "score", "options", "error"),
    [
        ("mcc", -0.5, {}, 0.75),
        ("mcc", 1.0, {}, 0.0),
        ("spearmanr", -1.0, {}, 1.0),
        ("mcc", -50.0, {"scale": 100}, 0.75),
        ("chrf", 25.0, {"scale": 100}, 0.75),
        ("own", -3.0, {"lower_is_better": False, "worst": -5, "scale": 5}, 0.8),
        ("bits_per_byte", 0.9, {}, 0.9),
        ("brier_score", 2.0, {}, 2.0),
    ],
)
def test_metrics_of_other_ranges(
    metric: str, score: float, options: dict[str, Any], error: float
) -> None:
    made, _ = row(result(**{f"{metric}__none": score}), metric, **options)
    assert made["error"] == pytest.approx(error)


@pytest.mark.parametrize(
    ("metric", "score", "said"),
    [
        ("mcc", -1.5, "outside \\[-1, 1\\].*as it is commonly defined"),
        ("perplexity", 0.5, "perplexity lies between 1 and inf"),
        ("brier_score", 2.5, "brier_score lies between 0 and 2"),
        ("bits_per_byte", -0.1, "bits_per_byte lies between 0 and inf"),
        ("byte_perplexity", float("inf"), "is inf, which says nothing of the LLM"),
        ("own", -0.5, "set `scale` to the metric's best value and `worst` to its lowest"),
    ],
)
def test_scores_that_a_metric_cannot_have(metric: str, score: float, said: str) -> None:
    options = {"lower_is_better": False} if metric == "own" else {}
    with pytest.raises(PcorrError, match=said):
        row(result(**{f"{metric}__none": score}), metric, **options)


def test_rows_of_a_metric_whose_error_is_another_now_are_outdated() -> None:
    """An error of 1 - mcc beside one of (1 - mcc) / 2 would order LLMs wrongly."""
    plain = {"metric": "mcc", "lower_is_better": False}
    halved, whole = (
        benchmark_settings_sha256("task", Benchmark.model_validate({**plain, **options}))
        for options in ({}, {"worst": 0})
    )
    assert halved != whole


@pytest.mark.parametrize("score", [float("inf"), None, -0.1, 1.1])
def test_scores_that_give_no_error(score: float | None) -> None:
    with pytest.raises(PcorrError, match="acc,none of task"):
        row(result(acc__none=score), "acc")


def test_hashes_tell_settings_apart(tasks: Path) -> None:
    plain = benchmark(tasks)
    others = [
        benchmark(tasks, num_fewshot=1),
        benchmark(tasks, limit=3),
        benchmark(tasks, seed=1),
    ]
    for other in others:
        assert evaluation_sha256("choice", other) != evaluation_sha256("choice", plain)
    other = benchmark(tasks, "acc_norm")
    assert evaluation_sha256("choice", other) == evaluation_sha256("choice", plain)
    assert benchmark_settings_sha256("choice", other) != benchmark_settings_sha256("choice", plain)
