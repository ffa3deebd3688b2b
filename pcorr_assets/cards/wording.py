"""What the cards say alike: method, verdict, benchmarks, LLMs, what was searched.

Belongs here: sentences and tables as Markdown. Does not belong here: reading tables (`facts`)
and the order of a card (`filter_card`, `selection_card`, `matrix_card`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pcorr_assets.cards.facts import CardFacts, CardLLM
from pcorr_assets.cards.markdown import code, table, words
from pcorr_assets.report.facts import BenchmarkFacts, Provenance, VerdictFacts
from pcorr_assets.report.formats import NOTHING, count, number, percent, signed
from pcorr_assets.report.page import METRICS, VERDICTS

PAPER = (
    "[Improving Pretraining Data Using Perplexity Correlations](https://arxiv.org/abs/2409.05816)"
)
MADE_BY = f"by perplexity correlations ({PAPER})"
NOT_SEARCHED = "not searched"
TAGS = ("perplexity-correlations", "data-selection", "pretraining-data")


def method(facts: CardFacts, last: str) -> str:
    """How one comes from LLMs to a selection, with its settings; `last` is the last step."""
    chosen = facts.provenance.settings["selection of this target"]
    return f"""\
1. {len(facts.llms)} LLMs that exist already were scored on texts of the sample \
{code(facts.sample)}: bits-per-byte, of each {facts.level}.
2. The errors of the same LLMs on the benchmarks of the target {code(facts.target)} were taken; \
no LLM was trained for it.
3. For each {facts.level} an estimate ({code(chosen["estimator"])}) says whether LLMs that find it \
likelier have lower errors.
4. The {facts.level}s of highest estimate that fill {percent(float(chosen["keep_ratio"]))} of the \
tokens, under a cap for each, are selected ({code(chosen["projection"])} projection).
5. {last}

The method is that of {PAPER}."""


def verdict(v: VerdictFacts) -> str:
    """The verdict, what it means, and the gain with what it means."""
    _, title, meaning = VERDICTS[v.state]
    lines = [f"**{title}.** {meaning}", words(v.reason)]
    if v.gain is not None:
        lines.append(
            table(
                ("question", "answer", "needed"),
                [
                    (
                        "expected gain over random texts, 90 % interval",
                        f"{signed(v.gain)} ({signed(v.gain_low)} to {signed(v.gain_high)})",
                        f"at least {signed(v.gain_needed)}",
                    ),
                    ("gain of texts of lowest mean BPB", signed(v.gain_mean_bpb), ""),
                    (
                        "gain of texts that the LLM of lowest error finds easiest",
                        signed(v.gain_strongest_llm),
                        "",
                    ),
                    (
                        "how often a selection looks as good by chance (p)",
                        number(v.p_value),
                        f"at most {number(v.largest_p, 2)}",
                    ),
                    (
                        "independent groups of LLMs",
                        count(v.group_count),
                        f"{v.groups_needed} for a go",
                    ),
                ],
            )
        )
        lines.append(
            "The gain is the rank correlation of bits-per-byte and error that is expected of the "
            "selected texts, less that of random texts: it says how well the selection is told "
            "from chance, not by how much a training run gets better."
        )
    return "\n\n".join(lines)


def benchmarks(found: Sequence[BenchmarkFacts]) -> str:
    """A row for each benchmark, with the versions of its task and of lm-eval."""
    return table(
        ("benchmark", "metric", "few-shot", "items", "task version", "lm-eval", "LLMs", "errors"),
        (
            (
                code(one.benchmark),
                words(one.metric or "as imported"),
                words(one.num_fewshot or NOTHING),
                words(one.items or NOTHING),
                words(one.task_version or NOTHING),
                words(one.lm_eval or NOTHING),
                count(one.llm_count),
                f"{number(one.lowest)} to {number(one.highest)}",
            )
            for one in found
        ),
    )


def llms(found: Sequence[CardLLM]) -> str:
    """A row for each LLM, with the commit of its weights."""
    return table(
        ("LLM", "family", "weights", "revision", "commit", "dtype"),
        (
            (
                code(one.llm),
                words(one.family or NOTHING),
                _weights(one.name),
                words(one.revision or NOTHING),
                code(one.commit[:12]) if one.commit else NOTHING,
                words(one.dtype or NOTHING),
            )
            for one in found
        ),
    )


def _weights(name: str | None) -> str:
    if not name:
        return NOTHING
    # Where a folder lies is nobody's business.
    return code(name) if is_on_hub(name) else "a folder of its own"


def is_on_hub(name: str) -> bool:
    """Is it the name of a repository, and not a folder?"""
    return name.count("/") == 1 and not name.startswith(("/", ".", "~"))


def settings_of_filter(facts: CardFacts) -> str:
    """Tables of the settings that a filter, and what it selects, were made with."""
    headings = {
        f"samples.{facts.sample}": "Sample",
        "selection of this target": "Selection and fastText",
    }
    return settings_of(facts.provenance, headings)


def settings_of(provenance: Provenance, headings: Mapping[str, str]) -> str:
    """Tables of settings: `headings` are those of the provenance, with how they are called."""
    parts = []
    for heading, title in headings.items():
        rows = provenance.settings.get(heading, {}).items()
        stated = [(code(name), code(value)) for name, value in rows if value != ""]
        if stated:
            parts.append(f"{title}:\n\n{table(('setting', 'value'), stated)}")
    return "\n\n".join(parts)


def unseen(facts: CardFacts) -> str:
    """How well the filter does on domains that it was not trained on, beside its controls."""
    found = facts.filter
    if found is None:
        return "There is no filter."
    rows = [
        (title, *(number(found.number(f"{control}{name}")) for control in CONTROLS))
        for name, title in METRICS
    ]
    lines = [
        f"Test pages are of {found.grouped_by}s that the filter was not trained on: "
        f"{count(found.number('test_include_pages'))} to include and "
        f"{count(found.number('test_exclude_pages'))} to exclude. The same for a random filter, "
        "and for one that was trained on shuffled labels. The budget is the selected share of the "
        "tokens.",
        table(("metric", "filter", "random", "shuffled labels"), rows),
    ]
    if found.beats_random is not None:
        lines.append(
            "At the budget it is better than 95 % of random filters."
            if found.beats_random
            else "**At the budget it is no better than random filters are.**"
        )
    lines += [words(note) for note in found.notes]
    return "\n\n".join(lines)


CONTROLS = ("", "random_", "shuffled_")


def origin(provenance: Provenance) -> str:
    """The tables that it was made from, with the hashes of their files."""
    return table(
        ("table", "partition", "rows", "SHA-256"),
        (
            (code(one.table), code(one.partition), count(one.rows), code(one.sha256[:16]))
            for one in provenance.tables
        ),
    )


def searched(found: Mapping[str, Any]) -> str:
    """What was searched, and what was found: question -> answer."""
    return table(("what", "answer"), ((words(what), words(said)) for what, said in found.items()))
