"""The cards room: what goes with a filter, a selection or a matrix that is given away.

Belongs here: cards in Markdown with the header that the hub reads, made from tables, and what
is pushed to the hub. Does not belong here: making what the cards speak of, and the report,
which says more of the same.
"""
