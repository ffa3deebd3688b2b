"""`pcorr run`.

Belongs here: its options, and what is printed at its end. Does not belong here: making
anything (`defs.running`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pcorr_assets.defs.command.application import configured, samples_or_pilots
from pcorr_assets.defs.instance import dagster_home, open_instance, use_home

if TYPE_CHECKING:
    from pcorr_assets.defs.running.outcome import Outcome


def run(
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="ASSET", help="Only this asset and what it is made from."),
    ] = None,
    sample: Annotated[list[str] | None, typer.Option(help="Only this sample.")] = None,
    pilot: Annotated[
        bool,
        typer.Option("--pilot", help="Only the pilots: of --sample, or of all that have one."),
    ] = False,
    target: Annotated[list[str] | None, typer.Option(help="Only this target.")] = None,
    llm: Annotated[list[str] | None, typer.Option(help="Only this LLM, by key.")] = None,
    pool: Annotated[list[str] | None, typer.Option(help="Only this pool.")] = None,
    rescore_stale: Annotated[
        bool,
        typer.Option(
            "--rescore-stale/--keep-stale-llms",
            help="Score and evaluate again what other code or settings were used for, or not.",
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be made, and why; make nothing.")
    ] = False,
) -> None:
    """Make everything that is missing, failed or stale, in the right order, without a UI.

    The runs are those of Dagster: they show in the UI, with their logs. They are at work on this
    machine or, in mode slurm, on the cluster. What fails is listed at the end by partition, and
    stops nothing that does not need it; the rest is made without it. Ctrl-C cancels what is going
    on, and the same command goes on from there. Options may be given several times. Exports are
    made where --to names them.

        pcorr run
        pcorr run --to estimate --sample web --target science
        pcorr run --pilot
        pcorr run --dry-run

    Exit status: 0 if everything that was asked for is there, 1 if something is not, 130 after
    Ctrl-C, 143 after SIGTERM, 2 for a wrong command line.
    """
    settings = configured()
    use_home(dagster_home(settings), settings.path)
    from pcorr_assets.defs.running import launch
    from pcorr_assets.defs.running.overview import overview
    from pcorr_assets.defs.running.request import Request

    request = Request(
        to=to or (),
        samples=samples_or_pilots(settings, sample, pilot),
        targets=target or (),
        llms=llm or (),
        pools=pool or (),
        rescore_stale=rescore_stale,
    )
    with open_instance(settings) as instance:
        if dry_run:
            prepared = launch.prepare(settings, instance, request)
            for line in launch.plan_lines(launch.plan_now(prepared, request)):
                typer.echo(line)
            for trouble in prepared.registered.troubles:
                typer.echo(trouble, err=True)
            raise typer.Exit(int(bool(prepared.registered.troubles)))
        outcome = launch.run(settings, instance, request, overview())
    raise typer.Exit(_said(outcome))


def _said(outcome: Outcome) -> int:
    """Say what came of it; the exit status."""
    for line in outcome.notes():
        typer.echo(line)
    typer.echo(outcome.last_line())
    for line in outcome.complaints():
        typer.echo(line, err=True)
    return 128 + outcome.signal if outcome.signal else int(not outcome.all_well)
