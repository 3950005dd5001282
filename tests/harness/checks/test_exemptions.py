"""What healthy servers may do otherwise: each exemption beside the defect that is none.

`docs/exemptions.md` names the server that needs each of them.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from judged_replies import ANSWER, CALL, LENGTH, LONG, Judged, told
from replies import Reply, chat_blocks, counts, data, responses_blocks
from written import ABSENT, chat, chat_stream, faulty, responses, responses_stream

from harness.api import sdk_types

PAGE = Path(__file__).parents[3] / "docs" / "exemptions.md"
ASKED = {"logprobs": True, "top_logprobs": 2}
OPEN = Reply(text=LONG.text.removesuffix("."))
CUT = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}


def _of_texts(members: Mapping[str, object]) -> Callable[[list[dict[str, Any]]], None]:
    """Events of a Responses stream whose events of texts have these members."""

    def change(events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["type"].startswith("response.output_text"):
                for name, value in members.items():
                    event.pop(name, None) if value is ABSENT else event.update({name: value})

    return change


def _with_logprobs(
    *top: tuple[str, float], token: str = " It", value: float = -0.2, written: object = None
) -> dict[str, Any]:
    """The logprobs of an answer: those of the first token as given, then plain ones."""
    first = {"token": token, "logprob": value, "bytes": written}
    first["top_logprobs"] = [{"token": t, "logprob": v, "bytes": None} for t, v in top]
    rest = ANSWER.text.removeprefix("It")
    others = [
        {"token": piece, "logprob": -0.1 - n / 100, "bytes": None, "top_logprobs": [
            {"token": piece, "logprob": -0.1 - n / 100, "bytes": None},
            {"token": f"{piece}{n}", "logprob": -3.0, "bytes": None},
        ]}
        for n, piece in enumerate(re.findall(r"\s?\S+", rest))
    ]  # fmt: skip
    return {"choices.0.logprobs": {"content": [first, *others]}}


def _logprobs(*top: tuple[str, float], **first: Any) -> Judged | Any:
    return chat(_with_logprobs(*top, token="It", **first), ANSWER, ASKED)


def _item_order(*kinds: str) -> Callable[[dict[str, Any]], None]:
    """A cut response with its items in this order: the reasoning, and a message of the model."""

    def change(body: dict[str, Any]) -> None:
        by_kind = {item["type"]: item for item in body["output"]}
        body["output"] = [{**by_kind[kind], "id": f"i{n}"} for n, kind in enumerate(kinds)]
        body.update(CUT)

    return change


def _without_done(*, cut: bool) -> Callable[[list[dict[str, Any]]], None]:
    """A stream whose message is never done; of a reply that the limit cut, or of another."""

    def change(events: list[dict[str, Any]]) -> None:
        of_text = ("response.output_text.done", "output_text")
        events[:] = [
            e
            for e in events
            if e["type"] != of_text[0]
            and not (e["type"].endswith("part.done") and e["part"]["type"] == of_text[1])
        ]
        if cut:
            events[-1]["type"] = "response.incomplete"
            events[-1]["response"].update(CUT)

    return change


def _cut_before(items: int) -> Callable[[list[dict[str, Any]]], None]:
    """A stream that ends before its last item is done; its final response has so many items."""

    def change(events: list[dict[str, Any]]) -> None:
        del events[-2]
        events[-1]["type"] = "response.incomplete"
        events[-1]["response"].update(CUT, output=events[-1]["response"]["output"][:items])

    return change


EXEMPT: Mapping[str, tuple[Judged, Judged]] = {
    # Schemas
    "annotations": (
        (
            lambda: responses({"output.1.content.0.annotations": None}, ANSWER),
            "responses.schema.minor",
        ),
        (lambda: responses({"output.1.content.0.annotations": "none"}, ANSWER), "responses.schema"),
    ),
    "logprobs": (
        (
            lambda: responses_stream(_of_texts({"logprobs": ABSENT}), ANSWER),
            "responses.schema.minor",
        ),
        (lambda: responses_stream(_of_texts({"logprobs": "none"}), ANSWER), "responses.schema"),
    ),
    "input_tokens_details": (
        (
            lambda: responses({"usage.input_tokens_details": ABSENT}, ANSWER),
            "responses.schema.minor",
        ),
        (lambda: responses({"usage.input_tokens_details": None}, ANSWER), "responses.schema"),
    ),
    "output_tokens_details": (
        (
            lambda: responses({"usage.output_tokens_details": ABSENT}, ANSWER),
            "responses.schema.minor usage.reasoning",
        ),
        (
            lambda: responses({"usage.output_tokens_details": None}, ANSWER),
            "responses.schema usage.reasoning",
        ),
    ),
    "created": (
        (lambda: faulty(chat({}, ANSWER), "created-time-with-fraction"), "chat.schema.minor"),
        (lambda: chat({"created": "1"}, ANSWER), "chat.schema"),
    ),
    "finish_reason": (
        (lambda: chat_stream({"2.choices.0.finish_reason": ""}, CALL), "chat.schema.minor"),
        (
            lambda: chat_stream({"2.choices.0.finish_reason": "none"}, CALL),
            "chat.schema chat.stream.finish.followed",
        ),
    ),
    "role": (
        (lambda: chat_stream({"2.choices.0.delta.role": ""}, CALL), "chat.schema.minor"),
        (lambda: chat_stream({"2.choices.0.delta.role": "model"}, CALL), "chat.schema"),
    ),
    "service_tier": (
        (lambda: chat({"service_tier": "on_demand"}, ANSWER), ""),
        (lambda: chat({"service_tier": 5}, ANSWER), "chat.schema"),
    ),
    "truncation": (
        (lambda: responses({"truncation": "other"}, ANSWER), "responses.schema.minor"),
        (lambda: responses({"truncation": 5}, ANSWER), "responses.schema"),
    ),
    **{
        name: (
            (
                lambda p=parent, n=name: responses({p: {n: "other"}}, ANSWER),
                "responses.schema.minor",
            ),
            (lambda p=parent, n=name: responses({p: {n: 5}}, ANSWER), "responses.schema"),
        )
        for name, parent in (
            ("effort", "reasoning"),
            ("summary", "reasoning"),
            ("verbosity", "text"),
        )
    },
    "tools": (
        (
            lambda: responses(
                {"tools": [{"type": "function", "name": "f", "parameters": 5, "strict": None}]},
                ANSWER,
            ),
            "responses.schema.minor",
        ),
        (
            lambda: responses({"tools": ABSENT}, ANSWER),
            "responses.schema responses.schema.required",
        ),
    ),
    "members of one release": (
        (lambda: responses({"usage.input_tokens_details": {"cached_tokens": 0}}, ANSWER), ""),
        (
            lambda: responses({"usage.input_tokens_details": {"cache_write_tokens": 0}}, ANSWER),
            "responses.schema",
        ),
    ),
    "unknown members": (
        (lambda: chat({"choices.0.message.token_ids": [1]}, ANSWER), ""),
        (lambda: chat({"choices.0.message.refusal": 5}, ANSWER), "chat.schema reply.unreadable"),
    ),
    # Chat streams
    "chunk without choices": (
        (lambda: faulty(chat_stream({}, ANSWER), "ok:empty-choices"), ""),
        (lambda: chat_stream({"2.choices": ABSENT}, ANSWER), "chat.schema"),
    ),
    "chunk without output after [DONE]": (
        (
            lambda: chat_stream(lambda c: [*chat_blocks(c), data({**c[0], "choices": []})], ANSWER),
            "",
        ),
        (lambda: chat_stream(lambda c: [*chat_blocks(c), data(c[-1])], ANSWER), "chat.stream.done"),
    ),
    "end after an error": (
        (
            lambda: chat_stream(
                lambda c: [*chat_blocks(c[:3])[:-1], data({"error": {"message": "x"}})], ANSWER
            ),
            "stream.error_event",
        ),
        (
            lambda: chat_stream(lambda c: chat_blocks(c[:3])[:-1], ANSWER),
            "chat.stream.done chat.stream.finish reply.unreadable",
        ),
    ),
    "role in every chunk": (
        (lambda: faulty(chat_stream({}, ANSWER), "ok:role-in-every-chunk"), ""),
        (lambda: faulty(chat_stream({}, ANSWER), "role-always-missing"), "chat.stream.role"),
    ),
    "type in every delta": (
        (lambda: faulty(chat_stream({}, CALL), "ok:type-in-every-delta"), ""),
        (
            lambda: chat_stream(
                lambda c: c[5]["choices"][0]["delta"]["tool_calls"][0].update(type=None), CALL
            ),
            "chat.stream.tool_calls.type",
        ),
    ),
    "empty id": (
        (lambda: chat_stream({"-1.id": ""}, ANSWER), ""),
        (lambda: chat_stream({"-1.id": "another"}, ANSWER), "chat.stream.id"),
    ),
    "empty name of a call": (
        (
            lambda: chat_stream({"4.choices.0.delta.tool_calls.0.function.name": ""}, CALL),
            "calls.name.polluted",
        ),
        (
            lambda: chat_stream({"4.choices.0.delta.tool_calls.0.function.name": ABSENT}, CALL),
            "chat.stream.tool_calls reply.unreadable",
        ),
    ),
    "finish with the last text": (
        (lambda: faulty(chat_stream({}, ANSWER), "ok:finish-with-last-text"), ""),
        (lambda: faulty(chat_stream({}, ANSWER), "finish-missing"), "chat.stream.finish"),
    ),
    # Responses streams
    "[DONE] after Responses": (
        (lambda: responses_stream(lambda e: [*responses_blocks(e), "data: [DONE]"], CALL), ""),
        (
            lambda: responses_stream(lambda e: e.append({**e[1], "sequence_number": 999}), CALL),
            "responses.stream.terminal",
        ),
    ),
    "open items of a cut reply": (
        (
            lambda: responses_stream(_without_done(cut=True), LONG, {"max_output_tokens": LENGTH}),
            "",
        ),
        (
            lambda: responses_stream(_without_done(cut=False), LONG),
            "responses.stream.done_missing responses.stream.parts",
        ),
    ),
    "last item of a cut reply": (
        (
            lambda: responses_stream(_cut_before(2), LONG, {"max_output_tokens": LENGTH}),
            "",
        ),
        (
            lambda: responses_stream(_cut_before(0), LONG, {"max_output_tokens": LENGTH}),
            "responses.stream.final",
        ),
    ),
    "events of other APIs for the CoT": (
        (lambda: faulty(responses_stream({}, ANSWER), "ok:reasoning-part-events"), ""),
        (
            lambda: faulty(responses_stream({}, ANSWER), "part-events-missing"),
            "responses.stream.parts responses.stream.reasoning_parts",
        ),
    ),
    "arguments when they are done": (
        (
            lambda: faulty(responses_stream({}, CALL), "ok:arguments-when-done"),
            "responses.stream.call.deltas",
        ),
        (
            lambda: faulty(responses_stream({}, ANSWER), "text-deltas-missing"),
            "responses.stream.done_text responses.stream.item_text",
        ),
    ),
    # Orders, ends and limits
    "CoT at the end of a cut reply": (
        (
            lambda: responses(
                _item_order("reasoning", "message", "reasoning"),
                LONG,
                {"max_output_tokens": LENGTH},
            ),
            "",
        ),
        (
            lambda: responses(
                _item_order("message", "reasoning"), LONG, {"max_output_tokens": LENGTH}
            ),
            "responses.item.order",
        ),
    ),
    "stop of a forced call": (
        (lambda: chat({"choices.0.finish_reason": "stop"}, CALL, {"tool_choice": "required"}), ""),
        (lambda: chat({"choices.0.finish_reason": "stop"}, CALL), "chat.finish.tool_calls"),
    ),
    "sentence that ends at the limit": (
        (lambda: chat({}, LONG, {"max_tokens": LENGTH}), ""),
        (lambda: chat({}, OPEN, {"max_tokens": counts(OPEN)[1]}), "finish.limit"),
    ),
    "rest of the context as the limit": (
        (
            lambda: responses(
                lambda body: body.update(max_output_tokens=4096 - body["usage"]["input_tokens"]),
                LONG,
            ),
            "",
        ),
        (lambda: responses({"max_output_tokens": 512}, LONG), "responses.defaults"),
    ),
    "end of the model within the CoT": (
        (
            lambda: chat(
                {"choices.0.message.content": "", "choices.0.stop_reason": None},
                Reply(text="x", reasoning="The user asks what it "),
                {"stop": ["is"]},
            ),
            "",
        ),
        (
            lambda: chat(
                {"choices.0.message.content": "", "choices.0.stop_reason": "is"},
                Reply(text="x", reasoning="The user asks what it "),
                {"stop": ["is"]},
            ),
            "stop.early",
        ),
    ),
    # Logprobs
    "sampled token first": (
        (lambda: _logprobs(("It", -2.0), ("Yes", -0.2), value=-2.0), ""),
        (lambda: _logprobs(("Yes", -2.0), ("It", -0.2)), "logprobs.values"),
    ),
    "one alternative more": (
        (lambda: _logprobs(("It", -0.2), ("Yes", -2.0), ("No", -3.0)), ""),
        (
            lambda: _logprobs(("It", -0.2), ("Yes", -2.0), ("No", -3.0), ("So", -4.0)),
            "logprobs.values",
        ),
    ),
    "lowest logprob": (
        (lambda: _logprobs(("It", -0.2), ("Yes", -9999.0)), ""),
        (lambda: _logprobs(("It", -0.2), ("Yes", 5.0)), "logprobs.values"),
    ),
    "no bytes": (
        (lambda: _logprobs(("It", -0.2), ("Yes", -2.0), written=None), ""),
        (
            lambda: _logprobs(("It", -0.2), ("Yes", -2.0), written=[65]),
            "logprobs.tokens logprobs.values",
        ),
    ),
}


@pytest.mark.parametrize("name", EXEMPT)
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_exempt_and_what_is_not(name, side):
    make, expected = EXEMPT[name][side]
    assert told(make(), expected) == set(expected.split())


def test_the_page_has_every_exemption():
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+ \| [^|]+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    names = [name.strip("`") for name in rows[2:] if name != "---"]
    assert sorted(names) == sorted(EXEMPT)


def test_every_member_with_an_exemption_has_a_case():
    assert EXEMPT.keys() >= sdk_types.EXEMPT_MEMBERS
