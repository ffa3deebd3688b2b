"""`python -m pcorr_assets.demo`: the whole pipeline on the embedded world, through Dagster.

Belongs here: the command line, and the Dagster home that `--ui` serves. Does not belong
here: the world (`world`), running it (`runs`) and what is printed of it (`summary`). The
demo is a user of the platform like any other, which is why it may import Dagster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from pcorr_assets.config import load_settings
from pcorr_assets.defs.registration import register_llms, register_shards
from pcorr_assets.demo.comparison import selected_against_random
from pcorr_assets.demo.runs import materialise_all, quieten_libraries
from pcorr_assets.demo.summary import summarise
from pcorr_assets.demo.world import World, build_world, read_world
from pcorr_assets.errors import PcorrError

INSTANCE = Path(__file__).parent / "dagster.yaml"


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def environment(world: World) -> Iterator[dg.DagsterInstance]:
    """The world's own Dagster instance and configuration, for this process and its children."""
    home = world.folder / "dagster_home"
    home.mkdir(exist_ok=True)
    shutil.copyfile(INSTANCE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["PCORR_CONFIG"] = str(world.config_path)
    with dg.DagsterInstance.get() as instance:
        yield instance


def serve(world: World, port: int) -> None:
    """Replace this process by `dagster dev` on what the demo materialised."""
    with environment(world):
        pass
    say(f"http://127.0.0.1:{port}   (Ctrl-C ends it)")
    command = ["dagster", "dev", "-m", "pcorr_assets.definitions"]
    os.execv(sys.executable, [sys.executable, "-m", *command, "-h", "127.0.0.1", "-p", str(port)])


def main() -> int:
    """Exit status 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pcorr_assets.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo_world"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ui", action="store_true", help="serve the Dagster UI on the world")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    quieten_libraries()
    try:
        if options.ui:
            serve(read_world(options.folder), options.port)
        say(f"The demo world, in {options.folder}:")
        started = time.monotonic()
        world = build_world(options.folder, options.seed)
        say(f"  world with its tiny LLMs                {time.monotonic() - started:6.1f} s")
        settings = load_settings(world.config_path)
        with environment(world) as instance:
            register_llms(instance, settings)
            register_shards(instance, settings)
            for asset, count, seconds in materialise_all(settings, instance):
                say(f"  {asset:22} {count:3} partition(s)  {seconds:6.1f} s")
        started = time.monotonic()
        target, *_ = settings.targets
        errors = selected_against_random(world, target, options.seed)
        say(f"  two small LLMs trained for {target:11} {time.monotonic() - started:6.1f} s")
        for line in summarise(world, settings, target, errors):
            say(line)
    except PcorrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
