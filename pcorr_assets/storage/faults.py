"""What goes wrong between here and an object store: what passes, and words for what does not.

Belongs here: telling faults apart, waiting and trying again, and messages without secrets.
Does not belong here: reading and writing (`remote`, `writing`).
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from pcorr_assets.config.section import without_secrets
from pcorr_assets.errors import PcorrError

logger = logging.getLogger(__name__)

ATTEMPTS = 6
# gcsfs asks six times by itself, whatever one says; both would multiply.
_GS_ATTEMPTS = 2
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
# Without a byte for so long, a connection is given up, and opened anew.
STALL_SECONDS = 60.0
LONGEST_REASON = 300
_CUT_OFF = ("ClientPayloadError", "ContentLengthError", "TransferEncodingError")

_SECRET_VARIABLE = re.compile(r"SECRET|TOKEN|PASSWORD|_KEY|SAS|CREDENTIAL|CONNECTION_STRING")
_LOGIN = (
    "set the credentials in the environment (S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "Google: GOOGLE_APPLICATION_CREDENTIALS; Azure: AZURE_STORAGE_...; hub: HF_TOKEN), log in with "
    "the provider's own tool, or set storage.anonymous: true for public data"
)

T = TypeVar("T")


class ChangedError(PcorrError):
    """An object is another one than it was when its reading began."""


def retried(what: str, call: Callable[[], T]) -> T:
    """The result of `call`, which is tried again where the fault passes.

    That is a dropped or refused connection, a stall, a truncated answer, throttling (503
    SlowDown, 429) and errors of the server; waits double from half a second on.

    Raises:
        PcorrError: the fault does not pass, or came six times (`gs://`: twice, gcsfs itself asking
            six times each time); naming `what`.
    """
    attempts = _GS_ATTEMPTS if what.startswith("gs://") else ATTEMPTS
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except PcorrError:
            raise
        except Exception as raised:  # noqa: BLE001 - each library has types of its own
            error = _real(raised)
            if not passes(error) or attempt == attempts:
                # Without the cause: its text may hold signed URLs, which logs would show.
                raise PcorrError(explained(what, error, attempt)) from None
            wait = min(FIRST_WAIT_SECONDS * 2 ** (attempt - 1), LONGEST_WAIT_SECONDS)
            logger.warning("%s: %s; tried again in %.1f s", what, reason_of(error), wait)
            time.sleep(wait * random.uniform(0.75, 1.25))
    raise AssertionError("the last attempt returns or raises")


def _real(error: Exception) -> Exception:
    """What went wrong, where fsspec's HTTP says of everything that the file is not there."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        is_web = type(cause).__module__.partition(".")[0] in ("aiohttp", "asyncio", "builtins")
        if is_web and _status(cause) not in (404, 410):
            return cause
    return error


def passes(error: BaseException) -> bool:
    """May the same request succeed a little later?"""
    permanent = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)
    if isinstance(error, (*permanent, ImportError, TypeError)):
        return False
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError"):
        return False
    if "Credential" in name or "Authentication" in name or "Repository" in name:
        return False
    status = _status(error)
    return status is None or status in (408, 425, 429) or status >= 500


def explained(what: str, error: BaseException, attempts: int = 1) -> str:
    """What happened, to what, and what to do about it; without secrets."""
    name, reason = type(error).__name__, reason_of(error)
    tried = f" (tried {attempts} times)" if attempts > 1 else ""
    if isinstance(error, FileNotFoundError):
        return (
            f"{what}: there is no such object or bucket ({reason}): check its name, and that it "
            "was not removed meanwhile"
        )
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        return f"{what}: no permission ({reason}): {_LOGIN}"
    if "Credential" in name:
        return f"{what}: no credentials ({reason}): {_LOGIN}"
    if isinstance(error, ImportError):
        return f"{what}: {reason}"
    if any(word in name for word in ("Connect", "gaierror", "NameResolution")):
        return (
            f"{what}: the service cannot be reached{tried}: {reason}. Check "
            "storage.endpoint, the region and the network, then launch this again"
        )
    return f"{what}: cannot be read or written{tried}: {reason}. Launch this again"


def reason_of(error: BaseException) -> str:
    """Type and text of an error on one line, without anything that is a secret."""
    text = without_secrets(" ".join(str(error).split()))
    for variable, value in os.environ.items():
        if len(value) >= 8 and _SECRET_VARIABLE.search(variable):
            text = text.replace(value, "***")
    return f"{type(error).__name__}: {text[:LONGEST_REASON]}" if text else type(error).__name__


def _status(error: BaseException) -> int | None:
    """The HTTP status that the server answered with, which each library keeps elsewhere."""
    if type(error).__name__ in _CUT_OFF:
        # aiohttp gives these a status of its own, whatever the server answered.
        return None
    answers = [getattr(found, "response", None) for found in (error, error.__cause__)]
    for candidate in (error, *answers):
        for name in ("status", "status_code", "code"):
            value = getattr(candidate, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
        if isinstance(candidate, dict):
            value = candidate.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(value, int):
                return value
    return None
