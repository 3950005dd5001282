"""What probably causes the findings of a run."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.records.record import Record
from harness.records.replies import (
    CHOICES,
    JSON,
    LONG,
    LONG_FROM,
    SOCKET,
    TOOL_RESULT,
    TRUNCATED,
    Feature,
)
from harness.text import percentage

_SELDOM = 0.3  # share of replies below which "1 in 5" is easier to read than "in 20% of"
_FEATURES: Mapping[Feature, str] = {
    Feature("mode", "streaming"): "streams",
    Feature("mode", "non-streaming"): "non-streaming replies",
    JSON: "requests for JSON",
    CHOICES: "requests for several choices",
    TOOL_RESULT: "replies to a tool result",
    TRUNCATED: "truncated replies",
    SOCKET: "requests over WebSocket",
    LONG: f"requests above {LONG_FROM},000 characters",
}


class Example(Record):
    """A known defect of a server."""

    description: str = Field(description="what the server did")
    sources: tuple[str, ...] = Field(description="threads about servers that had it")


class Occasion(Record):
    """When a defect shows."""

    kind: Literal[
        "with", "without", "share", "some requests", "intermittent", "under load", "witness"
    ] = Field(
        description="with any of the features, or without them; in a share of the replies; in "
        "some of several requests that are equal over two APIs; other tries of the same requests "
        "succeed; only with several requests in flight; a rule alone shows the defect, which does "
        "not say what is wrong"
    )
    features: tuple[Feature, ...] = Field(
        default=(), description="a property of requests, replies or the mode, and its value, each"
    )
    share: float | None = Field(default=None, description="of the replies with the features")
    rule: str | None = Field(default=None, description="id of the witness")

    @property
    def words(self) -> str:
        """When it is, in a few words: `only chat`."""
        share = self.share or 0.0
        match self.kind:
            case "with":
                return f"only {' or '.join(map(_having, self.features))}"
            case "without":
                (feature,) = self.features
                known = _known(feature)
                return f"all but {known}" if known else f"only {_having(feature, 'without')}"
            case "share" if share > _SELDOM:
                return f"in {percentage(share, 0)} of replies"
            case "share":
                return f"1 in {1 / share:.0f} replies"
            case "some requests":
                return "only some replies: two builds behind one router?"
            case "intermittent":
                return "the same request succeeds in other tries"
            case "under load":
                return "only with several requests in flight: try --concurrency 1"
            case "witness":
                return f"shown only by {self.rule}"


def _known(feature: Feature) -> str | None:
    """Return the words for a feature; None if it is an option of the request, or a form."""
    return feature.value if feature.property == "API" else _FEATURES.get(feature)


def _having(feature: Feature, relation: str = "with") -> str:
    name, value = feature
    return _known(feature) or f"requests {relation} {f'{name} = {value}' if value else name}"


class Cause(Record):
    """A part of the server that explains failed rules of a run.

    Up to version 0.5 the description had the words of `when`, which was not stored.
    """

    component: str = Field(description="id of the part of the server that is at fault")
    description: str = Field(description="what the server does wrong")
    when: tuple[Occasion, ...] = Field(default=(), description="when it does so; empty: always")
    effect: str = Field(
        description="what breaks in clients; empty if an earlier cause of the component says it"
    )
    remedy: str = Field(description="where such defects were fixed")
    examples: tuple[Example, ...] = Field(description="known defects whose own rule failed")
    explains: tuple[str, ...] = Field(description="ids of the checks and probes it explains")

    @property
    def sentence(self) -> str:
        """What the server does wrong and when: `… changes earlier turns (only chat).`."""
        when = ", ".join(occasion.words for occasion in self.when)
        return f"{self.description[:-1]} ({when})." if when else self.description


class ComponentFault(Record):
    """A component that is at fault: requests fail with it and not without it."""

    component: Literal["API conversion", "engine"]
    text: str = Field(description="the component and the evidence, in one sentence")


class Diagnosis(Record):
    """At most three likely causes of the findings of a run, and the findings that none explains.

    `components` is known only for runs that used harmony.
    """

    causes: tuple[Cause, ...]
    unexplained: tuple[str, ...]
    worst_unexplained: str | None = Field(
        default=None, description="id of the worst finding, if no cause explains it"
    )
    components: tuple[ComponentFault, ...] = ()
