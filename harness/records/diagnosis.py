"""What probably causes the findings of a run."""

from typing import Literal

from pydantic import Field

from harness.records.record import Record


class Example(Record):
    """A known defect of a server."""

    description: str = Field(description="what the server did")
    sources: tuple[str, ...] = Field(description="threads about servers that had it")


class Cause(Record):
    """A part of the server that explains failed rules of a run."""

    component: str = Field(description="id of the part of the server that is at fault")
    description: str = Field(description="what the server does wrong")
    effect: str = Field(
        description="what breaks in clients; empty if an earlier cause of the component says it"
    )
    under_load: bool = Field(default=False, description="more frequent under load")
    intermittent: bool = Field(
        default=False, description="whether other tries of the same requests succeed"
    )
    remedy: str = Field(description="where such defects were fixed")
    examples: tuple[Example, ...] = Field(description="known defects whose own rule failed")
    explains: tuple[str, ...] = Field(description="ids of the checks and probes it explains")


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
