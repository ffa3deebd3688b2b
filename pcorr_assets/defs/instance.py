"""Which Dagster instance the commands use, found the same way by all of them.

Belongs here: `DAGSTER_HOME`, its default beside `pcorr.yaml`, the `dagster.yaml` that a
new one gets, and serving the UI on it. Does not belong here: what else is done with it.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    import dagster as dg

logger = logging.getLogger(__name__)

HOME_VARIABLE = "DAGSTER_HOME"
DEFAULT_HOME = "dagster_home"
INSTANCE = Path(__file__).parent / "dagster.yaml"


def dagster_home(settings: Settings) -> Path:
    """`$DAGSTER_HOME`, else `dagster_home` beside `pcorr.yaml`, made if it is not there.

    Raises:
        PcorrError: the variable names no folder, or not by an absolute path; or it is unset
            and there is no configuration file.
    """
    named = os.environ.get(HOME_VARIABLE, "").strip()
    if named:
        home = Path(named).expanduser()
        if not home.is_absolute() or not home.is_dir():
            raise PcorrError(
                f"{HOME_VARIABLE} is {named!r}; Dagster needs the absolute path of a folder that "
                f"exists. Create it (mkdir -p), or unset {HOME_VARIABLE} to use {DEFAULT_HOME} "
                "beside pcorr.yaml."
            )
        return home
    if settings.path is None:
        raise PcorrError(
            f"{HOME_VARIABLE} is not set, and there is no pcorr.yaml to put a {DEFAULT_HOME} "
            "beside. Go to the folder of pcorr.yaml, or name it in PCORR_CONFIG."
        )
    return prepare_home(settings.path.parent / DEFAULT_HOME)


def prepare_home(home: Path) -> Path:
    """A Dagster home with this project's `dagster.yaml`; one that is there stays as it is."""
    if not home.is_dir():
        home.mkdir(parents=True)
        logger.warning("Made the Dagster home %s", home)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(INSTANCE, home / "dagster.yaml")
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


def serve(home: Path, config: Path | None, *, host: str = "127.0.0.1", port: int) -> NoReturn:
    """Replace this process by `dagster dev`: the UI, and the daemon that launches runs."""
    use_home(home, config)
    sys.stderr.write(f"http://{host}:{port}   (Ctrl-C ends it; DAGSTER_HOME is {home})\n")
    sys.stderr.flush()
    # A shell has the background processes of its scripts ignore SIGINT, and their children
    # inherit that; Dagster does on SIGTERM what SIGINT does, so nothing could end it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = ["dagster", "dev", "-m", "pcorr_assets.definitions", "-h", host, "-p", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", *command])
