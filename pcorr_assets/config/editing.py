"""Adding LLMs to `pcorr.yaml` and taking them out, leaving the rest of the file as it is.

Belongs here: which entry an LLM goes to, the proof that an edit changed nothing else, and
replacing the file. Does not belong here: whether the LLM is any good (`lm.probe`), and
partitions (`defs`).
"""

from __future__ import annotations

import difflib
import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pcorr_assets.config.keys import check_llm_key, check_name_key
from pcorr_assets.config.llms import LLMSpec, fitting_entry
from pcorr_assets.config.loading import parse_settings, read_config
from pcorr_assets.config.settings import Settings
from pcorr_assets.config.splicing import (
    NotSpliceableError,
    Splice,
    appended,
    content_end,
    dash_of,
    elements_of,
    entry_of,
    is_flow,
    lines_after,
    removed,
    scalar,
    spliced,
)
from pcorr_assets.config.yaml_reader import compose_yaml
from pcorr_assets.errors import PcorrError

BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class NewLLM:
    """An LLM as it is to be added: a hub name (the key) or a local folder with a key.

    `dtype` and `overlong` None: what its family's entry says, else the defaults.
    """

    key: str
    family: str
    path: Path | None = None
    dtype: str | None = None
    overlong: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False

    def options(self) -> dict[str, str]:
        """What an entry of its own must say, as YAML."""
        flags = {
            "trust_remote_code": "true" if self.trust_remote_code else None,
            "allow_pickle": "true" if self.allow_pickle else None,
        }
        written = {"dtype": self.dtype, "overlong": self.overlong, **flags}
        return {name: value for name, value in written.items() if value is not None}


@dataclass(frozen=True)
class Edit:
    """An edit that was checked, not yet written: the file's text before and after.

    `spec` is the LLM that was added or taken out; `settings` are those of the new text.
    """

    path: Path
    before: str
    after: str
    spec: LLMSpec
    settings: Settings

    def difference(self) -> str:
        """What changes, as a unified diff."""
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        name = self.path.name
        return "".join(difflib.unified_diff(before, after, name, name, n=2))


def add_llm(path: Path, new: NewLLM) -> Edit:
    """List an LLM under its family: in the entry that fits, else in a new one at the end.

    Raises:
        PcorrError: the file has mistakes, the key or family is malformed or listed already,
            or the file is laid out so that it must be edited by hand (the message says what
            to write).
    """
    check_llm_key(new.key)
    check_name_key(new.family, "family")
    text = read_config(path)
    settings = parse_settings(text, path)
    if new.key in settings.llm_specs:
        raise PcorrError(f"{path} lists {new.key} already")
    entry = fitting_entry(
        settings.llms,
        new.family,
        dtype=new.dtype,
        overlong=new.overlong,
        trust_remote_code=new.trust_remote_code,
        allow_pickle=new.allow_pickle,
    )
    item = _item(path, new)
    family = {"family": scalar(new.family), **new.options()}
    by_hand = "add under `llms`: " + _flow_family(family, item)
    try:
        splices = _addition(text, compose_yaml(text, str(path)), entry, family, item)
        return _checked(path, text, spliced(text, splices), settings, new.key, listed=True)
    except NotSpliceableError as error:
        raise PcorrError(f"{path} must be edited by hand ({error}): {by_hand}") from None


def remove_llm(path: Path, key: str) -> Edit:
    """Take an LLM out; its family's entry goes with the last of its LLMs.

    A comment on the lines of what is taken out goes with it, every other stays.

    Raises:
        PcorrError: the file has mistakes, does not list the key, or is laid out so that it
            must be edited by hand.
    """
    text = read_config(path)
    settings = parse_settings(text, path)
    if key not in settings.llm_specs:
        raise PcorrError(f"{path} does not list {key}")
    try:
        splice = _removal(text, compose_yaml(text, str(path)), settings, key)
        return _checked(path, text, spliced(text, [splice]), settings, key, listed=False)
    except NotSpliceableError as error:
        raise PcorrError(
            f"{path} must be edited by hand ({error}): remove {key} from `llms`"
        ) from None


def write_edit(edit: Edit) -> None:
    """Replace the file by the edited text, at once and with the permissions it had.

    A symbolic link stays one: the file that it leads to is replaced.

    Raises:
        PcorrError: the file is not what it was when the edit was made, or cannot be written.
    """
    path = Path(os.path.realpath(edit.path))
    try:
        with path.open("rb") as file:
            # Two commands at once: the second waits, then sees that the file has changed.
            fcntl.flock(file, fcntl.LOCK_EX)
            _replace(path, edit)
    except OSError as error:
        raise PcorrError(f"{edit.path} cannot be written ({error}); nothing was changed") from error


def _replace(path: Path, edit: Edit) -> None:
    content = path.read_bytes()
    if content.decode("utf-8-sig", errors="replace") != edit.before:
        raise PcorrError(
            f"{edit.path} was changed by somebody else in the meantime, so nothing was written; "
            "run the command again"
        )
    mark = BYTE_ORDER_MARK if content.startswith(BYTE_ORDER_MARK.encode()) else ""
    status = path.stat()
    temporary = path.with_name(f".{path.name[:150]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write((mark + edit.after).encode())
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _item(path: Path, new: NewLLM) -> str:
    if new.path is None:
        return scalar(new.key)
    folder = Path(os.path.abspath(new.path))
    if folder.is_relative_to(path.absolute().parent):
        folder = folder.relative_to(path.absolute().parent)
    return f"{{key: {scalar(new.key)}, path: {scalar(str(folder))}}}"


def _flow_family(family: dict[str, str], item: str) -> str:
    fields = [f"{name}: {value}" for name, value in family.items()]
    return "{" + ", ".join([*fields, f"models: [{item}]"]) + "}"


def _addition(
    text: str, root: Node | None, entry: int | None, family: dict[str, str], item: str
) -> list[Splice]:
    if entry is not None:
        assert root is not None
        models = elements_of(elements_of(root, "llms").value[entry], "models")
        return [appended(text, models, [item], item)]
    flow = _flow_family(family, item)
    listed = entry_of(root, "llms") if root is not None else None
    if listed is not None and isinstance(listed[1], SequenceNode) and listed[1].value:
        return [appended(text, listed[1], _block_family(text, listed[1], family, item), flow)]
    lines = _indented(_block_family(text, None, family, item))
    if root is None or (isinstance(root, ScalarNode) and not root.value):
        return [lines_after(text, len(text), ["llms:", *lines])]
    if not isinstance(root, MappingNode):
        raise NotSpliceableError("it is not written as lines of `key: value`")
    if listed is None:
        if is_flow(root):
            return _into_flow_mapping(root, f"llms: [{flow}]")
        indent = " " * root.start_mark.column
        return [lines_after(text, content_end(root), [indent + x for x in ["llms:", *lines]])]
    value = listed[1]
    start, end = value.start_mark.index, content_end(value)
    if is_flow(root) or "\n" in text[start:end]:
        return [Splice(start, end, f" [{flow}]")]
    indent = " " * listed[0].start_mark.column
    before = len(text[:start].rstrip(" "))
    return [Splice(before, end), lines_after(text, end, [indent + line for line in lines])]


def _into_flow_mapping(root: MappingNode, item: str) -> list[Splice]:
    if root.value:
        end = content_end(root.value[-1][1])
        return [Splice(end, end, f", {item}")]
    start = root.start_mark.index + 1
    return [Splice(start, start, item)]


def _indented(block: list[str]) -> list[str]:
    """The lines of an element below its key, with the dash."""
    first, *rest = block
    return [f"  - {first}", *(f"  {line}" for line in rest)]


def _block_family(
    text: str, families: SequenceNode | None, family: dict[str, str], item: str
) -> list[str]:
    """The lines of a family's entry, laid out as the last one of the file is."""
    fields = [f"{name}: {value}" for name, value in family.items()]
    offset: int | None = 2
    if families is not None and not is_flow(families):
        listed = entry_of(families.value[-1], "models")
        if listed is not None and isinstance(listed[1], SequenceNode) and listed[1].value:
            offset = None
            if not is_flow(listed[1]):
                indent, _ = dash_of(text, listed[1])
                offset = max(len(indent) - listed[0].start_mark.column, 0)
    if offset is None:
        lines = [*fields, f"models: [{item}]"]
    else:
        lines = [*fields, "models:", f"{' ' * offset}- {item}"]
    return [lines[0], *(f"  {line}" for line in lines[1:])]


def _removal(text: str, root: Node | None, settings: Settings, key: str) -> Splice:
    assert root is not None
    families = elements_of(root, "llms")
    for i, family in enumerate(settings.llms):
        for j, model in enumerate(family.models):
            keys = [name for name, _ in model.identities()]
            if key not in keys:
                continue
            models = elements_of(families.value[i], "models")
            if len(keys) > 1:
                revisions = elements_of(models.value[j], "revisions")
                return removed(text, revisions, keys.index(key))
            if len(models.value) > 1:
                return removed(text, models, j)
            if is_flow(families) and len(families.value) == 1:
                return Splice(families.start_mark.index, content_end(families), "[]")
            return removed(text, families, i)
    raise NotSpliceableError("its entry was not found")


def _checked(path: Path, before: str, after: str, old: Settings, key: str, *, listed: bool) -> Edit:
    """The edit, if the new text means the old settings with or without the one LLM."""
    new = _read_again(after, path)
    specs = {True: new.llm_specs, False: old.llm_specs}
    without = [{k: v for k, v in of.llm_specs.items() if k != key} for of in (old, new)]
    same_llms = without[0] == without[1]
    if (key in new.llm_specs) is not listed or not same_llms or _rest(new) != _rest(old):
        raise NotSpliceableError("more than this LLM would change")
    return Edit(path, before, after, specs[listed][key], new)


def _read_again(after: str, path: Path) -> Settings:
    try:
        return parse_settings(after, path)
    except PcorrError as error:
        reason = str(error).partition("\n")[2].strip() or str(error)
        raise NotSpliceableError(f"with the change it would not be valid: {reason}") from None


def _rest(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(exclude={"llms"})
