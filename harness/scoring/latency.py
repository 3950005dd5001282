"""How fast an exchange was, from the recorded arrival times of its events. Pure."""

from __future__ import annotations

from harness.parsing.events import carries_text
from harness.parsing.rollout import ParsedExchange
from harness.records.judgements import Speed

_FEWEST_EVENTS = 8


def speed(turn: ParsedExchange) -> Speed:
    """Times of one exchange.

    The first token is the first event that carries text of any kind. The rate of a stream is
    taken between its first and last such event, so that waiting in a queue is not counted. It
    needs the provider's own count of output tokens, and enough events not to measure a burst.
    """
    elapsed = turn.recorded.elapsed
    usage = None if turn.reply is None else turn.reply.usage
    tokens = None if usage is None else usage.output_tokens
    if not turn.events:
        return Speed(total=elapsed)
    times = [event.at for event in turn.events if carries_text(event)]
    if not times:
        return Speed(total=elapsed)
    spent = times[-1] - times[0]
    steady = len(times) >= _FEWEST_EVENTS and spent > 0
    rate = (tokens - 1) / spent if steady and tokens is not None and tokens > 1 else None
    return Speed(total=elapsed, first_token=times[0], tokens_per_second=rate)
