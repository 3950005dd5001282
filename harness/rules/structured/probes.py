"""Answers that must follow a JSON schema, without affecting the CoT before them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from harness.api.items import Reply
from harness.api.json_schema import misfit
from harness.api.json_text import is_padded, objects_in, parsed_object, parsed_value, strings
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES
from harness.rules.account.entry import BEYOND_ASCII
from harness.rules.habits import unmeasured
from harness.rules.missing import NotVerifiableError, Unlike, repeated, required, unlike
from harness.rules.probe import Sent, Trials, account_judge
from harness.rules.refusals import refused
from harness.rules.rule import Problem
from harness.rules.structured.checks import lost_answer, missing_answer
from harness.rules.structured.effect_probes import FEATURE, fit_elsewhere
from harness.rules.structured.requests import (
    ABROAD,
    ABROAD_WITHOUT,
    ANY_OF,
    CONTRADICTED,
    FEWEST_REPLIES,
    FREE,
    FREE_WITH_TOOL,
    GROUP,
    NAMED,
    NAMED_LATER,
    OBJECT,
    PATTERN,
    REFERENCES,
    TOOL_WITHOUT_SCHEMA,
    UNION,
    UNIQUE_ITEMS,
    WITHOUT,
    WITHOUT_OBJECT,
)
from harness.statistics.rates import at_least
from harness.text import repeated_piece

_NOT_FOLLOWED, _WITHOUT_PROSE = unmeasured(0.1), unmeasured(0.05)
"""Shares in which the model may ignore a schema that it is only shown, or reason in symbols."""
_CUT, _LUCK = 0.1, 0.001
"""The share of replies that a model does not end itself, and the largest p-value of more."""


@GROUP.probe("structured.followed", NAMED, modes=MODES, habit=_NOT_FOLLOWED, behaviour=True)
def _followed(named: Sent) -> Trials:
    """An answer with a JSON schema is only JSON that conforms to it, whole and in streams.

    Programs parse it. A provider that does not support it must reject the request. Replies without
    text are judged by other rules. A model that never writes such JSON may be unable to.
    """
    served = list(named.served_replies(FEATURE))
    answered = [answer for answer in served if answer[1].text]
    able = any(_contains_fit(*answer) for answer in answered)
    if not able and any(fit_elsewhere(*answer) for answer in served):
        raise NotVerifiableError("json_elsewhere")
    if not able:
        raise NotVerifiableError("never_conforms" if answered else "no_answer")
    yield from (_unfit(*answer) for answer in answered)


@GROUP.probe(
    "structured.place",
    (NAMED, FREE),
    component="output",
    fix=(
        "Return the content of a message of the channel final as the answer, also if its header "
        "names a content type."
    ),
)
def _place(asked: Sent) -> Trials:
    """An answer with a JSON schema is the text of the reply: not a call, not CoT, and not lost.

    Clients read the text. Parsers that mistake the format for a recipient return an item of the
    wrong type, or drop the message. A reply that only lacks the tokens of an answer is not judged,
    nor is one that counts alone show to have lost it if the model may write any header.
    """
    answers = asked.usable.served_replies(FEATURE)
    proves = asked.responses.account.is_obedient
    placed = [(*each, _elsewhere(*each), lost_answer(*each) if proves else 0) for each in answers]
    made = [answer for answer in placed if answer[1].text or answer[2] is not None or answer[3]]
    trials: list[Problem | Unlike | None] = [unlike("")] * (len(placed) - len(made))
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
    return fit_elsewhere(exchange, reply) or next(unread, None)


@GROUP.probe(
    "structured.compiled",
    FREE,
    (PATTERN, ANY_OF, UNIQUE_ITEMS, REFERENCES),
    severity="warning",
    fix="Refuse a schema that the grammar does not support, with status 400 and the reason.",
)
def _compiled(free: Sent, contradicted: Sent) -> Trials:
    """A schema that the server cannot compile is refused, or the answer conforms to it.

    Programs trust the schema that the server accepted. Each of the requests has a keyword that the
    answer for which the user asks violates; some grammars ignore it without a word. A server that
    ignores every schema says nothing about these keywords. Raises NotVerifiableError.
    """
    texts = [answer for answer in free.readable if answer[1].text]
    if texts and not any(_contains_fit(*answer) for answer in texts):
        raise NotVerifiableError("no_schema_obeyed")
    for rollout in contradicted.rollouts:
        for exchange, reply in rollout.replies:
            if reply.finish != "stop" or not reply.text:
                continue
            if "\N{REPLACEMENT CHARACTER}" in reply.text or reply.text.count(
                "{"
            ) != reply.text.count("}"):
                yield unlike(reply.text)
            else:
                # JSON with a text around it was constrained, and changed on its way; a part of
                # JSON says nothing about the grammar, either.
                problem = None if _contains_fit(exchange, reply) else _unfit(exchange, reply)
                message = (
                    f"The schema has {CONTRADICTED[rollout.rollout.sample]}, which has no effect."
                )
                yield problem and replace(problem, message=message)
        if refused(rollout):
            yield None


@GROUP.probe(
    "structured.references",
    REFERENCES,
    UNIQUE_ITEMS,
    NAMED,
    fix="Compile the schema with its $defs, and apply the grammar to the final channel only.",
)
def _with_references(references: Sent, unique: Sent, named: Sent) -> Trials:
    """An answer whose schema has $ref and $defs is not empty.

    The libraries that write schemas from types use them for every enum and nested type. One empty
    answer may be the model's; several, and none with text, are the server's if another schema
    always gets an answer.
    """
    others = [reply for _, reply in named.served_replies(FEATURE)]
    if not all(map(_is_answered, others)):
        raise NotVerifiableError("also_empty")
    own = list(references.served_replies(f"{FEATURE} with $ref"))
    with suppress(NotVerifiableError):
        own += list(unique.served_replies(FEATURE))
    if any(_is_answered(reply) for _, reply in own):
        yield from (None if _is_answered(reply) else unlike(reply.text) for _, reply in own)
        return
    elsewhere = [
        rollout.exchanges[-1].reply
        for name in (references.name, unique.name)
        for rollout in named.responses.other_apis.get(name, ())
    ]
    made = [reply for reply in elsewhere if reply is not None]
    count = len(own) + (0 if any(map(_is_answered, made)) else len(made))
    if count < FEWEST_REPLIES:
        raise NotVerifiableError("too_few_replies", request=references.name)
    exchange, _ = own[0]
    message = "With $ref and $defs in the schema, every answer is empty."
    expected = f"text, as in {len(others)} answers with another schema"
    yield Problem(exchange, message, expected, f"no text in {count} replies")


def _is_answered(reply: Reply) -> bool:
    return bool(reply.text.strip() or reply.calls or reply.finish != "stop")


@GROUP.probe(
    "structured.ends",
    (NAMED, NAMED_LATER, UNION, FREE, FREE_WITH_TOOL, OBJECT),
    (WITHOUT, TOOL_WITHOUT_SCHEMA, WITHOUT_OBJECT),
)
def _ends(formatted: Sent, plain: Sent) -> Trials:
    """A reply with a JSON format ends, like the replies to the same questions without a format.

    A grammar that allows white space after the JSON lets the model write it up to the token limit.
    Users wait and pay for it, and the answer counts as truncated. A model that repeats a word in a
    text of the JSON does so itself.
    """
    cut = [exchange for exchange in formatted.cut if not _repeats_itself(exchange)]
    yield from (unlike("a word, again and again") for e in formatted.cut if e not in cut)
    ended = formatted.readable
    total = len(cut) + len(ended)
    often = not plain.cut and at_least(len(cut), total, _CUT) <= _LUCK
    yield from (None for _ in ended)
    for exchange in cut:
        if exchange.reply is not None and is_padded(exchange.reply.text):
            message = "The answer is complete JSON, followed by white space up to the token limit."
        elif often:
            message = "Replies with a JSON format reach the token limit, and others do not."
        else:
            yield unlike("a reply that reaches the token limit")
            continue
        got = f"{len(cut)} of {total} replies reach the token limit"
        yield Problem(exchange, message, "the end of the reply after the JSON", got)


def _repeats_itself(exchange: ParsedExchange) -> bool:
    text = exchange.reply.text if exchange.reply else ""
    return bool((repeated_piece(text) or "").strip())


@GROUP.probe(
    "structured.reasoning",
    (NAMED, FREE),
    WITHOUT,
    habit=_WITHOUT_PROSE,
    fix="Apply the grammar to the final channel only, after its header.",
)
def _reasoning(asked: Sent, without: Sent) -> Trials:
    """A schema for the answer does not affect the CoT.

    A grammar that constrains the entire reply keeps the model from reasoning.
    """
    if not without.first[1].reasoning:
        raise NotVerifiableError("no_cot_either")
    for exchange, reply in asked.served_replies(FEATURE):
        message = "The reply with a schema contains no CoT in prose."
        lost = Problem(exchange, message, "chain of thought in prose", reply.reasoning or "none")
        yield None if _is_prose(reply.reasoning) else lost


@GROUP.probe(
    "structured.later",
    NAMED,
    NAMED_LATER,
)
def _after_answers(named: Sent, named_later: Sent) -> Trials:
    """After an earlier answer, a reply with a schema still has text and CoT.

    Servers that find the end of the CoT in the prompt apply the grammar to the whole reply.
    """
    first = [reply for _, reply in named.served_replies(FEATURE)]
    later = list(named_later.served_replies(FEATURE))
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
            lacking = [reply for _, reply in later if not contains(reply)]
            yield from (unlike(f"a reply without {what}") for _ in lacking)


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
    return Problem(exchange, "The answer violates its schema.", problem, reply.text)


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


def _characters(abroad: Sent, _without: Sent) -> Trials:
    return account_judge(lambda entry: entry.what in BEYOND_ASCII)(abroad)


GROUP.probe(
    "structured.characters",
    ABROAD,
    ABROAD_WITHOUT,
    unjudged="no_object_answer",
    fix="Compile the schema as Unicode text, and do not escape or filter what the grammar allows.",
    text="An answer with a schema has the characters outside ASCII that it has without the schema. "
    "A grammar that is compiled from bytes or escapes may exclude them, and names lose letters. "
    "The schema's enum has the requested name; a reply with a different member is not judged.",
)(_characters)
