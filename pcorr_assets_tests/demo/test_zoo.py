"""The zoo: who reads what, a tiny training, and what a killed one leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from pcorr_assets.demo import train, zoo
from pcorr_assets.demo.topics import TOPICS
from pcorr_assets.demo.train import Schedule, Shape
from pcorr_assets.demo.world import TARGETS
from pcorr_assets.errors import PcorrError
from pcorr_assets_tests.waiting import wait_for

SHORT = Schedule(step_count=3, batch_size=2, sequence_length=32)
ONE_STEP = Schedule(step_count=2, batch_size=2, sequence_length=16)


def embedding(model: PreTrainedModel) -> torch.Tensor:
    weight = model.get_input_embeddings().weight
    assert not isinstance(weight, torch.nn.Module)
    return weight.detach()


def test_sixteen_llms_eight_families_four_architectures() -> None:
    assert len({llm.key for llm in zoo.ZOO}) == len(zoo.ZOO) == 16
    assert len({llm.family for llm in zoo.ZOO}) >= 8
    assert len({llm.shape.architecture for llm in zoo.ZOO}) >= 4
    assert len({llm.vocab_size for llm in zoo.ZOO}) >= 4


@pytest.mark.parametrize("seed", range(5))
def test_mixtures_differ_enough_to_tell_topics_apart(seed: int) -> None:
    found = zoo.mixtures(seed)
    shares = np.array([[found[llm.key][topic] for topic in TOPICS] for llm in zoo.ZOO])
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares.min() > 0
    for topic in TARGETS:
        column = shares[:, list(TOPICS).index(topic)]
        assert column.max() > 5 * np.median(np.sort(column)[:8])
    assert found == zoo.mixtures(seed) != zoo.mixtures(seed + 1)


@pytest.mark.parametrize("architecture", sorted({llm.shape.architecture for llm in zoo.ZOO}))
def test_every_architecture_trains_reproducibly(architecture: str) -> None:
    texts = zoo.documents({"chess": 1.0}, "smoke", 30)
    tokenizer = train.train_tokenizer(texts, 400)
    stream = train.token_stream(tokenizer, texts)
    weights = []
    for _ in range(2):
        model = train.make_model(Shape(architecture, 32, 2, 2), len(tokenizer), seed=1)
        before = embedding(model).clone()
        loss = train.train(model, stream, SHORT, seed=1)
        assert 0 < loss < 10
        weights.append(embedding(model))
        assert not torch.equal(before, weights[-1])
    assert torch.equal(*weights)


def test_a_few_steps_lower_the_loss() -> None:
    texts = zoo.documents({"chess": 1.0}, "smoke", 60)
    tokenizer = train.train_tokenizer(texts, 600)
    stream = train.token_stream(tokenizer, texts)
    losses = []
    for step_count in (2, 60):
        model = train.make_model(Shape("llama", 32, 1, 2), len(tokenizer), seed=1)
        losses.append(train.train(model, stream, Schedule(step_count, 4, 48), seed=1))
    assert losses[1] < losses[0] - 1.5


@pytest.fixture
def two_llms(monkeypatch: pytest.MonkeyPatch) -> list[zoo.TinyLLM]:
    shape = Shape("llama", 16, 1, 1)
    pair = [
        replace(llm, shape=shape, vocab_size=300, schedule=ONE_STEP)
        for llm in zoo.ZOO
        if llm.family == "llama"
    ]
    monkeypatch.setattr(zoo, "ZOO", tuple(pair))
    monkeypatch.setattr(zoo, "TOKENIZER_DOCUMENTS", 5)
    return pair


def test_an_llm_is_an_ordinary_folder_and_is_kept(
    tmp_path: Path, two_llms: list[zoo.TinyLLM]
) -> None:
    llm = two_llms[0]
    zoo.train_llm(tmp_path, llm, seed=5)
    assert zoo.is_trained(tmp_path, llm, seed=5)
    assert not zoo.is_trained(tmp_path, llm, seed=6)
    assert not zoo.is_trained(tmp_path, replace(llm, vocab_size=301), seed=5)
    assert [path.name for path in tmp_path.iterdir()] == [llm.folder_name]
    folder = tmp_path / llm.folder_name
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = "The grandmaster meets the Sicilian with a counterattack."
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert len(tokenizer) == len(embedding(model))
    assert zoo.train_zoo(tmp_path, 5, [llm]) == []


def test_training_again_gives_the_same_files_and_replaces(
    tmp_path: Path, two_llms: list[zoo.TinyLLM]
) -> None:
    llm = two_llms[1]
    contents = []
    for _ in range(2):
        zoo.train_llm(tmp_path, llm, seed=5)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / llm.folder_name).iterdir()})
    assert contents[0] == contents[1]
    record = json.loads(contents[0]["training.json"])
    assert record["mixture"] == zoo.mixtures(5)[llm.key]


def test_a_killed_training_leaves_no_half_llm_and_is_taken_up(
    tmp_path: Path, two_llms: list[zoo.TinyLLM]
) -> None:
    """Killed while the second LLM is being written: the first stays, the rest is redone."""
    first, second = two_llms
    zoo.train_llm(tmp_path, first, seed=5)
    kept = (tmp_path / first.folder_name / "model.safetensors").stat().st_mtime_ns
    leftover = tmp_path / ".training-killed" / second.folder_name
    leftover.mkdir(parents=True)
    (leftover / "config.json").write_text("{")
    assert not zoo.is_trained(tmp_path, second, seed=5)

    started: list[list[zoo.TinyLLM]] = []

    def run(folder: Path, seed: int, portions: list[list[zoo.TinyLLM]], _: object) -> None:
        started.extend(portions)
        for portion in portions:
            for llm in portion:
                zoo.train_llm(folder, llm, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "_run_workers", run)
        assert zoo.train_zoo(tmp_path, 5, two_llms) == [second]
    assert started == [[second]]
    assert {path.name for path in tmp_path.iterdir()} == {llm.folder_name for llm in two_llms}
    assert (tmp_path / first.folder_name / "model.safetensors").stat().st_mtime_ns == kept


def test_a_failed_worker_is_named(tmp_path: Path) -> None:
    unknown = replace(zoo.ZOO[0], key="tiny/nobody")
    with pytest.raises(PcorrError, match=r"tiny/nobody ended with status 1"):
        zoo.train_zoo(tmp_path, 5, [unknown])


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pcorr_assets.demo import zoo; "
        f"zoo.train_zoo(Path({str(tmp_path / 'zoo')!r}), 5, worker_count=1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        worker = Path("/proc", wait_for("a worker", lambda: children.read_text().split())[0])
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for("the worker's end", lambda: not worker.exists())
    assert not list((tmp_path / "zoo").glob("[a-z]*"))
