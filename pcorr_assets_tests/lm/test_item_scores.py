"""Scores by item against the LLM's own losses, and against what can be counted by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.benchmark_settings import evaluation_sha256
from pcorr_assets.lm.evaluation import Evaluator, missing_benchmarks
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.item_scores import pack, unpack
from pcorr_assets.lm.results import KeptResults, find_metric
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.lm.conftest import COMMIT
from pcorr_assets_tests.lm.local_tasks import benchmark, items, write_items

CHOICES = ["rain", "tide", "fox"]
OTHER_WAYS = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: {target}
metric_list: [{{metric: {metric}, aggregation: mean, higher_is_better: true}}]
{more}
"""


def log_likelihood(model: Any, tokenizer: Any, prompt: str, answer: str) -> float:
    """Natural logarithm of P(answer | prompt), by a plain forward pass."""
    before, whole = (tokenizer(text)["input_ids"] for text in (prompt, prompt + answer))
    with torch.inference_mode():
        logits = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logits[at - 1, whole[at]]) for at in range(len(before), len(whole)))


def evaluated(
    evaluator: Evaluator,
    kept: KeptResults,
    tasks: Path,
    name: str,
    metric: str = "acc",
    **options: Any,
) -> Any:
    """The kept result of a local task."""
    asked = benchmark(tasks, metric, **options)
    evaluator.run({name: asked}, kept).raise_failures("tiny/llm")
    return kept.find(name, COMMIT, "float32", evaluation_sha256(name, asked))


def test_scores_are_those_of_a_plain_forward_pass(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    model, tokenizer = tiny.tiny_model("llama"), tiny.byte_tokenizer("<s> $A")
    kept = KeptResults(tmp_path / "kept")
    found = evaluated(evaluator, kept, tasks, "choice", limit=9)
    gold, share = [], []
    for item in items(9):
        losses = [log_likelihood(model, tokenizer, item["question"], f" {c}") for c in CHOICES]
        right = item["answer"]
        gold.append(-losses[right] / math.log(2) / len(f" {CHOICES[right]}"))
        share.append(math.exp(losses[right]) / sum(map(math.exp, losses)))
    assert found.items["gold_bpb,none"] == pytest.approx(gold, rel=1e-4)
    assert found.items["choice_probability,none"] == pytest.approx(share, rel=1e-4)
    assert found.values["gold_bpb,none"] == pytest.approx(np.mean(gold), rel=1e-4)
    assert found.values["choice_probability_stderr,none"] == pytest.approx(
        np.std(share, ddof=1) / 3, rel=1e-3
    )
    for metric in ("acc,none", "acc_norm,none"):
        assert found.items[metric].mean() == pytest.approx(found.values[metric])

    found = evaluated(evaluator, kept, tasks, "last_word", "perplexity")
    assert found.items["perplexity,none"].size == 24
    assert math.exp(-found.items["perplexity,none"].mean()) == pytest.approx(
        found.values["perplexity,none"], rel=1e-5
    )
    bits = [
        -log_likelihood(model, tokenizer, item["question"], f" {CHOICES[item['answer']]}")
        / math.log(2)
        / len(f" {CHOICES[item['answer']]}")
        for item in items(24)
    ]
    assert found.items["gold_bpb,none"] == pytest.approx(bits, rel=1e-4)


def test_an_llm_that_knows_nothing_is_counted_by_hand(tasks: Path, tmp_path: Path) -> None:
    """Every token has the chance 1 / V, so a likelihood is V to the minus count of tokens."""
    model: Any = tiny.tiny_model("llama", tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    tokenizer = tiny.byte_tokenizer("<s> $A")
    resolved = ResolvedLLM(tiny.local_spec("tiny/llm", Path("nowhere")), COMMIT)
    evaluator = Evaluator(resolved, model, tokenizer, "float32")
    found = evaluated(evaluator, KeptResults(tmp_path / "kept"), tasks, "choice", limit=3)
    vocabulary = model.config.vocab_size
    count = {c: len(tokenizer(f" {c}", add_special_tokens=False)["input_ids"]) for c in CHOICES}
    assert len(set(count.values())) > 1, "answers of one length would show nothing"
    chances = np.array([float(vocabulary) ** -count[c] for c in CHOICES])
    bits = [count[c] * math.log2(vocabulary) / (len(c) + 1) for c in CHOICES]
    assert found.items["gold_bpb,none"] == pytest.approx(bits, rel=1e-4)
    assert found.items["choice_probability,none"] == pytest.approx(
        chances / chances.sum(), rel=1e-4
    )


def test_errors_of_soft_metrics(tasks: Path, evaluator: Evaluator, tmp_path: Path) -> None:
    kept = KeptResults(tmp_path / "kept")
    soft = {
        "choice": benchmark(tasks, "gold_bpb"),
        "second": benchmark(tasks, "choice_probability"),
    }
    outcome = evaluator.run(soft, kept)
    outcome.raise_failures("tiny/llm")
    assert outcome.warnings == []
    bpb, share = outcome.rows
    assert (bpb["metric"], bpb["higher_is_better"]) == ("gold_bpb,none", False)
    assert bpb["error"] == bpb["score"] > 0
    assert share["error"] == 1 - share["score"]
    assert share["stderr"] > 0
    # Another metric of the same evaluation is read off what is kept.
    assert evaluator.run({"choice": benchmark(tasks)}, kept).reused == ["choice"]


def way(folder: Path, name: str, target: str, some: list[dict[str, Any]], **parts: str) -> None:
    data = write_items(folder / f"{name}.jsonl", some)
    given = {"kind": "multiple_choice", "metric": "acc", "more": "", **parts}
    text = OTHER_WAYS.format(name=name, data=data, target=target, **given)
    (folder / f"{name}.yaml").write_text(text)


def test_several_right_choices_texts_as_targets_and_items_without_one(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    way(tasks, "texts", '"{{choices[answer]}}"', items(6))
    some = [{**item, "answer": [item["answer"], 2]} for item in items(6)]
    way(tasks, "several", '"{{answer}}"', some)
    # The same prompts, with each of the choices as the one that is right.
    each = [{**items(6)[n], "answer": answer} for n in (0, 1) for answer in (0, 1, 2)]
    way(tasks, "each", '"{{answer}}"', each)
    many = [*items(120), {**items(1)[0], "question": "Odd one", "answer": 7}]
    way(tasks, "odd", '"{{answer}}"', many)
    kept = KeptResults(tmp_path / "kept")
    plain = evaluated(evaluator, kept, tasks, "choice", limit=6)
    texts = evaluated(evaluator, kept, tasks, "texts")
    several = evaluated(evaluator, kept, tasks, "several")
    for metric in ("gold_bpb,none", "choice_probability,none"):
        assert texts.items[metric] == pytest.approx(plain.items[metric], rel=1e-6)
        assert several.items[metric][[2, 5]] == pytest.approx(plain.items[metric][[2, 5]])
    one = evaluated(evaluator, kept, tasks, "each").items
    for n in (0, 1):
        right = [3 * n + n, 3 * n + 2]
        assert several.items["choice_probability,none"][n] == pytest.approx(
            one["choice_probability,none"][right].sum(), rel=1e-5
        )
        assert several.items["gold_bpb,none"][n] == pytest.approx(
            one["gold_bpb,none"][right].min(), rel=1e-5
        )

    odd = evaluated(evaluator, kept, tasks, "odd")
    assert np.isnan(odd.items["gold_bpb,none"]).tolist() == [False] * 120 + [True]
    assert odd.values["gold_bpb,none"] == pytest.approx(np.nanmean(odd.items["gold_bpb,none"]))


def test_a_group_has_the_items_of_all_its_tasks(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "kept")
    whole = evaluated(evaluator, kept, tasks, "both")
    parts = [evaluated(evaluator, kept, tasks, name) for name in ("choice", "second")]
    for metric in ("acc,none", "gold_bpb,none"):
        expected = np.concatenate([part.items[metric] for part in parts])
        assert whole.items[metric] == pytest.approx(expected, rel=1e-6)


def test_tasks_without_such_a_metric_say_why(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    written = "generation_kwargs: {until: ['.'], max_gen_toks: 4}"
    way(tasks, "written", '"{{answer}}"', items(2), kind="generate_until",
        metric="exact_match", more=written)  # fmt: skip
    own = "process_results: !function own.scored"
    way(tasks, "own", '"{{answer}}"', items(2), more=own)
    (tasks / "own.py").write_text("def scored(doc, results):\n    return {'acc': 0.5}\n")
    kept = KeptResults(tmp_path / "kept")
    asked = {
        "written": benchmark(tasks, "gold_bpb"),
        "own": benchmark(tasks, "gold_bpb"),
        "last_word": benchmark(tasks, "choice_probability"),
        "without_score": benchmark(tasks, "gold_bpb"),
    }
    outcome = evaluator.run(asked, kept)
    assert (
        "written has no gold_bpb: written has no given answers (output_type: generate_until)"
        in (outcome.failures["written"])
    )
    assert "scores in a way of its own (process_results)" in outcome.failures["own"]
    assert "no choices (output_type: loglikelihood); use gold_bpb" in outcome.failures["last_word"]
    # A group has them even where lm-eval gives it no score.
    assert [row["benchmark"] for row in outcome.rows] == ["without_score"]
    # Each was evaluated once all the same: its own metrics need no other run.
    asked = {"written": benchmark(tasks, "exact_match"), "own": benchmark(tasks)}
    assert missing_benchmarks(asked, kept, COMMIT, "float32") == []


def test_results_of_before_are_read_and_only_soft_metrics_need_another_evaluation(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    kept = KeptResults(tmp_path / "kept")
    evaluator.run({"second": benchmark(tasks)}, kept)
    path = kept.folder / "second.json"
    stored = json.loads(path.read_text())
    del stored["content_sha256"], stored["result"]["items"], stored["result"]["absent"]
    stored["result"]["values"] = {
        name: value for name, value in stored["result"]["values"].items() if name[:3] == "acc"
    }
    path.write_text(json.dumps(stored))
    assert missing_benchmarks({"second": benchmark(tasks)}, kept, COMMIT, "float32") == []
    assert evaluator.run({"second": benchmark(tasks, "acc_norm")}, kept).reused == ["second"]
    soft = {"second": benchmark(tasks, "gold_bpb")}
    assert missing_benchmarks(soft, kept, COMMIT, "float32") == ["second"]
    outcome = evaluator.run(soft, kept)
    assert (outcome.evaluated, outcome.failures) == (["second"], {})
    assert missing_benchmarks(soft, kept, COMMIT, "float32") == []


def test_scores_that_cannot_be_made_cost_no_result(
    tasks: Path, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusual(*_: object) -> None:
        raise TypeError("unhashable type: 'list'")

    monkeypatch.setattr("pcorr_assets.lm.item_scores._right_choices", unusual)
    kept = KeptResults(tmp_path / "kept")
    assert evaluator.run({"choice": benchmark(tasks, limit=2)}, kept).failures == {}
    outcome = evaluator.run({"choice": benchmark(tasks, "gold_bpb", limit=2)}, kept)
    assert "could not be made (unhashable type" in outcome.failures["choice"]


def test_packed_scores_are_short_and_come_back(tmp_path: Path) -> None:
    scores = {"acc,none": np.arange(5000) % 2.0, "gold_bpb,none": np.r_[np.nan, 0.1, 1 / 3]}
    packed = pack(scores)
    assert len(packed["acc,none"]) < 200
    back = unpack(packed)
    assert (back["acc,none"] == scores["acc,none"]).all()
    np.testing.assert_allclose(back["gold_bpb,none"], scores["gold_bpb,none"], rtol=1e-7)
    with pytest.raises(ValueError, match="cannot be read"):
        unpack({"acc,none": packed["acc,none"][:-8]})


def test_find_metric_still_lists_what_is_there(
    tasks: Path, evaluator: Evaluator, tmp_path: Path
) -> None:
    found = evaluated(evaluator, KeptResults(tmp_path / "kept"), tasks, "second")
    with pytest.raises(PcorrError, match="it has acc, acc_norm, choice_probability, gold_bpb"):
        find_metric(found, "f1")
