"""The bookkeeping of KV cache pages: the users of each page, and its tokens.

A sequence needs a page for each block of tokens: all blocks for layers with full attention, only
the last few for layers with a sliding window. Each full block of a prompt is identified by a hash
of all tokens up to its end, so that prompts with the same beginning share pages. A shared page is
full and is never written again, so sharing needs no copies.

A page without users keeps its content until its memory is needed. The least recently used page is
reused first. This module does not touch the memory itself.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from reference_engine.model.config import ModelConfig

NULL_PAGE = 0  # the table entry for a missing page; no sequence owns this page

BLOCK = 64
"""Tokens per page. Prompts are always prefilled in aligned blocks of this size. A token's values
therefore depend only on the tokens before it, not on the other sequences of the batch."""

_FULL, _SLIDING = "full", "sliding"


def blocks_of(tokens: int) -> int:
    """Return the number of blocks for a number of tokens, rounded up."""
    return -(-tokens // BLOCK)


class PagePool:
    """Manages pages 1 to `size`; several sequences can share a page for reading."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._blank = list(range(size, 0, -1))
        self._users = [0] * (1 + size)
        self._keys: dict[int, Hashable] = {}
        self._pages: dict[Hashable, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """The number of pages that can be allocated."""
        return len(self._blank) + len(self._idle)

    @property
    def used(self) -> int:
        """The number of pages with a user."""
        return self.size - self.available

    @property
    def idle(self) -> int:
        """The number of pages without a user whose content can still be reused."""
        return len(self._idle)

    def allocate(self) -> int:
        """Return a page for one user. Raises IndexError."""
        page = self._blank.pop() if self._blank else self._evict()
        self._users[page] = 1
        return page

    def find(self, key: Hashable) -> int | None:
        """Return the page that is registered under a key."""
        return self._pages.get(key)

    def in_use(self, key: Hashable) -> bool:
        """Return whether the page that is registered under a key has a user."""
        page = self._pages.get(key)
        return page is not None and self._users[page] > 0

    def share(self, page: int) -> None:
        """Add a user to a registered page."""
        self._idle.pop(page, None)
        self._users[page] += 1

    def register(self, page: int, key: Hashable) -> None:
        """Register a page under a key, unless the key already has a page."""
        if key not in self._pages and page not in self._keys:
            self._keys[page] = key
            self._pages[key] = page

    def forget(self, page: int) -> None:
        """Unregister a page that has a user, if it is registered."""
        if page in self._keys:
            del self._pages[self._keys.pop(page)]

    def release(self, page: int) -> None:
        """Remove a user."""
        self._users[page] -= 1
        if self._users[page] == 0:
            if page in self._keys:
                self._idle[page] = None
            else:
                self._blank.append(page)

    def _evict(self) -> int:
        if not self._idle:
            raise IndexError("No page is available.")
        page, _ = self._idle.popitem(last=False)
        del self._pages[self._keys.pop(page)]
        return page


@dataclass(frozen=True)
class Layout:
    """The kinds of layers that need pages."""

    full: bool  # whether there are layers with full attention
    window: int | None
    """Number of positions visible through a sliding window, including the current one; None if
    there are no layers with a sliding window."""

    @classmethod
    def of(cls, config: ModelConfig) -> Layout:
        """Return the layout of a model."""
        kinds = set(config.layer_types)
        sliding = "sliding_attention" in kinds
        return cls("full_attention" in kinds, config.sliding_window if sliding else None)

    @cached_property
    def window_blocks(self) -> int:
        """The largest number of blocks that a window and one block of new tokens touch."""
        return 0 if self.window is None else 1 + blocks_of(self.window - 1)

    def pages_for(self, tokens: int) -> int:
        """Return the pages of a sequence that is prefilled one block at a time."""
        blocks = blocks_of(tokens)
        return blocks * self.full + min(blocks, self.window_blocks)

    def longest(self, pages: int) -> int | None:
        """Return the length in tokens of the longest sequence that fits; None for no limit."""
        if not self.full:
            return None if pages >= self.window_blocks else pages * BLOCK
        return max(pages - self.window_blocks, pages // 2) * BLOCK

    def first_visible_block(self, position: int) -> int:
        """Return the first block that the token at a position sees through the window."""
        return max(position - ((self.window or 1) - 1), 0) // BLOCK


def block_hashes(prompt: Sequence[int]) -> list[bytes]:
    """Return for each full block of a prompt a hash of all tokens up to its end."""
    hashes, state = [], blake2b(digest_size=16)
    for start in range(0, len(prompt) - BLOCK + 1, BLOCK):
        state.update(array("q", prompt[start : start + BLOCK]).tobytes())
        hashes.append(state.digest())
    return hashes


class BlockTable:
    """The pages of one sequence."""

    def __init__(self, pool: PagePool, layout: Layout, hashes: Sequence[bytes]) -> None:
        self.full = array("i")  # the page of each block, for layers with full attention
        self.sliding = array("i")  # for a sliding window; `NULL_PAGE` before the window
        self.hashes = hashes  # of the prompt's full blocks
        self._pool = pool
        self._layout = layout
        self._window_start = 0

    @property
    def blocks(self) -> int:
        """The number of blocks that have or had pages."""
        return max(len(self.full), len(self.sliding))

    @property
    def page_count(self) -> int:
        """The number of pages that the sequence uses."""
        return len(self.full) + len(self.sliding) - self._window_start

    def missing(self, blocks: int) -> int:
        """Return the number of pages that `extend` would allocate."""
        kinds = self._layout.full + (self._layout.window is not None)
        return max(blocks - self.blocks, 0) * kinds

    def extend(self, blocks: int) -> None:
        """Allocate pages for the first `blocks` blocks."""
        for _ in range(blocks - self.blocks):
            if self._layout.full:
                self.full.append(self._pool.allocate())
            if self._layout.window is not None:
                self.sliding.append(self._pool.allocate())

    def publish(self, block: int) -> None:
        """Allow other sequences to share a block of the prompt that is completely prefilled."""
        digest = self.hashes[block]
        if self._layout.full:
            self._pool.register(self.full[block], (_FULL, digest))
        if self._layout.window is not None and self.sliding[block] != NULL_PAGE:
            self._pool.register(self.sliding[block], (_SLIDING, digest))

    def withdraw(self) -> None:
        """Stop sharing the blocks of this table with further sequences."""
        for page in (*self.full, *self.sliding[self._window_start :]):
            self._pool.forget(page)

    def reuse(self, limit: int) -> int:
        """Share registered pages that continue this table up to `limit`; return how many."""
        start = self.blocks
        for end in range(self._registered_until(start, limit), start, -1):
            first = max(self._layout.first_visible_block(end * BLOCK), start)
            window = [self._pool.find((_SLIDING, self.hashes[n])) for n in range(first, end)]
            if self._layout.window is None or None not in window:
                self._share_blocks(start, end, first)
                return end - start
        return 0

    def blocks_in_use(self, limit: int) -> int:
        """Return how many leading blocks, up to `limit`, others use for full attention."""
        count = 0
        while count < limit and self._pool.in_use((_FULL, self.hashes[count])):
            count += 1
        return count

    def trim(self, position: int) -> None:
        """Release the pages before the window of the token at `position`."""
        if self._layout.window is None:
            return
        first = min(self._layout.first_visible_block(position), len(self.sliding))
        for block in range(self._window_start, first):
            if self.sliding[block] != NULL_PAGE:
                self._pool.release(self.sliding[block])
                self.sliding[block] = NULL_PAGE
        self._window_start = max(self._window_start, first)

    def release(self) -> None:
        """Release all pages, in an order that evicts the prompt's end before its beginning."""
        for page in reversed(self.sliding[self._window_start :]):
            self._pool.release(page)
        for page in reversed(self.full):
            self._pool.release(page)
        self.full, self.sliding = array("i"), array("i")
        self._window_start = 0

    def _registered_until(self, start: int, limit: int) -> int:
        kind = _FULL if self._layout.full else _SLIDING
        end = start
        while end < limit and self._pool.find((kind, self.hashes[end])) is not None:
            end += 1
        return end

    def _share_blocks(self, start: int, end: int, first_visible: int) -> None:
        for block in range(start, end):
            if self._layout.full:
                self.full.append(self._share(_FULL, block))
            if self._layout.window is not None:
                visible = block >= first_visible
                self.sliding.append(self._share(_SLIDING, block) if visible else NULL_PAGE)
        self.trim(end * BLOCK)

    def _share(self, kind: str, block: int) -> int:
        page = self._pool.find((kind, self.hashes[block]))
        assert page is not None
        self._pool.share(page)
        return page
