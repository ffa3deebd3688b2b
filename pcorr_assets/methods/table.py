"""The methods by name, each with what it takes.

Belongs here: the one list of them. Does not belong here: what they compute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pcorr_assets.methods.bpb import mean_bpb, preselect, strongest, strongest_llm
from pcorr_assets.methods.classifying import own_filter, resampled_filter, target_classifier
from pcorr_assets.methods.dsir import dsir
from pcorr_assets.methods.material import Documents, Material, SampleBpb, seeded_uniform

Score = Callable[[Material, Documents], np.ndarray]
OWN = "filter"


@dataclass(frozen=True)
class Method:
    """A way to select documents: `score` gives each a number, higher is better.

    It raises LacksMaterialError where the material does not hold what it needs. `words` says in
    words what it does, `source` where it comes from. `llms_of` names the LLMs whose BPB on the
    sample it needs.
    """

    score: Score
    words: str
    source: str
    llms_of: Callable[[SampleBpb], list[str]] = lambda sample: []

    def __call__(self, material: Material, documents: Documents) -> np.ndarray:
        """The score (D,) float64 of each document; never NaN, -inf: last of all."""
        return self.score(material, documents)


def at_random(material: Material, documents: Documents) -> np.ndarray:
    """A seeded number (D,) in (0, 1) for each text; copies have the same."""
    luck = (seeded_uniform(material.seed, "random", text) for text in documents.read())
    return np.fromiter(luck, np.float64, documents.count)


def _all_llms(sample: SampleBpb) -> list[str]:
    return sample.llms


def _strongest(sample: SampleBpb) -> list[str]:
    return [sample.llms[strongest(sample)]]


METHODS: dict[str, Method] = {
    OWN: Method(own_filter, "the platform's filter", "Thrush et al. 2024", _all_llms),
    "resampled": Method(
        resampled_filter,
        "documents drawn with the odds of the platform's filter",
        "Thrush et al. 2024, Xie et al. 2023",
        _all_llms,
    ),
    "random": Method(at_random, "documents at random", "-"),
    "dsir": Method(
        dsir, "importance resampling towards the benchmarks' training text", "Xie et al. 2023"
    ),
    "classifier": Method(
        target_classifier,
        "classifier of the benchmarks' training text against the pool",
        "Li et al. 2024",
    ),
    "preselect": Method(
        preselect, "pages whose BPB ranks LLMs as their errors do", "Shum et al. 2025", _all_llms
    ),
    "mean_bpb": Method(mean_bpb, "pages of the lowest mean BPB", "-", _all_llms),
    "strongest_llm": Method(
        strongest_llm, "pages of the lowest BPB of the strongest LLM", "-", _strongest
    ),
}
