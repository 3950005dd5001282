"""What a fault is: changes at some of the seams, and what is said of them in the catalogue.

Each layer is one module (or two) with a `Family`; its decorator takes everything there is to know
about a fault, so that lists, tests and the self-test all come from one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, cast

Layer = Literal[
    "rendering",
    "history",
    "tool mapping",
    "parsing",
    "structured output",
    "streaming",
    "sampling",
    "limits",
    "usage",
    "errors",
    "numerics",
]
NUMERICS = (
    "numerics.logprobs",
    "numerics.greedy",
    "chat.reasoning.missing",
    "responses.reasoning.missing",
)
"""What finds a model that computes otherwise: its tokens are others, or it no longer thinks."""
HYPOTHETICAL = "hypothetical"
"""Source of a fault that no public thread reports."""
ALLOWED = "ok:"
"""How the name of a variation begins that is no defect."""

C = TypeVar("C")


@dataclass(frozen=True)
class Seam(Generic[C]):
    """A place in the server where a change of type `C` can act."""

    name: str


@dataclass(frozen=True)
class Fault:
    """One way to be wrong, or to be right in another way (`allowed`).

    Attributes:
        name: How it is asked for; stable.
        layer: Where the real defect lived.
        description: What it does, in one sentence.
        source: The thread that reports it, as `repository#number` or the catalogue's words.
        detectors: Ids of checks, or names of families of them, of which one at least must find it.
        visible: Whether it can be seen from outside at all.
        changes: What it does, by the name of the seam.
    """

    name: str
    layer: Layer
    description: str
    source: str
    detectors: tuple[str, ...]
    visible: bool
    changes: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def allowed(self) -> bool:
        """Whether it is a variation that nothing may be reported about as an error."""
        return self.name.startswith(ALLOWED)

    def at(self, seam: Seam[C]) -> C | None:
        """What it does at a seam, if anything."""
        return cast("C | None", self.changes.get(seam.name))


@dataclass
class Family:
    """The faults of one layer; `fault` and `allowed` add one, `also` another change of it."""

    layer: Layer
    faults: dict[str, Fault] = field(default_factory=dict)

    def fault(
        self,
        seam: Seam[C],
        name: str,
        description: str,
        *,
        source: str,
        detectors: Iterable[str],
        visible: bool = True,
    ) -> Callable[[C], C]:
        """Register the decorated change as a fault.

        Args:
            seam: Where it acts.
            name: How it is asked for.
            description: What it does, in one sentence.
            source: See `Fault`.
            detectors: See `Fault`.
            visible: See `Fault`.
        """
        fault = Fault(name, self.layer, description, source, tuple(detectors), visible)
        if name in self.faults:
            raise ValueError(f"The fault {name!r} is there already.")
        self.faults[name] = fault
        return self.also(seam, name)

    def allowed(
        self, seam: Seam[C], name: str, description: str, *, source: str
    ) -> Callable[[C], C]:
        """Register the decorated change as an allowed variation, `ok:` and the name."""
        return self.fault(
            seam, ALLOWED + name, description, source=source, detectors=(), visible=False
        )

    def also(self, seam: Seam[C], name: str) -> Callable[[C], C]:
        """Register the decorated change as a further one of the fault of this name."""

        def add(change: C) -> C:
            self.faults[name].changes[seam.name] = change
            return change

        return add
