"""The numbers of points, as measured or as counted."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

Number = float
"""A whole number or a decimal; `str` formats it as in the request."""


class PointText(NamedTuple):
    """Points, and a text that states them; a text of several lines is a separate block."""

    text: str
    points: list[list[Number]]


def small(rng: Random) -> Number:
    """A whole number of one to four digits."""
    return rng.randint(0, rng.choice((9, 20, 100, 500, 9999)))


def signed(rng: Random) -> Number:
    """A whole number on either side of zero."""
    return rng.randint(-20, 20)


def tenths(rng: Random) -> Number:
    """A decimal with one place."""
    return rng.randint(0, rng.choice((99, 999))) / 10


def mixed(rng: Random) -> Number:
    """A decimal, or a whole number; perhaps negative."""
    return rng.randint(-90, 300) / 10 if rng.random() < 0.7 else rng.randint(-9, 20)


def hundredths(rng: Random) -> Number:
    """A decimal with two places."""
    return rng.randint(1, 2000) / 100


NUMBERS: tuple[Callable[[Random], Number], ...] = (
    small, small, small, small, small, tenths, signed, mixed, hundredths,
)  # fmt: skip


def several(rng: Random, number: Callable[[Random], Number], count: int) -> list[Number]:
    """`count` numbers."""
    return [number(rng) for _ in range(count)]


def across(rng: Random, number: Callable[[Random], Number], count: int) -> list[Number]:
    """Values of x, evenly spaced or irregular."""
    if rng.random() < 0.55:
        return several(rng, number, count)
    return steps(rng, rng.choice((0, 1, 1, 1, 10, 100)), rng.choice((1, 1, 1, 2, 5, 10)), count)


def steps(rng: Random, first: int, step: int, count: int) -> list[Number]:
    """Evenly spaced whole numbers, starting at or shortly after `first`."""
    start = first + rng.choice((0, 0, 0, step, 2 * step))
    return [start + step * at for at in range(count)]
