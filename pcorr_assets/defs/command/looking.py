"""Commands that only look: `pcorr check-config`, `status` and `sql`.

Belongs here: printing what the configuration, the instance and the warehouse hold. Does
not belong here: finding it out (`config`, `defs.partition_status`, `warehouse`).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pcorr_assets.config import Settings
from pcorr_assets.defs.command.application import configured
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    import dagster as dg

    from pcorr_assets.defs.partition_status import PartitionState


class Form(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class State(StrEnum):
    """States of a partition that `status` can be asked for."""

    MATERIALISED = "materialised"
    MISSING = "missing"
    FAILED = "failed"
    IN_PROGRESS = "in progress"
    STALE = "stale"


def check_config(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also: is all that the file names there and usable?")
    ] = False,
) -> None:
    """Report every mistake in pcorr.yaml at once, with its place; or what the file holds.

    With --deep, what the file names is looked at as well: files and their columns, tokenizers, LLMs
    (without their weights), lm-eval tasks, published matrices, the home, and in mode slurm ssh and
    what sbatch --test-only says. Nothing is made, run or downloaded as a whole. What is on the hub
    is looked at where the hub can be reached.
    """
    settings = configured()
    counts = {
        "samples": settings.written_samples,
        "LLMs": settings.llm_specs,
        "benchmarks": settings.benchmarks,
        "targets": settings.targets,
        "pools": settings.pools,
    }
    typer.echo(f"{settings.path or 'no configuration file'}: no mistakes found")
    for what, found in counts.items():
        typer.echo(f"  {what:10} {len(found):4}  {', '.join(list(found)[:5])}")
    if deep:
        _look_deeper(settings)


def _look_deeper(settings: Settings) -> None:
    from pcorr_assets.config.loading import mistakes_text, read_config
    from pcorr_assets.config.yaml_reader import read_yaml
    from pcorr_assets.defs.deep_check import deep_check

    assert settings.path is not None
    path = str(settings.path)
    findings = deep_check(settings, lambda line: typer.echo(line, err=True))
    for note in dict.fromkeys(findings.notes):
        typer.echo(f"note: {note}")
    if findings.found:
        lines = read_yaml(read_config(settings.path), path).lines
        found = [(finding.place, finding.text) for finding in findings.found]
        raise PcorrError(mistakes_text(found, path, lines))
    typer.echo("all that it names can be used")


def status(
    asset: Annotated[
        list[str] | None, typer.Option(help="Only this asset; may be given several times.")
    ] = None,
    state: Annotated[
        list[State] | None, typer.Option(help="Only partitions in this state; several times too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for programs.")] = False,
) -> None:
    """What is materialised, missing, failed (and why), stale or in progress.

    Without options: a line for each asset with counts, then every partition that failed, with the
    reason, then how far pools are. With --asset or --state: a line for each partition.

        pcorr status --state failed
        pcorr status --asset chunk_bpb --state missing --json
    """
    settings = configured()
    from pcorr_assets.defs.build import build_definitions
    from pcorr_assets.defs.instance import open_instance
    from pcorr_assets.defs.partition_status import partition_states
    from pcorr_assets.warehouse.views import follow_home

    follow_home(settings.home)
    with open_instance(settings) as instance:
        _warn_of_dead_runs(instance)
        try:
            found = partition_states(instance, build_definitions(settings), asset, settings)
        except KeyError as error:
            raise PcorrError(f"{error.args[0]}; `pcorr status` lists all of them") from None
    wanted = {str(one) for one in state or ()}
    shown = [one for one in found if not wanted or one.state in wanted]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in shown], indent=1, ensure_ascii=False))
    elif asset or state:
        _print_partitions(shown)
    else:
        _print_assets(found)
        _print_pools(settings)


def _print_pools(settings: Settings) -> None:
    from pcorr_assets.defs.operations import pool_lines

    lines = pool_lines(settings)
    if lines:
        typer.echo("\npools:")
    for line in lines:
        typer.echo(line)


def _warn_of_dead_runs(instance: dg.DagsterInstance) -> None:
    from pcorr_assets.defs.run_processes import processes

    dead = [seen.name for seen in processes(instance) if seen.life == "dead"]
    if dead:
        typer.echo(
            f"warning: not in progress, though shown so, because its process is gone: "
            f"{'; '.join(dead)}. `pcorr free-slots` ends it; so does the sensor free_slots.",
            err=True,
        )


def _print_assets(states: Sequence[PartitionState]) -> None:
    names = list(dict.fromkeys(one.asset for one in states))
    width = max(map(len, names), default=0)
    columns = [str(state) for state in State]
    typer.echo(" " * width + "".join(f"  {column:>12}" for column in columns))
    for name in names:
        counts: Counter[str] = Counter(one.state for one in states if one.asset == name)
        cells = "".join(f"  {counts.get(column) or '.':>12}" for column in columns)
        typer.echo(f"{name:{width}}{cells}")
    failed = [one for one in states if one.state == State.FAILED]
    if failed:
        typer.echo("\nfailed:")
        _print_partitions(failed)


def _print_partitions(states: Sequence[PartitionState]) -> None:
    asset_width = max((len(one.asset) for one in states), default=0)
    width = max((len(one.partition or "") for one in states), default=0)
    for one in states:
        line = f"{one.asset:{asset_width}}  {one.partition or '':{width}}  {one.state}"
        typer.echo(f"{line}: {one.reason}" if one.reason else line)


def sql(
    query: Annotated[str, typer.Argument(help="One query, or - to read it from standard input.")],
    form: Annotated[Form, typer.Option("--format", help="How the rows are printed.")] = Form.TABLE,
) -> None:
    """Ask the warehouse in SQL (DuckDB), one view for each table of docs/tables.md.

    It reads whole partitions while runs write, and nobody has to wait for anybody. Only queries are
    run: nothing is written, no extension installed. NaN and infinity are null in JSON.

        pcorr sql "SELECT sample, target, verdict, delta FROM verdicts"
        pcorr sql "DESCRIBE estimates"
        pcorr sql --format csv "FROM sampling_distributions WHERE included" > included.csv
    """
    home = configured().home
    from pcorr_assets.warehouse.queries import print_query

    text = sys.stdin.read() if query == "-" else query
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_query(home, text, form.value, sys.stdout, width=width)
