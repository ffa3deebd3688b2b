"""What became of the parts of a `pcorr run`, and how it is said.

Belongs here: counting, by stage and in all, and the lines of the end. Does not belong here:
showing it while it goes on (`overview`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pcorr_assets.defs.plans import Part, name_of
from pcorr_assets.matrix.wording import count, name_some

NAMED_AT_ONCE = 4


@dataclass
class Stage:
    """One asset: how many of its parts are to be made, and how far they are.

    `unchanged` were planned because something they are made from was, and turned out to be up
    to date. `not_made` cannot be made, or are made by somebody else. `since` is when the first
    was begun, `latest` when one was made or failed last.
    """

    asset: str
    total: int = 0
    done: int = 0
    failed: int = 0
    not_made: int = 0
    unchanged: int = 0
    running: int = 0
    since: float | None = None
    latest: float | None = None
    until: float | None = None
    doing: str = ""

    @property
    def settled(self) -> int:
        """Parts that nothing more becomes of."""
        return self.done + self.failed + self.not_made + self.unchanged

    @property
    def is_over(self) -> bool:
        """Whether all of it is settled."""
        return self.settled >= self.total

    @property
    def seconds(self) -> float:
        """Since its first part was begun, to the end of its last one."""
        if self.since is None:
            return 0.0
        return (self.until if self.is_over and self.until else time.monotonic()) - self.since

    @property
    def per_second(self) -> float:
        """Parts that were made or failed in a second, on average until the latest of them."""
        if self.since is None or self.latest is None or self.latest <= self.since:
            return 0.0
        return (self.done + self.failed) / (self.latest - self.since)

    @property
    def seconds_left(self) -> float | None:
        """By the rate so far; None before the first part is over, and where it takes longer."""
        if not self.per_second or self.latest is None:
            return None
        left = (self.total - self.settled) / self.per_second - (time.monotonic() - self.latest)
        return left if left >= 0 else None

    def line(self) -> str:
        """The stage when it is over, in one line."""
        numbers = [
            f"{self.failed} failed" if self.failed else "",
            f"{self.not_made} not made" if self.not_made else "",
            f"{self.unchanged} up to date" if self.unchanged else "",
        ]
        also = "".join(f", {number}" for number in numbers if number)
        made = f"{self.done:4} made"
        return f"  {self.asset:22} {made}  {span(self.seconds):>9}{also}"


@dataclass
class Outcome:
    """All that became of a `pcorr run`; `stages` in the order of the graph.

    `failed`, `not_made` and `not_applicable` say why, by part. `elsewhere` are parts that
    somebody else began, and that nobody finishes. `troubles` belong to no part. `signal` is
    the one that stopped it, 0 if none did.
    """

    stages: dict[str, Stage] = field(default_factory=dict)
    failed: dict[Part, str] = field(default_factory=dict)
    not_made: dict[Part, str] = field(default_factory=dict)
    not_applicable: dict[Part, str] = field(default_factory=dict)
    elsewhere: dict[Part, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    signal: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def made(self) -> int:
        """Parts that were made."""
        return sum(stage.done for stage in self.stages.values())

    @property
    def all_well(self) -> bool:
        """Whether everything that was asked for is there now."""
        bad = (self.failed, self.not_made, self.elsewhere, self.troubles, self.signal)
        return not any(bad)

    def last_line(self) -> str:
        """The whole in one line."""
        seconds = span(time.monotonic() - self.began)
        if self.signal:
            left = sum(stage.total - stage.settled for stage in self.stages.values())
            return (
                f"Stopped after {seconds}: {count(self.made, 'partition')} made, {left} left. "
                "What is finished is kept; the same command goes on from here."
            )
        if self.all_well and not self.made:
            return "Nothing to do: everything that was asked for is up to date."
        numbers = [
            f"{count(self.made, 'partition')} made",
            f"{len(self.failed)} failed" if self.failed else "",
            f"{len(self.not_made)} not made" if self.not_made else "",
            f"{len(self.elsewhere)} left to others" if self.elsewhere else "",
        ]
        return f"{', '.join(filter(None, numbers))}, in {seconds}."

    def complaints(self) -> Iterator[str]:
        """What failed and why, one line for each reason, then what could not be made for it."""
        yield from self.troubles
        if self.failed:
            yield "failed:"
            yield from _by_reason(self.failed)
        if self.not_made:
            yield "not made:"
            yield from _by_reason(self.not_made)
        if self.elsewhere:
            yield "begun by somebody else, and nobody goes on with it (`pcorr ui` does):"
            yield from (f"  {name}" for name in self.elsewhere.values())

    def notes(self) -> Iterator[str]:
        """What is as it should be, and yet not there."""
        if self.not_applicable:
            yield "left out, since they cannot be:"
            yield from _by_reason(self.not_applicable)


def _by_reason(reasons: Mapping[Part, str]) -> Iterator[str]:
    grouped: dict[str, list[str]] = {}
    for part, reason in reasons.items():
        grouped.setdefault(reason, []).append(name_of(part))
    for reason, names in grouped.items():
        yield f"  {name_some(names, NAMED_AT_ONCE)}: {reason}"


def span(seconds: float) -> str:
    """A length of time, short."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return (
            f"{int(seconds) // 60} min {int(seconds) % 60} s" if minutes < 10 else f"{minutes} min"
        )
    return f"{minutes // 60} h {minutes % 60} min"
