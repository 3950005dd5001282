"""Answers that must follow a JSON schema, without affecting the CoT before them.

A weak model may fail to follow a schema that it sees. If the server neither shows nor enforces the
schema, the prompt tokens are the same as without a schema.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from harness.api.items import Message, Reply
from harness.api.json_schema import misfit
from harness.api.json_text import (
    is_padded,
    objects_in,
    parsed_object,
    parsed_value,
    strings,
)
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import BOTH_APIS, MODES, Api
from harness.records.replies import Wanted
from harness.rules.account.entry import BEYOND_ASCII
from harness.rules.evidence.offers import ORDER, answer_format, closed
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.evidence.refusals import refused, served_replies
from harness.rules.habits import Habit
from harness.rules.missing import NotVerifiableError, repeated, required
from harness.rules.probe import (
    GARBLED,
    NON_STREAMING,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
    Trials,
    account_judge,
    prompt_tokens,
)
from harness.rules.rule import STRUCTURED, Problem
from harness.rules.structured.checks import lost_answer, missing_answer
from harness.statistics.rates import at_least
from harness.text import repeated_piece

_HARBOURS = ["Brest", "Dover", "La Rochelle"]
_NAMED = (Message("user", "Give a JSON object whose harbour is Brest."),)
_NAMED_LATER = (
    *_NAMED,
    Message("assistant", '{"harbour": "Brest"}'),
    Message("user", "Now give one whose harbour is Dover."),
)
_FREE = (
    Message("developer", "The code word is orchid596."),
    Message("user", "What is the code word?"),
)
_EITHER = (
    Message("developer", "The code word is orchid596. Answer in a sentence or in JSON."),
    Message("user", "What is the code word?"),
)
"""Providers reject a JSON format without a schema if no message mentions JSON."""
_ABROAD = "Łódź"
_NAMED_ABROAD = (Message("user", f"Give a JSON object whose harbour is {_ABROAD}."),)
_HARBOURS_ABROAD = closed(
    {"harbour": {"type": ["string", "null"], "enum": [_ABROAD, "Málaga", None]}}
)
_UNION = closed(
    {
        "harbour": {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 40},
                {"anyOf": [{"type": "null"}, {"type": "string", "enum": ["Brest", "Dover"]}]},
            ]
        }
    }
)
"""A union within a union, with a bounded number."""


def _told(answer: str) -> tuple[Message]:
    """A prompt that no model misunderstands."""
    return (Message("user", f"Answer with this JSON object: {answer}"),)


_TOLD = _told('{"code_word": "orchid596"}')
_HARBOUR = {"type": "string", "enum": _HARBOURS}
_DEFINED = {"$defs": {"Harbour": _HARBOUR}}
_REFERENCE = {"$ref": "#/$defs/Harbour"}
_FIVE = [*_HARBOURS, "Cork", "Bilbao"]
_DISTINCT = {
    "type": "array",
    "items": _REFERENCE,
    "minItems": len(_FIVE),
    "maxItems": len(_FIVE),
    "uniqueItems": True,
}
"""Even a model that draws at random repeats one of five in 24 of 25 answers (1 - 5!/5^5)."""
_CONTRADICTED: Mapping[str, tuple[str, tuple[Message, ...], dict[str, Any]]] = {
    "pattern": (
        "a pattern with a lookahead",
        _NAMED,
        closed({"harbour": {"type": "string", "pattern": "^(?=D)[A-Z]{5}-[0-9]{3}$"}}),
    ),
    "anyOf": (
        "anyOf with lists of required members",
        _told('{"berth": 12}'),
        closed({"berth": {"type": "integer"}, "harbour": _HARBOUR, "open": {"type": "boolean"}})
        | {"required": ["berth"], "anyOf": [{"required": ["harbour"]}, {"required": ["open"]}]},
    ),
    "uniqueItems": (
        "uniqueItems",
        _told('{"harbours": ["Brest", "Brest", "Brest", "Brest", "Brest"]}'),
        closed({"harbours": _DISTINCT}) | {"$defs": {"Harbour": {"type": "string", "enum": _FIVE}}},
    ),
    "references": (
        "a $ref",
        _told('{"harbour": "Lisbon"}'),
        closed({"harbour": _REFERENCE}) | _DEFINED,
    ),
}
"""By request: a keyword that some grammars ignore, a prompt for an answer that violates nothing
else of the schema, and the schema. A model that the keyword does not constrain writes that answer;
under a grammar that has it, no model can."""
_NOT_FOLLOWED, _WITHOUT_PROSE = Habit(0.1), Habit(0.05)
"""Shares in which the model may ignore a schema that it is only shown, or reason in symbols."""
_CUT, _LUCK = 0.1, 0.001
"""The share of replies that a model does not end itself, and the largest p-value of more."""
_ASKED = ("named", "named later", "union", "free", "free with a tool")
_FEWEST_REPLIES = 2
_FEWEST_OTHERS = 3
"""Replies that show that a format has no effect; with fewer, the model may slip. Of several
choices, all but the first."""
_FORMAT = "a JSON format of the answer"
_FEATURE = "a JSON schema for the answer"
_WITH_TOOLS = f"{_FEATURE} together with tools"


def _object(api: Api) -> dict[str, Any]:
    either = {"type": "json_object"}
    return {"response_format": either} if api == "chat" else {"text": {"format": either}}


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    refusable = GARBLED | {"request.refused"}
    provokes = refusable | {"answer.json"}
    named, free = (
        answer_format(api, closed({member: {"type": "string"} | kind}))
        for member, kind in (("harbour", {"enum": _HARBOURS}), ("verdict_text", {}))
    )
    beside = partial(
        ProbeRequest, turns=_EITHER, tries=_FEWEST_OTHERS, options=_object(api), provokes=provokes
    )
    return (
        ProbeRequest("named", _NAMED, tries=5, options=named, provokes=refusable),
        ProbeRequest("named later", _NAMED_LATER, tries=3, options=named, provokes=refusable),
        ProbeRequest("free", _FREE, tries=2, options=free, provokes=refusable),
        ProbeRequest("free streamed", _FREE, options=free, provokes=refusable),
        ProbeRequest(
            "union", _NAMED, tries=2, options=answer_format(api, _UNION), provokes=refusable
        ),
        *(
            ProbeRequest(name, prompt, options=answer_format(api, schema), provokes=provokes)
            for name, (_, prompt, schema) in _CONTRADICTED.items()
        ),
        ProbeRequest("without", _FREE),
        ProbeRequest(
            "abroad",
            _NAMED_ABROAD,
            tries=2,
            temperature=0.0,
            options=answer_format(api, _HARBOURS_ABROAD | {"required": []}),
            provokes=refusable,
            wanted=Wanted(text=_ABROAD),
        ),
        ProbeRequest("abroad without", _NAMED_ABROAD, temperature=0.0, wanted=Wanted(text=_ABROAD)),
        ProbeRequest(
            "free with a tool", _FREE, (ORDER,), tries=2, options=free, provokes=refusable
        ),
        ProbeRequest("tool without a schema", _FREE, (ORDER,)),
        ProbeRequest("object", _EITHER, tries=2, options=_object(api), provokes=provokes),
        ProbeRequest("object told", _TOLD, tries=2, options=_object(api), provokes=provokes),
        ProbeRequest("without object", _EITHER),
        beside("object streamed"),
        beside("object with a tool", tools=(ORDER,)),
        ProbeRequest("choices", _FREE, options=free | {"n": _FEWEST_OTHERS + 1}, provokes=provokes),
    )


GROUP = ProbeGroup("structured", _requests, STRUCTURED, needs="json_schema", component="structured")


@GROUP.probe("structured.followed", ("named",), modes=MODES, habit=_NOT_FOLLOWED, behaviour=True)
def _followed(responses: ProbeResponses) -> Trials:
    """An answer with a JSON schema is only JSON that conforms to it, whole and in streams.

    Programs parse it. A provider that does not support it must reject the request. Replies without
    text are judged by other rules. A model that never writes such JSON may be unable to.
    """
    served = list(served_replies(responses, ["named"], _FEATURE))
    answered = [answer for answer in served if answer[1].text]
    able = any(_contains_fit(*answer) for answer in answered)
    if not able and any(_fit_elsewhere(*answer) for answer in served):
        raise NotVerifiableError("json_elsewhere")
    if not able:
        raise NotVerifiableError("never_conforms" if answered else "no_answer")
    yield from (_unfit(*answer) for answer in answered)


@GROUP.probe(
    "structured.place",
    ("named", "free"),
    component="output",
    fix=(
        "Return the content of a message of the channel final as the answer, also if its header "
        "names a content type."
    ),
)
def _place(responses: ProbeResponses) -> Trials:
    """An answer with a JSON schema is the text of the reply: not a call, not CoT, and not lost.

    Clients read the text. Parsers that mistake the format for a recipient return an item of the
    wrong type, or drop the message. A reply that only lacks the tokens of an answer is not judged,
    nor is one that counts alone show to have lost it if the model may write any header.
    """
    usable = [name for name in ("named", "free") if responses.rollouts.get(name)]
    answers = served_replies(responses, usable or ["named"], _FEATURE)
    proves = responses.account.is_obedient
    placed = ((*each, _elsewhere(*each), lost_answer(*each) if proves else 0) for each in answers)
    made = (answer for answer in placed if answer[1].text or answer[2] is not None or answer[3])
    trials: list[Problem | None] = []
    for exchange, reply, other, lost in required(made, "no_answer"):
        message = "The answer is in another part of the reply instead of its text."
        moved = Problem(exchange, message, "the text of a message", other or "")
        missing = moved if other is not None else missing_answer(exchange, reply, lost)
        trials.append(None if reply.text else missing)
    yield from required(repeated(trials), "no_answer")  # a model may draft one, and end its reply


def _elsewhere(exchange: ParsedExchange, reply: Reply) -> str | None:
    """A string of the reply that is JSON and conforms to the schema, or one that begins as JSON.

    Other JSON may be the arguments of a call that the model made instead.
    """
    texts = [text for text in strings(reply.raw) if text.lstrip().startswith("{")]
    unread = (text for text in texts if parsed_object(text.strip()) is None)
    return _fit_elsewhere(exchange, reply) or next(unread, None)


def _fit_elsewhere(exchange: ParsedExchange, reply: Reply) -> str | None:
    """A string of the reply that is JSON and conforms to the schema."""
    schema = exchange.request.answer_schema or {}
    values = ((text, parsed_object(text.strip())) for text in strings(reply.raw))
    return next(
        (t for t, value in values if value is not None and misfit(value, schema) is None), None
    )


@GROUP.probe(
    "structured.asked",
    ("free", "without", "object", "without object"),
    example=(
        "The requested schema does not reach the model.",
        "https://github.com/ggml-org/llama.cpp/issues/15276",
    ),
)
def _applied(responses: ProbeResponses) -> Trials:
    """A JSON format of the answer, with or without a schema, is shown to the model or enforced.

    If the server silently ignores the format, programs cannot parse the answers.
    """
    yield _ignored(responses, "free", "without", _FEATURE, _json_mode(responses))
    with suppress(NotVerifiableError):
        yield _ignored(responses, "object", "without object", "a JSON object as the answer")


@GROUP.probe(
    "structured.compiled",
    _CONTRADICTED,
    severity="warning",
    fix="Refuse a schema that the grammar does not support, with status 400 and the reason.",
    example=(
        "A pattern that cannot be compiled is ignored.",
        "https://github.com/ggml-org/llama.cpp/issues/19051",
    ),
)
def _compiled(responses: ProbeResponses) -> Trials:
    """A schema that the server cannot compile is refused, or the answer conforms to it.

    Programs trust the schema that the server accepted. Each of the requests has a keyword that the
    answer for which the user asks violates; some grammars ignore it without a word.
    """
    for name, rollout in responses.named(*_CONTRADICTED):
        for exchange, reply in rollout.replies:
            if reply.text and reply.finish == "stop":
                problem = _unfit(exchange, reply)
                message = f"The schema has {_CONTRADICTED[name][0]}, which has no effect."
                yield problem and replace(problem, message=message)
        if refused(rollout):
            yield None


@GROUP.probe(
    "structured.references",
    ("references", "uniqueItems", "named"),
    fix="Compile the schema with its $defs, and apply the grammar to the final channel only.",
)
def _with_references(responses: ProbeResponses) -> Trials:
    """An answer whose schema has $ref and $defs is not empty.

    The libraries that write schemas from types use them for every enum and nested type. One empty
    answer may be the model's; several, and none with text, are the server's if another schema
    always gets an answer.
    """
    others = [reply for _, reply in served_replies(responses, ["named"], _FEATURE)]
    if not all(map(_is_answered, others)):
        raise NotVerifiableError("also_empty")
    own = list(served_replies(responses, ["references"], f"{_FEATURE} with $ref"))
    with suppress(NotVerifiableError):
        own += list(served_replies(responses, ["uniqueItems"], _FEATURE))
    if any(_is_answered(reply) for _, reply in own):
        yield None
        return
    elsewhere = [
        rollout.exchanges[-1].reply
        for name in ("references", "uniqueItems")
        for rollout in responses.other_apis.get(name, ())
    ]
    made = [reply for reply in elsewhere if reply is not None]
    count = len(own) + (0 if any(map(_is_answered, made)) else len(made))
    if count < _FEWEST_REPLIES:
        raise NotVerifiableError("too_few_replies", request="references")
    exchange, _ = own[0]
    message = "With $ref and $defs in the schema, every answer is empty."
    expected = f"text, as in {len(others)} answers with another schema"
    yield Problem(exchange, message, expected, f"no text in {count} replies")


def _is_answered(reply: Reply) -> bool:
    return bool(reply.text.strip() or reply.calls or reply.finish != "stop")


def _json_mode(responses: ProbeResponses) -> int:
    """How many tokens JSON mode adds to a prompt; 0 if that is unknown."""
    try:
        return responses.prompt_tokens("object")[1] - responses.prompt_tokens("without object")[1]
    except NotVerifiableError:
        return 0


@GROUP.probe("structured.object", ("object", "object told", "without object"), severity="warning")
def _object_with_members(responses: ProbeResponses) -> Trials:
    """An answer in JSON mode is not an empty object.

    A server that replaces JSON mode with a schema without properties leaves the model no choice but
    {}, even if the user says which object to answer with. Programs get no data.
    """
    feature = "a JSON object as the answer"
    replies = list(served_replies(responses, ["object", "object told"], feature))
    values = [(*answer, parsed_object(answer[1].text.strip())) for answer in replies]
    objects = [answer for answer in values if answer[2] is not None]
    exchange, reply, _ = required(objects, "no_object_answer")[0]
    empty = all(value == {} for *_, value in objects)
    message = "In JSON mode, every answer is an empty object."
    expected = "an object with members, such as the code word"
    several = len(objects) >= _FEWEST_REPLIES
    yield Problem(exchange, message, expected, reply.text) if empty and several else None


def _conforms(exchange: ParsedExchange, reply: Reply) -> bool:
    value = parsed_value(reply.text.strip())
    schema = exchange.request.answer_schema
    return isinstance(value, dict) and (schema is None or misfit(value, schema) is None)


def _also(usual: str, name: str, where: str, responses: ProbeResponses) -> Trials:
    """Judge a format where servers lose its effect; the `usual` request shows that it has one."""
    served = served_replies(responses, [usual], _FORMAT)
    required((answer for answer in served if _conforms(*answer)), "no_object_answer")
    made = [
        (exchange, choice)
        for exchange, reply in served_replies(responses, [name], f"{_FORMAT} {where}")
        for choice in reply.others or (reply,)
        if choice.text and not choice.calls
    ]
    if any(_conforms(*answer) for answer in made):
        yield None
    elif len(made) < _FEWEST_OTHERS:
        raise NotVerifiableError("too_few_replies", request=name)
    else:
        exchange, reply = made[0]
        message = f"A JSON format of the answer has no effect {where}."
        yield Problem(exchange, message, "JSON that conforms", reply.text)


for _id, _usual, _name, _where, _modes, _apis in (
    ("object.streaming", "object", "object streamed", "in a stream", ("streaming",), BOTH_APIS),
    ("object.tools", "object", "object with a tool", "beside tools", NON_STREAMING, BOTH_APIS),
    ("choices", "free", "choices", "in one of several choices", NON_STREAMING, ("chat",)),
):
    GROUP.probe(
        f"structured.{_id}",
        (_usual, _name),
        modes=_modes,
        apis=_apis,
        severity="warning",
        text=f"A JSON format of the answer also has its effect {_where}. Programs parse this "
        "answer, too.",
    )(partial(_also, _usual, _name, _where))


_FORMATTED = (*_ASKED, "object")
_NOT_ASKED = ("without", "tool without a schema", "without object")


@GROUP.probe("structured.ends", (*_FORMATTED, *_NOT_ASKED))
def _ends(responses: ProbeResponses) -> Trials:
    """A reply with a JSON format ends, like the replies to the same questions without a format.

    A grammar that allows white space after the JSON lets the model write it up to the token limit.
    Users wait and pay for it, and the answer counts as truncated. A model that repeats a word in a
    text of the JSON does so itself.
    """
    reached = (r.exchanges[-1] for name in _FORMATTED for r in responses.cut.get(name, ()))
    cut = [e for e in reached if not (e.reply and (repeated_piece(e.reply.text) or "").strip())]
    ended = list(responses.readable(*_FORMATTED))
    plain = any(responses.cut.get(name) for name in _NOT_ASKED)
    total = len(cut) + len(ended)
    often = not plain and at_least(len(cut), total, _CUT) <= _LUCK
    yield from (None for _ in ended)
    for exchange in cut:
        if exchange.reply is not None and is_padded(exchange.reply.text):
            message = "The answer is complete JSON, followed by white space up to the token limit."
        elif often:
            message = "Replies with a JSON format reach the token limit, and others do not."
        else:
            continue
        got = f"{len(cut)} of {total} replies reach the token limit"
        yield Problem(exchange, message, "the end of the reply after the JSON", got)


@GROUP.probe("structured.asked.streaming", ("free streamed", "without"), modes=("streaming",))
def _applied_to_streams(responses: ProbeResponses) -> Trials:
    """In streams, a JSON schema for the answer is also shown to the model or enforced.

    Some servers read the format only in requests without `stream`.
    """
    yield _ignored(responses, "free streamed", "without", _FEATURE)


@GROUP.probe("structured.asked.tools", ("free with a tool", "tool without a schema"))
def _applied_with_tools(responses: ProbeResponses) -> Trials:
    """In requests with tools, a JSON schema is also shown to the model or enforced.

    Agents with a typed result send both. A provider that does not support this must reject the
    request.
    """
    yield _ignored(responses, "free with a tool", "tool without a schema", _WITH_TOOLS)


@GROUP.probe(
    "structured.tools",
    ("free with a tool", "free", "without"),
    component="tools",
    relations=UNRELIABLE_PROMPT_TOKENS,
    fix="Render the tools also if the request has a schema for the answer.",
)
def _tools_offered(responses: ProbeResponses) -> Trials:
    """In requests with a JSON schema for the answer, the tools are also offered to the model.

    Agents with a typed result send both. If the prompt has as many tokens as without the tool, the
    model does not know the tool. A provider that does not support this must reject the request.
    """
    (exchange, reply), *_ = served_replies(responses, ["free with a tool"], _WITH_TOOLS)
    tokens = prompt_tokens(reply)
    others = [responses.prompt_tokens(name)[1] for name in ("free", "without")]
    message = "The prompt of a request with tools and a JSON schema does not contain the tools."
    got = f"{tokens} prompt tokens, and as many without the tool"
    lost = Problem(exchange, message, "more prompt tokens with a tool", got, "$.usage")
    yield lost if tokens in others and not reply.calls else None


def _ignored(
    responses: ProbeResponses, name: str, without: str, feature: str, json_mode: int = 0
) -> Problem | None:
    """The problem of a format that affects neither answer nor prompt. Raises NotVerifiableError.

    A reply that is truncated or has no text does not show what the format affects. A prompt that
    has as many more tokens as in JSON mode (`json_mode`) does not contain the schema. The schema
    has effect if any part of a reply conforms to it, or has the name of its member, which nothing
    else in the prompt contains.
    """
    replies = list(served_replies(responses, [name], feature))
    if any(_fit_elsewhere(*answer) or _names_member(*answer) for answer in replies):
        return None
    shown = prompt_tokens(replies[0][1])
    _, not_shown = responses.prompt_tokens(without, streaming=replies[0][0].request.stream)
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


@GROUP.probe(
    "structured.reasoning",
    ("named", "free", "without"),
    habit=_WITHOUT_PROSE,
    fix="Apply the grammar to the final channel only, after its header.",
    example=(
        "The grammar of the answer also constrains the chain of thought and garbles it.",
        "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/1555",
    ),
)
def _reasoning(responses: ProbeResponses) -> Trials:
    """A schema for the answer does not affect the CoT.

    A grammar that constrains the entire reply keeps the model from reasoning.
    """
    _, without = responses.reply("without")
    if not without.reasoning:
        raise NotVerifiableError("no_cot_either")
    for exchange, reply in served_replies(responses, ["named", "free"], _FEATURE):
        message = "The reply with a schema contains no CoT in prose."
        lost = Problem(exchange, message, "chain of thought in prose", reply.reasoning or "none")
        yield None if _is_prose(reply.reasoning) else lost


@GROUP.probe(
    "structured.later",
    ("named", "named later"),
    example=(
        (
            "After an earlier answer, the grammar acts on the header of the reply, and the reply "
            "is empty."
        ),
        "https://github.com/vllm-project/vllm/issues/32791",
    ),
)
def _after_answers(responses: ProbeResponses) -> Trials:
    """After an earlier answer, a reply with a schema still has text and CoT.

    Servers that find the end of the CoT in the prompt apply the grammar to the whole reply.
    """
    first = [reply for _, reply in served_replies(responses, ["named"], _FEATURE)]
    later = list(served_replies(responses, ["named later"], _FEATURE))
    for what, contains in _PARTS.items():
        lost = not any(contains(reply) for _, reply in later)
        if lost and all(map(contains, first)):
            exchange, reply = later[0]
            message = f"After an earlier answer, no reply with a schema has {what}."
            expected = f"{what}, as in {len(first)} replies without an earlier answer"
            got = f"none in {len(later)} replies; {reply.text or 'no text'}"
            yield Problem(exchange, message, expected, got)
        elif lost:
            raise NotVerifiableError("also_lacks", what=what)
        else:
            yield None


_PARTS: Mapping[str, Callable[[Reply], bool]] = {
    "text": lambda reply: bool(reply.text or reply.calls),
    "CoT in prose": lambda reply: _is_prose(reply.reasoning),
}


def _unfit(exchange: ParsedExchange, reply: Reply) -> Problem | None:
    value = parsed_object(reply.text.strip())
    schema = exchange.request.answer_schema or {}
    problem = "a JSON object" if value is None else misfit(value, schema)
    if problem is None:
        return None
    message = "The answer violates its schema."
    return Problem(exchange, message, problem, reply.text)


def _contains_fit(exchange: ParsedExchange, reply: Reply) -> bool:
    """Whether conforming JSON is within the answer: in prose, in a code block, or in a string."""
    schema, value = exchange.request.answer_schema or {}, parsed_value(reply.text.strip())
    text = value if isinstance(value, str) else reply.text
    return any(misfit(part, schema) is None for part in objects_in(text))


def _is_prose(text: str) -> bool:
    """Whether a text is neither JSON nor mostly punctuation."""
    visible = [character for character in text if not character.isspace()]
    letters = sum(character.isalnum() for character in visible)
    return parsed_object(text.strip()) is None and letters > len(visible) / 2


GROUP.probe(
    "structured.characters",
    ("abroad", "abroad without"),
    unjudged="no_object_answer",
    fix="Compile the schema as Unicode text, and do not escape or filter what the grammar allows.",
    example=(
        "With a schema, answers lose the characters outside ASCII.",
        "https://github.com/kekzl/imp/issues/1197",
    ),
    text="An answer with a schema has the characters outside ASCII that it has without the schema. "
    "A grammar that is compiled from bytes or escapes may exclude them, and names lose letters. "
    "The schema's enum has the requested name; a reply with a different member is not judged.",
)(account_judge("abroad", reports=lambda entry: entry.what in BEYOND_ASCII))
