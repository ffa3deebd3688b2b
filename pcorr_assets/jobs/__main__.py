"""Run one job from a file: `python -m pcorr_assets.jobs NAME JOB.json [RESULT.json]`.

Belongs here: files and signals around a job. Does not belong here: any job.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs.description import EVALUATE_LLM, SCORE_LLM
from pcorr_assets.warehouse.files import write_text


class StopRequest:
    """Remembers that SIGTERM came, as a scheduler sends it before it kills."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True

    def __call__(self) -> bool:
        return self._asked


def run_job(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run the job of that name; only scoring can stop early, at a batch boundary."""
    if name == SCORE_LLM:
        from pcorr_assets.jobs import score_llm

        return score_llm.run(job, StopRequest())
    from pcorr_assets.jobs import evaluate_llm

    return evaluate_llm.run(job)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 and a result, or 1 and the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pcorr_assets.jobs", description=__doc__)
    parser.add_argument("name", choices=[SCORE_LLM, EVALUATE_LLM])
    parser.add_argument("job", type=Path, help="file with the job description (JSON)")
    parser.add_argument("result", type=Path, nargs="?", help="file for the result (JSON)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        result = run_job(options.name, json.loads(options.job.read_text(encoding="utf-8")))
    except PcorrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    if options.result is None:
        sys.stdout.write(text)
    else:
        write_text(options.result, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
