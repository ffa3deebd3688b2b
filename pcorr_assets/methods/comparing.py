"""Several methods on one pool: what each selects, what it took, and what they have in common.

Belongs here: doing one method after the other, and shares of selections. Does not belong here:
methods, choosing documents (`choosing`), and tables (`steps.compared_selections`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pyarrow.compute as pc

from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.filters.languages import identify_languages, language_mix
from pcorr_assets.filters.normalise import normalise_utf8
from pcorr_assets.methods.choosing import Chosen, ScoredPool
from pcorr_assets.methods.material import Material
from pcorr_assets.methods.table import METHODS, OWN

if TYPE_CHECKING:
    from pcorr_assets.config import SelectionCompute

logger = logging.getLogger(__name__)

# Of the domains of a selection those with most tokens are named, the others put together.
MOST_DOMAINS = 20
OTHERS = "others"


@dataclass(frozen=True)
class Compared:
    """One method: what it selects, or the `reason` why it was left out.

    `overlap` is the share of its tokens that the platform's filter selects as well;
    `cpu_seconds` the CPU time of this process for learning, and for scoring the pool.
    """

    method: str
    chosen: Chosen | None = None
    reason: str | None = None
    overlap: float | None = None
    cpu_seconds: float | None = None


def compare(
    pool: ScoredPool,
    material: Material,
    methods: Sequence[str],
    compute: SelectionCompute | None = None,
) -> Iterator[Compared]:
    """The platform's filter, then each method, in the order of `methods`, as they are done.

    A method that lacks material, or whose labels teach nothing, is left out with the reason.

    Raises:
        PcorrError: an unknown method; the pool is not as it was scored; the platform's filter
            cannot be used; or a file is damaged.
    """
    if unknown := sorted(set(methods) - set(METHODS)):
        raise PcorrError(f"no such method: {', '.join(unknown)}; there are {', '.join(METHODS)}")
    own = _of(pool, material, OWN, compute)
    yield own
    for method in methods:
        if method == OWN:
            continue
        try:
            yield _of(pool, material, method, compute, own.chosen)
        except DamagedFileError:
            raise
        except PcorrError as error:
            logger.warning("method %s is left out for %s: %s", method, pool.target, error)
            yield Compared(method, reason=str(error))


def _of(
    pool: ScoredPool,
    material: Material,
    method: str,
    compute: SelectionCompute | None,
    own: Chosen | None = None,
) -> Compared:
    started = time.process_time()
    scores = METHODS[method](material, pool.documents)
    seconds = time.process_time() - started
    chosen = pool.chosen(scores, compute)
    overlap = shared_tokens(chosen, own or chosen)
    return Compared(method, chosen, overlap=overlap, cpu_seconds=seconds)


def shared_tokens(one: Chosen, other: Chosen) -> float | None:
    """The share of the tokens of `one` whose text is in `other`; None: it selects nothing."""
    contents = pc.SetLookupOptions(other.documents["content_sha256"].combine_chunks())
    is_shared = pc.call_function("is_in", [one.documents["content_sha256"]], contents).to_numpy()
    tokens = one.token_counts
    return float(tokens[is_shared].sum() / tokens.sum()) if tokens.sum() else None


def shares_by_domain(chosen: Chosen) -> dict[str, float]:
    """Shares of tokens by the host of the documents' ids, largest first; empty: none is a URL."""
    hosts = [_host(name) for name in chosen.documents["document_id"].to_pylist()]
    if not any(hosts):
        return {}
    every = np.ones(len(hosts), bool)
    mix = language_mix([host or OTHERS for host in hosts], chosen.token_counts, {"": every})[""]
    named = dict(list({k: v for k, v in mix.items() if k != OTHERS}.items())[:MOST_DOMAINS])
    rest = sum(mix.values()) - sum(named.values())
    return {**named, OTHERS: rest} if len(named) < len(mix) else named


def _host(name: str) -> str | None:
    if not name.startswith(("http://", "https://")):
        return None
    try:
        return urlsplit(name).hostname
    except ValueError:
        return None


@dataclass(frozen=True)
class Places:
    """A selection without names and hashes: places (D,) among the pool's documents, and tokens
    (D,)."""

    numbers: np.ndarray
    token_counts: np.ndarray

    @classmethod
    def of(cls, chosen: Chosen) -> Places:
        """Those of a selection, which need a tenth of its memory."""
        return cls(chosen.numbers, chosen.token_counts)


def shares_by_language(
    pool: ScoredPool, selections: Mapping[str, Places], model: Path
) -> dict[str, dict[str, float]]:
    """Of each selection, by its name, the shares of tokens by language, largest first.

    Texts are read once for all of them. Raises PcorrError as `identify_languages`.
    """
    is_wanted = np.zeros(pool.documents.count, bool)
    for one in selections.values():
        is_wanted[one.numbers] = True
    texts = zip(is_wanted, pool.documents.read(), strict=True)
    lines = (normalise_utf8(text) for wanted, text in texts if wanted)
    languages = np.full(len(is_wanted), "", object)
    languages[is_wanted] = identify_languages(lines, model)
    mixes = {}
    for name, one in selections.items():
        every = {"": np.ones(len(one.numbers), bool)}
        mixes[name] = language_mix(list(languages[one.numbers]), one.token_counts, every)[""]
    return mixes
