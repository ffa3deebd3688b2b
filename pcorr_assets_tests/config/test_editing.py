"""LLMs added to and taken out of a configuration, whose other bytes stay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.config import load_settings
from pcorr_assets.config.editing import Edit, NewLLM, add_llm, remove_llm, write_edit
from pcorr_assets.errors import PcorrError

BLOCK = """\
# LLMs of our group. Ask before you remove one.
home:   data    # on the big disk

llms:
    # the small ones
    - family: a          # from org a
      dtype: float16
      models:
          - a/one        # the first
          - {name: a/two, revisions: [main, step1]}   # two of them
          # - a/three    too big

    - family: b
      models: [b/one, "b/two"]
# the end of the LLMs
samples: {}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pcorr.yaml"


def hub(key: str, family: str = "", **options: Any) -> NewLLM:
    return NewLLM(key, family or key.partition("/")[0], **options)


def add(path: Path, text: str, new: NewLLM) -> Edit:
    path.write_bytes(text.encode())
    return add_llm(path, new)


def changed_lines(edit: Edit) -> list[str]:
    lines = edit.difference().splitlines()[2:]
    return [line for line in lines if line[:1] in ("+", "-")]


def test_an_llm_goes_to_the_end_of_its_familys_list_and_nothing_else_changes(path: Path) -> None:
    edit = add(path, BLOCK, hub("a/four"))
    assert changed_lines(edit) == ["+          - a/four"]
    assert edit.spec.dtype == "float16"
    edit = add(path, BLOCK, hub("b/three"))
    assert changed_lines(edit) == [
        '-      models: [b/one, "b/two"]',
        '+      models: [b/one, "b/two", b/three]',
    ]


def test_what_an_llm_needs_must_be_what_its_family_says(path: Path) -> None:
    assert add(path, BLOCK, hub("a/four", dtype="float16")).after.count("family: a ") == 1
    edit = add(path, BLOCK, hub("a/four", dtype="bfloat16", trust_remote_code=True))
    assert changed_lines(edit) == [
        "+    - family: a",
        "+      dtype: bfloat16",
        "+      trust_remote_code: true",
        "+      models: [a/four]",
    ]
    assert edit.spec.trust_remote_code
    assert not edit.settings.llm_specs["a/one"].trust_remote_code


def test_trust_of_a_family_is_not_taken_over(path: Path) -> None:
    text = "llms:\n- family: a\n  allow_pickle: true\n  models:\n  - a/one\n"
    edit = add(path, text, hub("a/two"))
    assert edit.after == text + "- family: a\n  models:\n  - a/two\n"
    assert not edit.spec.allow_pickle


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "llms:\n  - family: o\n    models:\n      - o/n\n"),
        ("# nothing yet", "# nothing yet\nllms:\n  - family: o\n    models:\n      - o/n\n"),
        ("llms:\n", "llms:\n  - family: o\n    models:\n      - o/n\n"),
        (
            "llms:   # later\nhome: x\n",
            "llms:   # later\n  - family: o\n    models:\n      - o/n\nhome: x\n",
        ),
        (
            "llms: []  # none\nhome: x",
            "llms:  # none\n  - family: o\n    models:\n      - o/n\nhome: x",
        ),
        ("llms: ~\n", "llms:\n  - family: o\n    models:\n      - o/n\n"),
        ("llms: [\n]\nhome: x\n", "llms:  [{family: o, models: [o/n]}]\nhome: x\n"),
        ("home: x\n", "home: x\nllms:\n  - family: o\n    models:\n      - o/n\n"),
        ("home: x", "home: x\nllms:\n  - family: o\n    models:\n      - o/n\n"),
        ("home: x\r\n", "home: x\r\nllms:\r\n  - family: o\r\n    models:\r\n      - o/n\r\n"),
        ("{}", "{llms: [{family: o, models: [o/n]}]}"),
        ("{home: x}\n", "{home: x, llms: [{family: o, models: [o/n]}]}\n"),
        (
            "llms: [{family: o, models: [\n  o/a,  # one\n  o/b,  # two\n]}]",
            "llms: [{family: o, models: [\n  o/a,  # one\n  o/b, o/n,  # two\n]}]",
        ),
        (
            "llms: [{family: p, models: [p/a]}]\n",
            "llms: [{family: p, models: [p/a]}, {family: o, models: [o/n]}]\n",
        ),
        (
            "llms:\n- family: p\n  models:\n  - p/a\n",
            "llms:\n- family: p\n  models:\n  - p/a\n- family: o\n  models:\n  - o/n\n",
        ),
    ],
)
def test_ways_to_write_the_list(path: Path, text: str, expected: str) -> None:
    assert add(path, text, hub("o/n")).after == expected


def test_a_local_folder_is_written_relative_to_the_file(path: Path) -> None:
    edit = add(path, "home: x\n", NewLLM("mine", "f", path=path.parent / "zoo" / "my llm"))
    assert '- {key: mine, path: "zoo/my llm"}' in edit.after
    assert edit.spec.path == path.parent / "zoo" / "my llm"
    edit = add(path, "home: x\n", NewLLM("true", "f", path=Path("/elsewhere/llm")))
    assert '- {key: "true", path: "/elsewhere/llm"}' in edit.after


def test_refusals_name_what_is_wrong_and_write_nothing(path: Path) -> None:
    for new, message in (
        (hub("a/one"), "lists a/one already"),
        (hub("A/one", "b"), "in case only"),
        (hub("a/two@main", "a"), "main is left out"),
        (NewLLM("a/x", "no family"), "cannot be a family"),
    ):
        with pytest.raises(PcorrError, match=message):
            add(path, BLOCK, new)
    with pytest.raises(PcorrError, match="1 mistake"):
        add(path, "hom: x\n", hub("a/x"))
    assert path.read_text() == "hom: x\n"


def test_what_is_laid_out_in_rare_ways_is_left_to_the_user(path: Path) -> None:
    text = "llms: [{family: a, models: &m [a/one]}]\npools: {}\n"
    assert add(path, text, hub("a/two")).settings.llm_specs.keys() == {"a/one", "a/two"}
    text = "llms:\n-\n  family: a\n  models: [a/one]\n"
    with pytest.raises(PcorrError, match=r"by hand .*\{family: c, models: \[c/x\]\}"):
        add(path, text, hub("c/x"))
    with pytest.raises(PcorrError, match=r"by hand .*remove a/one from"):
        remove_llm(path, "a/one")
    shared = "- &m a/one\n"
    text = f"llms:\n- family: a\n  models:\n  {shared}  - a/two\nsamples: {{s: *m}}\n"
    with pytest.raises(PcorrError, match="1 mistake"):
        add(path, text, hub("c/x"))


def test_removing_takes_its_own_lines_only(path: Path) -> None:
    path.write_text(BLOCK)
    assert changed_lines(remove_llm(path, "a/one")) == ["-          - a/one        # the first"]
    edit = remove_llm(path, "a/two")
    assert "{name: a/two, revisions: [step1]}   # two of them" in edit.after
    assert edit.spec.key == "a/two"
    assert '    models: ["b/two"]\n' in remove_llm(path, "b/one").after
    assert "    models: [b/one]\n" in remove_llm(path, "b/two").after
    with pytest.raises(PcorrError, match="does not list a/three"):
        remove_llm(path, "a/three")


def test_the_last_of_a_family_takes_the_familys_entry_along(path: Path) -> None:
    path.write_text("llms:\n  - family: a\n    models: [a/x]  # x\n  # about b\n  - family: b\n"
                    "    models:\n      - b/y\nhome: h\n")  # fmt: skip
    assert remove_llm(path, "a/x").after == (
        "llms:\n  # about b\n  - family: b\n    models:\n      - b/y\nhome: h\n"
    )
    write_edit(remove_llm(path, "b/y"))
    write_edit(remove_llm(path, "a/x"))
    assert path.read_text() == "llms:\n  # about b\nhome: h\n"
    assert load_settings(path).llm_specs == {}


def test_removal_from_lists_in_brackets(path: Path) -> None:
    text = "llms: [{family: a, models: [\n  a/x,  # x\n  a/y,  # y\n  a/z\n]}]\n"
    for key, after in (
        ("a/x", text.replace("  a/x,  # x\n", "  # x\n")),
        ("a/z", text.replace("  a/z\n", "")),
    ):
        path.write_text(text)
        assert remove_llm(path, key).after == after
    path.write_text("llms: [{family: a, models: [a/x]}]  # all\n")
    assert remove_llm(path, "a/x").after == "llms: []  # all\n"


def test_permissions_links_and_byte_order_marks_stay(path: Path) -> None:
    real = path.with_name("real.yaml")
    real.write_bytes(b"\xef\xbb\xbf# caf\xc3\xa9\r\nhome: x\r\n")
    real.chmod(0o640)
    path.symlink_to(real.name)
    write_edit(add_llm(path, hub("o/n")))
    assert path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.read_bytes().startswith(b"\xef\xbb\xbf# caf\xc3\xa9\r\nhome: x\r\nllms:\r\n")
    assert sorted(os.listdir(path.parent)) == ["pcorr.yaml", "real.yaml"]


def test_an_edit_of_somebody_else_is_not_lost(path: Path) -> None:
    edit = add(path, BLOCK, hub("a/four"))
    path.write_text(BLOCK + "# theirs\n")
    with pytest.raises(PcorrError, match="somebody else"):
        write_edit(edit)
    assert path.read_text() == BLOCK + "# theirs\n"
    assert os.listdir(path.parent) == ["pcorr.yaml"]


names = st.sampled_from(["a", "b", "c"])
families = st.lists(st.tuples(names, st.sets(names, min_size=1)), max_size=4)


@st.composite
def configurations(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Some text of a configuration, and its keys: one entry for each family that is drawn."""
    drawn = draw(families)
    keys: list[str] = []
    entries = []
    for i, (name, models) in enumerate(drawn):
        listed = [f"{name}{i}/{model}" for model in sorted(models)]
        keys += listed
        entries.append({"family": name, "models": listed})
    data = {"home": "h", "llms": entries, "pools": {}}
    text = yaml.safe_dump(
        data,
        sort_keys=False,
        indent=draw(st.sampled_from([2, 4])),
        default_flow_style=draw(st.sampled_from([None, True, False])),
        width=draw(st.sampled_from([20, 80])),
    )
    return text, keys


@given(configurations(), names, st.data())
@settings(max_examples=150)
def test_adding_and_removing_again_means_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    written: tuple[str, list[str]],
    family: str,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.yaml"
    text, keys = written
    path.write_text(text)
    before = load_settings(path)
    write_edit(add_llm(path, NewLLM("new/llm", family)))
    added = load_settings(path)
    assert list(before.llm_specs.values()) == [
        spec for key, spec in added.llm_specs.items() if key != "new/llm"
    ]
    assert added.llm_specs["new/llm"].family == family
    write_edit(remove_llm(path, "new/llm"))
    assert load_settings(path).llm_specs == before.llm_specs
    if keys:
        gone = data.draw(st.sampled_from(keys))
        write_edit(remove_llm(path, gone))
        assert list(load_settings(path).llm_specs) == [key for key in keys if key != gone]
