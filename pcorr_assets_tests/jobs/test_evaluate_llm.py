"""Evaluation jobs: from settings to the table, adding benchmarks later, partial failure."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config import settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import evaluate_llm, score_llm
from pcorr_assets.jobs.description import evaluate_job
from pcorr_assets.lm.evaluation import Evaluator
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.lm import tiny

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an LLM, two local tasks and a sample."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    tiny.save_llm(tmp_path / "llm", "gpt2")
    (tmp_path / "tasks").mkdir()
    items = [
        {"question": f"Item {n}:", "choices": ["rain", "fox"], "answer": n % 2} for n in range(12)
    ]
    data = tmp_path / "tasks" / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    for name in ("first", "second"):
        text = TASK.format(name=name, data=data)
        (tmp_path / "tasks" / f"{name}.yaml").write_text(text)
    tiny.write_chunks(tmp_path / "home", "web", tiny.TEXTS[:3])
    return tmp_path


def job(folder: Path, **benchmarks: dict[str, Any]) -> dict[str, Any]:
    settings = settings_from(
        {
            "home": "home",
            "llms": [{"family": "tiny", "models": [{"key": "tiny-a", "path": "llm"}]}],
            "benchmarks": {
                name: {"metric": "acc", "task_path": "tasks", **options}
                for name, options in benchmarks.items()
            },
        },
        folder=folder,
    )
    return evaluate_job(settings, "tiny-a", device="cpu")


def test_a_benchmark_added_later_is_the_only_one_evaluated(folder: Path) -> None:
    description = job(folder, first={})
    assert json.loads(json.dumps(description)) == description
    result = evaluate_llm.run(description)
    assert json.loads(json.dumps(result)) == result
    assert result["metadata"]["evaluated"] == ["first"]

    result = evaluate_llm.run(job(folder, first={}, second={}))
    assert result["metadata"]["evaluated"] == ["second"]
    assert result["metadata"]["reused"] == ["first"]
    result = evaluate_llm.run(job(folder, first={"limit": 4}, second={}))
    assert result["metadata"]["evaluated"] == ["first"]
    wh = Warehouse(folder / "home")
    rows = {row["benchmark"]: row for row in wh.read("benchmark_errors", "tiny-a").to_pylist()}
    assert [rows[name]["sample_count"] for name in ("first", "second")] == [4, 12]
    assert rows["first"]["error"] == 1 - rows["first"]["score"]
    (record,) = wh.read("llms", "tiny-a").to_pylist()
    for row in rows.values():
        assert (row["commit_sha"], row["dtype"]) == (record["commit_sha"], record["dtype"])
    noted = wh.metadata("benchmark_errors", "tiny-a")
    assert noted["commit_sha"] == record["commit_sha"]
    # Other scores of items make another file, so that what rests on them is outdated.
    assert sorted(json.loads(noted[evaluate_llm.ITEMS])) == ["first", "second"]


def test_a_task_added_to_the_folder_outdates_no_other(folder: Path) -> None:
    evaluate_llm.run(job(folder, first={}, second={}))
    tasks = folder / "tasks"
    (tasks / "more.jsonl").write_text("".join((tasks / "items.jsonl").open().readlines()[:6]))
    (tasks / "third.yaml").write_text(TASK.format(name="third", data=tasks / "more.jsonl"))
    result = evaluate_llm.run(job(folder, first={}, second={}, third={}))
    assert result["metadata"]["evaluated"] == ["third"]
    (tasks / "more.jsonl").write_text("".join((tasks / "items.jsonl").open().readlines()[:8]))
    result = evaluate_llm.run(job(folder, first={}, second={}, third={}))
    assert result["metadata"]["evaluated"] == ["third"]
    rows = Warehouse(folder / "home").read("benchmark_errors", "tiny-a").to_pylist()
    counts = {row["benchmark"]: row["sample_count"] for row in rows}
    assert counts == {"first": 12, "second": 12, "third": 8}


def test_several_processes_share_out_the_benchmarks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results are those of one process, item by item; a failure of any is named."""
    (folder / "tasks" / "third.yaml").write_text(
        TASK.format(name="third", data=folder / "tasks" / "items.jsonl")
    )
    described = {**job(folder, frist={}, first={}, second={}, third={}), "threads": 1}

    def made(home: str, workers: int) -> tuple[dict[str, bytes], list[dict[str, Any]], str]:
        changed = {**described, "home": str(folder / home), "scoring_workers": workers}
        with pytest.raises(PcorrError, match="1 of 4 benchmarks of tiny-a failed") as caught:
            evaluate_llm.run(changed)
        assert not list((folder / home).rglob(".together-*"))
        kept = {path.name: path.read_bytes() for path in (folder / home).rglob("evaluations/*/*")}
        rows = Warehouse(folder / home).read("benchmark_errors", "tiny-a").to_pylist()
        return kept, rows, str(caught.value)

    alone = made("alone", 1)
    assert sorted(alone[0]) == ["first.json", "second.json", "third.json"]
    others: list[str] = []

    def wait_for_the_other(*arguments: Any) -> str | None:
        # So that both have a part, however long the other takes to load.
        scratch = list((folder / "together").rglob(".together-*"))
        deadline = time.monotonic() + 120
        while not others:
            others.extend(path.name for path in scratch[0].glob("done-*"))
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return keep(*arguments)

    keep = Evaluator.keep
    monkeypatch.setattr(Evaluator, "keep", wait_for_the_other)
    assert made("together", 2) == alone
    assert others

    # Whoever dies leaves what it had taken to the first process.
    def as_one_that_died(evaluator: Evaluator, *arguments: Any) -> str | None:
        del evaluator, arguments

    monkeypatch.setattr(Evaluator, "keep", as_one_that_died)
    assert made("died", 2) == alone


def test_results_of_the_others_survive_a_failure(folder: Path) -> None:
    with pytest.raises(PcorrError, match="1 of 2 benchmarks of tiny-a failed") as caught:
        evaluate_llm.run(job(folder, frist={}, second={}))
    assert "did you mean first" in str(caught.value)
    rows = Warehouse(folder / "home").read("benchmark_errors", "tiny-a")
    assert rows["benchmark"].to_pylist() == ["second"]
    assert evaluate_llm.run(job(folder, second={}))["metadata"]["evaluated"] == []


def test_scores_and_errors_come_from_the_same_weights(folder: Path) -> None:
    described = job(folder, first={})
    scored = score_llm.run(
        {"home": described["home"], "llm": described["llm"], "sample": "web", "device": "cpu"}
    )
    evaluated = evaluate_llm.run(described)
    for name in ("commit_sha", "dtype"):
        assert scored["metadata"][name] == evaluated["metadata"][name]
    tiny.save_llm(folder / "llm", "gpt2", seed=1)
    with pytest.raises(PcorrError, match="changed since it was first used"):
        evaluate_llm.run(described)


def test_no_benchmarks(folder: Path) -> None:
    with pytest.raises(PcorrError, match="No benchmarks to evaluate tiny-a on"):
        job(folder)
