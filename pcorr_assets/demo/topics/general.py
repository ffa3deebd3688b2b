"""Sentences that any site may hold, whatever its topic. Words only."""

from __future__ import annotations

SENTENCES: tuple[str, ...] = (
    "thank you for {reading} this {page}",
    "there is more about this on the {next_} {page}",
    "please {write} to us if you find a mistake in this {page}",
    "this {page} was {updated} in {season}",
    "the {next_} part will follow in {season}",
    "{who} asked us to {write} about it again",
    "all pictures on this {page} were taken by {who}",
    "{who} has been {reading} our {page} since last {season}",
    "as we said in the {next_} {page} it takes time to learn",
    "some of this was {updated} after a letter from {who}",
    "no two people agree about this, said {who} in {season}",
    "that was the long answer, and the short one stands on the {next_} {page}",
)

SLOTS: dict[str, tuple[str, ...]] = {
    "reading": ("reading", "following", "sharing", "supporting", "translating"),
    "page": ("page", "article", "column", "newsletter", "report"),
    "next_": ("next", "first", "previous", "second", "last"),
    "write": ("write", "speak", "come back", "send a note", "reply"),
    "updated": ("updated", "corrected", "printed", "checked", "shortened"),
    "season": ("spring", "summer", "autumn", "winter", "the holidays"),
    "who": ("a reader", "my colleague", "the editor", "an old friend", "somebody we met"),
}
