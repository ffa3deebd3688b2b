"""The documentation says what the code does: keys, examples, tables, rooms, messages."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import pcorr_assets
from pcorr_assets.config import (
    Automation,
    Benchmark,
    Candidate,
    Compute,
    Draw,
    Exports,
    Family,
    FastText,
    MatrixCsv,
    Model,
    NearDuplicates,
    Pilot,
    Plan,
    Pool,
    Sample,
    Selection,
    SelectionCompute,
    Settings,
    Slurm,
    SlurmOverrides,
    SlurmResources,
    Ssh,
    Storage,
    Target,
    Validation,
    settings_from,
)
from pcorr_assets.config.yaml_reader import read_yaml
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import Warehouse, connect

PACKAGE = Path(pcorr_assets.__file__).parent
ROOT = PACKAGE.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": Settings,
    "`samples`": Sample,
    "`pilot`": Pilot,
    "`matrix_csv`": MatrixCsv,
    "`llms`": Family,
    "`models`": Model,
    "`candidates`": Candidate,
    "`benchmarks`": Benchmark,
    "`targets`": Target,
    "`selection`": Selection,
    "`fasttext`": FastText,
    "`validation`": Validation,
    "`pools`": Pool,
    "`draw`": Draw,
    "`near_duplicates`": NearDuplicates,
    "`compute`": Compute,
    "`compute.selection`": SelectionCompute,
    "`slurm`": Slurm,
    "`overrides`": SlurmOverrides,
    "Slurm resources": SlurmResources,
    "`ssh`": Ssh,
    "`storage`": Storage,
    "`exports`": Exports,
    "`automation`": Automation,
    "`plan`": Plan,
}


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sections_of(text: str) -> dict[str, str]:
    """Heading (of any level) -> the text up to the next one; code blocks hold no headings."""
    without_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    parts = re.split(r"^#+ (.*)$", without_code, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows_of(section: str) -> dict[str, list[str]]:
    """First cell -> the other cells, of the table rows that begin with a name in backticks."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows if re.fullmatch(r"`[^`]*`", row[0])}


def blocks_of(text: str, info: str) -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def default_text(field: FieldInfo) -> str:
    """How the page writes a default; an empty text where it points elsewhere instead."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel | dict) or value == []:
        return ""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(value)}]`"
    return f"`{value.name if isinstance(value, Path) else value}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_listed_with_its_default(heading: str) -> None:
    rows = rows_of(sections_of(text_of("configuration.md"))[heading])
    fields = SECTIONS[heading].model_fields
    assert sorted(rows) == sorted(fields)
    for name, field in fields.items():
        written = rows[name][1]
        assert written == (default_text(field) or written), name


def test_every_model_of_the_configuration_is_documented() -> None:
    seen: set[type[BaseModel]] = set()
    waiting: list[type[BaseModel]] = [Settings]
    while waiting:
        model = waiting.pop()
        seen.add(model)
        inner = {part for field in model.model_fields.values() for part in models_in(field)}
        waiting += inner - seen
    assert seen == set(SECTIONS.values())


def models_in(field: FieldInfo) -> Iterator[type[BaseModel]]:
    open_types: list[object] = [field.annotation]
    while open_types:
        found = open_types.pop()
        open_types += getattr(found, "__args__", ())
        if isinstance(found, type) and issubclass(found, BaseModel):
            yield found


WHOLE_CONFIGURATIONS = [
    pytest.param(page.name, block, id=page.name)
    for page in PAGES
    for block in blocks_of(page.read_text(encoding="utf-8"), "yaml whole-config")
]


@pytest.mark.parametrize(("page", "block"), WHOLE_CONFIGURATIONS)
def test_whole_configurations_in_the_pages_load(page: str, block: str, tmp_path: Path) -> None:
    document = read_yaml(block, page)
    settings = settings_from(document.data, folder=tmp_path, source=page, document=document)
    assert settings.targets
    assert settings.llm_specs


def test_the_example_of_a_report_is_the_report(tmp_path: Path) -> None:
    text = text_of("configuration.md")
    assert blocks_of(text, "yaml whole-config")
    (broken,) = blocks_of(text, "yaml broken-config")
    document = read_yaml(broken, "pcorr.yaml")
    with pytest.raises(PcorrError) as refusal:
        settings_from(document.data, folder=tmp_path, source="pcorr.yaml", document=document)
    assert f"{refusal.value}\n" in blocks_of(text, "text")


def script(name: str) -> ModuleType:
    path = ROOT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_tables_is_up_to_date() -> None:
    assert text_of("tables.md") == script("tables_reference").reference(), (
        "run python scripts/tables_reference.py"
    )


def test_every_dependency_has_a_reason_and_only_those() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"Of the platform": project["dependencies"]}
    for extra, packages in project["optional-dependencies"].items():
        # A package of two extras is explained once, where it stands alone.
        extras = project["optional-dependencies"]
        others = [*extras["gguf"], *extras["s3"]] if extra == "dev" else []
        wanted[f"Extra `{extra}`"] = [name for name in packages if name not in others]
    sections = sections_of(text_of("dependencies.md"))
    for heading, requirements in wanted.items():
        names = [re.split(r"[<>=!~ ;\[]", requirement)[0] for requirement in requirements]
        rows = rows_of(sections[heading])
        assert sorted(rows) == sorted(names), heading
        assert all(reason for (reason,) in rows.values()), heading


def test_every_room_has_a_section_that_names_real_functions_and_tests() -> None:
    sections = sections_of(text_of("rooms.md"))
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(sections) - {"Rooms of the house"} == rooms
    for room in rooms:
        listed = "\n".join(re.findall(r"^- .*$", sections[room], flags=re.MULTILINE))
        for module, name in re.findall(r"`([a-z_]+)\.([A-Za-z_]+)`", listed):
            tree = ast.parse((PACKAGE / room / f"{module}.py").read_text(encoding="utf-8"))
            assert name in set(top_level_names(tree)), f"{room}/{module}.py has no {name}"
        for folder in re.findall(r"`(pcorr_assets_tests/[a-z_]+)`", sections[room]):
            assert (ROOT / folder).is_dir(), folder


def top_level_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def strings_of_the_package() -> set[str]:
    """Every text of the code; a placeholder of an f-string or of logging is a newline."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "\n" for part in node.values
                ]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub(r"%[sd]", "\n", node.value))
    return found


def test_quoted_messages_are_those_of_the_code() -> None:
    strings = strings_of_the_package()
    headings = re.findall(r"^#+ (`.*)$", text_of("troubleshooting.md"), flags=re.MULTILINE)
    quotes = [quote for heading in headings for quote in re.findall(r"`([^`]+)`", heading)]
    assert len(quotes) > 30
    for quote in quotes:
        pieces = [piece.strip(" .(") for piece in quote.split("...")]
        pattern = re.compile(".*".join(map(re.escape, pieces)), flags=re.DOTALL)
        assert any(pattern.search(text) for text in strings), quote


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "README.md"]:
        if not page.is_file():
            continue
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            linked = (page.parent / name).resolve() if name else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in anchors_of(linked.read_text(encoding="utf-8")), target


def anchors_of(text: str) -> set[str]:
    """Anchors as GitHub makes them of headings."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in sections_of(text))
    return {heading.strip().replace(" ", "-") for heading in kept}


def test_queries_run_and_give_what_the_cookbook_shows(tmp_path: Path) -> None:
    """On an empty warehouse: the columns are those of the outputs of the demo below."""
    warehouse = Warehouse(tmp_path)
    with warehouse.writer("verdicts", ("sample", "target")):
        pass
    cookbook = script("cookbook")
    page = text_of("cookbook.md")
    queries = cookbook.queries(page)
    assert len(queries) >= 12
    readme = cookbook.queries((ROOT / "README.md").read_text(encoding="utf-8"))
    with connect(tmp_path) as connection:
        for query in [*queries, *readme]:
            assert connection.execute(query).fetchall() == [], query
        assert re.sub(r"```\n\n(\|[^\n]*\n)+", "```\n\nNo rows.\n", page) == (
            cookbook.with_outputs(page, connection)
        )
        for query, header in re.findall(r"```sql\n([^`]*)```\n\n\| (.*) \|\n", page):
            columns = connection.execute(query).description or []
            assert header.split(" | ") == [column[0] for column in columns], query


def test_five_lines_lead_from_two_arrays_to_a_verdict() -> None:
    (code,) = blocks_of(text_of("api/stats.md"), "python")
    rng = np.random.default_rng(0)
    ability, skill = rng.normal(size=(2, 40, 1))
    noise = rng.normal(scale=0.2, size=(40, 30))
    here: dict[str, Any] = {
        "np": np,
        "X": noise - ability - skill * (np.arange(30) < 10),
        "y": -(ability + 2 * skill)[:, 0],
        "names": [f"llm-{row}" for row in range(40)],
        "families": [f"family-{row // 2}" for row in range(40)],
    }
    exec(code, here)
    assert here["judged"].verdict == "go"
    assert here["weights"][:10].sum() > 0.6
