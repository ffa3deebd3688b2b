"""Which share of the pages is enough, where all of them are scored.

    apt-get download manpages-{de,fr,es,it,pl,pt-br,ru,nl,ro,cs,da}
    for deb in *.deb; do dpkg-deb -x "$deb" man; done
    python -m scripts.studies.pilot_texts FOLDER --man man [--demo WORLDS]

Belongs here: pilots drawn of pages that are all scored, beside the selection of all of them. Does
not belong here: worlds of numbers (`pilots`), and the page (`pilot_page`).

Real text are the manual pages of Debian in eleven languages; a unit is a section of a language.
LLMs need to be many and soon made: they are byte models (one to three bytes of context,
interpolated) of mixtures of the languages and amounts of text of their own. Their error at a
language is 1 less the mean probability of the next byte, on pages of their own. WORLDS are those of
`scripts/world_seeds.py`: the tiny LLMs of the demo world, scored and evaluated by the platform.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcorr_assets.config import load_settings
from pcorr_assets.demo.world import SAMPLE
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.stats.estimation import spearmanr
from pcorr_assets.stats.pilot import PilotPages, page_variance, predict_overlaps
from pcorr_assets.stats.projection import linear
from pcorr_assets.steps.error_vectors import target_error_vector
from pcorr_assets.warehouse import Warehouse

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PILOTS_OF_A_SHARE = 10
KEEP_RATIO = 0.2
MODELS, PAGE_BYTES, LEAST_PAGES, MOST_PAGES = 24, 1000, 10, 120
TARGETS = ("de", "es", "fr")
BUCKETS = 1 << 20
DRAWS = 3


@dataclass(frozen=True)
class Scored:
    """BPB (N, P) of all pages, their bytes and units (P,) in ascending order, caps (D,)."""

    X: np.ndarray
    size: np.ndarray
    unit: np.ndarray
    tau: np.ndarray


def agreement(scored: Scored, errors: np.ndarray, share: float, seed: int) -> dict[str, float]:
    """What a pilot of this share of each unit selects, beside all pages, and what it says of it."""
    rng = np.random.default_rng([seed, round(share * 1000)])
    count = np.bincount(scored.unit)
    inside = np.zeros(len(scored.unit), dtype=bool)
    for unit, pages in enumerate(count):
        of_unit = np.flatnonzero(scored.unit == unit)
        inside[rng.permutation(of_unit)[: int(np.ceil(share * pages))]] = True

    def estimate(chosen: np.ndarray) -> np.ndarray:
        starts = np.flatnonzero(np.diff(scored.unit[chosen], prepend=-1))
        size = scored.size[chosen]
        bits = np.add.reduceat(scored.X[:, chosen] * size, starts, axis=1)
        return spearmanr(bits / np.add.reduceat(size, starts), errors)

    pages = PilotPages(scored.X[:, inside], scored.size[inside], scored.unit[inside], count)
    own, full = estimate(inside), estimate(np.ones_like(inside))
    actual = float(np.minimum(linear(own, scored.tau), linear(full, scored.tau)).sum())
    if np.bincount(scored.unit[inside]).max() < 2:
        return {"actual": actual, "predicted": float("nan")}  # pages of a unit are compared
    variance = page_variance(pages, errors, "spearmanr", resamples=50, seed=seed)
    (told,) = predict_overlaps(pages, own, variance, scored.tau, draws=100, seed=seed)
    return {"actual": actual, "predicted": told.overlap}


def outcomes(world: str, target: str, scored: Scored, errors: np.ndarray) -> Iterator[dict]:
    """One line for each share."""
    for share in SHARES:
        found = [agreement(scored, errors, share, seed) for seed in range(PILOTS_OF_A_SHARE)]
        yield {
            "world": world,
            "target": target,
            "share": share,
            "llms": len(errors),
            "units": len(scored.tau),
            "pages": len(scored.unit),
            **{name: float(np.mean([one[name] for one in found])) for name in found[0]},
        }


def demo_outcomes(folder: Path) -> Iterator[dict]:
    """Of each world of `scripts/world_seeds.py`."""
    for world in sorted(folder.glob("seed-*")):
        settings = load_settings(world / "pcorr.yaml")
        wh = Warehouse(settings.home, with_database=False)
        matrix = read_matrix(wh, SAMPLE, "page")
        assert matrix.byte_count is not None
        chunks = wh.read("chunks", SAMPLE, columns=["page_id", "domain"])
        domain_of = dict(
            zip(chunks["page_id"].to_pylist(), chunks["domain"].to_pylist(), strict=True)
        )
        _, unit = np.unique([domain_of[p] for p in matrix.units.to_pylist()], return_inverse=True)
        order = np.argsort(unit, kind="stable")
        unit, size = unit[order], matrix.byte_count[order]
        scored = Scored(matrix.X[:, order], size, unit, _caps(unit, size))
        for target in settings.targets:
            vector = target_error_vector(wh, settings, target, matrix.llms).table.to_pylist()
            error = {row["llm"]: row["error"] for row in vector}
            errors = np.array([error[llm] for llm in matrix.llms])
            yield from outcomes(f"demo, {world.name}", target, scored, errors)


def _caps(unit: np.ndarray, size: np.ndarray) -> np.ndarray:
    share = np.bincount(unit, weights=size) / size.sum()
    return share / KEEP_RATIO


def man_outcomes(folder: Path) -> Iterator[dict]:
    """Of the manual pages under a folder: draws of who reads which pages, and which languages."""
    pages = list(_man_pages(folder))
    for draw in range(DRAWS):
        yield from _of_draw(pages, draw)


def _of_draw(pages: list[tuple[str, str, str, bytes]], draw: int) -> Iterator[dict]:
    parts = {"train": [], "sample": [], "task": []}
    for page in pages:
        at = int(hashlib.sha256(f"{draw}/{page[0]}".encode()).hexdigest(), 16) % 10
        parts["train" if at < 4 else "sample" if at < 9 else "task"].append(page)
    models = list(_models(parts["train"], draw))
    units: dict[str, list[bytes]] = {}
    for _, language, section, text in parts["sample"]:
        units.setdefault(f"{language}/{section}", []).append(text)
    kept = {
        name: own[:MOST_PAGES] for name, own in sorted(units.items()) if len(own) >= LEAST_PAGES
    }
    unit = np.repeat(np.arange(len(kept)), [len(own) for own in kept.values()])
    texts = [text for own in kept.values() for text in own]
    size = np.array([len(text) for text in texts])
    joined = np.frombuffer(b"".join(texts), dtype=np.uint8)
    starts = np.cumsum(size) - size
    X = np.stack([np.add.reduceat(-np.log2(model(joined)), starts) / size for model in models])
    scored = Scored(X, size, unit, _caps(unit, size))
    for target in TARGETS:
        task = np.frombuffer(b"".join(p[3] for p in parts["task"] if p[1] == target), np.uint8)
        errors = np.array([1 - model(task).mean() for model in models])
        yield from outcomes(f"manual pages, draw {draw}", target, scored, errors)


def _man_pages(folder: Path) -> Iterator[tuple[str, str, str, bytes]]:
    for path in sorted(folder.glob("usr/share/man/*/man*/*.gz")):
        if path.is_symlink():
            continue
        lines = gzip.decompress(path.read_bytes()).decode(errors="replace").splitlines()
        text = " ".join(line for line in lines if line and line[0] not in ".'")
        text = re.sub(r"\\f(\[[A-Z]*\]|\([A-Z]{2}|[A-Z0-9])|\\.", "", text)
        if len(text) > 300:
            language, section = path.parts[-3], path.parts[-2]
            yield str(path.relative_to(folder)), language, section, text.encode()[:PAGE_BYTES]


class _Model:
    """Probabilities of bytes given up to three before them, interpolated."""

    def __init__(self, text: np.ndarray) -> None:
        self.counts = []
        for length in range(4):
            context, joint = _hashes(text, length)
            self.counts.append(
                (np.bincount(context, minlength=BUCKETS), np.bincount(joint, minlength=BUCKETS))
            )

    def __call__(self, text: np.ndarray) -> np.ndarray:
        probability = np.full(len(text), 1 / 256)
        for length, (of_context, of_joint) in enumerate(self.counts):
            context, joint = _hashes(text, length)
            weight = 2.0 if length else 1.0
            found = np.minimum(of_joint[joint], of_context[context])
            probability = (found + weight * probability) / (of_context[context] + weight)
        return probability


def _hashes(text: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    code = np.full(len(text), length, dtype=np.uint64)
    wide = text.astype(np.uint64)
    for back in range(1, length + 1):
        code = code * np.uint64(257) + np.roll(wide, back) + np.uint64(1)
    mixed = code * np.uint64(0x9E3779B97F4A7C15)
    joint = (code * np.uint64(257) + wide + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    shift = np.uint64(44)
    return (mixed >> shift).astype(np.int64), (joint >> shift).astype(np.int64)


def _models(train: list[tuple[str, str, str, bytes]], seed: int) -> Iterator[_Model]:
    rng = np.random.default_rng(seed)
    languages = sorted({page[1] for page in train})
    text = {
        name: np.frombuffer(b" ".join(p[3] for p in train if p[1] == name), np.uint8)
        for name in languages
    }
    for _ in range(MODELS):
        mixture = rng.dirichlet(np.full(len(languages), 0.5))
        amount = np.exp(rng.uniform(np.log(20_000), np.log(300_000)))
        own = []
        for name, share in zip(languages, mixture, strict=True):
            start = int(rng.integers(len(text[name])))
            own.append(np.roll(text[name], -start)[: int(share * amount)])
        yield _Model(np.concatenate(own))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--man", type=Path)
    parser.add_argument("--demo", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, found in (
        ("man", arguments.man and man_outcomes(arguments.man)),
        ("demo", arguments.demo and demo_outcomes(arguments.demo)),
    ):
        if found:
            lines = [json.dumps(one) for one in found]
            text = "".join(f"{line}\n" for line in lines)
            (arguments.folder / f"pilot_texts_{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
