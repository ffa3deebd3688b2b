"""Scoring jobs: descriptions, results, records of LLMs, and dying in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcorr_assets.config import settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import score_llm
from pcorr_assets.jobs.__main__ import main
from pcorr_assets.jobs.description import score_job
from pcorr_assets.lm import sizes
from pcorr_assets.lm.session import StoppedError
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.waiting import wait_for

LLM = "tiny-a"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one sample and, beside it, one local LLM."""
    tiny.save_llm(tmp_path / "zoo" / LLM, "llama", tokenizer=tiny.byte_tokenizer("<s> $A"))
    tiny.write_chunks(tmp_path / "home", "web", tiny.TEXTS)
    return tmp_path / "home"


def describe(home: Path, **changes: Any) -> dict[str, Any]:
    return {
        "home": str(home),
        "sample": "web",
        "llm": {"key": LLM, "family": "tiny", "path": str(home.parent / "zoo" / LLM)},
        "batch_tokens": 128,
        "device": "cpu",
        **changes,
    }


def test_a_job_from_the_settings(home: Path) -> None:
    text = {
        "home": str(home),
        "samples": {
            "web": {
                "files": ["*.jsonl"],
                "text_column": "text",
                "id_column": "id",
                "reference_tokenizer": str(home.parent),
            }
        },
        "llms": [
            {
                "family": "tiny",
                "dtype": "bfloat16",
                "models": [{"key": LLM, "path": str(home.parent / "zoo" / LLM)}],
            }
        ],
        "compute": {"batch_tokens": 256, "overlong": "window"},
    }
    settings = settings_from(text, folder=home.parent)
    job = score_job(settings, "web", LLM, device="cpu")
    assert json.loads(json.dumps(job)) == job
    assert job["llm"]["dtype"] == "bfloat16"
    assert (job["llm"]["overlong"], job["batch_tokens"]) == ("window", 256)
    result = score_llm.run(job)
    assert result["metadata"]["dtype"] == "bfloat16"
    with pytest.raises(PcorrError, match="'elsewhere' is not a sample with text"):
        score_job(settings, "elsewhere", LLM)


def test_result_table_and_record(home: Path) -> None:
    result = score_llm.run(describe(home))
    assert json.loads(json.dumps(result)) == result
    wh = Warehouse(home)
    assert result["path"] == str(wh.path("chunk_bpb", *result["partition"]))
    assert result["sha256"] == sha256_file(Path(result["path"]))
    table = wh.read("chunk_bpb", *result["partition"])
    assert result["row_count"] == table.num_rows == len(tiny.TEXTS)
    model, tokenizer = tiny.tiny_model("llama"), tiny.byte_tokenizer("<s> $A")
    plain = tiny.plain_losses(model, tokenizer, tiny.TEXTS)
    np.testing.assert_allclose(table["loss"].to_numpy(), plain, rtol=0, atol=1e-5)

    (record,) = wh.read("llms", LLM).to_pylist()
    noted = wh.metadata("chunk_bpb", *result["partition"])
    assert noted["commit_sha"] == record["commit_sha"] == result["metadata"]["commit_sha"]
    assert noted["chunks_sha256"] == wh.metadata("chunks", "web")["chunks_sha256"]
    assert noted["dtype"] == record["dtype"] == "float32"
    assert record["adds_bos"] is True
    assert record["adds_eos"] is False
    assert record["parameter_count"] == sum(p.numel() for p in model.parameters())
    assert record["context_length"] == 256
    assert result["metadata"]["nan_count"] == int(np.isnan(plain).sum())
    assert result["metadata"]["tokens_per_second"] > 0
    assert 0 < result["metadata"]["seconds_waiting_for_data"] < result["metadata"]["seconds"]
    assert result["metadata"]["peak_memory_bytes"] > 1e7
    (run,) = wh.read("scoring_runs", *result["partition"]).to_pylist()
    # A chunk of one token has nothing to predict.
    counts = table["token_count"].to_pylist()
    assert run["scored_token_count"] == sum(count for count in counts if count > 1)
    # 2 operations a parameter and token, by hand; a CPU's peak is not known.
    rate = run["scored_token_count"] / run["seconds"] / run["scoring_devices"]
    assert run["operations_per_second"] == pytest.approx(2 * record["parameter_count"] * rate)
    assert run["model_flops_utilisation"] is None
    assert 0 <= run["padding_share"] < 1
    assert not list((home / "shards").rglob("*.parquet"))


def test_the_same_again_is_left_as_it_is_unless_forced(home: Path) -> None:
    first = score_llm.run(describe(home))
    again = score_llm.run(describe(home))
    assert again["metadata"]["reused"]
    forced = score_llm.run(describe(home, force=True))
    assert not forced["metadata"]["reused"]
    assert first["sha256"] == again["sha256"] == forced["sha256"]


def test_the_budget_that_was_found_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "DEFAULT_BATCH_TOKENS", 128)
    first = score_llm.run(describe(home, batch_tokens="auto"))
    noted = Warehouse(home).metadata("chunk_bpb", *first["partition"])
    assert (noted["batch_tokens"], noted["found_batch_tokens"]) == ("auto", "128")
    monkeypatch.setattr(sizes, "DEFAULT_BATCH_TOKENS", 999)  # another machine
    again = score_llm.run(describe(home, batch_tokens="auto"))
    assert again["metadata"]["reused"]
    forced = score_llm.run(describe(home, batch_tokens="auto", force=True))
    assert forced["sha256"] == first["sha256"]
    assert not (home / "shards" / LLM / "web").exists()


def test_jobs_and_processes_share_the_budget_that_one_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"batch_tokens": "auto", "parts": 2, "seconds_per_shard": 0.0}
    monkeypatch.setattr(sizes, "DEFAULT_BATCH_TOKENS", 128)
    stopped = iter([False])
    with pytest.raises(StoppedError):
        score_llm.run(describe(home, **options, part=1), lambda: next(stopped, True))
    monkeypatch.setattr(sizes, "DEFAULT_BATCH_TOKENS", 999)
    first = score_llm.run(describe(home, **options, part=0))
    assert first["metadata"]["found_batch_tokens"] == 128
    assert first["metadata"]["resumed_batches"] == 1
    assert first["metadata"]["refused_shards"] == []


def test_what_a_table_notes_where_a_number_is_stated(home: Path) -> None:
    """No more than before budgets and slices could be found: tables of both are the same bytes."""
    result = score_llm.run(describe(home))
    assert set(Warehouse(home).metadata("chunk_bpb", *result["partition"])) == {
        "sample", "llm", "chunks_sha256", "commit_sha", "dtype", "device", "tokenizer_sha256",
        "batch_tokens", "batch_plan_sha256", "overlong", "scoring_version", "attention_mask",
    }  # fmt: skip


def test_a_damaged_partition_is_scored_again(home: Path) -> None:
    first = score_llm.run(describe(home))
    path = Path(first["path"])
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    again = score_llm.run(describe(home))
    assert not again["metadata"]["reused"]
    assert path.read_bytes() == whole


def test_a_sample_chunked_anew_is_scored_anew(home: Path) -> None:
    first = score_llm.run(describe(home))
    tiny.write_chunks(home, "web", tiny.TEXTS[:5])
    second = score_llm.run(describe(home))
    assert not second["metadata"]["reused"]
    assert (first["row_count"], second["row_count"]) == (len(tiny.TEXTS), 5)


def test_chunks_that_are_not_those_noted_are_refused(home: Path) -> None:
    noted = Warehouse(home).metadata("chunks", "web")
    # What a job sees whose two looks at the file stand before and after a new chunking.
    table = tiny.chunk_table("web", tiny.TEXTS[:5])
    Warehouse(home).write("chunks", ("web",), table, noted)
    with pytest.raises(PcorrError, match=r"'web' are not those .* Launch this again"):
        score_llm.run(describe(home))
    assert not Warehouse(home).partitions("chunk_bpb")


def test_a_changed_local_folder_is_refused_by_name(home: Path) -> None:
    score_llm.run(describe(home))
    folder = home.parent / "zoo" / LLM
    tiny.save_llm(folder, "llama", seed=1)
    with pytest.raises(PcorrError, match="changed since it was first used") as caught:
        score_llm.run(describe(home))
    assert str(folder) in str(caught.value)
    assert LLM in str(caught.value)


def test_the_dtype_on_record_is_that_of_auto(home: Path) -> None:
    llm = describe(home)["llm"]
    score_llm.run(describe(home, llm={**llm, "dtype": "bfloat16"}))
    tiny.write_chunks(home, "books", tiny.TEXTS)
    result = score_llm.run(describe(home, sample="books"))
    assert result["metadata"]["dtype"] == "bfloat16"


def test_another_commit_than_the_recorded_one_is_refused(home: Path) -> None:
    recorded = score_llm.run(describe(home))["metadata"]["commit_sha"]
    assert score_llm.run(describe(home, expected_commit=recorded))["metadata"]["reused"]
    with pytest.raises(PcorrError, match=f"on record with commit {recorded}"):
        score_llm.run(describe(home, expected_commit="0" * 64))


def test_a_malformed_description_names_every_mistake(home: Path) -> None:
    with pytest.raises(PcorrError) as caught:
        score_llm.run({"home": str(home), "llm": {"key": LLM}, "batch": 3})
    for part in ("sample", "llm.family", "batch"):
        assert part in str(caught.value)


def test_without_chunks(home: Path) -> None:
    with pytest.raises(PcorrError, match="chunks: partition elsewhere is not there"):
        score_llm.run(describe(home, sample="elsewhere"))


def test_the_command(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, result = tmp_path / "job.json", tmp_path / "result.json"
    job.write_text(json.dumps(describe(home)))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["score_llm", str(job), str(result)]) == 0
        assert json.loads(result.read_text())["row_count"] == len(tiny.TEXTS)
        job.write_text(json.dumps(describe(home, sample="elsewhere")))
        assert main(["score_llm", str(job)]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "elsewhere is not there" in capsys.readouterr().err


def start(home: Path, job: dict[str, Any]) -> subprocess.Popen[str]:
    """The job as a cluster node runs it."""
    path = home / "job.json"
    path.write_text(json.dumps(job))
    return subprocess.Popen(
        [sys.executable, "-m", "pcorr_assets.jobs", "score_llm", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(score_llm.__file__).parents[2],
    )


def started(home: Path, job: dict[str, Any]) -> subprocess.Popen[str]:
    """The same, once its first shards are there."""
    process = start(home, job)

    def at_work() -> bool:
        assert process.poll() is None, process.communicate()
        return len(list((home / "shards").rglob("*.parquet"))) >= 3

    wait_for("three shards", at_work, every=0.005)
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_and_launched_again(home: Path, number: signal.Signals) -> None:
    tiny.write_chunks(home, "web", tiny.words(400, 12))
    job = describe(home, batch_tokens=32, threads=1)
    process = started(home, {**job, "seconds_per_shard": 0.0})
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (1 if number == signal.SIGTERM else -number)
    assert (number == signal.SIGKILL) or "was asked to stop" in error

    wh = Warehouse(home)
    assert not wh.exists("chunk_bpb", *reversed(["web", LLM]))
    resumed = score_llm.run(job)
    report = resumed["metadata"]
    assert 3 <= report["resumed_batches"] < report["batch_count"]
    assert report["scored_token_count"] < report["token_count"]
    undisturbed = score_llm.run({**job, "force": True})
    assert undisturbed["metadata"]["resumed_batches"] == 0
    assert resumed["sha256"] == undisturbed["sha256"]


def test_shards_of_an_old_chunking_are_refused_by_name(home: Path) -> None:
    tiny.write_chunks(home, "web", tiny.words(400, 12))
    job = describe(home, batch_tokens=32, threads=1)
    process = started(home, {**job, "seconds_per_shard": 0.0})
    process.kill()
    process.communicate(timeout=60)
    tiny.write_chunks(home, "web", tiny.words(40, 12))
    result = score_llm.run(job)
    assert result["metadata"]["resumed_batches"] == 0
    assert "batches-00000000" in result["metadata"]["refused_shards"][0]
    assert "chunks_sha256" in result["metadata"]["refused_shards"][0]
    assert not list((home / "shards").rglob("*.parquet"))
