"""A pass over a group in this process, or spread over several.

Belongs here: which process reads which files, and what becomes of a process that dies. Does
not belong here: reading them (`passes`), and how many processes there are (the job).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pcorr_assets.filters.groups import PoolGroup
from pcorr_assets.filters.parts import Part, PartFolder, reached_by
from pcorr_assets.filters.passes import Pass, PassPlan, Work
from pcorr_assets.progress import Progress

if TYPE_CHECKING:
    from pcorr_assets.config import Pool
    from pcorr_assets.filters.scoring import Options


def run_pass(
    folder: PartFolder, group: PoolGroup, pool: Pool, plan: PassPlan, options: Options
) -> list[Part]:
    """Read what is not read yet of a group; returns all of its parts, in order.

    Raises:
        PcorrError: as `Pass.run`.
    """
    parts = folder.read()
    runs = list(_runs(group, parts))
    if runs:
        single = Pass(pool, plan, options.seconds_per_part)
        with Progress(f"read {group.key}", unit="documents") as progress:
            for run in runs:
                single.run(folder, parts, run, lambda documents, _: progress.update(documents))
        parts = folder.read()
    return parts


def _runs(group: PoolGroup, parts: Sequence[Part]) -> Iterator[list[Work]]:
    """Shards that are not finished, in runs that follow each other in the group."""
    reached = reached_by(parts)
    run: list[Work] = []
    for place, shard in enumerate(group.shards):
        known = reached.get(place)
        if known is not None and known.is_finished:
            if run:
                yield run
            run = []
        else:
            run.append(Work(place, shard, known.row_count if known is not None else 0))
    if run:
        yield run
