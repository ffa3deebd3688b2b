"""Run the study of the verdict and write docs/studies.md.

    python -m scripts.studies --folder FOLDER [--worlds 400] [--null-worlds 1000] [--quick] [--page]

Each cell's outcomes are kept in `--folder` as they come, and continued by the next run;
`--page` writes the page from what is there. `--quick` runs a few worlds of three cells,
checks that nulls are seldom and clear signals mostly given a go, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from scripts.studies import advice
from scripts.studies.cells import CELLS, QUICK
from scripts.studies.page import PAGE, page
from scripts.studies.verdicts import outcome
from scripts.studies.worlds import true_correlations

# Kinds of more domains than these take long.
LARGE = 48
ADVICE_WORLDS = 120


def run(folder: Path, name: str, worlds: int, former: int) -> list[dict]:
    """Outcomes of a cell's worlds, from the file and from now on."""
    path = folder / f"{name.replace(' ', '_')}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    outcomes = [json.loads(line) for line in lines]
    if len(outcomes) >= worlds:
        return outcomes
    cell = CELLS[name]
    rho = true_correlations(cell)
    with path.open("a", encoding="utf-8") as file:
        for seed in range(len(outcomes), worlds):
            rivals = seed < 50 and cell.domains <= LARGE and not cell.uneven
            found = outcome(cell, seed, rho, rivals=rivals, former=seed < former)
            outcomes.append(found)
            print(json.dumps(found, default=float), file=file, flush=True)
    return outcomes


def run_advice(folder: Path, sigma: float, worlds: int) -> None:
    """Outcomes of the advice in worlds of a noise, from the file and from now on."""
    path = folder / f"advice_{sigma}.jsonl"
    done = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    with path.open("a", encoding="utf-8") as file:
        for seed in range(done, worlds):
            print(json.dumps(advice.outcome(sigma, seed)), file=file, flush=True)


def quick(folder: Path) -> list[str]:
    """A small form, some seconds: where the rule no longer does what it says, in words."""
    wrong = []
    for name, (worlds, least, most) in QUICK.items():
        gos = sum(found["go"] for found in run(folder, name, worlds, former=0))
        print(f"{name}: go in {gos} of {worlds} worlds ({least} to {most} expected)")
        if not least <= gos <= most:
            wrong.append(f"{name}: {gos} of {worlds} worlds are not within {least} to {most}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--null-worlds", type=int, default=1000)
    parser.add_argument("--large-worlds", type=int, default=60, help="of kinds of 5,000 domains")
    parser.add_argument("--former", type=int, default=10)
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.quick:
        sys.exit("\n".join(quick(arguments.folder)) or 0)
    if not arguments.page:
        for name in arguments.cells:
            worlds = arguments.null_worlds if CELLS[name].null else arguments.worlds
            if CELLS[name].domains > LARGE:
                worlds = arguments.large_worlds
            outcomes = run(arguments.folder, name, worlds, arguments.former)
            print(name, sum(found["go"] for found in outcomes), "of", len(outcomes), flush=True)
        for sigma in advice.SIGMAS:
            run_advice(arguments.folder, sigma, ADVICE_WORLDS)
    PAGE.write_text(page(arguments.folder), encoding="utf-8")


if __name__ == "__main__":
    main()
