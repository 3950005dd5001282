"""Faults in parsing the model's harmony output, including answers that must follow a schema."""

import html
import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from harmony.conversation import Answer, Conversation, Result
from harmony.parse import (
    FIRST_SPECIAL,
    STOP_TOKENS,
    Delta,
    Ended,
    Event,
    HarmonyParser,
    Kind,
    Started,
)
from harmony.vocabulary import harmony_encoding
from reference_engine.faults import hooks
from reference_engine.faults.http import BODY, ClientRequest, Json
from reference_engine.server.api_error import ApiError

_LOST_TOKEN = 4
_LONGEST_CALL = 160  # characters of arguments
_MANY_RESULTS = 5
_LONG_ANSWER = 100  # characters
_HEADER_ERROR = "unexpected tokens remaining in message header: ['<|constrain|>json']"
_FORMATS = frozenset({"response_format", "text"})
"""The members of a request with the format of the answer."""
_EMPTY_OBJECT = {"type": "object", "properties": {}, "additionalProperties": False}

STRUCTURED = hooks.PARSED.when(lambda _, request: request.conversation.answer_format is not None)
"""Each event of the parser, in responses that must follow a schema."""


class _Unparsed(HarmonyParser):
    """Returns all tokens up to a stop token as the text of one answer."""

    def __init__(self, *, show_special: bool) -> None:
        super().__init__()
        self._show_special = show_special

    def feed(self, token: int) -> list[Event]:
        if self.done:
            return []
        events: list[Event] = []
        if self.open is None:
            self.open = Started("answer")
            events.append(self.open)
        self.done = token in STOP_TOKENS
        if text := self._shown(token):
            events.append(Delta("answer", text))
        return [*events, Ended("answer")] if self.done else events

    def _shown(self, token: int) -> str:
        if token < FIRST_SPECIAL:
            return self._text.decode(self._bytes[token])
        return harmony_encoding().decode([token]) if self._show_special else ""


class _TokenwiseParser(HarmonyParser):
    """Decodes each token separately, which breaks characters that span several tokens."""

    def feed(self, token: int) -> list[Event]:
        if self.open and token < FIRST_SPECIAL:
            return [Delta(self.open.kind, self._bytes[token].decode("utf-8", "replace"))]
        return super().feed(token)


class _SharedParser(HarmonyParser):
    """Uses one parser for the whole process. Each new request replaces it."""

    _current: ClassVar[list[HarmonyParser]] = []

    def __init__(self, inner: HarmonyParser) -> None:
        super().__init__()
        self._current[:] = [inner]

    def feed(self, token: int) -> list[Event]:
        (parser,) = self._current
        events = parser.feed(token)
        self.open, self.done = parser.open, parser.done
        return events


def recast(old: Kind, new: Kind) -> hooks.EventChange:
    """Return a change by which messages of kind `old` become messages of kind `new`."""
    return lambda event: [replace(event, kind=new) if event.kind == old else event]


def dropped(kind: Kind) -> hooks.EventChange:
    """Return a change that drops messages of this kind."""
    return lambda event: [] if event.kind == kind else [event]


def _repeated(kind: Kind) -> hooks.EventChange:
    """Return a change by which each message of this kind comes twice."""
    message: list[Event] = []

    def change(event: Event) -> Iterable[Event]:
        yield event
        if event.kind == kind:
            message.append(event)
            if isinstance(event, Ended):
                yield from message
                message.clear()

    return change


def _failure(status: int, message: str) -> hooks.EventChange:
    """Return a change that fails at the first header after the chain of thought."""

    def change(event: Event) -> Iterable[Event]:
        if isinstance(event, Started) and event.kind != "reasoning":
            raise ApiError(status, message)
        return [event]

    return change


def _drop_format(body: Json, _: ClientRequest) -> None:
    for name in _FORMATS:
        body.pop(name, None)


def _without(body: object, keyword: str, beside: str) -> None:
    """Remove a keyword from each subschema that also has another one."""
    if isinstance(body, dict):
        if beside in body:
            body.pop(keyword, None)
        body = list(body.values())
    for inner in body if isinstance(body, list) else ():
        _without(inner, keyword, beside)


def _ignored(keyword: str, beside: str) -> hooks.JsonEdit:
    """Return a change by which the format of the answer lacks a keyword."""

    def change(body: Json, _: ClientRequest) -> None:
        for name in _FORMATS:
            _without(body.get(name), keyword, beside)

    return change


@hooks.whole_text("call")("long-calls-fail")
def long_calls_fail(arguments: str) -> str:
    if len(arguments) > _LONGEST_CALL:
        raise ApiError(500, "Failed to parse tool call arguments as JSON.")
    return arguments


hooks.PARSER.faults(
    {
        "raw-markers-in-content": lambda _, __: _Unparsed(show_special=True),
        "stripped-markers-in-content": lambda _, __: _Unparsed(show_special=False),
        "characters-broken": lambda _, __: _TokenwiseParser(),
        "parser-shared": lambda parser, _: _SharedParser(parser),
    },
)
hooks.PARSER.when(lambda *_: BODY.get().get("stream") is True).faults(
    {"characters-broken-in-streams": lambda *_: _TokenwiseParser()}
)
hooks.whole_text("reasoning").faults({"title-before-cot": lambda text: f"Thoughts:\n\n{text}"})
hooks.whole_text("answer").faults({"space-before-answers": lambda text: f" {text}"})
hooks.PARSED.faults(
    {
        "cot-in-content": recast("reasoning", "answer"),
        "answer-missing": dropped("answer"),
        "answer-in-reasoning": recast("answer", "reasoning"),
        "call-in-content": recast("call", "answer"),
        "call-in-reasoning": recast("call", "reasoning"),
        "call-omitted": dropped("call"),
        "preamble-lost": dropped("preamble"),  # only prescribed replies have one
        "header-crash": _failure(500, _HEADER_ERROR),
        "header-crash-blames-client": _failure(400, _HEADER_ERROR),
        "text-escaped-for-html": lambda event: [
            replace(event, text=html.escape(event.text)) if isinstance(event, Delta) else event
        ],
    },
)
AFTER_RESULT = hooks.PARSED.when(
    lambda _, request: any(isinstance(item, Result) for item in request.conversation.items[-1:])
)
"""Each event of the parser, in replies to a tool result."""

hooks.PARSED.when(
    lambda *_: "input" in BODY.get() and not (BODY.get().get("reasoning") or {}).get("summary")
).faults({"cot-only-with-summary": dropped("reasoning")})
AFTER_RESULT.faults({"reasoning-missing-after-result": dropped("reasoning")})
AFTER_RESULT.when(lambda *_: BODY.get().get("stream") is True).faults(
    {"cot-in-content-after-result": recast("reasoning", "answer")}
)
hooks.PARSED.when(
    lambda _, request: (
        sum(isinstance(item, Result) for item in request.conversation.items) >= _MANY_RESULTS
    )
).faults({"calls-lost-after-five-results": dropped("call")})
hooks.NEW_EDITOR.faults(
    {"answer-repeated": lambda: _repeated("answer"), "call-doubled": lambda: _repeated("call")},
)
hooks.whole_text("answer").faults(
    {"markdown-of-answers-removed": lambda text: re.sub(r"\n{2,}", "\n", re.sub(r"[*`]", "", text))}
)
hooks.CONVERSATION.faults({"format-ignored": lambda c: replace(c, answer_format=None)})
hooks.REQUEST.when(hooks.of_streams).faults({"format-ignored-in-streams": _drop_format})
hooks.REQUEST.when(lambda body, _: "(?=" in str([body.get(name) for name in _FORMATS])).faults(
    {"uncompiled-schemas-ignored": _drop_format}
)
hooks.REQUEST.faults(
    {
        "any-of-beside-properties-ignored": _ignored("anyOf", beside="properties"),
        "unique-items-ignored": _ignored("uniqueItems", beside="items"),
    },
)
STRUCTURED.when(lambda _, request: "$ref" in str(request.conversation.answer_format)).faults(
    {"answers-with-references-empty": dropped("answer")}
)
hooks.REQUEST.when(lambda body, _: body.get("tools")).faults(
    {"format-ignored-beside-tools": _drop_format}
)
hooks.REQUEST.when(lambda body, _: body.keys() & _FORMATS).faults(
    {"tools-ignored-beside-format": lambda body, _: body.pop("tools", None)}
)
STRUCTURED.faults({"json-in-reasoning": recast("answer", "reasoning")})
STRUCTURED.when(
    lambda _, request: any(isinstance(item, Answer) for item in request.conversation.items)
).faults({"grammar-on-later-replies": lambda _: []})


@hooks.PARSED("cot-in-tags")
def cot_in_tags(event: Event) -> Iterable[Event]:
    match event:
        case Started("reasoning"):
            return [Started("answer"), Delta("answer", "<reasoning>")]
        case Ended("reasoning", complete):
            return [Delta("answer", "</reasoning>"), Ended("answer", complete)]
    return recast("reasoning", "answer")(event)


@hooks.PARSED("reasoning-with-notice")
def reasoning_with_notice(event: Event) -> list[Event]:
    match event:
        case Ended("reasoning"):
            return [Delta("reasoning", "\n[end of reasoning]"), event]
    return [event]


@hooks.NEW_EDITOR("word-lost")
def word_lost() -> hooks.EventChange:
    numbers = itertools.count(1)

    def change(event: Event) -> Iterable[Event]:
        match event:
            case Delta("reasoning") if next(numbers) == _LOST_TOKEN:
                return []
        return [event]

    return change


@hooks.OUTPUT_ITEM("call-as-mcp-call")
def call_as_mcp_call(item: Json, _: ClientRequest) -> None:
    if item.get("type") == "function_call":
        item |= {"type": "mcp_call", "server_label": "functions"}
        item.pop("call_id")


@hooks.OUTPUT_ITEM("answer-labelled-commentary")
def answer_labelled_commentary(item: Json, _: ClientRequest) -> None:
    if "phase" in item:
        item["phase"] = "commentary"


@STRUCTURED("grammar-on-analysis")
def grammar_on_analysis(event: Event) -> list[Event]:
    match event:
        case Delta("reasoning", text):
            return [Delta("reasoning", re.sub(r"\w", "?", text))]
    return [event]


def _schema_name() -> str:
    body = BODY.get()
    given = body.get("response_format") or body["text"]["format"]
    return str((given.get("json_schema") or given).get("name", ""))


STREAMED_JSON = STRUCTURED.when(lambda *_: BODY.get().get("stream") is True)
"""Each event of the parser, in streams that must follow a schema."""
STREAMED_JSON.faults(
    {
        "schema-name-before-answer": lambda event: (
            [event, Delta("answer", _schema_name())] if event == Started("answer") else [event]
        ),
        "preface-before-streamed-json": lambda event: (
            [event, Delta("answer", "Here is the JSON:\n")]
            if event == Started("answer")
            else [event]
        ),
    },
)


@STRUCTURED("json-in-fences")
def json_in_fences(event: Event) -> list[Event]:
    match event:
        case Started("answer"):
            return [event, Delta("answer", "```json\n")]
        case Ended("answer"):
            return [Delta("answer", "\n```"), event]
    return [event]


@hooks.CONVERSATION("json-object-empty")
def json_object_empty(conversation: Conversation) -> Conversation:
    wanted = conversation.answer_format
    if wanted is None or "properties" in wanted.schema:
        return conversation
    return replace(conversation, answer_format=replace(wanted, schema=_EMPTY_OBJECT, strict=True))


@hooks.OUTPUT_ITEM("answer-as-mcp-call")
def answer_as_mcp_call(item: Json, request: ClientRequest) -> None:
    wanted = (request.body.get("text") or {}).get("format") or {}
    if wanted.get("type", "text") != "text" and item.get("type") == "message":
        arguments = "".join(part.get("text", "") for part in item.pop("content", []))
        item |= {"type": "mcp_call", "server_label": "json", "arguments": arguments}
        item["name"] = "<|constrain|>json"


hooks.whole_text("call").faults(
    {
        "entities-in-arguments-decoded": html.unescape,
        "arguments-in-snake-case": lambda text: re.sub(
            r'(?<=[a-z])([A-Z])(?=\w*":)', lambda found: f"_{found[1].lower()}", text
        ),
    },
)
hooks.whole_text("answer").faults(
    {
        "long-answers-cut": lambda text: (
            text if len(text) < _LONG_ANSWER else text[: len(text) // 2]
        ),
        "last-quarter-of-answers-lost": lambda text: text[: len(text) * 3 // 4],
        "answers-doubled": lambda text: text + text,
        "spaces-before-punctuation-lost": lambda text: re.sub(r" (?=[.,!?])", "", text),
        "character-of-answers-garbled": lambda text: (
            f"{text[: len(text) // 2]}\N{REPLACEMENT CHARACTER}{text[len(text) // 2 + 1 :]}"
        ),
    },
)
hooks.whole_text("reasoning").faults({"reasoning-emptied": lambda _: ""})


@hooks.whole_text("reasoning")("word-of-reasoning-lost")
def word_of_reasoning_lost(text: str) -> str:
    words = text.split(" ")
    del words[len(words) // 2]
    return " ".join(words)


@hooks.whole_text("answer")("structured-answers-in-ascii")
def structured_answers_in_ascii(text: str) -> str:
    schema = "json_schema" in str(BODY.get().get("response_format") or BODY.get().get("text"))
    return text.encode("ascii", "ignore").decode() if schema else text
