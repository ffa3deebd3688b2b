"""Cleaning: what belongs to keys that are gone, listed and moved away.

Belongs here: which keys are in use (the file and the instance together), the group
partitions of pools that are gone, and the job `clean`. Does not belong here: files
(`warehouse.cleaning`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter
from pydantic import Field

from pcorr_assets.config import Settings
from pcorr_assets.defs.backfills import ACTIVE
from pcorr_assets.defs.metadata import sentences
from pcorr_assets.defs.partitions import LLM, POOL_GROUP
from pcorr_assets.defs.platform import Platform
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import groups_with
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.report.files import write_index
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.cleaning import (
    Cleaned,
    KnownKeys,
    Orphan,
    find_orphans,
    move_away,
)

# The partitions of pools before there were groups: one for each file.
OF_FILES = "shard"


@dataclass(frozen=True)
class Leftovers:
    """What cleaning is about.

    `orphans` are files of keys that are gone, `groups` the partitions (dimension and key) of
    groups whose pool or files are gone, and of single files, as an earlier version had them;
    `unlisted` the LLMs that are registered but not in the file (they stay: somebody may have
    added them in the UI), `notes` what could not be looked at.
    """

    orphans: list[Orphan]
    groups: list[tuple[str, str]]
    unlisted: list[str]
    notes: list[str]

    @property
    def of_llms(self) -> bool:
        """Are there files of LLMs among them?"""
        return any(orphan.why.startswith("llm ") for orphan in self.orphans)


def find_leftovers(instance: dg.DagsterInstance, settings: Settings) -> Leftovers:
    """Everything of samples, targets, pools, their groups and LLMs that are gone.

    An LLM is gone if neither the file lists it nor the instance has a partition for it.
    """
    groups: set[str] = set()
    notes: list[str] = []
    warehouse = Warehouse(settings.home)
    for name, pool in settings.pools.items():
        shards: set[str] | None = None
        if pool.dataset is None:
            try:
                shards = {shard.key for shard in list_shards(name, pool)}
            except PcorrError as error:
                notes.append(f"the groups of pool {name} are left alone: {error}")
        else:
            notes.append(
                f"the groups of pool {name} are left alone: it is a dataset, which cleaning does "
                "not download to list it"
            )
        groups |= set(groups_with(warehouse, name, shards))
    registered = list(instance.get_dynamic_partitions(LLM))
    known = KnownKeys(
        llms=frozenset([*settings.llm_specs, *registered]),
        samples=frozenset(settings.samples),
        text_samples=frozenset(settings.text_samples),
        targets=frozenset(settings.targets),
        pools=frozenset(settings.pools),
        pool_groups=frozenset(groups),
    )
    gone = [
        *((OF_FILES, key) for key in instance.get_dynamic_partitions(OF_FILES)),
        *(
            (POOL_GROUP, key)
            for key in instance.get_dynamic_partitions(POOL_GROUP)
            if key not in groups
        ),
    ]
    if gone and instance.get_backfills(filters=BulkActionsFilter(statuses=list(ACTIVE)), limit=1):
        # Dagster gives up a backfill as a whole when a partition of it is gone.
        notes.append(f"{len(gone)} partitions of pools stay while a backfill is in progress")
        gone = []
    return Leftovers(
        orphans=find_orphans(settings.home, known),
        groups=gone,
        unlisted=[key for key in registered if key not in settings.llm_specs],
        notes=notes,
    )


def clean_up(instance: dg.DagsterInstance, settings: Settings, leftovers: Leftovers) -> Cleaned:
    """Move the files away and take away the partitions of groups that are gone.

    Raises:
        PcorrError: a file could not be moved (see `move_away`); or the instance has no LLM,
            so that nothing tells those that were added in the UI from those that are gone.
    """
    if leftovers.of_llms and not instance.get_dynamic_partitions(LLM):
        raise PcorrError(
            "This Dagster instance has no LLM at all, so files of LLMs that were added in the UI "
            "of another would be taken for leftovers; nothing was moved. Is DAGSTER_HOME the "
            "right one? If it is, run `pcorr register` first."
        )
    for name, key in leftovers.groups:
        instance.delete_dynamic_partition(name, key)
    cleaned = move_away(settings.home, leftovers.orphans)
    if any(orphan.path.parts[0] == "reports" for orphan in cleaned.moved):
        write_index(settings.home)
    return cleaned


class CleanOptions(dg.Config):
    """What the job does beside listing."""

    move: bool = Field(
        default=False,
        description="Move the files to removed/<time>/ under the home, from where moving them "
        "back restores them. Off: only list them in the log and the metadata of the run.",
    )


def clean_job(platform: Platform) -> dg.JobDefinition:
    """The job `clean`, which does what `pcorr clean` does."""

    @dg.op(
        name="list_or_move",
        description="Lists the files of samples, targets, pools, their groups and LLMs that are "
        "gone, and with `move: true` moves them away.",
    )
    def list_or_move(context: dg.OpExecutionContext, config: CleanOptions) -> None:
        settings = platform.settings_now()
        leftovers = find_leftovers(context.instance, settings)
        lines = describe(leftovers)
        for line in lines:
            context.log.info(line)
        metadata = {
            "files": len(leftovers.orphans),
            "bytes": sum(orphan.byte_count for orphan in leftovers.orphans),
            "what": sentences(lines),
        }
        if config.move:
            cleaned = clean_up(context.instance, settings, leftovers)
            metadata |= {
                "moved": len(cleaned.moved),
                "to": dg.MetadataValue.path(str(cleaned.folder)),
                "left, because a run holds it": sentences([why for _, why in cleaned.held]),
            }
        context.add_output_metadata(metadata)

    @dg.job(
        name="clean",
        description="Files of samples, targets, pools, their groups and LLMs that are gone: "
        "listed, or with `move: true` in the launch pad moved to `removed` under the home. Never "
        "deleted.",
    )
    def job() -> None:
        list_or_move()

    return job


def describe(leftovers: Leftovers) -> list[str]:
    """A line for each file, with why it is one of them; then what stays, and why."""
    orphans = [
        f"{orphan.path}  ({orphan.why} is gone, {orphan.byte_count:,} bytes)"
        for orphan in leftovers.orphans
    ]
    return [
        *orphans,
        *(
            f"partition {key} of `{name}`  (its pool, or all of its files, are gone)"
            if name == POOL_GROUP
            else f"partition {key} of `{name}`  (of an earlier version: groups have its place)"
            for name, key in leftovers.groups
        ),
        *_staying(leftovers.unlisted),
        *leftovers.notes,
    ]


def _staying(unlisted: Iterable[str]) -> list[str]:
    return [
        f"{key} stays: it has a partition, though pcorr.yaml does not list it; to remove it: "
        f"pcorr remove-llm {key}"
        for key in unlisted
    ]
