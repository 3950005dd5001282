import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from analyses import analysis_of, run_info
from healthy import SUITE, Say, json_response, rollout
from nasty import NASTY

from harness.records.analysis import Analysis
from reports.html.charts.svg import tag
from reports.html.page import embedded
from reports.html.smoke import render_html
from reports.junit import render_junit

CASE = SUITE.cases[0]
ALLOWED_SCRIPTS = [{"type": "application/json", "id": "data"}, {}]


class Reader(HTMLParser):
    """What a browser would find in a page."""

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


def page_of(rollouts, change=lambda analysis: analysis, hints=None):
    judged = []
    info = run_info(apis=("chat",), streaming=(False,), tries=len(rollouts))
    analysis = change(analysis_of(rollouts, info, suite=SUITE.first(1), keep=judged.extend))
    assert isinstance(analysis, Analysis)
    page = render_html(analysis, judged, rollouts, hints or {})
    return page, render_junit(analysis, judged)


def read(page):
    page.encode()
    reader = Reader()
    reader.feed(page)
    return reader


def says(text):
    """Rollouts in which a text is everywhere a model can put it, and everywhere a server can."""
    escaped = json.dumps({"said": text})
    text = text.encode("utf-8", "replace").decode()
    called = Say(call=(text, text), reasoning=text)
    body = {"error": {"message": text}}
    return [
        rollout([called, Say(text=text)], sample=CASE.id, attempt=1),
        rollout([Say(text=text, reasoning=text)], sample=CASE.id, attempt=2),
        rollout([json_response(body, 500)], sample=CASE.id, attempt=3, end="failed"),
        rollout([json_response(text)], sample=CASE.id, attempt=4, end="unreadable"),
        rollout([json_response(escaped)], sample=CASE.id, attempt=5, end="unreadable"),
    ]


@pytest.mark.parametrize("name", NASTY)
def test_nothing_that_was_said_becomes_part_of_the_page(name):
    harmless = read(page_of(says("harmless"))[0])
    page, junit = page_of(says(NASTY[name]), hints={CASE.id: NASTY[name]})
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


def test_what_was_said_is_still_readable():
    text = NASTY["closing"] + NASTY["direction"]
    page, _ = page_of(says(text))
    data = next(text for kind, attributes, text in read(page).script if "id" in attributes)
    turns = [
        turn["text"]
        for transcript in json.loads(data)["transcripts"].values()
        for exchange in transcript["exchanges"]
        for turn in exchange["turns"]
    ]
    shown = text.replace("\u202e", r"\u202e").replace("\u202c", r"\u202c")
    shown = shown.replace("\u2066", r"\u2066").replace("\u2069", r"\u2069")
    assert shown.replace("\u200f", r"\u200f") in turns


def test_long_texts_are_cut_and_it_is_said():
    page, _ = page_of(says(NASTY["long"]))
    assert len(page) < 400_000
    assert "characters are left out here" in page


def test_a_provider_with_a_nasty_name_is_only_text():
    def renamed(analysis):
        provider = analysis.run.provider.model_copy(
            update={"name": NASTY["closing"], "model": NASTY["handler"], "base_url": NASTY["link"]}
        )
        return analysis.model_copy(
            update={"run": analysis.run.model_copy(update={"provider": provider})}
        )

    found = read(page_of(says("harmless"), renamed)[0])
    assert sum(element == "script" for element, _ in found.elements) == 2
    assert not any(element in ("img", "iframe") for element, _ in found.elements)


def test_the_policy_names_exactly_the_script_and_the_stylesheet_of_the_page():
    found = read(page_of(says("harmless"))[0])
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


@pytest.mark.parametrize("name", sorted(set(NASTY) - {"surrogate"}))
def test_embedded_json_means_the_same(name):
    text = str(embedded([NASTY[name]]))
    assert json.loads(text) == [NASTY[name]]
    assert not re.search("[<>&]", text)


def test_text_in_charts_is_text():
    drawn = str(tag("text", NASTY["svg"], aria_label=NASTY["handler"]))
    assert drawn.count("<") == 2
    assert "onerror=&#34;" in drawn
