"""Which Dagster instance the commands use, found the same way by all of them.

Belongs here: `DAGSTER_HOME`, its default beside `pcorr.yaml`, the `dagster.yaml` that a
new one gets. Does not belong here: serving the UI on it (`serving`), and what else is done
with it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    import dagster as dg

logger = logging.getLogger(__name__)

HOME_VARIABLE = "DAGSTER_HOME"
DEFAULT_HOME = "dagster_home"
# What Dagster makes in its home, and what tells it how.
USED = frozenset({"dagster.yaml", "history", "schedules", "storage"})
# Its databases are named by URLs, in which these do not stand for themselves.
UNUSABLE = re.compile(r"\?|%[0-9A-Fa-f]{2}")
INSTANCE = Path(__file__).parent / "dagster.yaml"


def dagster_home(settings: Settings) -> Path:
    """`$DAGSTER_HOME`, else `dagster_home` beside `pcorr.yaml`; made if it is not there.

    Raises:
        PcorrError: the variable names no folder, or not by an absolute path; it is unset and
            there is no configuration file; or the folder cannot be made or used.
    """
    named = os.environ.get(HOME_VARIABLE, "").strip()
    if named:
        home = Path(named).expanduser()
        if not home.is_absolute():
            raise PcorrError(
                f"{HOME_VARIABLE} is {named!r}; Dagster needs an absolute path. Correct it, or "
                f"unset {HOME_VARIABLE} to use {DEFAULT_HOME} beside pcorr.yaml."
            )
        return prepare_home(home)
    if settings.path is None:
        raise PcorrError(
            f"{HOME_VARIABLE} is not set, and there is no pcorr.yaml to put a {DEFAULT_HOME} "
            "beside. Go to the folder of pcorr.yaml, or name it in PCORR_CONFIG."
        )
    return prepare_home(settings.path.parent / DEFAULT_HOME)


def prepare_home(home: Path) -> Path:
    """A Dagster home, with this project's `dagster.yaml` if Dagster has not used it yet.

    One that was used stays as it is: without a `dagster.yaml` of its own it is somebody's
    instance with the settings of Dagster.

    Raises:
        PcorrError: it is no folder, cannot be made, or has a name that Dagster cannot use.
    """
    if UNUSABLE.search(str(home)):
        raise PcorrError(
            f"The Dagster home {home} has a ? or an escape such as %20 in its path, where "
            f"Dagster's database would lie elsewhere. Name another folder in {HOME_VARIABLE}, by "
            "an absolute path."
        )
    try:
        if not home.is_dir():
            home.mkdir(parents=True)
            logger.warning("Made the Dagster home %s", home)
        if not USED.intersection(os.listdir(home)):
            from pcorr_assets.warehouse.files import atomic_path

            with atomic_path(home / "dagster.yaml") as path:
                shutil.copyfile(INSTANCE, path)
    except OSError as error:
        raise PcorrError(
            f"The Dagster home {home} cannot be used ({error.strerror}: {error.filename}). Make it "
            f"a folder that you may write, or name another one in {HOME_VARIABLE}."
        ) from None
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of `dagster_home`."""
    home = dagster_home(settings)
    import dagster as dg

    # Alembic reports each table of a new instance.
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def use_home(home: Path, config: Path | None) -> None:
    """Let Dagster in this process and its children use a home and a configuration."""
    os.environ[HOME_VARIABLE] = str(home)
    if config is not None:
        os.environ["PCORR_CONFIG"] = str(config)
