"""Texts: from a sample's source to exact chunks and token counts.

Belongs here: reading rows from files and datasets, cleaning and sampling pages,
cutting pages into chunks with the reference tokenizer, counting tokens.
Does not belong here: anything about LLMs' losses, and where tables are stored
(a writer is handed in). Nothing in this room imports Dagster.
"""
