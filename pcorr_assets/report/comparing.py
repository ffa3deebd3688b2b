"""Selections of several targets beside each other: overlaps, common units, mixes.

Belongs here: which are compared at which level, from what was read of each. Does not belong
here: the definitions of overlap and mix (`stats.mixtures`), and pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.report.comparison_facts import (
    OverlapFacts,
    TradeFacts,
    WantedFacts,
    WantedUnit,
)
from pcorr_assets.report.snippets import pages_of_chunks
from pcorr_assets.report.wording import domain_link, page_link
from pcorr_assets.stats.mixtures import SparseWeights, mixes, overlaps
from pcorr_assets.stats.projection import linear
from pcorr_assets.text.token_counts import UNIT_COLUMNS
from pcorr_assets.warehouse import Warehouse

MAX_SELECTIONS = 60
MAX_WANTED = 200
MAX_TRADES = 6
# From fine to coarse: a finer unit lies in one of the coarser.
LEVELS = tuple(UNIT_COLUMNS)


@dataclass(frozen=True)
class Estimated:
    """What was read of a sample and target.

    `units` (D,) in the order of the tables, `estimate` (D,) of the estimator that counts,
    `others` (D,) by name of the estimator; `distribution` has D rows or is None.
    """

    sample: str
    target: str
    level: str
    estimator: str
    units: pa.Array
    estimate: np.ndarray
    distribution: pa.Table | None
    others: dict[str, np.ndarray]

    @property
    def group(self) -> tuple[str, str]:
        """Those of one sample and level have the same units."""
        return self.sample, self.level

    @property
    def tau(self) -> np.ndarray:
        """The caps (D,)."""
        assert self.distribution is not None
        return self.distribution["tau"].to_numpy()

    @property
    def weight(self) -> np.ndarray:
        """The sampling weights (D,)."""
        assert self.distribution is not None
        return self.distribution["weight"].to_numpy()


@dataclass(frozen=True)
class _Selection:
    name: str
    of: Estimated
    weight: np.ndarray


def overlap_of(
    wh: Warehouse, read: Sequence[Estimated], texts: Collection[str]
) -> OverlapFacts | None:
    """Overlaps of all selections, those that count first; None if there are not two.

    Of one text sample (`texts`) the finer level is summed up to the coarser by the table of
    chunks; of different samples, units of one level are the same if their names are.
    """
    found = [*_selections([one for one in read if one.distribution is not None])]
    kept = found[:MAX_SELECTIONS]
    if len(kept) < 2:
        return None
    shares = np.full((len(kept), len(kept)), np.nan)
    units = _Units(wh, texts)
    for level in dict.fromkeys([*LEVELS, *(one.of.level for one in kept)]):
        # Everything that can be looked at on this level; each pair on the coarser of its two.
        there = [
            (place, units.at(one, level))
            for place, one in enumerate(kept)
            if one.of.level == level or _needs(kept, one, level, texts)
        ]
        if not there:
            continue
        names = pa.concat_arrays([names for _, (names, _) in there]).dictionary_encode()
        codes, size = names.indices.to_numpy(), len(names.dictionary)
        ends = np.cumsum([0, *(len(own) for _, (own, _) in there)])
        sparse, members = [], []
        for index, (_, (_, weight)) in enumerate(there):
            own = codes[ends[index] : ends[index + 1]]
            positive = weight > 0
            sparse.append(SparseWeights(own[positive], weight[positive]))
            member = np.zeros(size, bool)
            member[own] = True
            members.append(member)
        common = overlaps(sparse, size)
        for a, b in product(range(len(there)), repeat=2):
            one, other = kept[there[a][0]].of, kept[there[b][0]].of
            if level not in (one.level, other.level):
                continue
            same = one.sample == other.sample
            if same or (one.level == other.level and (members[a] & members[b]).any()):
                shares[there[a][0], there[b][0]] = min(common[a, b], 1.0)
    return OverlapFacts(
        names=tuple(one.name for one in kept),
        levels=tuple(one.of.level for one in kept),
        shares=shares,
        left_out=len(found) - len(kept),
    )


def _needs(kept: Sequence[_Selection], one: _Selection, level: str, texts: Collection[str]) -> bool:
    """Whether a finer selection is to be looked at on a coarser level of its sample."""
    return (
        one.of.sample in texts
        and {one.of.level, level} <= set(LEVELS)
        and LEVELS.index(one.of.level) < LEVELS.index(level)
        and any(other.of.group == (one.of.sample, level) for other in kept)
    )


def _selections(read: Sequence[Estimated]) -> Iterator[_Selection]:
    for one in read:
        yield _Selection(f"{one.sample}|{one.target}", one, one.weight)
    for one in read:
        for estimator, estimate in one.others.items():
            name = f"{one.sample}|{one.target} by {estimator}"
            yield _Selection(name, one, linear(estimate, one.tau))


class _Units:
    """Weights by unit on the level that is asked for."""

    def __init__(self, wh: Warehouse, texts: Collection[str]) -> None:
        self._wh, self._texts = wh, texts
        self._coarser: dict[tuple[str, str, str], pa.Table] = {}

    def at(self, one: _Selection, level: str) -> tuple[pa.Array, np.ndarray]:
        """Names (D,) and weights (D,) of a selection on its own level or a coarser one."""
        if one.of.level == level:
            return one.of.units.cast(pa.string()), one.weight
        table = self._table(one.of.sample, one.of.level, level)
        places = _indices(one.of.units.cast(pa.string()), table["fine"].combine_chunks())
        coarse = table["coarse"].combine_chunks().take(places)
        # What belongs to no coarser unit (a page without a domain) is in none of them.
        summed = pa.table({"unit": coarse, "weight": one.weight}).drop_null()
        summed = summed.group_by("unit", use_threads=False).aggregate([("weight", "sum")])
        return summed["unit"].combine_chunks(), summed["weight_sum"].to_numpy()

    def _table(self, sample: str, fine: str, coarse: str) -> pa.Table:
        """The coarser unit of each finer one, by the chunks."""
        key = sample, fine, coarse
        if key not in self._coarser:
            names = [UNIT_COLUMNS[fine], UNIT_COLUMNS[coarse]]
            rows = self._wh.read("chunks", sample, columns=names)
            rows = pa.table({"fine": rows[names[0]], "coarse": rows[names[1]]})
            rows = rows.group_by(["fine", "coarse"], use_threads=False).aggregate([])
            self._coarser[key] = rows
        return self._coarser[key]


def _groups(read: Sequence[Estimated]) -> dict[tuple[str, str], list[Estimated]]:
    """Those with a distribution, by sample and level, in the order of both."""
    found: dict[tuple[str, str], list[Estimated]] = {}
    for one in read:
        if one.distribution is not None:
            found.setdefault(one.group, []).append(one)
    return found


def wanted_units(
    wh: Warehouse, read: Sequence[Estimated], texts: Collection[str]
) -> tuple[WantedFacts, ...]:
    """For each sample and level with at least two targets the units that two or more select."""
    found = []
    for (sample, _), members in _groups(read).items():
        if len(members) < 2:
            continue
        found.append(_wanted(wh, members, is_text=sample in texts))
    return tuple(found)


def _wanted(wh: Warehouse, members: Sequence[Estimated], *, is_text: bool) -> WantedFacts:
    included, weight = _aligned(members)
    counts, mean = included.sum(axis=0), weight.mean(axis=0)
    first = members[0]
    order = np.lexsort((np.arange(len(counts)), -mean, -counts))
    shared = order[counts[order] >= 2]
    chosen = shared[:MAX_WANTED].tolist()
    names: list[str] = [first.units[at].as_py() for at in chosen]
    of_chunks = first.level == "chunk" and is_text
    pages = pages_of_chunks(wh, first.sample, names) if of_chunks else {}
    units = []
    for unit, at in zip(names, chosen, strict=True):
        page = pages.get(unit)
        units.append(
            WantedUnit(
                unit=unit,
                page=page,
                link=domain_link(unit) if first.level == "domain" else page_link(page or unit),
                targets=tuple(
                    one.target for one, own in zip(members, included[:, at], strict=True) if own
                ),
                weight=float(mean[at]),
            )
        )
    targets = tuple(one.target for one in members)
    return WantedFacts(first.sample, first.level, targets, tuple(units), len(shared))


def _aligned(members: Sequence[Estimated]) -> tuple[np.ndarray, np.ndarray]:
    """`included` and `weight` (T, D) of targets of one sample and level, by its units."""
    first = members[0].units
    included, weight = [], []
    for one in members:
        assert one.distribution is not None
        flags = one.distribution["included"].to_numpy(zero_copy_only=False)
        places = _places(first, one)
        included.append(flags[places])
        weight.append(one.weight[places])
    return np.array(included), np.array(weight)


def _places(units: pa.Array, one: Estimated) -> np.ndarray | slice:
    """Where the units stand in another target's rows, of the same sample and level."""
    if one.units.equals(units):
        return slice(None)
    return _indices(units, one.units).to_numpy()


def _indices(names: pa.Array, among: pa.Array) -> pa.Array:
    """Where each name stands among others, NULL where it does not."""
    return pc.call_function("index_in", [names], pc.SetLookupOptions(among))


def trades(read: Sequence[Estimated]) -> tuple[TradeFacts, ...]:
    """The pairs of targets of one sample and level that have least in common, least first."""
    found = []
    for members in _groups(read).values():
        for a, b in combinations(members, 2):
            places = _places(a.units, b)
            common = float(np.minimum(a.weight, b.weight[places]).sum())
            found.append((common, a, b))
    found.sort(key=lambda pair: (pair[0], pair[1].group, pair[1].target, pair[2].target))
    return tuple(_trade(*pair) for pair in found[:MAX_TRADES])


def _trade(overlap: float, a: Estimated, b: Estimated) -> TradeFacts:
    places = _places(a.units, b)
    estimate, weight, tau = b.estimate[places], b.weight[places], b.tau[places]
    same = bool(np.allclose(a.tau, tau, rtol=1e-6))
    # The mean of two feasible vectors of caps is feasible.
    caps = a.tau if same else (a.tau + tau) / 2
    return TradeFacts(
        sample=a.sample,
        level=a.level,
        targets=(a.target, b.target),
        estimators=(a.estimator, b.estimator),
        overlap=min(overlap, 1.0),
        mixes=mixes(a.estimate, estimate, caps),
        own=(
            (float(a.weight @ a.estimate), float(a.weight @ estimate)),
            (float(weight @ a.estimate), float(weight @ estimate)),
        ),
        same_caps=same,
    )
