"""Small plots, fit to stand inside the metadata of an asset or below a cell of a notebook.

Belongs here: one function for each plot, arrays in, a figure of matplotlib out, and `png`. Does not
belong here: reading tables. matplotlib is imported on first use and without global state.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2b5c8a", "#c8552b", "#8a8a8a"
MAX_FAMILIES_IN_LEGEND = 12
MAX_NAMED_DOTS = 60


def estimate_histogram(estimate: np.ndarray, included: np.ndarray | None, title: str) -> Figure:
    """Histogram of the estimates (D,) of one target; `included` (D,) flags in a second colour."""
    figure = _figure()
    axes = figure.subplots()
    edges = np.histogram_bin_edges(estimate, bins=min(60, max(10, len(estimate) // 5)))
    axes.hist(estimate, bins=list(edges), color=GREY, label=f"all units ({len(estimate):,})")
    if included is not None and included.any():
        chosen = estimate[included]
        axes.hist(chosen, bins=list(edges), color=BLUE, label=f"selected ({len(chosen):,})")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="estimate", ylabel="units", title=title)
    axes.legend(frameon=False)
    return figure


def rank_plot(
    predicted: np.ndarray, actual: np.ndarray, families: Sequence[str], title: str
) -> Figure:
    """Predicted against actual ranks (N,) of held-out LLMs, a colour for each large family."""
    from matplotlib import colormaps

    figure = _figure()
    axes = figure.subplots()
    limits = [0.5, len(actual) + 0.5]
    axes.plot(limits, limits, color=GREY, linewidth=0.8)
    names, counts = np.unique(np.asarray(families, dtype=object).astype(str), return_counts=True)
    large = list(names[np.argsort(-counts, kind="stable")][:MAX_FAMILIES_IN_LEGEND])
    colours = colormaps["tab20"]
    member = np.asarray([large.index(f) if f in large else -1 for f in families])
    for index, name in enumerate(large):
        at = member == index
        axes.scatter(predicted[at], actual[at], s=18, color=colours(index), label=name)
    if (member < 0).any():
        at = member < 0
        axes.scatter(predicted[at], actual[at], s=14, color=GREY, marker="x", label="others")
    axes.set(
        xlim=limits, ylim=limits, xlabel="predicted rank (held out)", ylabel="actual rank",
        title=title, aspect="equal",
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=6, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def gain_plot(
    gain: float, low: float, high: float, needed: float, others: Sequence[tuple[str, float]]
) -> Figure:
    """The gain of a selection with its interval, the least worth having, and other selections.

    Args:
        gain: over random texts, in rank correlation; `low` to `high` is its 90 % interval.
        needed: the least gain worth having.
        others: names and gains of what would be simpler, random texts (0) beside them.
    """
    figure = _figure()
    figure.set_figheight(0.4 * (2 + len(others)) + 1)
    axes = figure.subplots()
    names = ["this selection", *(name for name, _ in others), "random texts"]
    axes.hlines(0, low, high, color=BLUE, linewidth=5, alpha=0.4)
    axes.scatter([gain], [0], s=50, color=BLUE, zorder=3)
    axes.scatter([value for _, value in others] + [0.0], range(1, len(names)), s=40, color=GREY)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(needed, color=ORANGE, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(xlabel="gain over random texts, in rank correlation (dashed: the least worth having)")
    return figure


def histogram(
    values: np.ndarray, title: str, xlabel: str, ylabel: str, *, counts: np.ndarray | None = None
) -> Figure:
    """Histogram of finite `values` (D,), each standing `counts` (D,) times; the tails are cut.

    What lies beyond the 0.1 % and 99.9 % quantiles of `values` is drawn in the outermost bars,
    so that one strange text does not squeeze all others into one bar.
    """
    figure = _figure()
    axes = figure.subplots()
    low, high = np.quantile(values, [0.001, 0.999])
    number = len(values) if counts is None else int(counts.sum())
    edges = np.histogram_bin_edges(np.clip(values, low, high), bins=min(40, max(8, number // 4)))
    axes.hist(np.clip(values, low, high), bins=list(edges), weights=counts, color=BLUE)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return figure


def dots(names: Sequence[str], values: np.ndarray, title: str, xlabel: str) -> Figure:
    """One dot for each of N names, largest value on top; names only up to `MAX_NAMED_DOTS`."""
    figure = _figure()
    axes = figure.subplots()
    order = np.argsort(values, kind="stable")
    axes.scatter(values[order], np.arange(len(order)), s=14, color=BLUE)
    if len(order) <= MAX_NAMED_DOTS:
        figure.set_figheight(max(2.0, 0.22 * len(order) + 1))
        labels = [str(names[index]) for index in order]
        axes.set_yticks(np.arange(len(order)), labels, fontsize=7)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(order):,} LLMs")
    axes.grid(axis="x", color=GREY, linewidth=0.3)
    axes.set(xlabel=xlabel, title=title)
    return figure


def gains(
    names: Sequence[str],
    values: np.ndarray,
    interval: tuple[float, float],
    needed: float,
    title: str,
) -> Figure:
    """Gains over random texts (N,), the first with its 90 % interval; `needed`: worth having."""
    figure = _figure()
    figure.set_figheight(0.45 * len(names) + 1.4)
    axes = figure.subplots()
    places = np.arange(len(names))[::-1]
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(needed, color=ORANGE, linewidth=0.8, linestyle="--", label="worth having")
    axes.plot(interval, [places[0]] * 2, color=BLUE, linewidth=2, label="90 % interval")
    axes.scatter(values, places, color=[BLUE, *[GREY] * (len(names) - 1)], zorder=3)
    axes.set_yticks(places, list(names))
    axes.set(xlabel="gain over random texts (rank correlation)", title=title)
    axes.legend(frameon=False, fontsize=7)
    return figure


def pixels(values: np.ndarray, limit: float) -> bytes:
    """One pixel for each of `values` (R, C), blue at -limit, white at 0, orange at +limit."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.image import imsave

    # Few colours, so that the file stays small.
    colours = LinearSegmentedColormap.from_list("", [BLUE, "#f7f7f5", ORANGE], N=33)
    buffer = io.BytesIO()
    imsave(
        buffer, values, vmin=-limit, vmax=limit, cmap=colours, format="png",
        metadata={"Software": ""}, pil_kwargs={"optimize": True},
    )  # fmt: skip
    return buffer.getvalue()


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 4.0), dpi=90, layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    # Without its own metadata the picture depends on the numbers alone.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
