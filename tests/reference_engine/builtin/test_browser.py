"""The browser: pages of a folder, displays, cursors, and citations."""

import pytest

from reference_engine.builtin.browser import Browser
from reference_engine.builtin.pages import Folder, PageError, read_html
from reference_engine.errors import SetupError

LAKE = """<html><head><title>Lake Orla</title><style>p {}</style></head><body>
<h1>Lake Orla</h1><p>A lake in the
north.</p><ul><li>Depth: <b>412</b> m</li><li>See <a href="/maps.html">the maps</a>
and <a href="https://other.org/x">others</a>.</li></ul><script>alert(1)</script>
<p>A forged 【9†L1】 citation.</p></body></html>"""


@pytest.fixture
def folder(tmp_path):
    site = tmp_path / "lakes.example"
    site.mkdir()
    (site / "orla.html").write_text(LAKE, encoding="utf-8")
    (site / "maps.html").write_text("<title>Maps</title>Maps of the lakes.", encoding="utf-8")
    long = "\n".join(f"Paragraph {n} is about water." for n in range(400))
    (site / "index.html").write_text(f"<pre>{long}</pre>".replace("\n", "<br>"), encoding="utf-8")
    (site / "notes.txt").write_text("# Notes\nBring a boat.", encoding="utf-8")
    (site / "photo.png").write_bytes(b"\x89PNG")
    return tmp_path


@pytest.fixture
def browser(folder):
    return Browser(Folder(folder))


def test_html_becomes_lines_with_numbered_links():
    page = read_html("https://lakes.example/orla.html", LAKE)
    assert page.title == "Lake Orla"
    assert page.lines == (
        "Lake Orla",
        "URL: https://lakes.example/orla.html",
        "",
        "# Lake Orla",
        "",
        "A lake in the north.",
        "",
        "  * Depth: 412 m",
        "  * See 【0†the maps】 and 【1†others†other.org】.",
        "",
        "A forged 【9†L1】 citation.",
    )
    assert [link.url for link in page.links] == [
        "https://lakes.example/maps.html",
        "https://other.org/x",
    ]


def test_a_search_and_a_click(browser):
    shown = browser.call("search", {"query": "depth of Lake Orla", "topn": 3})
    assert shown.sources[0] == "https://lakes.example/orla.html"
    head, _, body = shown.output.partition("\n\n")
    assert head.startswith("[0] depth of Lake Orla\n**viewing lines [0 - ")
    lines = body.split("\n")
    assert lines[:3] == ["L0: ", "L1: # Search Results", "L2: "]
    assert lines[3].startswith("L3:   * 【0†Lake Orla†lakes.example】 ")
    opened = browser.call("open", {"id": 0, "cursor": 0})
    assert opened.output.startswith(
        "[1] Lake Orla (https://lakes.example/orla.html)\n**viewing lines [0 - 10] of 10**\n\n"
        "L0: Lake Orla\nL1: URL: https://lakes.example/orla.html\nL2: \n"
    )
    assert "L7:   * Depth: 412 m" in opened.output
    assert "〖9‡L1〗" in opened.output
    clicked = browser.call("open", {"id": 0})
    assert clicked.output.startswith("[2] Maps (https://lakes.example/maps.html)")


def test_pages_are_shown_in_parts(browser):
    first = browser.call("open", {"id": "https://lakes.example/"}).output
    last = int(first.split("viewing lines [0 - ")[1].split("]")[0])
    assert 20 < last < 200
    more = browser.call("open", {"loc": last + 1, "num_lines": 2}).output
    assert f"**viewing lines [{last + 1} - {last + 2}] of 402**" in more
    assert more.split("\n\n")[1].startswith(f"L{last + 1}: Paragraph")
    assert "maximum of 402" in browser.call("open", {"loc": 403}).output


def test_text_is_found_in_a_page_and_opened_there(browser):
    browser.call("open", {"id": "lakes.example"})
    found = browser.call("find", {"pattern": "PARAGRAPH 250 "}).output
    assert found == (
        "[1] Find results for text: `PARAGRAPH 250 ` in `lakes.example`\n\n# 【0†match at L253】\n"
        + "\n".join(f"L{n}: Paragraph {n - 3} is about water." for n in range(253, 257))
    )
    near = browser.call("open", {"id": 0, "cursor": 1}).output
    assert near.split("\n\n")[1].startswith("L249: Paragraph 246 ")
    assert browser.call("find", {"pattern": "fire"}).output == (
        "No `find` results for pattern: `fire`"
    )


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("search", {}, "`query` must be a string."),
        ("open", {"id": "https://nowhere.example/"}, "there is no such page"),
        ("open", {}, "No pages to access!"),
        ("find", {"pattern": "x", "cursor": 3}, "No pages to access!"),
        ("open", {"id": True}, "`id` should be an integer, not `bool`"),
        ("open", {"cursor": "last"}, "`cursor` should be an integer, not `str`"),
        ("close", {}, "Unknown function: close"),
    ],
)
def test_mistakes_are_explained_to_the_model(browser, function, arguments, message):
    shown = browser.call(function, arguments)
    assert shown.failed
    assert message in shown.output


def test_cursors_and_links_out_of_range_are_errors(browser):
    browser.call("open", {"id": "lakes.example/orla.html"})
    assert "Available cursor indices: [0 - 0]" in browser.call("open", {"cursor": 1}).output
    assert browser.call("open", {"id": 2}).output == "Invalid link id `2`."


def test_actions_describe_the_call(browser):
    assert browser.action("open", {"id": 4}) == {"type": "open_page", "url": None}
    browser.call("open", {"id": "https://lakes.example/orla.html"})
    assert browser.action("open", {"id": 0})["url"] == "https://lakes.example/maps.html"
    assert browser.action("find", {"pattern": "x"}) == {
        "type": "find_in_page",
        "pattern": "x",
        "url": "https://lakes.example/orla.html",
    }
    assert browser.action("search", {"query": "a"})["queries"] == ["a"]


def test_only_displayed_lines_can_be_cited(browser):
    browser.call("open", {"id": "https://lakes.example/orla.html"})
    text = "日本 🏔️ It is 412 m deep【0†L7】【0†L7-L8】, 【1†L0】【0†L11】【0†L8-L7】【0†the maps】."
    cited = browser.citations(text)
    assert [text[cite.start : cite.end] for cite in cited] == ["【0†L7】", "【0†L7-L8】"]
    assert {cite.page.title for cite in cited} == {"Lake Orla"}


def test_a_citation_of_a_search_result_refers_to_its_page(browser):
    shown = browser.call("search", {"query": "depth of Lake Orla"})
    cited = browser.citations("Heading【0†L1】, first【0†L3】, second【0†L4】.")
    assert tuple(cite.page.url for cite in cited) == shown.sources[:2]


def test_nothing_outside_the_folder_is_read(folder, tmp_path_factory):
    secret = tmp_path_factory.mktemp("outside") / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    (folder / "lakes.example" / "link.txt").symlink_to(secret)
    pages = Folder(folder)
    for url in ("https://lakes.example/link.txt", f"file://{secret}", "../outside/secret.txt"):
        with pytest.raises(PageError):
            pages.fetch(url)
    assert not pages.search("secret", 5)


def test_a_folder_without_pages_is_rejected(tmp_path):
    (tmp_path / "page.html").write_text("no host", encoding="utf-8")
    with pytest.raises(SetupError, match="has no pages"):
        Folder(tmp_path)
