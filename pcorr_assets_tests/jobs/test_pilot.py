"""Scoring a pilot and then its sample: no chunk twice, and the bytes of a run without a stop."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.config import Settings, settings_from
from pcorr_assets.jobs import score_llm
from pcorr_assets.jobs.description import score_job
from pcorr_assets.lm import sizes
from pcorr_assets.lm.scoring import StoppedError
from pcorr_assets.lm.work import Worker
from pcorr_assets.steps.pilot_chunks import write_pilot
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.conftest import Require
from pcorr_assets_tests.lm import tiny

LLM, WEB, PILOT = "tiny-a", "web", "web@pilot"
TEXTS = tiny.words(60, 24, seed=5)


class World:
    """A home with a sample of ten domains, its pilot, and one LLM."""

    def __init__(self, folder: Path, llm: Path, texts: list[str], **pilot: Any) -> None:
        self.folder, self.llm, self.texts = folder, llm, texts
        self.wh = Warehouse(folder / "home")
        self.set_pilot(**(pilot or {"pages_per_domain": 2}))

    def set_pilot(self, **pilot: Any) -> None:
        self.settings = self._settings(pilot)
        tiny.write_chunks(self.wh.home, WEB, self.texts)
        sha256 = self.wh.metadata("chunks", WEB)["chunks_sha256"]
        table = self.wh.read("chunks", WEB)
        # Two chunks a page, three pages a domain.
        for name, width in (("page_id", 2), ("domain", 6)):
            names = [f"{name}-{row // width}" for row in range(len(table))]
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, pa.array(names, pa.string()))
        self.wh.write("chunks", (WEB,), table, {"chunks_sha256": sha256})
        if pilot:
            write_pilot(self.wh, self.settings, PILOT)

    def _settings(self, pilot: dict[str, Any]) -> Settings:
        sample = {
            "files": ["x.jsonl"],
            "domain_column": "domain",
            "reference_tokenizer": str(self.llm),
            **({"pilot": pilot} if pilot else {}),
        }
        text = {
            "home": str(self.wh.home),
            "samples": {WEB: sample},
            "llms": [
                {
                    "family": "tiny",
                    "dtype": "float32",
                    "models": [{"key": LLM, "path": str(self.llm)}],
                }
            ],
            "compute": {"batch_tokens": 96, "scoring_workers": 1},
        }
        return settings_from(text, folder=self.folder)

    def score(self, sample: str, stop_after: int | None = None, **changes: Any) -> dict[str, Any]:
        job = score_job(self.settings, sample, LLM, device="cpu", **changes)
        asked = iter(range(1_000_000))
        result = score_llm.run(job, lambda: stop_after is not None and next(asked) >= stop_after)
        return result.get("metadata", {})

    def bytes_of(self, sample: str) -> bytes:
        return self.wh.path("chunk_bpb", LLM, sample).read_bytes()

    def ids(self, sample: str) -> set[str]:
        return set(self.wh.read("chunks", sample, columns=["chunk_id"])[0].to_pylist())


@pytest.fixture
def world(tmp_path: Path) -> World:
    tiny.save_llm(tmp_path / "zoo", "llama", tokenizer=tiny.byte_tokenizer("<s> $A"))
    return World(tmp_path, tmp_path / "zoo", TEXTS)


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[bytes]]:
    """How often each text went through the model in a batch."""
    seen: Counter[bytes] = Counter()
    attempt = Worker._attempt

    def counted(self: Worker, ready: Any, start: int, end: int) -> Any:
        seen.update(self.texts.unit(unit).tobytes() for unit in range(start, end))
        return attempt(self, ready, start, end)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_attempt", counted)
        yield seen


def reference(tmp_path: Path, **pilot: Any) -> World:
    """The same world, scored in full without a stop."""
    tiny.save_llm(tmp_path / "zoo", "llama", tokenizer=tiny.byte_tokenizer("<s> $A"))
    other = World(tmp_path, tmp_path / "zoo", TEXTS, **pilot)
    other.score(WEB)
    return other


def test_no_chunk_is_scored_twice(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.ids(PILOT) < world.ids(WEB)
    with counting(monkeypatch) as seen:
        pilot = world.score(PILOT)
        of_pilot = sum(seen.values())
        assert len(seen) == of_pilot == len(world.ids(PILOT))
        full = world.score(WEB)
    assert set(seen.values()) == {1}
    assert len(seen) == len(set(TEXTS)) == len(world.ids(WEB))
    assert full["taken_over_chunks"] == of_pilot
    assert pilot["scored_token_count"] + full["scored_token_count"] == full["token_count"]
    # The same bytes as without a stop between the two; and so has the pilot's own table where
    # it comes after.
    other = reference(tmp_path / "other")
    with counting(monkeypatch) as seen:
        after = other.score(PILOT)
    assert not seen
    assert (after["scored_token_count"], after["taken_over_chunks"]) == (0, of_pilot)
    assert world.bytes_of(WEB) == other.bytes_of(WEB)
    assert world.bytes_of(PILOT) == other.bytes_of(PILOT)


def test_stopped_in_the_pilot_and_in_the_rest(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting(monkeypatch) as seen:
        for sample in (PILOT, WEB):
            for stop_after in (2, 3):
                with pytest.raises(StoppedError):
                    world.score(sample, stop_after)
            assert world.score(sample)["resumed_batches"] == 5
    assert set(seen.values()) == {1}
    assert world.bytes_of(WEB) == reference(tmp_path / "other").bytes_of(WEB)


def test_shards_of_the_sample_stay_usable_when_the_pilot_comes_between(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        world.score(WEB, 12)
    world.score(PILOT)
    assert world.score(WEB)["refused_shards"] == []
    assert world.bytes_of(WEB) == reference(tmp_path / "other").bytes_of(WEB)


def test_processes_and_jobs_share_it(world: World, tmp_path: Path) -> None:
    world.score(PILOT, scoring_workers=2)
    part = world.score(WEB, part=1, parts=2)
    assert part["resumed_batches"] == 0
    world.score(WEB, part=0, parts=2)
    assert world.bytes_of(WEB) == reference(tmp_path / "other").bytes_of(WEB)


def test_a_sample_without_a_pilot_that_gets_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_pilot()
    world.score(WEB)
    before = world.wh.read("chunk_bpb", LLM, WEB).to_pylist()
    world.set_pilot(share=0.4)
    with counting(monkeypatch) as seen:
        world.score(PILOT)
    assert not seen
    inside = world.ids(PILOT)
    after = [{**row, "sample": PILOT} for row in before if row["chunk_id"] in inside]
    assert world.wh.read("chunk_bpb", LLM, PILOT).to_pylist() == after


def test_scores_of_another_version_or_a_damaged_table_are_not_taken(
    world: World, tmp_path: Path
) -> None:
    world.score(PILOT)
    expected = reference(tmp_path / "other").bytes_of(WEB)
    path = world.wh.path("chunk_bpb", LLM, PILOT)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert world.score(WEB)["taken_over_chunks"] == 0
    assert world.bytes_of(WEB) == expected
    path.write_bytes(content)
    tiny.save_llm(world.llm, "llama", seed=7, tokenizer=tiny.byte_tokenizer("<s> $A"))
    world.wh.path("llms", LLM).unlink()
    assert world.score(WEB)["taken_over_chunks"] == 0
    assert world.bytes_of(WEB) != expected


def test_another_pilot_costs_its_own_chunks_only(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches of a pilot are its own, so that of another only whole ones can be used."""
    world.score(PILOT)
    world.set_pilot(pages_per_domain=1)
    with counting(monkeypatch) as seen:
        world.score(PILOT)
        world.score(WEB)
    assert set(seen.values()) == {1}
    assert world.bytes_of(WEB) == reference(tmp_path / "other", pages_per_domain=1).bytes_of(WEB)


def test_smollm2_with_the_pilot_and_then_in_full(
    require: Require, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.environ.get("PCORR_SMOLLM2")
    require("smollm2", folder is not None, "PCORR_SMOLLM2 is not set (scripts/fetch_smollm2.py)")
    assert folder is not None
    texts = [f"the {text} of {number}" for number, text in enumerate(tiny.words(12, 8, seed=3))]
    world = World(tmp_path, Path(folder), texts, pages_per_domain=1)
    with counting(monkeypatch) as seen:
        world.score(PILOT)
        in_pilot = sum(seen.values())
        full = world.score(WEB)
    assert set(seen.values()) == {1}
    assert in_pilot == full["taken_over_chunks"] == len(world.ids(PILOT)) == 4
    assert sum(seen.values()) == len(world.ids(WEB)) == 12
    table = pq.read_table(world.wh.path("chunk_bpb", LLM, WEB))
    assert np.isfinite(table["bpb"].to_numpy()).all()


def test_the_budget_that_was_found_for_the_pilot_is_that_of_the_sample(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_machine_that_finds(tokens: int) -> None:
        monkeypatch.setattr(sizes, "DEFAULT_BATCH_TOKENS", tokens)

    on_a_machine_that_finds(96)
    assert world.score(PILOT, batch_tokens="auto")["found_batch_tokens"] == 96
    on_a_machine_that_finds(200)
    with pytest.raises(StoppedError):
        world.score(WEB, 4, batch_tokens="auto")
    on_a_machine_that_finds(400)
    full = world.score(WEB, batch_tokens="auto")
    assert (full["found_batch_tokens"], full["resumed_batches"]) == (96, 4)
    assert full["refused_shards"] == []
    # The rows are those of the same number, stated.
    other = reference(tmp_path / "other")
    ours, theirs = (w.wh.read("chunk_bpb", LLM, WEB) for w in (world, other))
    assert ours.equals(theirs)
