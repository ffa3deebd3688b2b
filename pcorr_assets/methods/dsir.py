"""DSIR: importance resampling in a space of hashed n-grams (Xie et al. 2023, arXiv 2302.03169).

Belongs here: features, importance weights, and the noise that makes sampling of them. Does not
belong here: how many documents are taken (`filters.choosing`).

Of each text the words (runs of word characters, and runs of other characters but whitespace, in
lower case, as NLTK's WordPunctTokenizer cuts them) and the pairs of neighbours are hashed into
10,000 buckets. Two bags of buckets, of the target's texts and of the pool, are two distributions
p and q; a document's log importance weight is the sum of log p - log q over its n-grams (section
3 of the paper). Gumbel noise added to it, the best are a sample without replacement with these
weights (Gumbel top-k). Everything but the noise is what `data-selection` 1.0.3 of the authors
computes.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterable

import numpy as np

from pcorr_assets.methods.material import Documents, LacksMaterialError, Material, seeded_gumbel
from pcorr_assets.progress import Progress

BUCKETS = 10_000
# Shorter documents are not considered, as in the authors' code.
LEAST_WORDS = 100
# N-grams of the pool that its distribution is fitted on at most, as in the authors' code.
NGRAMS_TO_FIT = 100_000 * BUCKETS
SMOOTHING = 1e-8

# As NLTK cut words when the paper was written. Its newest versions compile the same expression with
# the library `regex`, to which a combining mark is part of a word; to Python it is not.
_WORDS = re.compile(r"\w+|[^\w\s]+", re.UNICODE | re.MULTILINE | re.DOTALL)
_MOST_KNOWN = 2_000_000


class _Buckets(dict[str, int]):
    """Bucket of each n-gram: its SHA-256 modulo the number of buckets; remembers many of them."""

    def __missing__(self, ngram: str) -> int:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        found = int.from_bytes(hashlib.sha256(ngram.encode()).digest(), "big") % BUCKETS
        self[ngram] = found
        return found


class Features:
    """From texts to the buckets of their n-grams."""

    def __init__(self) -> None:
        self._buckets = _Buckets()

    def of(self, text: str) -> tuple[np.ndarray, int]:
        """Buckets of the words and pairs of words of a text, and how many words it has."""
        words = _WORDS.findall(text.lower())
        of = self._buckets
        found = [of[word] for word in words]
        found += [of[f"{one} {two}"] for one, two in itertools.pairwise(words)]
        return np.array(found, np.int64), len(words)

    def distribution(self, texts: Iterable[str], most: float = math.inf) -> np.ndarray:
        """(10,000,) share of each bucket in the n-grams of texts, until `most` were counted."""
        counts, total = np.zeros(BUCKETS, np.int64), 0
        for text in texts:
            buckets, _ = self.of(text)
            counts += np.bincount(buckets, minlength=BUCKETS)
            total += len(buckets)
            if total > most:
                break
        return counts / max(total, 1)


def log_importance(target: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """(10,000,) log p - log q of each bucket, both smoothed by 1e-8."""
    return np.log(target + SMOOTHING) - np.log(pool + SMOOTHING)


def dsir(material: Material, documents: Documents) -> np.ndarray:
    """Log importance weights (natural) with Gumbel noise, (D,); -inf below 100 words.

    Raises:
        LacksMaterialError: no target-like text, or no document has 100 words.
    """
    features = Features()
    target = features.distribution(material.texts_of_target())
    texts = (text.decode() for text in documents.read())
    weights = log_importance(target, features.distribution(texts, NGRAMS_TO_FIT))
    scores = np.full(documents.count, -np.inf)
    with Progress("DSIR", total=documents.count, unit="documents") as progress:
        for number, text in enumerate(documents.read()):
            buckets, word_count = features.of(text.decode())
            if word_count >= LEAST_WORDS:
                luck = seeded_gumbel(material.seed, "dsir", text)
                scores[number] = weights[buckets].sum() + luck
            progress.update()
    if not np.isfinite(scores).any():
        raise LacksMaterialError(f"no document of the pool has {LEAST_WORDS} words")
    return scores
