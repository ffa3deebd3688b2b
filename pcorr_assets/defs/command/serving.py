"""`pcorr demo` and `pcorr ui`.

Belongs here: starting the two. Does not belong here: the demo itself (`demo`), and the
instance (`defs.instance`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pcorr_assets.defs.command.application import configured
from pcorr_assets.defs.instance import dagster_home
from pcorr_assets.defs.serving import serve

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI.")]


def demo(
    folder: Annotated[Path, typer.Option(help="Where the world is made.")] = Path("demo_world"),
    seed: Annotated[int, typer.Option(help="Another seed makes another world.")] = 1,
) -> None:
    """Run the whole pipeline on a small embedded world, and print what came out.

    Takes a few minutes and no network: readable texts, 16 tiny LLMs that are trained on the spot,
    benchmarks. The world's own pcorr.yaml is in the folder; look at it afterwards with

        cd demo_world && pcorr ui
    """
    from pcorr_assets.demo.__main__ import run_demo

    raise typer.Exit(run_demo(folder, seed))


def ui(
    port: Port = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on. The UI asks nobody for a password.")
    ] = "127.0.0.1",
) -> None:
    """Serve the Dagster UI, with the daemon that launches runs, schedules and sensors.

    Serves the assets of pcorr.yaml on the instance of DAGSTER_HOME; unset, that is the folder
    dagster_home beside pcorr.yaml, which is made with this project's dagster.yaml if it is not
    there. Its address is printed once it answers. Ends with Ctrl-C; launch again what was running
    then, it goes on where it stopped.
    """
    settings = configured()
    raise typer.Exit(serve(dagster_home(settings), settings.path, host=host, port=port))
