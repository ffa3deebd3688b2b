"""The card of a filter: a model card, beside the model file.

Belongs here: what stands in it, in which order. Does not belong here: sentences that other
cards have as well (`wording`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pcorr_assets.cards import clean
from pcorr_assets.cards import wording as w
from pcorr_assets.cards.facts import CardFacts, read_card_facts
from pcorr_assets.cards.header import compose, read_card, write_card
from pcorr_assets.cards.markdown import code, sections, table
from pcorr_assets.config import Settings
from pcorr_assets.config.keys import to_slug
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.training import filter_folder
from pcorr_assets.report.formats import NOTHING, count, percent
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.json_files import read_json
from pcorr_assets.warehouse.verification import CARD, MANIFEST

# Metrics as the hub names them, of the columns of `fasttext_filters`.
HUB_METRICS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "f1",
    "roc_auc": "roc_auc",
    "average_precision": "average_precision",
}


def write_filter_card(wh: Warehouse, settings: Settings, sample: str, target: str) -> Path:
    """Write the card beside the model file; what was filled in into it stays.

    Raises:
        PcorrError: see `filter_card`.
    """
    path = filter_folder(wh, sample, target) / CARD
    write_card(path, filter_card(wh, settings, sample, target))
    return path


def filter_card(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    target: str,
    *,
    repo: str | None = None,
    earlier: Sequence[str] = (),
) -> str:
    """The card of the filter of a sample and target.

    `repo` is where it is published; `earlier` are cards that lie elsewhere, whose filled in parts
    are taken over where the card beside the filter has none.

    Raises:
        PcorrError: there is no filter; or the header of an earlier card is broken.
    """
    facts = read_card_facts(wh, settings, sample, target)
    if facts.filter is None:
        raise PcorrError(f"There is no filter of {sample}|{target}: materialise fasttext_filter")
    here = read_card(filter_folder(wh, sample, target) / CARD)
    body = _body(facts, thresholds(wh, settings, facts), repo or "ORGANISATION/NAME")
    return compose("model", _header(facts, settings), body, [*here, *earlier])


def model_name(facts_row: Mapping[str, Any]) -> str:
    """What the model file is called where it is published: `filter.bin` or `filter.ftz`."""
    return f"filter{Path(str(facts_row['model_path'])).suffix}"


def thresholds(wh: Warehouse, settings: Settings, facts: CardFacts) -> dict[str, dict[str, Any]]:
    """Of each pool that this very filter has selected from: budget and thresholds."""
    assert facts.filter is not None
    found = {}
    for name, pool in settings.pools.items():
        folder = wh.home / "selected" / to_slug(name) / to_slug(facts.target)
        if pool.sample != facts.sample or not (folder / MANIFEST).is_file():
            continue
        manifest = read_json(folder / MANIFEST)
        # Where documents were drawn no score parts them.
        is_parted = manifest["fasttext_threshold"] is not None
        if is_parted and manifest["filter_sha256"] == facts.filter.row["sha256"]:
            names = ("budget_tokens", "token_count", "pool_token_count", "fasttext_threshold")
            found[name] = {key: manifest[key] for key in names}
    return found


def _header(facts: CardFacts, settings: Settings) -> dict[str, Any]:
    from huggingface_hub import EvalResult

    assert facts.filter is not None
    row = facts.filter.row
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="include or exclude, pages of domains not trained on",
            dataset_type=f"pcorr-{to_slug(facts.sample)}",
            dataset_name=f"sample {facts.sample}",
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=row[name],
        )
        for name, kind in HUB_METRICS.items()
        if row[name] is not None
    ]
    header: dict[str, Any] = {
        "library_name": "fasttext",
        "pipeline_tag": "text-classification",
        "tags": [*w.TAGS, "fasttext", "datatrove"],
        "metrics": list(HUB_METRICS),
    }
    if (name := settings.samples[facts.sample].dataset) is not None and w.is_on_hub(name):
        header["datasets"] = [name]
    if results:
        header |= {"model_name": f"filter for {facts.target}", "eval_results": results}
    return header


def _body(facts: CardFacts, found: Mapping[str, Mapping[str, Any]], repo: str) -> str:
    assert facts.filter is not None
    row = facts.filter.row
    intro = (
        f"# Filter for {code(facts.target)}\n\n"
        f"A fastText classifier of documents, with the labels `__label__include` and "
        f"`__label__exclude`. Documents of high probability of `include` are like those texts of "
        f"the sample {code(facts.sample)} of which LLMs with low errors on the target "
        f"{code(facts.target)} have low bits-per-byte. It was made {w.MADE_BY}.\n\n"
    )
    return intro + sections(_parts(facts, row, found, repo))


def _parts(
    facts: CardFacts, row: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], repo: str
) -> Iterator[tuple[str, str]]:
    yield "Verdict", w.verdict(facts.verdict)
    yield "How to use it", _use(model_name(row), found, repo)
    yield "How it was made", w.method(facts, _training(row))
    yield "On texts it has not seen", w.unseen(facts)
    yield "Benchmarks of the target", w.benchmarks(facts.benchmarks)
    yield "LLMs", w.llms(facts.llms)
    searched = w.searched(clean.of_sample(facts.searched))
    yield "What was searched", f"In the texts of the sample it was trained on:\n\n{searched}"
    yield "Settings", w.settings_of_filter(facts)
    model = f"The model file has the SHA-256 {code(row['sha256'])}."
    yield "Made from", f"{model}\n\n{w.origin(facts.provenance)}"


def _use(name: str, found: Mapping[str, Mapping[str, Any]], repo: str) -> str:
    stated = next((one["fasttext_threshold"] for one in found.values()), None)
    threshold = "0.5  # choose one: see below" if stated is None else repr(stated)
    text = f"""\
With [datatrove](https://github.com/huggingface/datatrove):

```python
from datatrove.pipeline.filters import FastTextClassifierFilter

threshold = {threshold}
keep = FastTextClassifierFilter(
    "hf://{repo}/{name}", keep_labels=("include", threshold), newline_replacement=" "
)
```

Whitespace of any kind became single spaces before training: give documents the same way. \
datatrove replaces line ends; a no-break space it leaves as it is."""
    if not found:
        return (
            text + "\n\nA threshold belongs to a pool and a budget: score a part of the documents, "
            "sort by score, and take the score at which the tokens fill the budget. At 0.5, "
            "classes are told apart, which is no budget."
        )
    rows = (
        (
            code(pool),
            count(one["budget_tokens"]),
            percent(one["token_count"] / one["pool_token_count"])
            if one["pool_token_count"]
            else NOTHING,
            code(repr(one["fasttext_threshold"])),
        )
        for pool, one in found.items()
    )
    header = ("pool", "budget in tokens", "share of the pool's tokens", "threshold")
    return f"{text}\n\nThresholds that filled a budget:\n\n{table(header, rows)}"


def _training(row: Mapping[str, Any]) -> str:
    return (
        "A fastText model was trained to tell pages of the selected "
        f"{row['level']}s from the others: {count(row['train_include_pages'])} pages to include "
        f"({count(row['train_include_tokens'])} tokens) and {count(row['train_exclude_pages'])} to "
        f"exclude ({count(row['train_exclude_tokens'])} tokens). It knows texts by their words and "
        "word pairs alone."
    )
