"""Pages of key and value memory by number: who uses them, and what they are known to hold.

A page that nobody uses any more keeps its name, and what it holds, until its memory is needed; the
longest unused is forgotten first. Nothing here touches the memory itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

NULL_PAGE = 0
"""Belongs to nobody: it stands in tables where there is no page."""


class PagePool:
    """Pages 1 to `size`; a page may have several users, who then only read it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._blank = list(range(size, 0, -1))
        self._users = [0] * (1 + size)
        self._names: dict[int, Hashable] = {}
        self._known: dict[Hashable, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """How many pages can be taken."""
        return len(self._blank) + len(self._idle)

    @property
    def used(self) -> int:
        """How many pages have a user."""
        return self.size - self.available

    @property
    def idle(self) -> int:
        """How many pages nobody uses, though what they hold is known."""
        return len(self._idle)

    def take(self) -> int:
        """A page for one user.

        Raises:
            IndexError: None is available.
        """
        page = self._blank.pop() if self._blank else self._forgotten()
        self._users[page] = 1
        return page

    def find(self, name: Hashable) -> int | None:
        """The page that holds what is called so, if any does."""
        return self._known.get(name)

    def shared(self, name: Hashable) -> bool:
        """Whether somebody uses the page that holds what is called so."""
        page = self._known.get(name)
        return page is not None and self._users[page] > 0

    def join(self, page: int) -> None:
        """Adds a user to a known page."""
        self._idle.pop(page, None)
        self._users[page] += 1

    def name(self, page: int, name: Hashable) -> None:
        """Says what a page holds from now on; the first page of a name keeps it."""
        if name not in self._known and page not in self._names:
            self._names[page] = name
            self._known[name] = page

    def release(self, page: int) -> None:
        """Takes a user away."""
        self._users[page] -= 1
        if self._users[page] == 0:
            if page in self._names:
                self._idle[page] = None
            else:
                self._blank.append(page)

    def _forgotten(self) -> int:
        if not self._idle:
            raise IndexError("No page is available.")
        page, _ = self._idle.popitem(last=False)
        del self._known[self._names.pop(page)]
        return page
