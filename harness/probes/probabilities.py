"""Tokens at temperature 1: drawn with the probabilities that their logprobs state.

Most servers report logprobs of the model, whatever the sampler does. A lower temperature or a top_p
that the request did not ask for then draws probable tokens too often. This needs no reference, but
positions where the model is uncertain, so the questions have no correct answer.
"""

from collections.abc import Iterator

from harness.api import DIALECTS
from harness.api.base import Message
from harness.checks.texts import GARBLED
from harness.findings import CHAT, Problem
from harness.golden.distance import ReportedToken, entries_of
from harness.probes.base import NotVerifiableError, ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.probes.refusals import required, served_replies
from harness.records.conditions import Api
from harness.statistics.draws import Draw, sharpness

_ALTERNATIVES = 5  # providers allow at least this many
_TRIES, _TOKENS = 4, 256
_DEVIATIONS = 4.5  # standard deviations of a finding: 1 in 150,000 healthy runs
_COLDEST, _HOTTEST = 0.8, 1.3
"""Temperatures between which nothing is reported. In simulated peaked distributions, a min_p of
0.05 (the default of llama.cpp) looks like 0.85, and noise of 0.2 nats in the logprobs like 1.05; a
temperature of 0.7 looks like 0.75 at most, and a top_p of 0.5 like 0.6."""
_VARIANCE = 250.0
"""The variance with which a temperature of 0.7 is found in 98 % of runs: it shifts the excess by
(1 / 0.7 - 1) √250 = 6.8 standard deviations."""
_QUESTIONS = {
    "a poem": "Write a poem of twelve lines about the sea.",
    "places": "Make up fifteen names of places that do not exist, and say a few words about each.",
    "a story": "Write a short story of about 150 words about a ship, a dog and a storm.",
}


def _draw(entry: ReportedToken) -> Iterator[Draw]:
    """The draw of a token among the most probable ones; nothing without alternatives.

    Some servers list the drawn token in place of the last alternative, so this one is left out.
    """
    ranked = sorted(entry.top, key=entry.top.__getitem__, reverse=True)[: _ALTERNATIVES - 1]
    if len(ranked) == _ALTERNATIVES - 1:
        at = ranked.index(entry.name) if entry.name in ranked else None
        yield Draw([entry.top[name] for name in ranked], at)


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    options = DIALECTS[api].logprob_options(_ALTERNATIVES) | {"top_p": 1}
    return tuple(
        ProbeRequest(
            name,
            (Message("user", question),),
            effort="low",
            temperature=1.0,
            max_tokens=_TOKENS,
            whole=False,
            options=options,
            tries=_TRIES,
            provokes=GARBLED | {"request.refused", "chat.logprobs.missing"},
        )
        for name, question in _QUESTIONS.items()
    )


GROUP = ProbeGroup("sampling.probabilities", _requests, CHAT, needs="logprobs")


@GROUP.probe("sampling.probabilities", _QUESTIONS, severity="warning")
def _probabilities(responses: ProbeResponses) -> Trials:
    """At temperature 1, tokens are drawn with the probabilities that their logprobs state.

    A lower temperature or a top_p that the request did not set makes samples alike, and scores of
    evals differ from the published ones.
    """
    replies = list(served_replies(responses, _QUESTIONS, "logprobs"))
    draws = [draw for each in replies for entry in entries_of(*each) for draw in _draw(entry)]
    found = sharpness(required(draws, "The replies have no logprobs of alternatives."))
    unusual = not _COLDEST <= found.temperature <= _HOTTEST
    if unusual and abs(found.deviation) >= _DEVIATIONS:
        kind = "probable" if found.excess > 0 else "improbable"
        message = f"At temperature 1, {kind} tokens are drawn more often than their logprobs state."
        expected = f"a deviation of at most {_DEVIATIONS:g} standard deviations"
        got = (
            f"{abs(found.deviation):.1f} in {len(draws)} tokens, as at a temperature of about "
            f"{found.temperature:.2g}"
        )
        yield Problem(replies[0][0], message, expected, got)
    elif found.variance < _VARIANCE:
        raise NotVerifiableError(
            "The model is too certain of its tokens, or too few have logprobs."
        )
    else:
        yield None
