"""Rows of a file that cannot be read: an error, or skipped, counted and named.

Belongs here: what becomes of a line that is no JSON object, or a CSV line with other fields
than its header. Does not belong here: telling such a line (`files`), and damage that leaves no
next row to go on with (a truncated or damaged file is always an error).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    from pcorr_assets.config.texts import TextSource

PLACES_KEPT = 100
# So many bad rows before the first good one, and the file is not what it is taken for.
HOPELESS = 1000


@dataclass
class BadRows:
    """What to do with bad rows, and those that were met so far.

    `count` of them were skipped beside `good` rows; `places` are the first hundred, each with
    file, line and reason.
    """

    skip: bool = False
    max_share: float = 0.0
    count: int = 0
    good: int = 0
    places: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, source: TextSource) -> BadRows:
        """As `on_bad_row` and `max_bad_rows` of a sample or pool say."""
        return cls(source.on_bad_row == "skip", source.max_bad_rows)

    def meet(self, error: PcorrError) -> None:
        """Count a bad row; where none is skipped, raise its error.

        Raises PcorrError as well if the first `HOPELESS` rows of all are bad.
        """
        if not self.skip:
            raise error
        self.count += 1
        if len(self.places) < PLACES_KEPT:
            self.places.append(str(error))
        if self.count >= HOPELESS and not self.good:
            raise PcorrError(
                f"none of the first {self.count:,} rows can be read, so skipping them "
                f"(on_bad_row: skip) is no remedy; the first: {self.places[0]}"
            )

    def check(self, where: str) -> None:
        """Raise PcorrError if more than `max_share` of the rows of `where` were bad."""
        rows = self.count + self.good
        if self.count > self.max_share * rows:
            raise PcorrError(
                f"{where}: {self.count:,} of {rows:,} rows cannot be read, which is more than "
                f"max_bad_rows ({self.max_share:g}) allows; the first: {self.places[0]}. Mend the "
                "files, or raise max_bad_rows"
            )
