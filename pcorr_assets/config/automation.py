"""Section `automation`: when Dagster refreshes what follows from the LLMs.

Belongs here: the two times, as cron expressions. Does not belong here: switching
automation on (that is done in the Dagster UI) and what it launches (`defs`).
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from pcorr_assets.config.fields import expected
from pcorr_assets.config.section import Section

_WHAT = (
    "five cron fields in quotes: minute, hour, day of the month, month, day of the week "
    '(0 is Sunday), as in "*/10 * * * *"'
)
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_PART = re.compile(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?")


def _fits(part: str, low: int, high: int) -> bool:
    """One part between commas: `*`, `a`, `a-b`, each with `/step`."""
    found = _PART.fullmatch(part)
    if found is None:
        return False
    first, last, step = (int(text) if text is not None else None for text in found.groups())
    if first is None:
        return step is None or 1 <= step <= high
    if step is not None and last is None:
        return False
    return low <= first <= (first if last is None else last) <= high and step != 0


def _cron(value: object) -> str:
    if not isinstance(value, str):
        raise expected(value, _WHAT)
    fields = value.split()
    fit = len(fields) == len(_RANGES) and all(
        _fits(part, low, high)
        for field, (low, high) in zip(fields, _RANGES, strict=True)
        for part in field.split(",")
    )
    if not fit:
        raise expected(value, _WHAT)
    return " ".join(fields)


Cron = Annotated[str, BeforeValidator(_cron)]


class Automation(Section):
    """Both times are in UTC.

    `refresh` is how often matrices and error vectors may be made again while automation
    is on; what follows from them follows at once. `nightly` is the time of the schedule
    `nightly_refresh`.
    """

    refresh: Cron = "*/10 * * * *"
    nightly: Cron = "0 3 * * *"
