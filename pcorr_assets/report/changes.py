"""What changed since an earlier materialisation: units, LLMs, verdict, settings.

Belongs here: comparing the facts of a report with those kept in the table `changes`, its rows,
and the sentences. Does not belong here: reading facts (`reading`), and writing the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.report.facts import Facts
from pcorr_assets.report.formats import number, signed
from pcorr_assets.report.wording import shown
from pcorr_assets.warehouse import TABLES, Warehouse

TABLE = "changes"
KEPT = 10
NOW, IN, OUT, CHANGED = "now", "in", "out", "changed"
UNIT, LLM, VERDICT, SETTING = "unit", "llm", "verdict", "setting"
# So many names are listed in a sentence.
NAMED = 5

# (what, name) -> value; None for what has no value but that it is there.
State = dict[tuple[str, str], str | None]


@dataclass(frozen=True)
class Change:
    """What one materialisation changed: its number (from 1), its day, and a sentence."""

    number: int
    day: str
    sentence: str


@dataclass(frozen=True)
class History:
    """Rows of `changes`, and the last ten changes in words, the newest first.

    `is_new`: this materialisation is among them, since something is other than before.
    """

    table: pa.Table
    changes: tuple[Change, ...]
    is_new: bool


def history_of(wh: Warehouse, facts: Facts) -> History:
    """The table `changes` of a sample and target as it is with these facts.

    Equal facts give an equal table: what did not change is no materialisation of its own.

    Raises:
        PcorrError: the table that is there is damaged.
    """
    keys = (facts.sample, facts.target)
    rows = wh.read(TABLE, *keys).to_pylist() if wh.exists(TABLE, *keys) else []
    before: State = {
        (row["what"], row["name"]): row["after"] for row in rows if row["change"] == NOW
    }
    after = _state(wh, facts)
    changed = list(_differences(before, after)) if rows else []
    is_new = bool(changed) or not rows
    if is_new:
        newest = max((row["number"] for row in rows), default=0) + 1
        place = {"number": newest, "day": facts.provenance.date}
        kept = [r for r in rows if r["change"] != NOW and r["number"] > newest - KEPT]
        state = [
            {"what": what, "name": name, "change": NOW, "before": None, "after": value}
            for (what, name), value in after.items()
        ]
        own = {"sample": facts.sample, "target": facts.target}
        rows = [*kept, *({**own, **place, **row} for row in [*changed, *state])]
    table = pa.Table.from_pylist(rows, schema=TABLES[TABLE].schema)
    return History(table, changes_in(table), is_new)


def changes_in(table: pa.Table) -> tuple[Change, ...]:
    """The changes that a partition of `changes` holds, in words, the newest first."""
    by_number: dict[int, list[dict[str, Any]]] = {}
    selected = 0
    for row in table.to_pylist():
        members = by_number.setdefault(row["number"], [])
        if row["change"] == NOW:
            selected += row["what"] == UNIT
        else:
            members.append(row)
    days = dict(zip(table["number"].to_pylist(), table["day"].to_pylist(), strict=True))
    newest = max(by_number, default=0)
    found = []
    for place in sorted(by_number, reverse=True):
        of = f" of {selected:,} now" if place == newest else ""
        sentence = in_words(by_number[place], of) if by_number[place] else "The first one."
        found.append(Change(place, days[place], sentence))
    return tuple(found)


def in_words(rows: Sequence[Mapping[str, Any]], of: str = "") -> str:
    """The rows of one materialisation as a sentence; `of` follows the count of units."""
    parts = []
    units_in, units_out = _names(rows, UNIT, IN), _names(rows, UNIT, OUT)
    if units_in or units_out:
        parts.append(f"{len(units_in):,} units in, {len(units_out):,} out{of}")
    parts += [
        f"{name} {_value(row['before'])} -> {_value(row['after'])}"
        for row in rows
        if row["what"] == VERDICT and (name := row["name"])
    ]
    for change, words in ((IN, "LLMs added"), (OUT, "LLMs left out")):
        if names := _names(rows, LLM, change):
            more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            parts.append(f"{words}: {', '.join(map(shown, names[:NAMED]))}{more}")
    parts += [
        f"{row['name']}: {_value(row['before'])} -> {_value(row['after'])}"
        for row in rows
        if row["what"] == SETTING
    ]
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _state(wh: Warehouse, facts: Facts) -> State:
    state: State = {}
    keys = (facts.sample, facts.target)
    if wh.exists("sampling_distributions", *keys):
        rows = wh.read("sampling_distributions", *keys, columns=["unit", "included"])
        units = rows.filter(pc.field("included"))["unit"].to_pylist()
        state |= {(UNIT, unit): None for unit in sorted(units)}
    state |= {(LLM, llm.llm): None for llm in facts.llms if llm.used}
    verdict = facts.verdict
    state[VERDICT, "verdict"] = verdict.state
    for name in ("gain", "gain_low", "gain_high"):
        value = getattr(verdict, name)
        state[VERDICT, name] = None if value is None else signed(value)
    state[VERDICT, "p_value"] = None if verdict.p_value is None else number(verdict.p_value, 3)
    for heading, values in facts.provenance.settings.items():
        state |= {(SETTING, f"{heading}: {name}"): value for name, value in values.items()}
    return state


def _differences(before: State, after: State) -> Iterable[dict[str, Any]]:
    for what, name in [*after, *(key for key in before if key not in after)]:
        key = (what, name)
        old, new = before.get(key), after.get(key)
        if key in before and key in after and old == new:
            continue
        change = CHANGED
        if what in (UNIT, LLM):
            change = IN if key in after else OUT
        yield {"what": what, "name": name, "change": change, "before": old, "after": new}


def _names(rows: Sequence[Mapping[str, Any]], what: str, change: str) -> list[str]:
    return [row["name"] for row in rows if (row["what"], row["change"]) == (what, change)]


def _value(value: str | None) -> str:
    return "unset" if value is None else shown(value, 60)
