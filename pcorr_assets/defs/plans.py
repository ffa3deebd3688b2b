"""Which partitions are to be made: what is due, has its inputs, and nobody is making.

Belongs here: the choice, from the states of partitions and from what each partition needs.
Does not belong here: finding out the states (`partition_status`) and launching (`jobs`,
`running`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.config.section import did_you_mean
from pcorr_assets.defs.partition_status import PartitionState, State, partition_states
from pcorr_assets.defs.partitions import LLM, POOL, POOL_GROUP, SAMPLE, TARGET, dimensions_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import pool_of
from pcorr_assets.matrix.errors import OWN_SOURCE

Part: TypeAlias = tuple[str, str | None]
"""An asset and one of its partitions; None for an asset without partitions."""

OF_MATRIX_AND_ERRORS = ("estimate", "rank_prediction", "sensitivity", "next_llms")
OUT_OF_DATE: frozenset[State] = frozenset({"missing", "failed", "stale"})


@dataclass(frozen=True)
class Needs:
    """What a partition is made from: `every` part, at least one of `some`, `optional` ones.

    Those of `first` it is not made from: where they are to be made as well, they come before.
    """

    every: Collection[Part] = ()
    some: Collection[Part] = ()
    optional: Collection[Part] = ()
    first: Collection[Part] = ()

    @property
    def parts(self) -> Iterable[Part]:
        """All of them."""
        return (*self.every, *self.some, *self.optional)


# Assets with a partition for each target.
OF_TARGETS = ("error_vector", "benchmark_ngrams")
Keep = Callable[[Mapping[str, str]], bool]
"""Whether a partition, `{dimension: key}`, is asked for."""


@dataclass(frozen=True)
class Plan:
    """Parts to make, in the order of the graph, and why others are not.

    `making` says of each part in which state it was found. `in_progress` and `without_inputs`
    are due as well: someone is making the former (or what they are made from), the latter
    cannot be made yet, for the reason given. `not_applicable` can never be made: their target
    has no errors of the LLMs of their sample.
    """

    making: Mapping[Part, PartitionState]
    in_progress: Mapping[Part, str] = field(default_factory=dict)
    without_inputs: Mapping[Part, str] = field(default_factory=dict)
    not_applicable: Mapping[Part, str] = field(default_factory=dict)

    @property
    def partitions(self) -> dict[str, list[str | None]]:
        """Partitions to make by asset."""
        found: dict[str, list[str | None]] = {}
        for asset, partition in self.making:
            found.setdefault(asset, []).append(partition)
        return found

    @property
    def left_out(self) -> list[str]:
        """What cannot be made, each with its reason."""
        reasons = {**self.without_inputs, **self.not_applicable}
        return [f"{name_of(part)}: {reason}" for part, reason in reasons.items()]

    @property
    def count(self) -> int:
        """How many partitions are to be made."""
        return len(self.making)


def part_of(state: PartitionState) -> Part:
    """The part that a state is of."""
    return state.asset, state.partition


def _is_kept(found: PartitionState, kept: Collection[str]) -> bool:
    return found.has_data and found.asset in kept and found.state != "failed"


def name_of(part: Part) -> str:
    """An asset and its partition in words."""
    return " ".join(text for text in part if text is not None)


def asked_for(
    settings: Settings,
    *,
    samples: Sequence[str] = (),
    targets: Sequence[str] = (),
    llms: Sequence[str] = (),
    pools: Sequence[str] = (),
    registered: Sequence[str] = (),
    text_only: bool = False,
) -> Keep:
    """Whether a partition has the keys that somebody named; an empty list names all.

    Raises:
        PcorrError: a key that there is not, with the one that was probably meant.
    """
    known_samples = settings.text_samples if text_only else list(settings.samples)
    for given, known, what in (
        (samples, known_samples, "text samples" if text_only else "samples"),
        (targets, list(settings.targets), "targets"),
        (llms, list(registered), "registered LLMs"),
        (pools, list(settings.pools), "pools"),
    ):
        for key in given:
            if key not in known:
                hint = did_you_mean(key, known, what)
                raise PcorrError(f"{key!r} is not one of the {what}; {hint}")
    wanted = {SAMPLE: set(samples), TARGET: set(targets), LLM: set(llms), POOL: set(pools)}

    def keep(keys: Mapping[str, str]) -> bool:
        found = dict(keys)
        if POOL_GROUP in found:
            found[POOL] = pool_of(found[POOL_GROUP])
        if POOL in found and (pool := settings.pools.get(found[POOL])) is not None:
            found[SAMPLE] = pool.sample
        return all(not wanted.get(name) or key in wanted[name] for name, key in found.items())

    return keep


@dataclass
class Planner:
    """Plans for the instance as it is when the planner is made.

    `busy` are parts that a backfill has been asked for and has not come to yet; runs in
    progress are found without it. `given_up` are parts not to be made, each with the reason
    why what needs it cannot be made either. `not_applicable` is added to, and may be shared by
    planners.
    """

    platform: Platform
    instance: dg.DagsterInstance
    graph: Any
    busy: Collection[Part] = field(default_factory=frozenset)
    given_up: Mapping[Part, str] = field(default_factory=dict)
    not_applicable: set[Part] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._keys = cache(self._materialised_keys)
        self._llms = list(self.instance.get_dynamic_partitions(LLM))
        self._groups = list(self.instance.get_dynamic_partitions(POOL_GROUP))

    def plan(
        self,
        assets: Iterable[str],
        due: Collection[State],
        selected: Keep = lambda _: True,
        *,
        kept: Collection[str] = (),
        only: Collection[Part] | None = None,
    ) -> Plan:
        """Partitions of `assets` in a `due` state, and those that follow from them.

        Args:
            assets: names; those that the definitions do not have are passed over.
            due: states that are reason enough to make a partition.
            selected: whether a partition, `{dimension: key}`, is asked for.
            kept: assets whose partitions are left as they are once they are materialised.
            only: the parts to choose from; None: all of these assets.
        """
        chosen: dict[Part, PartitionState] = {}
        making = set(self.busy)
        in_progress: dict[Part, str] = {}
        without_inputs: dict[Part, str] = {}
        not_applicable: dict[Part, str] = {}
        known = {key.to_user_string() for key in self.graph.get_all_asset_keys()}
        wanted = set(assets) & known
        looked_at, settings = wanted | self._above(wanted), self.platform.settings
        for found in partition_states(self.instance, self.graph, looked_at, settings):
            part, keys = (found.asset, found.partition), self.dimensions(part_of(found))
            if found.state == "in progress":
                making.add(part)
            if found.asset not in wanted or part in self.given_up:
                continue
            if not (selected(keys) or self._holds_pilot(part, selected)):
                continue
            if only is not None and part not in only:
                continue
            needs = self.needs(part, chosen)
            follows = any(need in chosen for need in needs.parts)
            if part in making:
                in_progress[part] = name_of(part)
            elif not (found.state in due or follows) or _is_kept(found, kept):
                continue
            elif not making.isdisjoint(needs.every):
                in_progress[part] = f"{name_of(part)} (what it is made from)"
                making.add(part)
            elif reason := self._lacks_errors(part, keys, needs, chosen):
                self.not_applicable.add(part)
                not_applicable[part] = reason
            elif reason := self._lacks(needs, chosen):
                without_inputs[part] = reason
            else:
                chosen[part] = found
        return Plan(chosen, in_progress, without_inputs, not_applicable)

    def _pilot_of(self, sample: str) -> str | None:
        stated = self.platform.settings.samples.get(sample)
        return None if stated is None else stated.pilot_of

    def _holds_pilot(self, part: Part, selected: Keep) -> bool:
        """Whether these are chunks that a pilot is cut out of which is asked for."""
        pilot = self.platform.settings.pilot_of(part[1] or "")
        return part[0] == "chunked_dataset" and pilot is not None and selected({SAMPLE: pilot})

    def _above(self, assets: Iterable[str]) -> set[str]:
        """What these are made from: who is in progress there is waited for as well."""
        parents = {key for name in assets for key in self.graph.get(dg.AssetKey(name)).parent_keys}
        there = parents & self.graph.materializable_asset_keys
        return {key.to_user_string() for key in there}

    def dimensions(self, part: Part) -> dict[str, str]:
        """`{dimension: key}` of a part; empty for an asset without partitions."""
        asset, partition = part
        definition = self.graph.get(dg.AssetKey(asset)).partitions_def
        return dimensions_of(definition, partition, TARGET if asset in OF_TARGETS else SAMPLE)

    def needs(self, part: Part, chosen: Collection[Part] = ()) -> Needs:
        """What a part is made from; of the parts `chosen`, an export needs all."""
        asset, keys = part[0], self.dimensions(part)
        sample, target = keys.get(SAMPLE, ""), keys.get(TARGET, "")
        pair = f"{sample}|{target}"
        settings = self.platform.settings
        match asset:
            case "chunked_dataset" if (whole := self._pilot_of(sample)) is not None:
                return Needs(every=[(asset, whole)])
            case "chunk_bpb":
                pilot = settings.pilot_of(sample)
                pilots = [(asset, f"{llm}|{pilot}") for llm in self._llms if pilot is not None]
                return Needs(every=[("chunked_dataset", sample)], first=pilots)
            case "bpb_matrix" if sample in settings.text_samples:
                scores = [("chunk_bpb", f"{llm}|{sample}") for llm in self._llms]
                return Needs(every=[("chunked_dataset", sample)], some=scores)
            case "error_vector":
                imports = [("bpb_matrix", imported) for imported in settings.imported_samples]
                return Needs(some=[*(("benchmark_errors", llm) for llm in self._llms), *imports])
            case name if name in OF_MATRIX_AND_ERRORS:
                return Needs(every=[("bpb_matrix", sample), ("error_vector", target)])
            case "clean_estimate":
                return Needs(
                    every=[
                        ("estimate", pair),
                        ("chunked_dataset", sample),
                        ("benchmark_ngrams", target),
                    ]
                )
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
                searched = [("benchmark_ngrams", one) for one in settings.targets]
                return Needs(every=[("pool_files", group)], some=filters, optional=searched)
            case "selected_data" | "compared_selections":
                own = [key for key in self._groups if pool_of(key) == keys[POOL]]
                of = settings.pools[keys[POOL]].sample
                scores = [("pool_scores", key) for key in own]
                return Needs(
                    every=[("fasttext_filter", f"{of}|{target}"), *scores],
                    optional=[("benchmark_ngrams", target)],
                )
            case "report":
                made_from = ("estimate", "rank_prediction", "sampling_distribution")
                beside = ("sensitivity", "next_llms", "clean_estimate", "fasttext_filter")
                upstream = [(name, pair) for name in made_from]
                return Needs(every=upstream, optional=[(name, pair) for name in beside])
            case "comparison":
                made_from = ("rank_prediction", "sampling_distribution", "report")
                return Needs(
                    some=[("estimate", pair) for pair in self._pairs()],
                    optional=[part for part in chosen if part[0] in made_from],
                )
            case "exported_database":
                return Needs(optional=list(chosen))
        return Needs()

    def _pairs(self) -> list[str]:
        settings = self.platform.settings
        return [f"{sample}|{target}" for sample in settings.samples for target in settings.targets]

    def _lacks(self, needs: Needs, chosen: Collection[Part]) -> str:
        """The input that is neither there nor about to be made; an empty text if none is."""

        def there(part: Part) -> bool:
            return part in chosen or part[1] in self._keys(part[0])

        for part in needs.every:
            if part in self.given_up:
                return self.given_up[part]
            if not there(part):
                return f"{name_of(part)} is not materialised"
        if needs.some and not any(there(part) for part in needs.some):
            return f"no partition of {next(iter(needs.some))[0]} is materialised"
        return ""

    def _lacks_errors(
        self, part: Part, keys: Mapping[str, str], needs: Needs, chosen: Collection[Part]
    ) -> str:
        """Why a sample can have no estimate for a target: its error vector has other sources."""
        if missing := [need for need in needs.every if need in self.not_applicable]:
            return f"there is no {name_of(missing[0])}"
        if part[0] not in OF_MATRIX_AND_ERRORS:
            return ""
        sample, target, wh = keys[SAMPLE], keys[TARGET], self.platform.warehouse
        if ("error_vector", target) in chosen or not wh.exists("error_vectors", target):
            return ""
        source = sample if sample in self.platform.settings.imported_samples else OWN_SOURCE
        sources = wh.read("error_vectors", target, columns=["source"])["source"].unique()
        return "" if source in sources.to_pylist() else f"target {target} has no errors of {source}"

    def _materialised_keys(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))
