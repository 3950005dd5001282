"""Streaming and non-streaming replies to the same requests: same features, text and counts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES
from harness.rules.evidence.json_text import parsed_object
from harness.rules.evidence.offers import offered
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeGroup, ProbeResponses, Trials
from harness.rules.rule import CHAT, CHAT_STREAM, GUIDE, Problem
from harness.statistics.differences import Counts, mantel_haenszel
from harness.text import differ_in_space, shared_beginning

Answered = tuple[ParsedExchange, Reply]

PROMPTS = {
    "weather": "What is the weather in Lisbon?",
    "language": 'Which language is this: "Der Zug kommt gleich"',
    "chart": "Draw a line chart of [[1, 2], [2, 4], [3, 8]].",
    "hello": "Hello!",
    "thanks": "Thank you, that was great.",
    "joke": "Tell me a joke about cats.",
}
_INSTRUCTED, _INSTRUCTIONS = "thanks", "Answer in one friendly sentence."
_TRIES = 2
_FEWEST_DIFFERENT = 2
_SIGNIFICANCE = 0.01

_REQUESTS = tuple(
    replace(
        offered(name, prompt),
        instructions=_INSTRUCTIONS if name == _INSTRUCTED else None,
        temperature=0,
        tries=_TRIES,
    )
    for name, prompt in PROMPTS.items()
)
GROUP = ProbeGroup(
    "parity", lambda _api: _REQUESTS, CHAT, modes=MODES, family="stream", component="usage"
)


_FEATURES: Mapping[str, tuple[str, Callable[[Reply], bool]]] = {
    "reasoning": ("CoT", lambda reply: bool(reply.reasoning)),
    "calls": ("tool calls", lambda reply: bool(reply.calls)),
    "text": ("text", lambda reply: bool(reply.text)),
    "finish": ("the finish reason tool_calls", lambda reply: reply.finish == "tool_calls"),
}
"""Properties of a reply that must not depend on the mode."""


def _equally_frequent(
    label: str, present: Callable[[Reply], bool], responses: ProbeResponses
) -> Trials:
    tables: list[tuple[Counts, Counts]] = []
    different: ParsedExchange | None = None
    for name in PROMPTS:
        pair = _pair(responses, name)
        stream, complete = (
            (sum(present(reply) for _, reply in replies), len(replies)) for replies in pair
        )
        tables.append((stream, complete))
        if stream[0] * complete[1] != complete[0] * stream[1]:
            different = different or pair[0][0][0]
    if different is None or mantel_haenszel(tables) >= _SIGNIFICANCE:
        yield None
        return
    got, expected = (
        f"{sum(hits for hits, _ in side)} of {sum(trials for _, trials in side)}"
        for side in zip(*tables, strict=True)
    )
    message = f"Streams contain {label} more or less often than non-streaming replies."
    expected = f"as in {expected} non-streaming replies"
    yield Problem(different, message, expected, f"{got} streams")


for _name, (_label, _present) in _FEATURES.items():
    GROUP.probe(
        f"parity.{_name}",
        PROMPTS,
        source=GUIDE,
        component="events",
        witness=True,
        text=f"Streams contain {_label} as often as non-streaming replies. The model is the "
        "same, so the server loses or invents the difference.",
    )(partial(_equally_frequent, _label, _present))


@GROUP.probe("parity.content", PROMPTS, source=CHAT_STREAM, component="events", witness=True)
def _content(responses: ProbeResponses) -> Trials:
    """A stream adds up to the text, CoT and arguments of the non-streaming reply.

    At temperature 0 the provider answers deterministically, so the server lost, repeated or swapped
    pieces.
    """
    # One prompt alone may differ by chance, because a near-tie was decided differently by mode.
    judged = False
    different: dict[bool | None, dict[str, Problem]] = {True: {}, False: {}, None: {}}
    for name in PROMPTS:
        streaming, non_streaming = _pair(responses, name)
        for part, text_of in _PARTS.items():
            stream, complete = _common(streaming, text_of), _common(non_streaming, text_of)
            swapped = next(
                (pair for pair in streaming if _is_reordered(text_of(pair[1]), complete)), None
            )
            if swapped is not None:
                judged = True
                message = f"The {part} of a stream is the complete text in another order."
                problem = Problem(swapped[0], message, repr(complete), repr(text_of(swapped[1])))
                different[None].setdefault(name, problem)
            if stream is None or complete is None or not (stream or complete):
                continue
            judged = judged or stream == complete
            if stream == complete:
                yield None
            elif (difference := _difference(stream, complete)) is not None:
                judged = True
                message = f"The {part} of a stream {difference}."
                problem = Problem(streaming[0][0], message, repr(complete), repr(stream))
                different[len(stream) > len(complete)].setdefault(name, problem)
    for problems in different.values():
        if len(problems) >= _FEWEST_DIFFERENT:
            yield from problems.values()
    if not judged:
        raise NotVerifiableError("not_deterministic")


@GROUP.probe(
    "parity.usage.prompt",
    PROMPTS,
    component="prompt",
    fix="Build the prompt of a stream and of a complete reply with the same code.",
    witness=True,
)
def _prompt_tokens(responses: ProbeResponses) -> Trials:
    """Streaming and non-streaming replies report the same prompt tokens.

    The prompt is the same, and users pay by this count. If it differs for few of the requests, the
    prompt itself differs: a part of the request does not reach the model in one of the modes.
    """
    return _equal_counts(responses, "prompt", lambda reply: _usage(reply, "input_tokens"))


@GROUP.probe("parity.usage.output", PROMPTS, severity="warning", witness=True)
def _output_tokens(responses: ProbeResponses) -> Trials:
    """Identical replies report the same output tokens in both modes. Users pay by this count."""

    def same_reply(streaming: Sequence[Answered], non_streaming: Sequence[Answered]) -> bool:
        both = [*streaming, *non_streaming]
        return all(_common(both, text_of) is not None for text_of in _PARTS.values())

    return _equal_counts(
        responses, "output", lambda reply: _usage(reply, "output_tokens"), same_reply
    )


@GROUP.probe("parity.usage.reasoning", PROMPTS, severity="warning", witness=True)
def _reasoning_tokens(responses: ProbeResponses) -> Trials:
    """Reasoning tokens are reported in both modes or in neither.

    Otherwise costs are explained in one mode only; clients cope.
    """
    pairs = [_pair(responses, name) for name in PROMPTS]
    streaming, non_streaming = (
        {
            bool(_usage(reply, "reasoning_tokens"))
            for replies in side
            for _, reply in replies
            if _usage(reply, "output_tokens") is not None
        }
        for side in zip(*pairs, strict=True)
    )
    if not streaming or not non_streaming:
        raise NotVerifiableError("no_tokens_in_one_mode")
    if streaming.isdisjoint(non_streaming):
        got = "only in streams" if True in streaming else "only in non-streaming replies"
        message = "Reasoning tokens are reported in one mode only."
        yield Problem(pairs[0][0][0][0], message, "in both modes", got)
    else:
        yield None


def _equal_counts(
    responses: ProbeResponses,
    what: str,
    count: Callable[[Reply], int | None],
    comparable: Callable[[Sequence[Answered], Sequence[Answered]], bool] = lambda *_: True,
) -> Trials:
    judged = False
    for name in PROMPTS:
        streaming, non_streaming = _pair(responses, name)
        got, *other = {count(reply) for _, reply in streaming}
        expected, *others = {count(reply) for _, reply in non_streaming}
        constant = not (other or others) and None not in (got, expected)
        if not constant or not comparable(streaming, non_streaming):
            continue
        judged = True
        message = f"The stream reports a different number of {what} tokens than the same request "
        message += "without streaming."
        differs = Problem(streaming[0][0], message, str(expected), str(got))
        yield differs if got != expected else None
    if not judged:
        raise NotVerifiableError("no_constant_count", what=what)


def _call_texts(reply: Reply) -> str:
    """Return the calls, with JSON in one spelling: some servers reformat it in one of the modes."""
    found = ((call, parsed_object(call.arguments)) for call in reply.calls)
    return "\n".join(
        f"{call.name} {call.arguments if value is None else json.dumps(value, ensure_ascii=False)}"
        for call, value in found
    )


_PARTS: dict[str, Callable[[Reply], str]] = {
    "text": lambda reply: reply.text,
    "CoT": lambda reply: reply.reasoning,
    "call text": _call_texts,
}


def _pair(responses: ProbeResponses, name: str) -> tuple[Sequence[Answered], Sequence[Answered]]:
    """Return the streaming and non-streaming replies to one request. Raises NotVerifiableError."""
    return (
        list(responses.replies(name, mode="streaming")),
        list(responses.replies(name, mode="non-streaming")),
    )


def _common(replies: Sequence[Answered], text_of: Callable[[Reply], str]) -> str | None:
    """Return the text that several replies share; None if they differ or there is only one."""
    texts = {text_of(reply) for _, reply in replies}
    return texts.pop() if len(texts) == 1 and len(replies) > 1 else None


def _is_reordered(text: str, complete: str | None) -> bool:
    """Whether a text has the characters of the complete one in another order."""
    return complete not in (None, text) and sorted(text) == sorted(complete or "")


def _difference(stream: str, complete: str) -> str | None:
    """What a server changed in the text of a stream; None if the model may have written another."""
    if differ_in_space(stream, complete):
        return "differs from the complete text only in white space"
    if _differ_by_one_block(stream, complete):
        return "lacks or repeats a piece of the complete text"
    return None


def _differ_by_one_block(one: str, other: str) -> bool:
    """Whether one text is the other plus one block: samples diverge, but servers lose pieces."""
    short, long = sorted((one, other), key=len)
    return long.endswith(short[shared_beginning(short, long) :])


def _usage(reply: Reply, name: str) -> int | None:
    found: int | None = getattr(reply.usage, name) if reply.usage else None
    return found
