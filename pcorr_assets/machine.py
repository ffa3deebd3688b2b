"""What this process may use of the machine: CPUs and memory, limits of its cgroup included.

Belongs here: reading those limits from the kernel. Does not belong here: deciding how much of
them a stage takes.

A container or a Slurm job often has a tenth of the machine, which `os.cpu_count` and the
machine's memory do not say: the kernel kills what goes by those.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
# What version 1 writes where there is no limit: as many pages as fit into 63 bits.
_NO_LIMIT = 2**60


def cpu_count(root: Path = _ROOT) -> int:
    """CPUs that this process may run on, at least 1: its affinity and the quota of its cgroup."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    for folder in _cgroup_folders(root, "cpu"):
        quota, period = _quota(folder)
        if quota > 0 and period > 0:
            allowed = min(allowed, math.ceil(quota / period))
    return max(allowed, 1)


def free_memory_bytes(root: Path = _ROOT) -> int:
    """Bytes that this process can still take: of the machine, and below the limit of its cgroup.

    What files occupy that can be read again counts as free.
    """
    free = _machine_free(root)
    for folder in _cgroup_folders(root, "memory"):
        limit, used = _memory_limit(folder)
        if limit < _NO_LIMIT:
            free = min(free, max(limit - used, 0))
    return free


def _machine_free(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of those above it, in version 1 or 2.

    A container may see its own cgroup as the top, whatever path the kernel states.
    """
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controller not in controllers.split(","):
            continue
        top = base if number == "0" else base / controller
        inner = PurePosixPath(path.lstrip("/"))
        for part in (inner, *inner.parents):
            if (top / part).is_dir():
                yield top / part


def _quota(folder: Path) -> tuple[int, int]:
    """Microseconds of CPU in a period, and the period; -1 where there is no quota."""
    words = _text(folder / "cpu.max").split()
    if len(words) == 2:
        return _number(words[0], -1), _number(words[1], -1)
    quota = _number(_text(folder / "cpu.cfs_quota_us"), -1)
    return quota, _number(_text(folder / "cpu.cfs_period_us"), -1)


def _memory_limit(folder: Path) -> tuple[int, int]:
    limit = _number(_text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes"))
    used = _text(folder / "memory.current") or _text(folder / "memory.usage_in_bytes")
    cached = 0
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            cached = max(cached, _number(value, 0))
    return limit, max(_number(used, 0) - cached, 0)


def _number(text: str, other: int = _NO_LIMIT) -> int:
    text = text.strip()
    return int(text) if text.removeprefix("-").isdigit() else other


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
