"""Recorded text cannot change the page or execute as code."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hostile_texts import HOSTILE, hostile
from reporting import TOOLS, analysis, failed_rule, finding, render, tool_calling

from reports.build import build_report
from reports.ci import render_junit
from reports.html.charts.svg import tag
from reports.html.page import embedded
from reports.markdown import render_markdown

ALLOWED_SCRIPTS = [{"type": "application/json", "id": "data"}, {}]


class Reader(HTMLParser):
    """The elements and texts that a browser finds in a page."""

    def __init__(self):
        super().__init__()
        self.elements = []
        self.script = []
        self._in = None

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name in ("script", "style"):
            self._in = (name, dict(attributes), "")

    def handle_data(self, data):
        if self._in:
            self._in = (*self._in[:2], self._in[2] + data)

    def handle_endtag(self, name):
        if self._in and self._in[0] == name:
            self.script.append(self._in)
            self._in = None


def page_of(text, change=lambda found: found, texts=None):
    """The page and the JUnit file of a run that contains a text wherever possible."""
    scores, rollouts = hostile(text)
    encodable = text.encode("utf-8", "replace").decode()
    example = finding(scores[0].record, path=encodable, expected=encodable, got=encodable)
    check = failed_rule("usage.sum", "failed", example.model_copy(update={"message": encodable}))
    found = change(
        analysis([tool_calling(scores, len(scores))], [check], "fail", [encodable[:500]])
    )
    report = build_report(found, "runs/mock", regressions=[encodable[:500]], texts=texts)
    render_markdown(report).encode()
    return render(report, scores, rollouts), render_junit(report, scores)


def read(page):
    page.encode()
    reader = Reader()
    reader.feed(page)
    return reader


@pytest.mark.parametrize("name", HOSTILE)
def test_recorded_text_cannot_change_the_page(name):
    harmless = read(page_of("harmless")[0])
    page, junit = page_of(HOSTILE[name], texts={(TOOLS, "weather"): HOSTILE[name]})
    found = read(page)
    kinds = {element for element, _ in found.elements}
    assert kinds == {element for element, _ in harmless.elements}
    assert [attributes for kind, attributes, _ in found.script if kind == "script"] == (
        ALLOWED_SCRIPTS
    )
    for _, attributes in found.elements:
        assert not any(attribute.startswith("on") for attribute in attributes)
        assert "style" not in attributes
        assert "src" not in attributes
        assert re.match(r"#|https://", attributes.get("href", "#"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page)
    ET.fromstring(junit)


def test_recorded_text_is_readable():
    text = HOSTILE["closing"] + HOSTILE["direction"]
    page, _ = page_of(text)
    data = next(text for kind, attributes, text in read(page).script if "id" in attributes)
    items = [
        item["text"]
        for transcript in json.loads(data)["transcripts"].values()
        for exchange in transcript["exchanges"]
        for item in exchange["items"]
    ]
    shown = text.replace("\u202e", r"\u202e").replace("\u202c", r"\u202c")
    shown = shown.replace("\u2066", r"\u2066").replace("\u2069", r"\u2069")
    assert shown.replace("\u200f", r"\u200f") in items


def test_long_texts_are_trimmed_and_marked():
    page, _ = page_of(HOSTILE["long"], texts={(TOOLS, "weather"): HOSTILE["long"]})
    assert len(page) < 400_000
    assert "characters omitted" in page


def test_a_hostile_provider_name_is_only_text():
    def renamed(found):
        provider = found.run.provider.model_copy(
            update={
                "name": HOSTILE["closing"],
                "model": HOSTILE["handler"],
                "base_url": HOSTILE["link"],
            }
        )
        return found.model_copy(update={"run": found.run.model_copy(update={"provider": provider})})

    found = read(page_of("harmless", renamed)[0])
    assert sum(element == "script" for element, _ in found.elements) == 2
    assert not any(element in ("img", "iframe") for element, _ in found.elements)


def test_the_policy_names_exactly_the_script_and_the_stylesheet_of_the_page():
    found = read(page_of("harmless")[0])
    policy = next(a["content"] for e, a in found.elements if a.get("http-equiv"))
    style = next(text for kind, _, text in found.script if kind == "style")
    script = next(
        text for kind, attributes, text in found.script if kind == "script" and not attributes
    )

    def hashed(text):
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src {hashed(style)}",
        f"script-src {hashed(script)}",
        "base-uri 'none'",
        "form-action 'none'",
    ]


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - {"surrogate"}))
def test_embedded_json_is_escaped_without_changing_its_value(name):
    text = str(embedded([HOSTILE[name]]))
    assert json.loads(text) == [HOSTILE[name]]
    assert not re.search("[<>&]", text)


def test_text_in_charts_is_text():
    drawn = str(tag("text", HOSTILE["svg"], aria_label=HOSTILE["handler"]))
    assert drawn.count("<") == 2
    assert "onerror=&#34;" in drawn
