"""From the warehouse to the facts of all samples and targets that have estimates.

Belongs here: which of them are compared, and their verdicts. Does not belong here: comparing
their selections (`comparing`), and the page.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.report import comparing
from pcorr_assets.report.comparison_facts import ComparisonFacts, PairFacts
from pcorr_assets.report.reading import MADE_FROM_MATRIX, read_verdict
from pcorr_assets.report.reading_selection import read_distribution
from pcorr_assets.stats.choice import AUTO
from pcorr_assets.steps.estimates import CHOSEN_NOTE
from pcorr_assets.steps.inputs import VECTOR_HASH, level_of
from pcorr_assets.warehouse import Warehouse

logger = logging.getLogger(__name__)

# The order in which one would look at them.
STATES = ("go", "caution", "no-go")


def read_comparison(
    wh: Warehouse, settings: Settings, reports: dict[tuple[str, str], str]
) -> ComparisonFacts:
    """Everything that the comparison says.

    A sample and target whose tables do not belong together, or are damaged, is left out with
    the reason, and costs the others nothing.

    Args:
        reports: relative links to the reports that there are, by sample and target.

    Raises:
        PcorrError: no sample and target can be compared.
    """
    pairs: list[PairFacts] = []
    read: list[comparing.Estimated] = []
    left_out: dict[str, str] = {}
    keys = [
        (sample, target)
        for sample in settings.samples
        for target in settings.targets
        if wh.exists("estimates", sample, target)
    ]
    for sample, target in keys:
        try:
            pair, estimated = _read_pair(wh, settings, sample, target, reports)
        except PcorrError as error:
            left_out[f"{sample}|{target}"] = str(error)
            logger.warning("%s|%s is left out of the comparison: %s", sample, target, error)
            continue
        pairs.append(pair)
        read.append(estimated)
    if not pairs:
        reasons = "".join(f"\n{name}: {reason}" for name, reason in left_out.items())
        raise PcorrError(
            "There is nothing to compare: no sample and target has estimates that can be read. "
            f"Materialise estimate and rank_prediction, then comparison.{reasons}"
        )
    pairs.sort(key=_place)
    texts = frozenset(name for name, sample in settings.samples.items() if sample.is_text)
    return ComparisonFacts(
        pairs=tuple(pairs),
        overlap=comparing.overlap_of(wh, read, texts),
        wanted=comparing.wanted_units(wh, read, texts),
        trades=comparing.trades(read),
        left_out=left_out,
    )


def _place(pair: PairFacts) -> tuple[int, float, str, str]:
    state = pair.verdict.state
    rank = STATES.index(state) if state in STATES else len(STATES)
    gain = pair.verdict.gain
    return rank, float("inf") if gain is None else -gain, pair.sample, pair.target


def _read_pair(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    target: str,
    reports: dict[tuple[str, str], str],
) -> tuple[PairFacts, comparing.Estimated]:
    selection, level = settings.selection_for(target), level_of(settings, sample, target)
    _refuse_mixed(wh, sample, target)
    everything = wh.read("estimates", sample, target)
    rows = everything.filter(pc.field("estimator") == selection.estimator)
    if rows.num_rows == 0 or rows["level"][0].as_py() != level:
        raise PcorrError(
            f"its estimates are not at level {level} with estimator {selection.estimator}, as "
            "the configuration now says. Materialise estimate again, then comparison."
        )
    distribution = read_distribution(wh, selection, sample, target, rows)
    noted = wh.metadata("estimates", sample, target)
    chosen = noted.get(CHOSEN_NOTE, selection.estimator)
    name = f"{AUTO}: {chosen}" if selection.estimator == AUTO else chosen
    written = wh.path("estimates", sample, target).stat().st_mtime
    pair = PairFacts(
        sample=sample,
        target=target,
        level=level,
        estimator=name,
        unit_count=rows.num_rows,
        selected_count=None if distribution is None else _count(distribution),
        verdict=read_verdict(wh, settings, sample, target, rows["llm_count"][0].as_py()),
        report=reports.get((sample, target)),
        date=datetime.fromtimestamp(written, UTC).date().isoformat(),
    )
    used = {selection.estimator, chosen}
    others = [one for one in everything["estimator"].unique().to_pylist() if one not in used]
    return pair, comparing.Estimated(
        sample=sample,
        target=target,
        level=level,
        estimator=chosen,
        units=rows["unit"].combine_chunks(),
        estimate=rows["estimate"].to_numpy(),
        distribution=distribution,
        others={
            one: everything.filter(pc.field("estimator") == one)["estimate"].to_numpy()
            for one in sorted(others)
        },
    )


def _count(distribution: pa.Table) -> int:
    return int(distribution["included"].to_numpy(zero_copy_only=False).sum())


def _refuse_mixed(wh: Warehouse, sample: str, target: str) -> None:
    """Estimates are those of the present matrix, and the verdict is theirs."""
    noted = wh.metadata("estimates", sample, target)
    if noted.get(MATRIX_HASH) != wh.metadata("matrix_coverage", sample).get(MATRIX_HASH):
        raise PcorrError(
            "its estimates were made from another matrix than the present one. Materialise "
            "estimate again, then comparison."
        )
    for table, asset in MADE_FROM_MATRIX.items():
        if not wh.exists(table, sample, target):
            continue
        theirs = wh.metadata(table, sample, target)
        for key, what in ((MATRIX_HASH, "matrix"), (VECTOR_HASH, "error vector")):
            if theirs.get(key) != noted.get(key):
                raise PcorrError(
                    f"its {table} were made from another {what} than its estimates. Materialise "
                    f"{asset} again, then comparison."
                )
