"""Kills, full disks, flipped bits and other faults in every stage: is anything lost or wrong?

Makes a small world undisturbed, then lets faults happen to copies of it, each followed by an
undisturbed relaunch whose files must be those of the undisturbed world. Prints a table.

    .venv/bin/python scripts/faults.py                 # all of them: half an hour on two cores
    .venv/bin/python scripts/faults.py --short         # a few, in a minute
    .venv/bin/python scripts/faults.py --write         # the table into docs/reliability.md
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

# Children are forked of this process, which may therefore have no threads.
os.environ.update(
    OMP_NUM_THREADS="1",
    RAYON_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    TQDM_DISABLE="1",
)
PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from pcorr_assets_tests.faults import on_slurm, plan, through_dagster  # noqa: E402
from pcorr_assets_tests.faults.bench import Bench  # noqa: E402
from pcorr_assets_tests.faults.outcomes import RAW, Outcome, stage_table, table  # noqa: E402
from pcorr_assets_tests.faults.world import STAGES  # noqa: E402

PAGE = PROJECT / "docs" / "reliability.md"
BLOCK = re.compile(r"(<!-- faults -->\n).*?(<!-- end of faults -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a few faults of the first stages")
    parser.add_argument("--seed", type=int, default=0, help="other moments, bits and times")
    parser.add_argument("--minutes", type=float, default=90, help="begin no fault after so many")
    parser.add_argument("--only", default="", help="faults whose kind or stage has this in it")
    parser.add_argument("--dagster", type=int, default=8, help="kills through the command dagster")
    parser.add_argument("--slurm", type=int, default=6, help="kills on a cluster that is up")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pcorr-faults-") as name:
        # What killed children leave there goes with it.
        tempfile.tempdir = os.environ["TMPDIR"] = name
        for outcome in _outcomes(arguments, Path(name).resolve(), started):
            outcomes.append(outcome)
            if outcome.bad or not arguments.short:
                print(
                    f"{len(outcomes):4d} {time.monotonic() - started:5.0f} s  {outcome}", flush=True
                )
    print(f"\n{table(outcomes)}\n\n{stage_table(outcomes)}\n")
    if arguments.write:
        _write(outcomes, arguments.seed)
    # The bench froze what it had loaded, which would count as leaked at the end.
    gc.unfreeze()
    failed = [outcome for outcome in outcomes if outcome.bad]
    print(f"{len(outcomes)} faults, {len(failed)} that were not survived")
    return 1 if failed else 0


def _outcomes(arguments: argparse.Namespace, folder: Path, started: float) -> Iterator[Outcome]:
    bench = Bench(folder, plan.SHORT_STAGES if arguments.short else STAGES)
    bench.prepare()
    # An end from outside, too, takes mounts and folders away; Dagster had a handler of its own.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    make = plan.short_plan if arguments.short else plan.long_plan
    trials = make(bench, folder, arguments.seed)
    if not arguments.short:
        runs = through_dagster.trials(bench, folder, arguments.dagster)
        jobs = on_slurm.trials(bench, arguments.slurm) if on_slurm.is_up() else ()
        trials = chain(runs, jobs, trials)
    for trial in trials:
        if time.monotonic() - started > 60 * arguments.minutes:
            print("the time is up; faults left out:", 1 + sum(1 for _ in trials))
            return
        if arguments.only in str(trial):
            try:
                yield from trial()
            except (RuntimeError, AssertionError, OSError) as error:
                broken = Outcome("the trial itself broke", "", arguments.seed, str(trial))
                broken.bad.append((RAW, str(error)))
                yield broken


def _write(outcomes: list[Outcome], seed: int) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=PROJECT, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    text = (
        f"Commit `{commit}`, seed {seed}: {len(outcomes)} faults, "
        f"{sum(bool(outcome.bad) for outcome in outcomes)} of them not survived.\n\n"
        f"{table(outcomes)}\n\nFaults by stage:\n\n{stage_table(outcomes)}\n"
    )
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda found: f"{found[1]}{text}{found[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
