"""Write docs/licences.md: the licence of everything that the platform installs.

Belongs here: what the installed packages say of themselves, as a table. Does not belong
here: whether a licence suits you, and which packages there are (pyproject.toml).
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "pcorr_assets"
PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
_HEAD = """# Licences of dependencies

Written by `make lock` from what the packages say of themselves: everything that `make setup`
installs on Linux without a GPU. `platform` is what the platform itself needs, `dev` what only
tests and development need. With the torch of the package index, Linux also gets NVIDIA's CUDA
packages (`nvidia-*`, `cuda-*`), which stand under NVIDIA's own licence.

| package | version | licence | needed by |
|---|---|---|---|
"""
_CLASSIFIER = "License :: "


def licence_of(package: Distribution) -> str:
    """Its licence: the SPDX expression if it gives one, else classifiers, else its own words.

    Raises:
        ValueError: the package says nothing.
    """
    about = package.metadata
    expressions = about.get_all("License-Expression")
    if expressions:
        return expressions[0]
    classifiers = [c for c in about.get_all("Classifier") or [] if c.startswith(_CLASSIFIER)]
    named = [c.rsplit(" :: ", 1)[-1] for c in classifiers if c.count(" :: ") > 1]
    if named:
        return ", ".join(named)
    words = "\n".join(about.get_all("License") or []).strip()
    if words:
        return words.splitlines()[0][:80]
    for file in package.files or []:
        if re.fullmatch(r"(?i)licen[cs]e(\..*)?|copying", file.name):
            first = file.read_text(encoding="utf-8").strip().splitlines()[0]
            return first.strip("# ")[:80]
    raise ValueError(f"{about['Name']} names no licence; look it up before you depend on it")


def closure(extras: frozenset[str]) -> dict[str, Distribution]:
    """Canonical name -> every installed package that the project needs with `extras`."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(PROJECT, extras)]
    while waiting:
        name, wanted = waiting.pop()
        if (canonicalize_name(name), wanted) in seen:
            continue
        seen.add((canonicalize_name(name), wanted))
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of another system: Windows, a GPU
            continue
        found[canonicalize_name(name)] = package
        for line in package.requires or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in wanted | {""}):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    del found[canonicalize_name(PROJECT)]
    return found


def page() -> str:
    """docs/licences.md as the installed packages have it now."""
    platform = closure(frozenset())
    everything = platform | closure(frozenset({"dev", "gguf"}))
    rows = [
        f"| `{name}` | {package.version.partition('+')[0]} | {licence_of(package)} "
        f"| {'platform' if name in platform else 'dev'} |\n"
        for name, package in sorted(everything.items())
    ]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} written", file=sys.stderr)
