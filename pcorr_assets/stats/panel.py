"""What validation looks at: one matrix, the errors of one target, and who the LLMs are.

Belongs here: the bundle, checked once, and the estimate and weights made on a part of
its LLMs. Does not belong here: how the LLMs are divided, and what is concluded.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import (
    Floats,
    as_errors,
    as_matrix,
    refuse_constant_errors,
    refuse_nonfinite_matrix,
)
from pcorr_assets.stats.choice import AUTO, PLAIN, choose_estimator
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES, estimate_all
from pcorr_assets.stats.groups import Groups, Rows, group_llms
from pcorr_assets.stats.ordered import OrderedTexts
from pcorr_assets.stats.projection import linear

_BLOCK_ENTRIES = 2**20


@dataclass(frozen=True)
class Panel:
    """One matrix, one target, one estimator; make it with `make_panel`.

    Attributes:
        X: (N, D) BPB, one row for each LLM.
        errors: (N,) errors of the target.
        tau: (D,) caps of the sampling weights.
        llms: (N,) LLM keys.
        families: (N,) the family of each LLM.
        groups: the groups of the LLMs.
        estimator: a name out of `ESTIMATOR_NAMES`, or `auto`: whichever the rows that an
            estimate is made on choose, by halves of their own (`choice`).
    """

    X: np.ndarray
    errors: Floats
    tau: Floats
    llms: tuple[str, ...]
    families: tuple[str, ...]
    groups: Groups
    estimator: str

    @property
    def text_count(self) -> int:
        return self.X.shape[1]

    @property
    def all_rows(self) -> Rows:
        """Every row once, in the order of the LLM keys."""
        return np.array(
            sorted(range(len(self.llms)), key=lambda row: self.llms[row]), dtype=np.intp
        )

    def estimate(self, rows: Rows) -> Floats:
        """(D,) the estimate made on these rows, a repeated row counting repeatedly."""
        name = self.chosen(rows)
        return estimate_all(self.X, self.errors, (name,), rows=rows)[name]

    def estimates(
        self, parts: Sequence[Rows], ordered: OrderedTexts | None = None
    ) -> Iterator[Floats]:
        """The estimate (D,) made on each part, one after the other.

        With `ordered`, of the panel's matrix, Spearman's takes no sorting.
        """
        if ordered is not None and self.estimator == PLAIN:
            return ordered.one_by_one(self.errors, parts)
        return map(self.estimate, parts)

    def chosen(self, rows: Rows) -> str:
        """The estimator that makes the estimate on these rows."""
        if self.estimator != AUTO:
            return self.estimator
        return choose_estimator(self.X, self.errors, self.tau, self.groups, rows)

    def settled(self) -> Panel:
        """The panel with the estimator that all of its LLMs choose."""
        return self.with_estimator(self.chosen(self.all_rows))

    def with_estimator(self, estimator: str) -> Panel:
        """The same LLMs, errors and caps with another estimator."""
        return replace(self, estimator=estimator)

    def weights(self, rows: Rows, ordered: OrderedTexts | None = None) -> Floats:
        """(D,) `linear` weights under the caps, of the estimate made on these rows."""
        (estimate,) = self.estimates([rows], ordered)
        return linear(estimate, self.tau)

    def mixture_bpb(self, weights: Floats) -> Floats:
        """(N,) BPB of every LLM on the mixture of texts with these weights."""
        chosen = np.flatnonzero(weights)
        total = np.zeros(self.X.shape[0])
        step = max(1, _BLOCK_ENTRIES // self.X.shape[0])
        for start in range(0, chosen.size, step):
            texts = chosen[start : start + step]
            total += self.X[:, texts].astype(np.float64) @ weights[texts]
        return total

    def mean_bpb(self) -> Floats:
        """(N,) mean BPB of every LLM over all texts."""
        return self.X.mean(axis=1, dtype=np.float64)

    def with_matrix(self, X: np.ndarray) -> Panel:
        """The same LLMs, errors and caps on another matrix of the same shape."""
        return replace(self, X=X)

    def with_texts(self, texts: Rows, tau: Floats) -> Panel:
        """The same LLMs on some of the texts, with caps (as many) of their own."""
        return replace(self, X=self.X[:, texts], tau=tau)


def make_panel(
    X: ArrayLike,
    errors: ArrayLike,
    tau: ArrayLike,
    *,
    llms: Sequence[str],
    families: Sequence[str],
    identities: Sequence[Hashable] | None = None,
    estimator: str = "spearmanr",
) -> Panel:
    """Check and bundle what validation needs.

    Args:
        X: (N, D) finite BPB.
        errors: (N,) errors of one target, not all equal.
        tau: (D,) caps of the sampling weights (see `projection.linear`).
        llms: (N,) LLM keys, each once.
        families: (N,) their families.
        identities: (N,) (name, revision) of each LLM, by default its key; see `group_llms`.
        estimator: a name out of `ESTIMATOR_NAMES`, or `auto`.

    Raises:
        PcorrError: anything that the estimators or projections refuse, an unknown
            estimator, or lengths that differ.
    """
    matrix = as_matrix(X)
    if estimator not in (*ESTIMATOR_NAMES, AUTO):
        raise PcorrError(
            f"unknown estimator {estimator!r}: choose from {', '.join(ESTIMATOR_NAMES)} and {AUTO}"
        )
    error_columns = as_errors(errors, matrix.shape[0])
    if error_columns.shape[0] != 1:
        raise PcorrError(f"validation takes one target, not {error_columns.shape[0]}")
    refuse_constant_errors(error_columns)
    _refuse_nonfinite(matrix)
    # The caps are checked once, against an estimate that no cap can disagree with.
    linear(np.zeros(matrix.shape[1]), tau)
    return Panel(
        X=matrix,
        errors=error_columns[0],
        tau=np.asarray(tau, dtype=np.float64),
        llms=tuple(llms),
        families=tuple(families),
        groups=group_llms(llms, families, identities, matrix),
        estimator=estimator,
    )


def _refuse_nonfinite(matrix: np.ndarray) -> None:
    step = max(1, _BLOCK_ENTRIES // matrix.shape[0])
    for start in range(0, matrix.shape[1], step):
        if not np.isfinite(matrix[:, start : start + step]).all():
            refuse_nonfinite_matrix(matrix, np.arange(matrix.shape[0]), step)
