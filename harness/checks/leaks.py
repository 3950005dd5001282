"""Harmony, the prompt format, showing through where only text belongs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from harness.api.base import Reply
from harness.checks.base import HARMONY, RAW_COT, Family, Problem
from harness.checks.subjects import Answer, answers

family = Family("leaks")

_MARKER = re.compile(
    r"<\|(?:start|end|message|channel|constrain|return|call|startoftext|endoftext|reserved_\d+)\|>"
)
# A header of which a detokeniser or a parser dropped the markers.
_GLUED = r"assistant(?:analysis|commentary|final)"
_REMAINS = re.compile(
    rf"^\s*(?:analysis|commentary|final)[A-Z]|{_GLUED}|\bto=functions\."
    r"|^\s*(?:analysis|commentary|final)(?:json|code)?message(?![a-z])"
)
_REMAINS_IN_REASONING = re.compile(_GLUED)
_COT_TAG = re.compile(r"^\s*<(think|thinking|reasoning)>|</(think|thinking|reasoning)>", re.I)
# Markers of other models' prompt formats.
_FOREIGN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|begin_of_text"
    r"|user|assistant|system|observation|eos)\|>|</?start_of_turn>|<end_of_turn>|\[/?INST\]"
    "|<\N{FULLWIDTH VERTICAL LINE}[^<>]{1,40}\N{FULLWIDTH VERTICAL LINE}>"
)
# How gpt-oss begins to think, and rarely begins to answer.
_COT_OPENING = re.compile(
    r"\s*(?:The user (?:asks|wants|says|is asking|has asked)|User (?:asks|wants|says)"
    r"|We (?:need to|have to|should|must)\b|Need to\b|We are asked)"
)
_SHORTEST_COPY = 40
_PARSER_WHY = "The provider's harmony parser failed; clients show or execute the rubbish."

Judge = Callable[[Answer], Iterator[Problem]]


def _search(pattern: re.Pattern[str], message: str, places: Collection[str]) -> Judge:
    """Finds a pattern in some texts of a reply, unless the user wrote it first."""

    def judge(answer: Answer) -> Iterator[Problem]:
        turn, reply = answer
        for place, text in _texts(reply):
            every = pattern.finditer(text) if place in places else ()
            found = next((one for one in every if one.group().strip() not in turn.prompt), None)
            if found:
                around = text[max(0, found.start() - 40) : found.end() + 40]
                yield Problem(turn, message.format(place=place), "plain text", around)

    return judge


def _texts(reply: Reply) -> Iterator[tuple[str, str]]:
    yield "answer", reply.text
    yield "reasoning", reply.reasoning
    for call in reply.calls:
        yield "tool name", call.name
        yield "arguments", call.arguments


family.check(
    "harmony.markers",
    over=answers,
    severity="error",
    summary="No harmony marker stands in an answer, reasoning, tool name or arguments.",
    why=_PARSER_WHY,
    source=HARMONY,
)(
    _search(
        _MARKER,
        "A harmony marker stands in the {place}.",
        ("answer", "reasoning", "tool name", "arguments"),
    )
)

family.check(
    "harmony.remains",
    over=answers,
    severity="error",
    summary="No harmony header without its markers stands in an answer or tool name.",
    why=_PARSER_WHY,
    source=HARMONY,
)(
    _search(
        _REMAINS,
        "What is left of a harmony header stands in the {place}.",
        ("answer", "tool name"),
    )
)

family.check(
    "harmony.remains.reasoning",
    over=answers,
    severity="error",
    summary="No harmony header without its markers stands in the reasoning.",
    why="The provider's harmony parser ran past the end of the CoT.",
    source=HARMONY,
    tolerated=0.02,
)(
    _search(
        _REMAINS_IN_REASONING,
        "What is left of a harmony header stands in the {place}.",
        ("reasoning",),
    )
)

family.check(
    "harmony.foreign",
    over=answers,
    severity="error",
    summary="No marker of another model's prompt format stands in any text.",
    why="gpt-oss has no such tokens: another model answers, or harmony is written over its format.",
    source=HARMONY,
    tolerated=0.02,
)(
    _search(
        _FOREIGN,
        "A marker of another prompt format stands in the {place}.",
        ("answer", "reasoning", "tool name", "arguments"),
    )
)

family.check(
    "reasoning.in_answer",
    over=answers,
    severity="error",
    summary="The CoT is not part of the answer.",
    why="Users are shown what was not meant for them.",
    source=RAW_COT,
)(_search(_COT_TAG, "Tags of reasoning stand in the {place}.", ("answer",)))


@family.check(
    "reasoning.in_answer.untagged",
    over=answers,
    severity="warning",
    summary="An answer without CoT beside it does not begin the way gpt-oss begins to think.",
    why="It may be the CoT; told by its wording, so it may also be an odd answer.",
    source=RAW_COT,
    tolerated=0.02,
)
def _untagged(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    if not reply.reasoning and _COT_OPENING.match(reply.text):
        message = "There is no reasoning, and the answer begins like one."
        yield Problem(turn, message, "an answer", reply.text)


@family.check(
    "reasoning.in_answer.repeated",
    over=answers,
    severity="warning",
    summary="The CoT does not stand before the answer once more.",
    why="Users are shown what was not meant for them.",
    source=RAW_COT,
    tolerated=0.02,
)
def _repeated(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    text, reasoning = reply.text.strip(), reply.reasoning.strip()
    if (
        len(reasoning) > _SHORTEST_COPY
        and len(text) > len(reasoning)
        and text.startswith(reasoning)
    ):
        message = "The answer begins with the whole reasoning."
        yield Problem(turn, message, "an answer that begins after it", reply.text)


@family.check(
    "reasoning.is_answer",
    over=answers,
    severity="warning",
    summary="Answer and CoT are different texts.",
    why="The same text in both places comes from a parser that tells no channels apart.",
    source=RAW_COT,
)
def _same(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    text, reasoning = reply.text.strip(), reply.reasoning.strip()
    if len(text) > _SHORTEST_COPY and (text == reasoning or reasoning.startswith(text)):
        message = "Answer and reasoning are the same text."
        yield Problem(turn, message, "an answer of its own", reply.text)


@family.check(
    "reasoning.holds_answer",
    over=answers,
    severity="warning",
    summary="The answer does not stand at the end of the CoT.",
    why="Whoever hides the CoT loses nothing, but the parser did not see where it ends.",
    source=RAW_COT,
    tolerated=0.05,
)
def _answer_in_reasoning(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    text, reasoning = reply.text.strip(), reply.reasoning.strip()
    if len(text) > _SHORTEST_COPY and len(reasoning) > len(text) and reasoning.endswith(text):
        message = "The whole answer stands at the end of the reasoning."
        yield Problem(turn, message, "reasoning that ends before the answer", reasoning[-200:])
