"""Reading YAML strictly, keeping the line of every key.

Belongs here: text to plain dicts, lists and scalars. Does not belong here: what the
keys mean (the sections).

Scalars follow YAML 1.2: only `true` and `false` are booleans, so that `no` is a
language and not `false`; `24:00:00` and `2024-05-01` are texts; `1e-3` is a number.

A document is bounded before it is read: its depth while it is composed, its values as they
are with every anchor written out, since a few lines of anchors can stand for billions.
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
_VALUE_SHOWN = 30

# The paper's configuration has 600 values, and the deepest key of all stands 8 levels deep.
MAX_VALUES = 25_000
MAX_DEPTH = 30
SURROGATE = re.compile(r"[\ud800-\udfff]")


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, no further types, and an end."""

    _depth = 0
    _values = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """One node and what is below it, within the bounds."""
        _check_bounds(self._depth, self._values, self.peek_event().start_mark)
        self._depth += 1
        self._values += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """The value of a node; one that does not fit its tag is named with its place."""
        is_alias = node in self.constructed_objects
        try:
            value = super().construct_object(node, deep)
        except (KeyError, ValueError) as error:
            text = str(node.value)
            if len(text) > _VALUE_SHOWN:
                text = f"{text[:_VALUE_SHOWN]}... of {len(text):,} characters"
            what = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"{text} does not fit its '!!' tag or is too long for it ({what})",
                problem_mark=node.start_mark,
            ) from error
        # Once for each text, however often its anchor is used: that can be thousands of times.
        if isinstance(value, str) and not is_alias and SURROGATE.search(value):
            raise yaml.MarkedYAMLError(
                problem="half of a surrogate pair (\\ud800 to \\udfff) is no character",
                problem_mark=node.start_mark,
            )
        return value


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
        _Walk(document).into(node, (), frozenset())
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
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = f"U+{ord(text[error.position]):04X}"
        raise PcorrError(
            f"{source}, line {line}: not readable as YAML: {code} may not stand in it (special "
            "characters are not allowed); is the file a text in UTF-8?"
        ) from None
    except yaml.YAMLError as error:
        raise PcorrError(f"{source}: not readable as YAML: {error}") from None


@dataclass
class _Walk:
    """Notes the line of everything in a document, and keys of one mapping that are equal."""

    document: Document
    values: int = 0

    def into(self, node: Node, place: tuple[str, ...], open_nodes: frozenset[int]) -> None:
        """Note everything below `node`, an anchor again wherever it is used."""
        if id(node) in open_nodes:
            line = node.start_mark.line + 1
            raise yaml.MarkedYAMLError(
                problem=f"the anchor of line {line} contains itself", problem_mark=node.start_mark
            )
        _check_bounds(len(place), self.values, node.start_mark)
        below = open_nodes | {id(node)}
        if isinstance(node, SequenceNode):
            for i, child in enumerate(node.value):
                self._note((*place, str(i)), child)
                self.into(child, (*place, str(i)), below)
        elif isinstance(node, MappingNode):
            seen: dict[tuple[str, str], int] = {}
            for key, child in node.value:
                self._note((*place, key.value) if isinstance(key, ScalarNode) else None, key)
                if not isinstance(key, ScalarNode):
                    continue
                line = key.start_mark.line + 1
                if (key.tag, key.value) in seen:
                    first = seen[key.tag, key.value]
                    said = f"stands twice, on lines {first} and {line}; remove one"
                    self.document.twice.append(((*place, key.value), said))
                seen[key.tag, key.value] = line
                self.into(child, (*place, key.value), below)

    def _note(self, place: tuple[str, ...] | None, node: Node) -> None:
        self.values += 1
        if place is not None:
            self.document.lines[place] = node.start_mark.line + 1


def _check_bounds(depth: int, values: int, mark: yaml.Mark | None) -> None:
    if depth > MAX_DEPTH:
        problem = f"more than {MAX_DEPTH} levels deep, counting those below an anchor"
    elif values > MAX_VALUES:
        problem = (
            f"more than {MAX_VALUES:,} values, counting those of an anchor (&) wherever it is used "
            "(*); name files by globs, and use fewer anchors"
        )
    else:
        return
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


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
