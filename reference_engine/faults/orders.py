"""Orders with another conversation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from harmony.conversation import Turn
from reference_engine.server.generation import Order


def conversing(order: Order, **changes: Any) -> Order:  # noqa: ANN401 - fields of any type
    """The order with fields of its conversation changed."""
    return replace(order, conversation=replace(order.conversation, **changes))


def with_turns(order: Order, turns: Iterable[Turn]) -> Order:
    """The order with other turns."""
    return conversing(order, turns=tuple(turns))
