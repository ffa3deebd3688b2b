"""In which order the parts of a plan are made, and which of them go together in one run.

Belongs here: who waits for whom, from Dagster's own dependencies. Does not belong here:
choosing the parts (`defs.plans`), and making them (`runner`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import dagster as dg
from dagster._core.definitions.backfill_policy import BackfillPolicyType

from pcorr_assets.defs.partitions import SAMPLE
from pcorr_assets.defs.plans import Part, Planner


class Schedule:
    """The parts of a plan that are not settled yet, each with those that it waits for.

    A part is settled when nothing more becomes of it now: it is made, failed, not needed, or
    cannot be made. It waits for all parts of the plan that Dagster counts as upstream of it:
    made before one of them, it would be stale at once.
    """

    def __init__(self, planner: Planner, parts: Iterable[Part]) -> None:
        self._order = {part: place for place, part in enumerate(parts)}
        self._waits: dict[Part, set[Part]] = {}
        self._followers: dict[Part, list[Part]] = {}
        with dg.partition_loading_context(dynamic_partitions_store=planner.instance):
            for part in self._order:
                self._waits[part] = _upstream(planner, part, self._order)
        for part, upstream in self._waits.items():
            for one in upstream:
                self._followers.setdefault(one, []).append(part)

    @property
    def left(self) -> int:
        """How many parts are not settled."""
        return len(self._waits)

    def ready(self) -> dict[str, list[Part]]:
        """What waits for nothing, by asset in the order of the graph."""
        found = [part for part, upstream in self._waits.items() if not upstream]
        found.sort(key=self._order.__getitem__)
        return {asset: list(parts) for asset, parts in groupby(found, key=lambda part: part[0])}

    def settle(self, part: Part) -> None:
        """Let those begin that waited for this part only."""
        if self._waits.pop(part, None) is not None:
            for follower in self._followers.pop(part, ()):
                self._waits.get(follower, set()).discard(part)


def _upstream(planner: Planner, part: Part, chosen: dict[Part, int]) -> set[Part]:
    graph, (asset, partition) = planner.graph, part
    key = dg.AssetKey(asset)
    needs = planner.needs(part, chosen)
    found = {need for need in (*needs.parts, *needs.first) if need in chosen}
    for parent in graph.get(key).parent_keys:
        name = parent.to_user_string()
        if graph.get(parent).partitions_def is None:
            found |= {(name, None)} & chosen.keys()
        elif graph.get(key).partitions_def is None:
            found |= {other for other in chosen if other[0] == name}
        else:
            mapped = graph.get_parent_partition_keys_for_child(partition, parent, key)
            keys = mapped.partitions_subset.get_partition_keys()
            found |= {(name, other) for other in keys} & chosen.keys()
    return found - {part}


def in_one_run(graph: Any, parts: Sequence[Part], processes: int) -> Iterator[list[Part]]:
    """The ready parts of one asset, those together that one run can make.

    An asset with the policy `single_run` reads what its partitions share once for all of them:
    neighbours of one sample go together, in as many runs as there are processes.
    """
    node = graph.get(dg.AssetKey(parts[0][0]))
    policy, definition = node.backfill_policy, node.partitions_def
    together = policy is not None and policy.policy_type is BackfillPolicyType.SINGLE_RUN
    if not together or not isinstance(definition, dg.MultiPartitionsDefinition):
        yield from ([part] for part in parts)
        return
    at_most = math.ceil(len(parts) / processes)
    places: dict[str, int] = {
        key: place for place, key in enumerate(definition.get_partition_keys())
    }
    run: list[Part] = []
    for part in sorted(parts, key=lambda part: places[_key(part)]):
        if run and not (
            len(run) < at_most
            and places[_key(part)] == places[_key(run[-1])] + 1
            and _sample(definition, part) == _sample(definition, run[-1])
        ):
            yield run
            run = []
        run.append(part)
    yield run


def _key(part: Part) -> str:
    assert part[1] is not None
    return part[1]


def _sample(definition: dg.MultiPartitionsDefinition, part: Part) -> str:
    return definition.get_partition_key_from_str(_key(part)).keys_by_dimension[SAMPLE]
