"""Which packages of Debian the texts come from, and fetching them.

    python -m scripts.studies.real.packages FOLDER

Belongs here: the list, downloading by apt, unpacking, and the record of versions. Does not
belong here: reading what is in them (`texts`). Python packages are not fetched: they are
those that requirements.lock pins, as installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from pathlib import Path

from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse.files import write_text

RECORD = "packages.json"


def _of_languages(stem: str, languages: str) -> tuple[str, ...]:
    return tuple(f"{stem}-{language}" for language in languages.split())


PACKAGES: tuple[str, ...] = (
    *_of_languages("manpages", "cs da de es fi fr hu it nl pl pt-br ro ru sv uk"),
    *(f"{one}-dev" for one in _of_languages("manpages", "cs da de es fr it nl pl pt-br ru uk")),
    "debian-faq",
    *_of_languages("debian-faq", "de fr it nl ru"),
    *_of_languages("debian-reference", "en de fr es it pt"),
    "developers-reference",
    *_of_languages("developers-reference", "de fr it ru"),
    "maint-guide",
    *_of_languages("maint-guide", "de es fr it ru"),
    *_of_languages("aptitude-doc", "en cs es fr it nl ru"),
    *("apt-doc", "debian-handbook", "debian-policy", "git-doc", "gnome-user-docs"),
    *("installation-guide-amd64", "perl-doc", "postgresql-doc-15", "python-django-doc"),
    *("python-sqlalchemy-doc", "python3-doc", "sqlite3-doc"),
)


def fetch(folder: Path, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Download and unpack what is missing of `packages`; the folder of all their files.

    Versions are those that apt offers on the first run; `packages.json` records them, with the
    SHA-256 of each file, and later runs keep to them.

    Raises:
        PcorrError: apt does not have a package, or cannot be reached; it names the package.
    """
    downloads, root, record = folder / "debs", folder / "root", folder / RECORD
    for path in (downloads, root):
        path.mkdir(parents=True, exist_ok=True)
    known = json.loads(record.read_text()) if record.is_file() else {}
    with Progress("fetch packages", total=len(packages), unit="packages") as progress:
        for name in packages:
            if name not in known:
                path = _download(downloads, name)
                _run(["dpkg-deb", "-x", str(path), str(root)], name)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                known[name] = {"file": path.name, "sha256": digest}
                write_text(record, json.dumps(known, indent=1, sort_keys=True) + "\n")
            progress.update()
    return root


def _download(folder: Path, name: str) -> Path:
    if not (found := sorted(folder.glob(f"{name}_*.deb"))):
        _run(["apt-get", "download", name], name, folder)
        found = sorted(folder.glob(f"{name}_*.deb"))
    if len(found) != 1:
        raise PcorrError(f"expected one file of {name} in {folder}, found {len(found)}")
    return found[0]


def _run(command: list[str], package: str, folder: Path | None = None) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PcorrError(f"{command[0]} is not installed: the texts are Debian's") from error
    except subprocess.CalledProcessError as error:
        raise PcorrError(
            f"package {package}: {' '.join(command[:2])} failed: {error.stderr.strip()[-300:]}; "
            "apt-get update may help; what was fetched is kept"
        ) from error


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    fetch(parser.parse_args().folder)


if __name__ == "__main__":
    main()
