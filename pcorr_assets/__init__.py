"""Perplexity correlations as a Dagster data platform.

One folder is one room with one purpose, named in its own docstring. Data flows
from `config` and `text` through `lm`, `matrix`, `stats` and `filters` to
`report`; only `defs` and `definitions` import Dagster.
"""
