"""Who watches a run from outside, for instance to draw it."""

from __future__ import annotations

from typing import Protocol

from harness.sampling import Observer


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
