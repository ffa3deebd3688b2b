"""What has been made, for a notebook: data frames, arrays and figures.

Belongs here: `open_project`, which `pcorr_assets.open` calls, and reading tables into what an
analysis needs. Does not belong here: making anything, which runs of Dagster do, and writing.
"""

from pcorr_assets.notebook.project import Project, open_project

__all__ = ["Project", "open_project"]
