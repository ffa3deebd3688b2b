"""A local copy of an object, for as long as a library that needs a path reads it.

Belongs here: small files (published matrices, token counts of units). Does not belong here:
texts, which are read as a stream (`remote`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pcorr_assets.config.storage import Storage
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.remote import RemoteFile


@contextmanager
def local_copy(place: Path | str, options: Storage) -> Iterator[Path]:
    """The path itself, or that of a temporary copy of the object that a URL names.

    Raises:
        PcorrError: as `RemoteFile.open`. What is raised in the block names the URL.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="pcorr-copy-") as folder:
        file = RemoteFile(place, options)
        path = Path(folder) / (file.name or "object")
        with file.open() as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        try:
            yield path
        except PcorrError as error:
            raise PcorrError(str(error).replace(str(path), place)) from error
