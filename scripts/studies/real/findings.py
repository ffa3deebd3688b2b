"""What comes of the trained LLMs: differences to random documents and to the filter, by seed.

Belongs here: reading outcomes, differences and their intervals. Does not belong here: training
(`proxies`), and how it is shown (`page`, `plot`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from scipy.stats import t

from pcorr_assets.demo.comparison import lower_by
from scripts.studies.real.proxies import Arm
from scripts.studies.real.selections import ORDER, RANDOM

MEASURES = ("error", "bpb")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Finding:
    """One method beside random documents, by one measure.

    `mean` over `seeds` of the measure itself; `lower` is how much lower it is than with random
    documents of the same seed, with its 95 % interval (Student's t). The three are None for
    random documents themselves, the interval also with one seed.
    """

    target: str
    size: str
    method: str
    measure: str
    seeds: int
    mean: float
    lower: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Lead:
    """How much lower a measure is with a method of the platform than with another one.

    Paired by seed, with the 95 % interval (Student's t; None with one seed).
    """

    target: str
    size: str
    other: str
    measure: str
    seeds: int
    lower: float
    low: float | None
    high: float | None


def findings(folder: Path) -> list[Finding]:
    """Of each target, size, measure and method, from the seeds for which all methods are done."""
    return [
        _beside_random(target, size, method, measure, values)
        for (target, size, measure), values in _paired(folder).items()
        for method in values
    ]


def leads(folder: Path, method: str) -> list[Lead]:
    """Of each target, size, measure and other method than `method`, from the same seeds."""
    return [
        Lead(target, size, other, measure, len(own), *_lower(values, method, other))
        for (target, size, measure), values in _paired(folder).items()
        if (own := values.get(method))
        for other in values
        if other != method
    ]


Values = dict[str, list[float]]


def _paired(folder: Path) -> dict[tuple[str, str, str], Values]:
    """By target, size and measure: its values by method, of the seeds that have all methods."""
    outcomes: dict[tuple[str, str], dict[int, dict[str, dict[str, float]]]] = {}
    for path in sorted((folder / "proxies").glob("*/*/*.json")):
        found = json.loads(path.read_text())
        arm = Arm(*(found[name] for name in ("target", "size", "method", "seed")))
        measured = {"error": fmean(found["errors"].values()), "bpb": found["bpb"]}
        outcomes.setdefault((arm.target, arm.size), {}).setdefault(arm.seed, {})[arm.method] = (
            measured
        )
    paired: dict[tuple[str, str, str], Values] = {}
    for (target, size), of_seed in sorted(outcomes.items()):
        methods = {method for done in of_seed.values() for method in done}
        whole = [seed for seed, done in sorted(of_seed.items()) if set(done) == methods]
        if not whole or RANDOM not in methods:
            continue
        for measure in MEASURES:
            paired[target, size, measure] = {
                method: [of_seed[seed][method][measure] for seed in whole]
                for method in sorted(methods, key=ORDER.index)
            }
    return paired


def _beside_random(target: str, size: str, method: str, measure: str, values: Values) -> Finding:
    own = values[method]
    found = Finding(target, size, method, measure, len(own), fmean(own))
    if method == RANDOM:
        return found
    lower, low, high = _lower(values, method, RANDOM)
    return replace(found, lower=lower, low=low, high=high)


def _lower(values: Values, method: str, other: str) -> tuple[float, float | None, float | None]:
    """How much lower it is with one method than with another, and the interval of that."""
    seeds = len(values[method])
    if seeds == 1:
        return values[other][0] - values[method][0], None, None
    lower = lower_by(values, method, other)
    half = float(t.ppf((1 + CONFIDENCE) / 2, seeds - 1)) * lower.standard_error
    return lower.mean, lower.mean - half, lower.mean + half
