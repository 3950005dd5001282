"""Replies that the model must have written alike: greedy, with the same CoT and as many tokens.

If two such replies to one request differ, the server changed one of them. The CoT may have lost the
same characters as the rest of the reply, so only its ASCII letters and digits are compared. One
such difference may be a near-tie of two tokens of the model; several are none.
"""

import re
from collections.abc import Iterable

from harness.api.items import Reply

_OTHER = re.compile(r"[^a-z0-9]")

FEWEST_UNLIKE = 2
"""Requests whose greedy replies differ, so that the model is excluded."""


def has_twin(reply: Reply, others: Iterable[Reply]) -> bool:
    """Whether one of other replies to the same greedy request was written alike by the model."""
    written = _bare(reply.reasoning), reply.output_tokens
    alike = (written == (_bare(other.reasoning), other.output_tokens) for other in others)
    return reply.output_tokens is not None and any(alike)


def is_variant(text: str, other: str) -> bool:
    """Whether two texts differ only in case, white space, marks, or characters beyond ASCII."""
    return text.strip() != other.strip() and _bare(text) == _bare(other)


def _bare(text: str) -> str:
    return _OTHER.sub("", text.lower())
