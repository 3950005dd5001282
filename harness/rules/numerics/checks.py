"""Logprobs: valid values that belong to the tokens of the answer."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from statistics import median
from typing import Any, NamedTuple

from harness.api.fields import objects
from harness.api.items import Reply
from harness.api.logprob_entries import entry_bytes, logprob_entries, logprob_path
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.scores import Severity
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, answers
from harness.rules.rule import CHAT, Problem, ShowsLack

family = Family("numerics", CHAT, component="logprobs")

_TOLERANCE = 1e-3
_MARKER = re.compile(r"<\|\w+\|>")
_FEWEST_ALTERNATIVES = 3  # that every provider with logprobs can return
_REPLACED = "\N{REPLACEMENT CHARACTER}".encode()
_FEWEST_EMPTY_TOKENS = 2  # tokens with several alternatives that have no text
_SENTENCE_ENDS = (".", "!", "?", ":", '"', ")", "`", "}", "]")
_SUM_TOLERANCE = 0.01
"""Logprobs in bfloat16 have 8 bits: a probability near 1/4 is off by up to 0.4% of it."""


class _Listed(NamedTuple):
    """A reply with an answer, and the logprob entries of its tokens."""

    exchange: ParsedExchange
    reply: Reply
    entries: Sequence[Mapping[str, Any]]


def _listed(parsed: ParsedRollout) -> Iterator[_Listed]:
    for exchange, reply in answers(parsed):
        if reply.text and (entries := logprob_entries(exchange, reply)):
            yield _Listed(exchange, reply, entries)


@family.check(
    "logprobs.values",
    _listed,
    lambda listed: all(  # Otherwise a rule of the schema names the missing member.
        "logprob" in token
        for entry in listed.entries
        for token in (entry, *objects(entry.get("top_logprobs")))
    ),
    needs="logprobs",
)
def _values(listed: _Listed) -> Iterator[Problem]:
    """Logprobs are at most 0, and the logprob of a token agrees with its alternatives.

    Scores and model comparisons are computed from them. The alternatives of a token are different
    tokens. The most probable one is the first; the sampled token may precede it. Two successive
    tokens never have exactly the same alternatives.
    """
    asked = listed.exchange.request.body.get("top_logprobs")
    most = asked if type(asked) is int else None
    if _are_placeholders(listed.entries, most):
        message = "Every logprob is exactly 0.0: these are placeholders, not logprobs."
        got = f"0.0 at {len(listed.entries)} tokens, without other alternatives"
        yield Problem(listed.exchange, message, "logprobs", got, logprob_path(listed.exchange))
        return
    before: Mapping[str, Any] = {}
    for at, entry in enumerate(listed.entries):
        wrong = _wrong_entry(entry, most), _same_names(entry), _repeated(before, entry)
        before = entry
        if problem := next(filter(None, wrong), None):
            message, expected, got = problem
            path = f"{logprob_path(listed.exchange)}[{at}]"
            yield Problem(listed.exchange, message, expected, got, path)
            return


def _are_placeholders(entries: Sequence[Mapping[str, Any]], most: int | None) -> bool:
    """Whether all logprobs are exactly 0.0, and no alternative is listed although some were asked.

    A certain model has logprobs that round to 0.0, but other alternatives with lower ones.
    """
    listed = [
        *entries,
        *(other for entry in entries for other in objects(entry.get("top_logprobs"))),
    ]
    alone = all(len(objects(entry.get("top_logprobs"))) <= 1 for entry in entries)
    zero = all(_logprob(entry) == 0 for entry in listed)
    return len(entries) >= _FEWEST_ALTERNATIVES and (most or 0) > 1 and alone and zero


@family.check("logprobs.tokens", _listed, needs="logprobs", witness=True)
def _tokens(listed: _Listed) -> Iterator[Problem]:
    """The tokens with logprobs are the tokens of the answer.

    A logprob of the wrong token is worse than none, and clients take the first entry for the first
    token of the answer: it is a warning if those of the CoT precede it, or others follow that it
    does not have, except the marker or stop string that ended it. The author of a recording
    may have shortened the list, or kept more of its end.
    """
    exchange, reply, entries = listed
    # From their bytes, because a token may be part of a character.
    text = b"".join(map(entry_bytes, entries)).decode("utf-8", "replace")
    answer = _decodable(reply.text)
    shortened = exchange.imported and answer.startswith(_decodable(text))
    if answer not in _decodable(text) and not shortened:
        message = "The tokens with logprobs do not add up to the answer."
        yield Problem(exchange, message, repr(reply.text), repr(text), logprob_path(exchange))
        return
    beyond = _decodable(text).rpartition(answer)[2]
    if answer and not exchange.imported and not reply.calls and _is_unshown(exchange, beyond):
        message = "The logprobs go on after the answer, with tokens that it does not have."
        expected, path = repr(reply.text), logprob_path(exchange)
        yield Problem(exchange, message, expected, repr(text), path, severity="warning")
        return
    cot = _decodable(reply.reasoning).strip()
    if cot and cot in _decodable(text).rpartition(answer)[0]:
        message = "The logprobs of the answer include those of the CoT."
        expected, path = repr(reply.text), logprob_path(exchange)
        yield Problem(exchange, message, expected, repr(text), path, severity="warning")


def _is_unshown(exchange: ParsedExchange, beyond: str) -> bool:
    """Whether tokens after an answer are more than its end: white space, markers, a stop string."""
    stopped = any(stop in beyond or beyond in stop for stop in exchange.request.stops)
    return not stopped and bool(_MARKER.split(beyond)[0].strip())


@family.check(
    "logprobs.empty",
    _listed,
    severity="warning",
    needs="logprobs",
    fix="Return the bytes of every alternative, also of one that is a part of a character.",
)
def _empty(listed: _Listed) -> Iterator[Problem]:
    """The alternatives of a token have a text or bytes.

    Otherwise clients cannot tell them apart. Special tokens, such as the end token, may have none:
    one alternative without text, and several at the end of a sentence, are not reported.
    """
    before, empty = "", []
    for at, entry in enumerate(listed.entries):
        alternatives = [entry_bytes(other) for other in objects(entry.get("top_logprobs"))]
        ends = before.rstrip().endswith(_SENTENCE_ENDS)
        if alternatives.count(b"") > 1 and not ends:
            empty.append(at)
        before = str(entry.get("token"))
    if len(empty) >= _FEWEST_EMPTY_TOKENS:
        message = f"At {len(empty)} tokens, several alternatives have neither text nor bytes."
        path = f"{logprob_path(listed.exchange)}[{empty[0]}].top_logprobs"
        got = repr(objects(listed.entries[empty[0]].get("top_logprobs")))
        yield Problem(listed.exchange, message, "a text or bytes for each", got, path)


def _same_names(entry: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return the problem of alternatives with the same bytes.

    A part of a character may be given as a replacement character, which says nothing.
    """
    names = [entry_bytes(each) for each in objects(entry.get("top_logprobs"))]
    known = [name for name in names if name and _REPLACED not in name]
    if len({*known}) == len(known):
        return None
    return "Several alternatives of a token are the same.", "different tokens", f"{names}"


def _repeated(before: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str, str, str] | None:
    top, name = objects(entry.get("top_logprobs")), entry.get("token")
    if len(top) > 1 and top == objects(before.get("top_logprobs")) and name != before.get("token"):
        message = "Two successive tokens have exactly the same alternatives."
        return message, f"the alternatives of {name!r}", f"those of {before.get('token')!r}"
    return None


def _wrong_entry(entry: Mapping[str, Any], most: int | None) -> tuple[str, str, str] | None:
    """Return the problem of one token's entry: message, expected and got.

    The request asks for `most` alternatives, or does not say how many.
    """
    top = objects(entry.get("top_logprobs"))
    values = [_logprob(token) for token in (entry, *top)]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return "A logprob is not a number, or is above 0.", "numbers up to 0", f"{entry}"
    chosen, *listed = numbers
    written = entry_bytes(entry)
    sampled_first = bool(top) and entry_bytes(top[0]) == written  # as vLLM lists it
    if any(less > more for more, less in pairwise(listed[sampled_first:])):
        return "The alternatives are not sorted.", "the most probable first", f"{listed}"
    ranked = sorted(listed, reverse=True)
    if most is not None and len(top) > most + 1:
        return "There are more alternatives than requested.", f"{most}", f"{len(top)}"
    if ranked and chosen > ranked[0] + _TOLERANCE * max(1, abs(chosen)):
        message = "The alternatives do not include the most probable token."
        return message, f"at least {chosen}", f"{ranked[0]}"
    for token in (entry, *top):
        if (wrote := _decoded(token)) not in (None, token.get("token")):
            message = "The text of a token differs from its bytes."
            return message, repr(wrote), repr(token.get("token"))
    if math.fsum(map(math.exp, ranked)) > 1 + _SUM_TOLERANCE:
        return "The probabilities of the alternatives exceed 1 in total.", "at most 1", f"{ranked}"
    slack = _TOLERANCE * max(1, abs(chosen))
    same = [
        value for other, value in zip(top, listed, strict=True) if entry_bytes(other) == written
    ]
    if len(same) == 1 and abs(same[0] - chosen) > slack:
        message = "The logprob of a token differs from its logprob among the alternatives."
        return message, f"{same[0]}", f"{chosen}"
    if ranked and not same and chosen > ranked[-1] + slack and _decoded(entry):
        message = "A sampled token is not among its alternatives, but more probable than the last."
        return message, repr(entry.get("token")), f"{[other.get('token') for other in top]}"
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


@family.check(
    "logprobs.given",
    answers,
    lambda answer: _asked(answer.exchange) is not None and answer.reply.text,
    severity="warning",
    needs="logprobs",
    relations=[ShowsLack("logprobs", "logprobs_omitted")],
    fix="Return the requested logprobs, or refuse the option.",
)
def _given(answer: Answer) -> Iterator[Problem]:
    """Requested logprobs are in the reply.

    Clients that need them fail on a reply that silently omits them. A provider that does not
    support them must reject the request. A few tokens may have fewer alternatives than requested.
    It is an error in Chat Completions if there are none, and in recorded traffic, whose client
    needed them.
    """
    exchange, reply = answer
    entries, asked = _of_answer(logprob_entries(exchange, reply), reply.text), _asked(exchange) or 0
    counts = [len(objects(entry.get("top_logprobs"))) for entry in entries]
    if not entries:
        message, expected, got = "the reply has none", "one entry per token", "none"
    elif _are_placeholders(entries, asked):
        return  # logprobs.values reports it
    elif median(counts) < min(asked, _FEWEST_ALTERNATIVES):
        message, expected = "most tokens have fewer alternatives", f"{asked}"
        got = f"{min(counts)} to {max(counts)}"
    else:
        return
    message = f"The request set logprobs, but {message}; rules that need them judge nothing."
    missing_in_chat = exchange.api == "chat" and not entries
    severity: Severity | None = "error" if exchange.imported or missing_in_chat else None
    yield Problem(exchange, message, expected, got, logprob_path(exchange), severity=severity)


def _of_answer(entries: Sequence[Mapping[str, Any]], answer: str) -> Sequence[Mapping[str, Any]]:
    """Return the entries without those of other tokens before the answer, such as the CoT's."""
    before = b"".join(map(entry_bytes, entries)).rfind(answer.encode(errors="replace"))
    ends = accumulate(len(entry_bytes(entry)) for entry in entries)
    return [entry for entry, end in zip(entries, ends, strict=True) if end > before]


def _asked(exchange: ParsedExchange) -> int | None:
    """Return how many alternatives a request asks for, 0 for none; None without logprobs."""
    body = exchange.request.body
    asked, included = body.get("top_logprobs"), body.get("include")
    wanted = body.get("logprobs") or (
        isinstance(included, list) and "message.output_text.logprobs" in included
    )
    return (asked if type(asked) is int else 0) if wanted else None
