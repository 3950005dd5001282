"""The table of a run: a row for each attempt, filtered and sorted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any, NamedTuple

from harness.compare.transcripts import read_reply
from harness.records.conditions import Condition
from harness.records.rollouts import Exchange, Rollout
from harness.records.scores import Finding, Score
from reports.html.attempts import LOOKS, passed
from reports.html.transcripts import Item, request_items, response_items, shown_findings
from reports.text import trimmed, visible

_PREVIEW = 300  # characters of a request or a reply in the table
REFUSED = "refused in a probe"
_SEARCHED = 20_000  # characters of each item that are searched


class Said(NamedTuple):
    """What the record of an attempt says, which takes longer to read than its score."""

    request: str  # the beginning of what was asked
    reply: str  # the beginning of what came back in the end
    trouble: str  # `status 400`, `timeout`; empty after a reply
    began: str  # ISO 8601, of the first request
    seconds: float  # of all requests
    searched: str  # all texts, without regard to case


@dataclass(slots=True)
class Row:
    """One attempt.

    Attributes:
        score: None until it is judged, or if the run does not plan the attempt.
        findings: Those of its score, and those that probes have in it.
        said: None until its record is read.
        place: Where its record begins in the log, in bytes; None until it is read.
    """

    record: str
    task: str
    sample: str
    condition: Condition
    attempt: int
    score: Score | None = None
    findings: tuple[Finding, ...] = ()
    said: Said | None = None
    place: int | None = None

    @classmethod
    def of(cls, made: Score | Rollout) -> "Row":
        """Begin the row of an attempt from its score or from its record."""
        record = made.record if isinstance(made, Score) else made.id
        return cls(record, made.task, made.sample, made.condition, made.attempt)

    def judge(self, score: Score, of_probes: tuple[Finding, ...] = ()) -> None:
        """Set the score, and the findings of probes in the attempt."""
        others = [finding for finding in of_probes if finding not in score.findings]
        self.score = replace(score, findings=(*score.findings, *others))
        self.findings = shown_findings(self.score)

    @property
    def seconds(self) -> float | None:
        """How long its requests took together; None if that is not known yet."""
        if self.said is not None:
            return self.said.seconds
        if self.score is None or len(self.score.timing) < self.score.requests:
            return None
        return sum(timing.total for timing in self.score.timing)

    @property
    def tokens(self) -> int | None:
        """The completion tokens as the provider reports them."""
        return None if self.score is None else self.score.usage.output

    @property
    def kind(self) -> str:
        """The outcome to choose by; a 4xx status that a probe got is no error of the provider."""
        if self.score is None:
            return ""
        trouble = "" if self.said is None else self.said.trouble
        probed = self.score.value is None and self.score.outcome == "provider_error"
        return REFUSED if probed and trouble.startswith("status 4") else self.score.outcome

    @property
    def outcome(self) -> tuple[str, str]:
        """The outcome and its tone; requests of probes, which may provoke errors, have no tone."""
        if self.score is None:
            return "", ""
        look = LOOKS[self.score.outcome]
        if self.score.value is None:
            return (self.said and self.said.trouble) or look.label, ""
        return look.label, look.tone

    def shown(self) -> Mapping[str, Any]:
        """Return the row as the page gets it."""
        score, said = self.score, self.said
        outcome, tone = self.outcome
        first = score.timing[0].first_token if score is not None and score.timing else None
        return {
            "record": self.record,
            "task": visible(self.task.replace("_", " ")),
            "sample": trimmed(self.sample, _PREVIEW),
            "api": self.condition.api,
            "mode": self.condition.mode,
            "attempt": self.attempt,
            "outcome": outcome,
            "tone": tone,
            "findings": [[finding.id, finding.severity] for finding in self.findings],
            "request": "" if said is None else said.request,
            "reply": "" if said is None else said.reply,
            "seconds": self.seconds,
            "first": first,
            "tokens": self.tokens,
        }


def said_in(rollout: Rollout) -> Said:
    """Read what the table shows of a record, and what a search looks through."""
    asked: list[Item] = []
    came: list[Item] = []
    every: list[Item] = []
    last = rollout.exchanges[-1] if rollout.exchanges else None
    for index, exchange in enumerate(rollout.exchanges):
        sent = request_items(rollout.api, exchange.request.body or {}, first=index == 0)
        came = response_items(read_reply(rollout.api, exchange))
        asked = asked or sent
        every += [*sent, *came]
    texts = (text for item in every for text in (item["about"], item["text"][:_SEARCHED]))
    return Said(
        request=_preview(item["text"] for item in reversed(asked)),
        reply=_preview(
            f"{item['about']} {item['text']}" if item["who"] == "call" else item["text"]
            for item in reversed(came)
            if item["who"] != "cot"
        ),
        trouble="" if last is None else _trouble(last),
        began=rollout.exchanges[0].started_at if rollout.exchanges else "",
        seconds=sum(exchange.elapsed for exchange in rollout.exchanges),
        searched="\n".join(texts).casefold(),
    )


def _trouble(exchange: Exchange) -> str:
    if exchange.failure is not None:
        return exchange.failure.kind.replace("_", " ")
    response = exchange.response
    return "" if response is None or response.good_status else f"status {response.status}"


def _preview(texts: Iterator[str]) -> str:
    """Return the beginning of the first text that is not blank, on one line."""
    begun = (" ".join(text[: 4 * _PREVIEW].split()) for text in texts)
    return visible(next(filter(None, begun), "")[:_PREVIEW])


ONLY: Mapping[str, Callable[[Row], bool]] = {
    "findings": lambda row: bool(row.findings),
    "failed": lambda row: (
        row.score is not None and row.score.value is not None and not passed(row.score)
    ),
}
"""What a reader may want to see alone: findings, and failures at cases and questions."""

ORDERS: Mapping[str, Callable[[Row], Any]] = {
    "sample": lambda row: (row.task, row.sample, row.condition.name, row.attempt),
    "seconds": lambda row: -inf if row.seconds is None else row.seconds,
    "tokens": lambda row: -1 if row.tokens is None else row.tokens,
}
"""The orders other than that of the log; the largest number comes first."""


@dataclass(frozen=True)
class Choice:
    """Which rows a reader wants, in which order; an empty value leaves all."""

    api: str = ""
    mode: str = ""
    sample: str = ""  # a part of the name of the task and the sample, as the table has it
    outcome: str = ""
    rule: str = ""
    text: str = ""  # in a request, a reply, or a finding
    only: str = ""
    order: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Choice":
        """Read the choice from the query of an address; unknown names in it are ignored."""
        return cls(**{f.name: query[f.name].strip() for f in fields(cls) if f.name in query})

    def rows(self, rows: list[Row]) -> list[Row]:
        """Return the rows of this choice."""
        chosen = [row for row in rows if self._takes(row)]
        if (key := ORDERS.get(self.order)) is not None:
            chosen.sort(key=key, reverse=self.order != "sample")
        return chosen

    def _takes(self, row: Row) -> bool:
        return (
            self.api in ("", row.condition.api)
            and self.mode in ("", row.condition.mode)
            and self.outcome in ("", row.kind)
            and (not self.rule or any(found.id == self.rule for found in row.findings))
            and (self.only not in ONLY or ONLY[self.only](row))
            and (not self.sample or self.sample.casefold() in named(row).casefold())
            and (not self.text or self._is_said(row))
        )

    def _is_said(self, row: Row) -> bool:
        text = self.text.casefold()
        if text in named(row).casefold() or (row.said is not None and text in row.said.searched):
            return True
        return any(text in f"{each.id} {each.message}".casefold() for each in row.findings)


def named(row: Row) -> str:
    """Return the task and the sample of a row: `tool calling/weather`."""
    return f"{row.task.replace('_', ' ')}/{row.sample}"
