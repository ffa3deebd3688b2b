"""Training a filter: from chunks and a sampling distribution to a checked model file.

Belongs here: the steps of the asset `fasttext_filter` and the fastText settings. Does not
belong here: labels, splits, metrics (modules of their own), and scoring pools.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pcorr_assets.config import FastText, Selection
from pcorr_assets.config.keys import to_slug
from pcorr_assets.filters.corpus import TEXT_COLUMNS, Lines, write_lines, write_training_file
from pcorr_assets.filters.fitting import train_model
from pcorr_assets.filters.labels import (
    PAGE_COLUMNS,
    LabelledPages,
    UnitLabels,
    label_pages,
    label_units,
)
from pcorr_assets.filters.languages import identify_languages, language_mix
from pcorr_assets.filters.metrics import (
    Metrics,
    beats_random,
    class_counts,
    evaluate,
    random_metrics,
    top_of_budget,
)
from pcorr_assets.filters.model import FilterFile, FilterModel
from pcorr_assets.filters.splitting import Split, split_pages
from pcorr_assets.filters.words import Term, top_terms
from pcorr_assets.matrix.units import units_of_pages
from pcorr_assets.text.token_counts import UNIT_COLUMNS
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.files import move_into_place, scratch_folder, sha256_file

logger = logging.getLogger(__name__)

BATCH_ROWS = 4096
SCRATCH = ".training-"

# What a filter was trained on, noted beside its row.
DISTRIBUTION_HASH = "sampling_distribution_sha256"


@dataclass(frozen=True)
class BuiltFilter:
    """A trained filter: `row` is its row of `fasttext_filters`, the rest is for people.

    `beats_random`: at the budget it is better than 95 % of random filters.
    `languages` is None without `selection.language_model`; its keys are `before`, `label`
    and `filter`. `notes` are sentences that a user should see.
    """

    row: Mapping[str, Any]
    beats_random: bool
    terms: Mapping[str, list[Term]]
    languages: Mapping[str, Mapping[str, float]] | None
    split: Split
    labels: UnitLabels
    notes: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The model file."""
        return Path(self.row["model_path"])

    @property
    def sha256(self) -> str:
        """Content hash of the model file."""
        return self.row["sha256"]


def build_filter(
    warehouse: Warehouse,
    sample: str,
    target: str,
    selection: Selection,
    *,
    estimates: Mapping[str, float] | None = None,
    verdict: str | None = None,
) -> BuiltFilter:
    """Train, test and store the filter of a sample and target.

    Reads `sampling_distributions` and `chunks`; writes the model to
    `<home>/filters/<sample>/<target>/<sha256>.bin` (`.ftz` if quantised) and one row of
    `fasttext_filters`, with the terms, languages and notes as its file's metadata. With one
    thread the model file is the same, byte for byte, each time. A crash leaves the old row
    and its model.

    Args:
        estimates: unit -> estimate, to name the boundary unit after an `l2` projection.
        verdict: that of the estimate. A filter is trained whatever it says (how else to
            look at it), with a note where it is not "go".

    Raises:
        PcorrError: labels of one class, a class with a single page, a missing partition, or
            no trained word.
    """
    labels = label_units(warehouse.read("sampling_distributions", sample, target), estimates)
    distribution_sha256 = sha256_file(warehouse.path("sampling_distributions", sample, target))
    pages = label_pages(
        read_chunks(warehouse, sample, PAGE_COLUMNS), _of_pages(warehouse, sample, labels)
    )
    split = split_pages(pages, selection.fasttext.test_fraction, selection.fasttext.seed)
    folder = filter_folder(warehouse, sample, target)
    with scratch_folder(folder, SCRATCH) as scratch:
        lines = write_lines(
            read_chunks(warehouse, sample, TEXT_COLUMNS), pages.page_ids, scratch / "pages.txt"
        )
        path = _train_and_keep(lines, pages, split, selection.fasttext, folder, scratch)
        model = FilterModel.load(path)
        built = _judge(model, path, lines, pages, split, labels, selection, scratch)
    row = {"sample": sample, "target": target, **built.row}
    notes = (*_verdict_notes(verdict), *built.notes)
    built = BuiltFilter(row, built.beats_random, built.terms, built.languages, split, labels, notes)
    for note in notes:
        logger.warning("fasttext_filter %s|%s: %s", sample, target, note)
    noted = {**filter_metadata(built), DISTRIBUTION_HASH: distribution_sha256}
    warehouse.write("fasttext_filters", (sample, target), _table(row), noted)
    _remove_other_models(folder, path)
    return built


def _of_pages(warehouse: Warehouse, sample: str, labels: UnitLabels) -> UnitLabels:
    """Labels of units of `unit_columns` as those of their pages; others as they are."""
    if labels.level in UNIT_COLUMNS:
        return labels
    units = units_of_pages(warehouse, sample, labels.level)
    known = labels.is_included
    included = {page: known[unit] for page, unit in units.items() if unit in known}
    return replace(labels, level="page", is_included=included)


def read_chunks(warehouse: Warehouse, sample: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows of the chunks of a sample, in batches of some columns."""
    with warehouse.open("chunks", sample) as file:
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)


def train_on(
    lines: Lines,
    ids: Sequence[str],
    indices: np.ndarray,
    is_included: np.ndarray,
    settings: FastText,
    path: Path,
) -> None:
    """Train a filter on the lines at `indices`, and write its model file to `path`.

    `ids` (D) and `is_included` (D,) go with the lines; `ids` also decide the order of training.
    The training file lies beside the model meanwhile.

    Raises:
        PcorrError: as `train_model`.
    """
    corpus = path.with_name(f"{path.name}.txt")
    write_training_file(lines, ids, indices, is_included, settings.seed, corpus)
    train_model(corpus, settings, path, quantize=settings.quantize)
    corpus.unlink()


def _verdict_notes(verdict: str | None) -> tuple[str, ...]:
    if verdict in (None, "go"):
        return ()
    return (
        f"the verdict on the estimate behind this filter is {verdict}: what the filter selects "
        "may be no better for the target than random documents",
    )


def _train_and_keep(
    lines: Lines,
    pages: LabelledPages,
    split: Split,
    settings: FastText,
    folder: Path,
    scratch: Path,
) -> Path:
    """Train on the train pages and keep the model under the name of its content hash."""
    train = np.flatnonzero(~split.is_test)
    trained = scratch / "model"
    train_on(lines, pages.page_ids, train, pages.is_included, settings, trained)
    sha256 = sha256_file(trained)
    path = folder / f"{sha256}{'.ftz' if settings.quantize else '.bin'}"
    move_into_place(trained, path)
    return path


def _judge(
    model: FilterModel,
    path: Path,
    lines: Lines,
    pages: LabelledPages,
    split: Split,
    labels: UnitLabels,
    selection: Selection,
    scratch: Path,
) -> BuiltFilter:
    """Everything about a trained filter but the keys of its row."""
    settings = selection.fasttext
    test = np.flatnonzero(split.is_test)
    is_included, token_counts = pages.is_included[test], pages.token_counts[test]
    ids = [pages.page_ids[index] for index in test]
    scores = model.score(lines.read(test))
    metrics = evaluate(scores, is_included, token_counts, ids, selection.keep_ratio)
    at_random, lucky = random_metrics(
        is_included, token_counts, selection.keep_ratio, settings.seed
    )
    shuffled = _train_on_shuffled_labels(lines, pages, split, selection, scratch)
    train = np.random.default_rng(settings.seed).permutation(np.flatnonzero(~split.is_test))
    languages = None
    if selection.language_model is not None:
        languages = language_mix(
            identify_languages(lines.read(test), selection.language_model),
            token_counts,
            {
                "before": np.ones(len(test), bool),
                "label": is_included,
                "filter": top_of_budget(scores, token_counts, ids, selection.keep_ratio),
            },
        )
    row = {
        "model_path": str(path),
        "sha256": model.sha256,
        "level": labels.level,
        **class_counts(split.is_test, pages.is_included, pages.token_counts),
        **metrics.columns(),
        **at_random.columns("random_"),
        **shuffled.columns("shuffled_"),
        "boundary_unit": labels.boundary_unit,
    }
    notes = [split.note] if split.note else []
    better = beats_random(metrics.budget_precision, lucky)
    if not better:
        notes.append(
            f"at the budget {_percent(metrics.budget_precision)} of the selected tokens are "
            f"labelled include, which random filters reach too (95 % of them stay at or below "
            f"{_percent(lucky)}): the filter does not generalise to unseen {split.grouped_by}s"
        )
    terms = top_terms(model, lines.read(train))
    return BuiltFilter(row, better, terms, languages, split, labels, tuple(notes))


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"


def _train_on_shuffled_labels(
    lines: Lines, pages: LabelledPages, split: Split, selection: Selection, scratch: Path
) -> Metrics:
    """The control: the same training and test, but train pages swap labels at random."""
    settings = selection.fasttext
    train, test = np.flatnonzero(~split.is_test), np.flatnonzero(split.is_test)
    shuffled = pages.is_included.copy()
    generator = np.random.default_rng(settings.seed)
    # In the order of the page ids, so that the outcome does not hang on the rows' order.
    train = train[np.argsort(np.array(pages.page_ids)[train])]
    shuffled[train] = generator.permutation(shuffled[train])
    plain = settings.model_copy(update={"quantize": False})
    train_on(lines, pages.page_ids, train, shuffled, plain, scratch / "shuffled")
    model = FilterModel.load(scratch / "shuffled")
    return evaluate(
        model.score(lines.read(test)),
        pages.is_included[test],
        pages.token_counts[test],
        [pages.page_ids[index] for index in test],
        selection.keep_ratio,
    )


def _table(row: Mapping[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([dict(row)], schema=TABLES["fasttext_filters"].schema)


def filter_metadata(built: BuiltFilter) -> dict[str, str]:
    """What stands beside a filter's row: its words, languages and notes, as JSON."""
    terms = {name: [asdict(term) for term in found] for name, found in built.terms.items()}
    return {
        "beats_random": json.dumps(built.beats_random),
        "grouped_by": built.split.grouped_by,
        "test_groups": json.dumps(built.split.test_groups, ensure_ascii=False),
        "top_terms": json.dumps(terms, ensure_ascii=False),
        "languages": json.dumps(built.languages, ensure_ascii=False),
        "notes": json.dumps(built.notes, ensure_ascii=False),
    }


def _remove_other_models(folder: Path, kept: Path) -> None:
    """Remove models that no row names any more; a run that scores with one has it loaded."""
    for path in folder.iterdir():
        if path != kept and path.suffix in (".bin", ".ftz") and not path.name.startswith("."):
            path.unlink(missing_ok=True)


def load_filter(warehouse: Warehouse, sample: str, target: str) -> FilterModel:
    """The stored filter of a sample and target, checked against the hash of its row.

    It is looked for under the home, not under the path in its row: a cluster may see the
    home under another path, and a home may be moved.

    Raises:
        PcorrError: there is no such row, or the model file is gone or changed.
    """
    return find_filter(warehouse, sample, target).load()


def find_filter(warehouse: Warehouse, sample: str, target: str) -> FilterFile:
    """The model file of a sample and target, and its hash; it is not looked at.

    Raises:
        PcorrError: there is no filter of them.
    """
    row = warehouse.read("fasttext_filters", sample, target).to_pylist()[0]
    path = filter_folder(warehouse, sample, target) / Path(row["model_path"]).name
    return FilterFile(path, row["sha256"])


def filter_folder(warehouse: Warehouse, sample: str, target: str) -> Path:
    """Where the model file of a sample and target lies, and its card."""
    return warehouse.home / "filters" / to_slug(sample) / to_slug(target)
