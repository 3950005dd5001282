"""The requests with parameters of sampling."""

from collections.abc import Callable, Sequence
from functools import partial

from harness.api.items import Message
from harness.rules.evidence.offers import WEATHER
from harness.rules.probe import GARBLED, ProbeGroup, ProbeRequest
from harness.rules.rule import CHAT
from harness.rules.sampling.effort import PLAIN, WITH_A_SCHEMA, WITH_A_TOOL

TRIES = 6
COLD_TRIES = 3
"""At temperature 0 or with a seed: four odd replies of nine are more than noise."""
_OPEN_TOKENS = 64
CHOICES = 3
STREAMS = 2  # streams of several choices; a model may omit the CoT of one choice
_QUESTIONS = tuple(
    (Message("user", text),)
    for text in (
        "Make up fifteen names of places that do not exist, and say a few words about each.",
        "Write the first sentence of a story.",
        "Lorem ipsum dolor sit amet, consectetur",
    )
)
"""Messages without a correct answer, so that replies of weak and strong models vary."""
OTHER_EFFORTS = ("none", "minimal", "xhigh")
"""Efforts that OpenAI's API knows and gpt-oss does not."""
SAMPLES = 10  # tries of the question with a tool
_CALLS = frozenset(
    f"calls.{name}"
    for name in ("arguments.json", "arguments.cut", "arguments.strict", "in_text", "lost", "again")
)
"""Checks of calls that a weak model may violate at temperature 1."""
NUCLEUS = 0.01  # a top_p with which only the most probable token can be drawn
_at_one = partial(
    ProbeRequest,
    temperature=1.0,
    max_tokens=_OPEN_TOKENS,
    tries=TRIES,
    whole=False,
    sequential=True,
    provokes=GARBLED,
)
"""A request at temperature 1; weak models may reply with arbitrary bytes."""
_at_zero = partial(_at_one, temperature=0.0)
_REFUSAL = GARBLED | {"request.refused"}
_with_seed = partial(_at_one, options={"seed": 20_825}, provokes=_REFUSAL)
_with_zero = partial(_with_seed, options={"seed": 0})
GROUP = ProbeGroup("sampling", CHAT, component="prompt")
GROUP.send_all((*PLAIN.requests, *WITH_A_TOOL.requests, *WITH_A_SCHEMA.requests))
EFFORT_REQUESTS = GROUP.send_all(
    ProbeRequest(
        f"other effort {effort}",
        (Message("user", "Hi there!"),),
        effort=effort,
        provokes=_REFUSAL | {"request.failed", "reasoning.rare", "reasoning.absent"},
    )
    for effort in OTHER_EFFORTS
)


def _of_each(
    request: Callable[..., ProbeRequest], name: str, questions: Sequence[int] = (1, 2, 3)
) -> tuple[ProbeRequest, ...]:
    """Send the request with each of these questions."""
    return tuple(GROUP.send(request(f"{name} {at}", _QUESTIONS[at - 1])) for at in questions)


HOT = _of_each(_at_one, "hot")
FRESH = tuple(
    GROUP.send_all(
        _at_one(f"fresh {at} {number}", question, tries=1, max_tokens=_OPEN_TOKENS + number)
        for number in range(1, TRIES + 1)
    )
    for at, question in enumerate(_QUESTIONS, start=1)
)
"""Requests that a cache of whole requests cannot know: each has its own token limit."""
WITH_TOOL = GROUP.send(
    _at_one(
        "hot with a tool",
        _QUESTIONS[-1],
        (WEATHER,),
        tries=SAMPLES,
        sequential=False,
        provokes=GARBLED | _CALLS,
    )
)
COLD = _of_each(partial(_at_zero, tries=COLD_TRIES), "cold")
SEEDED = _of_each(partial(_with_seed, tries=COLD_TRIES), "seeded")
ZERO = _of_each(_with_zero, "zero as seed")
_narrow = partial(_at_one, options={"top_p": NUCLEUS}, provokes=_REFUSAL)
NARROW = (
    *_of_each(partial(_narrow, tries=COLD_TRIES), "narrow", [1]),
    *_of_each(_narrow, "narrow", [3]),
)
CHOICES_SENT = GROUP.send(
    _at_one(
        "choices",
        _QUESTIONS[0],
        tries=1,
        sequential=False,
        options={"n": CHOICES},
        provokes=_REFUSAL,
    )
)
CHOICES_STREAMED = GROUP.send(
    ProbeRequest(
        "choices streamed",
        _QUESTIONS[1],
        temperature=1.0,
        tries=STREAMS,
        options={"n": CHOICES},
        provokes=_REFUSAL,
    )
)
