"""The picture of the study, docs/images/evidence.png.

Belongs here: differences and intervals, drawn. Does not belong here: where they come from
(`findings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.studies.real.findings import Finding

COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#762a83")
WORDS = {
    "error": "error lower than with random documents by",
    "bpb": "BPB lower than with random documents by",
}


def draw(path: Path, found: Sequence[Finding]) -> None:
    """One row of two pictures (error, BPB) for each target; a colour for each size of LLM."""
    targets = list(dict.fromkeys(one.target for one in found))
    methods = list(dict.fromkeys(one.method for one in found if one.lower is not None))
    sizes = list(dict.fromkeys(one.size for one in found))
    height = len(targets) * (0.3 * len(methods) + 1.0) + 0.4
    figure = Figure(figsize=(10, height), layout="constrained")
    grid = figure.subplots(len(targets), len(WORDS), squeeze=False)
    for row, target in zip(grid, targets, strict=True):
        for axes, measure in zip(row, WORDS, strict=True):
            own = [one for one in found if (one.target, one.measure) == (target, measure)]
            _differences(axes, own, methods, sizes)
            axes.set_title(target, fontsize=10)
            axes.set_xlabel(WORDS[measure], fontsize=8)
    grid[0][0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Equal outcomes give equal bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _differences(
    axes: Axes, found: Sequence[Finding], methods: Sequence[str], sizes: Sequence[str]
) -> None:
    axes.axvline(0, color="#888888", linewidth=0.8)
    labelled = set()
    for one in found:
        if one.lower is None:
            continue
        number = sizes.index(one.size)
        place = len(methods) - 1 - methods.index(one.method) - 0.2 * number
        colour = COLOURS[number % len(COLOURS)]
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=1)
        label = None if one.size in labelled else one.size
        labelled.add(one.size)
        axes.plot(one.lower, place, "o", color=colour, markersize=4, label=label)
    axes.set_yticks(range(len(methods)), list(reversed(methods)), fontsize=8)
