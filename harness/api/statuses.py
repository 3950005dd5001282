"""What a status outside 2xx says about a valid request: overload, refusal or server error. No I/O.

Every such status is one of the three, so that no reply is lost without a reason:

- *overload*: the provider has no room, time or credit for the request now. This includes a body
  that names a rate limit or a quota, whatever its status: providers use 413, 498 and others.
- *server error*: 5xx, except 501.
- *refusal*: everything else, also a redirect, which clients do not follow when they POST.
"""

import re
from collections.abc import Iterator
from typing import Literal

from harness.api.fields import json_object, objects
from harness.records.rollouts import Exchange, Response

Meaning = Literal["overload", "refusal", "server_error"]
OVERLOAD = frozenset({402, 408, 425, 429, 503, 529})
GATEWAY = frozenset({502, 504, 520, 521, 522, 524})
"""Server errors of a gateway that got no reply from the server behind it."""
TIMEOUTS = frozenset({504, 522, 524})
_SERVER_ERROR, _NOT_IMPLEMENTED = 500, 501
_LIMIT = re.compile(
    r"rate[ _-]?limit|\bquota|too[ _]many[ _](?:concurrent[ _])?requests|over(?:ed)? capacity"
    r"|(?:requests|tokens) per (?:second|minute|hour|day)|\b[rt]p[smd]\b|overloaded|throttl"
    r"|resource[ _]?exhausted|concurrency limit|insufficient[ _](?:credit|balance|funds)",
    re.IGNORECASE,
)
_LONGEST = 300
"""Characters of an error message that are searched; a long one may quote the request."""


def meaning(response: Response) -> Meaning | None:
    """Return what the status and body of a response say; None for a 2xx status."""
    if response.good_status:
        return None
    if response.status in OVERLOAD or _LIMIT.search(" ".join(_error_texts(response))):
        return "overload"
    if response.status >= _SERVER_ERROR and response.status != _NOT_IMPLEMENTED:
        return "server_error"
    return "refusal"


def overloaded(exchange: Exchange) -> bool:
    """Return whether the provider says that it is overloaded."""
    return exchange.response is not None and meaning(exchange.response) == "overload"


def _error_texts(response: Response) -> Iterator[str]:
    """Yield the code, type and message of an error; the beginning of a body that is not JSON."""
    text = response.body or "\n".join(part.raw for part in response.parts)
    content = json_object(text)
    if content is None:
        yield text[:_LONGEST]
        return
    errors = objects([content, content.get("error")])
    found = [error.get(name) for error in errors for name in ("code", "type", "message", "detail")]
    for value in (content.get("error"), *found):
        if isinstance(value, str):
            yield value[:_LONGEST]
