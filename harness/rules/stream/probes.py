"""Streaming and non-streaming replies to the same requests: same features, text and counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES
from harness.rules.evidence.offers import offered
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import Answer, ProbeGroup, Sent, Trials, account_judge
from harness.rules.rule import CHAT, GUIDE, Problem
from harness.statistics.question import asked

PROMPTS = {
    "weather": "What is the weather in Lisbon?",
    "language": 'Which language is this: "Der Zug kommt gleich"',
    "chart": "Draw a line chart of [[1, 2], [2, 4], [3, 8]].",
    "hello": "Hello!",
    "thanks": "Thank you, that was great.",
    "joke": "Tell me a joke about cats.",
}
_INSTRUCTED, _INSTRUCTIONS = "thanks", "Answer in one friendly sentence."
_SIGNIFICANCE = 0.01
_FEWEST_SAME = 2  # prompts with equal replies and different counts

GROUP = ProbeGroup("parity", CHAT, modes=MODES, family="stream", component="usage", typical=True)
_REQUESTS = GROUP.send_all(
    replace(
        offered(name, prompt),
        instructions=_INSTRUCTIONS if name == _INSTRUCTED else None,
        temperature=0,
        tries=2,
        confirming=1,
    )
    for name, prompt in PROMPTS.items()
)


def _has_text(reply: Reply) -> bool:
    return bool(reply.text)


_FEATURES: Mapping[str, tuple[str, Callable[[Reply], bool]]] = {
    "reasoning": ("CoT", lambda reply: bool(reply.reasoning)),
    "calls": ("tool calls", lambda reply: bool(reply.calls)),
    "text": ("text", _has_text),
    "finish": ("the finish reason tool_calls", lambda reply: reply.finish == "tool_calls"),
}
"""Properties of a reply that must not depend on the mode."""


def _equally_frequent(label: str, present: Callable[[Reply], bool], asked_alike: Sent) -> Trials:
    pairs = {each.name: _pair(each) for each in asked_alike}
    answer = asked(
        (name, side is pair[0], present(reply))
        for name, pair in pairs.items()
        for side in pair
        for _, reply in side
    )
    unequal = (
        name
        for name, (one, other) in answer.tables.items()
        if one[0] * other[1] != other[0] * one[1]
    )
    different = next(unequal, None)
    if different is None or answer.p >= _SIGNIFICANCE:
        yield None
        return
    streams, others = (f"{hits} of {rows}" for hits, rows in (answer.part, answer.others))
    sides = (f"{streams} streams", f"{others} non-streaming replies")
    message = f"Streams contain {label} more or less often than non-streaming replies."
    at, exchange = _at_fault(pairs[different], present)
    yield Problem(exchange, message, f"as in {sides[1 - at]}", sides[at])


def _at_fault(
    pair: tuple[Sequence[Answer], Sequence[Answer]], present: Callable[[Reply], bool]
) -> tuple[int, ParsedExchange]:
    """Return which side of a pair differs from what the model wrote, and a reply of it.

    It lost what the other side has, unless the replies without it have calls, which end a reply:
    then a text beside them was invented.
    """
    shares = [sum(present(reply) for _, reply in side) / len(side) for side in pair]
    less = shares.index(min(shares))
    lacking = next((e, reply) for e, reply in pair[less] if not present(reply))
    having = next(e for e, reply in pair[1 - less] if present(reply))
    invented = present is _has_text and lacking[1].calls
    return (1 - less, having) if invented else (less, lacking[0])


for _name, (_label, _present) in _FEATURES.items():
    GROUP.probe(
        f"parity.{_name}",
        _REQUESTS,
        source=GUIDE,
        component="events",
        witness=True,
        text=f"Streams contain {_label} as often as non-streaming replies. The model is the "
        "same, so the server loses or invents the difference.",
    )(partial(_equally_frequent, _label, _present))


def _prompt_counts(asked_alike: Sent) -> Sequence[tuple[Problem | None, bool]]:
    """Return how the counts of each prompt differ, and whether a reply is the same in both modes.

    Raises NotVerifiableError if no prompt has the same count at each try.
    """
    judged: list[tuple[Problem | None, bool]] = []
    for each in asked_alike:
        streaming, complete = _pair(each)
        got, *other = {reply.input_tokens for _, reply in streaming}
        expected, *others = {reply.input_tokens for _, reply in complete}
        if other or others or None in (got, expected):
            continue
        message = "The stream reports a different number of prompt tokens than the same "
        message += "request without streaming."
        shown = f"{got} in the stream, {expected} without streaming"
        differs = Problem(streaming[0][0], message, str(expected), shown, "$.usage")
        streamed, whole = (
            {
                (
                    reply.reasoning,
                    reply.text,
                    *((call.name, call.arguments) for call in reply.calls),
                )
                for _, reply in side
            }
            for side in (streaming, complete)
        )
        judged.append((differs if got != expected else None, bool(streamed & whole)))
    if not judged:
        raise NotVerifiableError("no_constant_count", what="prompt")
    return judged


def _are_miscounted(judged: Sequence[tuple[Problem | None, bool]]) -> bool:
    """Whether prompts that are counted otherwise get the same replies, so that they are the same.

    One request may get the same reply without a part of it.
    """
    same = [equal for problem, equal in judged if problem is not None]
    return sum(same) >= _FEWEST_SAME and 2 * sum(same) > len(same)


@GROUP.probe(
    "parity.usage.prompt",
    _REQUESTS,
    component="prompt",
    fix="Build the prompt of a stream and of a complete reply with the same code.",
    witness=True,
    relations=UNRELIABLE_PROMPT_TOKENS,
)
def _prompt_tokens(asked_alike: Sent) -> Trials:
    """Streaming and non-streaming requests have the same prompt.

    If it has other tokens and the replies differ, too, a part of the request does not reach the
    model in one of the modes.
    """
    judged = _prompt_counts(asked_alike)
    yield from (None if _are_miscounted(judged) else problem for problem, _ in judged)


@GROUP.probe(
    "parity.usage.prompt.count",
    _REQUESTS,
    fix="Report the engine's own count of prompt tokens in streams, too.",
    relations=UNRELIABLE_PROMPT_TOKENS,
)
def _counted_otherwise(asked_alike: Sent) -> Trials:
    """Streaming and non-streaming replies report the same prompt tokens.

    Users pay by this count. If the replies to several prompts are the same in both modes, so are
    their prompts: only the count is wrong.
    """
    judged = _prompt_counts(asked_alike)
    yield from (problem if _are_miscounted(judged) else None for problem, _ in judged)


GROUP.probe(
    "parity.usage.output",
    _REQUESTS,
    severity="warning",
    witness=True,
    text="Identical replies report the same output tokens in both modes. Users pay by this count.",
)(account_judge(lambda entry: entry.kind == "miscounted"))


def _pair(sent: Sent) -> tuple[Sequence[Answer], Sequence[Answer]]:
    """Return the streaming and non-streaming replies to one request. Raises NotVerifiableError."""
    return list(sent.within("streaming").replies), list(sent.within("non-streaming").replies)
