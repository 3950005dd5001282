"""Who watches a run from outside, for instance to draw it."""

from __future__ import annotations

from typing import Protocol

from harness.records.rollouts import Rollout
from harness.sampling.attempts import Attempt


class Observer(Protocol):
    """Told what happens during a run, for instance to draw it. Called on the event loop: be brief.

    Attempts that were already in the log are not mentioned.
    """

    def started(self, attempt: Attempt) -> None:
        """An attempt has begun."""
        ...

    def finished(self, rollout: Rollout) -> None:
        """A rollout has been written to the log."""
        ...


class Watcher(Observer, Protocol):
    """An observer that is also told what is being waited for."""

    def stage(self, text: str) -> None:
        """What goes on now, in a few words."""
        ...

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Sampling of something begins; `finished` of it were there before."""
        ...

    def limit_changed(self, limit: int, most: int) -> None:
        """The provider is overloaded, or less so: `limit` requests at once instead of `most`."""
        ...
