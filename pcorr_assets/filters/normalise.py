"""The one normaliser of text for fastText, used for training and for scoring.

Belongs here: what happens to a document's text before fastText reads it. Does not
belong here: any change of the text that is selected and written out (it stays as it is).

fastText reads one line a document and splits it at ASCII whitespace. Two kinds of words
mean something else to it: `</s>` ends the line, and a word that starts with `__label__`
is a label. Neither may come from a document, so both are left out.
"""

from __future__ import annotations

import re

from pcorr_assets.text.cleaning import replace_invalid

LABEL_PREFIX = "__label__"

_LABEL_PREFIX = LABEL_PREFIX.encode()
_END_OF_LINE = b"</s>"
_ASCII_SPACES = bytes.maketrans(
    b"\0\t\n\v\f\r\x1c\x1d\x1e\x1f", b" " * len(b"\0\t\n\v\f\r\x1c\x1d\x1e\x1f")
)
# UTF-8 of every other character that str.split() takes for whitespace.
_OTHER_SPACES = re.compile(
    rb"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
)
_OTHER_SPACES_BEGIN = (b"\xc2\x85", b"\xc2\xa0", b"\xe1\x9a\x80", b"\xe2\x80", b"\xe2\x81\x9f",
                       b"\xe3\x80\x80")  # fmt: skip


def normalise(text: str) -> str:
    """One line for fastText: all whitespace (and NUL) to single spaces, none at the ends.

    Case and punctuation stay. Words fastText would misread (`</s>`, `__label__...`) are
    left out; lone surrogates become U+FFFD. Applied twice it changes nothing more.
    """
    return normalise_utf8(replace_invalid(text)[1]).decode()


def normalise_utf8(text: bytes) -> bytes:
    """`normalise` on valid UTF-8: the same rules, at the speed of a copy."""
    line = text.translate(_ASCII_SPACES)
    # A search for fixed bytes is many times faster than the expression, and mostly enough.
    if not line.isascii() and any(begin in line for begin in _OTHER_SPACES_BEGIN):
        line = _OTHER_SPACES.sub(b" ", line)
    while b"  " in line:
        line = line.replace(b"  ", b" ")
    line = line.strip(b" ")
    if _LABEL_PREFIX in line or _END_OF_LINE in line:
        words = line.split(b" ")
        line = b" ".join(
            word for word in words if word != _END_OF_LINE and not word.startswith(_LABEL_PREFIX)
        )
    return line
