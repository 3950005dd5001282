"""Pages of key and value memory by number: who uses them, and what they are known to hold.

A page that nobody uses any more keeps its name, and what it holds, until its memory is needed; the
longest unused is forgotten first. Nothing here touches the memory itself.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from reference_engine.model.config import ModelConfig

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


BLOCK = 64
"""Tokens a page. Prompts are read in blocks of this many that begin at its multiples, in whatever
company, so that a token's numbers depend on nothing but what came before it."""

_FULL, _NEAR = "full", "near"


def blocks_of(tokens: int) -> int:
    """The number of blocks that so many tokens fill or begin."""
    return -(-tokens // BLOCK)


@dataclass(frozen=True)
class Layout:
    """What a sequence needs pages for.

    Attributes:
        full: Whether there are layers that see everything.
        window: How many positions the others see, their own included; None if there are none.
    """

    full: bool
    window: int | None

    @classmethod
    def of(cls, config: ModelConfig) -> Layout:
        """The layout of a model."""
        kinds = set(config.layer_types)
        sliding = "sliding_attention" in kinds
        return cls("full_attention" in kinds, config.sliding_window if sliding else None)

    @cached_property
    def near_blocks(self) -> int:
        """Most blocks that a window and one block of new tokens touch."""
        return 0 if self.window is None else 1 + blocks_of(self.window - 1)

    def pages_for(self, tokens: int) -> int:
        """The pages of a sequence of so many tokens, read a block at a time."""
        blocks = blocks_of(tokens)
        return blocks * self.full + min(blocks, self.near_blocks)

    def longest(self, pages: int) -> int | None:
        """The longest sequence that so many pages hold, in tokens; None for any length."""
        if not self.full:
            return None if pages >= self.near_blocks else pages * BLOCK
        return max(pages - self.near_blocks, pages // 2) * BLOCK

    def first_near(self, position: int) -> int:
        """The first block that the token at a position sees through the window."""
        return max(position - ((self.window or 1) - 1), 0) // BLOCK


def block_names(prompt: Sequence[int]) -> list[bytes]:
    """A name for each full block of a prompt: a hash over all tokens up to its end."""
    names, state = [], blake2b(digest_size=16)
    for start in range(0, len(prompt) - BLOCK + 1, BLOCK):
        state.update(array("q", prompt[start : start + BLOCK]).tobytes())
        names.append(state.digest())
    return names


class BlockTable:
    """The pages of one sequence.

    Attributes:
        full: The page of each block, for layers that see everything.
        near: The same for layers with a window, `NULL_PAGE` behind it.
        names: The names of the prompt's full blocks.
    """

    def __init__(self, pool: PagePool, layout: Layout, names: Sequence[bytes]) -> None:
        self.full = array("i")
        self.near = array("i")
        self.names = names
        self._pool = pool
        self._layout = layout
        self._near_from = 0

    @property
    def blocks(self) -> int:
        """How many blocks have, or had, their pages."""
        return max(len(self.full), len(self.near))

    @property
    def held(self) -> int:
        """How many pages the sequence uses."""
        return len(self.full) + len(self.near) - self._near_from

    def missing(self, blocks: int) -> int:
        """How many pages `extend` would take."""
        return max(blocks - self.blocks, 0) * (
            self._layout.full + (self._layout.window is not None)
        )

    def extend(self, blocks: int) -> None:
        """Takes pages for all blocks up to this number."""
        for _ in range(blocks - self.blocks):
            if self._layout.full:
                self.full.append(self._pool.take())
            if self._layout.window is not None:
                self.near.append(self._pool.take())

    def keep(self, block: int) -> None:
        """Lets others find a block of the prompt, which has been read completely."""
        name = self.names[block]
        if self._layout.full:
            self._pool.name(self.full[block], (_FULL, name))
        if self._layout.window is not None and self.near[block] != NULL_PAGE:
            self._pool.name(self.near[block], (_NEAR, name))

    def adopt(self, limit: int) -> int:
        """Shares known pages that continue this table, up to `limit` blocks of the prompt.

        Returns:
            The number of blocks added.
        """
        own = self.blocks
        for end in range(self._known_until(own, limit), own, -1):
            first = max(self._layout.first_near(end * BLOCK), own)
            near = [self._pool.find((_NEAR, self.names[block])) for block in range(first, end)]
            if self._layout.window is None or None not in near:
                self._join(own, end, first)
                return end - own
        return 0

    def shared(self, limit: int) -> int:
        """How many of the prompt's first blocks are in others' use, for layers that see all."""
        count = 0
        while count < limit and self._pool.shared((_FULL, self.names[count])):
            count += 1
        return count

    def trim(self, position: int) -> None:
        """Gives back what lies behind the window of the token at `position`."""
        if self._layout.window is None:
            return
        first = min(self._layout.first_near(position), len(self.near))
        for block in range(self._near_from, first):
            if self.near[block] != NULL_PAGE:
                self._pool.release(self.near[block])
                self.near[block] = NULL_PAGE
        self._near_from = max(self._near_from, first)

    def release(self) -> None:
        """Gives all pages back; the end of the prompt will be forgotten before its beginning."""
        for page in reversed(self.near[self._near_from :]):
            self._pool.release(page)
        for page in reversed(self.full):
            self._pool.release(page)
        self.full, self.near = array("i"), array("i")
        self._near_from = 0

    def _known_until(self, own: int, limit: int) -> int:
        kind = _FULL if self._layout.full else _NEAR
        end = own
        while end < limit and self._pool.find((kind, self.names[end])) is not None:
            end += 1
        return end

    def _join(self, own: int, end: int, first_near: int) -> None:
        for block in range(own, end):
            if self._layout.full:
                self.full.append(self._joined(_FULL, block))
            if self._layout.window is not None:
                seen = block >= first_near
                self.near.append(self._joined(_NEAR, block) if seen else NULL_PAGE)
        self.trim(end * BLOCK)

    def _joined(self, kind: str, block: int) -> int:
        page = self._pool.find((kind, self.names[block]))
        assert page is not None
        self._pool.join(page)
        return page
