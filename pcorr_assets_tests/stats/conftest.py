"""Seeded worlds with known truth, and the matrix of 263 synthetic English documents that the
paper's code comes with, for the tests of the statistics."""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class World:
    """LLMs in families that are each better at some topics, and a benchmark about topic 0.

    `X` (N, D) BPB, `errors` (N,), `llms`, `families` (N,), `topics` (D,) the topic of each
    unit, `true_weights` (D,), `tau` (D,) caps that let a fifth of the units be selected.
    """

    X: np.ndarray
    errors: np.ndarray
    llms: list[str]
    families: list[str]
    topics: np.ndarray
    true_weights: np.ndarray
    tau: np.ndarray


def simulate(
    seed: int,
    *,
    family_count: int = 8,
    llms_per_family: int = 2,
    topic_count: int = 6,
    units_per_topic: int = 8,
    error_noise: float = 0.2,
    topic_strength: float = 0.6,
) -> World:
    """One world. `topic_strength=0` is a null world: no unit is better than another."""
    rng = np.random.default_rng(seed)
    llm_count, unit_count = family_count * llms_per_family, topic_count * units_per_topic
    family = np.repeat(np.arange(family_count), llms_per_family)

    def shared(width: int) -> np.ndarray:
        by_family = rng.normal(size=(family_count, width))[family]
        return 0.8 * by_family + 0.6 * rng.normal(size=(llm_count, width))

    topics = np.repeat(np.arange(topic_count), units_per_topic)
    general, skill = shared(1), topic_strength * shared(topic_count)
    X = 1 + 0.08 * (general + skill[:, topics] + 0.4 * shared(unit_count))
    true_weights = (topics == 0) / units_per_topic
    latent = general[:, 0] + skill[:, 0] + error_noise * rng.normal(size=llm_count)
    return World(
        X=X + 0.2 * rng.random(unit_count),
        errors=1 / (1 + np.exp(-latent)),
        llms=[f"llm-{row:03d}" for row in range(llm_count)],
        families=[f"family-{number:02d}" for number in family],
        topics=topics,
        true_weights=true_weights,
        tau=np.full(unit_count, 5 / unit_count),
    )


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    return simulate


@dataclass(frozen=True)
class Published:
    """The matrix (N, D) of 263 synthetic English documents with errors aligned by column name."""

    X: np.ndarray
    units: list[str]
    families: list[str]
    names: list[str]
    llms: list[str]
    targets: dict[str, np.ndarray]


@pytest.fixture
def published(published_data: Path) -> Published:
    llms, units, bpb = _read_csv(published_data / "bpb_by_page.csv")
    error_llms, benchmarks, errors = _read_csv(published_data / "benchmark_errors.csv")
    by_name = dict(zip(benchmarks, errors[:, [error_llms.index(llm) for llm in llms]], strict=True))
    targets = {name: by_name[name] for name in ("arc_easy", "piqa", "sciq")}
    targets["lambada"] = (by_name["lambada_openai"] + by_name["lambada_standard"]) / 2
    for language in ("de", "es", "it", "fr"):
        targets[f"lambada_{language}"] = by_name[f"lambada_openai_mt_{language}"]
    names = [name for _, name in llms]
    return Published(
        X=bpb.T.copy(),
        units=units,
        families=[family for family, _ in llms],
        names=names,
        llms=[f"{name}+{family}" for family, name in llms],
        targets=targets,
    )


def _read_csv(path: Path) -> tuple[list[tuple[str, str]], list[str], np.ndarray]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = [ast.literal_eval(name) for name in header[1:]]
    return columns, [row[0] for row in rows], np.array([row[1:] for row in rows], dtype=float)


@pytest.fixture(scope="session")
def clear_world(make_world: Callable[..., World]) -> World:
    """A world with so clear a signal that any honest validation says go."""
    return make_world(1, family_count=14, topic_strength=1.5, error_noise=0.05)


@pytest.fixture(scope="session")
def null_world(make_world: Callable[..., World]) -> World:
    """A world in which errors follow a general factor, and no text is better than another."""
    return make_world(2, topic_strength=0.0)
