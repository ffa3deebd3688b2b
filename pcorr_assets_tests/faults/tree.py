"""What a home holds, file by file, in a form that can be compared.

Belongs here: reading every kind of file the platform writes down to what must be equal, and
the differences of two homes. Does not belong here: whether a difference is a fault.

Left out of what must be equal: the contents of lock files, ids and times of runs and what they
took or will take, the folder that the project lies in, and what was kept of the looks at files (by
inode and time).
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pyarrow.parquet as pq

from pcorr_assets.warehouse.views import glob_literal, sql_literal

Tree = dict[str, str]
# `{path and content of a file: its digest}`, of files that were read before.
Known = dict[tuple[str, str], str]

_HERE = "<project>"
_TOOK = "scoring_runs"
# What runs keep for the runs after them, which may grow in several steps.
_OF_RUNS = ("evaluations/", "shards/", "cache/")
_OF_ONE_RUN = ("cache/contents.json", "cache/bill.json", f"warehouse/{_TOOK}/")
# A hash of what is compared here by itself, and of the folder that the project lies in.
_SEAL = "pcorr_seal"
# Times, and ids of runs, in files that people read.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?( UTC|Z|\+00:00)?")

# Sizes and hashes of table files, which name the folder that the project lies in: these files
# are compared by themselves.
_FILE_IN_HTML = re.compile(
    r'<td class="n">[^<]*</td><td class="n">[-\d]*</td><td><code>[0-9a-f]*</code></td>'
)
_TOOK_IN_HTML = re.compile(r"<h3>What scoring took</h3>.*?</table>\n</div>\n", re.DOTALL)
_FILES_IN_EXPORT = (
    "SELECT table_name, partition_key, row_count FROM partition_files "
    f"WHERE table_name <> '{_TOOK}'"
)


def read_tree(home: Path, known: Known | None = None, former: Path | None = None) -> Tree:
    """`{path under home: digest of what must be equal}`; what cannot be read says so.

    `known` saves reading a file whose bytes were seen before, and learns the others. `former`:
    the folder that the project lay in when some of its files were made.
    """
    known = {} if known is None else known
    here = _spellings([home.parent, *([former] if former else [])])
    tree = {}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if path.is_file() and not name.startswith(_OF_ONE_RUN):
            key = (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
            if key not in known:
                known[key] = _digest(path, here)
            tree[name] = known[key]
    return tree


def _spellings(folders: Sequence[Path]) -> re.Pattern[str]:
    """A folder as it stands in links, in HTML, in JSON and in Python; longer ones first."""
    ways = (quote, html.escape, _in_json, _in_python, _in_sql, _in_views)
    once = {way(str(folder)) for folder in folders for way in (str, *ways)}
    # Rows of DuckDB are compared as Python shows them, whatever is in them.
    spelled = {*once, *map(_in_python, once)}
    return re.compile("|".join(re.escape(text) for text in sorted(spelled, key=len, reverse=True)))


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _in_python(text: str) -> str:
    return repr(text)[1:-1]


def _in_sql(text: str) -> str:
    return sql_literal(text)[1:-1]


def _in_views(text: str) -> str:
    return sql_literal(glob_literal(Path(text)))[1:-1]


def _digest(path: Path, here: re.Pattern[str]) -> str:
    name = path.name
    read = next((read for end, read in _READERS.items() if name.endswith(end)), _text)
    try:
        content = read(path)
    except Exception as error:  # noqa: BLE001 - a damaged file may fail in any way
        return f"cannot be read: {type(error).__name__}"
    return hashlib.sha256(here.sub(_HERE, content).encode()).hexdigest()[:16]


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()


def _model(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _parquet(path: Path) -> str:
    table = pq.ParquetFile(path).read()
    notes = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    notes.pop(_SEAL, None)
    return repr((sorted(notes.items()), table.to_pydict()))


def _html(path: Path) -> str:
    page = _TOOK_IN_HTML.sub("", _text(path))
    return _TIME.sub("<time>", _FILE_IN_HTML.sub("<file>", page))


def _manifest(path: Path) -> str:
    # Its own hash is over the id of the run, too.
    of_the_run = {"run_id": None, "content_sha256": None}
    return json.dumps({**json.loads(path.read_text()), **of_the_run}, sort_keys=True)


def _database(path: Path) -> str:
    """The rows of every table, in an order of their own; of views the statement."""
    with duckdb.connect(str(path), read_only=True) as connection:
        views = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY 1"
        statements = connection.execute(views).fetchall()
        named = "SELECT table_name FROM duckdb_tables() ORDER BY 1"
        names = [row[0] for row in connection.execute(named).fetchall()]
        queries = {name: f'SELECT * FROM "{name}"' for name in names}
        if "partition_files" in queries:
            queries["partition_files"] = _FILES_IN_EXPORT
        tables = [
            # Not as one `repr`, which quotes rows with another folder in them otherwise.
            "\n".join([name, *sorted(map(_row, connection.execute(queries[name]).fetchall()))])
            # What an export says of the place that it was made at.
            for name in names
            if name not in ("README", _TOOK)
        ]
    return _TIME.sub("<time>", "\n\n".join([*map(_row, statements), *tables]))


def _row(values: Sequence[Any]) -> str:
    return "\t".join(map(str, values))


_READERS: dict[str, Callable[[Path], str]] = {
    ".lock": lambda _: "",
    ".parquet": _parquet,
    ".duckdb": _database,
    ".html": _html,
    "manifest.json": _manifest,
    ".bin": _model,
}


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> dict[str, list[str]]:
    """Paths by what is off: `missing`, `stray` (there, but not expected), `differs`."""
    return {
        "missing": sorted(set(expected) - set(found)),
        "stray": sorted(set(found) - set(expected)),
        "differs": sorted(
            path for path in set(found) & set(expected) if found[path] != expected[path]
        ),
    }


def damage_in_between(found: Tree, before: Tree, after: Tree) -> list[str]:
    """Files for readers that are neither as before a stage nor as after it, in its middle."""
    before, found = (
        {path: digest for path, digest in tree.items() if not path.startswith(_OF_RUNS)}
        for tree in (before, found)
    )
    known: dict[str, set[Any]] = {}
    for state in (before, after):
        for path, digest in state.items():
            known.setdefault(path, set()).add(digest)
    return sorted(
        [path for path in before if path not in found and path in after]
        + [path for path, digest in found.items() if path in known and digest not in known[path]]
    )
