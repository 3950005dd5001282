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
from harness.checks.rules import HARMONY
from harness.checks.texts import GARBLED
from harness.probes.probe import ProbeGroup, ProbeRequest
from harness.records.conditions import Api

LINES, TOKENS = 7, 85  # any seven consecutive lines have 85 tokens of the o200k vocabulary
QUESTION = "What is the code word?"
PLACES = ("harbour", "library", "mill", "chapel", "depot", "tower", "orchard", "bridge")
_COLOURS = ("red", "green", "amber", "white", "violet", "black", "silver")
_STATES = ("open", "closed", "leaking", "under repair", "empty", "sold", "flooded")
_NAMES = ("maple", "tern", "quartz", "linden", "ember", "harrow", "pewter", "sorrel", "thimble")
_OTHER_NAMES = ("walnut", "saffron", "juniper")
_SIMILAR = ("door code of the mill", "name of the chapel", "ticket number of the tower")
_SIMILAR_EVERY = 40  # lines from one value that resembles the code word to the next


def word(number: int) -> str:
    """Return the code word with this number; all of the first 1,000 differ."""
    return f"{_NAMES[number % len(_NAMES)]}{2000 + 7 * number}"


def code_word_sentence(code_word: str) -> str:
    """Return the sentence that gives a code word."""
    return f"The code word is {code_word}.\n"


def line(at: int) -> str:
    """Return the line of a report with this number; all of 12,600 consecutive ones differ."""
    colour, place, state = _COLOURS[at % 7], PLACES[at * 3 % 8], _STATES[at * 5 % 7]
    return f"{100 + 37 * at % 900}: the {colour} {place} is {state} since {1 + at * 11 % 28} May."


def lines_of(tokens: int) -> int:
    """Return the lines of a text of about this many tokens."""
    return max(tokens * LINES // TOKENS, 1)


def behind(boundary: int) -> int:
    """Return the tokens of a document before a code word just behind this position of the prompt.

    Blocks of a KV cache, chunks of a prefill and windows of attention begin at multiples of powers
    of two. Harmony has 53 tokens before the document, and a server's date adds about ten: the word
    is 10 to 40 tokens behind the boundary.
    """
    return boundary - 36


def document(tokens: int, code_word: str | None = None, depth: float = 0.0, first: int = 0) -> str:
    """About `tokens` tokens of text from line `first` on, with a code word at this share."""
    count = lines_of(tokens)
    lines = [f"{_similar(at) or line(at)}\n" for at in range(first, first + count)]
    if code_word is not None:
        lines.insert(round(depth * count), code_word_sentence(code_word))
    return "".join(lines)


def _similar(at: int) -> str | None:
    """A line with a value that resembles a code word, at every `_SIMILAR_EVERY`-th place."""
    if at % _SIMILAR_EVERY != _SIMILAR_EVERY // 2:
        return None
    value = f"{_OTHER_NAMES[at % 3]}{2000 + 7 * at % 5000}"
    return f"The {_SIMILAR[at % len(_SIMILAR)]} is {value}."


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
CONVERSATIONS = range(5)  # of each length, with different code words
TOOLS_OFFERED = 64
RESULT_TOKENS = 20_000
SLACK = 64  # tokens that a provider may add to every prompt, such as a date
FEW_TOKENS = 16
COPY, UNLIMITED = "copy", "unlimited copy"
COPIED_TOKENS, COPIES = 4_600, 2
_REPLY_TOKENS = 512
_COPY_LIMIT = 16_000
_PREFIX_TOKENS = 2_000
_ALTERNATIVES = 20
_FRAME_TOKENS = 80  # at most, of a prompt without tools around the document
_TOOLS_TOKENS, _STEP_TOKENS = 1_700, 75  # at most, of the prompt with all tools, and of a step
COPY_REQUEST = (
    "Write the report above twice, one copy after the other: every line, in the same order, each "
    "on its own line. Leave none out, do not abbreviate, and write nothing else."
)
_CAUSED_BY_MODEL = GARBLED | {
    "text.runaway",
    "reply.empty",
    "chat.reasoning.missing",
    "responses.reasoning.missing",
    "reasoning.missing.after_result",
    "reasoning.rare",
    "reasoning.absent",
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


def steps(count: int, conversation: int) -> str:
    """Return the name of a conversation with this many tool calls."""
    return f"{count} steps {conversation}"


_CELLS = [(length, depth) for length, depths in GRID.items() for depth in depths]
_REPEATS = ("cold", "warm", "other effort", "again")
"""The requests with one document, in their order; all but one are the same."""
CODE_WORDS = (
    {cell(*place): word(at) for at, place in enumerate(_CELLS)}
    | {f"{kind} {n}": word(100 + n) for n in PREFIXES for kind in _REPEATS}
    | {f"tools {letter}": word(200 + at) for at, letter in enumerate("ABC")}
    | {steps(n, at): word(300 + at) for n in STEPS for at in CONVERSATIONS}
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
    options = DIALECTS[api].logprob_options(_ALTERNATIVES)
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
        for number in CONVERSATIONS:
            name = steps(count, number)
            question = replace(
                _code_word_request(name, "", _TOOLS_TOKENS + count * _STEP_TOKENS), tools=tools
            )
            yield replace(question, turns=tuple(conversation(count, CODE_WORDS[name])))
    first = tuple(conversation(1, CODE_WORDS[steps(1, 0)]))
    few = partial(ProbeRequest, max_tokens=FEW_TOKENS, whole=False, provokes=_CAUSED_BY_MODEL)
    yield few("one tool", first, (_TURN_PAGE,))
    result = ToolResult("call_1", document(RESULT_TOKENS, first=60_000))
    yield few("long result", (*first[:-1], result), (_TURN_PAGE,), context=RESULT_TOKENS + 500)


def _limits() -> Iterator[ProbeRequest]:
    few = partial(FillingRequest, turns=(), max_tokens=FEW_TOKENS, whole=False)
    yield few("fits", beyond=-SLACK - FEW_TOKENS, provokes=_CAUSED_BY_MODEL)
    yield few("over", beyond=1, valid=False)


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


GROUP = ProbeGroup("long", _requests, HARMONY, suite="long", expensive=True)
