"""The table of a run: a row for each exchange, by which rules and the verdict compare its replies.

A row is made once, when its rollout is scored (`harness.rules.evidence.rows`), and has all that is
asked of several replies together: where it stands (record, sample, exchange, API and mode), the
request and its features, when it was in flight, what came back, and the counts. The account reads
the rows that are `answered`; conditions read the features and times of all. What belongs to a whole
rollout is in its `Traits`. Neither is stored: the records of a run have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from harness.records.conditions import Api

End: TypeAlias = Literal["model", "stop string", "limit", "unknown"]
"""What ended a reply."""

# One token in 50, far more than the recorded replies of real models show (none in 13,000).
_SPELLED_OTHERWISE = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the reply of a model that does as the request says has in it.

    The model may write more around it. The account of a reply compares both (see
    `harness.rules.account`).
    """

    text: str = ""  # in the answer; empty if it can be any
    name: str = ""  # the name of the function that is called; empty if none is wanted
    arguments: Mapping[str, Any] | None = None
    """Of the call: its members with their values. A string may be a part of the value."""
    special: str = ""  # the part of the text, or of a string in the arguments, that servers damage


@dataclass(frozen=True, slots=True)
class Ledger:
    """The completion tokens of a reply, and the parts that explain them.

    A part with JSON is counted in the serialization with the fewest tokens.
    """

    exchange: int  # index of the exchange in its rollout
    reported: int  # the completion tokens that the provider reports
    prompt: int | None  # the prompt tokens that it reports
    cot: int
    answer: int  # the answer, or the text beside calls
    calls: int  # the arguments of all calls
    markup: int  # headers and end tokens of the messages
    returned: int  # the tokens of the reply with its texts as returned, without content types
    spellings: int  # how many more tokens other serializations and content types may have
    exact: bool  # whether the tokens are known, because no part has JSON, which servers may rewrite
    thinking: int | None = None  # the reasoning tokens that the provider reports
    concealed: bool = False  # whether the CoT is returned as a summary, encrypted, or as no text
    repeated: bool = False  # whether the answer also contains the CoT
    end: Literal["model", "stop string", "limit"] = "model"
    """What ended the reply: the text lacks a stop string, and a last message that the token limit
    cut has no end token."""

    @property
    def texts(self) -> int:
        """The fewest tokens that the texts alone can have."""
        return self.cot + self.answer + self.calls

    @property
    def explained(self) -> int:
        """The most tokens that the texts and the format around them can have."""
        return self.texts + self.markup + self.spellings

    @property
    def extra(self) -> int:
        """Reported tokens that are not those of the reply as returned."""
        return self.reported - self.returned

    @property
    def difference(self) -> int:
        """Reported tokens that the reply does not explain; negative if it needs fewer."""
        return self.reported - self.explained

    @property
    def spelling(self) -> int:
        """Tokens by which another spelling of a long text may differ, in a rare case."""
        return self.explained // _SPELLED_OTHERWISE


class Feature(NamedTuple):
    """A property of a request, its reply or its mode, with the value that it has."""

    property: str  # such as `tools`, an option of the request
    value: str = ""  # such as `high`; empty: it has the property, whatever its value


JSON, CHOICES = Feature("JSON"), Feature("choices")
"""A request for an answer in JSON, and one for several choices."""
TOOL_RESULT, TRUNCATED = Feature("tool result"), Feature("truncated")
"""A reply to the result of a tool, and a truncated one."""
SOCKET = Feature("socket")
"""A request over WebSocket."""
LONG, LONG_FROM = Feature("size"), 8
"""A long request, and how many thousand characters it has at least."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A truncated reply with fewer tokens than its request allows."""

    input: int  # prompt tokens
    output: int  # completion tokens
    limit: int  # the token limit of the request


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How a stream with text arrived; times are in seconds."""

    waits: int  # between different arrivals, from the first to the last event with text
    pauses: int  # those of at least `harness.rules.evidence.arrivals.PAUSE`
    longest: float  # the longest of them
    silence: float  # from the last text to the finish reason, or to the last event without one
    finished: bool  # whether a finish reason or the last event of Responses arrived
    open: float  # from there to the end of the response
    whole: bool  # whether no tokens of the reply are known to be missing in its text


@dataclass(frozen=True, slots=True)
class Row:
    """One exchange, as it is compared with the others of its run.

    Members that an exchange cannot have are empty: a refusal has no texts, and recorded traffic no
    times, refusals and arrivals, because one client sends related requests.
    """

    record: str = ""
    sample: tuple[str, str] = ("", "")  # task and sample
    api: Api = "chat"
    exchange: int = 0  # its index in the rollout
    streamed: bool = False
    reply_id: str = ""  # copies of a reply have the same; empty if it has none

    features: frozenset[Feature] = frozenset()
    """What the request or the reply has that others lack."""
    size: int = 0  # characters of the request's body, in thousands
    began: float = 0.0  # Unix time in seconds
    ended: float = 0.0  # the same as `began` if the duration is unknown

    sent: str = ""  # a hash of path and body of a request that was served or refused
    refusal: str = ""  # the status and body of the refusal
    locked_out: int = 0
    """How often it got the rejection of another request, which a server sends to all for a time."""
    rejected: str = ""  # the status and body of such a rejection that it got in the end

    answered: bool = False  # whether it has a readable reply, which the following members describe
    request: str = ""
    """A hash of what determines a greedy reply: the conversation, the functions and the effort,
    without limits, stop strings and formats. Empty if the request does not contain them."""
    greedy: bool = False  # whether the request sets temperature 0
    stops: tuple[str, ...] = ()  # its stop strings
    format: str = ""  # a hash of the JSON format of the answer that it sets; empty without one
    end: End = "unknown"
    reasoning: str = ""
    text: str = ""
    spelled: str = ""  # the answer as its tokens with logprobs spell it, if they spell another one
    calls: tuple[tuple[str, str], ...] = ()  # name and arguments of each
    twice: tuple[str, ...] = ()  # the places whose pieces of the stream all come twice
    chunks: int = 0  # events of the stream that have text
    restated: tuple[str, ...] = ()  # those in which one piece begins with the whole text before it
    again: bool = False  # whether the answer is that of an earlier turn of its request
    several: bool = False  # whether the answer has several messages, which some servers join
    ledger: Ledger | None = None  # None if the tokens cannot be counted
    wanted: Wanted | None = None
    cut: Cut | None = None
    arrivals: Arrivals | None = None  # of a stream with text

    @property
    def key(self) -> tuple[str, int]:
        """The record and the index of the exchange."""
        return self.record, self.exchange

    @property
    def mode(self) -> tuple[Api, bool]:
        """The API, and whether the reply is a stream."""
        return self.api, self.streamed

    @property
    def written(self) -> tuple[object, ...]:
        """What arrived: texts and count. Equal replies to one sample are one piece of evidence."""
        counted = self.ledger and self.ledger.reported
        return self.sample, self.reasoning, self.text, self.calls, counted


@dataclass(frozen=True, slots=True)
class Tries:
    """How often the last request of a rollout was sent until it was served or given up."""

    failed: int  # tries that got a 5xx status or no response, without an overload
    status: int  # the status of the last try if that failed too; 0 if it was served
    since: float  # Unix time of the first try in seconds, without the time that failed tries took
    until: float  # Unix time of the last try
    alone: bool = False  # as in `Rollout`


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties by which the rollouts of a run are compared.

    Empty values mean that a rollout takes no part in a comparison.
    """

    first_input: int | None = None
    """Prompt tokens of the first request. None with built-in tools, where the reported count is the
    sum over several prompts."""
    least_input: int = 0
    """Fewer tokens than this prompt can have, from the text of its last message; 0 if unknown."""
    created: float | None = None
    """When the first reply was made, as it says, in Unix seconds."""
    host: str = ""  # the host of the first request
    tries: Tries | None = None
    """None in recorded traffic, and if the last request was neither served nor failed with 5xx."""
    conversation: str = ""  # the conversation of the first request as JSON, in lower case
    options: str = ""  # the other members of the first request: each name with a hash of its value
    beside_user: str = ""
    """A hash of the first request without the user's texts; empty if these are no plain texts."""
    invented: frozenset[str] = frozenset()
    """Invented words in replies and texts in arguments of calls that no request of the rollout
    contains, in lower case."""
    call_ids: frozenset[str] = frozenset()  # the ids of its calls; empty in recorded traffic
    calls: frozenset[str] = frozenset()  # every call: its name and its arguments in canonical form
    content: str = ""  # a hash of CoT and text; empty if they are short, or if the reply has calls
    answer: str = ""
    """A hash of the text of the only reply; empty if it is short, if it has calls, or if its words
    are from the request."""
    replicas: tuple[tuple[str, str], ...] = ()
    """What may tell the servers behind a load balancer apart: properties with values."""
    models: frozenset[str] = frozenset()
    """The names in its replies to requests for the model of its condition, without a path and in
    lower case; none in recorded traffic, where several servers may have answered."""
