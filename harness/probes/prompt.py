"""What reaches the model, told from the prompt tokens that a provider reports.

Each probe compares two requests that differ in one element. The difference of their prompt tokens
must be that of a healthy harmony rendering; absolute counts, which hold what a provider puts
before every prompt, are not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harmony.vocabulary import VocabularyError
from harness.checks.base import HARMONY, RAW_COT, Problem
from harness.parsing.rollout import ParsedExchange as Seen
from harness.probes.base import Answers, Ask, Bench, Level, NotVerifiableError, Trial
from harness.probes.prompt_corpus import PROMPTS
from harness.probes.prompt_tools import FEATURES
from harness.probes.rendering import bare_lengths, differences
from harness.records.conditions import Api
from harness.records.scores import Severity

_FEW_TOKENS = 16
_REFUSABLE = frozenset({"request.refused"})
_RARE = frozenset({"result in parts"})
"""What a provider may refuse, if it says so."""


def _asks(_api: Api) -> tuple[Ask, ...]:
    return tuple(
        Ask(
            name,
            prompt.turns,
            prompt.tools,
            max_tokens=_FEW_TOKENS,
            provokes=_REFUSABLE if name in _RARE else frozenset(),
        )
        for name, prompt in PROMPTS.items()
    )


BENCH = Bench("prompt", _asks)


@dataclass(frozen=True)
class _Pair:
    """A probe: what the longer request has that the shorter one has not, and what it may cost.

    `expected` is the pair of prompts whose difference is right, where it is not the pair asked.
    `slack` is the share by which a schema may be written differently and still be whole.
    """

    id: str
    longer: str
    shorter: str
    summary: str
    why: str
    source: str = HARMONY
    expected: tuple[str, str] | None = None
    slack: float = 0.0
    severity: Severity = "error"
    level: Level = "quick"


_LOST = "The model does not see what the client sent, or sees it in a form it was not trained on."
_SCHEMA_SLACK = 0.15
_FEATURE_SLACK = 0.4
_CHANNEL_SLACK = 0.15
"""A preamble's channel is commentary; some put final or analysis, which have a token less."""

PAIRS: Sequence[_Pair] = (
    _Pair("prompt.system", "system", "base",
          "A system message becomes developer instructions.", _LOST),
    _Pair("prompt.developer", "developer", "base",
          "A developer message becomes developer instructions.", _LOST),
    _Pair("prompt.system.second", "two systems", "system",
          "A second system message reaches the model.",
          "Dropping instructions in silence is worse than refusing them."),
    _Pair("prompt.tool", "tool", "base",
          "A tool is described in the developer message.", _LOST, slack=_SCHEMA_SLACK),
    _Pair("prompt.tool.with_system", "system and tool", "tool",
          "Instructions and tools share the developer message.", _LOST),
    _Pair("prompt.tool.description", "described tool", "tool",
          "A tool's description reaches the model whole.", _LOST),
    _Pair("prompt.tool.schema", "nested tool", "base",
          "Nested, optional, default and enum parameters reach the model.", _LOST,
          slack=_SCHEMA_SLACK),
    _Pair("prompt.tool.several", "two tools", "tool",
          "Every tool on offer reaches the model.", _LOST, slack=_SCHEMA_SLACK),
    _Pair("prompt.call", "called", "asked",
          "An earlier call and its result are put back as harmony messages.", _LOST),
    _Pair("prompt.call.quotes", "quotes", "called",
          "Quotes and escapes in earlier arguments are kept.", _LOST),
    _Pair("prompt.results", "two results", "called",
          "A second call and its result are put back, too.", _LOST),
    _Pair("prompt.results.order", "results swapped", "two results",
          "Results may come in either order.", _LOST),
    _Pair("prompt.results.names", "both called", "both asked",
          "Results of different tools are each put back under the tool's own name.",
          "The model takes one tool's result for another's."),
    _Pair("prompt.result.parts", "result in parts", "asked",
          "All parts of a tool's result reach the model.", _LOST),
    _Pair("prompt.preamble", "preamble", "called",
          "Text that stood beside a tool call is put back.", _LOST, slack=_CHANNEL_SLACK),
    _Pair("prompt.cot.kept", "thought", "called",
          "The CoT before a tool call is put back until the final answer.",
          "The model calls tools inside its CoT; without it, it forgets why.", RAW_COT),
    _Pair("prompt.cot.dropped", "stale thought", "concluded",
          "The CoT is dropped once a final answer has concluded it.",
          "The model was not trained on stale CoT; it costs tokens and misleads.", RAW_COT,
          expected=("concluded", "concluded")),
    _Pair("prompt.cot.dropped.no_tools", "stale answer", "answered",
          "The CoT of an earlier answer without tools is dropped.",
          "The model was not trained on stale CoT; it costs tokens and misleads.", RAW_COT,
          expected=("answered", "answered")),
    _Pair("prompt.history", "answered", "base",
          "Earlier answers and questions reach the model.", _LOST),
    _Pair("prompt.parts", "parts", "base", "All parts of a content array reach the model.", _LOST),
    _Pair("prompt.scripts", "scripts", "base",
          "Text in other scripts reaches the model unharmed.", _LOST),
    _Pair("prompt.special", "special", "base",
          "Special tokens spelt out by a user stay text.",
          "Users could otherwise write system messages."),
    _Pair("prompt.long", "long", "base", "A long prompt is not cut.",
          "A silent cut loses what the client sent."),
    *(
        _Pair(f"prompt.tool.schema.{name}", f"with {name}", f"without {name}",
              f"{words} in a tool's schema reaches the model.", _LOST, slack=_FEATURE_SLACK)
        for name, (words, _, _) in FEATURES.items()
    ),
)  # fmt: skip


@BENCH.probe(
    "prompt.bare",
    uses=("base",),
    severity="info",
    summary="A prompt without instructions and tools is as long as harmony's, date or not.",
    why="More is text that the provider puts before every prompt, such as built-in tools; less "
    "is a part of the system message that is missing. What it is does not show.",
    source=HARMONY,
)
def _bare(answers: Answers) -> Iterator[Trial]:
    turn, count = _prompt_tokens(answers, "base")
    try:
        right = bare_lengths(PROMPTS["base"])
    except VocabularyError as error:
        raise NotVerifiableError(str(error)) from None
    message = "A bare prompt has another length than harmony's."
    expected = " or ".join(f"{each} tokens" for each in sorted(right))
    other = Problem(turn, message, expected, f"{count} tokens", "$.usage")
    yield None if count in right else other


def _judge(pair: _Pair, answers: Answers) -> Iterator[Trial]:
    longer, more = _prompt_tokens(answers, pair.longer)
    _, less = _prompt_tokens(answers, pair.shorter)
    first, second = pair.expected or (pair.longer, pair.shorter)
    try:
        right = differences(PROMPTS[first], PROMPTS[second])
    except VocabularyError as error:
        raise NotVerifiableError(str(error)) from None
    got = more - less
    off = min(abs(got - each) for each in right)
    if off <= pair.slack * max(right):
        yield None
        return
    yield Problem(
        longer,
        f"{pair.longer!r} costs {got} prompt tokens more than {pair.shorter!r}.",
        _in_words(right),
        f"{got} more ({more} and {less})",
        "$.usage",
    )


def _prompt_tokens(answers: Answers, name: str) -> tuple[Seen, int]:
    turn, reply = answers.reply(name)
    count = reply.usage.input_tokens if reply.usage else None
    if not count:
        raise NotVerifiableError("The provider does not report prompt tokens.")
    return turn, count


def _in_words(right: Iterable[int]) -> str:
    least, most = min(right), max(right)
    return f"{least} more" if least == most else f"{least} to {most} more"


def _register(pair: _Pair) -> None:
    @BENCH.probe(
        pair.id,
        uses=(pair.longer, pair.shorter),
        severity=pair.severity,
        summary=pair.summary,
        why=pair.why,
        source=pair.source,
        level=pair.level,
    )
    def judge(answers: Answers) -> Iterator[Trial]:
        return _judge(pair, answers)


for _pair in PAIRS:
    _register(_pair)
