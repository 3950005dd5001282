"""Requests for charts and table rows: the requested values occur in the request."""

import json
import re
from pathlib import Path
from random import Random

import pytest
from jsonschema import Draft202012Validator
from separation import HeldOut

from training.data.catalogue import SMOKE_TOOLS
from training.data.chart_asks import chart
from training.data.held_out import user_texts
from training.data.point_texts import point_text
from training.data.spans import plain
from training.data.table_asks import query
from training.data.table_names import scheme

CASES = Path(__file__).parents[2] / "harness/data/cases.jsonl"
TOOLS = {tool.name: tool for tool in SMOKE_TOOLS}
ASKERS = {"draw_chart": chart, "query_table": query}


def drawn(name, count):
    rng = Random(11)
    return [ASKERS[name](rng, TOOLS[name]) for _ in range(count)]


def numbers(text):
    return [float(number) for number in re.findall(r"(?<![\d.])-?\d+(?:\.\d+)?", text)]


def test_points_are_exactly_the_numbers_in_the_text():
    rng = Random(5)
    ways = set()
    for _ in range(2000):
        text, points = point_text(rng)
        ways.add(re.sub(r"-?\d+(\.\d+)?", "0", text))
        ys = [y for _, y in points]
        both = [value for point in points for value in point]
        written = sorted(numbers(text.replace("km/h", "").replace(" - ", " ")))
        assert written in (sorted(both), sorted(ys))
        if written != sorted(both):
            assert [x for x, _ in points] == list(range(1, len(points) + 1))
    assert len(ways) > 900


@pytest.mark.parametrize("name", [*ASKERS])
def test_arguments_follow_the_schema_and_their_texts_occur_in_the_request(name):
    schema = Draft202012Validator(TOOLS[name].parameters)
    seen = set()
    for ask in drawn(name, 1500):
        arguments = json.loads(plain(json.dumps(ask.arguments, ensure_ascii=False)))
        schema.validate(arguments)
        seen |= arguments.keys()
        texts = [value for value in arguments.values() if isinstance(value, str)]
        for text in [*texts, *arguments.get("columns", ())]:
            told_in_words = text == arguments.get("filter") and text not in ask.text
            parts = re.split(r" (?:[<>!]?=|[<>]) ", text) if told_in_words else [text]
            if text != arguments.get("chart_type"):
                assert all(part.strip("'") in ask.text for part in parts), ask
        assert not re.search(r"\{[a-z]\}", ask.text)
    assert seen == TOOLS[name].parameters["properties"].keys()


@pytest.mark.parametrize("name", [*ASKERS])
def test_requests_differ_and_none_is_close_to_a_test_prompt(name):
    cases = [json.loads(line)["input"] for line in CASES.read_text(encoding="utf-8").splitlines()]
    texts = {ask.text for ask in drawn(name, 400)}
    assert len(texts) > 395
    kept = HeldOut([*user_texts(), *cases])
    assert [text for text in texts if kept.is_close(text)] == []


def test_a_table_has_more_columns_than_those_selected():
    rng = Random(3)
    for _ in range(2000):
        names = scheme(rng)
        assert names.others
        assert len(set(names.columns)) == len(names.columns)
