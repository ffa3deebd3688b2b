"""The job `verify`, which does what `pcorr verify` does.

Belongs here: the job and its metadata. Does not belong here: verifying
(`warehouse.verification`).
"""

import dagster as dg

from pcorr_assets.defs.metadata import sentences
from pcorr_assets.defs.platform import Platform
from pcorr_assets.warehouse.verification import verify_home


def verify_job(platform: Platform) -> dg.JobDefinition:
    """The job that reads every file under the home and fails if one is damaged."""

    @dg.op(
        name="read_every_file",
        description="Reads every file under the home and names those that are not as they were "
        "written.",
    )
    def read_every_file(context: dg.OpExecutionContext) -> None:
        found = verify_home(platform.settings_now().home)
        lines = [str(error) for error in found.damaged]
        metadata = {
            "whole": found.whole,
            "bytes": found.byte_count,
            "without a hash": len(found.without_hash),
            "damaged": sentences(lines),
        }
        if lines:
            raise dg.Failure(f"{len(lines)} files are damaged", metadata=metadata)
        context.add_output_metadata(metadata)

    @dg.job(
        name="verify",
        description="Whether every file under the home is still the one that was written. Fails "
        "if one is damaged, and names it with what to do.",
    )
    def job() -> None:
        read_every_file()

    return job
