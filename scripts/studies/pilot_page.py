"""The part of docs/studies.md about pilots.

Belongs here: tables of the outcomes. Does not belong here: making them (`pilots`).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from pcorr_assets.steps.pilots import ENOUGH
from scripts.studies.pilot_texts import PILOTS_OF_A_SHARE, SHARES
from scripts.studies.pilots import NAMES, PAGE_SDS, PAGES, PILOTS

TEXT = """## Pilots

What a pilot predicts of the selection of all pages
([how](correlation.md#what-a-pilot-leaves-open)), in the worlds above, with {pages} pages a domain:
on top of the domain's BPB each page has, for each LLM, a normal number of the standard deviation
that the table states (LLMs differ by .05 at a topic, and by .02 at a domain), and one of .1 for all
LLMs. Written by `python -m scripts.studies.pilots` (a quarter of an hour) from {worlds} worlds
(of the last kind {fewer}) each. Expected overlap / actual overlap, and in brackets the share of
worlds whose actual overlap is within what 9 of 10 draws say.

| worlds | page SD | {heads} |
|---|---:|{rules}|
{rows}
"""


TEXTS = """### Of real text

Pilots of pages that are all scored, {pilots} drawn for each share: actual overlap with the
selection of all pages (told from the pilot alone). The least share whose selection agrees at 95 %
is the first with .95 or more. Written by `python -m scripts.studies.pilot_texts`, which says what
the LLMs are here: byte models of mixtures of languages, for Debian's manual pages in eleven
languages, and the 16 tiny LLMs of the demo world of seed 0, for its generated text, where the
errors are those on the benchmarks of the targets. A dash: no domain has two pages in the pilot.
With 10 pages a domain, the demo world needs 60 or 80 % of them. Manual pages need 5 to 70 %, by
language and by draw of who reads what: no share suffices everywhere, and what a pilot tells of
itself is what to go by.

| world | target | LLMs, units, pages | {heads} | least share |
|---|---|---|{rules}|---:|
{rows}
"""


def section(folder: Path) -> str:
    """All of it, from the outcomes in a folder; an empty text where there are none."""
    return "\n".join(text for text in (_of_worlds(folder), _of_texts(folder)) if text)


def _of_texts(folder: Path) -> str:
    found: dict[tuple[str, str], dict[float, dict[str, float]]] = defaultdict(dict)
    for path in sorted(folder.glob("pilot_texts_*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            found[one["world"], one["target"]][one["share"]] = one
    rows = []
    for (world, target), by_share in found.items():
        cells = [f"{one['actual']:.2f} ({_told(one['predicted'])})" for one in by_share.values()]
        enough = [share for share, one in by_share.items() if one["actual"] >= ENOUGH]
        any_one = next(iter(by_share.values()))
        size = f"{any_one['llms']}, {any_one['units']}, {any_one['pages']:,}"
        least = f"{min(enough):.0%}" if enough else "more"
        rows.append(f"| {world} | {target} | {size} | {' | '.join(cells)} | {least} |")
    if not rows:
        return ""
    return TEXTS.format(
        pilots=PILOTS_OF_A_SHARE,
        heads=" | ".join(f"{share:.0%}" for share in SHARES),
        rules="|".join("---:" for _ in SHARES),
        rows="\n".join(rows),
    )


def _told(overlap: float) -> str:
    return "-" if math.isnan(overlap) else f"{overlap:.2f}"


def _of_worlds(folder: Path) -> str:
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
        worlds=len(found[NAMES[0], PAGE_SDS[0], PILOTS[0]]),
        fewer=len(found[NAMES[-1], PAGE_SDS[0], PILOTS[0]]),
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
