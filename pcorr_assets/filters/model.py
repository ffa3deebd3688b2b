"""A trained filter: loading it checked, and scoring with it fast.

Belongs here: from a model file to the probability of `include`. Does not belong here:
training (`training`), reading documents (`pools`).

A document's hidden vector is the mean of the vectors of its words and word n-grams; with
two labels its log-odds are the difference of the output vectors times that mean. The
product with the difference is taken once for each word (n-gram bucket) when the model is
loaded, which leaves one number where there were `dim`: the same scores up to float32
rounding (1e-6), at twice the speed and a hundredth of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.corpus import EXCLUDE, INCLUDE
from pcorr_assets.warehouse.files import sha256_file

# fastText adds up in float32: over millions of words the sum would lose whole percents.
PIECE_BYTES = 1 << 18
# What fastText adds to every probability it reports.
FASTTEXT_EPSILON = 1e-5
_ROWS_AT_ONCE = 1 << 16
# FNV-1a and the n-gram hash of fastText's dictionary.
_FNV_START, _FNV_PRIME, _NGRAM_PRIME = 2166136261, 16777619, 116049371


@dataclass(frozen=True)
class FilterFile:
    """A model file and the hash that its content must have."""

    path: Path
    sha256: str

    def load(self) -> FilterModel:
        """The model; raises as `FilterModel.load`."""
        return FilterModel.load(self.path, self.sha256)


class FilterModel:
    """A loaded filter. `sha256` is the hash of the file it was loaded from."""

    def __init__(self, model: Any, sha256: str) -> None:
        """Take over a fastText model with the labels include and exclude."""
        import fasttext_pybind

        self.sha256 = sha256
        self._fasttext = model.f
        self._bucket_count = int(model.f.getArgs().bucket)
        self.words: list[str] = model.get_words(on_unicode_error="replace")
        output = np.asarray(model.f.getOutputMatrix()).astype(np.float64)
        labels = model.get_labels()
        difference = output[labels.index(INCLUDE)] - output[labels.index(EXCLUDE)]
        if not model.is_quantized():
            model.set_matrices(_log_odds_rows(model, difference), np.zeros((2, 1), np.float32))
            difference = np.ones(1)
        self._difference = difference
        self._vector = fasttext_pybind.Vector(len(difference))
        self._view = np.array(self._vector, copy=False)

    @classmethod
    def load(cls, path: Path, sha256: str | None = None) -> FilterModel:
        """Load a model file; with `sha256`, only if its content is still that.

        Raises:
            PcorrError: the file is gone, was changed, is not a fastText model, or has
                other labels than include and exclude.
        """
        import fasttext

        if not path.is_file():
            raise PcorrError(f"the filter {path} is not there: materialise fasttext_filter again")
        found = sha256_file(path)
        if sha256 is not None and found != sha256:
            raise PcorrError(
                f"the filter {path} was changed since it was trained (sha256 {found[:12]}..., "
                f"expected {sha256[:12]}...): materialise fasttext_filter again"
            )
        try:
            model = fasttext.load_model(str(path))
        except ValueError as error:
            raise PcorrError(f"{path} is not a fastText model: {error}") from error
        if sorted(model.get_labels()) != sorted((INCLUDE, EXCLUDE)):
            raise PcorrError(
                f"the filter {path} has the labels {model.get_labels()}, expected {INCLUDE} and "
                f"{EXCLUDE}"
            )
        return cls(model, found)

    def score(self, lines: Iterable[bytes]) -> np.ndarray:
        """Probability of `include` for normalised lines (UTF-8), float64 in [0, 1].

        An empty line scores 0. It is fastText's probability without the constant 1e-5
        that its `predict` adds, and keeps its resolution close to 1. A line above 256 KiB
        is scored in pieces cut at spaces, its log-odds the mean of theirs by bytes.
        """
        return np.fromiter(
            (_sigmoid(self.log_odds(line)) if line else 0.0 for line in lines), np.float64
        )

    def log_odds(self, line: bytes) -> float:
        """Log-odds of `include` against `exclude` for one normalised line."""
        if len(line) > PIECE_BYTES:
            pieces = list(_pieces(line))
            sizes = [len(piece) for piece in pieces]
            odds = [self.log_odds(piece) for piece in pieces]
            return math.fsum(o * n for o, n in zip(odds, sizes, strict=True)) / sum(sizes)
        self._fasttext.getSentenceVector(self._vector, line + b"\n")
        if len(self._view) == 1:
            return float(self._view[0])
        return float(self._view.astype(np.float64) @ self._difference)

    def term_weights(self, terms: Sequence[tuple[str, ...]]) -> np.ndarray:
        """What each word (1-tuple) or bigram (2-tuple) adds to the log-odds of its document,
        times the number of terms of that document; 0 for a word it does not know."""
        import fasttext_pybind

        vector = fasttext_pybind.Vector(len(self._difference))
        view = np.array(vector, copy=False)
        weights = np.zeros(len(terms))
        for index, term in enumerate(terms):
            row = self._row(term)
            if row is not None:
                self._fasttext.getInputVector(vector, row)
                weights[index] = view.astype(np.float64) @ self._difference
        return weights

    def _row(self, term: tuple[str, ...]) -> int | None:
        if len(term) == 1:
            row = self._fasttext.getWordId(term[0])
            return row if row >= 0 else None
        if not self._bucket_count:
            return None
        code = _signed_hash(term[0])
        for word in term[1:]:
            code = (code * _NGRAM_PRIME + _signed_hash(word)) % (1 << 64)
        return len(self.words) + code % self._bucket_count


def _log_odds_rows(model: Any, difference: np.ndarray) -> np.ndarray:
    matrix = np.asarray(model.f.getInputMatrix())  # a view: it has up to gigabytes
    rows = np.empty((len(matrix), 1), np.float32)
    for start in range(0, len(matrix), _ROWS_AT_ONCE):
        block = matrix[start : start + _ROWS_AT_ONCE].astype(np.float64)
        rows[start : start + _ROWS_AT_ONCE, 0] = block @ difference
    return rows


def _sigmoid(log_odds: float) -> float:
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    power = math.exp(max(log_odds, -700.0))
    return power / (1.0 + power)


def _pieces(line: bytes) -> Iterable[bytes]:
    start = 0
    while len(line) - start > PIECE_BYTES:
        cut = line.rfind(b" ", start + 1, start + PIECE_BYTES)
        if cut < 0:  # one word longer than a piece: it is unknown wherever it is cut
            cut = start + PIECE_BYTES
        yield line[start:cut]
        start = cut + (line[cut : cut + 1] == b" ")
    if start < len(line):
        yield line[start:]


def _signed_hash(word: str) -> int:
    """fastText's 32-bit word hash, read as signed and extended to 64 bits as it does."""
    code = _FNV_START
    for byte in word.encode():
        # The bytes are signed chars there: those above 127 flip the high bits as well.
        code = ((code ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * _FNV_PRIME) & 0xFFFFFFFF
    return code - (1 << 32) if code >= 1 << 31 else code
