"""How a fault is declared: its metadata, and the hooks at which it changes the server."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Generic, Literal, TypeVar, cast

Layer = Literal[
    "rendering",
    "history",
    "tool mapping",
    "built-in tools",
    "parsing",
    "structured output",
    "streaming",
    "sampling",
    "limits",
    "usage",
    "errors",
    "intermittent",
    "numerics",
    "long context",
]
HYPOTHETICAL = "hypothetical"
"""Source of a fault that no public thread reports."""
ALLOWED = "ok:"
"""Prefix of the names of allowed variations."""

ENGINE_POINTS = frozenset({"model", "forward"})
"""The points at which a fault changes the engine, not single requests."""

C = TypeVar("C")


@dataclass(frozen=True)
class Hook(Generic[C]):
    """A point in the server where a fault can act with a change of type `C`.

    Attributes:
        point: The name of the point. Several hooks can share one.
        adapt: Converts a change of type `C` to the type that the server calls at this point.
    """

    point: str
    adapt: Callable[[C], Any] = lambda change: change


@dataclass(frozen=True)
class Fault:
    """A known defect, or an allowed variation that no check may report as an error.

    Attributes:
        name: The public name; stable.
        layer: Where the real defect was.
        description: The effect, in one sentence.
        source: The public report, as `repository#number` or in words; else `HYPOTHETICAL`.
        detectors: Checks, probes or prefixes of their ids. At least one must find the fault.
        visible: Whether a client can see the effect.
        rate: The share of requests that it affects if none is named.
        changes: The changes by point.
    """

    name: str
    layer: Layer
    description: str
    source: str
    detectors: tuple[str, ...]
    visible: bool
    rate: float = 1.0
    changes: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def of_engine(self) -> bool:
        """Whether it changes the model or its forward pass, which all requests share."""
        return not self.changes.keys().isdisjoint(ENGINE_POINTS)

    @property
    def allowed(self) -> bool:
        """Whether this is an allowed variation."""
        return self.name.startswith(ALLOWED)

    def at(self, hook: Hook[C]) -> C | None:
        """The change at a hook, if there is one."""
        return cast("C | None", self.changes.get(hook.point))


@dataclass
class FaultGroup:
    """Collects the faults that one module declares.

    The name of a decorated function gives the name of the fault (`done_missing` declares
    `done-missing`), and the first paragraph of its docstring is the description.

    Attributes:
        layer: The layer of all faults of the group.
        detectors: The detectors of faults that declare none.
        faults: The faults by name.
    """

    layer: Layer
    detectors: tuple[str, ...] = ()
    faults: dict[str, Fault] = field(default_factory=dict)

    def fault(
        self,
        hook: Hook[C],
        *detectors: str,
        source: str = HYPOTHETICAL,
        visible: bool = True,
        rate: float = 1.0,
    ) -> Callable[[C], C]:
        """Declare the decorated change as a fault; see `Fault` for the arguments."""
        found = detectors or self.detectors
        return self._declare(hook, "", found, source, visible=visible, rate=rate)

    def variation(self, hook: Hook[C], *, source: str) -> Callable[[C], C]:
        """Declare the decorated change as an allowed variation, named `ok:` and its name."""
        return self._declare(hook, ALLOWED, (), source, visible=False)

    def also(self, name: str, hook: Hook[C]) -> Callable[[C], C]:
        """Add the decorated change to the fault `name`, at another hook."""

        def add(change: C) -> C:
            self.faults[name].changes[hook.point] = hook.adapt(change)
            return change

        return add

    def _declare(
        self,
        hook: Hook[C],
        prefix: str,
        detectors: tuple[str, ...],
        source: str,
        *,
        visible: bool,
        rate: float = 1.0,
    ) -> Callable[[C], C]:
        def add(change: C) -> C:
            function = cast("FunctionType", change)
            name = prefix + function.__name__.replace("_", "-")
            if name in self.faults:
                raise ValueError(f"The fault {name!r} is declared twice.")
            paragraph = (inspect.getdoc(function) or "").partition("\n\n")[0]
            description = " ".join(paragraph.split())
            self.faults[name] = Fault(
                name, self.layer, description, source, detectors, visible, rate
            )
            return self.also(name, hook)(change)

        return add


_ACTIVE: ContextVar[Sequence[Fault]] = ContextVar("active_faults", default=())


@contextmanager
def activated(faults: Sequence[Fault]) -> Iterator[None]:
    """Activate faults for the current task and for the tasks that it starts."""
    token = _ACTIVE.set(faults)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def active_changes(hook: Hook[C]) -> list[C]:
    """The changes of the active faults at a hook, in the order in which they were named."""
    found = [fault.at(hook) for fault in _ACTIVE.get()]
    return [change for change in found if change is not None]
