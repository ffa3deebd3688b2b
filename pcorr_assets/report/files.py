"""Reports as files: one for each sample and target, one of all, and an index of what is there.

Belongs here: names, atomic writing, the index. Does not belong here: what is in a page.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from pcorr_assets.config import Settings
from pcorr_assets.config.keys import to_slug
from pcorr_assets.report.changes import History, history_of
from pcorr_assets.report.comparison_facts import ComparisonFacts
from pcorr_assets.report.comparison_page import render_comparison
from pcorr_assets.report.page import VERDICTS, Summary, render_index, render_report, summary_of
from pcorr_assets.report.reading import read_facts
from pcorr_assets.report.reading_comparison import read_comparison
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file, write_text
from pcorr_assets.warehouse.locks import waiting_lock

logger = logging.getLogger(__name__)

INDEX = "index.html"
COMPARISON = "comparison.html"
BEST = 10
# The summary stands in the head, before the style sheet.
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written: `sha256` is the content hash of the file.

    `reason` is the verdict's, `best` are the ten highest units with their estimates, `history`
    what changed since earlier ones.
    """

    path: Path
    index: Path
    byte_count: int
    sha256: str
    summary: Summary
    reason: str
    best: tuple[tuple[str, float], ...]
    history: History


@dataclass(frozen=True)
class WrittenComparison:
    """The comparison that was written: `sha256` is the content hash of the file."""

    path: Path
    index: Path
    byte_count: int
    sha256: str
    facts: ComparisonFacts


def report_path(home: Path, sample: str, target: str) -> Path:
    """`<home>/reports/<sample-slug>/<target-slug>.html`, whether it exists or not."""
    return home / "reports" / to_slug(sample) / f"{to_slug(target)}.html"


def write_report(wh: Warehouse, settings: Settings, sample: str, target: str) -> WrittenReport:
    """Write the report of a sample and target, and the index anew.

    Raises:
        PcorrError: see `reading.read_facts`; the old report stays as it was.
    """
    facts = read_facts(wh, settings, sample, target)
    path = report_path(wh.home, sample, target)
    history = history_of(wh, facts)
    page = render_report(facts, history.changes)
    write_text(path, page)
    return WrittenReport(
        path=path,
        index=write_index(wh.home),
        byte_count=path.stat().st_size,
        sha256=sha256_file(path),
        summary=summary_of(facts),
        reason=facts.verdict.reason,
        best=tuple((unit.unit, unit.estimate) for unit in facts.estimates.shown[:BEST]),
        history=history,
    )


def write_comparison(wh: Warehouse, settings: Settings) -> WrittenComparison:
    """Write `<home>/reports/comparison.html` over all samples and targets, and the index anew.

    Raises:
        PcorrError: see `reading_comparison.read_comparison`; the old page stays as it was.
    """
    folder = wh.home / "reports"
    links = {
        (sample, target): quote(path.relative_to(folder).as_posix())
        for sample in settings.samples
        for target in settings.targets
        if (path := report_path(wh.home, sample, target)).is_file()
    }
    facts = read_comparison(wh, settings, links)
    path = folder / COMPARISON
    write_text(path, render_comparison(facts))
    return WrittenComparison(
        path=path,
        index=write_index(wh.home),
        byte_count=path.stat().st_size,
        sha256=sha256_file(path),
        facts=facts,
    )


def write_index(home: Path) -> Path:
    """Write `<home>/reports/index.html` over all reports that are there.

    Writers take turns, and each looks at what is there once it has its turn: whoever is
    last has seen the reports of all.
    """
    folder = home / "reports"
    with waiting_lock(home / "locks" / "reports.index.lock", "the index of reports"):
        rows = sorted(_summaries(folder), key=lambda row: (row[1].sample, row[1].target))
        comparison = COMPARISON if (folder / COMPARISON).is_file() else None
        write_text(folder / INDEX, render_index(rows, comparison))
    return folder / INDEX


def _summaries(folder: Path) -> Iterator[tuple[str, Summary]]:
    for path in sorted(folder.glob("*/*.html")):
        found = read_summary(path)
        if found is not None:
            yield quote(path.relative_to(folder).as_posix()), found


def read_summary(path: Path) -> Summary | None:
    """The summary inside a report; None for a file that is no report of this platform."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:  # removed since the folder was listed
        return None
    finder = _SummaryFinder()
    finder.feed(head)
    try:
        summary = Summary(**json.loads(finder.content or "{}"))
    except (ValueError, TypeError):
        summary = None
    if summary is None or summary.state not in VERDICTS:
        logger.warning("%s is not a report that this version wrote: the index leaves it out", path)
        return None
    return summary


class _SummaryFinder(HTMLParser):
    """Looks for the `pcorr-report` meta element."""

    content: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and values.get("name") == "pcorr-report":
            self.content = values.get("content")
