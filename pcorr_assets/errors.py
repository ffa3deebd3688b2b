"""The one exception that is meant for the person at the keyboard.

Belongs here: the exception type, and the kind of it that code can act on. Does not belong
here: messages, which are written where the mistake is noticed and say what is wrong,
where, and what to do.
"""

from __future__ import annotations

from pathlib import Path


class PcorrError(ValueError):
    """Something a user can mend: bad input, a missing file, settings that do not fit.

    Anything else that is raised is a defect of the platform itself.
    """


class DamagedFileError(PcorrError):
    """A file that is not what was written to it; whoever can makes it again.

    `path` and `reason` say which and why; `remedy` is a sentence.
    """

    def __init__(self, path: Path, reason: str, remedy: str = "") -> None:
        self.path = path
        self.reason = reason
        self.remedy = remedy or "Remove it, and launch again what wrote it."
        super().__init__(f"{path} is damaged ({reason}). {self.remedy}")
