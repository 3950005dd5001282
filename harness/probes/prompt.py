"""What reaches the model, judged from the prompt tokens that a provider reports.

Each probe compares two requests that differ in one element. The difference of their prompt tokens
must equal that of a healthy harmony rendering. Absolute counts are not judged, because they include
what a provider adds to every prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib import resources

import yaml
from pydantic import TypeAdapter

from harmony.vocabulary import VocabularyError
from harness.findings import HARMONY, Problem
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import NotVerifiableError, ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.probes.rendering import Prompt, bare_lengths, differences
from harness.records.conditions import Api

_CORPUS = yaml.safe_load((resources.files("harness") / "data" / "prompts.yaml").read_text("utf-8"))
PROMPTS = TypeAdapter(dict[str, Prompt]).validate_python(_CORPUS["prompts"])

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
            whole=False,
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


PAIRS = TypeAdapter(tuple[_Pair, ...]).validate_python(_CORPUS["pairs"])


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
