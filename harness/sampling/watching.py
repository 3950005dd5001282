"""Watchers of a run, such as a progress display."""

from __future__ import annotations

from harness.records.rollouts import Rollout
from harness.sampling.attempts import Attempt


class Watcher:
    """Notified of what happens in a run; shows nothing unless methods are overridden.

    Methods are called on the event loop, so they must return quickly. Attempts that were already in
    the log are not reported.
    """

    def stage(self, text: str) -> None:
        """The current activity, in a few words."""

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Sampling begins; `finished` of the planned attempts are already in the log."""

    def limit_changed(self, limit: int, most: int) -> None:
        """The provider allows `limit` concurrent requests instead of `most`, or `most` again."""

    def started(self, attempt: Attempt) -> None:
        """An attempt has begun."""

    def finished(self, rollout: Rollout) -> None:
        """A rollout has been written to the log."""
