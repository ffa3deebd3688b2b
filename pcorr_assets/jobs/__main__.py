"""Run one job from a file: `python -m pcorr_assets.jobs NAME JOB.json [RESULT.json]`.

Belongs here: files and signals around a job. Does not belong here: any job.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import dispatch
from pcorr_assets.warehouse.files import write_text


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 and a result, or 1 and the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pcorr_assets.jobs", description=__doc__)
    parser.add_argument("name", choices=dispatch.JOBS)
    parser.add_argument("job", type=Path, help="file with the job description (JSON)")
    parser.add_argument("result", type=Path, nargs="?", help="file for the result (JSON)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        job = json.loads(options.job.read_text(encoding="utf-8"))
        result = dispatch.run({**job, "job": options.name}, _stop_request(options.name))
    except PcorrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    if options.result is None:
        sys.stdout.write(text)
    else:
        write_text(options.result, text)
    return 0


def _stop_request(name: str) -> Callable[[], bool]:
    """A signal stops jobs that can stop cleanly, and ends the others at once."""
    return dispatch.StopRequest() if dispatch.stops_cleanly({"job": name}) else dispatch.never


if __name__ == "__main__":
    sys.exit(main())
