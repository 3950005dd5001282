"""Readings of replies as a reader writes them, for tests."""

import math
from itertools import count

from harmony.vocabulary import encode
from harness.records.readings import Reading

_NUMBERS = count(1)
FAIR = (math.log(0.5), (math.log(0.5), math.log(0.5)))
"""An uncertain place: one of two tokens that are equally probable."""


def greedy(*gaps: float, record: str = "", text: str = "It is low.", **more: object) -> Reading:
    """Return a reply at temperature 0; its tokens from the fourth on have these gaps."""
    return _reading(record, text, gaps, temperature=0.0, **more)


def sampled(
    *surprises: float, record: str = "", text: str = "It is low.", **more: object
) -> Reading:
    """Return a reply at temperature 1; its tokens from the fourth on have these surprises."""
    return _reading(record, text, surprises, temperature=1.0, **more)


def _reading(
    record: str, text: str, values: tuple[float, ...], *, temperature: float, **more: object
) -> Reading:
    ids = encode(f"<|channel|>final<|message|>{text}<|return|>")
    odd = [0.0] * 3 + list(values) + [0.0] * (len(ids) - 3 - len(values))
    number = next(_NUMBERS)
    fields = {
        "record": record or f"r{number}",
        "exchange": 0,
        "prompt_tokens": 70,
        "prompt_sha256": f"prompt {number}",
        "temperature": temperature,
        "ids": ids,
        "best": [100] * len(ids),
        "logprobs": [-value for value in odd],
        "gaps": odd,
        "surprises": [0.0] * len(ids) if temperature == 0 else odd,
        "judged": [True] * len(ids),
    }
    return Reading.model_validate(fields | more)
