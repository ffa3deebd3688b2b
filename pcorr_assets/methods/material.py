"""What methods are given: documents, and the material that they learn from.

Belongs here: these two, and the error of a method that lacks what it needs. Does not belong
here: any method, and where material comes from (`steps`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pcorr_assets.config import FastText
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.model import FilterFile

ReadChunks = Callable[[list[str]], Iterator[pa.RecordBatch]]
"""Rows of a sample's chunks in batches, with the columns named."""


class LacksMaterialError(PcorrError):
    """A method cannot be used here, for it needs what there is not; the message says what."""


@dataclass(frozen=True)
class Documents:
    """The documents of a pool: `count` texts in UTF-8, read anew by each call of `read`."""

    count: int
    read: Callable[[], Iterator[bytes]]

    @staticmethod
    def of(texts: Sequence[str]) -> Documents:
        """Documents that are in memory."""
        return Documents(len(texts), lambda: (text.encode() for text in texts))


@dataclass(frozen=True)
class SampleBpb:
    """Pages of the sample as LLMs see them.

    `bpb` (N, D) float64 are bits-per-byte of the `llms` (N) on the `pages` (D), `errors` (N,)
    their benchmark errors, `tau` (D,) the largest weight of each page: its share of the tokens,
    divided by the share of them that is labelled as selected. `chunks` reads the texts.
    """

    llms: list[str]
    errors: np.ndarray
    pages: list[str]
    bpb: np.ndarray
    tau: np.ndarray
    chunks: ReadChunks

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit, and numbers that are none."""
        shape = (len(self.llms), len(self.pages))
        if self.bpb.shape != shape or self.errors.shape != shape[:1] or self.tau.shape != shape[1:]:
            raise PcorrError(
                f"BPB of {self.bpb.shape}, errors of {self.errors.shape} and caps of "
                f"{self.tau.shape} do not fit {shape[0]} LLMs and {shape[1]} pages"
            )
        if not (np.isfinite(self.bpb).all() and np.isfinite(self.errors).all()):
            raise PcorrError("the BPB or the errors of LLMs hold NaN: mask them first")


@dataclass(frozen=True)
class Material:
    """What methods learn from; a method takes of it what it needs.

    `training_texts` are target-like: items of the benchmarks' training splits. `own_filter` is
    the platform's. Where one of the three is not there, `reasons` says why, by its name.
    `fasttext` are the settings of all classifiers. `scratch` is a folder for files that nobody
    needs afterwards. `seed` decides everything that is random.
    """

    fasttext: FastText
    scratch: Path
    seed: int = 0
    training_texts: Sequence[str] = ()
    sample: SampleBpb | None = None
    own_filter: FilterFile | None = None
    reasons: dict[str, str] | None = None

    def texts_of_target(self) -> Sequence[str]:
        """The target-like texts; raises LacksMaterialError if there are none."""
        if not self.training_texts:
            raise self._lacks("training_texts", "there is no training text of its benchmarks")
        return self.training_texts

    def scored_sample(self) -> SampleBpb:
        """The sample with BPB; raises LacksMaterialError if there is none."""
        if self.sample is None:
            raise self._lacks("sample", "there is no matrix of bits-per-byte")
        return self.sample

    def filter_of_target(self) -> FilterFile:
        """The platform's filter; raises LacksMaterialError if there is none."""
        if self.own_filter is None:
            raise self._lacks("own_filter", "there is no filter of the target")
        return self.own_filter

    def _lacks(self, what: str, usual: str) -> LacksMaterialError:
        return LacksMaterialError((self.reasons or {}).get(what, usual))


def seeded_uniform(seed: int, purpose: str, text: bytes) -> float:
    """A number in (0, 1) that depends on the seed, what it is for, and the text only.

    So copies of a text have the same luck, and a document keeps its own when others come. It
    is the first 52 bits of a SHA-256, in the middle of its step.
    """
    digest = hashlib.sha256(f"{seed}\0{purpose}\0".encode() + text).digest()
    return ((int.from_bytes(digest[:8], "big") >> 12) + 0.5) / 2**52


def seeded_gumbel(seed: int, purpose: str, text: bytes) -> float:
    """Gumbel noise of a text: the highest sums of it and log weights are a weighted sample."""
    return -math.log(-math.log(seeded_uniform(seed, purpose, text)))
