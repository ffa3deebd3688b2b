"""Which files a local benchmark depends on, and their hash.

Belongs here: finding a task or group of lm-eval in a folder of YAML files, and following
what it names (included files, members of a group, functions, local data). Nothing here
needs lm-eval, and nothing of the folder is executed. Does not belong here: settings of
the config (`benchmark_settings`).

Names are resolved as lm-eval does: all `*.yaml` in the folder, in the order of their
paths; the first of a name counts; files that are no task are skipped.
"""

from __future__ import annotations

import ast
import glob
import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.content import folder_sha256
from pcorr_assets.warehouse.files import sha256_file

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_VALUES = 1_000_000
_IGNORED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}
# Code of the user's that makes the data itself may read any file.
_OPAQUE_KEYS = {"class", "custom_dataset"}


class _Function(NamedTuple):
    """`!function module.name`, and the folder of the file that says so."""

    folder: Path
    reference: str


class _Config(NamedTuple):
    """A YAML file with what it includes: merged values, and the files in reading order."""

    values: dict[str, Any]
    files: tuple[Path, ...]


class _UnreadableError(Exception):
    """Not a configuration that lm-eval would take."""


def task_files_sha256(name: str, folder: Path) -> str:
    """SHA-256 over the contents of all local files that decide what a task or group does.

    These are its YAML file with those it includes, the modules of its functions with the
    modules beside them that these import, the files that `data_files` name (and a local
    folder as `dataset_path` or `data_dir`), and for a group all that of its members. A
    missing file counts as missing: the evaluation reports it.

    The whole folder is hashed where that cannot be told: no YAML file there defines the
    name, or the task is a Python class or has a `custom_dataset` function.
    """
    index = _index(folder)
    digest = hashlib.sha256()
    try:
        found = list(_entries(name, index, set(), data_folder(name, folder)))
    except _UnreadableError:
        found = []
    if not found:
        return folder_sha256(folder)
    for entry in found:
        digest.update(f"{entry}\n".encode())
    return digest.hexdigest()


def unreadable_files(folder: Path) -> list[str]:
    """A sentence for each YAML file of the folder that lm-eval passes over as unreadable."""
    problems = []
    for path in _yaml_files(folder):
        try:
            _load(path, set())
        except _UnreadableError as error:
            problems.append(f"{path.relative_to(folder)} cannot be read ({error})")
    return problems


def _yaml_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("**/*.yaml"), key=lambda path: path.as_posix()):
        if not _IGNORED_FOLDERS.intersection(path.parts):
            yield path


def _index(folder: Path) -> dict[str, list[_Config]]:
    """By name of a task, group or tag, what has this name: a tag has several."""
    named: dict[str, list[_Config]] = {}
    tagged: dict[str, list[_Config]] = {}
    for path in _yaml_files(folder):
        try:
            config = _load(path, set())
        except _UnreadableError:
            continue
        is_task = "class" in config.values or "group" not in config.values
        own = config.values.get("task" if is_task else "group")
        if not isinstance(own, str) or own in named:
            continue
        named[own] = [config]
        for tag in _as_list(config.values.get("tag")) if is_task else []:
            tagged.setdefault(str(tag), []).append(config)
    return tagged | named


def _load(path: Path, seen: set[Path]) -> _Config:
    path = path.resolve()
    if path in seen:
        raise _UnreadableError(f"{path} includes itself")
    seen.add(path)
    try:
        own = _parse(path.parent, path.read_bytes())
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise _UnreadableError(f"{path}: {error}") from error
    if not isinstance(own, dict):
        raise _UnreadableError(f"{path} holds no mapping")
    merged: dict[str, Any] = {}
    files = [path]
    for include in _as_list(own.get("include")):
        included = _load(path.parent / str(include), seen)
        merged |= included.values
        files += included.files
    return _Config(merged | own, tuple(files))


@lru_cache(maxsize=4096)
def _parse(folder: Path, text: bytes) -> Any:
    """The values of a YAML file in this folder; not to be changed, they are kept."""

    class Loader(_BaseLoader):
        """Safe: it notes functions and does not import them."""

    def function(loader: Any, node: Any) -> _Function:
        return _Function(folder, str(loader.construct_scalar(node)))

    yaml.add_constructor("!function", function, Loader=Loader)
    return yaml.load(text, Loader=Loader)


def _entries(
    name: str, index: Mapping[str, list[_Config]], seen: set[str], base: Path
) -> Iterator[str]:
    """What the hash is made of, one line each; a member of two groups counts once."""
    if name in seen:
        return
    seen.add(name)
    for config in index.get(name, []):
        for file in config.files:
            yield f"yaml {sha256_file(file)}"
        for function in dict.fromkeys(_functions(config.values)):
            for module in _modules(function):
                yield f"module {sha256_file(module)}"
        for mapping in _mappings(config.values):
            if _is_opaque(mapping):
                raise _UnreadableError(f"{name} reads its data by code of its own")
            yield from _data(mapping, base)
        for member in _members(config.values):
            yield f"member {member}"
            yield from _entries(member, index, seen, base)


def _members(values: Mapping[str, Any]) -> Iterator[str]:
    for item in _as_list(values.get("task")) if isinstance(values.get("task"), list) else []:
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            if isinstance(item.get("group"), str):
                yield item["group"]
            elif isinstance(item.get("task"), str):
                yield item["task"]
            yield from _members(item)


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    """The value itself and all mappings inside it."""
    return (inner for inner in _walk(value) if isinstance(inner, Mapping))


def _functions(value: object) -> Iterator[_Function]:
    return (inner for inner in _walk(value) if isinstance(inner, _Function))


def _strings(value: object) -> Iterator[str]:
    return (inner for inner in _walk(value) if isinstance(inner, str))


def _walk(value: object) -> Iterator[object]:
    """The value and all inside it; what aliases repeat comes once, even what holds itself."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping | list):
            if id(one) in seen:
                continue
            seen.add(id(one))
            waiting += reversed([*one.values()] if isinstance(one, Mapping) else one)
        yield one


def refuse_unusable(name: str, folder: Path) -> None:
    """Look at the files of a task or group for what lm-eval would not end well with.

    Raises:
        PcorrError: aliases that stand for millions of values; data that would be whatever
            lies in the current folder.
    """
    for config in _reachable(name, _index(folder), set()):
        where = config.files[0].relative_to(folder.resolve())
        if _is_too_large(config.values):
            raise PcorrError(
                f"the aliases in {where} stand for more than {MAX_VALUES:,} values, or for "
                "themselves: write the task without them"
            )
        path, options = config.values.get("dataset_path"), config.values.get("dataset_kwargs")
        named = isinstance(options, Mapping) and {"data_files", "data_dir"} & options.keys()
        if _reads_files(path) and not named and not _is_opaque(config.values):
            raise PcorrError(
                f"{where} reads {path} files, but does not say which, so that every file under "
                "the current folder would be taken: set `dataset_kwargs: {data_files: ...}`"
            )


def missing_data(name: str, folder: Path) -> list[str]:
    """Relative paths of data of a task or group, or of its members, that lead nowhere there."""
    found: list[str] = []
    for config in _reachable(name, _index(folder), set()):
        # With a dataset of the hub, these are files of its repository.
        if _reads_files(config.values.get("dataset_path")):
            for text in _data_paths({"dataset_kwargs": config.values.get("dataset_kwargs")}):
                is_relative = not os.path.isabs(text) and "://" not in text
                if is_relative and not glob.glob(text, root_dir=folder, recursive=True):
                    found.append(text)
    return found


def _reads_files(dataset_path: object) -> bool:
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    return isinstance(dataset_path, str) and dataset_path in _PACKAGED_DATASETS_MODULES


def _reachable(name: str, index: Mapping[str, list[_Config]], seen: set[str]) -> Iterator[_Config]:
    """The configurations of a task, or of a group and its members."""
    if name in seen:
        return
    seen.add(name)
    for config in index.get(name, []):
        yield config
        for member in _members(config.values):
            yield from _reachable(member, index, seen)


def _is_opaque(values: Mapping[str, Any]) -> bool:
    return bool(_OPAQUE_KEYS.intersection(values))


def _is_too_large(value: object) -> bool:
    """Whether a configuration has more than `MAX_VALUES` values once its aliases are written out.

    A few hundred bytes of aliases of aliases stand for millions of values, and lm-eval writes
    them out; what refers to itself has no end.
    """
    sizes: dict[int, float] = {}

    def size(one: object) -> float:
        if not isinstance(one, Mapping | list) or isinstance(one, _Function):
            return 1
        if id(one) not in sizes:
            sizes[id(one)] = math.inf  # until it is known: inside itself it is endless
            inner = one.values() if isinstance(one, Mapping) else one
            sizes[id(one)] = 1 + sum(map(size, inner))
        return sizes[id(one)]

    return size(value) > MAX_VALUES


def _modules(function: _Function) -> list[Path]:
    """The file of a function, and the files beside it that it imports, and these import."""
    found: dict[Path, None] = {}
    waiting = [function.reference.rpartition(".")[0]]
    while waiting:
        path = (function.folder / f"{waiting.pop(0).replace('.', '/')}.py").resolve()
        if path in found or not path.is_file():
            continue
        found[path] = None
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # the evaluation says what is wrong with it
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(node.module)
    return list(found)


def data_folder(name: str, folder: Path) -> Path:
    """Where relative paths of a task's data start: in its folder if they lead to something there.

    Else they start where the process is, as everywhere in lm-eval.
    """
    for config in _reachable(name, _index(folder), set()):
        for mapping in _mappings(config.values):
            for text in _data_paths(mapping):
                is_relative = not os.path.isabs(text) and "://" not in text
                if is_relative and glob.glob(text, root_dir=folder, recursive=True):
                    return folder
    return Path.cwd()


def _data_paths(mapping: Mapping[str, Any]) -> Iterator[str]:
    options = mapping.get("dataset_kwargs")
    options = options if isinstance(options, Mapping) else {}
    data_dir, path = options.get("data_dir"), mapping.get("dataset_path")
    yield from (text for text in (path, data_dir) if isinstance(text, str))
    for pattern in _strings(options.get("data_files")):
        yield os.path.join(data_dir, pattern) if isinstance(data_dir, str) else pattern


def _data(mapping: Mapping[str, Any], start: Path) -> Iterator[str]:
    """Local data of one mapping of a configuration; hub names and addresses are in the YAML."""
    path = mapping.get("dataset_path")
    if isinstance(path, str) and (start / path).is_dir():
        yield f"folder {folder_sha256(start / path)}"
    options = mapping.get("dataset_kwargs")
    if not isinstance(options, Mapping):
        return
    data_dir = options.get("data_dir")
    base = start / data_dir if isinstance(data_dir, str) else start
    files = options.get("data_files")
    if files is not None:
        for pattern in _strings(files):
            yield from _data_files(base, pattern)
    elif isinstance(data_dir, str) and base.is_dir():
        yield f"folder {folder_sha256(base)}"


def _data_files(base: Path, pattern: str) -> Iterator[str]:
    if "://" in pattern:
        return
    exact = base / pattern
    matches = (
        [exact] if exact.is_file() else map(Path, sorted(glob.glob(str(exact), recursive=True)))
    )
    contents = [f"data {sha256_file(match)}" for match in matches if match.is_file()]
    yield from contents or [f"missing {pattern}"]


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
