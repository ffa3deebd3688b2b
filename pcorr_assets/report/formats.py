"""Numbers as they stand in a page.

Belongs here: digits, signs, separators. Does not belong here: which number to show.
"""

from __future__ import annotations

NOTHING = "\u2013"
_MINUS = "\u2212"


def number(value: float | None, digits: int = 3) -> str:
    """Fixed digits with a true minus sign; a dash for None.

    What is not 0 is not shown as 0: it gets one digit that is not.
    """
    if value is None:
        return NOTHING
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = f"{value:.1g}" if value else f"{0:.{digits}f}"
    return text.replace("-", _MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    """As `number`, with a plus before positive values."""
    shown = number(value, digits)
    return f"+{shown}" if value is not None and value > 0 else shown


def significant(value: float | None, digits: int = 3) -> str:
    """So many significant digits, for values of any size."""
    if value is None:
        return NOTHING
    whole = abs(value) >= 10**digits
    return (f"{value:,.0f}" if whole else f"{value:#.{digits}g}").rstrip(".").replace("-", _MINUS)


def plain(value: float | None) -> str:
    """As short as it goes: settings and ranks."""
    return NOTHING if value is None else f"{value:g}".replace("-", _MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return NOTHING if value is None else f"{number(100 * value, digits)} %"


def count(value: float | None) -> str:
    """A whole number with separators."""
    return NOTHING if value is None else f"{value:,.0f}".replace("-", _MINUS)


def compact(value: float | None) -> str:
    """1.2 k, 3.4 M, 5.6 G, 7.8 T: sizes at a glance."""
    if value is None:
        return NOTHING
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f}"


FILTERS = {
    "number": number,
    "signed": signed,
    "significant": significant,
    "plain": plain,
    "percent": percent,
    "count": count,
    "compact": compact,
}
