"""Inserting into and deleting from the text of a YAML file, touching nothing else.

Belongs here: where a list element stands in the text, what to put beside it, and how the
file around it is laid out. Does not belong here: what the elements mean (`editing`).

The text is not written anew from its data: every byte that is not inserted or deleted
stays, with all comments, quotes, blank lines and habits of indentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pcorr_assets.config.yaml_reader import read_yaml
from pcorr_assets.errors import PcorrError

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*")
_LINE_OF_DASH = re.compile(r"( *)-( +)")


@dataclass(frozen=True)
class Splice:
    """Replace the characters from `start` to `end` (excluded) by `text`."""

    start: int
    end: int
    text: str = ""


class NotSpliceableError(PcorrError):
    """The text is laid out in a way that this module does not edit."""


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """The text with all splices done; they must not overlap."""
    for splice in sorted(splices, key=lambda splice: splice.start, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def scalar(value: str) -> str:
    """A text as YAML: plain where it reads back as the same text, else in double quotes."""
    if _PLAIN.fullmatch(value) and read_yaml(value, "").data == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def entry_of(mapping: Node, key: str) -> tuple[ScalarNode, Node] | None:
    """The nodes of a key and its value."""
    if isinstance(mapping, MappingNode):
        for name, value in mapping.value:
            if isinstance(name, ScalarNode) and name.value == key:
                return name, value
    return None


def elements_of(mapping: Node, key: str) -> SequenceNode:
    """The list under a key; refused where it is not written out there."""
    entry = entry_of(mapping, key)
    if entry is None or not isinstance(entry[1], SequenceNode):
        raise NotSpliceableError(f"`{key}` is not written as a list")
    return entry[1]


def is_flow(node: Node) -> bool:
    """Is it written with brackets?"""
    return isinstance(node, SequenceNode | MappingNode) and bool(node.flow_style)


def content_end(node: Node) -> int:
    """The index behind the last character of a node's own content."""
    if isinstance(node, ScalarNode) or is_flow(node) or not node.value:
        return node.end_mark.index
    if isinstance(node, MappingNode):
        return max(content_end(part) for pair in node.value for part in pair)
    return max(content_end(part) for part in node.value)


def newline_of(text: str) -> str:
    """The line ending that the text uses."""
    return "\r\n" if "\r\n" in text else "\n"


def lines_after(text: str, index: int, lines: list[str]) -> Splice:
    """Insert whole lines below the line that `index` is the end of."""
    end = newline_of(text)
    at = _line_end(text, index)
    before = end if at and text[at - 1] != "\n" else ""
    return Splice(at, at, before + "".join(line + end for line in lines))


def dash_of(text: str, sequence: SequenceNode) -> tuple[str, str]:
    """White space before and after the dashes of a block sequence, from its last element."""
    for element in reversed(sequence.value):
        found = _LINE_OF_DASH.fullmatch(text[_line_start(text, element) : _index(element)])
        if found:
            return found[1], found[2]
    raise NotSpliceableError("the dashes of a list do not stand at the start of their lines")


def appended(text: str, sequence: SequenceNode, block: list[str], flow: str) -> Splice:
    """Append an element to a list that is not empty.

    `block` are its lines without the dash (the later ones indented as below a dash of
    width 2), `flow` is the element inside brackets.
    """
    end = content_end(sequence.value[-1])
    if is_flow(sequence):
        return Splice(end, end, f", {flow}")
    indent, gap = dash_of(text, sequence)
    first, *rest = block
    below = indent + " " * (1 + len(gap))
    return lines_after(text, end, [f"{indent}-{gap}{first}", *(below + line[2:] for line in rest)])


def removed(text: str, sequence: SequenceNode, position: int) -> Splice:
    """Delete one element: of a block sequence with its whole lines, trailing comments too."""
    element = sequence.value[position]
    start, end = _index(element), content_end(element)
    if not is_flow(sequence):
        line = _line_start(text, element)
        if not _LINE_OF_DASH.fullmatch(text[line:start]):
            raise NotSpliceableError("the dash does not stand at the start of the line")
        return Splice(line, _line_end(text, end))
    behind = re.compile(r"\s*,[ \t]*").match(text, end)
    if behind:
        end = behind.end()
    elif position:
        before = content_end(sequence.value[position - 1])
        if "\n" not in text[before:start]:
            start = before
    line, line_end = _line_start(text, element), _line_end(text, end)
    if not text[line:start].strip() and not text[end:line_end].strip():
        return Splice(line, line_end)
    return Splice(start, end)


def _index(node: Node) -> int:
    return node.start_mark.index


def _line_start(text: str, node: Node) -> int:
    return text.rfind("\n", 0, _index(node)) + 1


def _line_end(text: str, index: int) -> int:
    """The index behind the line break that ends the line of the character before `index`."""
    if index and text[index - 1] == "\n":
        return index
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1
