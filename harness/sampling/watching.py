"""Observers of a run, such as a progress display."""

from __future__ import annotations

from typing import Protocol

from harness.records.rollouts import Rollout
from harness.sampling.attempts import Attempt


class Observer(Protocol):
    """Notified of what happens in a run. Called on the event loop, so it must return quickly.

    Attempts that were already in the log are not reported.
    """

    def started(self, attempt: Attempt) -> None:
        """An attempt has begun."""
        ...

    def finished(self, rollout: Rollout) -> None:
        """A rollout has been written to the log."""
        ...


class Watcher(Observer, Protocol):
    """An observer that is also notified of stages."""

    def stage(self, text: str) -> None:
        """The current activity, in a few words."""
        ...

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Sampling begins; `finished` of the planned attempts are already in the log."""
        ...

    def limit_changed(self, limit: int, most: int) -> None:
        """The provider allows `limit` concurrent requests instead of `most`, or `most` again."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def stage(self, text: str) -> None:
        """Ignore it."""

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Ignore it."""

    def limit_changed(self, limit: int, most: int) -> None:
        """Ignore it."""

    def started(self, attempt: Attempt) -> None:
        """Ignore it."""

    def finished(self, rollout: Rollout) -> None:
        """Ignore it."""
