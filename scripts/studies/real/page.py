"""The page of the study, docs/evidence.md.

Belongs here: its words and tables. Does not belong here: any number (`findings`, `chain`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pcorr_assets.demo.tasks import CHOICE_COUNT
from pcorr_assets.errors import PcorrError
from pcorr_assets.methods.table import OWN
from pcorr_assets.warehouse.files import write_text
from scripts.studies.real.composition import compositions, english_elsewhere
from scripts.studies.real.deal import read_counts
from scripts.studies.real.findings import Finding, Lead, findings, leads
from scripts.studies.real.items import ORDER_WORDS
from scripts.studies.real.plot import draw
from scripts.studies.real.proxies import trial_tokens
from scripts.studies.real.selections import BY_HAND, NOT_DEDUPLICATED, left_out
from scripts.studies.real.settings import StudySettings
from scripts.studies.real.zoo import LAYERS, members
from scripts.studies.version import commit

IMAGE = "images/evidence.png"
# What `selected_data` takes, without and with `draw`.
OF_THE_PLATFORM = {OWN: "The filter", "resampled": "Drawing with the filter's odds"}
NOT_SHOWN = """## What it does not show

- That the same holds for LLMs of a useful size, or for text of the web: all LLMs here are tiny,
  those that are asked as well as those that are trained, and texts are those of Debian and of
  Python packages.
- That the filter finds more than the language or kind of text. A target here is one of either, so
  that a rule by hand selects as well where they are known.
- Anything of differences that the intervals do not tell from 0. Intervals are over seeds of the
  training alone: the world, its LLMs and the selections of all methods but `random` are one draw.
- The cost of a method. All need the pool to be read; those that ask LLMs need them to be scored.
"""


def write_page(path: Path, folder: Path, settings: StudySettings, facts: dict[str, Any]) -> None:
    """Write the page to `path`, and the picture beside it.

    Raises:
        PcorrError: not one seed is finished for all methods of a target.
    """
    found = findings(folder)
    if {one.target for one in found} != {target.name for target in settings.targets}:
        raise PcorrError(f"{folder}: no seed has all methods of every target: let the study go on")
    draw(path.parent / IMAGE, found)
    parts = [
        _head(),
        _world(folder, settings),
        _said(settings, facts),
        *_selected(folder, settings),
        *_results(folder, settings, found),
        *(_leads(words, leads(folder, method)) for method, words in OF_THE_PLATFORM.items()),
        NOT_SHOWN,
    ]
    write_text(path, "\n".join(parts))


def _head() -> str:
    return f"""# Does it help, on real text?

Small LLMs trained on what the platform selects, and on what other methods do, with equal tokens.
Written by `make study-real` (`scripts/studies/real`) at commit `{commit()}`; do not edit it.
"""


def _world(folder: Path, settings: StudySettings) -> str:
    counts = read_counts(folder)
    rows = "\n".join(
        f"| {part.replace('_', ' ')} | {own['domains']:,} | {own['documents']:,} "
        f"| {own['bytes'] / 1e6:.1f} | {own['languages']} | {own['kinds']} |"
        for part, own in counts.items()
    )
    schedule, zoo = settings.zoo_schedule, members(settings)
    architectures = len({family.architecture for family in settings.families})
    return f"""## The world

Manual pages and documentation of Debian, licences, descriptions of Python packages and source
code in Python, cut into documents of {settings.document_characters:,} characters. A domain is a
section of manual pages, or a directory of a package. Each domain is in one part only: read by the
LLMs (zoo), sampled, in the pool, or held out for benchmarks. Of a sampled domain
{settings.sample_pages} documents are pages.

| part | domains | documents | MB | languages | kinds |
|---|---:|---:|---:|---:|---:|
{rows}

Languages and kinds are those that paths state, and not always true: of the pool's manual pages and
documentation in other languages {english_elsewhere(folder):.0%} are in English, as translations are
that were not finished. The platform does not see them: it goes by LLMs and benchmarks.

{len(zoo)} LLMs of {len(settings.families)} families and {architectures} architectures, {LAYERS}
layers, widths {", ".join(map(str, settings.zoo_widths))}, each trained from scratch on
{schedule.token_count:,} tokens of a mixture of languages and kinds of its own.
"""


def _said(settings: StudySettings, facts: dict[str, Any]) -> str:
    rows = []
    for target in settings.targets:
        own = facts[target.name]
        errors = "; ".join(
            f"{name.removeprefix(target.name + '_')} {low:.2f} to {high:.2f}"
            for name, (low, high) in own["errors"].items()
        )
        shown = [_number(own[name]) for name in ("p", "gain", "rank_correlation")]
        rows.append(
            f"| {target.name}: {target.words} | {errors} | {own['verdict']} | {' | '.join(shown)} |"
        )
    joined = "\n".join(rows)
    return f"""## What the platform says

Benchmarks ask for the next word, and for the order of the next {ORDER_WORDS}, of {CHOICE_COUNT}
choices each (chance: an error of {1 - 1 / CHOICE_COUNT:.2f}), {settings.item_count} items of
held-out text. Errors are the lowest and highest of the LLMs.

| target | errors | verdict | p | gain | held-out rank correlation |
|---|---|---|---:|---:|---:|
{joined}
"""


def _selected(folder: Path, settings: StudySettings) -> Iterator[str]:
    yield f"""## What is selected

Shares of bytes: of the target's text, as paths state it, and of the largest languages and kinds;
and of documents: near-duplicates of another one selected, by exact Jaccard similarity. All leave
[near-duplicates](selection.md#near-duplicates) out but `{NOT_DEDUPLICATED}`, which is the filter
where they stay. `{BY_HAND}` is no method, as it knows the paths: random documents of the target's
text. Of it and of random documents the first draw is shown; each seed below has its own.
"""
    for target in settings.targets:
        lines = [
            f"### {target.name}: {target.words}\n",
            "| method | documents | of the target | near-duplicates | most of it |",
            "|---|---:|---:|---:|---|",
        ]
        for one in compositions(folder, target, settings.proxy_seeds[0]):
            most = ", ".join(f"{name} {share:.0%}" for name, share in one.strata)
            shares = f"{one.of_target:.0%} | {one.alike:.0%}"
            lines.append(f"| {one.method} | {one.documents:,} | {shares} | {most} |")
        yield "\n".join(lines) + "\n"


def _results(folder: Path, settings: StudySettings, found: Sequence[Finding]) -> Iterator[str]:
    sizes = "; ".join(
        f"{name}: {shape.layer_count} layers of width {shape.width}"
        for name, shape in settings.proxy_shapes.items()
    )
    yield f"""## What training says

Each [method](selection.md) selects {settings.token_budget:,} tokens of the pool. LLMs ({sizes})
read {trial_tokens(settings):,} of them, each once, from the same initial weights for all methods
of a seed. Error is the mean of the target's benchmarks, BPB that of its held-out text. Differences
are to random documents, paired by seed, with 95 % intervals; positive is better than random.

![Differences to random documents]({IMAGE})
"""
    for target in settings.targets:
        lines = [
            f"### Trained for {target.name}\n",
            "| LLM | method | seeds | error | lower by | BPB | lower by |",
            "|---|---|---:|---:|---|---:|---|",
        ]
        own = [one for one in found if one.target == target.name]
        bpb = {(one.size, one.method): one for one in own if one.measure == "bpb"}
        for error in (one for one in own if one.measure == "error"):
            other = bpb[error.size, error.method]
            lines.append(
                f"| {error.size} | {error.method} | {error.seeds} | {error.mean:.3f} "
                f"| {_difference(error)} | {other.mean:.3f} | {_difference(other)} |"
            )
        lines += [
            f"\n{method} is left out: {reason}"
            for method, reason in left_out(folder, target.name).items()
        ]
        yield "\n".join(lines) + "\n"


def _leads(words: str, found: Sequence[Lead]) -> str:
    if not found:
        return ""
    lines = [
        f"### {words} against each other method\n",
        f"How much lower error and BPB are with {words[0].lower() + words[1:]}, paired by seed.\n",
        "| target | LLM | other method | error lower by | BPB lower by |",
        "|---|---|---|---|---|",
    ]
    bpb = {(one.target, one.size, one.other): one for one in found if one.measure == "bpb"}
    for one in (one for one in found if one.measure == "error"):
        other = bpb[one.target, one.size, one.other]
        lines.append(
            f"| {one.target} | {one.size} | {one.other} | {_difference(one)} "
            f"| {_difference(other)} |"
        )
    return "\n".join(lines) + "\n"


def _difference(found: Finding | Lead) -> str:
    if found.lower is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.lower:+.3f}"
    return f"{found.lower:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
