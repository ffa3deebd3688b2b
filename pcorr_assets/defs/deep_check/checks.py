"""All checks in one order, with what is being looked at shown where it takes long.

Belongs here: which checks there are. Does not belong here: any of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from pcorr_assets.config import Settings
from pcorr_assets.defs.deep_check import cluster, hub, llms, places, texts
from pcorr_assets.defs.deep_check.findings import Findings

SECONDS_BETWEEN_LINES = 10.0

Check = Callable[[Findings], None]


def deep_check(settings: Settings, say: Callable[[str], None]) -> Findings:
    """Look at everything that the settings name; nothing is made, run or downloaded whole.

    `say` is told every ten seconds what is being looked at.
    """
    findings = Findings()
    wanted = list(_checks(settings, hub.unreachable() if _asks_hub(settings) else None))
    with _shown(say) as look:
        for number, (label, check) in enumerate(wanted, start=1):
            look(f"looking at {label} ({number} of {len(wanted)})")
            check(findings)
    return findings


def _asks_hub(settings: Settings) -> bool:
    sources = [
        source.dataset for source in (*settings.written_samples.values(), *settings.pools.values())
    ]
    tokenizers = [sample.reference_tokenizer for sample in settings.written_samples.values()]
    tokenizers += [one.tokenizer for one in (settings.selection, *settings.targets.values())]
    return any(map(texts.is_on_hub, (*sources, *tokenizers))) or any(
        spec.path is None for spec in settings.llm_specs.values()
    )


def _checks(settings: Settings, hub_problem: str | None) -> Iterator[tuple[str, Check]]:
    yield "home", partial(places.check_home, settings)
    yield "Dagster's home", partial(places.check_dagster_home, settings)
    for key, sample in settings.written_samples.items():
        yield f"sample {key}", partial(texts.check_sample, key, sample, hub_problem=hub_problem)
    for key in settings.pools:
        yield f"pool {key}", partial(texts.check_pool, key, settings, hub_problem=hub_problem)
    for place, owner in {
        ("selection", "tokenizer"): settings.selection,
        **{("targets", key, "tokenizer"): target for key, target in settings.targets.items()},
    }.items():
        if owner.tokenizer is not None:
            yield (
                f"tokenizer {owner.tokenizer}",
                partial(texts.check_tokenizer, place, owner.tokenizer, hub_problem=hub_problem),
            )
    yield "language models", partial(places.check_language_models, settings)
    where = llms.places_of_llms(settings)
    for key, spec in settings.llm_specs.items():
        yield f"LLM {key}", partial(llms.check_llm, where[key], spec, hub_problem=hub_problem)
    outputs = {("pools", key, "output"): pool for key, pool in settings.pools.items()}
    for place, owner in {**outputs, ("exports", "output"): settings.exports}.items():
        if owner.output is not None:
            yield owner.output, partial(places.check_output, place, owner.output, owner.storage)
    if settings.benchmarks:
        yield "benchmarks", partial(llms.check_benchmarks, settings)
    if settings.compute.mode == "slurm":
        yield "the cluster", partial(cluster.check_cluster, settings)


@contextmanager
def _shown(say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Say every ten seconds what is being done at that moment."""
    current = ["starting"]
    is_done = threading.Event()

    def talk() -> None:
        while not is_done.wait(SECONDS_BETWEEN_LINES):
            say(current[0])

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield lambda label: current.__setitem__(0, label)
    finally:
        is_done.set()
        thread.join()
