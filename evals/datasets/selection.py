"""Select a subset of the questions of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from harness.errors import ConfigurationError

T = TypeVar("T")


def select(items: Sequence[T], examples: int | None, seed: int) -> tuple[T, ...]:
    """The first `examples` items of a seeded shuffle, in their original order; all if None.

    The same seed selects the same items, and a larger number includes the items of a smaller one.

    Raises:
        ConfigurationError: `examples` is less than 1 or greater than the number of items.
    """
    if examples is None:
        return tuple(items)
    if not 1 <= examples <= len(items):
        raise ConfigurationError(f"--examples must be between 1 and {len(items)}, not {examples}.")
    order = list(range(len(items)))
    Random(seed).shuffle(order)  # noqa: S311 (not a secret)
    return tuple(items[index] for index in sorted(order[:examples]))
