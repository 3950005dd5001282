"""Faults, the hooks at which they change the server, and the faults of the current request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

ALLOWED = "ok:"  # prefix of the names of allowed variations
CHANGES: dict[str, dict[str, Any]] = {}
"""The changes of each fault by point, under the fault's name without `ALLOWED`."""

_ENGINE_POINTS = frozenset({"model", "forward"})
"""The points at which a fault changes the engine, not single requests."""

C = TypeVar("C")
V = TypeVar("V")


@dataclass(frozen=True)
class Hook(Generic[C]):
    """A point in the server where a fault can act with a change of type `C`.

    As a decorator, a hook declares the function as the change of the fault that it names.
    """

    point: str
    """The name of the point. Several hooks can share one."""
    adapt: Callable[[C], Any] = lambda change: change
    """Converts a change of type `C` to the type that the server calls at this point."""

    def when(self, condition: Callable[..., object]) -> "Hook[C]":
        """Restrict changes to calls for which a condition on the arguments at the point holds."""

        def adapt(change: C) -> Callable[..., object]:
            apply = self.adapt(change)
            return lambda value, *context: (
                apply(value, *context) if condition(value, *context) else value
            )

        return Hook(self.point, adapt)

    def __call__(self, name: str) -> Callable[[C], C]:
        """Declare the decorated function as the change of the fault with this name."""

        def declare(change: C) -> C:
            self.faults({name: change})
            return change

        return declare

    def faults(self, changes: Mapping[str, C]) -> None:
        """Declare the changes of faults by their names. Raises ValueError for a second one."""
        for name, change in changes.items():
            if self.point in (points := CHANGES.setdefault(name, {})):
                raise ValueError(f"The fault {name!r} changes the point {self.point!r} twice.")
            points[self.point] = self.adapt(change)


@dataclass(frozen=True)
class Fault:
    """A known defect, or an allowed variation that no check may report as an error."""

    name: str  # the public name; stable
    layer: str  # where the real defect was
    description: str  # the effect, in one sentence
    source: str  # the public report, as `repository#number` or in words; else "constructed"
    detectors: tuple[str, ...]
    """Checks, probes or prefixes of their ids. At least one must find the fault."""
    visible: bool  # whether a client can see the effect
    rate: float  # the share of requests that it affects if none is named
    use: tuple[str, ...]
    """Who takes it: `selftest`, `laws` of the verdict, the bench of real `clients`."""
    changes: dict[str, Any] = field(repr=False, compare=False)  # the changes by point

    @property
    def of_engine(self) -> bool:
        """Whether it changes the model or its forward pass, which all requests share."""
        return not self.changes.keys().isdisjoint(_ENGINE_POINTS)

    @property
    def allowed(self) -> bool:
        """Whether this is an allowed variation."""
        return self.name.startswith(ALLOWED)

    def at(self, hook: Hook[C]) -> C | None:
        """Return the change at a hook, if any."""
        return cast("C | None", self.changes.get(hook.point))


_ACTIVE: ContextVar[Sequence[Fault]] = ContextVar("active_faults", default=())


@contextmanager
def activated(faults: Sequence[Fault]) -> Iterator[None]:
    """Activate faults for the current task and for the tasks that it starts."""
    token = _ACTIVE.set(faults)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def changes_of(faults: Sequence[Fault], hook: Hook[C]) -> list[C]:
    """Return the changes of faults at a hook, in the order of the faults."""
    return [change for fault in faults if (change := fault.at(hook)) is not None]


def active_changes(hook: Hook[C]) -> list[C]:
    """Return the changes of the active faults at a hook, in the order they were named."""
    return changes_of(_ACTIVE.get(), hook)


def changed(hook: Hook[Any], value: V, *context: object) -> V:
    """Return a value after the changes of the active faults at a hook."""
    for change in active_changes(hook):
        value = change(value, *context)
    return value
