"""The pictures of the study, docs/images/studies.png.

Belongs here: how calibrated what is stated is, and the power, drawn. Does not belong here: the
page (`page`), and counting (`verdicts`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"signal": "#2166ac", "null": "#b2182b"}


def draw(path: Path, coverage: dict[str, tuple[float, float, float]], bins: np.ndarray) -> None:
    """Two pictures side by side.

    Args:
        path: of the PNG.
        coverage: by kind of worlds, the share of 90 % intervals that hold the true gain, and
            its 95 % interval.
        bins: (10, 3) by tenth of the inclusion probability: how many domains, the sum of
            their probabilities, how many belong.
    """
    figure = Figure(figsize=(11, 0.24 * len(coverage) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _coverage(left, coverage)
    _reliability(right, bins)
    path.parent.mkdir(exist_ok=True)
    # Equal outcomes give equal bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _coverage(axes: Axes, coverage: dict[str, tuple[float, float, float]]) -> None:
    axes.axvspan(0.85, 0.95, color="#e8e8e8", zorder=0)
    axes.axvline(0.9, color="#888888", linewidth=0.8)
    for place, (name, (share, low, high)) in enumerate(reversed(coverage.items())):
        colour = COLOURS["null" if "null" in name else "signal"]
        axes.plot([low, high], [place, place], color=colour, linewidth=1)
        axes.plot(share, place, "o", color=colour, markersize=4)
    axes.set_yticks(range(len(coverage)), list(reversed(coverage)), fontsize=8)
    axes.set_xlabel("share of 90 % intervals of the gain that hold the truth")
    axes.set_xlim(0.7, 1.0)


def _reliability(axes: Axes, bins: np.ndarray) -> None:
    count, stated, belong = bins[bins[:, 0] > 0].T
    mean, share = stated / count, belong / count
    error = 1.96 * np.sqrt(share * (1 - share) / count)
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
    axes.errorbar(mean, share, yerr=error, fmt="o-", color=COLOURS["signal"], markersize=4)
    axes.set_xlabel("stated inclusion probability")
    axes.set_ylabel("share of domains that belong")
    axes.set_aspect("equal")
