"""From the warehouse to the facts of one sample and target.

Belongs here: estimates, units, verdict, ranks and distribution, and that they belong
together. Does not belong here: LLMs and benchmarks (`reading_llms`), the filter
(`reading_filter`), settings and hashes (`provenance`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.report import facts as f
from pcorr_assets.report.provenance import read_provenance
from pcorr_assets.report.reading_advice import read_next, read_sensitivity
from pcorr_assets.report.reading_clean import read_clean
from pcorr_assets.report.reading_filter import read_compared, read_filter
from pcorr_assets.report.reading_llms import (
    read_benchmarks,
    read_llms,
    read_reliability,
    read_scoring,
)
from pcorr_assets.report.reading_selection import read_distribution
from pcorr_assets.report.snippets import pages_of_chunks, read_snippets
from pcorr_assets.report.wording import domain_link, page_link
from pcorr_assets.stats.choice import AUTO
from pcorr_assets.stats.permuted_errors import permuted_estimates
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import rank_correlation
from pcorr_assets.stats.verdict import GROUPS_FOR_GO, LARGEST_P
from pcorr_assets.steps.estimates import CHOSEN_NOTE, FREQUENCY_NOTE, PILOT_NOTE
from pcorr_assets.steps.inputs import VECTOR_HASH, AlignedInputs, level_of, read_inputs
from pcorr_assets.steps.rank_predictions import IMPOSSIBLE_NOTE
from pcorr_assets.warehouse import Warehouse

# What keeps a report of any matrix below two megabytes.
UNITS_IN_TABLE = 800
LOWEST_IN_TABLE = 200
UNITS_WITH_TEXT = 8
HEAVIEST = 30
COLUMNS_IN_PICTURE = 400

# Tables that note which matrix and error vector they were made from, and who writes them.
MADE_FROM_MATRIX = {
    "estimates": "estimate",
    "rank_predictions": "rank_prediction",
    "verdicts": "rank_prediction",
}

VERDICT_NUMBERS = (
    "delta", "delta_low", "delta_high", "stability", "permutation_p", "rank_correlation",
    "rank_r2", "mean_bpb_correlation", "group_count", "p_value", "gain", "gain_low", "gain_high",
    "gain_needed", "gain_mean_bpb", "gain_strongest_llm", "random_texts",
)  # fmt: skip

NO_SNIPPETS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def read_facts(wh: Warehouse, settings: Settings, sample: str, target: str) -> f.Facts:
    """Everything that the report of a sample and target says.

    Raises:
        PcorrError: no estimates, or parts that were made from different matrices, error
            vectors or estimates, so that one page about them would mislead.
    """
    failures: dict[str, PcorrError] = {}
    found = list(read_inputs(wh, settings, sample, [target], failures))
    if failures:
        raise failures[target]
    inputs = found[0]
    selection = settings.selection_for(target)
    for table, asset in MADE_FROM_MATRIX.items():
        _refuse_outdated(wh, inputs, target, table, asset)
    rows = wh.read("estimates", sample, target)
    rows = rows.filter(pc.field("estimator") == selection.estimator)
    level = level_of(settings, sample, target)
    if rows.num_rows == 0 or rows["level"][0].as_py() != level:
        raise PcorrError(
            f"estimates of {sample}|{target} are not at level {level}, as the configuration now "
            "says. Materialise estimate again, then report."
        )
    units = _Units(wh, settings, inputs, target, rows)
    ranks, ranks_absence = _ranks(wh, sample, target, selection.estimator)
    filter_facts, filter_absence = read_filter(wh, settings, sample, target)
    sensitivity, sensitivity_absence = read_sensitivity(wh, inputs, target)
    next_facts, next_absence = read_next(wh, inputs, target)
    return f.Facts(
        sample=sample,
        target=target,
        level=level,
        estimator=f"{AUTO}: {units.chosen}" if selection.estimator == AUTO else selection.estimator,
        seed=settings.validation.seed,
        imported=not settings.samples[sample].is_text,
        verdict=read_verdict(wh, settings, sample, target, len(inputs.llms)),
        estimates=units.estimates(),
        distribution=units.distribution(),
        ranks=ranks,
        ranks_absence=ranks_absence,
        llms=read_llms(wh, settings, sample, target, inputs),
        scoring=read_scoring(wh, sample, inputs.llms),
        left_out=tuple(inputs.left_out[target]),
        matrix=_matrix(inputs, target, units.order),
        filter=filter_facts,
        filter_absence=filter_absence,
        sensitivity=sensitivity,
        sensitivity_absence=sensitivity_absence,
        next=next_facts,
        next_absence=next_absence,
        clean=read_clean(wh, settings, inputs, target),
        provenance=read_provenance(
            wh,
            settings,
            sample,
            target,
            read_benchmarks(wh, settings, sample, target, inputs.llms),
            read_reliability(wh, settings, sample, target),
        ),
        compared=read_compared(wh, settings, sample, target),
    )


def _refuse_outdated(
    wh: Warehouse, inputs: AlignedInputs, target: str, table: str, asset: str
) -> None:
    if table != "estimates" and not wh.exists(table, inputs.sample, target):
        return
    noted = wh.metadata(table, inputs.sample, target)
    names = {MATRIX_HASH: "matrix", VECTOR_HASH: "error vector"}
    for key, name in names.items():
        if noted.get(key) != inputs.made_from[target][key]:
            raise PcorrError(
                f"{table} of {inputs.sample}|{target} were made from another {name} than the "
                f"present one. Materialise {asset} again, then report."
            )


def read_verdict(
    wh: Warehouse, settings: Settings, sample: str, target: str, llm_count: int
) -> f.VerdictFacts:
    """The row of `verdicts`, or that there is none, with the thresholds of the settings."""
    thresholds = {
        "go_stability": settings.validation.go_stability,
        "largest_p": LARGEST_P,
        "groups_needed": GROUPS_FOR_GO,
    }
    if not wh.exists("verdicts", sample, target):
        numbers = dict.fromkeys(VERDICT_NUMBERS)
        reason = "The estimate has not been validated: materialise rank_prediction."
        return f.VerdictFacts(
            state=f.NOT_VALIDATED, reason=reason, llm_count=llm_count, **numbers, **thresholds
        )
    row = wh.read("verdicts", sample, target).to_pylist()[0]
    state = row.pop("verdict")
    for key in ("sample", "target"):
        del row[key]
    if row["p_value"] is None and state == "no-go":
        state = f.CANNOT_BE_VALIDATED
    return f.VerdictFacts(state=state, **row, **thresholds)


def _ranks(
    wh: Warehouse, sample: str, target: str, estimator: str
) -> tuple[tuple[f.RankPanel, ...], tuple[str, ...]]:
    """The panels that are there, and sentences on those that are not."""
    if not wh.exists("rank_predictions", sample, target):
        return (), ("rank_prediction has not been materialised.",)
    rows = wh.read("rank_predictions", sample, target).to_pylist()
    panels: dict[tuple[str, str], list[f.RankPoint]] = {}
    for row in rows:
        if row["estimator"] != estimator:
            raise PcorrError(
                f"rank_predictions of {sample}|{target} are of estimator {row['estimator']}, the "
                f"configuration now says {estimator}. Materialise rank_prediction again."
            )
        panels.setdefault((row["scheme"], row["predictor"]), []).append(
            f.RankPoint(
                row["llm"], row["family"], row["fold"], row["error"],
                row["predicted_rank"], row["actual_rank"],
            )
        )  # fmt: skip
    noted = wh.metadata("rank_predictions", sample, target).get(IMPOSSIBLE_NOTE, "{}")
    absent = tuple(
        f"Scheme {name} was not computed: {why}." for name, why in json.loads(noted).items()
    )
    return tuple(
        f.RankPanel(
            scheme,
            predictor,
            rank_correlation(
                np.array([point.predicted for point in points]),
                np.array([point.actual for point in points]),
            ),
            tuple(points),
        )
        for (scheme, predictor), points in panels.items()
    ), absent


def _matrix(inputs: AlignedInputs, target: str, order: np.ndarray) -> f.MatrixFacts:
    """At most so many columns, evenly spaced in the order of the estimates."""
    places = np.unique(
        np.linspace(0, len(order) - 1, min(len(order), COLUMNS_IN_PICTURE)).round().astype(int)
    )
    return f.MatrixFacts(
        bpb=inputs.X[:, order[places]],
        columns=places,
        llms=tuple(inputs.llms),
        families=tuple(inputs.families),
        errors=inputs.errors[:, inputs.targets.index(target)],
        unit_count=len(order),
    )


def _whole(rows: pa.Table, name: str) -> np.ndarray | None:
    """A column (D,), or None where it has no values."""
    return None if rows[name].null_count else rows[name].to_numpy()


class _Units:
    """The units of one target in descending order of estimate; `order` are their rows."""

    def __init__(
        self,
        wh: Warehouse,
        settings: Settings,
        inputs: AlignedInputs,
        target: str,
        rows: pa.Table,
    ) -> None:
        self._wh, self._settings, self._inputs, self._target = wh, settings, inputs, target
        self._selection = settings.selection_for(target)
        self._names = rows["unit"]
        self._estimate = rows["estimate"].to_numpy()
        self._frequency = _whole(rows, "selection_frequency")
        self._probability = _whole(rows, "inclusion_probability")
        self.order = np.argsort(-self._estimate, kind="stable")
        # What `auto` chose; notes of before have none, and no `auto` either.
        noted = wh.metadata("estimates", inputs.sample, target)
        self.chosen = noted.get(CHOSEN_NOTE, self._selection.estimator)
        self._distribution = read_distribution(wh, self._selection, inputs.sample, target, rows)
        self._pages: dict[str, str] = {}

    def estimates(self) -> f.EstimateFacts:
        inputs, level, count = self._inputs, self._inputs.level, len(self.order)
        positions = range(count)
        if count > UNITS_IN_TABLE:
            first = UNITS_IN_TABLE - LOWEST_IN_TABLE
            positions = [*range(first), *range(count - LOWEST_IN_TABLE, count)]
        top = list(range(min(UNITS_WITH_TEXT, count)))
        bottom = list(range(max(len(top), count - UNITS_WITH_TEXT), count))
        snippets: dict[str, tuple[str, ...]] = {}
        if self._settings.samples[inputs.sample].is_text:
            named = [self._names[int(self.order[at])].as_py() for at in positions]
            if level == "chunk":
                self._pages = pages_of_chunks(self._wh, inputs.sample, named)
            ends = {self._names[int(self.order[at])].as_py() for at in (*top, *bottom)}
            snippets = read_snippets(self._wh, inputs.sample, level, ends)
        notes = self._wh.metadata("estimates", inputs.sample, self._target)
        note = notes.get(FREQUENCY_NOTE)
        firmness = json.loads(note) if note else {}
        distribution = self._distribution
        return f.EstimateFacts(
            values=self._estimate[self.order],
            included=None
            if distribution is None
            else distribution["included"].to_numpy(zero_copy_only=False)[self.order],
            frequency=None if self._frequency is None else self._frequency[self.order],
            frequency_mean=firmness.get("selected_mean"),
            frequency_chance=firmness.get("chance_mean"),
            frequency_reason=firmness.get("reason"),
            permuted=permuted_estimates(
                inputs.X,
                inputs.errors[:, inputs.targets.index(self._target)],
                self.chosen,
                seed=self._settings.validation.seed,
            ),
            shown=tuple(self._unit(at) for at in positions),
            top=tuple(self._unit(at, snippets) for at in top),
            bottom=tuple(self._unit(at, snippets) for at in bottom),
            pilot=notes.get(PILOT_NOTE),
        )

    def _unit(
        self, position: int, snippets: Mapping[str, tuple[str, ...]] = NO_SNIPPETS
    ) -> f.UnitFacts:
        row = int(self.order[position])
        unit = self._names[row].as_py()
        level = self._inputs.level
        page = self._pages.get(unit)
        link = domain_link(unit) if level == "domain" else page_link(page or unit)
        weights = self._distribution
        return f.UnitFacts(
            position=position + 1,
            unit=unit,
            page=page,
            link=link,
            estimate=float(self._estimate[row]),
            frequency=None if self._frequency is None else float(self._frequency[row]),
            probability=None if self._probability is None else float(self._probability[row]),
            token_count=None if weights is None else weights["token_count"][row].as_py(),
            tau=None if weights is None else weights["tau"][row].as_py(),
            weight=None if weights is None else weights["weight"][row].as_py(),
            included=None if weights is None else weights["included"][row].as_py(),
            snippets=snippets.get(unit, ()),
        )

    def distribution(self) -> f.DistributionFacts | None:
        if self._distribution is None:
            return None
        weight = self._distribution["weight"].to_numpy()
        tau = self._distribution["tau"].to_numpy()
        labels = linear(self._estimate, tau)
        cut = np.flatnonzero((labels > 0) & (labels < tau))
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(self.order))
        heaviest = np.lexsort((place, -weight))[:HEAVIEST]
        heaviest = heaviest[weight[heaviest] > 0]
        return f.DistributionFacts(
            projection=self._selection.projection,
            keep_ratio=self._selection.keep_ratio,
            counted=self._counted(),
            heaviest=tuple(self._unit(int(place[row])) for row in heaviest),
            positive_count=int((weight > 0).sum()),
            head_weight=float(weight[heaviest].sum()),
            boundary=self._names[int(cut[0])].as_py() if len(cut) else None,
        )

    def _counted(self) -> str:
        assert self._distribution is not None
        if self._distribution["token_count"].null_count:
            return "All units count alike, since there are no token counts."
        source = self._settings.samples[self._inputs.sample]
        if source.unit_tokens_of(self._inputs.level) is not None:
            return "Tokens are those of the configured table of units (unit_tokens)."
        return "Tokens are counted with selection.tokenizer in the chunks of the matrix."
