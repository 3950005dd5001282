"""Kinds of defects that users reported, as recordings of two exchanges: what `import` says."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from replies import (
    MODEL,
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    data,
    responses_blocks,
    responses_events,
)

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
    return {
        "request": {"url": "https://api.test/v1/chat/completions", "body": sent},
        "response": {"status": 200, "headers": {"content-type": kind}, "body": reply},
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


_LOST = {"message": "Worker 3 was lost.", "type": "server_error", "param": None, "code": None}
_FAILED = {"object": "response", "status": "failed", "model": MODEL, "output": []}
_SAID = Reply(text="It is sunny in Lisbon, and warm; take a hat with you, and some water.")


def _broken(last: Pair | str | None, mark: str = "1") -> Pair:
    """A stream that ends with this event in the middle of its CoT, or that ends as it should.

    The event is the choice of a chunk, an event of Responses, or a block of another form.
    """
    said = replace(_SAID, mark=mark)
    if isinstance(last, dict) and "type" in last:
        begun = responses_blocks(responses_events(said))[:6]
        blocks = [*begun, f"event: {last['type']}\n{data(last)}"]
        pair = chat({"stream": True, "input": "Hi."}, "".join(f"{each}\n\n" for each in blocks))
        pair["request"]["url"] = "https://api.test/v1/responses"
        del pair["request"]["body"]["messages"]
        return pair
    chunks = chat_chunks(said)
    made = data({**chunks[0], "choices": [last]}) if isinstance(last, dict) else last
    blocks = chat_blocks(chunks) if made is None else [*map(data, chunks[:5]), made, "data: [DONE]"]
    body = {"stream": True, "stream_options": {"include_usage": True}}
    return chat(body, "".join(f"{each}\n\n" for each in blocks))


def _failed(**response: Any) -> Pair:
    made = {**_FAILED, "id": "resp_1", **response}
    return {"type": "response.failed", "sequence_number": 6, "response": made}


_SCHEMA = {
    "type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"],
}  # fmt: skip


def _formatted(
    before: str = "",
    after: str = "",
    *,
    value: str = '{"word": "orchid"}',
    stream: bool = False,
    tries: int = 2,
) -> list[Pair]:
    """Requests with a schema, whose answers have a text around the JSON."""
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "schema": _SCHEMA}}
    made = []
    for at in range(tries):
        mark = f"{'s' if stream else 'w'}{at}{before}{after}"
        said = Reply(text=f"{before}{value}{after}", mark=mark)
        asked = {"response_format": wanted, "messages": [{"role": "user", "content": mark}]}
        if stream:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        blocks = "".join(f"{each}\n\n" for each in chat_blocks(chat_chunks(said)))
        made.append(chat(asked, blocks if stream else chat_whole(said)))
    return made


@dataclass(frozen=True)
class Kind:
    """The exchanges, the rule that reports them, its severity, and what its message has."""

    pairs: Callable[[], list[Pair]]
    rule: str
    severity: str
    says: str


_CHOICE = {"index": 0, "delta": {}, "finish_reason": "error"}
_OTHER = _failed(id="resp_other", error=_LOST) | {"sequence_number": 0}
_FAILURES: dict[str, tuple[Pair | str, str, str]] = {
    "an error event": (
        data({"error": _LOST}), "stream.error_event", "with an error event: Worker … was lost.",
    ),
    "an error by its name": (
        f"event: error\n{data({'detail': 'lost'})}", "stream.error_event",
        "with an error event: lost",
    ),
    "an error in a choice": (
        {**_CHOICE, "error": _LOST}, "stream.error_event", "with an error in a choice: Worker …",
    ),
    "a finish reason": (_CHOICE, "stream.error_event", "with an error in a choice."),
    "a failed response": (
        _failed(error=_LOST), "stream.error_event", "with response.failed: Worker",
    ),
    "a reason elsewhere": (
        _failed(error=None, status_details={"error": _LOST}),
        "stream.error_event",
        "with response.failed: Worker",
    ),
    "another response": (_OTHER, "responses.stream.id", "response.failed has a different"),
    "a number of another stream": (
        _OTHER, "responses.stream.sequence", "does not increase in response.failed.",
    ),
}  # fmt: skip
_STREAMS = {
    f"a stream that ends with {name}": Kind(
        lambda last=last: [_broken(last), _broken(last, "2")], rule, "error", says
    )
    for name, (last, rule, says) in _FAILURES.items()
}
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
    **_STREAMS,
    "the name of the schema before a streamed answer": Kind(
        lambda: _formatted("reply", stream=True),
        "answer.surrounded",
        "error",
        "Around the JSON of the answer is the name of its schema: reply.",
    ),
    "a channel after a whole answer": Kind(
        lambda: _formatted(after=" final", tries=3),
        "answer.surrounded",
        "error",
        "Around the JSON of the answer is a word of a harmony header: final.",
    ),
    "a sentence before each streamed answer": Kind(
        lambda: [*_formatted("Here it is:", stream=True, tries=4), *_formatted(tries=4)],
        "answer.json",
        "warning",
        "Text stands before the JSON of the answer.",
    ),
}
HEALTHY = {
    "JSON with a schema, streamed and whole": lambda: [*_formatted(stream=True), *_formatted()],
    "the name of the schema in the JSON": lambda: _formatted(value='{"word": "reply"}'),
    "one preface among many answers": lambda: [
        *_formatted("Here it is:", tries=1),
        *_formatted(tries=9),
    ],
    "a healthy stream": lambda: [_broken(None), _broken(None, "2")],
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


@pytest.mark.parametrize("name", sorted(_FAILURES.keys() - {"a finish reason"}))
def test_the_reason_of_a_failing_stream_is_shown(tmp_path, name):
    last = _FAILURES[name][0]
    found = accused(tmp_path, [_broken(last), _broken(last, "2")])
    reasons = {each.evidence.got for each in found if each.id == "stream.error_event"}
    assert reasons == {"lost" if name == "an error by its name" else "Worker 3 was lost."}
    assert {each.evidence.received for each in found} <= {"interrupted", "no reply"}
