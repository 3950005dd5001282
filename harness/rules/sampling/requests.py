"""The requests with parameters of sampling."""

from functools import partial

from harness.api.items import Message
from harness.rules.evidence.offers import WEATHER
from harness.rules.probe import GARBLED, ProbeGroup, ProbeRequest
from harness.rules.rule import CHAT
from harness.rules.sampling.effort import effort_requests

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
FRESH = tuple(
    tuple(f"fresh {at} {number}" for number in range(1, TRIES + 1))
    for at in range(1, len(_QUESTIONS) + 1)
)
"""Requests that a cache of whole requests cannot know: each has its own token limit."""
HOT, COLD, SEEDED, ZERO = (
    tuple(f"{name} {at}" for at in range(1, len(_QUESTIONS) + 1))
    for name in ("hot", "cold", "seeded", "zero as seed")
)
WITH_TOOL, SAMPLES = "hot with a tool", 10
_CALLS = frozenset(
    f"calls.{name}"
    for name in ("arguments.json", "arguments.cut", "arguments.strict", "in_text", "lost", "again")
)
"""Checks of calls that a weak model may violate at temperature 1."""
NARROW = ("narrow 1", "narrow 3")
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
_REQUESTS = (
    *map(_at_one, HOT, _QUESTIONS),
    *(
        _at_one(name, question, tries=1, max_tokens=_OPEN_TOKENS + number)
        for names, question in zip(FRESH, _QUESTIONS, strict=True)
        for number, name in enumerate(names, start=1)
    ),
    _at_one(
        WITH_TOOL,
        _QUESTIONS[-1],
        (WEATHER,),
        tries=SAMPLES,
        sequential=False,
        provokes=GARBLED | _CALLS,
    ),
    *map(partial(_at_zero, tries=COLD_TRIES), COLD, _QUESTIONS),
    *map(partial(_with_seed, tries=COLD_TRIES), SEEDED, _QUESTIONS),
    *map(_with_zero, ZERO, _QUESTIONS),
    *(
        _at_one(name, question, tries=tries, options={"top_p": NUCLEUS}, provokes=_REFUSAL)
        for name, question, tries in zip(NARROW, _QUESTIONS[::2], (COLD_TRIES, TRIES), strict=True)
    ),
    _at_one(
        "choices",
        _QUESTIONS[0],
        tries=1,
        sequential=False,
        options={"n": CHOICES},
        provokes=_REFUSAL,
    ),
    ProbeRequest(
        "choices streamed",
        _QUESTIONS[1],
        temperature=1.0,
        tries=STREAMS,
        options={"n": CHOICES},
        provokes=_REFUSAL,
    ),
)
EFFORT_REQUESTS = tuple(
    ProbeRequest(
        f"other effort {effort}",
        (Message("user", "Hi there!"),),
        effort=effort,
        provokes=_REFUSAL | {"request.failed", "reasoning.rare", "reasoning.absent"},
    )
    for effort in OTHER_EFFORTS
)
GROUP = ProbeGroup(
    "sampling",
    CHAT,
    generated=lambda api: (*effort_requests(api), *EFFORT_REQUESTS, *_REQUESTS),
    component="prompt",
)
