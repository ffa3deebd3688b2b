"""Estimates without chunks that hold text of a benchmark: those of a sample without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pcorr_assets.clean.ngrams import Item
from pcorr_assets.config import Settings, settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.steps.benchmark_ngrams import write_ngrams
from pcorr_assets.steps.clean_estimates import (
    TargetCleanEstimates,
    clean_estimates_of_targets,
    read_compared,
)
from pcorr_assets.steps.estimates import estimate_targets
from pcorr_assets.steps.matrices import build_matrix
from pcorr_assets.warehouse import TABLES

ITEM = "Which of the two ropes that hold the boom of a sloop is let out when she bears away?"
DOMAINS, CHUNKS_OF_DOMAIN = 8, 4
# Chunks with the item: one of domain 1, two of domain 4, and all of domain 6.
HELD = (5, 16, 18, 24, 25, 26, 27)
# Of the last domain one chunk has no defined loss.
UNDEFINED = 31
LLMS = [f"family{number // 2}-{number % 2}" for number in range(10)]


def settings_of(folder: Path, level: str = "domain", **selection: Any) -> Settings:
    return settings_from(
        {
            "home": str(folder / "home"),
            "samples": {
                "web": {"files": ["/t/*.jsonl"], "reference_tokenizer": "a/b"},
                "published": {"matrix_csv": {"bpb": "/b.csv", "errors": "/e.csv"}},
            },
            "benchmarks": {"quiz": {"metric": "acc"}},
            "targets": {"good": {"benchmarks": ["quiz"]}, "alone": {"benchmarks": ["other"]}},
            "selection": {"level": level, "keep_ratio": 0.3, "estimator": "spearmanr", **selection},
            "validation": {"bootstrap": 2, "halvings": 2},
        },
        folder=folder,
    )


def write_world(make_world: Callable[..., Any], chunks: list[int], folder: str) -> Any:
    """The world of these chunks, from texts to error vectors; losses are those of the chunk."""
    world = make_world(
        [f"page-{chunk // 2}" for chunk in chunks],
        [f"domain-{chunk // CHUNKS_OF_DOMAIN}" for chunk in chunks],
        [40 + 3 * chunk for chunk in chunks],
        folder,
    )
    world.texts = [f"chunk {c}: {ITEM.upper() if c in HELD else 'nothing'}!" for c in chunks]
    world.write_chunks()
    rng = np.random.default_rng(7)
    errors = rng.random(len(LLMS))
    for llm in LLMS:
        loss = rng.random(DOMAINS * CHUNKS_OF_DOMAIN) + 1
        loss[UNDEFINED] = np.nan
        world.score(llm, loss[chunks], np.arange(10, 10 + loss.size)[chunks])
    for target in ("good", "alone"):
        rows = [
            {"target": target, "source": "lm_eval", "llm": llm, "family": llm[:7], "error": error}
            for llm, error in zip(LLMS, errors, strict=True)
        ]
        vector = pa.Table.from_pylist(rows, schema=TABLES["error_vectors"].schema)
        world.wh.write("error_vectors", (target,), vector)
    return world


def estimate(world: Any, settings: Settings, target: str = "good") -> None:
    build_matrix(world.wh, settings, "web", LLMS)
    failures: dict[str, PcorrError] = {}
    for found in estimate_targets(world.wh, settings, "web", [target], failures):
        world.wh.write("estimates", ("web", target), found.table, found.notes)
    assert failures == {}


def search(world: Any, settings: Settings) -> None:
    write_ngrams(world.wh, settings, "good", lambda *_: [Item("quiz/0", (ITEM,))])


def cleaned(world: Any, settings: Settings, target: str = "good") -> TargetCleanEstimates:
    failures: dict[str, PcorrError] = {}
    found = list(clean_estimates_of_targets(world.wh, settings, "web", [target], failures))
    if failures:
        raise failures[target]
    return found[0]


def estimates(world: Any) -> dict[str, float]:
    rows = world.wh.read("estimates", "web", "good").to_pylist()
    return {row["unit"]: row["estimate"] for row in rows if row["estimator"] == "spearmanr"}


@pytest.mark.parametrize("level", ["domain", "page", "chunk"])
def test_clean_estimates_are_those_of_a_sample_without_such_chunks(
    make_world: Callable[..., Any], tmp_path: Path, level: str
) -> None:
    settings = settings_of(tmp_path, level)
    everything = list(range(DOMAINS * CHUNKS_OF_DOMAIN))
    world = write_world(make_world, everything, "home")
    estimate(world, settings)
    search(world, settings)
    found = cleaned(world, settings)
    ids = np.array(world.chunk_ids)
    assert set(found.chunks["chunk_id"].to_pylist()) == set(ids[list(HELD)])
    assert set(found.chunks["item"].to_pylist()) == {"quiz/0"}
    assert found.chunks["words"][0].as_py() == " ".join(ITEM.lower().split()[:13])

    # The same chunks have other ids in a world of their own, so units are told by domain and page.
    other = write_world(make_world, [c for c in everything if c not in HELD], "without")
    estimate(other, settings)
    rows = {row["unit"]: row for row in found.table.to_pylist()}
    clean = {unit: row["clean_estimate"] for unit, row in rows.items()}
    assert {unit: row["estimate"] for unit, row in rows.items()} == estimates(world)
    kept = {unit: value for unit, value in clean.items() if value is not None}
    if level == "chunk":
        names = dict(zip(other.chunk_ids, np.delete(ids, HELD), strict=True))
        assert kept == {names[unit]: value for unit, value in estimates(other).items()}
    else:
        assert kept == pytest.approx(estimates(other), abs=1e-12)
    whole = {"domain": {"domain-6"}, "page": {"page-12", "page-13"}, "chunk": set(ids[list(HELD)])}
    assert {unit for unit, value in clean.items() if value is None} == whole[level]
    assert sum(row["contaminated_chunk_count"] for row in rows.values()) == len(HELD)
    assert sum(row["chunk_count"] for row in rows.values()) == len(everything) - 1
    selected = {unit for unit, row in rows.items() if row["clean_included"]}
    assert selected
    assert not selected & whole[level]


def test_what_they_come_to_is_noted_in_words(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    settings = settings_of(tmp_path)
    world = write_world(make_world, list(range(32)), "home")
    estimate(world, settings)
    search(world, settings)
    found = cleaned(world, settings)
    assert found.compared.sentence.startswith(
        "7 of 31 chunks hold text of the target's benchmarks (quiz 7), in 3 of 8 domains. "
        "1 domain of these have no other chunk. Without these chunks the domains rank alike ("
    )
    world.wh.write("clean_estimates", ("web", "good"), found.table, found.notes)
    assert read_compared(world.wh, "web", "good") == found.compared
    again = cleaned(world, settings)
    assert (again.table, again.chunks, again.notes) == (found.table, found.chunks, found.notes)


def test_what_was_not_searched_for_has_no_rows(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    off = settings_of(tmp_path, decontaminate="off")
    world = write_world(make_world, list(range(32)), "home")
    search(world, off)
    found = cleaned(world, off)
    assert found.table.num_rows == found.chunks.num_rows == 0
    assert "decontaminate is off" in found.compared.sentence
    # A benchmark of an imported matrix has no items here.
    write_ngrams(world.wh, settings_of(tmp_path), "alone")
    assert "have no items here" in cleaned(world, off, "alone").compared.sentence


def test_estimates_of_another_matrix_are_refused(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    settings = settings_of(tmp_path)
    world = write_world(make_world, list(range(32)), "home")
    estimate(world, settings)
    search(world, settings)
    world.score(LLMS[0], np.linspace(1, 2, 32))
    build_matrix(world.wh, settings, "web", LLMS)
    with pytest.raises(PcorrError, match=r"made from another matrix .* Materialise estimate again"):
        cleaned(world, settings)
