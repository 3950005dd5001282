"""How the schedulers of several processes stay equal; `ranks` connects real processes.

Every process runs the same scheduler: it has the same sequences, pages and rows, so no process
sends its page tables. Only one process, the leader, knows the requests and reads the drawn tokens.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reference_engine.generation.sampling import Token
from reference_engine.generation.sequence import Sequence

Tokens = list[Token | None]


class Link:
    """The connection of a scheduler that has no other processes."""

    def joined(self, sequence: Sequence) -> None:
        """Notes that a sequence was added between two steps."""

    def left(self, sequence: Sequence) -> None:
        """Notes that a sequence was removed between two steps, before it was finished."""

    @contextmanager
    def step(self) -> Iterator[None]:
        """Makes the other processes run a step as well, with the changes since the last one."""
        yield

    def tokens(self, read: Callable[[], Tokens]) -> Tokens:
        """Returns the tokens that the leader reads."""
        return read()

    def close(self) -> None:
        """Stops the other processes."""
