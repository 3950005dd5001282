"""Logprobs: valid values that belong to the tokens of the answer and fit the sampled tokens.

Most servers report the logprobs of the model, whatever the sampler does. If the request sets
temperature 1, and the server samples with a lower temperature or a top_p, probable tokens are drawn
too often. Detecting this needs no reference, but positions where the model is uncertain, so these
questions have no correct answer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.items import Message, Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.checks.rules import CHAT, Problem, ShowsLack
from harness.checks.texts import GARBLED
from harness.golden.distance import ReportedToken, entries_of, entry_bytes, raw_entries
from harness.probes.probe import (
    NotVerifiableError,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
    Trials,
)
from harness.probes.refusals import required, served_replies
from harness.records.conditions import MODES, Api
from harness.statistics.draws import Draw, sharpness

_ALTERNATIVES = 3
_TOLERANCE = 1e-3
_SUM_TOLERANCE = 0.01
"""Logprobs in bfloat16 have 8 bits: a probability near 1/4 is off by up to 0.4% of it."""
# The model is uncertain about the answers: if all logprobs were 0, a mix-up would not show.
_QUESTIONS = {
    "a name": "Think of a name and a number. What are the name and the number?",
    "three things": "Name three things, then name them in another order.",
}


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    return tuple(
        ProbeRequest(
            name,
            (Message("user", question),),
            temperature=0.0,
            options=DIALECTS[api].logprob_options(_ALTERNATIVES),
            provokes=GARBLED | {"request.refused", "chat.logprobs.missing"},
        )
        for name, question in _QUESTIONS.items()
    )


GROUP = ProbeGroup("logprobs", _requests, CHAT, modes=MODES, needs="logprobs")


@GROUP.probe(
    "logprobs.given",
    _QUESTIONS,
    severity="warning",
    relations=[ShowsLack("logprobs", "logprobs_omitted")],
)
def _given(responses: ProbeResponses) -> Trials:
    """Requested logprobs are in the reply.

    Clients that need them fail on a reply that silently omits them. A provider that does not
    support them must reject the request. A few tokens may have fewer alternatives than requested.
    """
    for exchange, reply in _answers(responses):
        entries = _entries(exchange, reply)
        counts = [len(objects(each.get("top_logprobs"))) for each in entries]
        if not entries:
            message, expected, got = "the reply has none", "one entry per token", "none"
        elif median(counts) >= _ALTERNATIVES:
            yield None
            continue
        else:
            message, expected = "most tokens have fewer alternatives", f"{_ALTERNATIVES}"
            got = f"{min(counts)} to {max(counts)}"
        message = f"The request set logprobs, but {message}; rules that need them judge nothing."
        yield Problem(exchange, message, expected, got, _path(exchange))


@GROUP.probe("logprobs.values", _QUESTIONS)
def _values(responses: ProbeResponses) -> Trials:
    """Logprobs are at most 0, and the logprob of a token agrees with its alternatives.

    Scores and model comparisons are computed from them.
    """
    for exchange, reply in _with_entries(responses):
        found = (_wrong_entry(entry) for entry in _entries(exchange, reply))
        wrong = next(((at, *each) for at, each in enumerate(found) if each), None)
        if wrong is None:
            yield None
        else:
            at, message, expected, got = wrong
            yield Problem(exchange, message, expected, got, f"{_path(exchange)}[{at}]")


@GROUP.probe("logprobs.tokens", _QUESTIONS)
def _tokens(responses: ProbeResponses) -> Trials:
    """The tokens with logprobs are the tokens of the answer.

    A logprob of the wrong token is worse than none.
    """
    for exchange, reply in _with_entries(responses):
        text = _text(_entries(exchange, reply))
        message = "The tokens with logprobs do not add up to the answer."
        other = Problem(exchange, message, repr(reply.text), repr(text), _path(exchange))
        yield None if _decodable(reply.text) in _decodable(text) else other


@GROUP.probe("logprobs.cot", _QUESTIONS, severity="info", apis=("chat",))
def _of_answer_only(responses: ProbeResponses) -> Trials:
    """The logprobs of a Chat reply are those of its answer, not also of its CoT.

    Clients that align them with the content find other tokens first.
    """
    for exchange, reply in _with_entries(responses):
        text, answer = _decodable(_text(_entries(exchange, reply))), _decodable(reply.text)
        if not answer:
            continue  # it has replacement characters only
        more = text.partition(answer)[0]
        message = "The logprobs begin with those of the CoT."
        other = Problem(exchange, message, repr(reply.text), repr(text), _path(exchange))
        if reply.reasoning.strip():  # A reply without CoT has no logprobs of one.
            yield other if reply.reasoning.strip() in more else None


def _entries(exchange: ParsedExchange, reply: Reply) -> Sequence[Mapping[str, Any]]:
    """The entry of each token of the answer; Responses streams may have them in deltas only."""
    events = (each for each in exchange.known_events if each.type == "response.output_text.delta")
    streamed = (objects((each.data or {}).get("logprobs")) for each in events)
    return raw_entries(exchange, reply) or [entry for entries in streamed for entry in entries]


def _answers(responses: ProbeResponses) -> Iterator[tuple[ParsedExchange, Reply]]:
    """Replies with an answer. Raises NotVerifiableError."""
    replies = list(served_replies(responses, _QUESTIONS, "logprobs"))
    return ((exchange, reply) for exchange, reply in replies if reply.text)


def _with_entries(responses: ProbeResponses) -> Sequence[tuple[ParsedExchange, Reply]]:
    found = (each for each in _answers(responses) if _entries(*each))
    return required(found, "no_logprobs")


def _path(exchange: ParsedExchange) -> str:
    return "$.choices[0].logprobs.content" if exchange.api == "chat" else "$.output[*].content[*]"


def _wrong_entry(entry: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return the problem of one token's entry: message, expected and got."""
    top = objects(entry.get("top_logprobs"))
    values = [_logprob(each) for each in (entry, *top)]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return "A logprob is not a number, or is above 0.", "numbers up to 0", f"{entry}"
    chosen, *ranked = numbers
    if any(less > more for more, less in pairwise(ranked)):
        return "The alternatives are not sorted.", "the most probable first", f"{ranked}"
    if len(top) > _ALTERNATIVES + 1:
        return "There are more alternatives than requested.", f"{_ALTERNATIVES}", f"{len(top)}"
    if ranked and chosen > ranked[0] + _TOLERANCE * max(1, abs(chosen)):
        message = "The alternatives do not include the most probable token."
        return message, f"at least {chosen}", f"{ranked[0]}"
    for each in (entry, *top):
        if (wrote := _decoded(each)) not in (None, each.get("token")):
            message = "The text of a token differs from its bytes."
            return message, repr(wrote), repr(each.get("token"))
    if math.fsum(map(math.exp, ranked)) > 1 + _SUM_TOLERANCE:
        return "The probabilities of the alternatives exceed 1 in total.", "at most 1", f"{ranked}"
    written, slack = entry_bytes(entry), _TOLERANCE * max(1, abs(chosen))
    same = [
        value for other, value in zip(top, ranked, strict=True) if entry_bytes(other) == written
    ]
    if len(same) == 1 and abs(same[0] - chosen) > slack:
        message = (
            "The logprob of a token differs from that of the same token among the alternatives."
        )
        return message, f"{same[0]}", f"{chosen}"
    if ranked and not same and chosen > ranked[-1] + slack and _decoded(entry):
        message = "A token outside the alternatives is more probable than the last of them."
        return message, repr(entry.get("token")), f"{[each.get('token') for each in top]}"
    return None


def _decoded(entry: Mapping[str, Any]) -> str | None:
    """Return the text of the bytes of a token; None without bytes or for part of a character."""
    try:
        return bytes(entry.get("bytes") or b"").decode() or None
    except (UnicodeDecodeError, TypeError, ValueError):
        return None


def _logprob(entry: Mapping[str, Any]) -> float | None:
    """Return the value of an entry; None if it cannot be a logprob."""
    value = entry.get("logprob")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if value <= _TOLERANCE else None


def _decodable(text: str) -> str:
    """The text without U+FFFD replacement characters, whose number depends on the decoder."""
    return text.replace("\N{REPLACEMENT CHARACTER}", "")


def _text(entries: Sequence[Mapping[str, Any]]) -> str:
    """The text of the tokens, from their bytes because a token may be part of a character."""
    return b"".join(map(entry_bytes, entries)).decode("utf-8", "replace")


_DRAWN_ALTERNATIVES = 5  # providers allow at least this many
_TRIES, _TOKENS = 4, 256
_FALSE_ALARM = 1 / 150_000  # bound of the probability of a finding in a healthy run
_COLDEST, _HOTTEST = 0.8, 1.3
"""Temperatures between which nothing is reported. In simulated peaked distributions, a min_p of
0.05 (the default of llama.cpp) looks like 0.85, and noise of 0.2 nats in the logprobs like 1.05; a
temperature of 0.7 looks like 0.75 at most, and a top_p of 0.5 like 0.6."""
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


def _drawn_requests(api: Api) -> tuple[ProbeRequest, ...]:
    options = DIALECTS[api].logprob_options(_DRAWN_ALTERNATIVES) | {"top_p": 1}
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
        for name, question in _DRAWN_QUESTIONS.items()
    )


DRAWN_GROUP = ProbeGroup("sampling.probabilities", _drawn_requests, CHAT, needs="logprobs")


@DRAWN_GROUP.probe("sampling.probabilities", _DRAWN_QUESTIONS, severity="warning")
def _probabilities(responses: ProbeResponses) -> Trials:
    """At temperature 1, tokens are drawn with the probabilities that their logprobs state.

    A lower temperature or a top_p that the request did not set makes samples alike, and scores of
    evals differ from the published ones.
    """
    replies = list(served_replies(responses, _DRAWN_QUESTIONS, "logprobs"))
    draws = [draw for each in replies for entry in entries_of(*each) for draw in _draw(entry)]
    found = sharpness(required(draws, "no_alternatives"))
    unusual = not _COLDEST <= found.temperature <= _HOTTEST
    if unusual and found.chance <= _FALSE_ALARM:
        kind = "probable" if found.excess > 0 else "improbable"
        message = f"At temperature 1, {kind} tokens are drawn more often than their logprobs state."
        got = (
            f"{len(draws)} tokens as at a temperature of about {found.temperature:.2g}; this "
            f"happens at temperature 1 with a probability of at most {found.chance:.1g}"
        )
        yield Problem(replies[0][0], message, "tokens as at a temperature of 1", got)
    elif found.variance < _VARIANCE:
        raise NotVerifiableError("too_certain")
    else:
        yield None
