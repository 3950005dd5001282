"""What stands in a golden file.

A golden file is made once with the reference engine and used without it afterwards: its answers to
fixed requests, each token with the most probable alternatives; texts drawn at temperature 1; and
how far healthy runs of the same model are from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field

from harness.records.base import Record

MILLI = 1000
"""Log probabilities are kept as whole thousandths of a nat."""

PARTS: Mapping[str, str] = {
    "m": "marker",
    "r": "reasoning",
    "p": "preamble",
    "a": "answer",
    "c": "call",
}


@dataclass(frozen=True)
class Token:
    """One token of a golden answer.

    `part` is what it is text of; `top` holds ids and log probabilities, the most probable first.
    """

    id: int
    part: str
    top: tuple[tuple[int, float], ...]


class Continuation(Record):
    """A golden answer, token by token.

    `parts` has one letter for each token (see `PARTS`); `top` has for each token its alternatives
    as id, thousandths of a nat, id, thousandths of a nat, and so on.
    """

    prompt_tokens: int
    ids: tuple[int, ...]
    parts: str
    top: tuple[tuple[int, ...], ...]

    def tokens(self) -> Iterator[Token]:
        """The tokens one by one."""
        for token, part, flat in zip(self.ids, self.parts, self.top, strict=True):
            values = (value / MILLI for value in flat[1::2])
            yield Token(token, PARTS[part], tuple(zip(flat[::2], values, strict=True)))


class Drawn(Record):
    """Texts drawn at temperature 1 in answer to one request, CoT and answer joined."""

    prompt_tokens: int
    texts: tuple[str, ...]


def drawn_text(reasoning: str, answer: str) -> str:
    """What is compared of a drawn reply; servers differ in the space around the texts."""
    return f"{reasoning.strip()}\n{answer.strip()}"


class Distance(Record):
    """How far log probabilities are from the golden ones, in nats.

    `values` of `tokens` tokens were compared; `median`, `p95` and `p99` are of their absolute
    differences. `agreement` is the share of tokens whose most probable alternative is the golden
    one; `gap` the largest golden distance between the best token and the one that was taken.
    """

    tokens: int
    values: int
    median: float
    p95: float
    p99: float
    agreement: float
    gap: float


class HealthyRun(Record):
    """A healthy engine of another number format or batch size, and how far it was.

    `farthest` is the largest 95th percentile that one request alone has, 0 where none was long
    enough to say.
    """

    dtype: str
    batch: int
    distance: Distance
    farthest: float


class Tolerance(Record):
    """What no healthy engine exceeds, in nats; see `Distance`.

    `request_p95` is for the 95th percentile of one request alone: a defect that only some prompts
    meet is lost among the figures of all.
    """

    median: float
    p95: float
    p99: float
    request_p95: float
    gap: float

    def allows(self, found: Distance) -> bool:
        """Whether log probabilities this far away may be those of a healthy engine."""
        pairs = ((found.median, self.median), (found.p95, self.p95), (found.p99, self.p99))
        return all(figure <= most for figure, most in pairs)


class Golden(Record):
    """A golden file.

    `models` are the names of the model at providers; `weights_sha256` is that of its configuration
    and weights. `requests_sha256` says to which requests the file holds answers: greedy
    `continuations` and `drawn` texts, by the name of the request.
    """

    models: tuple[str, ...] = Field(min_length=1)
    weights_sha256: str
    requests_sha256: str
    tool_version: str
    dtype: str
    current_date: str | None
    continuations: dict[str, Continuation]
    drawn: dict[str, Drawn]
    healthy: tuple[HealthyRun, ...]
    tolerance: Tolerance
