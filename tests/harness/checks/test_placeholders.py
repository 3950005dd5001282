"""Values that are placeholders: zeros as logprobs, the lowest values, JSON that is none."""

from typing import Any

import pytest
from healthy import json_response, rollout
from replies import Reply, chat_whole
from written import asked

from harness.api.fields import read_object
from harness.api.parsed_rollout import parse_rollout
from harness.golden.distance import reported
from harness.rules import catalogue

WORDS = ("The", " river", " Douro", ".")


def entry(word: str, value: float, *others: tuple[str, float]) -> dict[str, Any]:
    def listed(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    alternatives = [listed(word, value), *(listed(*other) for other in others)]
    return {**listed(word, value), "top_logprobs": alternatives}


def found(entries: list[dict[str, Any]], alternatives: int = 3) -> set[str]:
    whole = chat_whole(Reply(text="".join(WORDS)))
    whole["choices"][0]["logprobs"] = {"content": entries}
    wanted = {"logprobs": True, "top_logprobs": alternatives}
    parsed = parse_rollout(asked(rollout([json_response(whole)]), wanted))
    return {each.id for each in catalogue.examine(parsed)[1] if each.id.startswith("logprobs.")}


def test_zeros_without_alternatives_are_placeholders() -> None:
    assert found([entry(word, 0.0) for word in WORDS]) == {"logprobs.values"}


@pytest.mark.parametrize(
    "entries",
    [
        [entry(word, 0.0, ("x", -25.0), ("y", -9999.0)) for word in WORDS],
        [entry(word, 0.0, ("x", -9999.0), ("y", -3.4028235e38)) for word in WORDS],
        [entry(word, -0.1, ("x", -3.0), ("y", -4.0)) for word in WORDS],
    ],
)
def test_a_certain_model_has_zeros_beside_improbable_alternatives(
    entries: list[dict[str, Any]],
) -> None:
    assert found(entries) == set()


@pytest.mark.parametrize(
    ("others", "wrong"),
    [
        ((b" \xe2", b" \xf0"), False),  # two beginnings of characters after a space
        ((b" \xef\xbf\xbd", b" \xef\xbf\xbd"), False),  # as a server gives both without bytes
        ((b" sea", b" sea"), True),
    ],
)
def test_alternatives_differ_in_their_bytes(others: tuple[bytes, ...], wrong: bool) -> None:
    entries = [entry(word, -0.1, ("x", -3.0), ("y", -4.0)) for word in WORDS]
    del entries[1]["top_logprobs"][1:]
    for at, one in enumerate(others):
        shown = {"token": one.decode(errors="replace"), "bytes": list(one), "logprob": -3.0 - at}
        entries[1]["top_logprobs"].append(shown)
    assert found(entries) == ({"logprobs.values"} if wrong else set())


def test_zeros_are_healthy_if_no_alternatives_were_requested() -> None:
    assert found([entry(word, 0.0) for word in WORDS], alternatives=0) == set()


@pytest.mark.parametrize("lowest", [-9999.0, -3.4028234663852886e38])
def test_the_lowest_values_are_no_logprobs(lowest: float) -> None:
    assert reported(entry("a", -0.1, ("b", lowest), ("c", -40.0))).top == {b"a": -0.1, b"c": -40.0}


def test_what_is_not_json_is_shown() -> None:
    text = (
        '{"padding": "' + "x" * 700 + '", "top_logprobs": [{"token": "a", "logprob": -Infinity}]}'
    )
    _, unreadable = read_object(text)
    assert unreadable is not None
    assert "-Infinity" in unreadable
