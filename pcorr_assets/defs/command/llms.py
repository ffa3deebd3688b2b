"""`pcorr add-llm`, `pcorr remove-llm` and `pcorr register`.

Belongs here: asking, saying what was found, and calling in order what does the work. Does
not belong here: checks of an LLM (`lm.probe`), editing the file (`config.editing`), and
partitions (`defs.registration`, `defs.membership`).
"""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcorr_assets.config import Settings
from pcorr_assets.config.editing import Edit, NewLLM, add_llm, remove_llm, write_edit
from pcorr_assets.config.keys import split_hub_key
from pcorr_assets.defs.command.application import configured, is_terminal
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    import dagster as dg

    from pcorr_assets.lm.probe import Finding


class Dtype(StrEnum):
    """What an LLM may compute in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Overlong(StrEnum):
    """What becomes of chunks that are longer than the context."""

    ERROR = "error"
    NAN = "nan"
    WINDOW = "window"


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Look and report; change nothing.")]


def add_llm_command(
    name: Annotated[
        str | None, typer.Argument(help="org/name or org/name@revision, as on the hub.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Family: siblings share one. Default: the org, or the key's first part."),
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Default: what its family says, else auto.")
    ] = None,
    overlong: Annotated[
        Overlong | None, typer.Option(help="For chunks longer than its context.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="A local folder instead of the hub.")] = None,
    key: Annotated[str | None, typer.Option(help="The key of a local folder.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that comes with it.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load weights that can run code.")
    ] = False,
    no_load: Annotated[
        bool, typer.Option("--no-load", help="Do not download and try the weights here.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Check an LLM, say what it will cost, and put it on the list in pcorr.yaml.

    Checked are: that it is on the hub (or in the folder), which commit that is, that it is a causal
    language model, that its weights and code may be loaded, that the chunks fit its context, and,
    with a real forward pass, that it loads and gives a finite loss. Then one entry is written into
    pcorr.yaml, of which nothing else changes, and the partition is there at once. Scoring it is a
    backfill in the UI, or happens by itself where automation is on.

        pcorr add-llm EleutherAI/pythia-410m@step100000 --family pythia
        pcorr add-llm --path zoo/mine --key mine --family mine --dtype bfloat16

    Editing pcorr.yaml by hand, or adding the partition org/name in the UI, ends the same.
    """
    new = _new_llm(name, family, dtype, overlong, path, key, trust_remote_code, allow_pickle)
    settings = configured()
    assert settings.path is not None
    if new.key in settings.llm_specs:
        typer.echo(f"{new.key} is on the list already ({settings.path}); nothing changed")
        return
    edit = add_llm(settings.path, new)
    with tempfile.TemporaryDirectory(prefix="pcorr-add-llm-") as scratch:
        finding = _look(edit, Path(scratch))
        _report(finding, edit, settings)
        if dry_run:
            typer.echo("\nNothing was changed (--dry-run).")
            return
        _ask("Add it?" if no_load else "Download it, try it and add it?", yes)
        if no_load:
            typer.echo("warning: not loaded (--no-load), so it may still fail to load", err=True)
        else:
            typer.echo(f"It loads; loss of a few tokens: {_loss(finding):.3f} nats")
    write_edit(edit)
    typer.echo(f"Added to {edit.path}")
    register()


def _new_llm(
    name: str | None,
    family: str | None,
    dtype: Dtype | None,
    overlong: Overlong | None,
    path: Path | None,
    key: str | None,
    trust_remote_code: bool,
    allow_pickle: bool,
) -> NewLLM:
    if (name is None) == (path is None) or (path is None) != (key is None):
        raise typer.BadParameter("give org/name[@revision], or --path and --key of a local folder")
    wanted = name or key or ""
    if path is None:
        # As in pcorr.yaml, where the main revision may be written out.
        wanted = wanted.removesuffix("@main")
        if split_hub_key(wanted) is None:
            raise PcorrError(
                f"{wanted!r} is not the name of a hub LLM; expected org/name or org/name@revision, "
                "or --path and --key for a local folder"
            )
    return NewLLM(
        key=wanted,
        family=family or wanted.partition("/")[0],
        path=path,
        dtype=dtype.value if dtype else None,
        overlong=overlong.value if overlong else None,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )


def _look(edit: Edit, scratch: Path) -> Finding:
    from pcorr_assets.lm.probe import look_at
    from pcorr_assets.warehouse import Warehouse

    samples = edit.settings.written_samples
    chunk_tokens = {key: sample.chunk_tokens for key, sample in samples.items() if sample.is_text}
    return look_at(edit.spec, Warehouse(edit.settings.home), chunk_tokens, scratch)


def _loss(finding: Finding) -> float:
    from transformers.utils import logging as transformers_logging

    from pcorr_assets.lm.probe import try_out

    transformers_logging.disable_progress_bar()
    return try_out(finding)


def _report(finding: Finding, edit: Edit, settings: Settings) -> None:
    spec = edit.spec
    context = finding.context_length
    lines = {
        "LLM": f"{spec.key}, family {spec.family}",
        "commit" if spec.path is None else "content": finding.resolved.commit_sha,
        "model": f"{finding.architecture}, {finding.parameter_count:,} parameters",
        "context": f"{context} tokens" if context else "no limit",
        "memory": f"{_size(finding.weight_bytes)} of weights in {finding.dtype}",
        "download": "unknown" if finding.download_bytes is None else _size(finding.download_bytes),
    }
    for sample in finding.samples:
        exact = "" if sample.looked_at == sample.chunk_count else "about "
        lines[f"sample {sample.sample}"] = (
            f"{sample.chunk_count:,} chunks, {exact}{sample.token_count:,} tokens, "
            f"the longest {sample.longest}"
        )
    if finding.samples:
        lines["to score"] = _time(finding, settings)
    width = max(map(len, lines))
    for what, text in lines.items():
        typer.echo(f"  {what:{width}}  {text}")
    for warning in (*finding.warnings, *_siblings(edit, settings)):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo("\n" + edit.difference(), nl=False)


def _time(finding: Finding, settings: Settings) -> str:
    from pcorr_assets.defs.costs import measured_llms
    from pcorr_assets.lm.probe import seconds_to_score
    from pcorr_assets.warehouse import Warehouse

    work = f"{finding.operations:.2g} operations"
    measured = measured_llms(Warehouse(settings.home, with_database=False))
    seconds = seconds_to_score(finding, measured)
    if seconds is None:
        return f"{work}; no LLM was scored yet that a time could be told from"
    span = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    span = span if seconds < 7200 else f"{seconds / 3600:.1f} h"
    return f"about {span}, as {len(measured)} LLM(s) took here ({work}); evaluation not included"


def _siblings(edit: Edit, settings: Settings) -> list[str]:
    """LLMs of the same org under other families: splits of the validation go by family."""
    org = (edit.spec.name or "").partition("/")[0]
    others = {
        spec.family
        for spec in settings.llm_specs.values()
        if spec.name and spec.name.partition("/")[0] == org and spec.family != edit.spec.family
    }
    if not others:
        return []
    return [
        f"other LLMs of {org} are under {', '.join(sorted(others))}: if it is their sibling, give "
        f"it their family (--family {min(others)}), so that no split separates them"
    ]


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not is_terminal():
        raise typer.BadParameter("there is nobody to ask here; give --yes or --dry-run")
    typer.confirm(question, abort=True, err=True)


def remove_llm_command(
    key: Annotated[str, typer.Argument(help="The key, as in pcorr.yaml or the UI.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if a backfill in progress fails by it.")
    ] = False,
) -> None:
    """Take an LLM off the list in pcorr.yaml and take its partition away.

    Its files stay, but are in no matrix that is built from now on (`matrix_coverage` says
    `removed`); so is what a run of it that is going on will still write. `pcorr clean` moves the
    files away; adding the LLM again brings it back, with all that was scored.
    """
    settings = configured()
    assert settings.path is not None
    from pcorr_assets.defs.membership import runs_in_flight, unregister_llm
    from pcorr_assets.defs.partitions import LLM

    with open_instance(settings) as instance:
        listed = key in settings.llm_specs
        if not listed and key not in instance.get_dynamic_partitions(LLM):
            raise PcorrError(f"{key} is neither in {settings.path} nor registered; nothing to do")
        edit = remove_llm(settings.path, key) if listed else None
        typer.echo(
            edit.difference() if edit else f"{key} is registered, but not in the file", nl=True
        )
        for run in runs_in_flight(instance, key):
            typer.echo(
                f"warning: run {run} of it goes on; what it writes stays out of the matrix, and it "
                "ends as failed, for want of the partition. Terminate it in the UI if it is not "
                "to finish.",
                err=True,
            )
        _refuse_backfills(instance, settings, key, force)
        if dry_run:
            typer.echo("Nothing was changed (--dry-run).")
            return
        _ask("Remove it?", yes)
        # The file first: the sensor adds what the file lists.
        if edit:
            write_edit(edit)
        unregister_llm(instance, key)
    typer.echo(
        f"Removed {key}. Its files stay until `pcorr clean --yes` moves them away. Matrices and "
        "estimates are without it once bpb_matrix and what follows are materialised again."
    )


def _refuse_backfills(
    instance: dg.DagsterInstance, settings: Settings, key: str, force: bool
) -> None:
    from pcorr_assets.defs.build import build_definitions
    from pcorr_assets.defs.membership import backfills_in_progress

    graph = build_definitions(settings).resolve_asset_graph()
    for backfill in backfills_in_progress(instance, graph, key):
        said = (
            f"Backfill {backfill} is in progress and was asked for {key}: without its partition "
            "Dagster gives up the whole backfill, for the other LLMs too."
        )
        if not force:
            raise PcorrError(
                f"{said} Wait for it or cancel it in the UI (runs that were launched go on); or "
                "give --force. Nothing was changed."
            )
        typer.echo(f"warning: {said}", err=True)


def register() -> None:
    """Add the LLMs of pcorr.yaml, and groups of the files of its pools, as partitions, now.

    The sensors of the UI do the same every half minute (but for pools of hub datasets). It only
    adds; `pcorr remove-llm` takes away.
    """
    settings = configured()
    from pcorr_assets.defs.registration import register_llms, register_pool_groups

    with open_instance(settings) as instance:
        for what, new in (
            ("LLMs", register_llms(instance, settings)),
            ("groups of pools", register_pool_groups(instance, settings)),
        ):
            typer.echo(f"{len(new)} new {what}{': ' if new else ''}{', '.join(new)}")
