"""What a request asked for by its options, and whether the reply keeps to it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.base import CHAT, GUIDE, Family, Problem
from harness.checks.json_text import misfit, parsed_object
from harness.checks.subjects import Answer, Counted, answers, asked_for, ended, limited
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedRollout

family = Family("parameters")

_TOOL_CHOICE = "https://platform.openai.com/docs/guides/function-calling#tool-choice"
_STRUCTURED = "https://platform.openai.com/docs/guides/structured-outputs"


@family.check(
    "calls.choice",
    over=asked_for("tool_choice"),
    severity="error",
    summary="tool_choice none, required and a named tool are kept to.",
    why="Programs rely on it; a provider that cannot do it must refuse the request.",
    source=_TOOL_CHOICE,
    tolerated=0.02,
    needs="tool_choice",
)
def _choice(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    choice, named = turn.asked.tool_choice, turn.asked.chosen_tool
    called = [call.name for call in reply.calls]
    cut_short = reply.finish in ("length", "content_filter")
    if choice == "none" and called:
        expected = "no tool call"
    elif choice in ("required", "named") and not called and not cut_short:
        expected = "a tool call"
    elif choice == "named" and any(name != named for name in called):
        expected = f"a call of {named}"
    else:
        return
    message = f"tool_choice is {choice}, and the reply does not keep to it."
    yield Problem(turn, message, expected, f"calls: {', '.join(called) or 'none'}")


def _single_calls(seen: ParsedRollout) -> Iterator[Answer]:
    return (a for a in answers(seen) if a.turn.asked.body.get("parallel_tool_calls") is False)


@family.check(
    "calls.parallel",
    over=_single_calls,
    severity="error",
    summary="With parallel_tool_calls false there is one call in a reply at most.",
    why="The option is for programs that cannot handle more.",
    source=_TOOL_CHOICE,
)
def _parallel(answer: Answer) -> Iterator[Problem]:
    if len(answer.reply.calls) > 1:
        message = "There are several tool calls in one reply."
        yield Problem(answer.turn, message, "one at most", str(len(answer.reply.calls)))


@family.check(
    "calls.several",
    over=answers,
    severity="info",
    summary="There is one tool call in a reply.",
    why="gpt-oss stops after one; a server that lets it go on makes it guess what the first "
    "call will return.",
    source=GUIDE,
)
def _several(answer: Answer) -> Iterator[Problem]:
    if len(answer.reply.calls) > 1:
        message = "There are several tool calls in one reply."
        yield Problem(answer.turn, message, "one", str(len(answer.reply.calls)))


def _stopping(seen: ParsedRollout) -> Iterator[Answer]:
    return (answer for answer in ended(seen) if answer.turn.asked.stops)


@family.check(
    "stop.kept",
    over=_stopping,
    severity="error",
    summary="A stop string ends the answer and is not part of it.",
    why="Programs cut texts by it.",
    source=CHAT,
    needs="stop",
)
def _stop_kept(answer: Answer) -> Iterator[Problem]:
    for stop in answer.turn.asked.stops:
        if stop in answer.reply.text:
            message = "A stop string stands in the answer."
            yield Problem(answer.turn, message, f"no {stop!r}", answer.reply.text)


def _with_logprobs(seen: ParsedRollout) -> Iterator[Answer]:
    return (answer for answer in asked_for("logprobs")(seen) if answer.reply.text)


@family.check(
    "chat.logprobs.missing",
    over=_with_logprobs,
    severity="error",
    summary="Log probabilities that were asked for are in the reply.",
    why="Left out in silence they cost whoever needs them; a refusal would be plain.",
    source=CHAT,
    apis=("chat",),
    needs="logprobs",
)
def _logprobs(answer: Answer) -> Iterator[Problem]:
    turn = answer.turn
    bodies = [event.data for event in turn.events] if turn.events else [turn.body]
    choices = [choice for body in bodies for choice in objects((body or {}).get("choices"))]
    if not any(choice.get("logprobs") for choice in choices):
        message = "The request asked for logprobs; the reply has none."
        yield Problem(turn, message, "logprobs", "none", "$.choices[0].logprobs")


def _structured(seen: ParsedRollout) -> Iterator[Answer]:
    replies = (answer for answer in ended(seen) if answer.turn.asked.wants_json)
    return (answer for answer in replies if not answer.reply.calls)


@family.check(
    "answer.json",
    over=_structured,
    severity="error",
    summary="A structured answer that was asked for is JSON, and fits its schema.",
    why="Programs parse it; a provider that cannot do it must refuse the request.",
    source=_STRUCTURED,
    tolerated=0.02,
    needs="json_schema",
)
def _structured_answer(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    found = parsed_object(reply.text.strip())
    schema = turn.asked.answer_schema
    if found is None:
        message = "The answer is not a JSON object."
        yield Problem(turn, message, "a JSON object", reply.text or "nothing")
    elif schema is not None:
        problem = misfit(found, schema)
        if problem is not None:
            message = "The answer does not fit the schema that was asked for."
            yield Problem(turn, message, problem, reply.text)


@family.check(
    "finish.limit",
    over=limited,
    severity="error",
    summary="A reply that was cut at the token limit says so.",
    why="Half an answer is taken for a whole one.",
    source=CHAT,
    tolerated=0.02,
)
def _limit(said: Counted) -> Iterator[Problem]:
    turn, reply, usage = said
    if usage.output_tokens == turn.asked.limit and reply.finish in ("stop", "tool_calls"):
        message = "The reply ended at the token limit, and says that it ended by itself."
        expected = "length" if turn.api == "chat" else "incomplete, max_output_tokens"
        yield Problem(turn, message, expected, reply.finish)
