"""Whether the hub can be asked, and what it says of a repository without downloading it.

Belongs here: one question to the hub before many. Does not belong here: downloading
(`lm.hub`, `text.sources`).
"""

from __future__ import annotations

SECONDS_TO_ANSWER = 10.0


def unreachable() -> str | None:
    """Why the hub cannot be asked from here; None if it answers."""
    import httpx2
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        httpx2.head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)
    except (httpx2.HTTPError, OSError) as error:
        return f"{constants.ENDPOINT} does not answer ({type(error).__name__}: {error})"
    return None
