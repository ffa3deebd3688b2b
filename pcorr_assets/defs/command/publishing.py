"""`pcorr publish`: a filter, a selection or a matrix pushed to the hub, with its card.

Belongs here: what is asked for, whether it is fit to be given away, and saying what went
where. Does not belong here: which files go (`cards.publications`) and pushing (`cards.hub`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pcorr_assets.config import Settings
from pcorr_assets.defs.command.application import configured
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    from pcorr_assets.cards.publications import Publication, RepoType


class Kind(StrEnum):
    """What can be published."""

    FILTER = "filter"
    SELECTION = "selection"
    MATRIX = "matrix"


def publish(
    kind: Annotated[Kind, typer.Argument(help="What to publish.", show_default=False)],
    repo: Annotated[str, typer.Argument(help="organisation/name on the hub.", show_default=False)],
    target: Annotated[
        str | None, typer.Option(help="Of a filter or selection: the target, if there are several.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Of a selection: the pool, if there are several.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Of a filter or matrix: the sample, if there are several.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private, and not public.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would go; the hub is not asked.")
    ] = False,
    even_so: Annotated[
        bool, typer.Option("--even-so", help="Whatever speaks against it: stale, no-go, ...")
    ] = False,
) -> None:
    """Push a filter, a selection or a matrix to the hub, with a card made from the tables.

    A filter goes to a model repository, selected documents and a matrix (in the published wide
    format) to a data set repository, in one commit. The login is huggingface_hub's own (`hf auth
    login`, or HF_TOKEN). What is stale, not validated or a no-go stays at home unless --even-so,
    and so does what would go into a repository of something else.

        pcorr publish filter my-org/filter-german --target german --dry-run
        pcorr publish selection my-org/german --pool crawl --target german --private
        pcorr publish matrix my-org/bpb --sample rpjv2
    """
    settings = configured()
    keys = _keys(settings, kind, target, pool, sample)
    objections = [*_stale(settings, kind, keys)]
    repo_type: RepoType = "model" if kind is Kind.FILTER else "dataset"
    if dry_run:
        with _publication(settings, kind, keys, repo, ()) as found:
            _list(found, repo)
            for sentence in (*objections, *found.objections):
                typer.echo(f"would be refused without --even-so: {sentence}", err=True)
        return
    from pcorr_assets.cards.hub import look_at, push

    there = look_at(repo, repo_type)
    earlier = [there.card] if there.card is not None else []
    with _publication(settings, kind, keys, repo, earlier) as found:
        objections += [*found.objections, *there.objections(found)]
        for sentence in objections if even_so else ():
            typer.echo(f"warning: {sentence}", err=True)
        if objections and not even_so:
            raise PcorrError(
                f"{found.title} is not published: {'; '.join(objections)}. Mend that, or give "
                "--even-so"
            )
        if private and there.exists:
            typer.echo(f"note: {repo} is there already and stays as visible as it is", err=True)
        byte_count = sum(found.sizes.values())
        done = push(found, there, private=private)
    typer.echo(f"{done.url}: {done.file_count} files, {byte_count:,} bytes")
    for name in done.removed:
        typer.echo(f"removed there: {name}")
    typer.echo(done.commit_url)


def _list(found: Publication, repo: str) -> None:
    width = max(map(len, found.sizes))
    for name, size in found.sizes.items():
        typer.echo(f"{name:{width}}  {size:>15,}")
    total = sum(found.sizes.values())
    typer.echo(f"{len(found.sizes)} files, {total:,} bytes, to {found.repo_type} {repo}")


@contextmanager
def _publication(
    settings: Settings, kind: Kind, keys: Sequence[str], repo: str, earlier: Sequence[str]
) -> Iterator[Publication]:
    """What would go, for the length of the block: files of a matrix are made for it."""
    from pcorr_assets.cards import publications as p
    from pcorr_assets.steps.sharing import exports_folder, share_published
    from pcorr_assets.warehouse import Warehouse
    from pcorr_assets.warehouse.files import scratch_folder

    wh = Warehouse(settings.home)
    if kind is Kind.FILTER:
        yield p.filter_publication(wh, settings, keys[0], keys[1], repo, earlier)
    elif kind is Kind.SELECTION:
        yield p.selection_publication(wh, settings, keys[0], keys[1], earlier)
    else:
        with scratch_folder(exports_folder(settings), ".publish-") as scratch:
            shared = share_published(settings, keys[0], scratch / "files")
            yield p.matrix_publication(wh, settings, keys[0], shared.levels, earlier)


def _keys(
    settings: Settings, kind: Kind, target: str | None, pool: str | None, sample: str | None
) -> tuple[str, ...]:
    """The partition: sample and target, pool and target, or sample."""
    if pool is not None and kind is not Kind.SELECTION:
        raise typer.BadParameter("--pool belongs to a selection")
    if kind is Kind.MATRIX:
        if target is not None:
            raise typer.BadParameter("--target does not go with a matrix, which has all of them")
        return (_one(sample, list(settings.samples), "sample"),)
    wanted = _one(target, list(settings.targets), "target")
    if kind is Kind.FILTER:
        return _one(sample, list(settings.text_samples), "sample"), wanted
    if sample is not None:
        raise typer.BadParameter("--sample does not go with a selection: its pool has one")
    return _one(pool, list(settings.pools), "pool"), wanted


def _one(given: str | None, known: Sequence[str], kind: str) -> str:
    names = ", ".join(known) or "none"
    if given is None and len(known) == 1:
        return known[0]
    if given is None:
        raise PcorrError(f"Say which {kind} with --{kind} ({kind}s: {names})")
    if given not in known:
        raise PcorrError(f"{given!r} is no {kind} that this is about ({kind}s: {names})")
    return given


# What each is made from within its own sample and target, the thing itself first.
_CHAINS = {
    Kind.FILTER: ("fasttext_filter", "rank_prediction", "sampling_distribution", "estimate"),
    Kind.SELECTION: (
        "selected_data",
        "fasttext_filter",
        "rank_prediction",
        "sampling_distribution",
        "estimate",
    ),
    Kind.MATRIX: (),
}


def _stale(settings: Settings, kind: Kind, keys: Sequence[str]) -> Iterator[str]:
    """What is not as the configuration and the inputs of today would make it."""
    import dagster as dg

    from pcorr_assets.defs.build import build_definitions
    from pcorr_assets.defs.instance import open_instance
    from pcorr_assets.defs.partition_status import partition_states
    from pcorr_assets.defs.partitions import SAMPLE, TARGET, dimensions_of

    if kind is Kind.SELECTION:
        sample = settings.pools[keys[0]].sample
        about: dict[str, str] = {"sample": sample, "pool": keys[0], "target": keys[1]}
    else:
        about = dict(zip(("sample", "target"), keys, strict=False))
    names = [*_CHAINS[kind], "bpb_matrix", *(["error_vector"] if "target" in about else [])]
    definitions = build_definitions(settings)
    graph = definitions.resolve_asset_graph()
    with open_instance(settings) as instance:
        states = partition_states(instance, definitions, names, settings)
    order = {name: place for place, name in enumerate(names)}
    for one in sorted(states, key=lambda state: order[state.asset]):
        definition = graph.get(dg.AssetKey(one.asset)).partitions_def
        single = TARGET if one.asset == "error_vector" else SAMPLE
        of = dimensions_of(definition, one.partition, single)
        if any(about.get(name) != key for name, key in of.items()):
            continue
        if one.state != "materialised":
            reason = f" ({one.reason})" if one.reason else ""
            yield f"{one.asset} {one.partition} is {one.state}{reason}"
