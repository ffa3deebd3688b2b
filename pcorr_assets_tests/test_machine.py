"""What a process may use, by kernel files of every kind of cgroup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pcorr_assets.machine import cpu_count, free_memory_bytes

GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """64 CPUs and 100 GiB, without any cgroup."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    return write(tmp_path, {"proc/meminfo": f"MemFree: 1 kB\nMemAvailable: {100 << 20} kB\n"})


def test_without_limits_it_is_the_machine(machine: Path) -> None:
    assert (cpu_count(machine), free_memory_bytes(machine)) == (64, 100 * GIB)


def test_version_2_limits_of_any_folder_above_count(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/slurm/job_7/step_0\n",
            "sys/fs/cgroup/slurm/job_7/step_0/cpu.max": "max 100000\n",
            "sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max\n",
            "sys/fs/cgroup/slurm/job_7/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/slurm/job_7/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/slurm/job_7/memory.current": f"{5 * GIB}\n",
            "sys/fs/cgroup/slurm/job_7/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
        },
    )
    assert (cpu_count(machine), free_memory_bytes(machine)) == (3, 5 * GIB)


def test_version_1_and_a_container_that_is_its_own_top(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpuset:/\n1:cpu,cpuacct:/docker/abc\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
        },
    )
    assert (cpu_count(machine), free_memory_bytes(machine)) == (2, 3 * GIB)


def test_no_limit_in_version_1_is_a_number(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "4:memory:/\n1:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
        },
    )
    assert (cpu_count(machine), free_memory_bytes(machine)) == (64, 100 * GIB)


def test_more_used_than_allowed_is_no_negative_memory(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
        },
    )
    assert free_memory_bytes(machine) == 0


def test_here() -> None:
    assert 1 <= cpu_count() <= (os.cpu_count() or 1)
    assert free_memory_bytes() > 0
