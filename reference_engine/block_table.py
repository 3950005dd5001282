"""Which pages hold a sequence's keys and values, block by block.

Layers that see everything need all blocks; layers with a sliding window only the last few, and
give the pages behind it back. Full blocks of a prompt are named by all tokens up to their end, so
that other prompts that begin alike find them. Such a page is full and is never written again,
which is why sharing needs no copies.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from reference_engine.config import ModelConfig
from reference_engine.pages import NULL_PAGE, PagePool

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
