"""Which strings of the data become links, and how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.report.formats import number, signed, significant
from pcorr_assets.report.wording import domain_link, llm_link, page_link, shown


@pytest.mark.parametrize(
    "page_id",
    [
        "https://example.org/a?b=1&c=(d)#e",
        "http://example.org",
        "HTTPS://Example.org/%C3%A4",
        "https://example.org:8080/x;y=[z]",
    ],
)
def test_plain_urls_are_links(page_id: str) -> None:
    assert page_link(page_id) == page_id


@pytest.mark.parametrize(
    "page_id",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " https://example.org",
        "https://example.org\n",
        "https://example.org/\u202egpj.exe",
        'https://example.org/"onmouseover=alert(1)',
        "https://example.org/<b>",
        "https://example.org/a b",
        "https://bank.example@evil.example/",
        "https://user:word@evil.example/",
        "https://",
        "https:///path",
        "https://[::1",
        "https://example.org:notaport/",
        "data:text/html,hello",
        "file:///etc/passwd",
        "//example.org",
        "example.org",
        "Title of a page by somebody",
        "https://example.org/" + "a" * 400,
        "",
    ],
)
def test_anything_else_is_not(page_id: str) -> None:
    assert page_link(page_id) is None


@given(st.text())
def test_a_link_is_http_and_needs_no_escaping_but_ampersands(page_id: str) -> None:
    for prefix in ("", "https://a.example/"):
        link = page_link(prefix + page_id)
        if link is not None:
            assert link.lower().startswith(("http://", "https://"))
            assert not set(link) & set("\"'<>\\ \t\r\n")


@pytest.mark.parametrize(
    ("domain", "linked"),
    [
        ("example.org", True),
        ("a-b.co.uk", True),
        ("xn--bcher-kva.example", True),
        ("localhost", False),
        ("10.0.0.1", False),
        ("example.org/path", False),
        ("example.org:80", False),
        ("-bad.example", False),
        ("user@example.org", False),
        ("<b>.example", False),
        ("example.org\n", False),
        ("a" * 64 + ".example", False),
        ("", False),
    ],
)
def test_only_hostnames_are_linked(domain: str, linked: bool) -> None:
    assert domain_link(domain) == (f"https://{domain}" if linked else None)


def test_only_llms_of_the_hub_at_a_commit_are_linked() -> None:
    commit = "0123456789" * 4
    assert llm_link("org/name", commit) == f"https://huggingface.co/org/name/tree/{commit}"
    assert llm_link("/local/folder", commit) is None
    assert llm_link("org/name", "f" * 64) is None
    assert llm_link("org/../name", commit) is None
    assert llm_link(None, commit) is None


def test_texts_are_cut_and_lose_what_could_mislead() -> None:
    assert shown("a\n\n  b\tc") == "a b c"
    assert shown("x" * 100, 10) == "x" * 9 + "…"
    assert shown("a\u202eb\x00c") == "a\ufffdb\ufffdc"


@given(st.text(max_size=300), st.integers(5, 50))
def test_shown_texts_are_short_lines(text: str, limit: int) -> None:
    assert len(shown(text, limit)) <= limit
    assert "\n" not in shown(text, limit)


def test_numbers_keep_their_sign_and_are_not_rounded_to_nothing() -> None:
    assert number(-0.25, 2) == "\u22120.25"
    assert number(0.0) == "0.000"
    assert number(-0.0004, 3) == "\u22120.0004"
    assert signed(0.5, 1) == "+0.5"
    assert signed(0.0, 1) == "0.0"
    assert significant(0.97) == "0.970"
    assert significant(1375.2) == "1,375"
    assert {number(None), signed(None), significant(None)} == {"\u2013"}
