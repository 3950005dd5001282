"""Streaming and non-streaming replies to the same requests: same features, text and counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES
from harness.rules.evidence.offers import offered
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeGroup, ProbeResponses, Trials, account_judge
from harness.rules.rule import CHAT, GUIDE, Problem
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
_INSTRUCTED, _INSTRUCTIONS = "thanks", "Answer in one friendly sentence."
_TRIES = 2
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
    "parity",
    lambda _api: _REQUESTS,
    CHAT,
    modes=MODES,
    family="stream",
    component="usage",
    typical=True,
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
    judged = False
    for name in PROMPTS:
        streaming, complete = _pair(responses, name)
        got, *other = {reply.input_tokens for _, reply in streaming}
        expected, *others = {reply.input_tokens for _, reply in complete}
        if not (other or others) and None not in (got, expected):
            judged = True
            message = "The stream reports a different number of prompt tokens than the same "
            message += "request without streaming."
            differs = Problem(streaming[0][0], message, str(expected), str(got))
            yield differs if got != expected else None
    if not judged:
        raise NotVerifiableError("no_constant_count", what="prompt")


GROUP.probe(
    "parity.usage.output",
    PROMPTS,
    severity="warning",
    witness=True,
    text="Identical replies report the same output tokens in both modes. Users pay by this count.",
)(account_judge(*PROMPTS, reports=lambda entry: entry.kind == "miscounted"))


def _pair(responses: ProbeResponses, name: str) -> tuple[Sequence[Answered], Sequence[Answered]]:
    """Return the streaming and non-streaming replies to one request. Raises NotVerifiableError."""
    return (
        list(responses.replies(name, mode="streaming")),
        list(responses.replies(name, mode="non-streaming")),
    )
