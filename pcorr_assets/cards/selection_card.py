"""The card of a selection: a data card, beside the selected documents.

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
from pcorr_assets.cards.header import compose, read_card
from pcorr_assets.cards.markdown import code, sections, table, words
from pcorr_assets.config import Settings
from pcorr_assets.config.keys import to_slug
from pcorr_assets.report.formats import count, number, percent
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.verification import CARD

# How many documents the hub says that a data set has.
_POWERS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
FILES_SHOWN = 20


def selection_folder(home: Path, pool: str, target: str) -> Path:
    """Where the documents selected from a pool for a target lie, their manifest and card."""
    return home / "selected" / to_slug(pool) / to_slug(target)


def selection_card(
    wh: Warehouse,
    settings: Settings,
    pool: str,
    target: str,
    manifest: Mapping[str, Any],
    *,
    earlier: Sequence[str] = (),
) -> str:
    """The card of the documents that a manifest names.

    `earlier` are cards that lie elsewhere, whose filled in parts are taken over where the card
    beside the documents has none.

    Raises:
        PcorrError: the header of an earlier card is broken.
    """
    facts = read_card_facts(wh, settings, str(manifest["sample"]), target)
    here = read_card(selection_folder(wh.home, pool, target) / CARD)
    body = (
        f"# Documents of {code(pool)} for {code(target)}\n\n"
        f"{count(manifest['document_count'])} documents with {count(manifest['token_count'])} "
        f"tokens that were selected from the pool {code(pool)} for pretraining LLMs with low "
        f"errors on the target {code(target)}. The selection was made {w.MADE_BY}.\n\n"
    )
    return compose(
        "dataset",
        _header(settings, pool, manifest),
        body + sections(_parts(facts, pool, manifest)),
        [*here, *earlier],
    )


def without_folder(text: str) -> str:
    """Words of which none is the path of a folder: where things lie is nobody's business."""
    return " ".join(Path(one).name if one.startswith("/") else one for one in text.split())


def _header(settings: Settings, pool: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    # Beside the manifest, which is JSON as well.
    files = [part["file"] for part in manifest["files"]]
    ending = manifest["format"]
    found: dict[str, Any] = {
        "task_categories": ["text-generation"],
        "tags": list(w.TAGS),
        "size_categories": [size_category(int(manifest["document_count"]))],
    }
    if files:
        found["configs"] = [{"config_name": "default", "data_files": f"*.{ending}"}]
    source = settings.pools[pool].dataset if pool in settings.pools else None
    if source is not None and w.is_on_hub(source):
        found["source_datasets"] = [source]
    return found


def size_category(documents: int) -> str:
    """What the hub calls a data set of so many documents."""
    above = [name for place, name in enumerate(_POWERS) if documents >= 10 ** (place + 3)]
    if not above:
        return f"n<{_POWERS[0]}"
    if len(above) == len(_POWERS):
        return f"n>{_POWERS[-1]}"
    return f"{above[-1]}<n<{_POWERS[len(above)]}"


def _parts(facts: CardFacts, pool: str, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Verdict", w.verdict(facts.verdict)
    yield "Documents", _documents(pool, manifest)
    yield "What was searched", w.searched(clean.of_selection(manifest))
    yield (
        "How it was selected",
        w.method(
            facts,
            "A fastText filter was trained to tell the selected texts of the sample from the "
            f"others, and scored every document of the pool; {_taken(manifest)} fill the budget.",
        ),
    )
    yield "The filter on texts it has not seen", _filter(facts, manifest)
    yield "Benchmarks of the target", w.benchmarks(facts.benchmarks)
    yield "LLMs", w.llms(facts.llms)
    yield "Settings", w.settings_of_filter(facts)
    yield "Made from", w.origin(facts.provenance)


def _taken(manifest: Mapping[str, Any]) -> str:
    return "documents drawn with its odds" if _is_drawn(manifest) else "the best of them"


def _is_drawn(manifest: Mapping[str, Any]) -> bool:
    return manifest["threshold"] is None


def _documents(pool: str, manifest: Mapping[str, Any]) -> str:
    share = manifest["token_count"] / (manifest["pool_token_count"] or 1)
    tokens = manifest["token_source"]
    rows = [
        ("documents", f"{count(manifest['document_count'])} of "
         f"{count(manifest['pool_document_count'])} of {code(pool)}"),
        ("tokens", f"{count(manifest['token_count'])} of {count(manifest['pool_token_count'])} "
         f"({percent(share)}), counted by {words(without_folder(tokens))}"),
        ("budget in tokens", count(manifest["budget_tokens"])),
        *([] if _is_drawn(manifest) else [("lowest score", number(manifest["threshold"], 6))]),
        ("filter", code(manifest["filter_sha256"])),
    ]  # fmt: skip
    columns = {part["score_column"] for part in manifest["files"]} or {"score"}
    marks = {name for part in manifest["files"] if (name := part.get("contaminated_by_column"))}
    marked = f" and the benchmarks that it holds text of ({', '.join(map(code, sorted(marks)))})"
    files = [
        (code(part["file"]), count(part["documents"]), count(part["tokens"]), code(part["sha256"]))
        for part in manifest["files"][:FILES_SHOWN]
    ]
    lines = [
        table(("what", "how many or which"), rows),
        f"Each document has its original columns and the filter's score "
        f"({', '.join(code(name) for name in sorted(columns))}){marked if marks else ''}. "
        f"`manifest.json` names every file.",
        table(("file", "documents", "tokens", "SHA-256"), files),
    ]
    if len(manifest["files"]) > FILES_SHOWN:
        lines.append(f"And {len(manifest['files']) - FILES_SHOWN:,} more files.")
    lines += [f"**{words(one)}.**" for one in manifest["warnings"]]
    return "\n\n".join(lines)


def _filter(facts: CardFacts, manifest: Mapping[str, Any]) -> str:
    if facts.filter is None or facts.filter.row["sha256"] != manifest["filter_sha256"]:
        return (
            "The filter that selected these documents was replaced since, so that nothing is "
            "known of it here."
        )
    return w.unseen(facts)
