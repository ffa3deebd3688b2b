"""Text that is not valid Unicode: carried through losslessly, then replaced.

Belongs here: the two steps from bytes to text that every tokenizer and every file
format accepts. Does not belong here: any other change of text; pages are otherwise
kept character by character.
"""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def decode_lossless(data: bytes) -> str:
    """Decode UTF-8; each byte that is not valid becomes a lone surrogate."""
    return data.decode("utf-8", "surrogateescape")


def replace_invalid(text: str) -> tuple[str, bytes, bool]:
    """Replace lone surrogates by U+FFFD, one for one.

    Returns the text, its UTF-8 bytes, and whether anything was replaced. (Tokenizers
    raise TypeError for a lone surrogate, and UTF-8 cannot express one.)
    """
    try:
        return text, text.encode("utf-8"), False
    except UnicodeEncodeError:
        clean = _SURROGATE.sub("\ufffd", text)
        return clean, clean.encode("utf-8"), True
