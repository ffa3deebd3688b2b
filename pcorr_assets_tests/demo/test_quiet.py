"""What the demo shows of what its own process prints."""

from __future__ import annotations

import subprocess
import sys

PRINTS = """
import logging, os, subprocess, sys
from pcorr_assets.demo.quiet import only_progress
from pcorr_assets.progress import Progress

print("before")
with only_progress():
    print("a library on stdout")
    os.write(2, b"compiled code\\n")
    subprocess.run(["echo", "a child process"])
    logging.getLogger("lm_eval").warning("of a library")
    logging.getLogger("pcorr_assets.demo.comparison").info("detail")
    logging.getLogger("pcorr_assets.demo.world").warning("look here")
    with Progress("train", total=2, unit="steps", every=1e-9) as progress:
        progress.update()
    {then}
print("after")
"""


def printed(then: str) -> tuple[int, list[str], list[str]]:
    code = PRINTS.format(then=then)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return found.returncode, found.stdout.splitlines(), found.stderr.splitlines()


def test_only_progress_and_warnings_of_our_own_are_shown() -> None:
    status, out, err = printed("pass")
    assert status == 0
    assert out == ["before", "after"]
    assert err[0] == "  look here"
    assert all(line.startswith("  train: 1 of 2 steps") for line in err[1:])
    assert len(err) == 2


def test_the_last_words_of_what_failed_are_shown() -> None:
    status, out, err = printed("raise ValueError('a defect')")
    assert status == 1
    assert out == ["before"]
    assert {"a library on stdout", "compiled code", "a child process"} <= set(err)
    assert err[-1] == "ValueError: a defect"
