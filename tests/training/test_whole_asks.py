"""Whole handwritten requests: valid, unique, and with values exchanged correctly."""

import json
from random import Random

import pytest
from jsonschema import Draft202012Validator

from training.data.catalogue import SMOKE_TOOLS
from training.data.requests import WholeRequest, whole_requests, written_values
from training.data.spans import plain
from training.data.task import Ask
from training.data.whole_asks import exchanged, with_whole_requests

TOOLS = {tool.name: tool for tool in SMOKE_TOOLS}
NOT_SAID = {"unit", "chart_type"}


def texts(arguments):
    """The texts among arguments that must occur in the request."""
    for name, value in arguments.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and name not in NOT_SAID:
                yield one


def assert_sound(name, text, arguments):
    Draft202012Validator(TOOLS[name].parameters).validate(arguments)
    assert all(len(point) == 2 for point in arguments.get("data", ()))
    assert all(value and value in text for value in texts(arguments)), text


@pytest.mark.parametrize("name", [*TOOLS])
def test_every_request_is_valid_and_unique(name):
    requests = whole_requests(name)
    assert len(requests) > 500
    assert len({request.text for request in requests}) == len(requests)
    for request in requests:
        assert_sound(name, request.text, request.arguments)


@pytest.mark.parametrize("name", [*TOOLS])
def test_exchanged_values_occur_in_the_text_and_the_arguments(name):
    rng = Random(3)
    changed = 0
    for _ in range(800):
        request = rng.choice(whole_requests(name))
        other = exchanged(rng, name, request)
        assert other.arguments.keys() == request.arguments.keys()
        assert_sound(name, other.text, other.arguments)
        changed += other != request
    assert changed > 400 or name == "service_status"


@pytest.mark.parametrize(
    ("name", "text", "arguments"),
    [
        ("get_weather", "Bath or no bath in Bath?", {"location": "Bath"}),
        ("identify_language", "so tak to jest he said", {"text": "tak to jest"}),
        ("markdown_to_html", "make **it** HTML", {"markdown": "**it**"}),
        ("draw_chart", "bars: one 5, two 6", {"chart_type": "bar", "data": [[1, 5], [2, 6]]}),
        ("query_table", "tracks.bpm", {"table": "tracks", "columns": ["bpm"]}),
    ],
)
def test_an_ambiguous_value_is_not_exchanged(name, text, arguments):
    request = WholeRequest(text, arguments)
    assert all(exchanged(Random(seed), name, request) == request for seed in range(50))


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("get_weather", "location", "Rain in Bath?"),
        ("identify_language", "text", "Language?\nBath"),
        ("markdown_to_html", "markdown", "As HTML:\n\nBath"),
        ("draw_chart", "title", 'Bars called "Bath" of 1 2 and 3 4'),
    ],
)
def test_a_value_is_sometimes_replaced_by_one_of_another_request(name, given, text):
    points = {"chart_type": "bar", "data": [[1, 2], [3, 4]]} if name == "draw_chart" else {}
    request = WholeRequest(text, {**points, given: "Bath"})
    rng = Random(4)
    others = [exchanged(rng, name, request).arguments[given] for _ in range(100)]
    known = [other for other in others if other in written_values(name, given) and other != "Bath"]
    assert 15 < len(known) < 75
    assert len({*known}) > 10


def test_numbers_change_consistently_in_text_and_points():
    request = WholeRequest(
        "Slide 6: line through 2019 40.5, 2020 6", {"chart_type": "line", "data": [[2019, 40.5]]}
    )
    other = exchanged(Random(1), "draw_chart", request)
    ((year, share),) = other.arguments["data"]
    assert 1950 <= year <= 2030
    assert f"{year} {json.dumps(share)}, 2020 6" in other.text
    assert other.text.startswith("Slide 6")


def test_an_asker_takes_whole_requests_and_composes_others():
    asker = with_whole_requests(lambda _rng, _tool: Ask("composed"))
    rng = Random(2)
    asks = [asker(rng, TOOLS["get_weather"]) for _ in range(200)]
    composed = [ask for ask in asks if ask.text == "composed"]
    assert 25 < len(composed) < 80
    whole = [ask for ask in asks if ask.text != "composed"]
    assert all(plain(ask.arguments["location"]) in ask.text for ask in whole)
    assert all(ask.arguments["location"] != plain(ask.arguments["location"]) for ask in whole)
