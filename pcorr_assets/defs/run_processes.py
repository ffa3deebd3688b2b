"""Which process a run lives in, and ending the runs whose process is gone.

Belongs here: the note that each process of a run keeps, what follows from its lock, and
ending a run for its dead process. Does not belong here: the executor that keeps the note
(`executor`), and what is said of slots (`slots`).

Dagster looks after the runs that its own server started, as long as that server lives; a run
of `dagster asset materialize`, or of a server that was killed too, stays STARTED for ever
and keeps its slots. So each process of a run holds a shared lock on a file of its own in the
Dagster home, which the kernel lets go of however the process ends, and the run bears the
file's name as a tag. No clock and no process id decides anything.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

import dagster as dg

from pcorr_assets.errors import PcorrError

logger = logging.getLogger(__name__)

PROCESS_TAG = "pcorr/process"
FOLDER = "run_processes"
BEGUN = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
# A run that bears the name of its process from the moment it is made can die before it begins.
NOT_BEGUN = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]

Life = Literal["alive", "dead", "unknown"]

# Locks are held for as long as the process lives, so the files are never closed.
_held: dict[Path, int] = {}
_own: dict[Path, Path] = {}


@dataclass(frozen=True)
class RunProcess:
    """A run that has begun or holds slots, and what is known of its process.

    `life` is `unknown` where it cannot be told from here: a run of another host, of a version
    that kept no note, or of another code location. `process` describes it in words.
    """

    run: dg.DagsterRun
    life: Life
    process: str

    @property
    def name(self) -> str:
        """The run in words: its id, and what it makes."""
        return f"run {self.run.run_id[:8]} ({work_of(self.run)}; {self.process})"


def work_of(run: dg.DagsterRun) -> str:
    """What a run makes: its assets and partition, or its job."""
    assets = sorted(key.to_user_string() for key in run.asset_selection or ())
    partition = run.tags.get("dagster/partition", "")
    return f"{', '.join(assets) or run.job_name} {partition}".strip()


def note_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Note that this process carries a run; from now on its death can be told."""
    if instance.is_ephemeral:
        return
    try:
        name = _own_file(_folder(instance)).name
    except OSError as error:
        # A file system without locks: all works, but for telling the dead from the living.
        logger.warning("cannot keep a lock in %s (%s)", _folder(instance), error)
        return
    instance.add_run_tags(run_id, {PROCESS_TAG: f"{run_id[:8]}/{name}"})


def process_tags(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """Tags of a run that this process is about to make, so that its death can be told at once."""
    try:
        return {PROCESS_TAG: f"{run_id[:8]}/{_own_file(_folder(instance)).name}"}
    except OSError:
        return {}  # `note_process` says it when the run begins


def join_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Called in the process of a step: the run lives for as long as this process does.

    Raises:
        PcorrError: the run was ended meanwhile, because the process that launched this
            step is gone.
    """
    run = None if instance.is_ephemeral else instance.get_run_by_id(run_id)
    if run is None:
        return
    name = _file_of(run)
    if name is None:
        note_process(instance, run_id)  # not launched by the executor: execute_in_process
    elif _folder(instance) / name not in _held:
        _hold(_folder(instance) / name)
    now = instance.get_run_by_id(run_id)
    if now is not None and now.is_finished:
        raise PcorrError(
            f"Run {run_id} was ended ({now.status.value.lower()}) before this step of it began, "
            "because the process that launched the step is gone. Launch it again."
        )


def processes(instance: dg.DagsterInstance) -> list[RunProcess]:
    """All runs that have begun and are not over, and those that are over but hold slots."""
    found = []
    for run in _begun_or_holding(instance):
        with _examined(instance, run) as seen:
            found.append(seen)
    return found


def end_dead_runs(instance: dg.DagsterInstance) -> list[RunProcess]:
    """End the runs whose process is gone, and free their slots; returns those runs.

    A run is left alone if one of its processes lives (a step may outlive the process that
    launched it), or if that cannot be told. What a dead run finished stays, as after any
    failure.
    """
    ended = []
    if instance.is_ephemeral:
        return ended
    for run in _begun_or_holding(instance):
        with _examined(instance, run) as seen:
            if seen.life == "dead" and _end(instance, seen):
                ended.append(seen)
    _remove_old_files(instance)
    return ended


def end_run(instance: dg.DagsterInstance, found: RunProcess) -> None:
    """End a run that somebody says is gone, and free its slots."""
    _end(instance, found)


def free_own_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """At the end of a run's steps: free what an interrupted step has left.

    Not while a step of the run still lives in another process.
    """
    storage = instance.event_log_storage
    path = None if instance.is_ephemeral else _own.get(_folder(instance))
    if path is None or not storage.supports_global_concurrency_limits:
        return
    if run_id in storage.get_concurrency_run_ids() and _held_by_nobody_else(path):
        storage.free_concurrency_slots_for_run(run_id)


def _begun_or_holding(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    runs = {
        run.run_id: run
        for run in instance.get_runs(dg.RunsFilter(statuses=[*BEGUN, *NOT_BEGUN]))
        if run.status in BEGUN or _file_of(run) is not None
    }
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        others = storage.get_concurrency_run_ids() - runs.keys()
        if others:
            holding = instance.get_runs(dg.RunsFilter(run_ids=sorted(others)))
            runs |= {run.run_id: run for run in holding}
    return list(runs.values())


@contextmanager
def _examined(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[RunProcess]:
    """What is known of a run; nobody can begin a step of a dead one within the block."""
    name = _file_of(run)
    if name is None:
        yield RunProcess(run, "unknown", "of a process that nothing is noted of")
        return
    try:
        descriptor = os.open(_folder(instance) / name, os.O_RDWR)
    except FileNotFoundError:
        yield RunProcess(run, "unknown", f"process {name}, whose file is not in this Dagster home")
        return
    try:
        note = _note(descriptor)
        process = "process {process} on host {host}, since {since}".format_map(note or _NOBODY)
        if not _lock_at_once(descriptor):
            yield RunProcess(run, "alive", process)
        elif note is None or not _of_this_machine(note):
            yield RunProcess(run, "unknown", process)
        else:
            yield RunProcess(run, "dead", process)
    finally:
        os.close(descriptor)


def _end(instance: dg.DagsterInstance, found: RunProcess) -> bool:
    """False if there was nothing to do: it ended by itself meanwhile, and holds no slot."""
    run_id = found.run.run_id
    now = instance.get_run_by_id(run_id)
    if now is None:
        return False
    why = (
        f"The process of this run is gone ({found.process}): it was killed, or its machine "
        "stopped. What it finished is kept; launch it again."
    )
    if now.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(now, why)
    elif not now.is_finished:
        instance.report_run_failed(now, why)
    storage = instance.event_log_storage
    holding = storage.supports_global_concurrency_limits and (
        run_id in storage.get_concurrency_run_ids()
    )
    if holding:
        storage.free_concurrency_slots_for_run(run_id)
    return holding or not now.is_finished


# the files


_NOBODY = {"process": "?", "host": "?", "since": "?"}


def _folder(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / FOLDER


def _file_of(run: dg.DagsterRun) -> str | None:
    """The name in the run's tag; a re-executed run may still bear that of the first one."""
    of, _, name = run.tags.get(PROCESS_TAG, "").partition("/")
    is_name = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) is not None
    return name if of == run.run_id[:8] and is_name else None


def _own_file(folder: Path) -> Path:
    if folder not in _own:
        folder.mkdir(exist_ok=True)
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"
        path = folder / f"{host}.{os.getpid()}.{secrets.token_hex(4)}"
        _hold(path, create=True)
        _own[folder] = path
    return _own[folder]


def _hold(path: Path, *, create: bool = False) -> None:
    """Share the lock of a file until this process ends; a new file gets its note."""
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o666)
    except FileNotFoundError:
        return  # removed, because its run was ended: the caller looks
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if create:
        note = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "boot": _boot(),
            "machine": _machine(),
        }
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
    _held[path] = descriptor


def _note(descriptor: int) -> dict[str, object] | None:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None  # between being made and being written
    return note if isinstance(note, dict) and _NOBODY.keys() <= note.keys() else None


def _lock_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held_by_nobody_else(path: Path) -> bool:
    """Whether no step in another process shares the lock of this one."""
    # A lock belongs to an open file: through a second one, this process would see itself.
    alone = _lock_at_once(_held[path])
    fcntl.flock(_held[path], fcntl.LOCK_SH)
    return alone


def _remove_old_files(instance: dg.DagsterInstance) -> None:
    """Files of processes of this machine that are over, as are their runs."""
    folder = _folder(instance)
    if not folder.is_dir():
        return
    needed = {_file_of(run) for run in _begun_or_holding(instance)}
    for path in folder.iterdir():
        if path.name in needed:
            continue
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # somebody else removed it
        try:
            if _lock_at_once(descriptor):
                note = _note(descriptor)
                if note is not None and _of_this_machine(note):
                    path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _of_this_machine(note: dict[str, object]) -> bool:
    """Whether a free lock means a dead process: not across a network's file system.

    Of the same boot it was the same kernel, whatever the container's name; of the same
    machine it was an earlier boot, which all of its processes are over with.
    """
    if note.get("boot") and note.get("boot") == _boot():
        return True
    return note["host"] == socket.gethostname() and note.get("machine") == _machine()


@cache
def _boot() -> str:
    return _text(Path("/proc/sys/kernel/random/boot_id"))


@cache
def _machine() -> str:
    return _text(Path("/etc/machine-id"))


def _text(path: Path) -> str:
    """Empty where the system has no such file (macOS): then the host's name decides."""
    return path.read_text().strip() if path.is_file() else ""
