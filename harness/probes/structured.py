"""Answers that must follow a JSON schema, with the CoT before them left alone.

A model that was told the schema may be too weak to follow it; a provider that neither tells nor
holds it to the schema is seen from the prompt tokens, which then are those without a schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.api.base import Reply
from harness.api.conversation import Message
from harness.checks.base import Problem
from harness.checks.json_text import misfit, parsed_object
from harness.checks.texts import GARBLED
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import fate, served
from harness.records.conditions import Api

_STRUCTURED = "https://platform.openai.com/docs/guides/structured-outputs"
_NAMED = (Message("user", "Give a JSON object whose harbour is Brest."),)
_FREE = (
    Message("developer", "The code word is orchid596."),
    Message("user", "What is the code word?"),
)
_ENOUGH = 0.7
_FEATURE = "a JSON schema for the answer"


def _schema(member: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {member: {"type": "string"}},
        "required": [member],
        "additionalProperties": False,
    }


_HARBOUR, _VERDICT = _schema("harbour"), _schema("verdict_text")


def _format(api: Api, schema: dict[str, Any]) -> dict[str, Any]:
    named = {"name": "reply", "strict": True, "schema": schema}
    if api == "chat":
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {"text": {"format": {"type": "json_schema", **named}}}


def _asks(api: Api) -> tuple[Ask, ...]:
    provokes = GARBLED | {"request.refused", "answer.json"}
    named, free = _format(api, _HARBOUR), _format(api, _VERDICT)
    return (
        Ask("named", _NAMED, tries=4, options=named, provokes=provokes),
        Ask("free", _FREE, tries=2, options=free, provokes=provokes),
        Ask("without", _FREE),
    )


BENCH = Bench("structured", _asks)


@BENCH.probe(
    "structured.followed",
    uses=("named",),
    needs="json_schema",
    severity="error",
    summary="An answer that must follow a schema is JSON that does, and nothing else.",
    why="Programs parse it; a provider that cannot do it must refuse the request.",
    source=_STRUCTURED,
    required=_ENOUGH,
)
def _followed(answers: Answers) -> Iterator[Trial]:
    trials = [_unfit(turn, reply) for turn, reply in _replies(answers, "named")]
    wrapped = any("`" in trial.got for trial in trials if trial)
    if all(trials) and not wrapped:
        raise NotVerifiableError("The model never writes JSON that fits, with or without a schema.")
    yield from trials


@BENCH.probe(
    "structured.asked",
    uses=("free", "without"),
    needs="json_schema",
    severity="error",
    summary="A schema for the answer reaches the model, or holds it.",
    why="A schema that is ignored in silence gives answers that no program can read.",
    source=_STRUCTURED,
)
def _asked(answers: Answers) -> Iterator[Trial]:
    found = list(_replies(answers, "free"))
    if not all(_unfit(turn, reply) for turn, reply in found):
        yield None
        return
    turn, reply = found[0]
    _, without = answers.reply("without")
    told, untold = reply.input_tokens, without.input_tokens
    if told is None or untold is None:
        raise NotVerifiableError("The provider does not report prompt tokens.")
    message = "The answer does not follow its schema, and the prompt does not hold it."
    got = f"{told} prompt tokens, {untold} without a schema: {reply.text}"
    yield Problem(turn, message, "an answer by the schema", got) if told <= untold else None


@BENCH.probe(
    "structured.reasoning",
    uses=("named", "free", "without"),
    needs="json_schema",
    severity="error",
    summary="A schema for the answer leaves the CoT alone.",
    why="A grammar that is forced upon the whole reply keeps the model from thinking.",
    source=_STRUCTURED,
    required=_ENOUGH,
)
def _reasoning(answers: Answers) -> Iterator[Trial]:
    _, without = answers.reply("without")
    if not without.reasoning:
        raise NotVerifiableError("There is no chain of thought without a schema either.")
    for name in ("named", "free"):
        for turn, reply in _replies(answers, name):
            message = "There is no chain of thought before an answer that follows a schema."
            lost = Problem(turn, message, "chain of thought in words", reply.reasoning or "none")
            yield None if _is_prose(reply.reasoning) else lost


def _replies(answers: Answers, name: str) -> Iterator[tuple[ParsedExchange, Reply]]:
    for view in served(answers, name, _FEATURE):
        turn = view.turns[-1]
        if turn.reply is None:
            raise NotVerifiableError(f"The provider fails at {_FEATURE}: {fate(turn)}.")
        yield turn, turn.reply


def _unfit(turn: ParsedExchange, reply: Reply) -> Trial:
    found = parsed_object(reply.text.strip())
    schema = turn.asked.answer_schema or {}
    problem = "a JSON object" if found is None else misfit(found, schema)
    if problem is None:
        return None
    return Problem(turn, "The answer does not follow its schema.", problem, reply.text or "nothing")


def _is_prose(text: str) -> bool:
    """Whether a text is neither JSON nor mostly signs."""
    visible = [character for character in text if not character.isspace()]
    letters = sum(character.isalnum() for character in visible)
    return parsed_object(text.strip()) is None and letters > len(visible) / 2
