"""Folders of tasks that lie at a URL, brought to where lm-eval can read them.

Belongs here: from a benchmark of the configuration to one whose `task_path` is a local folder, and
the options of the store for data that task files name by URL. Does not belong here: fetching
(`storage`), and what is in the files (`task_files`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pcorr_assets.config import Benchmark, Settings, Storage
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.task_files import missing_data
from pcorr_assets.storage.filesystems import options_of
from pcorr_assets.storage.folders import fetched_folder

CACHE = Path("cache") / "task_folders"


def with_local_tasks(benchmark: Benchmark, cache: Path, *, refresh: bool = False) -> Benchmark:
    """The benchmark with its folder of tasks on this machine.

    `cache` holds copies of folders; `refresh`: as `storage.folders.fetched_folder`. Raises as that.
    """
    if not isinstance(benchmark.task_path, str):
        return benchmark
    folder = fetched_folder(benchmark.task_path, benchmark.storage, cache, refresh=refresh)
    return benchmark.model_copy(update={"task_path": folder})


def local_benchmarks(settings: Settings) -> dict[str, Benchmark]:
    """All benchmarks as they were evaluated last, or would be now if they never were.

    Raises as `with_local_tasks`.
    """
    return {
        name: with_local_tasks(benchmark, settings.home / CACHE)
        for name, benchmark in settings.benchmarks.items()
    }


def fetch_tasks(
    benchmarks: Mapping[str, Benchmark], home: Path
) -> tuple[dict[str, Benchmark], dict[str, str]]:
    """The benchmarks with the tasks that are there now, and why those of others cannot be had."""
    found: dict[str, Benchmark] = {}
    failed: dict[str, str] = {}
    for name, benchmark in benchmarks.items():
        try:
            found[name] = usable_tasks(name, benchmark, home / CACHE)
        except PcorrError as error:
            failed[name] = str(error)
    return found, failed


def usable_tasks(name: str, benchmark: Benchmark, cache: Path) -> Benchmark:
    """As `with_local_tasks`, with the tasks that are there now.

    Raises PcorrError also where a fetched task names data by a relative path that leads nowhere
    in its folder: whatever lies where the run was started is not what its author meant.
    """
    fetched = with_local_tasks(benchmark, cache, refresh=True)
    if isinstance(benchmark.task_path, str) and fetched.task_folder is not None:
        for pattern in missing_data(name, fetched.task_folder):
            raise PcorrError(
                f"the task at {benchmark.task_path} names its data as {pattern!r}, which is not in "
                "that folder: put it there, or write the URL of the data, or an absolute path, "
                "into its YAML"
            )
    return fetched


@contextmanager
def reading_data(storage: Storage) -> Iterator[None]:
    """`datasets` reads URLs in the block with the options of the benchmark's store.

    By the defaults of fsspec, which what a task states itself (`storage_options`) goes before.
    """
    from fsspec.config import conf

    before = dict(conf)
    if storage != Storage():
        for scheme in ("s3", "gs", "az"):
            conf[scheme] = {**conf.get(scheme, {}), **options_of(f"{scheme}://", storage)}
    try:
        yield
    finally:
        conf.clear()
        conf.update(before)
