"""The answer to one question about what was computed.

Belongs here: the type that all rooms' questions are answered with. Does not belong here:
questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """`problems` say in sentences what is off and what to do; none: all is well.

    `numbers` are what the question was decided by, and `note` what to know although nothing
    is off (a question that could not be asked, for instance). `wrong` means that the data
    cannot be right, not only that somebody should look.
    """

    problems: tuple[str, ...] = ()
    numbers: Mapping[str, int | float | str] = field(default_factory=dict)
    note: str = ""
    wrong: bool = False

    @property
    def passed(self) -> bool:
        """Nothing is off."""
        return not self.problems

    @property
    def text(self) -> str:
        """The problems, or the note, as one text; empty if there is nothing to say."""
        return "\n".join(self.problems) or self.note
