"""The picture of a matrix: which LLMs find which texts easier than one would expect.

Belongs here: what is coloured, the clustering of LLMs, the picture and where its labels
stand. Does not belong here: reading the matrix. SciPy and matplotlib come in on first use.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from pcorr_assets.report.charts import FamilyMark
from pcorr_assets.report.facts import MatrixFacts
from pcorr_assets.report.formats import number
from pcorr_assets.report.plots import pixels
from pcorr_assets.report.wording import shown

MAX_LLMS = 120
LEFT, RIGHT, TOP, ROW, TREE = 118.0, 678.0, 26.0, 12.0, 92.0
MAX_LABEL = 34


@dataclass(frozen=True)
class Row:
    """One LLM of the picture, at the pixel `y` of its upper edge."""

    name: str
    family: str
    colour: int
    shape: int
    y: float
    tip: str


@dataclass(frozen=True)
class HeatMap:
    """A picture (a PNG as data URI) with its labels and tree; sizes in pixels of the SVG.

    `selected_width` is the part of the width that holds selected units, None if unknown;
    `limit` the deviation (bits per byte) of the strongest colours.
    """

    picture: str
    height: float
    rows: tuple[Row, ...]
    tree: str
    selected_width: float | None
    limit: float
    llm_count: int
    column_count: int
    alt: str


def heat_map(
    facts: MatrixFacts, marks: dict[str, FamilyMark], selected_count: int | None
) -> HeatMap:
    """The matrix without each LLM's and each text's mean, LLMs ordered by clustering."""
    deviation = without_means(facts.bpb)
    links, order = cluster(deviation)
    tree = None
    if len(order) > MAX_LLMS:
        order = order[np.linspace(0, len(order) - 1, MAX_LLMS).round().astype(int)]
    else:
        tree = links
    limit = float(np.quantile(np.abs(deviation), 0.98)) or 1.0
    png = pixels(deviation[order], limit)
    ranks = facts.errors.argsort(kind="stable").argsort(kind="stable") + 1
    rows = []
    for place, row in enumerate(order):
        mark = marks[facts.families[row]]
        name, family = shown(facts.llms[row]), shown(facts.families[row], 40)
        rows.append(
            Row(
                short_name(name), family, mark.colour, mark.shape, TOP + ROW * place,
                f"{name} ({family}): error {number(float(facts.errors[row]))}, "
                f"number {ranks[row]} of {len(ranks)}",
            )
        )  # fmt: skip
    selected = None
    if selected_count is not None:
        share = np.searchsorted(facts.columns, selected_count) / len(facts.columns)
        selected = round(float(share) * (RIGHT - LEFT), 1)
    return HeatMap(
        picture=f"data:image/png;base64,{base64.b64encode(png).decode()}",
        height=TOP + ROW * len(order) + 8,
        rows=tuple(rows),
        tree="" if tree is None else tree_path(tree, order),
        selected_width=selected,
        limit=limit,
        llm_count=len(facts.llms),
        column_count=len(facts.columns),
        alt=f"Heat map of {len(order)} LLMs by {len(facts.columns)} units: bits per byte less the "
        "mean of the LLM and the mean of the unit; LLMs of like deviations stand together.",
    )


def short_name(name: str) -> str:
    """Cut in the middle: the ends tell LLMs of one family apart."""
    half = MAX_LABEL // 2
    return name if len(name) <= MAX_LABEL else f"{name[: half - 1]}…{name[-half:]}"


def without_means(bpb: np.ndarray) -> np.ndarray:
    """(N, C) less the mean of each row and of each column: what is special to the pair."""
    rows, columns = bpb.mean(axis=1, keepdims=True), bpb.mean(axis=0, keepdims=True)
    return bpb - rows - columns + bpb.mean()


def cluster(deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average linkage (N-1, 4) of the rows by 1 - correlation, and the order of its leaves."""
    norms = np.linalg.norm(deviation, axis=1, keepdims=True)
    unit = np.divide(deviation, norms, out=np.zeros_like(deviation), where=norms > 0)
    # Rounding keeps the order the same where libraries sum in another order.
    distance = np.round(1 - unit @ unit.T, 9)
    distance = np.clip((distance + distance.T) / 2, 0, 2)
    return cluster_by(distance)


def cluster_by(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average linkage (N-1, 4) by symmetric distances (N, N), and the order of its leaves."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    own = distance.copy()
    np.fill_diagonal(own, 0)
    links = linkage(squareform(own, checks=False), method="average")
    return links, leaves_list(links)


def tree_path(links: np.ndarray, order: np.ndarray, top: float = TOP, row: float = ROW) -> str:
    """The dendrogram as an SVG path, leaves at the picture, the root at the left."""
    size = len(order)
    y = {int(leaf): top + row * (place + 0.5) for place, leaf in enumerate(order)}
    x = dict.fromkeys(range(size), TREE)
    highest = float(links[-1, 2]) or 1.0
    path = []
    for number_of, (a, b, height, _) in enumerate(links, start=size):
        left = round(TREE - (TREE - 6) * max(float(height), 0) / highest, 1)
        one, two = int(a), int(b)
        path.append(f"M{x[one]:g} {y[one]:g}H{left:g}V{y[two]:g}H{x[two]:g}")
        x[number_of], y[number_of] = left, (y[one] + y[two]) / 2
    return "".join(path)
