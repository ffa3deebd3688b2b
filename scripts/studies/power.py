"""What was tried to get more power out of the same LLMs, beside what the platform does.

    python -m scripts.studies.power --folder FOLDER [--worlds 100]

Belongs here: candidates for more power in worlds whose truth is known, and their outcomes
beside the platform's. Does not belong here: the worlds (`worlds`), and the verdict as it is
(`verdicts`).

- noise: LLMs whose errors have a larger known standard error count less in the test
- benchmarks: several benchmarks of a target, weighted by what they have in common
- families: an LLM counts by the effective number of its family
- auto: the estimator that selects best on held-out halves of the groups
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pcorr_assets.stats.ability import Residuals, residuals
from pcorr_assets.stats.dependence import residual_p
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES, estimate_all
from pcorr_assets.stats.groups import draw_halving
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import average_ranks
from scripts.studies.worlds import Cell, draw, true_correlations

RANDOMISATIONS = 200
HALVINGS = 10

CELLS = {
    f"{name} {'null' if null else 'signal'}": replace(cell, null=null)
    for null in (False, True)
    for name, cell in {
        "N16": Cell(16, 8, 0.75, False),
        "N30": Cell(30, 12, 0.75, False),
        "N30 noisy": Cell(30, 12, 1.5, False),
        "size": Cell(60, 20, 0.75, False, size=4.4),
        "unequal": Cell(30, 12, 0.75, False, unequal=True),
        "unequal noisy": Cell(30, 12, 1.5, False, unequal=True),
        "heavy tails": Cell(30, 12, 0.75, False, heavy=True),
        "step": Cell(30, 12, 0.75, False, link="step"),
        "sigmoid": Cell(30, 12, 0.75, False, link="sigmoid"),
    }.items()
}
# Which of them a study is about.
IN = {
    "noise": ("N16", "N30", "size"),
    "benchmarks": ("N16", "N30", "size"),
    "families": ("unequal", "unequal noisy"),
    "auto": ("N16", "N30", "N30 noisy", "size", "unequal", "heavy tails", "step", "sigmoid"),
}


def p_value(panel: Panel, shares: np.ndarray | None = None) -> float:
    """p of the dependence test with residual errors times `shares` (N,); None: as it is."""
    rest = residuals(panel.X, panel.errors)
    if shares is not None:
        errors = rest.errors * shares
        errors -= rest.basis @ (rest.basis.T @ errors)
        rest = Residuals(errors, rest.texts, rest.basis)
    return residual_p(rest, panel.tau, panel.groups, randomisations=RANDOMISATIONS)


def noise(cell: Cell, seed: int) -> dict[str, float]:
    """Accuracies whose standard errors are known.

    `alike`: all LLMs have 100 items; `unlike`: every second LLM has 30, the others 1,000.
    """
    panel = draw(replace(cell, sigma=0.3), _seed(cell, seed, 1))
    rng = np.random.default_rng(_seed(cell, seed, 2))
    spread = panel.errors.std()
    right = 1 / (1 + np.exp(panel.errors / spread))
    found = {}
    for name, items in (
        ("alike", np.full(right.size, 100)),
        ("unlike", np.where(rng.permutation(right.size) % 2, 30, 1000)),
    ):
        score = rng.binomial(items, right) / items
        stderr = np.sqrt(np.maximum(score * (1 - score), 0.5 / items) / items)
        noisy = replace(panel, errors=1 - score)
        found[f"{name} plain"] = p_value(noisy)
        found[f"{name} weighted"] = p_value(noisy, trust(noisy, stderr))
    return found


def trust(panel: Panel, stderr: np.ndarray) -> np.ndarray:
    """(N,) signal over signal and noise of each residual error, on the scale of normal scores."""
    rest = residuals(panel.X, panel.errors)
    variance = (stderr / panel.errors.std()) ** 2
    signal = max(float(rest.errors.var() - variance.mean()), 0.1 * float(rest.errors.var()))
    return signal / (signal + variance)


def benchmarks(cell: Cell, seed: int) -> dict[str, float]:
    """Four benchmarks of noise .25 to 3 or all 1.5, combined in several ways.

    In `own` each has something of its own beside what they share. `reliability` weighs ranks
    by the reliability of each benchmark over items, with shares of 1 and .8 of what is
    reliable common to all.
    """
    panel = draw(replace(cell, sigma=0.0), _seed(cell, seed, 3))
    rng = np.random.default_rng(_seed(cell, seed, 4))
    found = {}
    for name, sigmas, own in (
        ("alike", (1.5,) * 4, 0.0),
        ("unlike", (0.25, 0.75, 1.5, 3.0), 0.0),
        ("alike own", (1.5,) * 4, 0.7),
        ("unlike own", (0.25, 0.75, 1.5, 3.0), 0.7),
    ):
        errors = panel.errors[:, None] + own * rng.normal(size=(panel.errors.size, 4))
        errors += np.array(sigmas) * rng.normal(size=errors.shape)
        ranks = np.column_stack([average_ranks(column) for column in errors.T])
        reliable = np.clip(1 - np.array(sigmas) ** 2 / errors.var(axis=0, ddof=1), 0.05, 0.98)
        combined = {
            "mean": errors.mean(axis=1),
            "mean_rank": ranks.mean(axis=1),
            "factor": ranks @ factor_weights(ranks),
            "reliability 1": ranks @ (reliable**0.5 / (1 - reliable)),
            "reliability .8": ranks @ ((0.8 * reliable) ** 0.5 / (1 - 0.8 * reliable)),
        }
        for way, values in combined.items():
            found[f"{name} {way}"] = p_value(replace(panel, errors=values))
    return found


def factor_weights(values: np.ndarray) -> np.ndarray:
    """(B,) weights of a one-factor model: loading over unique variance (Bartlett's)."""
    correlation = np.corrcoef(values.T)
    common = 1 - 1 / np.diag(np.linalg.inv(correlation + 1e-6 * np.eye(len(correlation))))
    loading = np.sqrt(common)
    for _ in range(50):
        reduced = correlation - np.diag(1 - common)
        sizes, vectors = np.linalg.eigh(reduced)
        loading = np.abs(vectors[:, -1]) * np.sqrt(max(sizes[-1], 1e-6))
        common = np.clip(loading**2, 0.01, 0.95)
    return loading / (1 - common)


def families(cell: Cell, seed: int) -> dict[str, float]:
    """LLMs of a family of n weighted by 1 / (1 + (n - 1) rho)."""
    panel = draw(cell, _seed(cell, seed, 5))
    sizes = np.bincount(panel.groups.labels)[panel.groups.labels]
    found = {"plain": p_value(panel)}
    for rho in (0.25, 0.5, 1.0):
        found[f"rho {rho:g}"] = p_value(panel, 1 / (1 + (sizes - 1) * rho))
    return found


def auto(cell: Cell, seed: int, rho: np.ndarray) -> dict[str, float]:
    """True gain of the selection by each estimator, and by one that held-out halves choose.

    `auto` is the one whose selections gain most on the other half; `careful` leaves Spearman's
    only for one that gains more in nine of ten halves.
    """
    panel = draw(cell, _seed(cell, seed, 6))
    gains = {}
    for name in ESTIMATOR_NAMES:
        own = replace(panel, estimator=name)
        gains[name] = float(own.weights(own.all_rows) @ rho - rho.mean())
    held_out = held_out_gains(panel)
    plain = ESTIMATOR_NAMES.index("spearmanr")
    means = held_out.mean(axis=0)
    # Equal up to rounding: Spearman's.
    best = plain if means.max() <= means[plain] + 1e-9 else int(means.argmax())
    clearly = ((held_out[:, [best]] > held_out[:, [plain]]).mean() >= 0.9) or best == plain
    return {
        **gains,
        "auto": gains[ESTIMATOR_NAMES[best]],
        "careful": gains[ESTIMATOR_NAMES[best] if clearly else "spearmanr"],
        "auto left": float(best != plain),
        "careful left": float(best != plain and clearly),
    }


def held_out_gains(panel: Panel) -> np.ndarray:
    """(2 halvings, 5) what each estimator selects on a half gains on the other, in Spearman's."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(HALVINGS):
        halves = draw_halving(panel.groups, panel.errors, rng)
        if halves is None:
            raise RuntimeError("a world whose groups cannot be halved")
        found = [
            estimate_all(panel.X, panel.errors, ESTIMATOR_NAMES, rows=half) for half in halves[:2]
        ]
        for one, other in (found, found[::-1]):
            truth = other["spearmanr"]
            rows.append([linear(one[n], panel.tau) @ truth - truth.mean() for n in ESTIMATOR_NAMES])
    return np.array(rows)


def _seed(cell: Cell, seed: int, stream: int) -> list[int]:
    return [seed, cell.llms, int(100 * cell.sigma), cell.null, stream]


STUDIES: dict[str, Callable[..., dict[str, float]]] = {
    "noise": noise,
    "benchmarks": benchmarks,
    "families": families,
    "auto": auto,
}


def run(folder: Path, study: str, name: str, worlds: int) -> list[dict[str, float]]:
    """Outcomes of a study in the worlds of a cell, from the file and from now on."""
    path = folder / f"{study}_{name.replace(' ', '_')}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    outcomes = [json.loads(line) for line in lines]
    cell = CELLS[name]
    more = (true_correlations(cell),) if study == "auto" else ()
    with path.open("a", encoding="utf-8") as file:
        for seed in range(len(outcomes), worlds):
            outcomes.append(STUDIES[study](cell, seed, *more))
            print(json.dumps(outcomes[-1]), file=file, flush=True)
    return outcomes


def table(study: str, name: str, outcomes: list[dict[str, float]]) -> str:
    """One line: the share of worlds with p at most .05, or the mean true gain."""
    values = {key: np.array([found[key] for found in outcomes], dtype=float) for key in outcomes[0]}
    shown = {
        key: f"{column.mean():+.4f}" if study == "auto" else f"{(column <= 0.05).mean():.1%}"
        for key, column in values.items()
    }
    if study == "auto":
        for key in ("auto", "careful"):
            less = values[key] - values["spearmanr"]
            error = less.std(ddof=1) / less.size**0.5
            shown[f"{key} less spearmanr"] = f"{less.mean():+.4f} ({error:.4f})"
    cells = ", ".join(f"{key} {value}" for key, value in shown.items())
    return f"{study}, {name} ({len(outcomes)} worlds): {cells}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for study in arguments.studies:
        # In a null world no text is better than another, so no estimator can be.
        for kind in ("signal",) if study == "auto" else ("signal", "null"):
            for name in (f"{like} {kind}" for like in IN[study]):
                outcomes = run(arguments.folder, study, name, arguments.worlds)
                print(table(study, name, outcomes), flush=True)


if __name__ == "__main__":
    main()
