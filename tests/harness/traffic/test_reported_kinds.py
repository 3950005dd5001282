"""Kinds of defects that users reported, as recordings of two exchanges: what `import` says."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from replies import MODEL, Reply, chat_whole

from harness.api.parsed_rollout import parse_rollout
from harness.records.scores import Finding
from harness.rules.account import account_of
from harness.rules.measured import measured_score
from harness.traffic.conversations import read_traffic
from harness.verdict.tolerances import apply_tolerances

Pair = dict[str, Any]


def chat(body: dict[str, Any], reply: object) -> Pair:
    """A Chat request with its reply: a JSON body, or the text of a stream."""
    sent = {"model": MODEL, "messages": [{"role": "user", "content": "Save it."}], **body}
    kind = "text/event-stream" if isinstance(reply, str) else "application/json"
    answer = {"status": 200, "headers": {"content-type": kind}, "body": reply}
    return {
        "request": {"url": "https://api.test/v1/chat/completions", "body": sent},
        "response": answer,
    }


def accused(folder: Path, pairs: Iterable[Pair]) -> list[Finding]:
    """The errors and warnings of a recording with these exchanges."""
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    scores = [
        measured_score(parse_rollout(rollout), {"outcome": "answered"})
        for rollout in read_traffic([path]).rollouts
    ]
    judged = apply_tolerances(scores, account=account_of(scores))
    return [each for score in judged for each in score.findings if each.severity != "info"]


_NOTE = {
    "type": "function",
    "function": {
        "name": "save_note",
        "parameters": {"type": "object", "properties": {"note": {"type": "string"}}},
    },
}


def _called(*arguments: str) -> list[Pair]:
    return [
        chat(
            {"tools": [_NOTE], "temperature": at},
            chat_whole(Reply(call=("save_note", said), mark=f"{at}", call_id=f"call_{at}")),
        )
        for at, said in enumerate(arguments)
    ]


@dataclass(frozen=True)
class Kind:
    """The exchanges, the rule that reports them, its severity, and what its message has."""

    pairs: Callable[[], list[Pair]]
    rule: str
    severity: str
    says: str


KINDS = {
    "raw line breaks in arguments": Kind(
        lambda: _called('{"note": "salt\npepper"}', '{"note": "salt\npepper"}'),
        "calls.arguments.line_breaks",
        "error",
        "A string in the arguments has a raw line break, as in 2 of 2 calls with line breaks.",
    ),
    "escaped quotes that arrive as quotes": Kind(
        lambda: _called(*(f'{{"note": "Tide {at} is "high" now"}}' for at in range(8))),
        "calls.arguments.quotes",
        "warning",
        "A string in the arguments has a quote that is not escaped",
    ),
    "escapes of Python": Kind(
        lambda: _called(*(rf'{{"note": "caf\xe9 {at}"}}' for at in range(8))),
        "calls.arguments.escapes",
        "warning",
        "A string in the arguments has an escape that JSON does not know",
    ),
}
HEALTHY = {
    "JSON on several lines": lambda: _called(
        '{\n\t"note": "salt\\npepper"\n}', '{\r\n"note": "a\\nb"}'
    ),
    "a raw tab": lambda: _called('{"note": "salt\tpepper"}', '{"note": "salt\tpepper"}'),
    "one raw line break among escaped ones": lambda: _called(
        '{"note": "salt\npepper"}', '{"note": "salt\\npepper"}', '{"note": "oil\\nsalt"}'
    ),
    "one equal reply to a greedy request": lambda: _called(*['{"note": "salt\npepper"}'] * 1),
    "a forgotten comma": lambda: _called(
        *(f'{{"note": "{at}" "unit": "celsius"}}' for at in range(8))
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_reported_kind_is_named(tmp_path, name):
    kind = KINDS[name]
    found = [each for each in accused(tmp_path, kind.pairs()) if each.id == kind.rule]
    assert {each.severity for each in found} == {kind.severity}
    assert any(kind.says in each.message for each in found), found


@pytest.mark.parametrize("name", HEALTHY)
def test_its_healthy_neighbour_is_not_accused(tmp_path, name):
    found = {each.id for each in accused(tmp_path, HEALTHY[name]())}
    assert not found & {kind.rule for kind in KINDS.values()}
