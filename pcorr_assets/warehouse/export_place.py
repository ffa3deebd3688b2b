"""The place of an exported database: what may stand there, and a full disk.

Belongs here: refusing to replace other files, one export at a time, and leaving nothing
behind. Does not belong here: what is written (`export`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.files import atomic_path, remove_leftovers, writing
from pcorr_assets.warehouse.locks import partition_lock
from pcorr_assets.warehouse.views import sql_literal


@contextmanager
def export_place(path: Path, holder: str) -> Iterator[Path]:
    """Yield the path of a temporary file that replaces `path` when all went well.

    `holder` is how another export to the same path is told who is at it. On an exception
    `path` stays as it was, and nothing is left beside it but the lock file.

    Raises:
        PcorrError: somebody else is exporting to `path` or has it open for writing; it is
            a folder, another file than an export, or has a question mark in it, after
            which DuckDB looks for options; or DuckDB could not write to the file.
    """
    import duckdb

    if path.is_dir():
        raise PcorrError(f"{path} is a folder; give the path of the file to write.")
    if "?" in str(path):
        raise PcorrError(f"{path}: DuckDB cannot write to a path with a '?' in it; choose another.")
    lock = path.with_name(f".{path.name[:150]}.lock")
    with writing(path), partition_lock(lock, f"The export {path}", holder):
        _refuse_open_for_writing(path)
        refuse_other_files(path)
        remove_leftovers(path)
        try:
            with atomic_path(path, made_by_library=True) as temporary:
                yield temporary
        except (duckdb.IOException, duckdb.FatalException) as error:
            raise PcorrError(
                f"{path} could not be written ({error}). What was there before is still there: "
                "make room on its disk or choose another path, then export again."
            ) from None
        finally:
            remove_leftovers(path)


def _refuse_open_for_writing(path: Path) -> None:
    """A write-ahead log beside the file would be taken for that of the new one."""
    log = path.with_name(f"{path.name}.wal")
    if log.exists():
        raise PcorrError(
            f"{path} is open for writing somewhere, or was when that program died ({log.name} is "
            "beside it). Close it there; if nobody has it open, open it once with duckdb and "
            "close it again, or remove both files."
        )


def refuse_other_files(path: Path) -> None:
    """Nothing but an older export (or an empty file) is replaced: not a file named by mistake.

    Raises PcorrError if it is another file.
    """
    import duckdb

    if not path.exists() or not path.stat().st_size:
        return
    advice = "Nothing was changed: choose another path, or remove that file first."
    with duckdb.connect(":memory:") as connection:
        try:
            connection.execute(f"ATTACH {sql_literal(str(path))} AS old (TYPE duckdb, READ_ONLY)")
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise PcorrError(
                f"{path} is there and cannot be read as an exported database ({reason}). {advice}"
            ) from None
        found = connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'old' "
            "AND table_name IN ('README', 'partition_files')"
        ).fetchone()
    if found != (2,):
        raise PcorrError(f"{path} is a database, but not one that an export wrote. {advice}")
