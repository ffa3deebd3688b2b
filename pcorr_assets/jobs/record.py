"""The record of an LLM in the table `llms`, which pins it for all later jobs.

Belongs here: reading and writing that record, and preparing an LLM by it. Does not
belong here: how an LLM is resolved and loaded (`lm`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs.description import LLMJob
from pcorr_assets.lm.checkpoints import plain_dtype
from pcorr_assets.lm.identity import ResolvedLLM, resolve
from pcorr_assets.machine import cpu_count
from pcorr_assets.warehouse import TABLES, Warehouse

if TYPE_CHECKING:
    from pcorr_assets.config import LLMSpec

logger = logging.getLogger(__name__)


class JobLLM:
    """The LLM of a job: pinned, with its device and dtype chosen, loaded when asked for.

    `dtype: auto` means the dtype on record, where there is one, so that scores and errors
    of an LLM come from one dtype whichever device each of them ran on.

    Raises:
        PcorrError: the LLM cannot be resolved, or is another one than was expected.
    """

    def __init__(self, job: LLMJob, wh: Warehouse) -> None:
        from pcorr_assets.lm.loading import choose_device, choose_dtype

        self._wh = wh
        spec = job.llm.spec()
        recorded = _recorded(wh, spec.key)
        if recorded and _names_other_files(recorded["name"], spec):
            raise PcorrError(
                f"{spec.key} is on record as {recorded['name']}, and pcorr.yaml now says "
                f"{spec.full_name}: another LLM. Give it a key of its own."
            )
        self.resolved: ResolvedLLM = resolve(spec, _expected(job, recorded, wh))
        self.device = choose_device(job.device)
        wanted = spec.dtype
        if wanted == "auto" and recorded and recorded["dtype"]:
            wanted = plain_dtype(recorded["dtype"])
        self.dtype = choose_dtype(wanted, self.device)
        self._threads = job.threads
        if job.threads is not None:
            import torch

            torch.set_num_threads(job.threads)

    def load(self) -> tuple[Any, Any]:
        """Model and tokenizer; the LLM's row in the table `llms` is written.

        Raises:
            PcorrError: they cannot be loaded, or another job has recorded another commit
                of the LLM in the meantime.
        """
        from pcorr_assets.lm.loading import describe, load_model, load_tokenizer

        tokenizer = load_tokenizer(self.resolved)
        model = load_model(self.resolved, self.device, self.dtype)
        self._write(describe(self.resolved, model, tokenizer))
        return model, tokenizer

    def helpers(self, model: Any, workers: int | None) -> tuple[str, ...]:
        """Devices of the processes beside this one, which share the CPUs unless told otherwise.

        `workers` are all processes; None: one a GPU, one without GPUs.
        """
        import torch

        from pcorr_assets.lm.loading import devices_of_workers, is_spread

        if is_spread(model):
            return ()  # it has all devices already
        devices = devices_of_workers(self.device, workers)
        if self._threads is None and len(devices) > 1 and self.device == "cpu":
            torch.set_num_threads(max(1, cpu_count() // len(devices)))
        return tuple(devices[1:])

    def _write(self, row: dict[str, Any]) -> None:
        import pyarrow as pa

        key = self.resolved.spec.key
        recorded = _recorded(self._wh, key)
        if recorded == row:
            return
        if recorded and recorded["commit_sha"] not in (None, row["commit_sha"]):
            raise PcorrError(
                f"Another job recorded commit {recorded['commit_sha']} of {key} while this one "
                f"was loading {row['commit_sha']}; launch this one again."
            )
        if recorded and recorded["dtype"] != row["dtype"]:
            logger.warning(
                "%s runs in %s now, it was %s before: score and evaluate it again everywhere, "
                "results of two dtypes are not put together",
                key,
                row["dtype"],
                recorded["dtype"],
            )
        table = pa.Table.from_pylist([row], schema=TABLES["llms"].schema)
        self._wh.write("llms", (key,), table)


def _expected(job: LLMJob, recorded: dict[str, Any] | None, wh: Warehouse) -> str | None:
    on_record = recorded["commit_sha"] if recorded else None
    wanted = job.expected_commit
    if wanted and on_record and wanted != on_record:
        raise PcorrError(
            f"{job.llm.key} is on record with commit {on_record}, but this job is to use {wanted}. "
            "Give the other version a key of its own (org/name@revision); or, to start over with "
            f"it, remove {wh.path('llms', job.llm.key)} and score and evaluate it again."
        )
    return wanted or on_record


def _names_other_files(recorded: str, spec: LLMSpec) -> bool:
    """Is it another repository, subfolder or GGUF file? A local folder may have moved."""
    if spec.name is not None:
        return recorded != spec.full_name
    return spec.gguf_file is not None and not recorded.endswith(f"/{spec.gguf_file}")


def _recorded(wh: Warehouse, key: str) -> dict[str, Any] | None:
    if not wh.exists("llms", key):
        return None
    rows = wh.read("llms", key).to_pylist()
    return rows[0] if rows else None
