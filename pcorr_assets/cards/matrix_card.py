"""The card of a matrix in the published format: a data card, beside its files.

Belongs here: what stands in it, in which order. Does not belong here: the files
(`matrix.exports`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pcorr_assets.cards import wording as w
from pcorr_assets.cards.facts import CardLLM, llms_used
from pcorr_assets.cards.header import compose
from pcorr_assets.cards.markdown import code, sections, table, words
from pcorr_assets.config import Settings
from pcorr_assets.matrix.exports import PublishedFiles
from pcorr_assets.report.facts import BenchmarkFacts
from pcorr_assets.report.formats import count
from pcorr_assets.report.provenance import settings_of_sample
from pcorr_assets.report.reading import read_verdict
from pcorr_assets.report.reading_llms import read_benchmarks
from pcorr_assets.warehouse import Warehouse


def matrix_card(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    levels: Sequence[PublishedFiles],
    *,
    earlier: Sequence[str] = (),
) -> str:
    """The card of the files that a matrix was exported to.

    Raises:
        PcorrError: the header of an earlier card is broken.
    """
    llms = llms_used(wh, settings, sample)
    body = (
        f"# Bits-per-byte and benchmark errors: {code(sample)}\n\n"
        f"Bits-per-byte of {levels[0].llm_count} LLMs on texts, and the errors of LLMs on "
        f"{levels[0].benchmark_count} benchmarks: what perplexity correlations ({w.PAPER}) are "
        "computed from.\n\n"
    )
    configs = [
        {"config_name": path.stem, "data_files": path.name}
        for path in dict.fromkeys(path for one in levels for path in one.paths)
    ]
    fields: dict[str, Any] = {
        "task_categories": ["other"],
        "tags": [*w.TAGS, "bits-per-byte"],
        "configs": configs,
    }
    parts = sections(_parts(wh, settings, sample, levels, llms))
    return compose("dataset", fields, body + parts, earlier)


def _parts(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    levels: Sequence[PublishedFiles],
    llms: Sequence[CardLLM],
) -> Iterator[tuple[str, str]]:
    yield "Files", _files(levels)
    yield "Sample", _settings(settings_of_sample(settings, sample))
    targets = [name for name in settings.targets if wh.exists("error_vectors", name)]
    yield "Targets", _targets(wh, settings, sample, targets)
    names = [one.llm for one in llms]
    found: dict[str, BenchmarkFacts] = {}
    for target in targets if names else ():
        found |= {
            one.benchmark: one for one in read_benchmarks(wh, settings, sample, target, names)
        }
    yield "Benchmarks", w.benchmarks([found[name] for name in sorted(found)])
    yield "LLMs", w.llms(llms)


def _files(levels: Sequence[PublishedFiles]) -> str:
    rows = [
        (code(one.bpb.name), f"{count(one.unit_count)} {one.level}s", "bits-per-byte of each LLM")
        for one in levels
    ]
    error = levels[0].errors.name
    rows.append((code(error), f"{count(levels[0].benchmark_count)} benchmarks", "errors of LLMs"))
    rows += [
        (code(one.unit_tokens.name), f"{count(one.unit_count)} {one.level}s", "tokens of each")
        for one in levels
        if one.unit_tokens is not None
    ]
    lines = [
        table(("file", "rows", "what"), rows),
        "Columns of LLMs are named `('family', 'organisation/name')`, checkpoints "
        "`organisation/name_step1000`. An error is 1 - metric where higher is better: lower is "
        "better. No texts are in it.",
    ]
    said = dict.fromkeys(sentence for one in levels for sentence in one.report)
    if said:
        lines.append("What the files cannot say:\n\n" + "\n".join(f"- {words(s)}" for s in said))
    return "\n\n".join(lines)


def _settings(stated: Mapping[str, str]) -> str:
    rows = [(code(name), code(value)) for name, value in stated.items() if value != ""]
    return table(("setting", "value"), rows)


def _targets(wh: Warehouse, settings: Settings, sample: str, targets: Sequence[str]) -> str:
    rows = []
    for name in targets:
        verdict = read_verdict(wh, settings, sample, name, 0)
        stated = ", ".join(code(one) for one in settings.benchmarks_of(name))
        rows.append((code(name), stated, words(verdict.state), words(verdict.reason)))
    return table(("target", "benchmarks", "verdict on this sample", "why"), rows)
