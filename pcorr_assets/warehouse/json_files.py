"""JSON files that notice when a bit of them changes.

Belongs here: writing an object with the hash of its own text in it, and reading it back.
Does not belong here: what is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pcorr_assets.errors import DamagedFileError
from pcorr_assets.warehouse.files import write_text

HASH = "content_sha256"
# In the value as well, so that a flipped bit of the key does not make it look like an old file.
_MARK = "sha256:"
_NOTHING = "0" * 64
_SEAL_BYTES = len(f', "{HASH}": "{_MARK}{_NOTHING}"}}\n') + 16


def write_json(path: Path, content: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Replace the file by an object that is not empty, atomically.

    Its last entry, `content_sha256`, is the SHA-256 of the file with zeros in its place.

    Raises:
        ValueError: a number is NaN or infinite, for which JSON has no word; nothing is written.
    """
    sealed = {**content, HASH: f"{_MARK}{_NOTHING}"}
    text = json.dumps(sealed, indent=indent, ensure_ascii=False, allow_nan=False)
    before, _, after = f"{text}\n".rpartition(_NOTHING)
    write_text(path, f"{before}{_sha256(f'{before}{_NOTHING}{after}'.encode())}{after}")


def read_json(path: Path) -> dict[str, Any]:
    """The object that was written, without its hash; one without a hash as it stands.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is not the file that was written.
    """
    raw = path.read_bytes()
    if _is_sealed(raw):
        _verify(path, raw)
    try:
        content = json.loads(raw.decode())
    except ValueError as error:
        raise DamagedFileError(path, f"no JSON: {error}") from None
    if not isinstance(content, dict):
        raise DamagedFileError(path, "no JSON object")
    content.pop(HASH, None)
    return content


def has_hash(path: Path) -> bool:
    """Does the file carry a hash, as all do that `write_json` wrote?"""
    return _is_sealed(path.read_bytes())


def _is_sealed(raw: bytes) -> bool:
    end = raw[-_SEAL_BYTES:]
    return HASH.encode() in end or _MARK.encode() in end


def _verify(path: Path, raw: bytes) -> None:
    before, _, after = raw.rpartition(_MARK.encode())
    found, after = after[:64], after[64:]
    unsealed = before + _MARK.encode() + _NOTHING.encode() + after
    if found.decode(errors="replace") != _sha256(unsealed):
        raise DamagedFileError(path, "its content is not the one that was written")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
