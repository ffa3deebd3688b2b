"""What a deep check found, each with its place in the file.

Belongs here: collecting, so that one finding does not hide the next. Does not belong here:
any check.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pcorr_assets.config.section import Location
from pcorr_assets.errors import PcorrError


@dataclass(frozen=True)
class Finding:
    """What would stop a run, at a place of pcorr.yaml, with what to do about it."""

    place: Location
    text: str


@dataclass
class Findings:
    """`found` stops runs; `notes` say what was seen or could not be asked."""

    found: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, place: Location, text: str) -> None:
        """One thing that would stop a run."""
        self.found.append(Finding(place, text))

    @contextmanager
    def at(self, place: Location) -> Iterator[None]:
        """What the user can mend and is raised inside becomes a finding at `place`."""
        try:
            yield
        except PcorrError as error:
            self.add(place, str(error))
        except OSError as error:
            self.add(place, f"{error}; mend the path or its permissions")
