"""Section `automation`: when Dagster refreshes what follows from the LLMs, and who is told.

Belongs here: the two times, as cron expressions, what automation covers, and where failures
are reported. Does not belong here: switching automation on (that is done in the Dagster UI) and
what it launches (`defs`).
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from pcorr_assets.config.fields import YesNo, expected
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


def _variable(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise expected(value, "the name of an environment variable (not the address itself)")
    return value


def _address(value: object) -> str:
    what = "the address of the UI, as in http://127.0.0.1:3000"
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/@]+(/[^\s@]*)?", value):
        raise expected(value, what)
    return value.rstrip("/")


Cron = Annotated[str, BeforeValidator(_cron)]


class Automation(Section):
    """Both times are in UTC.

    `refresh` is how often matrices and error vectors may be made again while automation
    is on; what follows from them follows at once. `nightly` is the time of the schedule
    `nightly_refresh`, and of automation's exports. `pools`: files that come while automation
    is on are scored, all files again where a filter changed, and selections follow.
    `exports`: what is shared is written again where anything in it changed.
    `failure_webhook_env` is the environment variable that holds the address of the webhook for
    failed runs, `ui_url` what their links begin with.
    """

    refresh: Cron = "*/10 * * * *"
    nightly: Cron = "0 3 * * *"
    pools: YesNo = False
    exports: YesNo = False
    failure_webhook_env: Annotated[str, BeforeValidator(_variable)] | None = None
    ui_url: Annotated[str, BeforeValidator(_address)] | None = None
