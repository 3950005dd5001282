"""All requests with long prompts, their texts of known length, and the group of their probes.

A text has distinct lines, one code word, and values that resemble it. Over one API with a context
of 131,072 tokens, all requests have about a million prompt tokens, which
`gpt-oss-verify --suite long --dry-run` lists per probe.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from harness.api import DIALECTS
from harness.api.items import ConversationItem, Message, Reasoning, Tool, ToolCall, ToolResult
from harness.records.conditions import Api
from harness.rules.evidence.documents import behind, code_word_sentence, document, word
from harness.rules.probe import GARBLED, ProbeGroup, ProbeRequest
from harness.rules.rule import HARMONY

QUESTION = "What is the code word?"


SHORTEST = 1_000
GRID = {
    SHORTEST: (0.02, 0.2, 0.4, 0.6, 0.8, 0.98),
    6_000: (0.02, 0.2, 0.4, 0.6, 0.8, 0.98),
    20_000: (0.02, 0.2, 0.4, 0.6, 0.8, 0.98),
    60_000: (0.02, 0.4, 0.8),
    125_000: (0.4,),
}
"""Depths of the code word by prompt length in tokens."""
COUNTED = 0.4  # the depth of the prompts whose tokens are counted
PREFIXES = {1: 256, 2: 512, 3: 1_024, 4: 1_536}
"""Documents whose prompts are repeated, and where the code word is: see `behind`."""
STEPS = (1, 5, 25)  # tool calls of the conversations with tools
TOOLS_OFFERED = 64
RESULT_TOKENS = 20_000
SLACK = 64  # tokens that a provider may add to every prompt, such as a date
FEW_TOKENS = 16
COPY, UNLIMITED = "copy", "unlimited copy"
ONE_TOOL, LONG_RESULT = "one tool", "long result"
FITS, OVER = "fits", "over"
COPIED_TOKENS, COPIES = 4_600, 2
_REPLY_TOKENS = 512
_COPY_LIMIT = 16_000
_PREFIX_TOKENS = 2_000
_FRAME_TOKENS = 80  # at most, of a prompt without tools around the document
_TOOLS_TOKENS, _STEP_TOKENS = 1_700, 75  # at most, of the prompt with all tools, and of a step
COPY_REQUEST = (
    "Write the report above twice, one copy after the other: every line, in the same order, each "
    "on its own line. Leave none out, do not abbreviate, and write nothing else."
)
_CAUSED_BY_MODEL = GARBLED | {
    "text.runaway",
    "reply.empty",
    "reasoning.missing",
    "reasoning.missing.after_result",
    "reasoning.rare",
    "reasoning.missing.truncated",
    "request.refused",
}
"""What a model may do with a prompt that is too long for it; the probes judge refusals."""


@dataclass(frozen=True)
class FillingRequest(ProbeRequest):
    """A request whose prompt is `beyond` tokens longer in harmony than the context."""

    beyond: int = 0

    def within(self, max_context: int) -> ProbeRequest:
        """Return the request for a provider with this context length.

        Harmony's shortest prompt, without a date, has 56 tokens around the text.
        """
        text = f"Repeat{' one' * (max_context + self.beyond - 57)}"
        return replace(self, turns=(Message("user", text),))


def cell(length: int, depth: float) -> str:
    """Return the name of a request with a code word at a depth."""
    return f"{length} at {depth:.0%}"


def steps(count: int) -> str:
    """Return the name of a conversation with this many tool calls."""
    return f"{count} steps"


_CELLS = [(length, depth) for length, depths in GRID.items() for depth in depths]
_REPEATS = ("cold", "warm", "other effort", "again")
"""The requests with one document, in their order; all but one are the same."""
CODE_WORDS = (
    {cell(*place): word(at) for at, place in enumerate(_CELLS)}
    | {f"{kind} {n}": word(100 + n) for n in PREFIXES for kind in _REPEATS}
    | {f"tools {letter}": word(200 + at) for at, letter in enumerate("ABC")}
    | {steps(count): word(300) for count in STEPS}
)
"""The code word of each request that has one, by the name of the request."""


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    return (*_grid(), *_prefixes(api), *_tools_changed(), *_loops(), *_limits(), *_copies())


def _code_word_request(name: str, text: str, tokens: int) -> ProbeRequest:
    """Return the question for the code word after a text of about this many tokens."""
    return ProbeRequest(
        name,
        (Message("user", f"{text}\n{QUESTION}"),),
        effort="low",
        temperature=0.0,
        max_tokens=_REPLY_TOKENS,
        whole=False,
        context=tokens + _FRAME_TOKENS + _REPLY_TOKENS,
        provokes=_CAUSED_BY_MODEL,
    )


def _grid() -> Iterator[ProbeRequest]:
    for length, depths in GRID.items():
        for at, depth in enumerate(depths):
            name = cell(length, depth)
            yield _code_word_request(
                name, document(length, CODE_WORDS[name], depth, first=97 * at), length
            )


def _prefixes(api: Api) -> Iterator[ProbeRequest]:
    options = DIALECTS[api].logprob_options(20)
    for number, boundary in PREFIXES.items():
        depth, first = behind(boundary) / _PREFIX_TOKENS, 10_000 * number
        text = document(_PREFIX_TOKENS, CODE_WORDS[f"cold {number}"], depth, first)
        before = None
        for kind in _REPEATS:
            name = f"{kind} {number}"
            yield replace(
                _code_word_request(name, text, _PREFIX_TOKENS),
                effort="high" if kind == "other effort" else "low",
                after=before,
                options=options,
            )
            before = name


def _tools_changed() -> Iterator[ProbeRequest]:
    """Yield the same document after tools that differ in a code word."""
    text, before = document(_PREFIX_TOKENS, first=50_000), None
    for name in ("tools A", "tools B", "tools C"):
        described = code_word_sentence(CODE_WORDS[name]).strip()
        tool = Tool("get_tide", f"The tide at a harbour. {described}", _PARAMETERS, "{}")
        tokens = _PREFIX_TOKENS + _FRAME_TOKENS
        yield replace(_code_word_request(name, text, tokens), tools=(tool,), after=before)
        before = name


_PARAMETERS = {"type": "object", "properties": {"page": {"type": "string"}}, "required": ["page"]}
_TURN_PAGE = Tool("turn_page", "Read a page of the log.", _PARAMETERS, "{}")
_OFFERED = tuple(
    Tool(f"get_report_{at}", f"Read report {at} of the harbour.", _PARAMETERS, "{}")
    for at in range(1, TOOLS_OFFERED)
)


def conversation(count: int, code_word: str) -> Sequence[ConversationItem]:
    """A user's request and `count` calls, each with its CoT and its result."""
    items: list[ConversationItem] = [
        Message("user", "Turn all pages of the log, then tell me the code word from your notes.")
    ]
    for at in range(1, count + 1):
        note = f"Code word to remember: {code_word}. " if at == 1 else ""
        following = f"p{at + 1}" if at < count else "none"
        items += [
            Reasoning(f"{note}The next page is p{at}. Use turn_page."),
            ToolCall(f"call_{at}", _TURN_PAGE.name, json.dumps({"page": f"p{at}"})),
            ToolResult(f"call_{at}", json.dumps({"read": f"p{at}", "next": following})),
        ]
    return items


def _loops() -> Iterator[ProbeRequest]:
    tools = (_TURN_PAGE, *_OFFERED)
    for count in STEPS:
        name = steps(count)
        question = replace(
            _code_word_request(name, "", _TOOLS_TOKENS + count * _STEP_TOKENS), tools=tools
        )
        yield replace(question, turns=tuple(conversation(count, CODE_WORDS[name])))
    first = tuple(conversation(1, CODE_WORDS[steps(1)]))
    few = partial(ProbeRequest, max_tokens=FEW_TOKENS, whole=False, provokes=_CAUSED_BY_MODEL)
    yield few(ONE_TOOL, first, (_TURN_PAGE,))
    result = ToolResult("call_1", document(RESULT_TOKENS, first=60_000))
    yield few(LONG_RESULT, (*first[:-1], result), (_TURN_PAGE,), context=RESULT_TOKENS + 500)


def _limits() -> Iterator[ProbeRequest]:
    few = partial(FillingRequest, turns=(), max_tokens=FEW_TOKENS, whole=False)
    yield few(FITS, beyond=-SLACK - FEW_TOKENS, provokes=_CAUSED_BY_MODEL)
    yield few(OVER, beyond=1, valid=False)


COPIED = {
    COPY: document(COPIED_TOKENS, first=1_000),
    UNLIMITED: document(COPIED_TOKENS, first=4_000),
}


def _copies() -> Iterator[ProbeRequest]:
    for name, text in COPIED.items():
        yield ProbeRequest(
            name,
            (Message("user", f"{text}\n{COPY_REQUEST}"),),
            effort="low",
            temperature=0.0,
            max_tokens=_COPY_LIMIT if name == COPY else None,
            whole=False,
            context=COPIED_TOKENS + _FRAME_TOKENS + _COPY_LIMIT,
            provokes=_CAUSED_BY_MODEL,
        )


GROUP = ProbeGroup(
    "long", HARMONY, generated=_requests, suite="long", expensive=True, component="messages"
)
