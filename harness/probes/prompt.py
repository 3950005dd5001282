"""What reaches the model, judged from the prompt tokens that a provider reports.

Each probe compares two requests that differ in one element. The difference of their prompt tokens
must equal that of a healthy harmony rendering. Absolute counts are not judged, because they include
what a provider adds to every prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from harmony.vocabulary import VocabularyError
from harness.findings import HARMONY, RAW_COT, Problem
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import NotVerifiableError, ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.probes.prompt_corpus import FEATURES, PROMPTS
from harness.probes.rendering import bare_lengths, differences
from harness.records.conditions import Api

_FEW_TOKENS = 16
_REFUSABLE = frozenset({"request.refused"})
_RARE = frozenset({"result in parts"})
"""Requests that a provider may reject."""


def _requests(_api: Api) -> tuple[ProbeRequest, ...]:
    return tuple(
        ProbeRequest(
            name,
            prompt.turns,
            prompt.tools,
            max_tokens=_FEW_TOKENS,
            provokes=_REFUSABLE if name in _RARE else frozenset(),
        )
        for name, prompt in PROMPTS.items()
    )


GROUP = ProbeGroup("prompt", _requests, HARMONY)


@dataclass(frozen=True)
class _Pair:
    """A probe that compares the prompt tokens of a longer and a shorter request.

    `expected` is the pair of prompts whose difference is correct, if not these two. `slack` is the
    share by which correct renderings of a schema may differ.
    """

    id: str
    longer: str
    shorter: str
    summary: str
    why: str
    source: str = HARMONY
    expected: tuple[str, str] | None = None
    slack: float = 0.0


_LOST = "The model does not see the client's input, or sees it in an untrained format."
_STALE = "The model was not trained on stale CoT. It costs tokens and misleads the model."
_SCHEMA_SLACK = 0.15
_FEATURE_SLACK = 0.4
_CHANNEL_SLACK = 0.15
"""A preamble belongs on the commentary channel; final and analysis have one token fewer."""

PAIRS: Sequence[_Pair] = (
    _Pair("prompt.system", "system", "base",
          "A system message becomes developer instructions.", _LOST),
    _Pair("prompt.developer", "developer", "base",
          "A developer message becomes developer instructions.", _LOST),
    _Pair("prompt.system.second", "two systems", "system",
          "A second system message reaches the model.",
          "Silently dropping instructions is worse than rejecting them."),
    _Pair("prompt.tool", "tool", "base",
          "The developer message describes a tool.", _LOST, slack=_SCHEMA_SLACK),
    _Pair("prompt.tool.with_system", "system and tool", "tool",
          "Instructions and tools share the developer message.", _LOST),
    _Pair("prompt.tool.description", "described tool", "tool",
          "The complete description of a tool reaches the model.", _LOST),
    _Pair("prompt.tool.schema", "nested tool", "base",
          "Nested, optional, default and enum parameters reach the model.", _LOST,
          slack=_SCHEMA_SLACK),
    _Pair("prompt.tool.several", "two tools", "tool",
          "Every offered tool reaches the model.", _LOST, slack=_SCHEMA_SLACK),
    _Pair("prompt.call", "called", "asked",
          "An earlier tool call and its result are rendered as harmony messages.", _LOST),
    _Pair("prompt.call.quotes", "quotes", "called",
          "Quotes and escapes in earlier arguments are preserved.", _LOST),
    _Pair("prompt.results", "two results", "called",
          "A second tool call and its result are rendered, too.", _LOST),
    _Pair("prompt.results.order", "results swapped", "two results",
          "Tool results may arrive in any order.", _LOST),
    _Pair("prompt.results.names", "both called", "both asked",
          "Each tool result is rendered under the name of its tool.",
          "Otherwise the model confuses the results of different tools."),
    _Pair("prompt.result.parts", "result in parts", "asked",
          "All parts of a tool result reach the model.", _LOST),
    _Pair("prompt.preamble", "preamble", "called",
          "Text next to an earlier tool call is rendered.", _LOST, slack=_CHANNEL_SLACK),
    _Pair("prompt.cot.kept", "thought", "called",
          "CoT before a tool call is rendered until the final answer.",
          "The model calls tools from within its CoT; without it, the model forgets why.", RAW_COT),
    _Pair("prompt.cot.dropped", "stale thought", "concluded",
          "CoT is dropped after the final answer.", _STALE, RAW_COT,
          expected=("concluded", "concluded")),
    _Pair("prompt.cot.dropped.no_tools", "stale answer", "answered",
          "CoT of an earlier answer without tools is dropped.", _STALE, RAW_COT,
          expected=("answered", "answered")),
    _Pair("prompt.history", "answered", "base",
          "Earlier questions and answers reach the model.", _LOST),
    _Pair("prompt.parts", "parts", "base", "All parts of a content array reach the model.", _LOST),
    _Pair("prompt.scripts", "scripts", "base",
          "Text in other scripts reaches the model unchanged.", _LOST),
    _Pair("prompt.special", "special", "base",
          "Special tokens spelled out by a user remain text.",
          "Otherwise users can write system messages."),
    _Pair("prompt.long", "long", "base", "A long prompt is not truncated.",
          "Silent truncation loses the client's input."),
    *(
        _Pair(f"prompt.tool.schema.{name}", f"with {name}", f"without {name}",
              f"{label} in a tool's schema reaches the model.", _LOST, slack=_FEATURE_SLACK)
        for name, (label, _, _) in FEATURES.items()
    ),
)  # fmt: skip


@GROUP.probe("prompt.bare", ("base",), severity="info")
def _bare(responses: ProbeResponses) -> Trials:
    """A prompt without instructions and tools is as long as harmony's, with or without a date.

    A longer prompt contains text that the provider adds, such as built-in tools. A shorter one
    lacks part of the system message. The count does not show which.
    """
    exchange, count = _prompt_tokens(responses, "base")
    try:
        right = bare_lengths(PROMPTS["base"])
    except VocabularyError as error:
        raise NotVerifiableError(str(error)) from None
    message = "The length of a minimal prompt differs from harmony's."
    expected = " or ".join(f"{each} tokens" for each in sorted(right))
    other = Problem(exchange, message, expected, f"{count} tokens", "$.usage")
    yield None if count in right else other


def _judge(pair: _Pair, responses: ProbeResponses) -> Trials:
    longer, more = _prompt_tokens(responses, pair.longer)
    _, less = _prompt_tokens(responses, pair.shorter)
    first, second = pair.expected or (pair.longer, pair.shorter)
    try:
        right = differences(PROMPTS[first], PROMPTS[second])
    except VocabularyError as error:
        raise NotVerifiableError(str(error)) from None
    got = more - less
    deviation = min(abs(got - each) for each in right)
    if deviation <= pair.slack * max(right):
        yield None
        return
    yield Problem(
        longer,
        f"The request {pair.longer!r} has {got} prompt tokens more than {pair.shorter!r}.",
        _as_text(right),
        f"{got} more ({more} and {less})",
        "$.usage",
    )


def _prompt_tokens(responses: ProbeResponses, name: str) -> tuple[ParsedExchange, int]:
    exchange, reply = responses.reply(name)
    if not reply.input_tokens:
        raise NotVerifiableError("The provider does not report prompt tokens.")
    return exchange, reply.input_tokens


def _as_text(right: Iterable[int]) -> str:
    least, most = min(right), max(right)
    return f"{least} more" if least == most else f"{least} to {most} more"


for _pair in PAIRS:
    GROUP.probe(
        _pair.id,
        (_pair.longer, _pair.shorter),
        source=_pair.source,
        text=f"{_pair.summary} {_pair.why}",
    )(partial(_judge, _pair))
