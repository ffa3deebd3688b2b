"""Facts as one self-contained HTML file.

Belongs here: the template, its policy against anything from outside, and what each verdict
means in words. Does not belong here: reading tables, and where the file ends up (`files`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pcorr_assets.report import advice_charts, charts, gauges, heat_map
from pcorr_assets.report.changes import Change
from pcorr_assets.report.facts import CANNOT_BE_VALIDATED, NOT_VALIDATED, Facts
from pcorr_assets.report.formats import FILTERS, signed
from pcorr_assets.report.reading import LOWEST_IN_TABLE
from pcorr_assets.report.wording import shown

MAX_ROWS = 400
SECTIONS = (
    ("verdict", "Verdict"),
    ("hangs", "What it hangs on"),
    ("next", "Next"),
    ("units", "Units"),
    ("estimates", "Estimates"),
    ("ranks", "Ranks"),
    ("matrix", "Matrix"),
    ("selection", "What to sample"),
    ("filter", "Filter"),
    ("clean", "Text of benchmarks"),
    ("llms", "LLMs"),
    ("changes", "Changes"),
    ("origin", "Settings"),
)
METRICS = (
    ("budget_precision", "token precision at the budget"),
    ("budget_recall", "token recall at the budget"),
    ("precision", "precision of pages at threshold 0.5"),
    ("recall", "recall of pages at threshold 0.5"),
    ("f1", "F1 of pages at threshold 0.5"),
    ("roc_auc", "area under the ROC curve"),
    ("average_precision", "average precision"),
)
# state -> CSS class, title, what it means for the reader
VERDICTS = {
    "go": ("go", "Go", "The evidence supports training on this selection."),
    "caution": (
        "caution",
        "Caution",
        "Part of the evidence is missing: try the selection on a small scale before spending much.",
    ),
    "no-go": (
        "no-go",
        "No-go",
        "Do not spend GPU hours on this selection: it may be no better than random texts.",
    ),
    CANNOT_BE_VALIDATED: (
        "none",
        "Cannot be validated",
        "Nobody can say yet whether this selection is any good.",
    ),
    NOT_VALIDATED: (
        "none",
        "Not validated yet",
        "Nobody can say yet whether this selection is any good.",
    ),
}


@dataclass(frozen=True)
class Summary:
    """What the index says of a report; it travels inside the report itself."""

    sample: str
    target: str
    state: str
    delta: float | None
    delta_low: float | None
    delta_high: float | None
    stability: float | None
    llm_count: int
    unit_count: int
    selected_count: int | None
    date: str
    # Reports of earlier versions have none of these.
    p_value: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None

    @property
    def css_class(self) -> str:
        """Class of the badge."""
        return VERDICTS[self.state][0]

    @property
    def title(self) -> str:
        """The verdict as a title."""
        return VERDICTS[self.state][1]

    @property
    def interval(self) -> str:
        """The 90 % interval of the gain."""
        return f"{signed(self.gain_low)} to {signed(self.gain_high)}"


def summary_of(facts: Facts) -> Summary:
    """The facts in one line."""
    verdict = facts.verdict
    return Summary(
        sample=facts.sample,
        target=facts.target,
        state=verdict.state,
        delta=verdict.delta,
        delta_low=verdict.delta_low,
        delta_high=verdict.delta_high,
        stability=verdict.stability,
        llm_count=verdict.llm_count,
        unit_count=facts.estimates.count,
        selected_count=facts.estimates.selected_count,
        date=facts.provenance.date,
        p_value=verdict.p_value,
        gain=verdict.gain,
        gain_low=verdict.gain_low,
        gain_high=verdict.gain_high,
    )


def render_report(facts: Facts, changes: Sequence[Change] = ()) -> str:
    """The report as HTML. Equal facts give equal bytes; every string of theirs is escaped.

    `changes`: what earlier materialisations changed, the newest first.
    """
    rank_rows = [(panel, point) for panel in facts.ranks for point in panel.points]
    # A family may have been renamed in the configuration since the ranks were predicted.
    renamed = {point.family for _, point in rank_rows} - set(facts.matrix.families)
    marks = charts.family_marks([*facts.matrix.families, *sorted(renamed)])
    state = VERDICTS[facts.verdict.state]
    languages = facts.filter.languages if facts.filter else None
    budget = gauges.budget_of(facts.filter) if facts.filter else None
    return render_template(
        "report.html",
        title=f"{facts.target} on {facts.sample}: {state[1]}",
        summary=json.dumps(asdict(summary_of(facts)), sort_keys=True),
        facts=facts,
        changes=changes,
        sections=SECTIONS,
        verdict_class=state[0],
        verdict_title=state[1],
        verdict_meaning=state[2],
        gain_gauge=gauges.gain_gauge(facts.verdict),
        delta_gauge=gauges.delta_gauge(facts.verdict),
        stability_gauge=gauges.stability_gauge(facts.verdict),
        change_chart=advice_charts.change_chart(facts.sensitivity),
        learning_chart=advice_charts.learning_chart(facts.next),
        max_rows=MAX_ROWS,
        estimate_charts=charts.estimate_charts(facts.estimates, facts.estimator),
        chance=charts.chance_of(facts.estimates),
        frequency_chart=charts.frequency_chart(facts.estimates),
        rank_charts=charts.rank_charts(facts.ranks, marks),
        family_marks=list(marks.values()),
        rank_rows=rank_rows[:MAX_ROWS],
        rank_row_count=len(rank_rows),
        schemes=charts.SCHEMES,
        predictors=charts.PREDICTORS,
        heat_map=heat_map.heat_map(facts.matrix, marks, facts.estimates.selected_count),
        heat_left=heat_map.LEFT,
        heat_right=heat_map.RIGHT,
        heat_top=heat_map.TOP,
        heat_row=heat_map.ROW,
        budget=budget,
        metrics=METRICS,
        languages=sorted(set().union(*languages.values())) if languages else [],
        llm_rows=facts.llms[:MAX_ROWS],
        scoring_rows=facts.scoring[:MAX_ROWS],
        counted=any(unit.token_count is not None for unit in facts.estimates.shown),
        known={
            "parameters": any(llm.parameter_count is not None for llm in facts.llms),
            "dtypes": any(llm.dtype for llm in facts.llms),
            "commits": any(llm.commit for llm in facts.llms),
            "notes": any(llm.note for llm in facts.llms),
            "utilisation": any(run.utilisation is not None for run in facts.scoring),
            "waiting": any(run.seconds_waiting_for_data is not None for run in facts.scoring),
        },
        used_count=sum(llm.used for llm in facts.llms),
        lowest_in_table=LOWEST_IN_TABLE,
    )


def render_index(rows: list[tuple[str, Summary]], comparison: str | None = None) -> str:
    """The index of all reports, `(relative link, summary)` each, and the link to `comparison`."""
    return render_template(
        "index.html", title="Reports", summary=None, rows=rows, comparison=comparison
    )


def render_template(template: str, **values: Any) -> str:
    """A template as a page that loads nothing and runs only the script of this version."""
    environment = _environment()
    css, js = (_source(environment, name) for name in ("report.css", "report.js"))
    # Only these two blocks may style or run; nothing may be loaded but pictures in the file.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(js)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(css=css, js=js, policy=policy, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pcorr_assets.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    environment.filters["shown"] = shown
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
