"""`pcorr free-slots`.

Belongs here: saying which runs are dead, and asking. Does not belong here: telling the dead
from the living, and ending runs (`defs.run_processes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pcorr_assets.defs.command.application import configured
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    from pcorr_assets.defs.run_processes import RunProcess


def free_slots(
    run: Annotated[
        list[str] | None,
        typer.Option(
            help="Also this run (its id, or how that begins), of which you know that it is over; "
            "may be given several times."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list; change nothing.")] = False,
) -> None:
    """End the runs whose process is gone, and free the slots of pools that they hold.

    The sensor free_slots of the UI does the same every half minute, and every run before it
    begins and while it waits. A run that lives is never touched. Of a run that was launched on
    another host, or without a note of its process, nobody can tell from here: it is listed,
    and ended only if you name it with --run.

        pcorr free-slots
        pcorr free-slots --run 1a2b3c4d
    """
    settings = configured()
    from pcorr_assets.defs.run_processes import end_dead_runs, end_run, processes
    from pcorr_assets.defs.slots import said_of

    with open_instance(settings) as instance:
        found = processes(instance)
        named = _named(found, run or [])
        if not dry_run:
            for ended in end_dead_runs(instance):
                typer.echo(said_of(ended))
            for one in named:
                if one.life == "unknown":
                    end_run(instance, one)
                    typer.echo(f"Ended {one.name}, as you said that it is over.")
        for one in found:
            if one.life == "dead" and dry_run:
                typer.echo(f"dead: {one.name}")
            elif one.life == "alive":
                typer.echo(f"left, it lives: {one.name}")
            elif one.life == "unknown" and one not in named:
                typer.echo(
                    f"left, whether it lives cannot be told from here: {one.name}; if it does "
                    f"not, `pcorr free-slots --run {one.run.run_id[:8]}` ends it",
                    err=True,
                )
    if not found:
        typer.echo("No run has begun that is not over, and no slot is held.")


def _named(found: Sequence[RunProcess], beginnings: Sequence[str]) -> list[RunProcess]:
    named: list[RunProcess] = []
    for beginning in beginnings:
        fitting = [one for one in found if one.run.run_id.startswith(beginning)]
        if len(fitting) != 1 or not beginning:
            raise PcorrError(
                f"{len(fitting)} runs that have begun and are not over have an id that begins with "
                f"{beginning!r}; `pcorr free-slots --dry-run` lists them."
            )
        if fitting[0].life == "alive":
            raise PcorrError(
                f"{fitting[0].name} lives; terminate it in the UI, or end its process. Nothing "
                "was changed."
            )
        named += fitting
    return named
