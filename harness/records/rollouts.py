"""Every exchange as it was on the wire, grouped into rollouts; judging reads only these."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.records.conditions import Api, Condition
from harness.records.record import Record


@dataclass(frozen=True)
class Sender:
    """What a client does: the media types that it reads, whether it leaves early, and over what.

    Requests with the same `socket` go over one WebSocket connection, which has this name.
    """

    accept: str = "application/json"  # as OpenAI's SDKs send it, with streams, too
    leaves: bool = False  # whether it closes the connection after the first text of a stream
    socket: str = ""


SDK = Sender()
SWITCHING = 101
"""The status of an upgrade to WebSocket, and so of the responses that come as messages."""


class Request(Record):
    """One HTTP request, or a message over WebSocket (then `url` begins with `ws`).

    `headers` are redacted before they are recorded.

    A body that is intentionally not a JSON object is in `text`.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: dict[str, Any] | None
    text: str | None = None

    @property
    def over_websocket(self) -> bool:
        """Whether it was a message over WebSocket."""
        return self.url.startswith(("ws://", "wss://"))

    @property
    def streams(self) -> bool:
        """Whether it asks for a stream, as every message over WebSocket does."""
        return self.over_websocket or bool((self.body or {}).get("stream"))


@dataclass(frozen=True, slots=True)
class StreamPart:
    """One block of a server-sent event stream as received, without its closing blank line.

    `at` is in seconds since the request was sent; `raw` may be a comment or span several lines.
    Over WebSocket, it is one message.
    A dataclass, because a stream has many parts: it takes an eighth of the memory of a `Record`.
    """

    at: float
    raw: str


class Response(Record):
    """One response; a stream has `parts`, anything else has `body`.

    Text is decoded as UTF-8 with errors replaced. `complete` is False when the connection
    closed before the response ended.
    """

    status: int
    headers: dict[str, str]
    body: str | None = None
    parts: tuple[StreamPart, ...] = ()
    complete: bool = True

    @property
    def good_status(self) -> bool:
        """Whether the status is 2xx, or that of a WebSocket."""
        return 200 <= self.status < 300 or self.status == SWITCHING

    @property
    def text(self) -> str:
        """The body, or the blocks of a stream with the blank lines between them."""
        return self.body or "\n\n".join(part.raw for part in self.parts)


FailureKind = Literal[
    "connect", "timeout", "cut", "too_large", "protocol", "encoding", "left", "unrecorded"
]
"""`encoding`: compressed in a way that the request did not ask for. `left`: the client closed the
connection during the reply, as the request says. `unrecorded`: a recording lacks the reply."""


class TransportFailure(Record):
    """Why no complete response was received, in one sentence."""

    kind: FailureKind
    message: str


_OVERLOAD = frozenset({429, 503, 529})  # of retries that were recorded without `overloaded`


class Retry(Record):
    """A request that failed temporarily, and the wait in seconds before the next one."""

    status: int | None = None
    failure: TransportFailure | None = None
    overloaded: bool = False
    locked_out: bool = Field(
        default=False, description="whether the response was the rejection of another request"
    )
    waited: float

    @property
    def server_failed(self) -> bool:
        """Whether the server failed: 5xx without an overload, or a cut before the response."""
        if self.failure is not None:
            return self.failure.kind == "cut"
        busy = self.overloaded or self.locked_out or self.status in _OVERLOAD
        return self.status is not None and self.status >= 500 and not busy


class Exchange(Record):
    """One request with its response, its failure, or both if a stream broke.

    `started_at` is ISO 8601 UTC, `elapsed` in seconds.
    """

    request: Request
    response: Response | None = None
    failure: TransportFailure | None = None
    retries: tuple[Retry, ...] = ()
    started_at: str
    elapsed: float


LoopEnd = Literal["answered", "max_turns", "failed", "unreadable"]
Lost = Literal["framing", "fields", "extras", "headers", "date", "arrivals"]


class Recording(Record):
    """Where imported exchanges were recorded, and what the recording does not preserve.

    Without `framing`, bodies were recorded as parsed JSON or as lines, not as bytes. Without
    `fields`, they were objects of an SDK, which adds absent fields and may replace ids and times;
    without `extras`, of one that may drop unknown fields, such as the CoT. Without `headers`, the
    media type of responses is unknown; without `date`, the time of requests.
    """

    source: str = Field(description="file and place of the first exchange")
    lost: tuple[Lost, ...] = ()
    timed: bool = Field(
        default=False, description="whether it has when each part of a reply arrived"
    )

    @property
    def missing(self) -> frozenset[Lost]:
        """What it does not preserve; without `arrivals`, no part of a reply has its time."""
        return frozenset(self.lost) | (frozenset[Lost]() if self.timed else {"arrivals"})


class Rollout(Record):
    """One attempt at one sample under one condition: all its exchanges, in order.

    `end` states why sampling stopped: the model answered, the turns ran out, an exchange
    failed (transport or HTTP status), or a reply could not be read.
    """

    id: str = Field(description="unique in the run")
    task: str
    sample: str
    condition: Condition
    attempt: int = Field(description="number of the try at the sample, from 1")
    end: LoopEnd
    exchanges: tuple[Exchange, ...]
    presented_as: int | None = Field(
        default=None,
        description="in a merged run, the number with which the sample was presented, if not "
        "`attempt`; it determines the order of choices",
    )
    recording: Recording | None = Field(default=None, description="only of imported traffic")
    alone: bool = Field(
        default=False, description="whether a failed attempt was made again with no other in flight"
    )

    @property
    def presentation(self) -> int:
        """The number that determined how the sample was presented."""
        return self.attempt if self.presented_as is None else self.presented_as

    @property
    def api(self) -> Api:
        """The API of the condition."""
        return self.condition.api
