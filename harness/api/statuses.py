"""What a status outside 2xx says about a request: lockout, overload, refusal or error. No I/O.

Every such status is one of the four, so that no reply is lost without a reason:

- *lockout*: 5xx whose body names a rejection (4xx) and the time for which it lasts: a gateway
  answers with it to all requests, because it rejected one of them.
- *overload*: the provider has no room, time or credit for the request now. This includes a body
  that names a rate limit or a quota, whatever its status: providers use 413, 498 and others.
- *server error*: 5xx, except 501, and any status whose body names a failure of the server behind.
- *refusal*: everything else, also a redirect, which clients do not follow when they POST.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from typing import Literal

from harness.api.fields import both_ends, error_message, json_object, objects, quoted
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response, Rollout

Meaning = Literal["lockout", "overload", "refusal", "server_error"]
Trouble = Literal["overloaded", "locked_out", "passing", "unconnected", "broken"]
"""Why a request may succeed when it is repeated; `locked_out` is seen only in comparison."""
OVERLOAD = frozenset({402, 408, 425, 429, 503, 529})
GATEWAY = frozenset({502, 504, 520, 521, 522, 524})
"""Server errors of a gateway that got no reply from the server behind it."""
TIMEOUTS = frozenset({504, 522, 524})
_CONFLICT, _SERVER_ERROR, _NOT_IMPLEMENTED = 409, 500, 501
_NO_ACCESS, _REDIRECTS = frozenset({401, 403, 407}), range(300, 400)
_LIMIT = re.compile(
    r"rate[ _-]?limit|\bquota|too[ _]many[ _](?:concurrent[ _])?requests|over(?:ed)? capacity"
    r"|(?:requests|tokens) per (?:second|minute|hour|day)|\b[rt]p[smd]\b|overloaded|throttl"
    r"|resource[ _]?exhausted|concurrency limit|insufficient[ _](?:credit|balance|funds)",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"\s*(?:<(script|style)\b.*?</\1\s*>|<[!/]?[a-z-][^>]*>)", re.I | re.S)
_UPSTREAM = re.compile(
    r"connection(?: was| is)? (?:reset|aborted)|\beconn(?:reset|aborted)\b"
    r"|(?:bad gateway|internal server error|service (?:temporarily )?unavailable)\W*$"
    r"|(?:upstream|gateway|backend)\b[^.]{0,40}\b(?:timed? ?out|timeout|unavailable|unreachable)",
    re.IGNORECASE,
)
"""A message about the connection to a server behind this one, or what that one said of itself."""
_NO_CREDIT = re.compile(r"insufficient[ _](?:quota|credit|balance|funds)", re.IGNORECASE)
_NO_STREAMS = re.compile(
    r"\bstream(?:s|ing)?\b[^.]{0,60}\b(?:not (?:yet )?|un|isn't |aren't )"
    r"(?:support|avail|implement|allow|enabl)"
    r"|(?:not|n't) (?:yet )?(?:support|allow|implement|provide)\w* [^.]{0,20}\bstream"
    r"|\bstream\W{1,4}must be\W{1,4}false|only non-streaming",
    re.IGNORECASE,
)
"""A message that the provider has no streams; others may quote `stream` from the request."""
_REJECTION = re.compile(
    r"(?:[\[(]|\b(?:status(?: code)?|http(?:/[\d.]+)?|error(?: code)?|code)\b\W{0,3})"
    r"4(?:0[0456]|1[035]|22)\b",
    re.IGNORECASE,
)
"""A status in a message that says that one request is wrong."""
_LASTS = re.compile(
    r"\b(?:reset|retry|try again|available again)s? (?:after|in) "
    r"(?:(?P<minutes>\d+) ?m(?:in\w*)? ?)?(?:(?P<seconds>\d+(?:\.\d+)?) ?s(?:ec\w*)?\b)?",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"\bjinja|\bminja\b|\bchat[ _-]?template\b.{0,40}(?:error|fail|raise|exception|render)"
    r"|(?:error|fail\w*|exception|render\w*)\b.{0,40}\bchat[ _-]?template\b"
    r"|cannot pass both content and thinking|you have passed a message containing <\|channel\|>"
    r"|'dict object' has no attribute",
    re.IGNORECASE | re.DOTALL,
)
"""What template engines say of an exception, and the template that OpenAI publishes of messages."""
_REJECTIONS = frozenset({400, 422})
_UNREASONED = frozenset(
    "a an and api are bad badrequest badrequesterror be client code could error errors exception "
    "failed failure for from http in internal invalid invalidrequesterror is it message model no "
    "none not null occurred of on or parameter please processed provider request requests response "
    "server something supported the this to type unknown unprocessable entity upstream validation "
    "was went with wrong your".split()
)
"""Words of an error message that names no reason, in lower case."""
_LONGEST_BODY = 8_000  # characters of a body that are searched for both
_OF_ERRORS = ("code", "type", "message", "detail", "param")
_NUMBER = re.compile(r"[0-9a-f]{6,}|\d+")
_FEWEST_PASSING = 3  # requests that got a failure, and were served at other times
_LONGEST = 300
"""Characters of an error message that are searched; a long one may quote the request."""


def meaning(response: Response) -> Meaning | None:
    """Return what the status and body of a response say; None for a 2xx status."""
    if response.good_status:
        return None
    if lockout(response) is not None:
        return "lockout"
    if response.status in OVERLOAD or _LIMIT.search(" ".join(_error_texts(response))):
        return "overload"
    failed = response.status >= _SERVER_ERROR and response.status != _NOT_IMPLEMENTED
    if failed or _UPSTREAM.search(" ".join(_error_texts(response))):
        return "server_error"
    return "refusal"


def fails_to_render(response: Response) -> bool:
    """Return whether an error names an exception of the chat template."""
    said = " ".join(_error_texts(response))
    return not response.good_status and _TEMPLATE.search(said) is not None


def lockout(response: Response) -> float | None:
    """Return for how many seconds the server answers all requests with a rejection of one.

    None if the response does not say so. 9router 0.5.69 locks a model for 30 s after a rejection.
    """
    body = response.text[:_LONGEST_BODY] if response.status >= _SERVER_ERROR else ""
    lasts = _LASTS.search(body)
    if lasts is None or _REJECTION.search(body) is None:
        return None
    return 60 * float(lasts["minutes"] or 0) + float(lasts["seconds"] or 0) or None


def refuses_streams(exchange: Exchange) -> bool:
    """Return whether the provider refuses a stream and says that it has none."""
    response, body = exchange.response, exchange.request.body or {}
    if response is None or meaning(response) != "refusal" or not body.get("stream"):
        return False
    return _NO_STREAMS.search(response.text) is not None


def overloaded(exchange: Exchange) -> bool:
    """Return whether the provider says that it is overloaded."""
    return exchange.response is not None and meaning(exchange.response) == "overload"


def may_be_load(exchange: Exchange) -> bool:
    """Return whether the load may be why a request failed, so that it is sent again alone.

    It may be if the status is 5xx, if the connection was closed before the response, or if a
    refusal names no reason. After a timeout, it would be waited for as long again.
    """
    response = exchange.response
    if response is None:
        return exchange.failure is not None and exchange.failure.kind == "cut"
    said = meaning(response)
    if said == "refusal" and response.status in _REJECTIONS:
        words = re.findall(r"[^\W\d_]+", " ".join(_error_texts(response)).lower())
        return _UNREASONED.issuperset(words)
    failed = said == "overload" and response.status >= _SERVER_ERROR
    return (failed or said == "server_error") and response.status not in TIMEOUTS


def failure_said(exchange: Exchange) -> str:
    """Return the status and the explanation of a failure, without numbers; '' if it was served."""
    response = exchange.response
    if response is None or response.good_status:
        return "" if response is not None else str(exchange.failure and exchange.failure.kind)
    return f"{response.status} {_NUMBER.sub('#', explanation(response))}"


def passing_failures(last: Iterable[tuple[Rollout, Exchange]]) -> frozenset[str]:
    """Return the failures that come and go: of equal requests, some get them and others are served.

    The last exchange of each rollout decides. At least three requests of two tasks must have such a
    failure, and it must be no failure of one mode: requests in both modes have it, or one mode both
    has it and has not.
    """
    said: dict[tuple[str, str, Api], dict[str, set[bool]]] = defaultdict(lambda: defaultdict(set))
    for rollout, exchange in last:
        place = rollout.task, rollout.sample, rollout.condition.api
        said[place][failure_said(exchange)].add(rollout.condition.streaming)
    mixed: dict[str, list[tuple[str, str, Api]]] = defaultdict(list)
    modes: dict[str, set[bool]] = defaultdict(set)
    for place, found in said.items():
        for failure, those in found.items():
            modes[failure] |= those
            if failure and "" in found:
                mixed[failure].append(place)
    return frozenset(
        failure
        for failure, places in mixed.items()
        if len(places) >= _FEWEST_PASSING
        and len({task for task, *_ in places}) > 1
        and (len(modes[failure]) > 1 or all(modes[failure] & said[each][""] for each in places))
    )


def _error_texts(response: Response) -> Iterator[str]:
    """Yield the code, type and message of an error; the beginning of a body that is not JSON."""
    content = json_object(response.text)
    if content is None:
        yield response.text[:_LONGEST]
        return
    errors = objects([content, content.get("error")])
    texts = [error.get(name) for error in errors for name in _OF_ERRORS]
    for value in (content.get("error"), *texts):
        if isinstance(value, str):
            yield value[:_LONGEST]


def explanation(response: Response, most: int = 200) -> str:
    """Return what a response with an error status says, in about `most` characters."""
    content = json_object(response.text)
    if content is None:
        said = response.text
        if _MARKUP.match(said):  # a web page: its title comes first
            said = " ".join(unescape(_MARKUP.sub(" ", said[:_LONGEST_BODY])).split())
        return quoted(said) if said else "no explanation"
    content = content.get("error") or content.get("message") or content.get("detail") or content
    return both_ends(" ".join(error_message(content).split()), most)


_WITHOUT_RESPONSE: Mapping[str | None, Trouble] = {
    "connect": "unconnected",
    "cut": "passing",
    "timeout": "broken",
}


def out_of_credit(response: Response) -> bool:
    """Return whether the account of the key has no credit left, which no waiting changes."""
    if response.good_status or "retry-after" in response.headers:
        return False
    return _NO_CREDIT.search(" ".join(_error_texts(response))) is not None


def trouble_of(exchange: Exchange) -> Trouble | None:
    """Return why an exchange failed, if the same request may succeed later; otherwise None.

    "broken" is a response that ended early after a good status, or timed out.
    """
    kind = None if exchange.failure is None else exchange.failure.kind
    if exchange.request.over_websocket and not (exchange.response and exchange.response.text):
        return None  # the upgrade, or what became of the connection, is the answer
    if exchange.response is None:
        return _WITHOUT_RESPONSE.get(kind)
    said = meaning(exchange.response)
    if said == "overload":
        return None if out_of_credit(exchange.response) else "overloaded"
    if said == "server_error" or exchange.response.status == _CONFLICT:
        return "passing"
    return "broken" if kind in {"cut", "timeout"} else None


def refuses_access(exchange: Exchange) -> bool:
    """Return whether the server refuses every request: a key or credit ended, or it redirects."""
    response = exchange.response
    if response is None or exchange.request.over_websocket:  # 403: FastAPI without such a route
        return False
    status = response.status
    return status in _NO_ACCESS or status in _REDIRECTS or out_of_credit(response)


def unanswered(exchange: Exchange) -> bool:
    """Return whether no response came, or one that says that the server cannot answer now."""
    begun = exchange.response is not None and exchange.response.good_status
    return refuses_access(exchange) or (trouble_of(exchange) is not None and not begun)


def without_reply(exchange: Exchange) -> bool:
    """Return whether an exchange says nothing about the model; a 500 may come from a parser."""
    response = exchange.response
    silent = response is None or overloaded(exchange) or response.status in GATEWAY
    return silent and unanswered(exchange)
