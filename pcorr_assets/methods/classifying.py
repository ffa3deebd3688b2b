"""Methods that score documents with a fastText classifier, whatever it was trained on.

Belongs here: the platform's filter as a method, a classifier of target-like text, and training on
pages with labels. Does not belong here: how pages get labels (`bpb`), and training itself
(`filters.training`), which is one for all, so that methods differ by their labels only.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pcorr_assets.config import FastText
from pcorr_assets.filters.corpus import TEXT_COLUMNS, Lines, write_lines
from pcorr_assets.filters.labels import PAGE_COLUMNS, UnitLabels, label_pages
from pcorr_assets.filters.model import FilterModel
from pcorr_assets.filters.normalise import normalise, normalise_utf8
from pcorr_assets.filters.ordering import PURPOSE, SMALLEST_PROBABILITY
from pcorr_assets.filters.splitting import split_pages
from pcorr_assets.filters.training import train_on
from pcorr_assets.methods.material import (
    Documents,
    Material,
    ReadChunks,
    seeded_gumbel,
    seeded_uniform,
)
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse.files import scratch_folder

SCRATCH = ".method-"


def own_filter(material: Material, documents: Documents) -> np.ndarray:
    """The platform's own filter: probability of `include` (D,), in [0, 1].

    Raises:
        LacksMaterialError: there is no filter.
        PcorrError: as `FilterFile.load`.
    """
    return score_with(material.filter_of_target().load(), documents)


def resampled_filter(material: Material, documents: Documents) -> np.ndarray:
    """Documents drawn with the odds of the platform's own filter as weights: log weights (D,).

    The odds of a classifier of `include` against the rest are, up to a constant, how much likelier
    a text is among what was selected of the sample than among the rest of it: an importance weight.
    With Gumbel noise added to their logarithm the best are a sample without replacement (Xie et al.
    2023, section 3, where weights are those of n-grams). What is drawn is as varied as what was
    selected; the highest scores are of what the filter tells most easily. It is what
    `selected_data` takes of a pool with `draw` and this seed.

    Raises:
        LacksMaterialError: there is no filter.
        PcorrError: as `FilterFile.load`.
    """
    return drawn_with_odds(own_filter(material, documents), documents, material.seed)


def drawn_with_odds(probability: np.ndarray, documents: Documents, seed: int) -> np.ndarray:
    """Logarithms of the odds of probabilities (D,) with Gumbel noise.

    It is what `filters.ordering` has in SQL for pools with `draw`: a document is known by the hash
    of its content there, and so it is here.
    """
    hashes = (hashlib.sha256(text).hexdigest().encode() for text in documents.read())
    luck = (seeded_gumbel(seed, PURPOSE, one) for one in hashes)
    gumbel = np.fromiter(luck, np.float64, documents.count)
    inside = np.clip(probability, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.log(inside) - np.log1p(-inside) + gumbel


def target_classifier(material: Material, documents: Documents) -> np.ndarray:
    """Probability (D,) of being target-like, by a classifier (Li et al. 2024, arXiv 2406.11794).

    Positives are the target-like texts, negatives as many documents of the pool, drawn at random
    (seeded). Section 4.4 of the paper: a fastText classifier of text that one wants more of
    against the pool itself.

    Raises:
        LacksMaterialError: there is no target-like text.
        PcorrError: as `train_on`.
    """
    positives = [normalise(text).encode() for text in material.texts_of_target()]
    luck = (
        (seeded_uniform(material.seed, "negatives", text), number)
        for number, text in enumerate(documents.read())
    )
    drawn = {number for _, number in heapq.nsmallest(len(positives), luck)}
    negatives = (
        normalise_utf8(text) for number, text in enumerate(documents.read()) if number in drawn
    )
    with scratch_folder(material.scratch, SCRATCH) as scratch:
        model = _train_on_lines([*positives, *negatives], len(positives), material, scratch)
    return score_with(model, documents)


def _train_on_lines(
    lines: Sequence[bytes], positive_count: int, material: Material, scratch: Path
) -> FilterModel:
    path = scratch / "lines.txt"
    lengths = np.array([len(line) for line in lines], np.int64)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    offsets = np.cumsum(lengths + 1) - lengths - 1
    ids = [str(number) for number in range(len(lines))]
    numbers = np.arange(len(lines))
    written = Lines(path, offsets, lengths)
    return _fit(written, ids, numbers, numbers < positive_count, material.fasttext, scratch)


def train_on_pages(
    labels: Mapping[str, bool], chunks: ReadChunks, settings: FastText, scratch: Path
) -> FilterModel:
    """A filter trained on labels of pages, `{page id: is it included?}`, as the platform's is.

    The same share of domains is held out, so that it learns from as much as the platform's own.

    Raises:
        PcorrError: as `label_pages`, `split_pages` and `train_on`.
    """
    columns = UnitLabels("page", labels, None, 0)
    with scratch_folder(scratch, SCRATCH) as folder:
        pages = label_pages(chunks(PAGE_COLUMNS), columns)
        split = split_pages(pages, settings.test_fraction, settings.seed)
        lines = write_lines(chunks(TEXT_COLUMNS), pages.page_ids, folder / "pages.txt")
        train = np.flatnonzero(~split.is_test)
        return _fit(lines, pages.page_ids, train, pages.is_included, settings, folder)


def _fit(
    lines: Lines,
    ids: Sequence[str],
    indices: np.ndarray,
    is_included: np.ndarray,
    settings: FastText,
    folder: Path,
) -> FilterModel:
    train_on(lines, ids, indices, is_included, settings, folder / "model")
    return FilterModel.load(folder / "model")


def score_with(model: FilterModel, documents: Documents) -> np.ndarray:
    """Probability of `include` (D,) of each document, in [0, 1]; 0 for one without a word."""
    with Progress("score", total=documents.count, unit="documents") as progress:

        def lines() -> Iterable[bytes]:
            for text in documents.read():
                yield normalise_utf8(text)
                progress.update()

        return model.score(lines())
