"""Reading YAML strictly, keeping the line of every key.

Belongs here: text to plain dicts, lists and scalars. Does not belong here: what the
keys mean (the sections).

Scalars follow YAML 1.2: only `true` and `false` are booleans, so that `no` is a
language and not `false`; `24:00:00` and `2024-05-01` are texts; `1e-3` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pcorr_assets.config.section import Location
from pcorr_assets.errors import PcorrError

Lines = dict[Location, int]


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (PyYAML's own attribute)


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


def read_yaml(text: str, source: str) -> tuple[Any, Lines]:
    """The document in `text` and the line (from 1) of every key and list element.

    An empty document is None. Raises PcorrError, which names `source` and the line, for
    text that is not YAML, for more than one document and for keys that stand twice.
    """
    try:
        loader = _StrictLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            lines: Lines = {}
            twice: list[str] = []
            _walk(node, (), lines, twice, set())
            if twice:
                raise PcorrError("\n  ".join([f"{source}: keys that stand twice", *twice]))
            return loader.construct_document(node), lines
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        where = f"{source}{_position(error)}"
        raise PcorrError(f"{where}: not readable as YAML: {_why(error)}") from None
    except yaml.YAMLError as error:
        raise PcorrError(f"{source}: not readable as YAML: {error}") from None
    except RecursionError:
        raise PcorrError(f"{source}: nested too deeply to be a configuration") from None


def _walk(
    node: Node, place: Location, lines: Lines, twice: list[str], open_nodes: set[int]
) -> None:
    """Note the line of everything below `node`, and keys of one mapping that are equal."""
    if id(node) in open_nodes:
        line = node.start_mark.line + 1
        raise yaml.MarkedYAMLError(problem=f"the anchor of line {line} contains itself")
    below = open_nodes | {id(node)}
    if isinstance(node, SequenceNode):
        for i, child in enumerate(node.value):
            lines[(*place, i)] = child.start_mark.line + 1
            _walk(child, (*place, i), lines, twice, below)
    elif isinstance(node, MappingNode):
        seen: dict[Hashable, int] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                continue
            line = key.start_mark.line + 1
            if (key.tag, key.value) in seen:
                first = seen[key.tag, key.value]
                twice.append(f"line {line}: {key.value!r} stands already on line {first}")
            seen[key.tag, key.value] = line
            lines[(*place, key.value)] = line
            _walk(child, (*place, key.value), lines, twice, below)


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
