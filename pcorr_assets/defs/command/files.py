"""`pcorr clean` and `pcorr export`.

Belongs here: asking, and saying what was done with which files. Does not belong here:
moving (`warehouse.cleaning`) and exporting (`steps.sharing`).
"""

from __future__ import annotations

from enum import StrEnum
from shlex import quote
from typing import Annotated

import typer

from pcorr_assets.defs.command.application import configured
from pcorr_assets.defs.instance import open_instance


def clean(
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Move the files; otherwise they are only listed.")
    ] = False,
) -> None:
    """List the files of samples, targets, pools and LLMs that are gone; with --yes move them away.

    Gone is what pcorr.yaml does not list any more, and of LLMs what has no partition either: an LLM
    that was added in the UI stays. Files go to removed/<time>/ under the home, with the paths they
    had: nothing is deleted, and moving them back restores them. What a run is writing at
    this moment is left for the next time.
    """
    settings = configured()
    from pcorr_assets.defs.cleaning import clean_up, describe, find_leftovers

    with open_instance(settings) as instance:
        leftovers = find_leftovers(instance, settings)
        for line in describe(leftovers):
            typer.echo(line)
        count = len(leftovers.orphans)
        size = sum(orphan.byte_count for orphan in leftovers.orphans)
        if not yes or not (leftovers.orphans or leftovers.groups):
            end = "; `pcorr clean --yes` moves them away" if count else ""
            if leftovers.groups:
                end = f", {len(leftovers.groups)} partitions; `pcorr clean --yes` takes them away"
            typer.echo(f"{count} files or folders of keys that are gone, {size:,} bytes{end}")
            return
        cleaned = clean_up(instance, settings, leftovers)
    for orphan, why in cleaned.held:
        typer.echo(f"left: {orphan.path}: {why}", err=True)
    if cleaned.moved:
        typer.echo(f"Moved {len(cleaned.moved)} of {count} to {cleaned.folder}. To restore them:")
        typer.echo(f"  cp -a {quote(f'{cleaned.folder}/.')} {quote(f'{settings.home}/')}")


def verify() -> None:
    """Read every file under the home and name those that are not as they were written.

    Tables, shards, kept results, caches, filters, selected documents and Parquet exports carry a
    hash. Files of versions before that did not are counted; only whether they can be read is said.

        pcorr verify
    """
    settings = configured()
    from pcorr_assets.warehouse.verification import verify_home

    found = verify_home(settings.home)
    for error in found.damaged:
        typer.echo(str(error), err=True)
    if found.without_hash:
        typer.echo(f"{len(found.without_hash)} files carry no hash and were only read, such as:")
        for path in found.without_hash[:5]:
            typer.echo(f"  {path}")
    typer.echo(f"{found.whole} files are as they were written ({found.byte_count:,} bytes)")
    if found.damaged:
        typer.echo(f"{len(found.damaged)} files are damaged", err=True)
        raise typer.Exit(1)


class WideForm(StrEnum):
    """File formats of the published wide format."""

    CSV = "csv"
    PARQUET = "parquet"


def export(
    path: Annotated[
        str | None,
        typer.Argument(help="The file (or folder, of --sample) to write, or its s3:// URL."),
    ] = None,
    include_text: Annotated[
        bool, typer.Option("--include-text", help="The texts of the chunks as well.")
    ] = False,
    sample: Annotated[
        str | None, typer.Option(help="Instead: the matrix of this sample as wide files.")
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option(help="Of --sample: chunk, page, domain; default: those of the targets."),
    ] = None,
    form: Annotated[
        WideForm | None, typer.Option("--format", help="Of --sample: the file format, or csv.")
    ] = None,
) -> None:
    """Write one DuckDB file with every table, or the matrix of a sample, to give to others.

    The DuckDB file (exports/pcorr_export.duckdb under the home, or PATH) explains itself: its table
    README says where everything comes from and holds queries to start with. It has no texts unless
    --include-text. With --sample, BPB and errors are written in the published wide format (to
    exports/published/<sample>, or PATH), which `matrix_csv` imports again with equal estimates.
    With `exports.output` in pcorr.yaml both are put there as well, unless PATH says otherwise.

        pcorr export
        pcorr export s3://bucket/shared/pcorr_export.duckdb
        pcorr export --sample rpjv2 --format parquet
    """
    settings = configured()
    from pcorr_assets.steps.sharing import share_database, share_published

    if sample is None:
        if level or form:
            raise typer.BadParameter("--level and --format belong to --sample")
        shared = share_database(settings, path, include_text=include_text, holder="pcorr export")
        done = shared.exported
        rows = sum(done.row_counts.values())
        typer.echo(f"{shared.place}: {rows:,} rows, {done.byte_count:,} bytes")
        for partition in done.unsettled:
            typer.echo(f"warning: {partition} was replaced again meanwhile", err=True)
        return
    if include_text:
        raise typer.BadParameter("--include-text does not go with --sample: wide files have none")
    wanted = (form or WideForm.CSV).value
    shared = share_published(settings, sample, path, level or (), format=wanted)
    for written in shared.places:
        typer.echo(written)
    for files in shared.levels:
        for sentence in files.report:
            typer.echo(f"note: {sentence}", err=True)
