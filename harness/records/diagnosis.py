"""What probably causes the findings of a run, and what each known defect causes."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.records.conditions import Api
from harness.records.record import Record


class KnownDefect(Record):
    """A defect in the catalogue."""

    name: str
    description: str = Field(description="what the server does")
    sources: tuple[str, ...] = Field(description="where servers had it: threads or measurements")


class Cause(Record):
    """A part of the server that probably causes some of a run's findings.

    `examples` are known defects of this part that cause such findings, the more probable first. The
    server may have another defect with the same findings.
    """

    layer: str = Field(description="the part of the server that has the defect")
    description: str = Field(description="what the server does wrong")
    effect: str = Field(description="what breaks in clients")
    remedy: str = Field(description="where such defects were fixed")
    probability: float = Field(description="that a defect of this part causes these findings")
    examples: tuple[KnownDefect, ...]
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
    components: tuple[ComponentFault, ...] = ()


class Signature(Record):
    """What one known defect of the catalogue causes.

    `expected` are the checks and probes that should find it. `found` has those with findings in a
    run against it: rollouts or repetitions with a finding, and all applicable ones. `clean` has
    those that judged something in that run and found nothing. `partial` has, by check of `found`,
    the APIs with findings, where another API had none.
    """

    name: str
    layer: str
    description: str
    source: str
    expected: tuple[str, ...]
    found: Mapping[str, tuple[int, int]] = {}
    clean: tuple[str, ...] = ()
    partial: Mapping[str, tuple[Api, ...]] = {}

    @property
    def measured(self) -> bool:
        """Whether the results of a run against it are known."""
        return bool(self.found or self.clean)


class Signatures(Record):
    """The signatures of all known defects.

    `healthy` has, for every check or probe with a finding on a server without a defect, the runs
    with one and all runs that it judged.
    """

    faults: tuple[Signature, ...]
    healthy: Mapping[str, tuple[int, int]] = {}
