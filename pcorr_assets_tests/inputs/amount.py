"""How many hostile inputs are tried: a few in every run of the tests, or thousands.

Belongs here: the choice between the two. Does not belong here: the inputs.
"""

from __future__ import annotations

import os

# `make test-inputs` sets it; another seed tries other inputs.
IS_LONG = os.environ.get("PCORR_INPUTS") == "long"
SHIFT = int(os.environ.get("PCORR_INPUTS_SEED", "0"))


def amount(few: int, many: int) -> int:
    """`few` in the suite of all tests, `many` in the long form."""
    return many if IS_LONG else few
