"""What a `pcorr run` is asked for, and preparing the instance for it.

Belongs here: names and limits of a request, checked, and registering what the file lists. Does
not belong here: the command line (`defs.command`), and making anything (`runner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.config.section import did_you_mean
from pcorr_assets.defs.partitions import LLM
from pcorr_assets.defs.plans import Keep, asked_for
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets.errors import PcorrError

SCORES = ("chunk_bpb", "benchmark_errors")
# What one sends to others, and a look at partitions: made where somebody names it.
ONLY_BY_NAME = ("exported_database", "published_export", "partition_overview")
OF_POOLS = ("pool_scores", "selected_data", "compared_selections")


@dataclass(frozen=True)
class Request:
    """What is to be made; empty lists name everything.

    `rescore_stale`: also LLMs that were scored or evaluated with other code or settings.
    """

    to: Sequence[str] = ()
    samples: Sequence[str] = ()
    targets: Sequence[str] = ()
    llms: Sequence[str] = ()
    pools: Sequence[str] = ()
    rescore_stale: bool = True

    def assets(self, graph: Any, settings: Settings) -> list[str]:
        """Names of all assets to look at: those asked for, and what they are made from.

        Without benchmarks no LLM can be evaluated.

        Raises:
            PcorrError: an asset that there is not, with the one that was probably meant.
        """
        keys = [key for key in graph.toposorted_asset_keys if graph.get(key).is_materializable]
        names = [key.to_user_string() for key in keys]
        for name in self.to:
            if name not in names:
                raise PcorrError(
                    f"{name!r} is not one of the assets; {did_you_mean(name, names, 'assets')}"
                )
        if not self.to:
            left_out = {*ONLY_BY_NAME, *(() if settings.benchmarks else SCORES[1:])}
            return [name for name in names if name not in left_out]
        wanted = {dg.AssetKey(name) for name in self.to}
        for key in reversed(keys):
            if key in wanted:
                wanted |= set(graph.get(key).parent_keys)
        return [name for name, key in zip(names, keys, strict=True) if key in wanted]

    def keep(self, settings: Settings, instance: dg.DagsterInstance) -> Keep:
        """Whether a partition is asked for.

        Raises:
            PcorrError: a key that there is not, with the one that was probably meant.
        """
        return asked_for(
            settings,
            samples=self.samples,
            targets=self.targets,
            llms=self.llms,
            pools=self.pools,
            registered=instance.get_dynamic_partitions(LLM),
        )

    @property
    def kept(self) -> Sequence[str]:
        """Assets that are left as they are once they are there."""
        return () if self.rescore_stale else SCORES


@dataclass
class Registered:
    """What was added to the instance; `troubles` say which pools could not be listed."""

    llms: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def register_all(
    instance: dg.DagsterInstance, settings: Settings, assets: Sequence[str]
) -> Registered:
    """Add LLMs and groups of pools as partitions, as the sensors do; pools where one is needed.

    A pool whose files cannot be listed does not keep the others from being made.
    """
    found = Registered(llms=register_llms(instance, settings))
    if not set(assets) & set(OF_POOLS):
        return found
    for name, pool in settings.pools.items():
        try:
            one = settings.model_copy(update={"pools": {name: pool}})
            found.groups += register_pool_groups(instance, one)
        except PcorrError as error:
            found.troubles.append(f"pool {name}: {' '.join(str(error).split())}")
    return found
