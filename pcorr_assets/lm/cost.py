"""What it costs to score an LLM, told from its size before it is paid.

Belongs here: rates that were measured, the prediction they give, and what fits a budget. Does not
belong here: which LLMs are missing and where measurements are kept (`defs`), and loading
anything.

A forward pass takes about two operations for each parameter and token. Small LLMs never reach
that, since each batch has costs of its own, so the time of a token is taken to be
a + b * parameters, with a and b fitted to what was measured on the same kind of device.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.placement import SHARE_FOR_WEIGHTS

OPERATIONS = 2.0


@dataclass(frozen=True)
class Device:
    """Published figures: dense 16-bit operations a second, and bytes of memory."""

    peak: float
    memory: int


# From the makers' data sheets, without sparsity.
DEVICES = {
    "V100": Device(125e12, 32 << 30),
    "A10": Device(125e12, 24 << 30),
    "L4": Device(121e12, 24 << 30),
    "L40S": Device(362e12, 48 << 30),
    "A100-40GB": Device(312e12, 40 << 30),
    "A100": Device(312e12, 80 << 30),
    "H100": Device(989e12, 80 << 30),
    "H200": Device(989e12, 141 << 30),
    "B200": Device(2250e12, 180 << 30),
}
# "160m", "6.9b", "1_6b", "7b1" and "4x400M", as a word of a name.
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:[._]\d+)?)([bBmM])(\d?)(?![A-Za-z0-9])")


@dataclass(frozen=True)
class Measured:
    """An LLM that was scored: seconds of one device a token; `kind` names device and dtype."""

    llm: str
    parameters: int
    seconds_per_token: float
    kind: str


@dataclass(frozen=True)
class Rate:
    """Seconds of one device a token: `fixed` + `per_parameter` * parameters; `basis` in words."""

    fixed: float
    per_parameter: float
    basis: str

    def seconds(self, parameters: int, tokens: float) -> float:
        """Of one device, for scoring so many tokens."""
        return tokens * (self.fixed + self.per_parameter * parameters)


@dataclass(frozen=True)
class Cost:
    """What is missing of one LLM: tokens of all samples, and what scoring them takes.

    `parameters_from` says where the number of parameters was found; `download`, `disk` (that, and
    what is written of it) and `memory` are bytes, `devices` how many of the kind its weights need.
    Of `tokens` and `hours`, those of pilots are `pilot_tokens` and `pilot_hours`.
    """

    llm: str
    family: str
    parameters: int
    parameters_from: str
    samples: tuple[str, ...]
    tokens: int
    hours: float
    memory: int
    devices: int
    download: int
    disk: int
    pilot_tokens: int = 0
    pilot_hours: float = 0.0


def size_in_name(name: str) -> int | None:
    """The number of parameters that a name states; None if it states none.

    Of "TinyLlama-1.1B-step-50K-105b" it is the first, 1.1 billion.
    """
    found = _SIZE.search(name)
    if found is None:
        return None
    times, digits, unit, tenths = found.groups()
    value = float(digits.replace("_", ".") + (f".{tenths}" if tenths else ""))
    return round(value * int(times or 1) * (1e9 if unit in "bB" else 1e6))


def fit(measured: Sequence[Measured], kind: str) -> Rate | None:
    """The rate of a kind of device from what was measured on it; None if nothing was.

    Both terms are at least 0, and relative errors count, so that small LLMs weigh as much as
    large ones (non-negative least squares).
    """
    from scipy.optimize import nnls

    points = [one for one in measured if one.kind == kind]
    if not points:
        return None
    parameters = np.asarray([one.parameters for one in points], dtype=np.float64)
    seconds = np.asarray([one.seconds_per_token for one in points])
    basis = f"{len(points)} LLM{'s' if len(points) > 1 else ''} scored on {kind}"
    if len(set(parameters.tolist())) < 2:
        return Rate(0.0, float(statistics.median(seconds / parameters)), basis)
    scale = parameters.max()  # both columns of like size
    design = np.stack([1 / seconds, parameters / scale / seconds], axis=1)
    (fixed, slope), _ = nnls(design, np.ones(len(points)))
    return Rate(float(fixed), float(slope / scale), basis)


def usual_kind(measured: Sequence[Measured]) -> str | None:
    """The kind of device on which most LLMs were measured; None if none was."""
    counts = Counter(one.kind for one in measured)
    return counts.most_common(1)[0][0] if counts else None


def utilisation(device_name: str, parameters: int, tokens_per_second: float) -> float | None:
    """Operations for parameters as a share of one device's peak; None for unknown devices."""
    peaks = [device.peak for name, device in DEVICES.items() if name in device_name.split()]
    return OPERATIONS * parameters * tokens_per_second / peaks[0] if peaks else None


def published(device: str, utilisation: float) -> Rate:
    """The rate of a device from its data sheet.

    Raises:
        PcorrError: no such device.
    """
    if device not in DEVICES:
        raise PcorrError(
            f"{device!r} is no device with a published peak here: {', '.join(DEVICES)}"
        )
    peak = DEVICES[device].peak
    basis = f"{utilisation:.0%} of the {peak / 1e12:.0f} TFLOP/s of {device} (data sheet)"
    return Rate(0.0, OPERATIONS / (utilisation * peak), basis)


def predicted_and_actual(measured: Sequence[Measured]) -> list[tuple[Measured, float | None]]:
    """Each LLM that was scored, with the seconds a token that all others would have predicted."""
    pairs: list[tuple[Measured, float | None]] = []
    for one in measured:
        others = fit([other for other in measured if other.llm != one.llm], one.kind)
        pairs.append((one, others.seconds(one.parameters, 1) if others else None))
    return pairs


def devices_needed(memory: int, device: str | None) -> int:
    """How many devices of a kind the weights need; 1 where its memory is not known."""
    if device not in DEVICES or memory <= DEVICES[device].memory:
        return 1
    return math.ceil(memory / (SHARE_FOR_WEIGHTS * DEVICES[device].memory))


def within(costs: Iterable[Cost], hours: float, families: Iterable[str] = ()) -> list[Cost]:
    """What fits so many device-hours: first the cheapest of each family, then the cheapest.

    The verdict goes by families, so one more of them is worth more than one more LLM.
    `families` are those that have an LLM already.
    """
    known = set(families)
    by_price = sorted(costs, key=lambda cost: (cost.hours, cost.llm))
    first: list[Cost] = []
    for cost in by_price:
        if cost.family not in known:
            known.add(cost.family)
            first.append(cost)
    chosen, left = [], hours
    for cost in [*first, *(cost for cost in by_price if cost not in first)]:
        if cost.hours <= left:
            chosen.append(cost)
            left -= cost.hours
    return chosen
