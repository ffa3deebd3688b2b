"""`python -m pcorr_assets.demo`: the whole pipeline on the embedded world, through Dagster.

Belongs here: the command line, and what `pcorr demo` runs: the world, then what `pcorr run`
does. Does not belong here: the world (`world`) and what is printed of it (`summary`). The demo is
a user of the platform like any other, which is why it may import Dagster.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from pcorr_assets.config import load_settings
from pcorr_assets.defs.instance import DEFAULT_HOME, prepare_home, use_home
from pcorr_assets.defs.running import launch
from pcorr_assets.defs.running.outcome import span
from pcorr_assets.defs.running.overview import overview
from pcorr_assets.defs.running.request import Request
from pcorr_assets.defs.serving import serve
from pcorr_assets.demo.comparison import selected_against_random
from pcorr_assets.demo.quiet import only_progress
from pcorr_assets.demo.summary import summarise
from pcorr_assets.demo.world import World, build_world, read_world
from pcorr_assets.errors import PcorrError


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def environment(world: World) -> Iterator[dg.DagsterInstance]:
    """The world's own Dagster instance and configuration, for this process and its children."""
    home = world.folder / DEFAULT_HOME
    home.mkdir(exist_ok=True)
    use_home(prepare_home(home), world.config_path)
    with dg.DagsterInstance.get() as instance:
        yield instance


def run_demo(folder: Path, seed: int) -> int:
    """Make the world in `folder` if it is not there, make everything of it, and print that.

    Returns the exit status.
    """
    say(f"The demo world, in {folder}:")
    started = time.monotonic()
    with only_progress():
        world = build_world(folder, seed)
    say(f"  {'world with its tiny LLMs':35} {span(time.monotonic() - started):>9}")
    settings = load_settings(world.config_path)
    with environment(world) as instance:
        outcome = launch.run(settings, instance, Request(), overview())
    if not outcome.all_well:
        for line in (outcome.last_line(), *outcome.complaints()):
            sys.stderr.write(f"{line}\n")
        return 128 + outcome.signal if outcome.signal else 1
    started = time.monotonic()
    target, *_ = settings.targets
    with only_progress():
        errors = selected_against_random(world, target, seed)
    say(f"  {f'two small LLMs trained for {target}':35} {span(time.monotonic() - started):>9}")
    for line in summarise(world, settings, target, errors):
        say(line)
    return 0


def serve_demo(folder: Path, port: int) -> int:
    """Serve the UI on what the demo materialised; returns the exit status."""
    world = read_world(folder)
    return serve(prepare_home(world.folder / DEFAULT_HOME), world.config_path, port=port)


def main() -> int:
    """Exit status 0, 1 with the reason on standard error, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m pcorr_assets.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo_world"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ui", action="store_true", help="serve the Dagster UI on the world")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    try:
        if options.ui:
            return serve_demo(options.folder, options.port)
        return run_demo(options.folder, options.seed)
    except PcorrError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
