"""Methods that label the pages of the sample by the BPB of LLMs, and transfer the labels.

Belongs here: what each makes of BPB and benchmark errors, and the labels. Does not belong here:
estimates of the platform (`stats`), and training on labels (`classifying`).

All of them rank pages, label the best that fill the share of tokens which the platform's own
labels fill (`stats.projection.linear` under the caps tau), and train the same classifier.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pcorr_assets.methods.classifying import score_with, train_on_pages
from pcorr_assets.methods.material import Documents, LacksMaterialError, Material, SampleBpb
from pcorr_assets.stats.projection import linear


def predictive_strength(bpb: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Of each page (D,) the share of pairs of LLMs that its BPB ranks as their errors do.

    The score S of Shum et al. 2025 (arXiv 2503.00808, section 3): over all pairs of which one
    LLM is better, the mean of 1 where the better one has the lower BPB. 1/2 is chance; without
    ties it is (1 + Kendall's tau) / 2.

    Args:
        bpb: (N, D) bits-per-byte.
        errors: (N,) benchmark errors.

    Raises:
        LacksMaterialError: all errors are the same.
    """
    agreeing, pair_count = np.zeros(bpb.shape[1]), 0
    for number, error in enumerate(errors):
        worse = errors > error
        agreeing += (bpb[worse] > bpb[number]).sum(axis=0)
        pair_count += int(worse.sum())
    if not pair_count:
        raise LacksMaterialError("all LLMs have the same benchmark error")
    return agreeing / pair_count


def preselect(material: Material, documents: Documents) -> np.ndarray:
    """Probability (D,) of being predictive: the best pages by predictive strength against the
    worst, with as many tokens; pages between are in neither class.

    Raises:
        LacksMaterialError: there is no BPB, or all errors are the same.
        PcorrError: as `train_on_pages`.
    """
    sample = material.scored_sample()
    strength = predictive_strength(sample.bpb, sample.errors)
    best = _best(strength, sample, material.seed)
    worst = _best(-strength, sample, material.seed) & ~best
    labels = {
        page: bool(is_best)
        for page, is_best, is_worst in zip(sample.pages, best, worst, strict=True)
        if is_best or is_worst
    }
    return _transferred(labels, sample, material, documents)


def mean_bpb(material: Material, documents: Documents) -> np.ndarray:
    """Probability (D,) of a low mean BPB over all LLMs.

    Raises:
        LacksMaterialError: there is no BPB.
        PcorrError: as `train_on_pages`.
    """
    sample = material.scored_sample()
    return _of_lowest(sample.bpb.mean(axis=0), sample, material, documents)


def strongest_llm(material: Material, documents: Documents) -> np.ndarray:
    """Probability (D,) of a low BPB of the LLM with the lowest benchmark error.

    Raises:
        LacksMaterialError: there is no BPB.
        PcorrError: as `train_on_pages`.
    """
    sample = material.scored_sample()
    return _of_lowest(sample.bpb[strongest(sample)], sample, material, documents)


def strongest(sample: SampleBpb) -> int:
    """Which LLM has the lowest benchmark error; of several the first."""
    return int(np.argmin(sample.errors))


def _of_lowest(
    values: np.ndarray, sample: SampleBpb, material: Material, documents: Documents
) -> np.ndarray:
    best = _best(-values, sample, material.seed)
    labels = {page: bool(is_best) for page, is_best in zip(sample.pages, best, strict=True)}
    return _transferred(labels, sample, material, documents)


def _best(values: np.ndarray, sample: SampleBpb, seed: int) -> np.ndarray:
    """(D,) bool: the pages that fill the caps, highest values first; ties in a seeded order, for
    the order of pages is that of their domains."""
    order = np.random.default_rng(seed).permutation(len(values))
    best = np.empty(len(values), bool)
    best[order] = linear(values[order], sample.tau[order]) > 0
    return best


def _transferred(
    labels: Mapping[str, bool], sample: SampleBpb, material: Material, documents: Documents
) -> np.ndarray:
    model = train_on_pages(labels, sample.chunks, material.fasttext, material.scratch)
    return score_with(model, documents)
