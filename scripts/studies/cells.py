"""The kinds of worlds that the study runs.

Belongs here: their names and numbers. Does not belong here: how a world is drawn.
"""

from __future__ import annotations

from scripts.studies.worlds import Cell

SIGMAS = (0.25, 0.75, 1.5)
# Multiples of ability at which error and mean BPB have a rank correlation of .95.
DOMINANT = {0.25: 3.7, 0.75: 4.4, 1.5: 6.2}

CELLS: dict[str, Cell] = {}
for _null in (False, True):
    _kind = "null" if _null else "signal"
    for _sigma in SIGMAS:
        for _llms, _families in ((16, 8), (30, 12), (90, 40)):
            CELLS[f"N{_llms} {_kind} {_sigma}"] = Cell(_llms, _families, _sigma, _null)
        CELLS[f"size {_kind} {_sigma}"] = Cell(60, 20, _sigma, _null, size=DOMINANT[_sigma])
    CELLS |= {
        f"heavy tails {_kind}": Cell(30, 12, 0.75, _null, heavy=True),
        f"sigmoid {_kind}": Cell(30, 12, 0.75, _null, link="sigmoid"),
        f"step {_kind}": Cell(30, 12, 0.75, _null, link="step"),
        f"unequal families {_kind}": Cell(30, 12, 0.75, _null, unequal=True),
        f"uneven domains {_kind}": Cell(30, 12, 0.75, _null, uneven=True),
        f"size sigmoid {_kind}": Cell(60, 20, 0.75, _null, size=4.4, link="sigmoid"),
        f"large {_kind}": Cell(90, 40, 0.75, _null, domains=5000),
    }

# name -> worlds, and how many of them may be given a go.
QUICK = {"N16 signal 0.25": (6, 4, 6), "N30 null 0.75": (8, 0, 2), "step signal": (4, 2, 4)}
