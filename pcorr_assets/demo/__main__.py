"""`python -m pcorr_assets.demo`: the whole pipeline on the embedded world, through Dagster.

Belongs here: the command line, and what `pcorr demo` runs. Does not belong here: the world
(`world`), running it (`runs`) and what is printed of it (`summary`). The demo is a user of
the platform like any other, which is why it may import Dagster.
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
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets.defs.run_processes import end_dead_runs
from pcorr_assets.defs.serving import serve
from pcorr_assets.demo.comparison import selected_against_random
from pcorr_assets.demo.runs import materialise_all, quieten_libraries
from pcorr_assets.demo.summary import summarise
from pcorr_assets.demo.world import World, build_world, read_world
from pcorr_assets.errors import PcorrError


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def environment(world: World) -> Iterator[dg.DagsterInstance]:
    """The world's own Dagster instance and configuration, for this process and its children."""
    use_home(prepare_home(world.folder / DEFAULT_HOME), world.config_path)
    with dg.DagsterInstance.get() as instance:
        yield instance


def run_demo(folder: Path, seed: int) -> None:
    """Make the world in `folder` if it is not there, materialise everything, and print it."""
    quieten_libraries()
    say(f"The demo world, in {folder}:")
    started = time.monotonic()
    world = build_world(folder, seed)
    say(f"  world with its tiny LLMs                {time.monotonic() - started:6.1f} s")
    settings = load_settings(world.config_path)
    with environment(world) as instance:
        end_dead_runs(instance)  # of a demo that was killed: they would hold the slots of this one
        register_llms(instance, settings)
        register_pool_groups(instance, settings)
        for asset, count, seconds in materialise_all(settings, instance):
            say(f"  {asset:22} {count:3} partition(s)  {seconds:6.1f} s")
    started = time.monotonic()
    target, *_ = settings.targets
    errors = selected_against_random(world, target, seed)
    say(f"  two small LLMs trained for {target:11} {time.monotonic() - started:6.1f} s")
    for line in summarise(world, settings, target, errors):
        say(line)


def serve_demo(folder: Path, port: int) -> int:
    """Serve the UI on what the demo materialised; returns the exit status."""
    world = read_world(folder)
    return serve(prepare_home(world.folder / DEFAULT_HOME), world.config_path, port=port)


def main() -> int:
    """Exit status 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pcorr_assets.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo_world"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ui", action="store_true", help="serve the Dagster UI on the world")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    try:
        if options.ui:
            return serve_demo(options.folder, options.port)
        run_demo(options.folder, options.seed)
    except PcorrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
