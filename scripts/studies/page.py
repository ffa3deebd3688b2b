"""The page of the study, docs/studies.md, from the outcomes of its worlds.

Belongs here: tables, and the words around them. Does not belong here: the worlds and
outcomes (`worlds`, `verdicts`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import beta

from pcorr_assets.stats.verdict import LARGEST_P
from scripts.studies.advice import SIGMAS
from scripts.studies.cells import CELLS
from scripts.studies.pilot_page import section
from scripts.studies.plots import draw
from scripts.studies.verdicts import HALVINGS, RANDOMISATIONS, RIVALS
from scripts.studies.version import commit

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "studies.md"
# What `power` found, in words.
TRIED = Path(__file__).parent / "tried.md"
PICTURE = ROOT / "docs" / "images" / "studies.png"

# What the rule is meant to find, in per cent of signal worlds.
WANTED = {
    "N16 signal 0.25": 85, "N16 signal 0.75": 60, "N16 signal 1.5": 25,
    "N30 signal 0.25": 99, "N30 signal 0.75": 92, "N30 signal 1.5": 70,
    "N90 signal 0.25": 100, "N90 signal 0.75": 100, "N90 signal 1.5": 98,
    "size signal 0.25": 70, "size signal 0.75": 70, "size signal 1.5": 70,
}  # fmt: skip

# Other shares for the least gain worth having.
LEAST = (0.0, 0.02, 0.05, 0.1, 0.2)

HEAD = """\
# Studies

How verdict, gain and inclusion probability do in simulated worlds whose truth is known. Written
by `make study` (`scripts/studies`) at commit `{commit}`; do not edit it. A small form runs with
the tests.

Whether a selection helps an LLM is another question, with a study of its own: `make study-real`
([how](selection.md#does-it-help)) trains LLMs on selections of real text.

## The worlds

48 domains of 8 topics, LLMs in families. Ability `a_i = s (.7 N(family) + .7 N)`; skill `s_it =
.6 N(family, topic) + .8 N`; `X_ij = 1 - .10 a_i - .05 s_i,topic(j) + .02 (.3 N(family, domain))
+ .02 N`; the error's logit is `-a_i - s_i0 + sigma N + .3 N(family)`, without `s_i0` in a null
world, where no text is better than another. Caps let a sixth of the weight be on a domain. `s`
is 1; in worlds "size" it is 3.7, 4.4 or 6.2 (for sigma .25, .75, 1.5), where the rank
correlation of error and mean BPB is .95. The names of other worlds say what differs from N30,
sigma .75: t with 3 degrees of freedom, the link from logit to error (sigmoid, 12 steps),
families of one to many LLMs, domains with shares of 1 to 20. N16 has 8 families, N30 12, size
20, N90 40.

Each world's verdict rests on {halvings} halvings, as on the platform, and {randomisations} draws of
signs in each of the two ways; the platform takes 1000. LLMs, texts and errors are drawn anew for
every world. Of null worlds there are more, since a share of 5 % takes many to tell.
"""


def page(folder: Path) -> str:
    """The page from the outcomes in a folder; cells that have none are left out.

    Its picture is drawn as well.
    """
    cells = {name: found for name in CELLS if (found := _read(folder, name))}
    head = HEAD.format(commit=commit(), halvings=HALVINGS, randomisations=RANDOMISATIONS)
    absent = [name for name in CELLS if name not in cells]
    pilots = section(folder)
    draw(PICTURE, _coverage(cells), _bins(cells))
    parts = [
        head,
        *_null_part(cells),
        *_signal_part(cells),
        *_rival_part(cells),
        *_gain_part(cells),
        *_inclusion_part(cells),
        *_least_part(cells),
        *_next_part(folder, cells),
        pilots,
        TRIED.read_text(encoding="utf-8"),
    ]
    if absent:
        parts += ["## Not run\n", f"Kinds of worlds without outcomes yet: {', '.join(absent)}.\n"]
    return "\n".join(parts)


def _read(folder: Path, name: str) -> list[dict]:
    path = folder / f"{name.replace(' ', '_')}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _null_part(cells: dict[str, list[dict]]) -> Iterator[str]:
    yield "## False go\n"
    yield "Share of null worlds with a go, and its 95 % interval (Clopper and Pearson).\n"
    yield "| null worlds | worlds | go | 95 % interval | p at most .05 | former rule |"
    yield "|---|---:|---:|---|---:|---:|"
    for name, found in cells.items():
        if CELLS[name].null:
            gos, count = sum(one["go"] for one in found), len(found)
            low, high = _interval(gos, count)
            yield (
                f"| {name} | {count} | {gos / count:.1%} | {low:.1%} to {high:.1%} "
                f"| {_share(found, lambda one: one['p'] <= 0.05)} | {_former(found)} |"
            )
    yield ""


def _signal_part(cells: dict[str, list[dict]]) -> Iterator[str]:
    yield "## Go where it is right\n"
    yield (
        "Topics known and topic known are bounds: the same residuals tested by one who knows\n"
        "which domains are of one topic, or which topic the benchmark is about. No test that has\n"
        "to find it can do better than the last.\n"
    )
    yield (
        "| worlds | worlds | weight on the topic | go | wanted | topics known | topic known "
        "| former rule |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for name, found in cells.items():
        if not CELLS[name].null:
            wanted = f"{WANTED[name]} %" if name in WANTED else ""
            weight = np.mean([one["on topic"] for one in found])
            yield (
                f"| {name} | {len(found)} | {weight:.2f} | {_share(found, lambda one: one['go'])} "
                f"| {wanted} | {_rival(found, 'topics known')} | {_rival(found, 'topic known')} "
                f"| {_former(found)} |"
            )
    yield ""


def _rival_part(cells: dict[str, list[dict]]) -> Iterator[str]:
    yield "## Other statistics\n"
    yield (
        "Share of worlds with p at most .05, all on the same residuals and draws of signs\n"
        "(apart): the mean partial correlation of what the caps let in (ours, with the larger\n"
        "p of both ways); the largest of one domain; the sum of squares over pairs of LLMs of\n"
        "different groups, a generalised covariance measure; selected on one half of the\n"
        "groups and measured on the other, over 8 halvings. On the first worlds of each kind.\n"
    )
    yield "| worlds | worlds | ours | largest | quadratic | halves |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, found in cells.items():
        tried = [one for one in found if "rivals" in one]
        if tried:
            others = " | ".join(_rival(tried, rival) for rival in RIVALS[:3])
            yield (
                f"| {name} | {len(tried)} "
                f"| {_share(tried, lambda one: one['p'] <= 0.05)} | {others} |"
            )
    yield ""


def _gain_part(cells: dict[str, list[dict]]) -> Iterator[str]:
    yield "## The gain and its interval\n"
    yield (
        "The true gain of what was selected, how far the stated gain is off on average, and\n"
        "how often the 90 % interval holds the truth. In null worlds the truth is 0, whatever\n"
        "is selected: there the interval is wider than it need be where LLMs are few or model\n"
        "size dominates, for the lower end must not promise a gain where there is none.\n"
    )
    yield (
        "![Share of intervals that hold the true gain, by kind of worlds; and, of domains with a\n"
        "stated inclusion probability, the share that belongs](images/studies.png)\n"
    )
    yield "| worlds | worlds | true gain | bias | 90 % interval covers |"
    yield "|---|---:|---:|---:|---:|"
    for name, found in cells.items():
        truth, bias = (float(np.mean([one[key] for one in found])) for key in ("truth", "bias"))
        yield (
            f"| {name} | {len(found)} | {truth:+.3f} | {bias:+.3f} "
            f"| {_share(found, lambda one: one['covered'])} |"
        )
    yield ""


def _inclusion_part(cells: dict[str, list[dict]]) -> Iterator[str]:
    yield "## Inclusion probability\n"
    yield (
        "Of domains with a stated probability, the share that belongs (is of topic 0), over\n"
        "all signal worlds of equal domains.\n"
    )
    yield "| stated | domains | mean stated | share that belongs |"
    yield "|---|---:|---:|---:|"
    for number, (count, stated, belong) in enumerate(_bins(cells)):
        if count:
            yield (
                f"| {number / 10:.1f} to {(number + 1) / 10:.1f} | {count:,.0f} "
                f"| {stated / count:.2f} | {belong / count:.2f} |"
            )
    yield ""


def _least_part(cells: dict[str, list[dict]]) -> Iterator[str]:
    yield "## The least gain worth having\n"
    yield (
        "A go takes a gain of at least 5 % of what lies between random texts and a perfect rank\n"
        "correlation. Share of worlds with a go, had it been another share.\n"
    )
    yield f"| worlds | {' | '.join(f'{share:.0%}' for share in LEAST)} | true share |"
    yield f"|---|{'---:|' * (len(LEAST) + 1)}"
    for name, found in cells.items():
        gos = " | ".join(_share(found, partial(_would_be_go, least=least)) for least in LEAST)
        true = np.mean([one["truth"] / one["headroom"] for one in found])
        yield f"| {name} | {gos} | {abs(true):.0%} |"
    yield ""


def _would_be_go(one: dict, least: float) -> bool:
    enough = one["truth"] + one["bias"] >= least * one["headroom"]
    return one["p"] <= LARGEST_P and enough and not one["simpler is better"]


def _next_part(folder: Path, cells: dict[str, list[dict]]) -> Iterator[str]:
    yield "## What to do next\n"
    yield (
        "The advised LLM beside a random other candidate (16 LLMs of 8 families are there, four\n"
        "candidates of these and four of new families, of .41 to 2.8 billion parameters, each\n"
        "drawn eight times): how often it narrows the interval of the gain more for its cost, and\n"
        "by how much it narrows it, expected and found.\n"
    )
    yield (
        "| sigma | worlds | advised is better | new family: expected | found "
        "| family that is there: expected | found |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for sigma in SIGMAS:
        found = _read(folder, f"advice {sigma}")
        if found:
            by_kind = " | ".join(
                _mean([one for one in found if one["new family"] == kind], key)
                for kind in (True, False)
                for key in ("expected", "narrowed")
            )
            better = _share(found, lambda one: one["better"])
            yield f"| {sigma} | {len(found)} | {better} | {by_kind} |"
    yield ""
    yield (
        "Strength, the standard deviations that a claim stands above chance, and how many of the\n"
        "worlds of a kind have p at most .05; kinds in the order of their mean strength. At 2.7,\n"
        "which `next_llms` extrapolates to, about four of five have.\n"
    )
    yield "| worlds | mean strength | p at most .05 |"
    yield "|---|---:|---:|"
    strength = {
        name: float(np.mean([one["strength"] for one in found]))
        for name, found in cells.items()
        if not CELLS[name].null
    }
    for name in sorted(strength, key=lambda name: strength[name]):
        if strength[name] < 5:
            powerful = _share(cells[name], lambda one: one["p"] <= LARGEST_P)
            yield f"| {name} | {strength[name]:.1f} | {powerful} |"
    yield ""


def _mean(found: list[dict], key: str) -> str:
    return f"{np.mean([one[key] for one in found]):.1%}" if found else ""


def _coverage(cells: dict[str, list[dict]]) -> dict[str, tuple[float, float, float]]:
    """By kind of worlds: how often the interval holds the truth, and the interval of that."""
    held = {name: [one["covered"] for one in found] for name, found in cells.items()}
    return {
        name: (float(np.mean(covered)), *_interval(sum(covered), len(covered)))
        for name, covered in held.items()
    }


def _bins(cells: dict[str, list[dict]]) -> np.ndarray:
    """(10, 3) domains, the sum of their inclusion probabilities, how many belong; by tenth."""
    bins = [one["bins"] for found in cells.values() for one in found if "bins" in one]
    return np.sum(bins, axis=0) if bins else np.zeros((10, 3))


def _share(found: list[dict], holds: Callable[[dict], bool]) -> str:
    return f"{np.mean([bool(holds(one)) for one in found]):.1%}"


def _rival(found: list[dict], rival: str) -> str:
    tried = [one["rivals"][rival] for one in found if "rivals" in one]
    return f"{np.mean(np.array(tried) <= 0.05):.0%}" if tried else ""


def _former(found: list[dict]) -> str:
    tried = [one["former"] for one in found if "former" in one]
    return f"{sum(tried)} of {len(tried)}" if tried else ""


def _interval(successes: int, count: int) -> tuple[float, float]:
    low = beta.ppf(0.025, successes, count - successes + 1) if successes else 0.0
    high = beta.ppf(0.975, successes + 1, count - successes) if successes < count else 1.0
    return float(low), float(high)
