"""The part of docs/studies.md about pilots.

Belongs here: tables of the outcomes. Does not belong here: making them (`pilots`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from scripts.studies.pilots import NAMES, PAGE_SDS, PAGES, PILOTS

TEXT = """## Pilots

What a pilot predicts of the selection of all pages
([how](correlation.md#what-a-pilot-leaves-open)), in the worlds above, with {pages} pages a domain:
on top of the domain's BPB each page has, for each LLM, a normal number of the standard deviation
that the table states (LLMs differ by .05 at a topic, and by .02 at a domain), and one of .1 for all
LLMs. Written by `python -m scripts.studies.pilots` (a quarter of an hour) from {worlds} worlds
each. Expected overlap / actual overlap, and in brackets the share of worlds whose actual overlap is
within what 9 of 10 draws say.

| worlds | page SD | {heads} |
|---|---:|{rules}|
{rows}
"""


def section(folder: Path) -> str:
    """The section, from the outcomes in a folder; an empty text where there are none."""
    found: dict[tuple[str, float, int], list[dict[str, float]]] = defaultdict(list)
    for name in NAMES:
        path = folder / f"pilots_{name.replace(' ', '_')}.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            one = json.loads(line)
            found[name, one["page_sd"], one["pilot"]].append(one)
    if not found:
        return ""
    rows = [
        f"| {name} | {page_sd} | "
        + " | ".join(_cell(found[name, page_sd, pilot]) for pilot in PILOTS)
        + " |"
        for name in NAMES
        for page_sd in PAGE_SDS
        if (name, page_sd, PILOTS[0]) in found
    ]
    return TEXT.format(
        pages=PAGES,
        worlds=max(map(len, found.values())),
        heads=" | ".join(f"{pilot} of {PAGES}" for pilot in PILOTS),
        rules="|".join("---:" for _ in PILOTS),
        rows="\n".join(rows),
    )


def _cell(outcomes: list[dict[str, float]]) -> str:
    predicted, actual = (
        np.mean([one[name] for one in outcomes]) for name in ("predicted", "actual")
    )
    within = np.mean([one["low"] <= one["actual"] <= one["high"] for one in outcomes])
    return f"{predicted:.2f} / {actual:.2f} ({within:.0%})"
