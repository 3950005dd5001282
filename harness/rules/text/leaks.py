"""Leaks of harmony, the prompt format, into text that clients see."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from harness.api.json_text import parsed_object
from harness.api.ledger import wrote_all
from harness.api.parsed_rollout import ParsedExchange
from harness.rules.account.counting import NEAR
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, every_choice
from harness.rules.habits import MALFORMED_HEADERS, recorded
from harness.rules.rule import HARMONY, RAW_COT, Problem

family = Family("text", RAW_COT, component="output")

_SPECIAL_TOKEN = re.compile(
    r"<\|(?:start|end|message|channel|constrain|return|call|startoftext|endoftext|reserved_\d+)\|>"
)
# A header with its special tokens, as the model is trained to write it; also an end token.
_WELL_FORMED = re.compile(
    r"<\|(?:end|return|call)\|>|(?:<\|start\|>assistant(?: ?to=\S+)?)?"
    r"(?:<\|channel\|>(?:analysis|commentary|final)(?: ?to=\S+)?)?"
    r"(?: ?<\|constrain\|>\w+| \w+)?<\|message\|>"
)
# The end of a truncated text, from the header that the token limit cut on.
_CUT_HEADER = re.compile(
    r"(?:<\|end\|>)?(?:<\|(?:start|channel|constrain)\|>[^\n<]{0,80})+$|<\|end\|>$"
    r"|assistant(?:analysis|commentary|final)(?: ?to=\S*)?(?:json|code)?$"
)
# A header whose special tokens a detokenizer or parser dropped.
_MERGED_HEADER = r"assistant(?:analysis|commentary|final|(?:code|json)(?=\s*\{))"
# The last alternative is a header inside JSON, where a JSON grammar began too early.
_HEADER = re.compile(
    rf"^\s*(?:analysis|commentary|final)[A-Z]|{_MERGED_HEADER}|\bto=functions\."
    r"|^\s*(?:analysis|commentary|final)(?:json|code)?message(?![a-z])"
    r'|^\s*\{\s*"(?:analysis|commentary|final)\{'
)
# In a reply without CoT, an answer that begins like this contains its own header.
_ANSWER_HEADER = re.compile(r'^final(?=[\d*#"{|$\\])')
_HEADER_IN_REASONING = re.compile(rf"^\s*analysis[A-Z]|{_MERGED_HEADER}")
_COT_TAG = re.compile(r"^\s*<(think|thinking|reasoning)>|</(think|thinking|reasoning)>", re.I)
_TAG_NAMED = re.compile(r"</?(?:think|thinking|reasoning)>", re.IGNORECASE)
# Special tokens of other models' prompt formats.
_FOREIGN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|begin_of_text"
    r"|user|assistant|system|observation|eos)\|>|</?start_of_turn>|<end_of_turn>|\[/?INST\]"
    "|<\N{FULLWIDTH VERTICAL LINE}[^<>]{1,40}\N{FULLWIDTH VERTICAL LINE}>"
)
# How gpt-oss often starts its CoT and rarely starts an answer.
_COT_OPENING = re.compile(
    r"\s*(?:The user (?:asks|wants|says|is asking|has asked)|User (?:asks|wants|says)"
    r"|We (?:need to|have to|should|must)\b|Need to\b|We are asked)"
)
_COT_HEADER = re.compile(rf"\s*analysis{_COT_OPENING.pattern}")
# Code in Markdown: a closed block, or a closed span.
_CODE = re.compile(r"```.*?```|(?<!`)`[^`\n]+`(?!`)", re.DOTALL)
_SHORTEST_COPY = 40
_WRITTEN = (0, -2)
"""Unexplained tokens of a reply whose header the model wrote as text, or without `<|message|>`. The
name of the channel is then in the text and in the header that the ledger assumes. If the server
dropped special tokens instead, those of the reply exceed these numbers."""
_UNREAD = re.compile(rf"{_MERGED_HEADER}|\bto=functions\.\S+?(?:\s*(?:json|code))?\s*\{{")
"""Words of a header without spaces, or those of a call with its arguments: no sentence has them."""
_EVERYWHERE = ("answer", "reasoning", "tool name", "argument text")


def _search(
    answer: Answer, pattern: re.Pattern[str], places: Collection[str], what: str
) -> Iterator[Problem]:
    """Report the first match in each place, unless the prompt contains it, or it is code.

    Text of arguments that are a JSON object is in their strings, where nothing leaks.
    """
    exchange, reply = answer
    names = (("tool name", call.name) for call in reply.calls)
    for place, text in (*answer.texts, *names):
        if place not in places:
            continue
        if place == "argument text" and parsed_object(text) is not None:
            continue
        if reply.finish == "length":
            text = _CUT_HEADER.sub("", text)
        if place in ("answer", "reasoning") and "`" in text:
            text = _CODE.sub("", text)
        matches = pattern.finditer(text)
        match = next((m for m in matches if m.group().strip() not in exchange.prompt), None)
        if match:
            context = text[max(0, match.start() - 40) : match.end() + 40]
            message = f"The {place} contains {what}."
            # Only the model writes a header in a form that it was not trained to write.
            malformed = _SPECIAL_TOKEN.search(_WELL_FORMED.sub("", text)) is not None
            own = place in ("answer", "reasoning") and malformed
            expected = f"{place} without format markup"
            yield Problem(exchange, message, expected, context, proven=not own)


@family.check("harmony.markers", every_choice, source=HARMONY, habit=MALFORMED_HEADERS)
def _special_tokens(answer: Answer) -> Iterator[Problem]:
    """No harmony special tokens leak into the answer, reasoning, tool names or arguments.

    The provider's harmony parser failed. Clients show or execute the markup. A reply in which the
    model spelled the markup, for example to explain it, is not reported: it has CoT, and its
    reported tokens are exactly those of its texts. A special token is a single token, its spelling
    several. A few headers that the model malformed are tolerated.
    """
    problems = list(_search(answer, _SPECIAL_TOKEN, _EVERYWHERE, "a harmony special token"))
    if not problems or not _fits_tokens(answer):
        yield from problems


@family.check(
    "harmony.cut",
    every_choice,
    lambda answer: answer.reply.finish == "length",
    source=HARMONY,
    fix="Drop a header that the token limit cut, because it isn't content.",
)
def _cut_header(answer: Answer) -> Iterator[Problem]:
    """A reply whose token limit falls inside a header contains no part of the header.

    The provider's harmony parser returns an unfinished header as text. Clients show the markup.
    """
    for place, text in (("answer", answer.reply.text), ("reasoning", answer.reply.reasoning)):
        match = _CUT_HEADER.search(text)
        if match and match[0] not in answer.exchange.prompt:
            message = f"The truncated {place} ends with parts of a harmony header."
            yield Problem(answer.exchange, message, f"{place} without format markup", text[-80:])


@family.check(
    "harmony.remains",
    every_choice,
    source=HARMONY,
    habit=MALFORMED_HEADERS,
    fix="Parse headers as tokens, not as text, and drop those that a reply begins or ends with.",
)
def _header(answer: Answer) -> Iterator[Problem]:
    """No harmony header stripped of its special tokens leaks into the answer or tool names.

    The provider's harmony parser failed. Clients show or execute the markup. Nothing is reported if
    the number of tokens shows that the model wrote the header as text, or without its message
    token, unless the reply begins with the header of a missing CoT. Words of a header prove a
    defect only if the reply begins with them in place of its CoT, or if they are no words of a
    sentence and the reply has more tokens than these; without this proof, a few are tolerated,
    because a model may explain its format. The check harmony.markers reports headers with special
    tokens.
    """
    reply, what = answer.reply, "parts of a harmony header"
    if any(_SPECIAL_TOKEN.search(text) for text in (reply.text, *(c.name for c in reply.calls))):
        return
    problems = list(_search(answer, _HEADER, ("answer", "tool name"), what))
    if not problems and not reply.reasoning:
        problems = list(_search(answer, _ANSWER_HEADER, ("answer",), what))
    counted = answer.ledger if problems else None
    own = counted is not None and counted.exact and counted.difference in _WRITTEN
    unparsed = not reply.reasoning and _COT_HEADER.match(reply.text)
    if unparsed or not own:
        dropped = counted is not None and counted.exact and counted.difference > NEAR
        unread = not answer.exchange.request.wants_json and _UNREAD.search(reply.text)
        proven = bool(unparsed) or bool(dropped and unread)
        yield from (replace(problem, proven=proven) for problem in problems)


@family.check(
    "harmony.remains.reasoning",
    every_choice,
    source=HARMONY,
    habit=MALFORMED_HEADERS,
    fix="Parse headers as tokens, not as text, and drop those that a reply begins or ends with.",
)
def _header_in_reasoning(answer: Answer) -> Iterator[Problem]:
    """No harmony header stripped of its special tokens leaks into the reasoning.

    The provider's harmony parser missed the start of the CoT, or read past its end.
    """
    return _search(answer, _HEADER_IN_REASONING, ("reasoning",), "parts of a harmony header")


@family.check(
    "harmony.foreign",
    every_choice,
    source=HARMONY,
    habit=recorded(0.005),
    component="prompt",
    fix="Render and parse the harmony format, not another model's.",
)
def _foreign(answer: Answer) -> Iterator[Problem]:
    """No special tokens of another model's prompt format appear in any text.

    gpt-oss has no such tokens. Either a different model answers, or the server renders harmony
    inside a different chat template.
    """
    what = "a special token of another model's prompt format"
    return _search(answer, _FOREIGN, _EVERYWHERE, what)


@family.check(
    "reasoning.in_answer",
    every_choice,
)
def _tagged(answer: Answer) -> Iterator[Problem]:
    """The answer does not contain tagged CoT. Users see text that is not meant for them.

    Tags that the model wrote are not reported: then the reply has its own CoT, and its reported
    tokens are exactly those of its texts.
    """
    for problem in _search(answer, _COT_TAG, ("answer",), "reasoning tags"):
        if not _TAG_NAMED.search(answer.exchange.prompt) and not _fits_tokens(answer):
            yield problem


@family.check(
    "reasoning.in_answer.untagged",
    every_choice,
    severity="warning",
    habit=recorded(0.01),
    example=(
        "The chain of thought is returned as part of the content.",
        "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/851",
    ),
    reads=("extras",),
)
def _untagged(answer: Answer) -> Iterator[Problem]:
    """An answer without separate CoT does not begin like the CoT of gpt-oss.

    The answer may be the CoT. The check judges only the wording, and also reports unusual answers.
    """
    exchange, reply = answer
    if not reply.reasoning and _COT_OPENING.match(reply.text):
        message = "The reply has no reasoning, and its answer begins like a chain of thought."
        yield Problem(exchange, message, "an answer", reply.text)


@family.check(
    "reasoning.in_answer.repeated", every_choice, severity="warning", habit=recorded(0.01)
)
def _repeated(answer: Answer) -> Iterator[Problem]:
    """The answer does not repeat the CoT. Users see text that is not meant for them."""
    exchange, text, reasoning = _stripped(answer)
    copied = len(text) > len(reasoning) and text.startswith(reasoning)
    if len(reasoning) > _SHORTEST_COPY and copied and not _wrote_both(answer):
        message = "The answer begins with a copy of the entire reasoning."
        yield Problem(exchange, message, "only the answer", answer.reply.text)


@family.check(
    "reasoning.is_answer",
    every_choice,
    lambda answer: answer.reply.text and answer.reply.reasoning,
    severity="warning",
)
def _same(answer: Answer) -> Iterator[Problem]:
    """The answer and the CoT are different texts.

    Identical texts come from a parser that does not separate channels. They are not reported if the
    number of tokens suffices for both.
    """
    exchange, text, reasoning = _stripped(answer)
    copied = len(text) > _SHORTEST_COPY and reasoning.startswith(text)
    if copied and not _wrote_both(answer):
        message = "The answer is a copy of the reasoning."
        yield Problem(exchange, message, "an answer that differs from the CoT", answer.reply.text)


@family.check("reasoning.holds_answer", every_choice, severity="warning", habit=recorded(0.05))
def _answer_in_reasoning(answer: Answer) -> Iterator[Problem]:
    """The CoT does not end with the answer.

    The parser missed the end of the CoT. Clients that hide the CoT are not affected. Nothing is
    reported if the number of tokens suffices for both texts: the model then drafted its answer.
    """
    exchange, text, reasoning = _stripped(answer)
    copied = len(reasoning) > len(text) > _SHORTEST_COPY and reasoning.endswith(text)
    if copied and not _wrote_both(answer):
        message = "The reasoning ends with a copy of the entire answer."
        yield Problem(exchange, message, "reasoning without the answer", reasoning[-200:])


def _fits_tokens(answer: Answer) -> bool:
    """Whether a reply with CoT has exactly the reported tokens if the model spelled all markup."""
    return bool(answer.reply.reasoning) and wrote_all(*answer, spelled=True)


def _wrote_both(answer: Answer) -> bool:
    """Whether the reported tokens cover the CoT and the answer, so the model wrote both."""
    counted = answer.ledger
    if counted is None:
        return False
    return counted.reported >= counted.texts and (counted.thinking or counted.cot) >= counted.cot


def _stripped(answer: Answer) -> tuple[ParsedExchange, str, str]:
    exchange, reply = answer
    return exchange, reply.text.strip(), reply.reasoning.strip()
