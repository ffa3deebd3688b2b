"""`pcorr.yaml` as typed settings: the one file that users edit.

Belongs here: reading, checking and explaining the file, and the grammar of the keys that
become partitions and file names. Does not belong here: anything that acts on a setting.
Importing this room loads pydantic and PyYAML, nothing heavier.
"""

from __future__ import annotations

from pcorr_assets.config.automation import Automation
from pcorr_assets.config.compute import (
    Compute,
    SelectionCompute,
    Slurm,
    SlurmOverrides,
    SlurmResources,
    Ssh,
    time_limit_seconds,
)
from pcorr_assets.config.correlation import Benchmark, FastText, Selection, Target, Validation
from pcorr_assets.config.llms import Candidate, Family, LLMSpec, Model
from pcorr_assets.config.loading import find_config, load_settings, settings_from
from pcorr_assets.config.planning import Plan
from pcorr_assets.config.settings import Settings
from pcorr_assets.config.storage import Exports, Storage
from pcorr_assets.config.texts import Draw, MatrixCsv, NearDuplicates, Pilot, Pool, Sample

__all__ = [
    "Automation",
    "Benchmark",
    "Candidate",
    "Compute",
    "Draw",
    "Exports",
    "Family",
    "FastText",
    "LLMSpec",
    "MatrixCsv",
    "Model",
    "NearDuplicates",
    "Pilot",
    "Plan",
    "Pool",
    "Sample",
    "Selection",
    "SelectionCompute",
    "Settings",
    "Slurm",
    "SlurmOverrides",
    "SlurmResources",
    "Ssh",
    "Storage",
    "Target",
    "Validation",
    "find_config",
    "load_settings",
    "settings_from",
    "time_limit_seconds",
]
