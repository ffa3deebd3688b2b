"""Perplexity correlations as a Dagster data platform.

One folder is one room with one purpose, named in its own docstring. Data flows
from `config` and `text` through `lm`, `matrix`, `stats` and `filters` to
`report`; only `defs` and `definitions` import Dagster.

`pcorr_assets.open("pcorr.yaml")` gives a notebook what a project has made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcorr_assets.notebook import Project

__all__ = ["open"]


def open(config: Path | str | None = None) -> Project:
    """What the project of a configuration file has made; see `notebook.Project`.

    Raises:
        PcorrError: there is no such file, or it has mistakes; all of them are listed.
    """
    from pcorr_assets.notebook import open_project

    return open_project(config)
