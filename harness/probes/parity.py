"""The same requests streamed and whole: the same kinds of things come, and the same counts.

Where an answer may vary, rates over repeated requests are compared; where a provider answers the
same every time at temperature 0, so must its streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.api.base import Reply
from harness.api.conversation import Message
from harness.checks.base import CHAT, CHAT_STREAM, GUIDE, Problem
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.tools.offers import REPLY_TOKENS, TOOLS
from harness.records.conditions import Api
from harness.statistics.differences import Counts, mantel_haenszel

Answered = tuple[ParsedExchange, Reply]

PROMPTS = {
    "weather": "What is the weather in Lisbon?",
    "language": 'Which language is this: "Der Zug kommt gleich"',
    "chart": "Draw a line chart of [[1, 2], [2, 4], [3, 8]].",
    "hello": "Hello!",
    "thanks": "Thank you, that was great.",
    "joke": "Tell me a joke about cats.",
}
_TRIES = 2
_SEED = 11
_LEAST_APART = 2
_SIGNIFICANT = 0.01


def _asks(_api: Api) -> tuple[Ask, ...]:
    return tuple(
        Ask(
            name,
            (Message("user", prompt),),
            TOOLS,
            temperature=0,
            max_tokens=REPLY_TOKENS,
            seed=_SEED,
            tries=_TRIES,
        )
        for name, prompt in PROMPTS.items()
    )


BENCH = Bench("parity", _asks)


@dataclass(frozen=True)
class _Feature:
    """Something a reply has or has not, whichever way it is sent."""

    name: str
    words: str
    has: Callable[[Reply], bool]


_FEATURES = (
    _Feature("reasoning", "CoT", lambda reply: bool(reply.reasoning)),
    _Feature("calls", "tool calls", lambda reply: bool(reply.calls)),
    _Feature("text", "text", lambda reply: bool(reply.text)),
    _Feature("finish", "finish reason tool_calls", lambda reply: reply.finish == "tool_calls"),
)


def _register(feature: _Feature) -> None:
    @BENCH.probe(
        f"parity.{feature.name}",
        uses=PROMPTS,
        severity="error",
        summary=f"Streams hold {feature.words} as often as whole replies do.",
        why="The model is the same: what differs was lost or invented on the way.",
        source=GUIDE,
        modes=("streaming", "non-streaming"),
    )
    def judge(answers: Answers) -> Iterator[Trial]:
        return _as_often(answers, feature)


for _each in _FEATURES:
    _register(_each)


@BENCH.probe(
    "parity.content",
    uses=PROMPTS,
    severity="error",
    summary="A stream adds up to the text, CoT and arguments of the whole reply.",
    why="At temperature 0 the provider gave the same each time; pieces were lost or repeated.",
    source=CHAT_STREAM,
    modes=("streaming", "non-streaming"),
)
def _content(answers: Answers) -> Iterator[Trial]:
    """One prompt may differ by a near tie that fell four times as a defect would have it."""
    judged = False
    apart: dict[bool, dict[str, Problem]] = {True: {}, False: {}}
    for name in PROMPTS:
        streams, wholes = _pair(answers, name)
        for part, text_of in _PARTS.items():
            stream, whole = _same(streams, text_of), _same(wholes, text_of)
            if stream is None or whole is None or not (stream or whole):
                continue
            judged = judged or stream == whole
            if stream == whole:
                yield None
            elif _one_block_apart(stream, whole):
                judged = True
                message = f"The {part} of a stream lacks or repeats a piece of the whole reply's."
                problem = Problem(streams[0][0], message, repr(whole), repr(stream))
                apart[len(stream) > len(whole)].setdefault(name, problem)
    for problems in apart.values():
        if len(problems) >= _LEAST_APART:
            yield from problems.values()
    if not judged:
        raise NotVerifiableError("The provider answers differently each time at temperature 0.")


@BENCH.probe(
    "parity.usage.prompt",
    uses=PROMPTS,
    severity="error",
    summary="Prompt tokens are the same, streamed or whole.",
    why="The prompt is the same; users pay by the count.",
    source=CHAT,
    modes=("streaming", "non-streaming"),
)
def _prompt_tokens(answers: Answers) -> Iterator[Trial]:
    yield from _counted_alike(answers, "prompt", lambda reply: _usage(reply, "input_tokens"))


@BENCH.probe(
    "parity.usage.output",
    uses=PROMPTS,
    severity="warning",
    summary="The same reply has the same number of output tokens, streamed or whole.",
    why="Users pay by the count; a few tokens of format may differ.",
    source=CHAT,
    modes=("streaming", "non-streaming"),
)
def _output_tokens(answers: Answers) -> Iterator[Trial]:
    def same_reply(streams: Sequence[Answered], wholes: Sequence[Answered]) -> bool:
        return all(_same([*streams, *wholes], text_of) is not None for text_of in _PARTS.values())

    yield from _counted_alike(
        answers, "output", lambda reply: _usage(reply, "output_tokens"), same_reply
    )


@BENCH.probe(
    "parity.usage.reasoning",
    uses=PROMPTS,
    severity="warning",
    summary="Reasoning tokens are reported streamed as well as whole, or in neither.",
    why="Costs are explained in one mode and not in the other; clients survive.",
    source=CHAT,
    modes=("streaming", "non-streaming"),
)
def _reasoning_tokens(answers: Answers) -> Iterator[Trial]:
    told: dict[str, set[bool]] = {"stream": set(), "whole": set()}
    first: ParsedExchange | None = None
    for name in PROMPTS:
        streams, wholes = _pair(answers, name)
        first = first or streams[0][0]
        told["stream"] |= {bool(_usage(reply, "reasoning_tokens")) for _, reply in streams}
        told["whole"] |= {bool(_usage(reply, "reasoning_tokens")) for _, reply in wholes}
    apart = {frozenset(each) for each in told.values()} == {frozenset([True]), frozenset([False])}
    if first is not None and apart:
        got = "in streams only" if True in told["stream"] else "in whole replies only"
        yield Problem(first, "Reasoning tokens are reported in one mode.", "in both", got)
    else:
        yield None


def _as_often(answers: Answers, feature: _Feature) -> Iterator[Trial]:
    tables: list[tuple[Counts, Counts]] = []
    odd: ParsedExchange | None = None
    for name in PROMPTS:
        streams, wholes = _pair(answers, name)
        stream, whole = (
            (sum(feature.has(reply) for _, reply in each), len(each)) for each in (streams, wholes)
        )
        tables.append((stream, whole))
        if stream[0] * whole[1] != whole[0] * stream[1]:
            odd = odd or streams[0][0]
    if odd is None or mantel_haenszel(tables) >= _SIGNIFICANT:
        yield None
        return
    got, expected = (
        f"{sum(hits for hits, _ in side)} of {sum(trials for _, trials in side)}"
        for side in zip(*tables, strict=True)
    )
    message = f"Streams hold {feature.words} more or less often than whole replies do."
    yield Problem(odd, message, f"as in {expected} whole replies", f"{got} streams")


def _counted_alike(
    answers: Answers,
    what: str,
    count: Callable[[Reply], int | None],
    comparable: Callable[[Sequence[Answered], Sequence[Answered]], bool] = lambda *_: True,
) -> Iterator[Trial]:
    judged = False
    for name in PROMPTS:
        streams, wholes = _pair(answers, name)
        counts = [{count(reply) for _, reply in each} for each in (streams, wholes)]
        steady = all(len(each) == 1 and None not in each for each in counts)
        if not steady or not comparable(streams, wholes):
            continue
        judged = True
        got, expected = (next(iter(each)) for each in counts)
        message = f"The same request is said to have another number of {what} tokens as a stream."
        differs = got != expected
        yield Problem(streams[0][0], message, str(expected), str(got)) if differs else None
    if not judged:
        raise NotVerifiableError(f"No steady count of {what} tokens is reported in both modes.")


def _call_texts(reply: Reply) -> str:
    return "\n".join(f"{call.name} {call.arguments}" for call in reply.calls)


_PARTS: dict[str, Callable[[Reply], str]] = {
    "text": lambda reply: reply.text,
    "CoT": lambda reply: reply.reasoning,
    "calls": _call_texts,
}


def _pair(answers: Answers, name: str) -> tuple[Sequence[Answered], Sequence[Answered]]:
    """The streamed and the whole replies to one ask. Raises NotVerifiableError."""
    return list(answers.replies(name, "streaming")), list(answers.replies(name, "non-streaming"))


def _same(replies: Sequence[Answered], text_of: Callable[[Reply], str]) -> str | None:
    """What all of several replies say; None where they differ or there is but one."""
    texts = {text_of(reply) for _, reply in replies}
    return texts.pop() if len(texts) == 1 and len(replies) > 1 else None


def _one_block_apart(one: str, other: str) -> bool:
    """Whether one text is the other with one block put in: samples diverge, servers lose pieces."""
    short, long = sorted((one, other), key=len)
    before = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), None)
    start = len(short) if before is None else before
    return long.endswith(short[start:])


def _usage(reply: Reply, name: str) -> int | None:
    found: int | None = getattr(reply.usage, name) if reply.usage else None
    return found
