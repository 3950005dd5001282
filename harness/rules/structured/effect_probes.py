"""Whether a format of the answer has an effect: alone, in streams, and beside tools.

A weak model may fail to follow a schema that it sees. If the server neither shows nor enforces the
schema, the prompt tokens are the same as without a schema.
"""

from contextlib import suppress
from functools import partial

from harness.api.items import Reply
from harness.api.json_schema import misfit
from harness.api.json_text import objects_in, parsed_object, parsed_value, strings
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import BOTH_APIS
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.missing import NotVerifiableError, required, unlike
from harness.rules.probe import NON_STREAMING, Sent, Trials, prompt_tokens
from harness.rules.rule import Problem
from harness.rules.structured.requests import (
    CHOICES,
    FEWEST_OTHERS,
    FEWEST_REPLIES,
    FREE,
    FREE_STREAMED,
    FREE_WITH_TOOL,
    GROUP,
    OBJECT,
    OBJECT_STREAMED,
    OBJECT_TOLD,
    OBJECT_WITH_TOOL,
    TOOL_WITHOUT_SCHEMA,
    WITHOUT,
    WITHOUT_OBJECT,
)

_FORMAT = "a JSON format of the answer"
_OBJECT = "a JSON object as the answer"
FEATURE = "a JSON schema for the answer"
_WITH_TOOLS = f"{FEATURE} together with tools"


def fit_elsewhere(exchange: ParsedExchange, reply: Reply) -> str | None:
    """A string of the reply that is JSON and conforms to the schema."""
    schema = exchange.request.answer_schema or {}
    values = ((text, parsed_object(text.strip())) for text in strings(reply.raw))
    return next(
        (t for t, value in values if value is not None and misfit(value, schema) is None), None
    )


@GROUP.probe(
    "structured.asked",
    FREE,
    WITHOUT,
    OBJECT,
    WITHOUT_OBJECT,
)
def _applied(free: Sent, without: Sent, as_object: Sent, without_object: Sent) -> Trials:
    """A JSON format of the answer, with or without a schema, is shown to the model or enforced.

    If the server silently ignores the format, programs cannot parse the answers.
    """
    json_mode = 0  # how many tokens JSON mode adds to a prompt; 0 if that is unknown
    with suppress(NotVerifiableError):
        json_mode = as_object.prompt - without_object.prompt
    yield from _in_effect(free, without, FEATURE, json_mode)
    with suppress(NotVerifiableError):
        yield from _in_effect(as_object, without_object, _OBJECT)


@GROUP.probe("structured.object", (OBJECT, OBJECT_TOLD), WITHOUT_OBJECT, severity="warning")
def _object_with_members(as_object: Sent, _without: Sent) -> Trials:
    """An answer in JSON mode is not an empty object.

    A server that replaces JSON mode with a schema without properties leaves the model no choice but
    {}, even if the user says which object to answer with. Programs get no data.
    """
    replies = as_object.served_replies(_OBJECT)
    values = [(*answer, parsed_object(answer[1].text.strip())) for answer in replies]
    objects = [answer for answer in values if answer[2] is not None]
    others = [reply for _, reply, value in values if value is None]
    exchange, reply, _ = required(objects, "no_object_answer")[0]
    empty = all(value == {} for *_, value in objects)
    message = "In JSON mode, every answer is an empty object."
    expected = "an object with members, such as the code word"
    several = len(objects) >= FEWEST_REPLIES
    yield Problem(exchange, message, expected, reply.text) if empty and several else None
    if not empty:
        others += [reply for _, reply, value in objects if value == {}]
    yield from (unlike(reply.text) for reply in others)


def _conforms(exchange: ParsedExchange, reply: Reply) -> bool:
    value = parsed_value(reply.text.strip())
    schema = exchange.request.answer_schema
    return isinstance(value, dict) and (schema is None or misfit(value, schema) is None)


def _also(where: str, usual: Sent, here: Sent) -> Trials:
    """Judge a format where servers lose its effect; the `usual` request shows that it has one."""
    served = usual.served_replies(_FORMAT)
    required((answer for answer in served if _conforms(*answer)), "no_object_answer")
    made = [
        (exchange, choice)
        for exchange, reply in here.served_replies(f"{_FORMAT} {where}")
        for choice in reply.others or (reply,)
        if choice.text and not choice.calls
        # A part of an object shows that the format had its effect on what is left.
        if next(objects_in(choice.text), None) is not None or {"{", "}"}.isdisjoint(choice.text)
    ]
    if any(_conforms(*answer) for answer in made):
        yield from (None if _conforms(*e) else unlike(e[1].text) for e in made)
    elif len(made) < FEWEST_OTHERS:
        raise NotVerifiableError("too_few_replies", request=here.name)
    else:
        exchange, reply = made[0]
        message = f"A JSON format of the answer has no effect {where}."
        yield Problem(exchange, message, "JSON that conforms", reply.text)


for _id, _usual, _here, _where, _modes, _apis in (
    ("object.streaming", OBJECT, OBJECT_STREAMED, "in a stream", ("streaming",), BOTH_APIS),
    ("object.tools", OBJECT, OBJECT_WITH_TOOL, "beside tools", NON_STREAMING, BOTH_APIS),
    ("choices", FREE, CHOICES, "in one of several choices", NON_STREAMING, ("chat",)),
):
    GROUP.probe(
        f"structured.{_id}",
        _usual,
        _here,
        in_other_mode="structured.object" if _modes == ("streaming",) else "",
        modes=_modes,
        apis=_apis,
        severity="warning",
        text=f"A JSON format of the answer also has its effect {_where}. Programs parse this "
        "answer, too.",
    )(partial(_also, _where))


@GROUP.probe(
    "structured.asked.streaming",
    FREE_STREAMED,
    WITHOUT,
    in_other_mode="structured.asked",
    modes=("streaming",),
)
def _applied_to_streams(streamed: Sent, without: Sent) -> Trials:
    """In streams, a JSON schema for the answer is also shown to the model or enforced.

    Some servers read the format only in requests without `stream`.
    """
    yield from _in_effect(streamed, without, FEATURE)


@GROUP.probe("structured.asked.tools", FREE_WITH_TOOL, TOOL_WITHOUT_SCHEMA)
def _applied_with_tools(both: Sent, without: Sent) -> Trials:
    """In requests with tools, a JSON schema is also shown to the model or enforced.

    Agents with a typed result send both. A provider that does not support this must reject the
    request.
    """
    yield from _in_effect(both, without, _WITH_TOOLS)


@GROUP.probe(
    "structured.tools",
    FREE_WITH_TOOL,
    FREE,
    WITHOUT,
    component="tools",
    relations=UNRELIABLE_PROMPT_TOKENS,
    fix="Render the tools also if the request has a schema for the answer.",
)
def _tools_offered(both: Sent, free: Sent, without: Sent) -> Trials:
    """In requests with a JSON schema for the answer, the tools are also offered to the model.

    Agents with a typed result send both. If the prompt has as many tokens as without the tool, the
    model does not know the tool. A provider that does not support this must reject the request.
    """
    (exchange, reply), *_ = both.served_replies(_WITH_TOOLS)
    tokens = prompt_tokens(reply)
    others = [free.prompt, without.prompt]
    message = "The prompt of a request with tools and a JSON schema does not contain the tools."
    got = f"{tokens} prompt tokens, and as many without the tool"
    lost = Problem(exchange, message, "more prompt tokens with a tool", got, "$.usage")
    yield lost if tokens in others and not reply.calls else None


def _in_effect(sent: Sent, without: Sent, feature: str, json_mode: int = 0) -> Trials:
    """Judge whether a format affects the replies; those that it does not affect may be the model's.

    Raises NotVerifiableError.
    """
    ignored = _ignored(sent, without, feature, json_mode)
    yield ignored
    for answer in sent.served_replies(feature) if ignored is None else ():
        _, reply = answer
        ended = reply.text and reply.finish == "stop"
        if ended and not (fit_elsewhere(*answer) or _names_member(*answer)):
            yield unlike(reply.text)


def _ignored(sent: Sent, without: Sent, feature: str, json_mode: int = 0) -> Problem | None:
    """The problem of a format that affects neither answer nor prompt. Raises NotVerifiableError.

    A reply that is truncated or has no text does not show what the format affects. A prompt that
    has as many more tokens as in JSON mode (`json_mode`) does not contain the schema. The schema
    has effect if any part of a reply conforms to it, or has the name of its member, which nothing
    else in the prompt contains.
    """
    replies = list(sent.served_replies(feature))
    if any(fit_elsewhere(*answer) or _names_member(*answer) for answer in replies):
        return None
    shown = prompt_tokens(replies[0][1])
    _, not_shown = without.counted(streaming=replies[0][0].request.stream)
    are_json = all(parsed_object(reply.text.strip()) is not None for _, reply in replies)
    as_json_mode = are_json and 0 < shown - not_shown == json_mode
    if shown > not_shown and not as_json_mode:
        return None
    whole = ((e, reply) for e, reply in replies if reply.text and reply.finish != "length")
    exchange, reply = required(whole, "no_whole_answer")[0]
    message = "The answer violates its format, and the prompt does not contain the format."
    if as_json_mode:
        message = (
            "The answer violates its schema, and the prompt is as in JSON mode, without the schema."
        )
    got = f"{shown} prompt tokens, {not_shown} without a format: {reply.text}"
    return Problem(exchange, message, "an answer that conforms to the format", got)


def _names_member(exchange: ParsedExchange, reply: Reply) -> bool:
    required = (exchange.request.answer_schema or {}).get("required", ())
    return any(f'"{name}"' in reply.generated for name in required)
