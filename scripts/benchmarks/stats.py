"""Benchmarks of the statistics, beside the published package `perplexity-correlations`.

Belongs here: what is measured, and how. Does not belong here: printing (`scripts/bench.py`).
Peak memory is measured in processes of their own:
`python -m scripts.benchmarks.stats (memory|verdict|sensitivity) D`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pcorr_assets.machine import cpu_count
from pcorr_assets.stats.candidates import Candidate, advise
from pcorr_assets.stats.dependence import dependence_p
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES, ESTIMATORS, estimate_all
from pcorr_assets.stats.gain import leave_outs, selection_gain
from pcorr_assets.stats.groups import draw_halving
from pcorr_assets.stats.inclusion import inclusion_probability
from pcorr_assets.stats.learning import learning_curve
from pcorr_assets.stats.low_cells import estimate_without, find_low_cells
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.projection import PROJECTIONS
from pcorr_assets.stats.rank_prediction import predict_ranks
from pcorr_assets.stats.selection_frequency import selection_frequency
from pcorr_assets.stats.sensitivity import analyse, part_of, rows_without
from pcorr_assets.stats.stability import stability, transfer
from pcorr_assets.stats.threads import in_threads
from pcorr_assets.stats.verdict import ValidationSettings, judge

LLM_COUNT = 90
TARGET_COUNT = 8
OTHER = "perplexity-correlations"


def run(quick: bool = False) -> list[dict]:
    """Measure everything; `quick` takes matrices a tenth as wide and fewer resamples.

    Returns:
        One dict for each row: name, ours_seconds, other, other_seconds, ratio (other /
        ours), note; the last four are None where there is nothing to compare with.
    """
    shrink = 10 if quick else 1
    return [
        *_estimators(100_000 // shrink),
        *_projections(100_000 // shrink),
        _million(1_000_000 // shrink),
        _of_a_million(
            "verdict",
            "dependence, gain and inclusion, float32",
            "20 randomisations, 1 halving, 20 draws",
            1_000_000 // shrink,
        ),
        _of_a_million(
            "sensitivity",
            "analysis without a family, twice, float32",
            "20 randomisations, 1 halving",
            1_000_000 // shrink,
        ),
        *_validation(10_000 // shrink, quick),
        *_everything(10_000 // shrink, quick),
    ]


def _estimators(text_count: int) -> list[dict]:
    from perplexity_correlations import estimation as published

    rng = np.random.default_rng(0)
    X = rng.random((LLM_COUNT, text_count))
    Y = rng.random((LLM_COUNT, TARGET_COUNT))
    size = f"N={LLM_COUNT}, D={text_count:,}, float64"
    theirs_one = {
        name: _seconds(lambda name=name: getattr(published, name)(X, Y[:, 0]))
        for name in ESTIMATOR_NAMES
    }

    def all_published_calls() -> None:
        for y in Y.T:
            for name in ESTIMATOR_NAMES:
                getattr(published, name)(X, y)

    rows = [
        _row(
            f"five estimators x {TARGET_COUNT} targets",
            _seconds(lambda: estimate_all(X, Y), times=3),
            _seconds(all_published_calls),
            f"{size}; the aim is a ratio of 20",
        )
    ]
    for name in ESTIMATOR_NAMES:
        ours = _seconds(lambda name=name: ESTIMATORS[name](X, Y[:, 0]), times=3)
        rows.append(_row(f"{name}, one target", ours, theirs_one[name], size))
    return rows


def _projections(text_count: int) -> list[dict]:
    from perplexity_correlations import projection as published

    rng = np.random.default_rng(1)
    estimate, tau = rng.normal(size=text_count), rng.random(text_count) * 20 / text_count
    return [
        _row(
            f"projection {name}",
            _seconds(lambda project=project: project(estimate, tau), times=3),
            _seconds(lambda name=name: getattr(published, name)(estimate, tau)),
            f"D={text_count:,}",
        )
        for name, project in PROJECTIONS.items()
    ]


def _million(text_count: int) -> dict:
    """Time and peak memory beyond X, in a fresh process."""
    command = [sys.executable, "-m", "scripts.benchmarks.stats", "memory", str(text_count)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root)
    measured = json.loads(done.stdout)
    return _row(
        f"five estimators x {TARGET_COUNT} targets, float32",
        measured["seconds"],
        None,
        f"N={LLM_COUNT}, D={text_count:,}; peak {measured['gib_beyond_x']:.2f} GiB beyond X "
        "(results included); the aims are 60 s and 1.5 GiB",
    )


def _of_a_million(measure: str, name: str, note: str, text_count: int) -> dict:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-m", "scripts.benchmarks.stats", measure, str(text_count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root)
    measured = json.loads(done.stdout)
    return _row(
        name,
        measured["seconds"],
        None,
        f"N={LLM_COUNT}, D={text_count:,}, {note}; peak {measured['gib_beyond_x']:.2f} GiB "
        "beyond X; the aim is 1.5 GiB",
    )


def _measure_verdict(text_count: int) -> dict[str, float]:
    panel = _panel(text_count, "spearmanr")
    start = time.perf_counter()
    before = _kibibytes("VmRSS")
    _reset_peak()
    dependence_p(panel, randomisations=20)
    steadiness = stability(panel, halvings=1)
    selection_gain(panel, steadiness)
    inclusion_probability(panel, steadiness, draws=20)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "gib_beyond_x": (_kibibytes("VmHWM") - before) / 2**20}


def _measure_sensitivity(text_count: int) -> dict[str, float]:
    """An analysis without a family, as many times as threads would make it at once."""
    panel = _panel(text_count, "spearmanr")
    settings = ValidationSettings(halvings=1, permutations=20)
    start = time.perf_counter()
    before = _kibibytes("VmRSS")
    _reset_peak()
    ordered = order_texts(panel.X)

    def without(family: str) -> None:
        rows = rows_without(panel, family=family)
        analyse(part_of(panel, rows), settings, ordered.part(rows))

    for _ in in_threads(without, ["family-0", "family-1"], entries=panel.X.size):
        pass
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "gib_beyond_x": (_kibibytes("VmHWM") - before) / 2**20}


def _reset_peak() -> None:
    """Forget the peak of making the world (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _measure_memory(text_count: int) -> dict[str, float]:
    rng = np.random.default_rng(2)
    X = rng.random((LLM_COUNT, text_count), dtype=np.float32)
    Y = rng.random((LLM_COUNT, TARGET_COUNT))
    start = time.perf_counter()
    before = _kibibytes("VmRSS")
    results = estimate_all(X, Y)
    seconds = time.perf_counter() - start
    kibibytes = _kibibytes("VmHWM") - before
    assert len(results) == len(ESTIMATOR_NAMES)
    return {"seconds": seconds, "gib_beyond_x": kibibytes / 2**20}


def _kibibytes(field: str) -> int:
    """Memory of this process. getrusage would not do: a child starts at its parent's peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise KeyError(field)


def _validation(text_count: int, quick: bool) -> list[dict]:
    settings = ValidationSettings(permutations=100) if quick else ValidationSettings()
    resamples = 20 if quick else settings.bootstrap
    rows = []
    for estimator in ("spearmanr", "sign_sign"):
        panel = _panel(text_count, estimator)

        def everything(panel: Panel = panel) -> None:
            judge(panel, predict_ranks(panel), settings)
            selection_frequency(panel, resamples=resamples)
            steadiness = stability(panel, halvings=settings.halvings)
            inclusion_probability(panel, steadiness, draws=resamples)

        rows.append(
            _row(
                f"verdict, selection frequency and inclusion probability, {estimator}",
                _seconds(everything),
                None,
                f"N={LLM_COUNT}, D={text_count:,}, one target, {resamples} resamples (and as "
                f"many by chance), {settings.halvings} halvings, {settings.permutations} "
                "permutations; the aim is 60 s",
            )
        )
    return rows


def _everything(text_count: int, quick: bool) -> list[dict]:
    """What one target takes, and its sensitivity beside the straightforward way."""
    settings = ValidationSettings(permutations=100, halvings=10) if quick else ValidationSettings()
    panel = _panel(text_count, "spearmanr")
    ordered = order_texts(panel.X)
    families = sorted(set(panel.families))[: 3 if quick else None]
    llms = panel.llms[: 3 if quick else None]
    left_out = [*({"family": f} for f in families), *({"llm": llm} for llm in llms)]

    def parts() -> Iterator[tuple[Panel, OrderedTexts]]:
        for names in left_out:
            rows = rows_without(panel, **names)
            yield part_of(panel, rows), ordered.part(rows)

    def sensitivity() -> None:
        for _ in in_threads(
            lambda part: analyse(part[0], settings, part[1]), parts(), entries=panel.X.size
        ):
            pass

    def everything() -> None:
        estimate_all(panel.X, panel.errors)
        estimate_without(panel.X, panel.errors, find_low_cells(panel.X), "spearmanr")
        selection_frequency(panel, resamples=settings.bootstrap)
        steadiness = stability(panel, halvings=settings.halvings)
        inclusion_probability(panel, steadiness, draws=settings.bootstrap)
        judge(panel, predict_ranks(panel), settings)
        sensitivity()
        learning_curve(panel, settings)
        advise(panel, [Candidate("new", "new", 10**9)])

    naive = left_out[:: len(left_out) // 3]

    def straightforward() -> None:
        for names in naive:
            _from_scratch(part_of(panel, rows_without(panel, **names)), settings)

    size = f"N={LLM_COUNT}, D={text_count:,}, {len(families)} families, {cpu_count()} CPUs"
    other = _seconds(straightforward) * len(left_out) / len(naive)
    return [
        _row(
            f"verdict without each of {len(left_out)} families and LLMs",
            _seconds(sensitivity),
            other,
            f"{size}; the other's time from {len(naive)} of them",
            "each from scratch",
        ),
        _row("everything of one target", _seconds(everything), None, f"{size}; the aim is 60 s"),
    ]


def _from_scratch(panel: Panel, settings: ValidationSettings) -> None:
    """The same numbers, with every part of the LLMs ranked anew and every randomisation made."""
    rng = np.random.default_rng(0)
    for _ in range(settings.halvings):
        halves = draw_halving(panel.groups, panel.errors, rng)
        assert halves is not None
        estimates = [panel.estimate(rows) for rows in halves[:2]]
        weights = [panel.weights(rows) for rows in halves[:2]]
        transfer(weights[0], weights[1], estimates[1])
        transfer(weights[1], weights[0], estimates[0])
    for rows in leave_outs(panel):
        panel.estimate(rows)
    panel.weights(panel.all_rows)
    dependence_p(panel, randomisations=settings.permutations)


def _panel(text_count: int, estimator: str) -> Panel:
    rng = np.random.default_rng(3)
    X = (rng.random((LLM_COUNT, text_count)) + rng.random((LLM_COUNT, 1))).astype(np.float32)
    return make_panel(
        X,
        X[:, : text_count // 10].mean(axis=1) + 0.05 * rng.normal(size=LLM_COUNT),
        np.full(text_count, 10 / text_count),
        llms=[f"llm-{row}" for row in range(LLM_COUNT)],
        families=[f"family-{row % 40}" for row in range(LLM_COUNT)],
        estimator=estimator,
    )


def _row(name: str, ours: float, other: float | None, note: str, other_name: str = OTHER) -> dict:
    return {
        "name": name,
        "ours_seconds": ours,
        "other": None if other is None else other_name,
        "other_seconds": other,
        "ratio": None if other is None else other / ours,
        "note": note,
    }


def _seconds(call: Callable[[], object], times: int = 1) -> float:
    """The fastest of `times` calls."""
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        measured.append(time.perf_counter() - start)
    return min(measured)


if __name__ == "__main__":
    MEASURES = {
        "memory": _measure_memory,
        "verdict": _measure_verdict,
        "sensitivity": _measure_sensitivity,
    }
    if len(sys.argv) != 3 or sys.argv[1] not in MEASURES:
        sys.exit(f"usage: python -m scripts.benchmarks.stats ({'|'.join(MEASURES)}) TEXT_COUNT")
    print(json.dumps(MEASURES[sys.argv[1]](int(sys.argv[2]))))
