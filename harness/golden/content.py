"""The content of golden files: answers, sampled texts, and deviations of healthy runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from harmony.render import Order
from harmony.vocabulary import bytes_of
from harness.records.conditions import Api
from harness.records.record import Record

MILLI = 1000  # logprobs are stored as integer thousandths of a nat

PARTS: Mapping[str, str] = {
    "m": "marker",
    "r": "reasoning",
    "p": "preamble",
    "a": "answer",
    "c": "call",
}
_LETTERS = {part: letter for letter, part in PARTS.items()}
_HIDDEN_ALTERNATIVES = 5  # stored alternatives of tokens whose logprobs most APIs do not return


@dataclass(frozen=True)
class Token:
    """One token of a golden answer.

    `part` is the kind of text that it belongs to; `top` lists token ids and logprobs, the most
    probable first. The logprobs of a token that is not `steady` depend on rounding.
    """

    id: int
    part: str
    top: Sequence[tuple[int, float]]
    steady: bool = True

    @property
    def comparable(self) -> bool:
        """Whether its logprobs are compared: they are steady, and most APIs return them."""
        return self.steady and self.part == "answer"


class Continuation(Record):
    """A golden answer, token by token.

    `parts` has one letter per token (see `PARTS`). `top` lists the alternatives of each token as
    id, thousandths of a nat, id, thousandths of a nat, and so on. `unsteady` are the places of the
    tokens that are not steady. `prompt_sha256` is that of the prompt's tokens
    (`harmony.render.tokens_sha256`), empty in files of older versions.
    """

    prompt_tokens: int
    prompt_sha256: str = ""
    ids: tuple[int, ...]
    parts: str
    top: tuple[tuple[int, ...], ...]
    unsteady: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, prompt_tokens: int, tokens: Sequence[Token], prompt_sha256: str = ""
    ) -> Continuation:
        """Return an answer of an engine."""
        return cls(
            prompt_tokens=prompt_tokens,
            prompt_sha256=prompt_sha256,
            ids=tuple(token.id for token in tokens),
            parts="".join(_LETTERS[token.part] for token in tokens),
            top=tuple(map(_flat, tokens)),
        )

    def tokens(self) -> Iterator[Token]:
        """Yield the tokens one by one."""
        for at, (token, part, flat) in enumerate(zip(self.ids, self.parts, self.top, strict=True)):
            top = tuple(zip(flat[::2], (value / MILLI for value in flat[1::2]), strict=True))
            yield Token(token, PARTS[part], top, at not in self.unsteady)

    def text(self, part: str) -> str:
        """Return the text of one part."""
        data = b"".join(bytes_of(token.id) for token in self.tokens() if token.part == part)
        return data.decode("utf-8", "replace")


def _flat(token: Token) -> tuple[int, ...]:
    kept = token.top if token.part == "answer" else token.top[:_HIDDEN_ALTERNATIVES]
    return tuple(number for id_, value in kept for number in (id_, round(value * MILLI)))


Answers = Mapping[str, Continuation]
"""The answers of one engine, by the name of the request."""


class Drawn(Record):
    """Texts sampled at temperature 1 for one request, CoT and answer joined."""

    prompt_tokens: int
    texts: tuple[str, ...]


def drawn_text(reasoning: str, answer: str) -> str:
    """Return the compared text of a sampled reply; servers differ in surrounding whitespace."""
    return f"{reasoning.strip()}\n{answer.strip()}"


class Distance(Record):
    """|Δ logprob| between a reply and the golden answer, in nats.

    `values` of `tokens` tokens were compared; `median`, `p95` and `p99` are quantiles. `agreement`
    is the share of tokens with the same most probable alternative; `gap` is the largest golden
    difference between the most probable and the actual token. `near_p99` is the 99th percentile of
    the likely alternatives alone.
    """

    tokens: int
    values: int
    median: float
    p95: float
    p99: float
    near_p99: float
    agreement: float
    gap: float


class HealthyRun(Record):
    """A healthy engine, and its deviation from the golden answers.

    `numbers` describes its number formats and its batch size. `exact` is whether it computes and
    stores all numbers in 16 bits or more. `farthest` is the largest 95th percentile of a single
    request, 0 if none was long enough.
    """

    engine: str
    numbers: str
    exact: bool
    distance: Distance
    farthest: float


class Tolerance(Record):
    """Upper limits of healthy engines, in nats; see `Distance`.

    `request_p95` limits the 95th percentile of a single request: a defect that only affects some
    prompts disappears in the figures of all.
    """

    median: float
    p95: float
    p99: float
    request_p95: float
    gap: float

    def allows(self, distance: Distance) -> bool:
        """Return whether a healthy engine may deviate this much."""
        pairs = ((distance.median, self.median), (distance.p95, self.p95), (distance.p99, self.p99))
        return all(figure <= most for figure, most in pairs)


class Pattern(Record):
    """How a known defect changes the logprobs of the golden tokens.

    `defect` is the name of the fault of the reference engine, `text` describes it. `changes`
    has, by request, one tuple per golden token: the change of each alternative in thousandths of a
    nat, None where it is unknown. Tokens outside the answer have empty tuples. `said` has, by
    request, the text of an engine with the defect without its blanks, where that is another text;
    none in files of older versions.
    """

    defect: str
    text: str
    changes: dict[str, tuple[tuple[int | None, ...], ...]]
    said: dict[str, str] = Field(default={})


def unspaced(*texts: str) -> str:
    """Return texts without blanks, in which servers differ, such as those before an answer."""
    return "".join("".join(texts).split())


class Respelled(Record):
    """The answers to prompts in another order of recipient and channel, by request name.

    Only requests with earlier calls are spelled differently. `patterns` have their changes.
    """

    continuations: dict[str, Continuation]
    patterns: tuple[Pattern, ...]


class Golden(Record):
    """A golden file.

    `models` are the names of the model at providers. `engine`, `dtype` and `command` tell what
    created the file; `weights_sha256` is the hash of configuration and weights. `requests_sha256`
    identifies the answered requests: greedy `continuations` and `drawn` texts, by request name.
    `tolerance` covers all `healthy` runs, `exact_tolerance` those that are exact. `long` has the
    answers to long prompts, with their own tolerances, if they were computed. `dated` has those
    to prompts with a date line, with tolerances that cover other dates. `weights_sha256`
    is empty if a server answered. `license` is that of the file.

    The prompts of `continuations` have recipient and channel in the order `order`; `orders` has the
    answers to those that are spelled differently in other orders, if they were computed.
    """

    models: tuple[str, ...] = Field(min_length=1)
    engine: str
    dtype: str
    command: str
    weights_sha256: str
    requests_sha256: str
    current_date: str | None
    continuations: dict[str, Continuation]
    drawn: dict[str, Drawn]
    healthy: tuple[HealthyRun, ...]
    tolerance: Tolerance
    exact_tolerance: Tolerance
    patterns: tuple[Pattern, ...]
    long: Golden | None = None
    dated: Golden | None = None
    order: Order = "before"
    orders: dict[Order, Respelled] = Field(default={})
    license: str = "Apache-2.0"

    @property
    def lone(self) -> bool:
        """Whether all healthy runs have the engine and number format of the answers.

        They do not show how much rounding changes the numbers of other healthy engines.
        """
        own = self.engine, self.dtype
        return all((run.engine, run.numbers) == own for run in self.healthy)

    def in_order(self, order: Order) -> Golden:
        """The file with the answers to prompts in one of its other orders."""
        other = self.orders[order]
        moved = {pattern.defect: pattern.changes for pattern in other.patterns}
        none = {name: ((),) * len(answer.ids) for name, answer in other.continuations.items()}
        patterns = (
            each.model_copy(
                update={"changes": {**each.changes, **none, **moved.get(each.defect, {})}}
            )
            for each in self.patterns
        )
        return self.model_copy(
            update={
                "order": order,
                "continuations": {**self.continuations, **other.continuations},
                "patterns": tuple(patterns),
            }
        )


Respell = Callable[[str | None], Mapping[Order, Mapping[str, Mapping[str, Any]]]]


@dataclass(frozen=True)
class Requests:
    """The request bodies of a golden file by name: greedy ones with logprobs, and sampled ones.

    `sha256` identifies the requests, whatever API they are sent over. `respelled` returns, for a
    date line or none, those whose prompts have another spelling with as many tokens: raw
    completions, by the order of recipient and channel.
    """

    greedy: Mapping[str, Mapping[str, Any]]
    drawn: Mapping[str, Mapping[str, Any]]
    api: Api
    sha256: str
    respelled: Respell = lambda _: {}
