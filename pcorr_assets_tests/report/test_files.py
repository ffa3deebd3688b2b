"""Reports and their index as files."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.report.files import read_summary, report_path, write_index, write_report
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.report import worlds
from pcorr_assets_tests.report.conftest import World


def links_of(index: Path) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if tag == "a" and name == "href")

    Links().feed(index.read_text())
    return found


def test_a_report_lies_under_its_sample_and_target(matrix_world: World) -> None:
    wh, settings = matrix_world
    written = write_report(wh, settings, "published", "good")
    assert written.path == wh.home / "reports" / "published" / "good.html"
    assert written.sha256 == sha256_file(written.path)
    assert written.byte_count == written.path.stat().st_size
    assert read_summary(written.path) == written.summary
    again = write_report(wh, settings, "published", "good")
    assert again.sha256 == written.sha256
    assert [path.name for path in written.path.parent.iterdir()] == ["good.html"]


def test_the_index_links_every_report_relatively(matrix_world: World, tmp_path: Path) -> None:
    page = write_report(*matrix_world, "published", "good").path.read_text()
    targets = {("a", "x"), ("a", "y.z"), ("b-1", "x")}
    for sample, target in targets:
        path = report_path(tmp_path, sample, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.replace("published&#34;", f"{sample}&#34;"))
    (tmp_path / "reports" / "a" / "notes.html").write_text("<html>of somebody else</html>")
    index = write_index(tmp_path)
    assert index == tmp_path / "reports" / "index.html"
    links = links_of(index)
    assert links == ["a/x.html", "a/y.z.html", "b-1/x.html"]
    assert all((index.parent / unquote(link)).is_file() for link in links)
    summary = read_summary(report_path(tmp_path, "a", "x"))
    assert summary is not None
    text = index.read_text()
    assert summary.title in text
    assert summary.date in text


def test_summaries_that_were_tampered_with_are_left_out_or_escaped(
    matrix_world: World, tmp_path: Path
) -> None:
    page = write_report(*matrix_world, "published", "good").path.read_text()
    folder = tmp_path / "reports" / "s"
    folder.mkdir(parents=True)
    hostile = page.replace(
        "&#34;target&#34;: &#34;good&#34;", "&#34;target&#34;: &#34;&lt;b&gt;&#34;"
    )
    assert hostile != page
    (folder / "hostile.html").write_text(hostile)
    state = re.compile(r"(&#34;state&#34;: &#34;)\w+(&#34;)")
    unknown, changed = state.subn(r"\1maybe\2", page)
    assert changed
    (folder / "unknown.html").write_text(unknown)
    (folder / "broken.html").write_text('<meta name="pcorr-report" content="{">')
    index = write_index(tmp_path)
    assert links_of(index) == ["s/hostile.html"]
    assert "<b>" not in index.read_text()


def test_two_that_finish_at_once_are_both_in_the_index(matrix_world: World, tmp_path: Path) -> None:
    page = write_report(*matrix_world, "published", "good").path.read_text()
    names = [f"t{number}" for number in range(12)]
    start = threading.Barrier(len(names))

    def finish(name: str) -> None:
        start.wait()
        path = report_path(tmp_path, "s", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
        write_index(tmp_path)

    threads = [threading.Thread(target=finish, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert links_of(tmp_path / "reports" / "index.html") == sorted(f"s/{n}.html" for n in names)


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path)
    written = write_report(wh, settings, "published", "good")
    wh.path("estimates", "published", "good").unlink()
    with pytest.raises(PcorrError, match="estimates"):
        write_report(wh, settings, "published", "good")
    assert sha256_file(written.path) == written.sha256
