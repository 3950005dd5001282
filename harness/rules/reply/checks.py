"""Metadata of every reply: id, model, creation time, items, choices."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isclose
from typing import Any

from harness.api.parsed_rollout import ParsedRollout
from harness.api.stream_events import carries_text
from harness.records.conditions import EFFORTS, known_model
from harness.records.settings import CONTEXT
from harness.rules.check import Family
from harness.rules.evidence.subjects import (
    BUILT_IN,
    Answer,
    Item,
    answers,
    conversations,
    ended,
    items,
    repeats,
)
from harness.rules.habits import MALFORMED_HEADERS, unmeasured
from harness.rules.rule import CHAT, HARMONY, RAW_COT, RESPONSES, Problem

family = Family("reply", CHAT, component="format")

_FAMILY = re.compile(r"(?i:llama|qwen|mistral|mixtral|deepseek|gemma|claude|gemini|gpt-4|gpt-5)")
# Seconds that clock skew and queueing cannot explain: from the client's clock, from the server's.
_SECONDS_OFF, _SECONDS_OFF_DATE = 86_400, 3_000
# What parsers take for the name of a tool: content types and channels of harmony headers.
_OF_HEADERS = re.compile(r"(?:<\|\w+\|>)?(?:json|code|text|final|analysis|commentary|assistant)")
_OF_TRAINED_TOOLS = ("web_search_call", "code_interpreter_call")
_FUNCTIONS = "functions"  # harmony's namespace of the offered functions


family.account_rule(
    "reply.broken_off",
    "A reply that ends normally is whole: greedy replies to the same request do not go on. Clients "
    "take the part of a broken reply for the answer.",
    component="output",
    fix="If the generation breaks off, end the stream with an error, and no reply with `stop`.",
)


@family.check("reply.id", answers, fix="Give every reply an id of its own.", reads=("fields",))
def _reply_id(answer: Answer) -> Iterator[Problem]:
    """Every reply has an id. Logs, support requests and previous_response_id refer to it."""
    if not answer.reply.raw.get("id"):
        got = repr(answer.reply.raw.get("id"))
        yield Problem(answer.exchange, "The reply has no id.", "a non-empty string", got, "$.id")


@family.check(
    "reply.id.repeated",
    conversations,
    lambda parsed: len(parsed.replies) > 1,
    severity="warning",
    fix="Give every reply an id of its own.",
    reads=("fields",),
)
def _repeated_reply_id(parsed: ParsedRollout) -> Iterator[Problem]:
    """The replies of a conversation have distinct ids.

    Logs cannot tell these replies apart; the conversation itself is not affected.
    """
    ids = ((exchange, reply.raw.get("id") or None) for exchange, reply in answers(parsed))
    for exchange, reply_id in repeats(ids):
        message = "The reply reuses the id of an earlier reply in the conversation."
        yield Problem(exchange, message, "a new id", reply_id, "$.id")


@family.check(
    "responses.item_id.repeated",
    answers,
    lambda answer: len(answer.output) > 1,
    apis=("responses",),
    source=RESPONSES,
    fix="Give every item of a response an id of its own.",
)
def _repeated_item_id(answer: Answer) -> Iterator[Problem]:
    """The items of a response have distinct ids. Streaming clients collect text by item id."""
    numbered = enumerate(answer.output)
    for index, item_id in repeats((index, item.get("id")) for index, item in numbered):
        message = "Two items of the response have the same id."
        yield Problem(answer.exchange, message, "a new id", item_id, f"$.output[{index}].id")


@family.check(
    "responses.item_type.undeclared",
    items,
    apis=("responses",),
    source=RESPONSES,
    habit=unmeasured(0.02),
    component="output",
    fix=(
        "Return a call of an offered function as a function call, and a message of the channel "
        "final as the answer."
    ),
)
def _undeclared_item(item: Item) -> Iterator[Problem]:
    """A response contains only reasoning, messages and calls of the offered tools.

    Clients cannot answer a call of a tool that they did not offer. Such items come from
    incorrectly parsed harmony headers. A few may be calls that the model invents; not an item that
    is named like a part of a header, nor any but a trained tool's where the answer must be JSON.
    """
    reply = item.exchange.reply
    if reply is not None and Answer(item.exchange, reply).misplaced:
        return  # `responses.answer.item` reports it.
    kind = str(item.item.get("type"))
    tool = kind.removesuffix("_call")
    declared = any(tool in name or name in kind for name in item.exchange.request.built_in)
    if kind not in ("reasoning", "message", "function_call") and not declared:
        message = f"The response contains a {kind} item, but the request has no such tool."
        expected = "reasoning, message or function_call"
        names = (tool, str(item.item.get("name")), str(item.item.get("server_label")))
        trained = kind in _OF_TRAINED_TOOLS or any(map(BUILT_IN.fullmatch, names))
        answered = item.exchange.request.wants_json or any(map(_OF_HEADERS.fullmatch, names))
        proven, path = answered and not trained, f"{item.path}.type"
        yield Problem(item.exchange, message, expected, kind, path, proven=proven)


@family.check(
    "responses.call.item",
    items,
    lambda item: not item.exchange.request.built_in,
    apis=("responses",),
    source=HARMONY,
    component="output",
    fix="Return a call of an offered function as a function call, whatever its channel.",
)
def _call_item(item: Item) -> Iterator[Problem]:
    """A call of an offered function is an item of type function_call.

    About one call in 100 is not in the channel commentary. Parsers that expect calls only there
    take it for a call of an MCP server, and agents do not run it.
    """
    kind, name = str(item.item.get("type")), str(item.item.get("name"))
    in_functions = item.item.get("server_label") in (None, _FUNCTIONS)
    called = kind.endswith("_call") and in_functions and name in item.exchange.request.functions
    if called and kind != "function_call":
        message = f"The call of {name} is an item of type {kind}."
        yield Problem(item.exchange, message, "function_call", kind, f"{item.path}.type")


def _leads_somewhere(answer: Answer) -> bool:
    """Whether a response has a reasoning item, and a message or call.

    A limit may cut the CoT that follows a comment of the model, which follows other CoT.
    """
    kinds = [item.get("type") for item in answer.output]
    both = "reasoning" in kinds and not {*kinds}.isdisjoint(("message", "function_call"))
    return both and (answer.reply.finish != "length" or kinds[0] != "reasoning")


@family.check(
    "responses.item.order",
    answers,
    _leads_somewhere,
    apis=("responses",),
    source=RAW_COT,
    fix="Put the reasoning item before the message or call that it leads to.",
    habit=MALFORMED_HEADERS,
)
def _item_order(answer: Answer) -> Iterator[Problem]:
    """The reasoning item of a response precedes the message or call that it leads to.

    Clients send the items back to the model in this order, and the model then reads its answer
    before the CoT that led to it.
    """
    kinds = [item.get("type") for item in answer.output]
    if kinds[-1] == "reasoning":
        message = "The response ends with a reasoning item."
        expected = "a message or call at the end"
        yield Problem(answer.exchange, message, expected, str(kinds), "$.output")


@family.check(
    "responses.message.phase",
    ended,
    lambda answer: not answer.exchange.request.built_in and _last_item(answer).get("phase"),
    apis=("responses",),
    severity="warning",
    source=RESPONSES,
    habit=unmeasured(0.02),
    component="output",
    fix="Label only the messages of the channel commentary as commentary.",
)
def _phase(answer: Answer) -> Iterator[Problem]:
    """The message that ends a completed response is not labelled as commentary.

    The label separates intermediate comments from the final answer. Clients hide comments, or send
    them back to the model as comments. In rare cases, the model itself ends with one.
    """
    last = _last_item(answer)
    if last.get("type") == "message" and last.get("phase") == "commentary":
        message = "The response ends with a message whose phase is commentary."
        expected, path = "final_answer, or no phase", f"$.output[{len(answer.output) - 1}].phase"
        yield Problem(answer.exchange, message, expected, "commentary", path)


def _last_item(answer: Answer) -> Mapping[str, Any]:
    return next(reversed(answer.output), {})


_ROUND = (256, 1000)  # context lengths are multiples of one of these
_SETTINGS: Sequence[tuple[str, ...]] = (
    ("previous_response_id",),
    ("text", "format", "type"),
    ("text", "format", "name"),
    ("reasoning", "effort"),
    ("max_output_tokens",),
    ("temperature",),
    ("top_p",),
)
"""Members of a response that repeat those of its request, and that no server may translate.

An effort that gpt-oss does not have may be served as one that it has; a number may be null, which
reports none; and vLLM reports the rest of the context for a limit above it.
"""


def _settings(answer: Answer) -> Iterator[tuple[str, object, object]]:
    """Yield the settings that both request and response have: path, sent and repeated value."""
    for path in _SETTINGS:
        sent: object = answer.exchange.request.body
        got: object = answer.reply.raw
        for name in path:
            sent = sent.get(name) if isinstance(sent, Mapping) else None
            got = got.get(name, sent) if isinstance(got, Mapping) else sent
        unset = got is None and isinstance(sent, int | float)
        if sent is not None and not unset and (path[-1] != "effort" or sent in EFFORTS):
            yield ".".join(path), sent, got


def _is_rest_of_context(answer: Answer, limit: float) -> bool:
    """Whether a token limit is what the prompt leaves of a usual length of the context."""
    whole = limit + (answer.reply.input_tokens or 0)
    return any(whole % unit == 0 for unit in _ROUND)


@family.check(
    "responses.settings",
    answers,
    lambda answer: any(_settings(answer)),
    apis=("responses",),
    severity="warning",
    source=RESPONSES,
    component="options",
    fix="Repeat in the response the settings of its request, or leave them out.",
)
def _repeats_settings(answer: Answer) -> Iterator[Problem]:
    """The earlier response, format, effort, limit and sampling in a response are those requested.

    Programs that store responses rebuild conversations from them. Another value means that the
    server did not use the setting, or that a gateway put defaults into the response.
    """
    for path, sent, got in _settings(answer):
        if not _agree(answer, path, sent, got):
            message = f"The response reports a different `{path}` than its request."
            yield Problem(answer.exchange, message, repr(sent), repr(got), f"$.{path}")


def _agree(answer: Answer, path: str, sent: object, got: object) -> bool:
    """Whether a setting is the one that was sent, perhaps with 32 bits, or cut to the context."""
    if not isinstance(sent, int | float) or not isinstance(got, int | float):
        return got == sent
    cut = path == "max_output_tokens" and got < sent and _is_rest_of_context(answer, got)
    return cut or isclose(sent, got, rel_tol=1e-6)


_SAMPLED = ("temperature", "top_p")


def _reports_unset(answer: Answer) -> bool:
    """Whether a response reports an option that its request did not set."""
    sent, got = answer.exchange.request.body, answer.reply.raw
    names = (*_SAMPLED, "max_output_tokens")
    return any(sent.get(option) is None and got.get(option) is not None for option in names)


@family.check(
    "responses.defaults",
    answers,
    _reports_unset,
    apis=("responses",),
    severity="warning",
    source=RESPONSES,
    component="options",
    fix="Apply no temperature, top_p or limit that the request does not set, and report none.",
)
def _defaults(answer: Answer) -> Iterator[Problem]:
    """A response reports no temperature, top_p or token limit that its request did not set.

    The defaults are temperature 1, top_p 1, and no limit below the rest of the context. Other
    defaults change the scores of evals, make replies less varied, or end long CoT before the
    answer. vLLM reports the rest of the context as the limit.
    """
    sent, got = answer.exchange.request.body, answer.reply.raw
    defaults = [(name, got.get(name), "1, the default", got.get(name) == 1) for name in _SAMPLED]
    limit = got.get("max_output_tokens")
    if isinstance(limit, int):
        healthy = limit >= CONTEXT or _is_rest_of_context(answer, limit)
        defaults.append(("max_output_tokens", limit, "no limit", healthy))
    for name, value, expected, healthy in defaults:
        if sent.get(name) is None and isinstance(value, int | float) and not healthy:
            message = f"The response reports a `{name}` that its request did not set."
            yield Problem(answer.exchange, message, expected, str(value), f"$.{name}")


@family.check(
    "reply.model",
    answers,
    severity="warning",
    component="replicas",
    fix="Serve the requested model, and name only the one that answers.",
)
def _model(answer: Answer) -> Iterator[Problem]:
    """Each reply names one model, of the requested size and family.

    Providers choose their own names, but a different size or family means a different model. If the
    name changes within a stream, a different model may have written the rest.
    """
    requested = answer.exchange.request.body.get("model")
    named = answer.reply.raw.get("model")
    both = (requested, named)
    sizes = [known_model(str(name)) for name in both]
    families = [{*_FAMILY.findall(str(name))} for name in both]
    if not named or (None not in sizes and sizes[0] != sizes[1]) or families[1] - families[0]:
        message = "The reply names a model of a different size or family."
        message = message if named else "The reply does not name its model."
        yield Problem(answer.exchange, message, str(requested), repr(named), "$.model")
        return
    names = [(event, (event.data or {}).get("model")) for event in answer.exchange.events]
    if all(not name or name == named for _, name in names):
        return
    models = list(dict.fromkeys(str(name) for event, name in names if name and carries_text(event)))
    if len(models) > 1:
        message = "The name of the model changes within the stream."
        yield Problem(answer.exchange, message, models[0], str(models), "$.model")


_CREATED = {"chat": "created", "responses": "created_at"}


@family.check(
    "reply.created",
    answers,
    lambda answer: isinstance(answer.reply.raw.get(_CREATED[answer.exchange.api]), int | float),
    severity="warning",
    fix="Give the creation time in seconds.",
    reads=("fields",),
)
def _created(answer: Answer) -> Iterator[Problem]:
    """The creation time of a reply is current Unix time in seconds.

    Few clients read it; milliseconds, constants and local times corrupt logs. In a recording
    without times, only the unit is judged.
    """
    exchange = answer.exchange
    key = _CREATED[exchange.api]
    created = answer.reply.raw[key]
    sent = datetime.fromisoformat(exchange.recorded.started_at).timestamp()
    date = _unix_time(exchange.header("date"))
    unit = next((u for u, n in _UNITS.items() if _is_time(created / n, sent)), None)
    if not _is_time(created, sent) and (sent or unit):
        message = f"`{key}` is more than a day away from the time of the request."
        expected = f"about {sent:.0f}"
        if unit is not None:
            message = f"`{key}` is in {unit} instead of seconds."
            expected = "seconds since 1970"
        yield Problem(exchange, message, expected, str(created), f"$.{key}")
    elif date is not None and abs(created - date) > _SECONDS_OFF_DATE + exchange.recorded.elapsed:
        message = f"`{key}` differs from the Date header of the same response."
        yield Problem(exchange, message, f"about {date:.0f}", str(created), f"$.{key}")


def _is_time(seconds: float, sent: float) -> bool:
    """Whether seconds are the time of a request; if that is unknown, of the years 2001 to 2286."""
    return abs(seconds - sent) <= _SECONDS_OFF if sent else 10**9 <= seconds < 10**10


_UNITS = {"milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


@lru_cache(maxsize=256)
def _unix_time(date: str) -> float | None:
    """Return the time of a header Date, if it has one; replies within one second share it."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


@family.check(
    "chat.choices",
    answers,
    apis=("chat",),
    needs="n",
    fix=(
        "Return one choice for each requested sample, with the CoT, text and calls of that sample"
        " in its message."
    ),
)
def _choices(answer: Answer) -> Iterator[Problem]:
    """The reply has the requested number of choices, with indices from 0.

    Clients read the first choice, ignore additional ones, and wait for missing ones.
    """
    exchange, choices = answer.exchange, answer.choices
    numbers = {repr(choice.get("index", 0)) for choice in choices}
    expected = {repr(number) for number in range(exchange.request.choices)}
    if numbers != expected or (not exchange.events and len(choices) != len(expected)):
        message = "The reply does not have the requested number of choices."
        if exchange.events and len(numbers) > len(expected):
            message = "The chunks have more indices of choices than were requested."
        got = f"{len(choices)} with index {sorted(numbers)}"
        yield Problem(exchange, message, f"index {sorted(expected)}", got, "$.choices")
