"""Logprobs: given on request, and fitting the sampled tokens.

The checks of `harness.rules.numerics.checks` judge the values. Most servers report the logprobs of
the model, whatever the sampler does. If the request sets temperature 1, and the server samples with
a lower temperature or a top_p, probable tokens are drawn too often. Detecting this needs no
reference, but positions where the model is uncertain, so these questions have no correct answer.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from harness.api import DIALECTS
from harness.api.items import Message
from harness.golden.distance import ReportedToken, entries_of
from harness.records.conditions import MODES, Api
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import GARBLED, ProbeGroup, ProbeRequest, Sent, Trials
from harness.rules.rule import CHAT, Problem
from harness.statistics.draws import Draw, sharpness

# The model is uncertain about the answers: if all logprobs were 0, a mix-up would not show.
_QUESTIONS = {
    "a name": "Think of a name and a number. What are the name and the number?",
    "three things": "Name three things, then name them in another order.",
}
# With spaces before punctuation, which detokenizers for English remove.
_COPY = (
    "Repeat after me: From the quay to the light it is two miles ; keep the church behind the "
    "white house ! and at nine bring bread, salt, apples and rope on board before the tide falls !"
)


GROUP = ProbeGroup("logprobs", CHAT, needs="logprobs", family="numerics", component="sampling")


def _with_logprobs(alternatives: int, api: Api) -> Mapping[str, Any]:
    return DIALECTS[api].logprob_options(alternatives)


_request = partial(ProbeRequest, provokes=GARBLED | {"request.refused"})
_asking = partial(_request, temperature=0.0, options_of=partial(_with_logprobs, 3))
# Only checks judge the logprobs of these; the last has a long answer.
GROUP.send_all(
    _asking(name, (Message("user", question),), modes=MODES)
    for name, question in _QUESTIONS.items()
)
GROUP.send(_asking("copy", (Message("user", _COPY),), modes=("streaming",)))


_DRAWN_ALTERNATIVES = 5  # providers allow at least this many
_FALSE_ALARM = 1 / 150_000  # bound of the probability of a finding in a healthy run
_COLDEST, _HOTTEST = 0.8, 1.3
"""Temperatures between which nothing is reported. In simulated peaked distributions, a min_p of
0.05 (the default of llama.cpp) looks like 0.85, and noise of 0.2 nats in the logprobs like 1.05; a
temperature of 0.7 looks like 0.75 at most, and a top_p of 0.5 like 0.6."""
_MEANINGLESS = 2.0
"""The temperature above which texts are noise: then logprobs are wrong, not the sampling."""
_VARIANCE = 250.0
"""The least variance of a pass. With it, a temperature of 0.7 shifts the excess by
(1 / 0.7 - 1) √250 = 6.8 standard deviations, and its likelihood ratio is about exp(23)."""
_DRAWN_QUESTIONS = {
    "a poem": "Write a poem of twelve lines about the sea.",
    "places": "Make up fifteen names of places that do not exist, and say a few words about each.",
    "a story": "Write a short story of about 150 words about a ship, a dog and a storm.",
}


def _draw(entry: ReportedToken) -> Iterator[Draw]:
    """Yield the draw of a token from the most probable ones; nothing without alternatives.

    Some servers list the drawn token instead of the last alternative, so this one is left out.
    """
    ranked = sorted(entry.top, key=entry.top.__getitem__, reverse=True)[: _DRAWN_ALTERNATIVES - 1]
    if len(ranked) == _DRAWN_ALTERNATIVES - 1:
        at = ranked.index(entry.name) if entry.name in ranked else None
        yield Draw([entry.top[name] for name in ranked], at)


_DRAWN = GROUP.send_all(
    _request(
        name,
        (Message("user", question),),
        effort="low",
        temperature=1.0,
        max_tokens=256,
        whole=False,
        options_of=partial(_with_logprobs, _DRAWN_ALTERNATIVES),
        options={"top_p": 1},
        tries=4,
    )
    for name, question in _DRAWN_QUESTIONS.items()
)


@GROUP.probe(
    "sampling.probabilities",
    _DRAWN,
    severity="warning",
    fix=(
        "Sample with the temperature and top_p of the request, and return the logprobs of the "
        "same distribution."
    ),
)
def _probabilities(drawn: Sent) -> Trials:
    """At temperature 1, tokens are drawn with the probabilities that their logprobs state.

    A lower temperature or a top_p that the request did not set makes samples similar, and scores of
    evals differ from the published ones.
    """
    replies = list(drawn.served_replies("logprobs"))
    draws = [draw for reply in replies for entry in entries_of(*reply) for draw in _draw(entry)]
    fit = sharpness(required(draws, "no_alternatives"))
    unusual = not _COLDEST <= fit.temperature <= _HOTTEST
    if unusual and fit.chance <= _FALSE_ALARM:
        kind = "probable" if fit.excess > 0 else "improbable"
        message = f"At temperature 1, {kind} tokens are drawn more often than their logprobs state."
        got = f"{len(draws)} tokens as at a temperature of about {fit.temperature:.2g}"
        if fit.temperature > _MEANINGLESS:
            message = "The logprobs do not belong to the drawn tokens: the text is not noise."
            got = f"{len(draws)} tokens that fit no temperature"
        got += f"; this happens at temperature 1 with a probability of at most {fit.chance:.1g}"
        yield Problem(replies[0][0], message, "tokens as at a temperature of 1", got)
    elif fit.variance < _VARIANCE:
        raise NotVerifiableError("too_certain")
    else:
        yield None
