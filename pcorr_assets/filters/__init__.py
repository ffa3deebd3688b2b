"""Filters: from a sampling distribution to pretraining data that was selected by it.

Belongs here: labels of units and pages, training and judging a fastText filter,
scoring the documents of a pool, choosing those that fill a token budget, writing them
out, and the mixture table. Does not belong here: estimates and projections (`stats`),
where the sample's chunks come from (`text`), where tables are stored (`warehouse`).
Nothing in this room imports Dagster; fastText is imported inside functions.
"""
