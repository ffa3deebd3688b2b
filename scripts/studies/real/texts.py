"""Files of packages as documents, each of a language, a kind and a domain.

Belongs here: which files are text of which kind, taking their text out, cutting it, and grouping
it into domains. Does not belong here: fetching files (`packages`), and who reads what (`deal`).

Kinds are manual pages, documentation (HTML and Mallard), licences (Debian's copyright files and
the licence files of Python packages), package texts (descriptions of Python packages) and code
(Python). A domain is a directory of a package, or a section of manual pages; large ones are cut
by the alphabet.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.studies.real.settings import StudySettings

LANGUAGES = frozenset(
    ["cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "pt", "ro", "ru", "sv", "uk"]
)
# Of a kind in a language there is no stratum if it has fewer domains: no part could have one each.
LEAST_DOMAINS = 8
# Files of a domain are read up to a multiple of the documents that are kept of it.
READ_FACTOR = 2
_TAGS = re.compile(r"(?is)<(script|style|head|nav)\b.*?</\1>|<!--.*?-->|<[^>]+>")
_SPACES = re.compile(r"[^\S\n]+")


@dataclass(frozen=True)
class Document:
    """A text, and where it belongs; `id` names its file and the number of its piece."""

    id: str
    domain: str
    language: str
    kind: str
    text: str


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    domain: str
    language: str
    kind: str


def read_documents(settings: StudySettings, debian: Path | None, python: Path) -> list[Document]:
    """Documents of Debian's packages (unpacked into `debian`; None: none) and of the Python
    packages that are installed in `python`, sorted by id.

    No text is there twice. Of each stratum there are at most `stratum_domains` domains, chosen
    by the hash of their name, and of each domain `most_documents`.
    """
    files = list(_python_files(python, settings.code_packages))
    if debian is not None:
        files += [*_manual_pages(debian), *_documentation(debian), *_copyrights()]
    by_domain: dict[str, list[_File]] = defaultdict(list)
    for file in sorted(files, key=lambda one: one.name):
        by_domain[f"{file.kind}/{file.language}/{file.domain}"].append(file)
    strata: dict[tuple[str, str], list[tuple[str, list[_File]]]] = defaultdict(list)
    for domain, own in by_domain.items():
        for name, portion in _portions(domain, own, settings):
            strata[(own[0].language, own[0].kind)].append((name, portion))
    documents: list[Document] = []
    seen: set[bytes] = set()
    for domains in strata.values():
        found = []
        for name, own in sorted(domains, key=lambda one: _hash(one[0])):
            pieces = _documents(name, own, settings, seen)
            if len(pieces) >= settings.least_documents:
                found.append(pieces)
            if len(found) == settings.stratum_domains:
                break
        if len(found) >= LEAST_DOMAINS:
            documents += [piece for pieces in found for piece in pieces]
    return sorted(documents, key=lambda one: one.id)


def _portions(
    domain: str, files: list[_File], settings: StudySettings
) -> Iterator[tuple[str, list[_File]]]:
    """Files of a domain in portions, each enough for the documents of one domain."""
    size = max(1, settings.most_documents * READ_FACTOR // settings.file_documents)
    for number, start in enumerate(range(0, len(files), size)):
        yield (domain if len(files) <= size else f"{domain}/{number}"), files[start : start + size]


def _documents(
    domain: str, files: list[_File], settings: StudySettings, seen: set[bytes]
) -> list[Document]:
    found: list[Document] = []
    for file in files:
        pieces = _pieces(_text_of(file), settings)
        for number, piece in enumerate(pieces):
            digest = hashlib.sha256(piece.encode()).digest()
            if digest not in seen and len(found) < settings.most_documents:
                seen.add(digest)
                name = f"{file.name}#{number}"
                found.append(Document(name, domain, file.language, file.kind, piece))
    return found


def _pieces(text: str, settings: StudySettings) -> Iterator[str]:
    """The first pieces of a text, cut at ends of lines where there are any."""
    size, start = settings.document_characters, 0
    for _ in range(settings.file_documents):
        end = min(len(text), start + size)
        if end < len(text):
            end = max(text.rfind("\n", start + size // 2, end), text.rfind(" ", start, end), start)
            end = end if end > start else start + size
        piece = text[start:end].strip("\n")
        if len(piece) >= settings.least_characters:
            yield piece
        start = end
        if start >= len(text):
            return


def _text_of(file: _File) -> str:
    data = file.path.read_bytes()
    if file.path.suffix == ".gz":
        data = gzip.decompress(data)
    text = data.decode(errors="replace")
    if "\ufffd" in text[:20_000]:
        return ""
    if file.kind == "manual":
        return _of_roff(text)
    if file.kind == "documentation":
        text = html.unescape(_TAGS.sub(" ", text))
        lines = (_SPACES.sub(" ", line).strip() for line in text.splitlines())
        return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()
    if file.kind == "package text":
        # The description follows the headers, after an empty line.
        return text.replace("\r", "").partition("\n\n")[2]
    return text


def _of_roff(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if line.startswith((".B ", ".I ", ".BR ", ".SH ", ".SS ", ".IP ")):
            line = line.partition(" ")[2]
        if line and line[0] not in ".'":
            lines.append(line)
    text = re.sub(r"\\f(\[[A-Z]*\]|\([A-Z]{2}|[A-Z0-9])|\\&", "", "\n".join(lines))
    return re.sub(r"\\\((?:aq|cq|oq)", "'", text.replace("\\-", "-").replace("\\e", "\\"))


def _manual_pages(root: Path) -> Iterator[_File]:
    for path in root.glob("usr/share/man/**/man*/*.gz"):
        if path.is_symlink():
            continue
        of_language = path.parts[-3]
        language = "en" if of_language == "man" else of_language[:2]
        if language in LANGUAGES:
            yield _File(path, _name(path, root), path.parts[-2], language, "manual")


def _documentation(root: Path) -> Iterator[_File]:
    patterns = ("usr/share/doc/**/*.html", "usr/share/*/**/*.html", "usr/share/help/**/*.page")
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        relative = path.relative_to(root)
        language = _language_of(relative)
        if language in LANGUAGES and path.is_file() and not path.is_symlink():
            domain = "/".join(relative.parts[2:-1])
            yield _File(path, str(relative), domain, language, "documentation")


def _language_of(path: Path) -> str:
    """What a path says of its language (`de`, `pt_BR`, `faq-de`, `x.de.html`); else en."""
    stem = path.name.split(".")
    marks = [stem[-2]] if len(stem) > 2 else []
    for part in reversed(path.parts[3:-1]):
        plain = part.removesuffix(".html")
        marks += [
            part,
            plain.rpartition(".")[2],
            plain.rpartition("-")[2] if plain.islower() else "",
        ]
    for mark in marks:
        if re.fullmatch(r"[a-z]{2}([_-][A-Za-z@]+)?", mark):
            return mark[:2]
    return "en"


def _copyrights() -> Iterator[_File]:
    """Of Debian's own packages on this machine: what is allowed with each."""
    root = Path("/usr/share/doc")
    for path in sorted(root.glob("*/copyright")):
        if not path.parent.is_symlink():
            name = path.parent.name
            # Two letters, as in Debian's archive: lib packages by the one after it too.
            start = name[:4] if name.startswith("lib") else name[:1]
            yield _File(path, f"doc/{name}/copyright", f"debian/{start}", "en", "licence")


def _python_files(root: Path, packages: tuple[str, ...]) -> Iterator[_File]:
    for info in sorted(root.glob("*.dist-info")):
        package = info.name.partition("-")[0]
        if (path := info / "METADATA").is_file():
            start = package[:1].lower()
            yield _File(path, _name(path, root), f"python/{start}", "en", "package text")
        for path in sorted(info.rglob("*")):
            if path.is_file() and re.match(r"(?i)licen[cs]e|copying|notice", path.name):
                start = package[:1].lower()
                yield _File(path, _name(path, root), f"python/{start}", "en", "licence")
    for package in [root / name for name in packages] or [root]:
        for path in package.rglob("*.py"):
            relative = path.relative_to(root)
            if len(relative.parts) > 1:
                domain = "/".join(relative.parts[:-1][:2])
                yield _File(path, str(relative), domain, "python", "code")


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
