"""Reading YAML strictly, keeping the line of every key.

Belongs here: text to plain dicts, lists and scalars. Does not belong here: what the
keys mean (the sections).

Scalars follow YAML 1.2: only `true` and `false` are booleans, so that `no` is a
language and not `false`; `24:00:00` and `2024-05-01` are texts; `1e-3` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pcorr_assets.config.section import Mistake
from pcorr_assets.errors import PcorrError

Lines = dict[tuple[str, ...], int]
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2 and no further types."""


_StrictLoader.yaml_implicit_resolvers = {}
_StrictLoader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _TAGS
}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


@dataclass(frozen=True)
class Document:
    """What a file says: plain data (None if it is empty), and where each part stands.

    `lines` holds the line (from 1) of every key and list element, `twice` the keys that
    stand twice in one mapping (of which `data` holds the last).
    """

    data: Any
    lines: Lines
    twice: list[Mistake]


def read_yaml(text: str, source: str) -> Document:
    """Read one document; PcorrError with `source` and the line if `text` is no such thing."""
    with _loader(text, source) as loader:
        node = loader.get_single_node()
        document = Document(None, {}, [])
        if node is None:
            return document
        _walk(node, (), document, frozenset())
        return replace(document, data=loader.construct_document(node))


def compose_yaml(text: str, source: str) -> Node | None:
    """The nodes of one document, whose marks say where each stands in `text`."""
    with _loader(text, source) as loader:
        return loader.get_single_node()


@contextmanager
def _loader(text: str, source: str) -> Iterator[_StrictLoader]:
    try:
        loader = _StrictLoader(text)
        try:
            yield loader
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        where = f"{source}{_position(error)}"
        raise PcorrError(f"{where}: not readable as YAML: {_why(error)}") from None
    except yaml.YAMLError as error:
        raise PcorrError(f"{source}: not readable as YAML: {error}") from None
    except (KeyError, ValueError) as error:
        raise PcorrError(f"{source}: a value does not fit its '!!' tag: {error}") from None
    except RecursionError:
        raise PcorrError(f"{source}: nested too deeply to be a configuration") from None


def _walk(
    node: Node, place: tuple[str, ...], document: Document, open_nodes: frozenset[int]
) -> None:
    """Note the line of everything below `node`, and keys of one mapping that are equal."""
    if id(node) in open_nodes:
        line = node.start_mark.line + 1
        raise yaml.MarkedYAMLError(problem=f"the anchor of line {line} contains itself")
    below = open_nodes | {id(node)}
    if isinstance(node, SequenceNode):
        for i, child in enumerate(node.value):
            document.lines[(*place, str(i))] = child.start_mark.line + 1
            _walk(child, (*place, str(i)), document, below)
    elif isinstance(node, MappingNode):
        seen: dict[tuple[str, str], int] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                continue
            line = key.start_mark.line + 1
            if (key.tag, key.value) in seen:
                first = seen[key.tag, key.value]
                said = f"stands twice, on lines {first} and {line}; remove one"
                document.twice.append(((*place, key.value), said))
            seen[key.tag, key.value] = line
            document.lines[(*place, key.value)] = line
            _walk(child, (*place, key.value), document, below)


def _position(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _why(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "broken syntax"
    if "'\\t'" in problem:
        problem += " (indent with spaces, not tabs)"
    elif "mapping values are not allowed" in problem:
        problem += " (a ':' too many, or lines that are not indented alike?)"
    elif error.context and error.problem and error.context_mark:
        problem = f"{error.context} of line {error.context_mark.line + 1}: {error.problem}"
    return problem
