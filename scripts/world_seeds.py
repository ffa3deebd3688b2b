"""How the platform does on demo worlds of several seeds: a Markdown table for the docs.

For each seed the whole chain runs through the plain functions: chunk, score, evaluate,
matrix, estimate, caps, linear projection, verdict. Beside each target stand controls
whose errors are the same numbers dealt to the LLMs anew: the first one's weight and
verdict, and how many of all were given a go. Worlds are kept in `--folder` and continued
by the next run.

    python scripts/world_seeds.py --folder /tmp/worlds --seeds 0 1 2 3 4
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.demo.world import SAMPLE, World, build_world, topic_weight
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import evaluate_llm, score_llm
from pcorr_assets.jobs.description import evaluate_job, score_job
from pcorr_assets.progress import Progress
from pcorr_assets.stats.verdict import Verdict
from pcorr_assets.steps.error_vectors import target_error_vector
from pcorr_assets.steps.estimates import estimate_targets
from pcorr_assets.steps.matrices import build_matrix
from pcorr_assets.steps.rank_predictions import validate_targets
from pcorr_assets.steps.sampling import sampling_distribution
from pcorr_assets.text.chunked_dataset import chunk_sample
from pcorr_assets.warehouse import Warehouse

HEADER = (
    "| seed | target | weight on topic | verdict | p | gain (90 % interval) | stability "
    "| held-out rank correlation | permuted: weight | permuted: verdict | permuted: go |"
)


@dataclass(frozen=True)
class Outcome:
    """One target of one world, with its own errors or with permuted ones."""

    weight: float
    verdict: Verdict


def prepare(folder: Path, seed: int) -> tuple[World, Settings, Warehouse]:
    """Build the world of `seed` and fill its warehouse up to the matrix."""
    world = build_world(folder / f"seed-{seed}", seed)
    settings = load_settings(world.config_path)
    wh = Warehouse(settings.home)
    fill_matrix(wh, settings, SAMPLE, f"seed {seed}")
    return world, settings, wh


def make_chunks(wh: Warehouse, settings: Settings, sample: str) -> None:
    """Chunk a sample, unless it is."""
    if not wh.exists("chunks", sample):
        with wh.writer("chunks", (sample,)) as writer:
            chunk_sample(sample, settings.samples[sample], writer)


def fill_matrix(wh: Warehouse, settings: Settings, sample: str, label: str) -> None:
    """Chunk the sample, score and evaluate all LLMs, and build the matrix; what is there stays."""
    make_chunks(wh, settings, sample)
    keys = list(settings.llm_specs)
    started = time.monotonic()
    with Progress(f"{label}: score", total=len(keys), unit="LLMs") as progress:
        for key in keys:
            score_llm.run(score_job(settings, sample, key))
            progress.update()
    scored = time.monotonic()
    with Progress(f"{label}: evaluate", total=len(keys), unit="LLMs") as progress:
        for key in keys:
            evaluate_llm.run(evaluate_job(settings, key))
            progress.update()
    print(
        f"{label}: scoring {scored - started:.0f} s, evaluating {time.monotonic() - scored:.0f} s",
        flush=True,
    )
    build_matrix(wh, settings, sample, keys)


def outcome(world: World, settings: Settings, wh: Warehouse, target: str) -> Outcome:
    """Estimate, validate and select for one target from the error vector that is stored."""
    failures: dict[str, PcorrError] = {}
    estimated = list(estimate_targets(wh, settings, SAMPLE, [target], failures))
    for failure in failures.values():
        raise failure
    (estimates,) = estimated
    wh.write("estimates", (SAMPLE, target), estimates.table, estimates.made_from)
    validated = list(validate_targets(wh, settings, SAMPLE, [target], failures))
    for failure in failures.values():
        raise failure
    (validation,) = validated
    rows = sampling_distribution(wh, settings, SAMPLE, target).table.to_pylist()
    weights = {row["unit"]: row["weight"] for row in rows}
    return Outcome(topic_weight(world, target, weights), validation.verdict)


def outcomes_of(
    world: World, settings: Settings, wh: Warehouse, target: str, permutations: int
) -> tuple[Outcome, list[Outcome]]:
    """The outcome with the target's own errors, and those with permuted ones."""
    table = target_error_vector(wh, settings, target, list(settings.llm_specs)).table
    rng = np.random.default_rng([world.seed, list(world.targets).index(target)])
    column = table.column_names.index("error")
    controls = []
    for _ in range(permutations):
        errors = pa.array(rng.permutation(table["error"].to_numpy()))
        dealt = table.set_column(column, table.schema.field("error"), errors)
        wh.write("error_vectors", (target,), dealt)
        controls.append(outcome(world, settings, wh, target))
    # Last, so that the world is left with what belongs to it.
    wh.write("error_vectors", (target,), table)
    return outcome(world, settings, wh, target), controls


def row_of(seed: int, target: str, own: Outcome, controls: list[Outcome]) -> str:
    """A line of the table."""
    found = own.verdict
    return (
        f"| {seed} | {target} | {own.weight:.2f} | {found.verdict} "
        f"| {'-' if found.p_value is None else f'{found.p_value:.3f}'} | {shown(found.gain)} "
        f"({shown(found.gain_low)} to {shown(found.gain_high)}) "
        f"| {shown(found.stability)} | {shown(found.rank_correlation)} "
        f"| {controls[0].weight:.2f} | {controls[0].verdict.verdict} "
        f"| {gos(controls)} of {len(controls)} |"
    )


def summary(outcomes: list[Outcome]) -> str:
    """Weights and verdicts of several outcomes."""
    weights = [one.weight for one in outcomes]
    return (
        f"weight on the target's topic {np.mean(weights):.3f} on average, {min(weights):.3f} at "
        f"least; go {gos(outcomes)} of {len(outcomes)}"
    )


def gos(outcomes: list[Outcome]) -> int:
    """How many were given a go."""
    return sum(one.verdict.verdict == "go" for one in outcomes)


def shown(number: float | None) -> str:
    """Two decimals, or a dash for what could not be computed."""
    return "-" if number is None else f"{number:.2f}"


def main() -> None:
    """Print a row for each world and target, then the averages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--permutations", type=int, default=10)
    arguments = parser.parse_args()
    own: list[Outcome] = []
    controls: list[list[Outcome]] = []
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    for seed in arguments.seeds:
        world, settings, wh = prepare(arguments.folder, seed)
        for target in world.targets:
            found, permuted = outcomes_of(world, settings, wh, target, arguments.permutations)
            own.append(found)
            controls.append(permuted)
            lines.append(row_of(seed, target, found, permuted))
            print(lines[-1], flush=True)
    print("\n" + "\n".join(lines) + "\n")
    print(f"Own errors: {summary(own)}")
    print(f"Permuted once: {summary([permuted[0] for permuted in controls])}")
    print(f"All permutations: {summary([one for permuted in controls for one in permuted])}")


if __name__ == "__main__":
    main()
