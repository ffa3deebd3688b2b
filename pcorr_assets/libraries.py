"""What a library raises, as the one exception that is meant for a person.

Belongs here: catching whatever a library raises on somebody's files, and its text in one
line. Does not belong here: what such an error means and how it is mended, which the room
that called the library says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pcorr_assets.errors import PcorrError

LONGEST_REASON = 400


@contextmanager
def errors_belong_to(say: Callable[[BaseException], str]) -> Iterator[None]:
    """Turn what is raised in the block into a PcorrError with the message of `say`.

    Libraries raise types of their own, plain `Exception`, and, from Rust, panics that are no
    `Exception`; a list of types would never be complete. Interrupts and a PcorrError pass.

    Raises:
        PcorrError: from what was raised.
    """
    try:
        yield
    except PcorrError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise PcorrError(say(error)) from error


def reason(error: BaseException) -> str:
    """Type and text of an error in one line, cut where it gets long."""
    text = " ".join(str(error).split())
    if len(text) > LONGEST_REASON:
        text = f"{text[:LONGEST_REASON]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
