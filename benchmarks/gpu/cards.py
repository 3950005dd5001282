"""The speed that the engine must reach on the cards on which it has been measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from .measuring import Limits

TOLERANCE = 0.1
"""Largest difference between the limits of equal cards, as a share of them."""


@dataclass(frozen=True)
class Card:
    """A card, and the least shares of its limits by shape and measurement.

    The shares are about 5% below the measured ones. Those of decode fall with a higher bandwidth,
    because launches and small kernels take as long as before.
    """

    name: str
    limits: Limits
    shares: Mapping[str, Mapping[str, float]]


def _shares(decode: Mapping[int, float], prompts: Mapping[int, float]) -> Mapping[str, float]:
    """By measurement: decode by rows, and prompts of 8,192 tokens by the size of a chunk."""
    steps = {f"decode, batch {rows}": share for rows, share in decode.items()}
    return steps | {
        f"prefill, 8192 tokens in chunks of {chunk}": share for chunk, share in prompts.items()
    }


CARDS = (
    Card(
        "H100",
        Limits(3.0e12, 800e12),
        {
            "20b": _shares({1: 0.50, 8: 0.61, 64: 0.65, 256: 0.49}, {4096: 0.46, 8192: 0.46}),
            "120b": _shares({1: 0.48, 8: 0.63, 64: 0.78, 256: 0.72}, {4096: 0.41, 8192: 0.45}),
        },
    ),
    Card(
        "H200",
        Limits(4.25e12, 800e12),
        {
            "20b": _shares({1: 0.41, 8: 0.50, 64: 0.53, 256: 0.35}, {4096: 0.47, 8192: 0.50}),
            "120b": _shares({1: 0.39, 8: 0.52, 64: 0.58, 256: 0.52}, {4096: 0.40, 8192: 0.44}),
        },
    ),
)
"""An H100 with 80 GB and an H200; README.md has the figures."""


def required(
    shape: str, measurement: str, share: float, measured: Limits
) -> tuple[bool | None, str]:
    """Whether a share is high enough, and the requirement; None without one."""
    card = next((each for each in CARDS if _near(each.limits, measured)), None)
    if card is None:
        return None, "no requirement: the engine has not been measured on a card with these limits"
    least = card.shares.get(shape, {}).get(measurement)
    if least is None:
        return None, ""
    return share >= least, f"{least:.0%} of the limit of an {card.name}"


def _near(known: Limits, measured: Limits) -> bool:
    pairs = ((known.bandwidth, measured.bandwidth), (known.operations, measured.operations))
    return all(abs(other / each - 1) <= TOLERANCE for each, other in pairs)
