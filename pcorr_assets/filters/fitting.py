"""Fitting one fastText classifier so that the same input gives the same bytes.

Belongs here: calling fastText's training, and the memory it forgets to clear. Does not
belong here: what is trained on, and judging the result (`training`).
"""

from __future__ import annotations

import ctypes
import errno
import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pcorr_assets.config import FastText
from pcorr_assets.errors import PcorrError

logger = logging.getLogger(__name__)

# glibc's M_PERTURB: fill new memory with the complement of a byte; 255 makes that zeros.
_PERTURB, _WITH_ZEROS, _OFF = -6, 255, 0
_one_at_a_time = threading.Lock()


def train_model(corpus: Path, settings: FastText, path: Path, *, quantize: bool = False) -> None:
    """Train a fastText classifier on a file of labelled lines and save it to `path`.

    With one thread the file is the same, byte for byte, for the same lines and settings.

    Raises:
        PcorrError: the file has no word to learn from, or the numbers ran away (lr).
    """
    import fasttext

    if not corpus.stat().st_size:
        raise PcorrError("none of the labelled train pages has a word in it")
    options: dict[str, Any] = {"thread": settings.thread, "verbose": 0}
    try:
        with _zeroed_memory():
            model = fasttext.train_supervised(
                str(corpus),
                wordNgrams=settings.word_ngrams,
                dim=settings.dim,
                epoch=settings.epoch,
                lr=settings.lr,
                bucket=settings.bucket,
                seed=settings.seed,
                minCount=1,
                minn=0,
                maxn=0,
                loss="softmax",
                **options,
            )
            if quantize:
                model.quantize(input=str(corpus), qnorm=True, **options)
    except RuntimeError as error:
        raise PcorrError(
            f"fastText could not be trained ({error}): a lower selection.fasttext.lr mends NaN"
        ) from error
    _save(model, path, settings.dim)


def _save(model: Any, path: Path, dim: int) -> None:
    """fastText does not say that the disk was full: the file is then shorter, and loads.

    At its end stand the rows and columns (int64) of the output matrix, a row a label, and its
    values (float32).
    """
    model.save_model(str(path))
    rows = len(model.get_labels())
    size = struct.calcsize("<qq") + 4 * rows * dim
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        found = file.read(struct.calcsize("<qq"))
    if found != struct.pack("<qq", rows, dim):
        raise OSError(errno.ENOSPC, "fastText could not write all of the model", str(path))


@contextmanager
def _zeroed_memory() -> Iterator[None]:
    """Let malloc hand out zeros.

    fastText cuts its input matrix in ten parts and initialises as many as it has threads:
    with one thread nine tenths are whatever was in memory. For the default sizes that is
    fresh pages of zeros; a smaller matrix may get used memory, and then every training
    differs, or ends in NaN. Without glibc (and for matrices below a kilobyte) it stays so.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        logger.warning("no mallopt in this C library: small filters may differ between trainings")
        yield
        return
    with _one_at_a_time:
        mallopt(_PERTURB, _WITH_ZEROS)
        try:
            yield
        finally:
            mallopt(_PERTURB, _OFF)
