"""`rescored.jsonl`: what a reader of the replies found, reply by reply; the first line names it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from harness.records.record import Record

RESCORED_FILE = "rescored.jsonl"

Unread = Literal[
    "no_reply",
    "filtered",
    "hidden_cot",
    "built_in_tools",
    "custom_tools",
    "images",
    "penalties",
    "unrecorded_history",
    "several_calls",
    "empty",
    "undecodable",
    "unrenderable",
    "prescribed",
    "refused_by_reader",
]
"""Why a reply was not read."""

UNREAD: Mapping[str, str] = {
    "no_reply": "no complete reply",
    "filtered": "written or ended by a filter",
    "hidden_cot": "its CoT is hidden",
    "built_in_tools": "the provider ran tools, so that it has several prompts",
    "custom_tools": "custom tools, whose prompt differs between servers",
    "images": "images or files",
    "penalties": "penalties, logit_bias or another option that changes the distribution",
    "unrecorded_history": "it continues a conversation that the run did not record",
    "several_calls": "several calls, of which the model writes one at a time",
    "empty": "nothing to read: no text and no call",
    "undecodable": "characters whose bytes the reply does not show",
    "unrenderable": "the reference renders no prompt of this request",
    "prescribed": "prescribed by the reference server, not written by its model",
    "refused_by_reader": "the reader returned no logprobs for it",
}
"""The same in words."""


class ReaderInfo(Record):
    """Who read the replies.

    `weights` is the SHA-256 of the weights where it is known, `limits` what this reader cannot
    judge. `date` and `variations` are the renderings that the run's replies show.
    """

    name: str = Field(description="engine or server, with its version")
    model: str
    weights: str | None = None
    dtype: str | None = None
    form: str = Field(default="model", description="how it reads: a model, or a kind of request")
    judges_numbers: bool = True
    dated: bool = Field(default=False, description="whether prompts have a line with the date")
    order: Literal["before", "calls after", "results after", "after"] = Field(
        default="before", description="where recipients stand in the history"
    )


class Reading(Record):
    """A reply as it was read: a line of `rescored.jsonl`.

    The lists have an entry for each token. Logprobs and gaps are in nats: `gaps` is the distance to
    the most probable token, `surprises` minus the logarithm of the probability that a sample is as
    improbable. A token that is not `judged` was not the model's free choice. `open` has the
    uncertain places of a sampled reply: the logprob of the token, then those of the most probable
    ones, all with the reply's temperature and top_p.
    """

    record: str
    exchange: int
    choice: int = 0
    unread: Unread | None = None
    why: str = ""
    prompt_tokens: int = 0
    prompt_sha256: str = ""
    temperature: float = 1.0
    seeded: bool = Field(default=False, description="whether the request sets a seed")
    ids: tuple[int, ...] = ()
    best: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    gaps: tuple[float, ...] = ()
    surprises: tuple[float, ...] = ()
    judged: tuple[bool, ...] = ()
    open: tuple[tuple[float, tuple[float, ...]], ...] = ()

    @property
    def key(self) -> tuple[str, int, int]:
        """The record, the exchange and the choice."""
        return self.record, self.exchange, self.choice

    @property
    def greedy(self) -> bool:
        """Whether the request sets temperature 0."""
        return self.temperature == 0


class PromptFault(Record):
    """A known fault of prompts after which the replies of a run are probable.

    `nats` is how much more probable they are, all together, than after the right prompts, `second`
    the same of the next fault, and `share` the share of the requests that it hits. The requests of
    the run cannot tell it from the `indistinguishable` ones. `replies` are those that it explains.
    """

    fault: str
    description: str
    allowed: bool = False
    nats: float
    second: float = 0.0
    share: float = 1.0
    indistinguishable: tuple[str, ...] = ()
    replies: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadReply:
    """A reply that was read, as the rules about readings judge it.

    `rule` is the rule that accuses it, empty if none does. `place` is the part of the reply that
    the accusation is about, and `expected` and `got` are what the model would have written there,
    and what came.
    """

    exchange: int
    rule: str = ""
    numbers: bool = True  # whether the reader's numbers say anything about the weights
    place: Literal["CoT", "answer", "arguments", "reply"] = "reply"
    message: str = ""
    expected: str = ""
    got: str = ""


class SumOfReplies(Record):
    """Whether sampled replies of a part of the run are samples of the reader's model.

    `low` and `high` are the probabilities that its model gives a sum of logprob and entropy over
    `places` uncertain places that is as small, or as large.
    """

    part: str = Field(description="a condition; empty for the whole run")
    places: int
    low: float
    high: float


class Rescored(Record):
    """What a reader of the replies found, in figures; `None` members were not judged."""

    reader: ReaderInfo
    read: int = Field(description="replies that were read")
    unread: Mapping[str, int] = Field(default={}, description="the others, by reason")
    tokens: int = Field(default=0, description="tokens of the replies that were read")
    improbable: int = Field(default=0, description="replies with text that the model did not write")
    greedy: int = Field(default=0, description="distinct replies at temperature 0")
    deviating: int = Field(default=0, description="those with a small gap first")
    sums: tuple[SumOfReplies, ...] = ()
    cause: PromptFault | None = None
    enough: bool = Field(default=True, description="whether at least half of the replies were read")
