"""Which partitions a job is to make: what is due, has its inputs, and nobody is making.

Belongs here: the choice, from the states of partitions and from what each partition needs.
Does not belong here: finding out the states (`partition_status`) and launching (`jobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import dagster as dg

from pcorr_assets.defs.partition_status import PartitionState, State, partition_states
from pcorr_assets.defs.partitions import LLM, POOL, POOL_GROUP, SAMPLE, TARGET
from pcorr_assets.defs.platform import Platform
from pcorr_assets.filters.groups import pool_of
from pcorr_assets.matrix.errors import OWN_SOURCE

Part: TypeAlias = tuple[str, str | None]
"""An asset and one of its partitions; None for an asset without partitions."""

OF_MATRIX_AND_ERRORS = ("estimate", "rank_prediction", "sensitivity", "next_llms")
OUT_OF_DATE: frozenset[State] = frozenset({"missing", "failed", "stale"})


@dataclass(frozen=True)
class Needs:
    """What a partition is made from: `every` part, at least one of `some`, `optional` ones."""

    every: Collection[Part] = ()
    some: Collection[Part] = ()
    optional: Collection[Part] = ()

    @property
    def parts(self) -> Iterable[Part]:
        """All of them."""
        return (*self.every, *self.some, *self.optional)


@dataclass(frozen=True)
class Plan:
    """Partitions to make by asset, in the order of the graph, and why others are not.

    `in_progress` and `without_inputs` name partitions that are due: someone is making the
    former (or what they are made from), the latter cannot be made yet.
    """

    partitions: Mapping[str, Sequence[str | None]]
    in_progress: Sequence[str] = ()
    without_inputs: Sequence[str] = ()

    @property
    def count(self) -> int:
        """How many partitions are to be made."""
        return sum(len(found) for found in self.partitions.values())


@dataclass
class Planner:
    """Plans for the instance as it is when the planner is made.

    `busy` are parts that a backfill has been asked for and has not come to yet; runs in
    progress are found without it.
    """

    platform: Platform
    instance: dg.DagsterInstance
    graph: Any
    busy: Collection[Part] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        self._keys = cache(self._materialised_keys)
        self._llms = list(self.instance.get_dynamic_partitions(LLM))
        self._groups = list(self.instance.get_dynamic_partitions(POOL_GROUP))

    def plan(
        self,
        assets: Sequence[str],
        due: Collection[State],
        selected: Callable[[Mapping[str, str]], bool] = lambda _: True,
    ) -> Plan:
        """Partitions of `assets` in a `due` state, and those that follow from them.

        Args:
            assets: names; those that the definitions do not have are passed over.
            due: states that are reason enough to make a partition.
            selected: whether a partition, `{dimension: key}`, is asked for.
        """
        chosen: dict[Part, None] = {}
        making = set(self.busy)
        in_progress: list[str] = []
        without_inputs: list[str] = []
        known = {key.to_user_string() for key in self.graph.get_all_asset_keys()}
        asked_for = set(assets) & known
        looked_at = asked_for | self._above(asked_for)
        for found in partition_states(self.instance, self.graph, looked_at):
            part, keys = (found.asset, found.partition), self._dimensions(found)
            if found.state == "in progress":
                making.add(part)
            if found.asset not in asked_for or not selected(keys):
                continue
            name = " ".join(text for text in part if text is not None)
            needs = self._needs(found.asset, keys, chosen)
            follows = any(need in chosen for need in needs.parts)
            if part in making:
                in_progress.append(name)
            elif found.state not in due and not follows:
                continue
            elif not making.isdisjoint(needs.every):
                in_progress.append(f"{name} (what it is made from)")
                making.add(part)
            elif reason := self._lacks(needs, chosen) or self._lacks_errors(part[0], keys, chosen):
                without_inputs.append(f"{name}: {reason}")
            else:
                chosen[part] = None
        partitions: dict[str, list[str | None]] = {}
        for asset, partition in chosen:
            partitions.setdefault(asset, []).append(partition)
        return Plan(partitions, in_progress, without_inputs)

    def _above(self, assets: Iterable[str]) -> set[str]:
        """What these are made from: who is in progress there is waited for as well."""
        parents = {key for name in assets for key in self.graph.get(dg.AssetKey(name)).parent_keys}
        there = parents & self.graph.materializable_asset_keys
        return {key.to_user_string() for key in there}

    def _dimensions(self, found: PartitionState) -> dict[str, str]:
        definition = self.graph.get(dg.AssetKey(found.asset)).partitions_def
        if found.partition is None:
            return {}
        if isinstance(definition, dg.MultiPartitionsDefinition):
            keys = definition.get_partition_key_from_str(found.partition).keys_by_dimension
            return dict(keys)
        if isinstance(definition, dg.DynamicPartitionsDefinition) and definition.name:
            return {definition.name: found.partition}
        return {TARGET if found.asset == "error_vector" else SAMPLE: found.partition}

    def _needs(self, asset: str, keys: Mapping[str, str], chosen: Collection[Part]) -> Needs:
        sample, target = keys.get(SAMPLE, ""), keys.get(TARGET, "")
        pair = f"{sample}|{target}"
        settings = self.platform.settings
        match asset:
            case "chunk_bpb":
                return Needs(every=[("chunked_dataset", sample)])
            case "bpb_matrix" if sample in settings.text_samples:
                scores = [("chunk_bpb", f"{llm}|{sample}") for llm in self._llms]
                return Needs(every=[("chunked_dataset", sample)], some=scores)
            case "error_vector":
                imports = [("bpb_matrix", imported) for imported in settings.imported_samples]
                return Needs(some=[*(("benchmark_errors", llm) for llm in self._llms), *imports])
            case name if name in OF_MATRIX_AND_ERRORS:
                return Needs(every=[("bpb_matrix", sample), ("error_vector", target)])
            case "sampling_distribution":
                return Needs(every=[("estimate", pair)])
            case "fasttext_filter":
                made_from = ("sampling_distribution", "rank_prediction")
                upstream = [(name, pair) for name in made_from]
                return Needs(every=[*upstream, ("chunked_dataset", sample)])
            case "pool_scores":
                group = keys[POOL_GROUP]
                pool = settings.pools.get(pool_of(group))
                of = pool.sample if pool is not None else ""
                filters = [("fasttext_filter", f"{of}|{one}") for one in settings.targets]
                return Needs(every=[("pool_files", group)], some=filters)
            case "selected_data":
                own = [key for key in self._groups if pool_of(key) == keys[POOL]]
                return Needs(every=[("pool_scores", key) for key in own])
            case "report":
                made_from = ("estimate", "rank_prediction", "sampling_distribution")
                beside = ("sensitivity", "next_llms", "fasttext_filter")
                upstream = [(name, pair) for name in made_from]
                return Needs(every=upstream, optional=[(name, pair) for name in beside])
            case "exported_database":
                return Needs(optional=list(chosen))
        return Needs()

    def _lacks(self, needs: Needs, chosen: Collection[Part]) -> str:
        """The input that is neither there nor about to be made; an empty text if none is."""

        def there(part: Part) -> bool:
            return part in chosen or part[1] in self._keys(part[0])

        for asset, partition in needs.every:
            if not there((asset, partition)):
                return f"{asset} {partition or ''} is not materialised"
        if needs.some and not any(there(part) for part in needs.some):
            return f"no partition of {next(iter(needs.some))[0]} is materialised"
        return ""

    def _lacks_errors(self, asset: str, keys: Mapping[str, str], chosen: Collection[Part]) -> str:
        """Why a sample can have no estimate for a target: its error vector has other sources."""
        if asset not in OF_MATRIX_AND_ERRORS:
            return ""
        sample, target, wh = keys[SAMPLE], keys[TARGET], self.platform.warehouse
        if ("error_vector", target) in chosen or not wh.exists("error_vectors", target):
            return ""
        source = sample if sample in self.platform.settings.imported_samples else OWN_SOURCE
        sources = wh.read("error_vectors", target, columns=["source"])["source"].unique()
        return "" if source in sources.to_pylist() else f"target {target} has no errors of {source}"

    def _materialised_keys(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))
