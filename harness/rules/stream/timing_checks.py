"""Streams that fall silent, or that stay open after their end.

A slow model and a loaded client cause pauses, too, so a pause of seconds is judged only in
comparison: with the other waits of its stream, and with the pauses elsewhere in the streams of the
run. Without such streams, or if the pauses are not mostly at one place, nobody is accused.
"""

from collections.abc import Callable, Iterator, Sequence

from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import MODES
from harness.records.replies import Arrivals, Row
from harness.records.scores import Score
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.arrivals import PAUSE, arrivals_of
from harness.rules.evidence.subjects import good_statuses
from harness.rules.habits import BROKEN_STREAMS
from harness.rules.rule import SERVER_SENT_EVENTS, Problem
from harness.statistics.rates import LEVEL, at_least

family = Family("stream", SERVER_SENT_EVENTS, component="events", modes=("streaming",))

_LONG = 9.0
"""Seconds after the last event of a stream that no load of a client explains; the client leaves
after ten (`harness.transport.http.SECONDS_AFTER_END`)."""
_LONGER = 10
"""How many times longer a pause at the end is than all waits before it, of a slow model."""


def _timed(parsed: ParsedRollout) -> Iterator[ParsedExchange]:
    """Streams with text whose arrival times are known."""
    for exchange in () if parsed.rollout.recording else good_statuses(parsed):
        if exchange.events and arrivals_of(exchange) is not None:
            yield exchange


@family.check(
    "stream.left_open",
    _timed,
    habit=BROKEN_STREAMS,
    recordings=False,
    fix="End the response right after its last event: with the last chunk, or by closing the "
    "connection.",
    example=(
        "Connections stay open after the finish of a stream.",
        "https://github.com/maximhq/bifrost/issues/6784",
    ),
)
def _left_open(exchange: ParsedExchange) -> Iterator[Problem]:
    """A stream is ended after its last event.

    Clients that read a stream to its end wait as long as the server keeps it open, and each stream
    takes a connection. The last event is complete, so the reply is judged like others.
    """
    arrivals = arrivals_of(exchange)
    failed = exchange.recorded.failure is not None
    if arrivals is not None and arrivals.finished and not failed and arrivals.open >= _LONG:
        message = "The stream stayed open after its finish."
        got = f"open for {arrivals.open:.0f} s after the finish"
        yield Problem(exchange, message, "the end of the response", got)


@family.check(
    "stream.silent",
    _timed,
    habit=BROKEN_STREAMS,
    recordings=False,
    fix="Find out why the generation stops, and end a stream that cannot be continued with an "
    "error event.",
    example=(
        "A stream falls silent for a minute.",
        "https://github.com/deepseek-ai/DeepSeek-V3/issues/1608",
    ),
)
def _silent(exchange: ParsedExchange) -> Iterator[Problem]:
    """A stream does not fall silent until the client gives up, or the connection breaks.

    The user sees half an answer, and waits. A slow model pauses after other tokens, too.
    """
    arrivals = arrivals_of(exchange)
    if arrivals is None or arrivals.finished or exchange.recorded.failure is None:
        return
    if arrivals.open >= max(_LONG, _LONGER * arrivals.longest):
        ended = "the client gave up"
        if exchange.recorded.failure.kind != "timeout":
            ended = "the connection broke off"
        message = f"The stream fell silent in the middle of the reply, until {ended}."
        got = f"no data for {arrivals.open:.0f} s after {exchange.events[-1].text}"
        yield Problem(exchange, message, "the rest of the reply", got)


def _arrived(score: Score) -> object:
    return any(row.arrivals for row in score.rows)


def _mostly_at_the_end(
    seconds: Callable[[Arrivals], float], examined: Sequence[Score]
) -> Iterator[tuple[Row, Arrivals]]:
    """Yield the streams with a pause at one place, if the pauses of the run are mostly there.

    If a loaded client or the network caused them, the place would have the share of all pauses that
    it has of all waits: one in each stream. The test is exact (binomial distribution).
    """
    every = [(row, row.arrivals) for score in examined for row in score.rows if row.arrivals]
    paused = [
        (row, stream)
        for row, stream in every
        if seconds(stream) >= max(PAUSE, _LONGER * stream.longest) and stream.whole
    ]
    pauses = sum(stream.pauses for _, stream in every) + len(paused)
    waits = sum(stream.waits for _, stream in every) + len(every)
    if paused and at_least(len(paused), pauses, len(every) / waits) <= LEVEL:
        yield from paused


@family.cross_check(
    "stream.silent.before_end",
    _arrived,
    modes=MODES,
    severity="warning",
    fix="Send the finish reason right after the last token. If a proxy holds streams back or ends "
    "silent ones, send comments to keep them open.",
)
def _silent_before_end(examined: Sequence[Score]) -> Iterator[Difference]:
    """The finish reason of a stream follows its last token within seconds.

    Users see the whole answer, and their client still waits. A pause of seconds is reported if
    other waits of its stream are far shorter, and if the pauses in the streams of the run are
    mostly before their ends.
    """
    for row, stream in _mostly_at_the_end(_silence, examined):
        after = "its finish reason" if stream.finished else "it ended without a finish reason"
        message = "The stream fell silent for seconds after its last text, before its end."
        got = f"{_silence(stream):.1f} s until {after}; other waits at most {stream.longest:.1f} s"
        yield message, evidence(row.record, "$", "the finish reason", got, row.exchange)


def _silence(stream: Arrivals) -> float:
    return stream.silence if stream.finished else stream.silence + stream.open


@family.cross_check(
    "stream.left_open.briefly",
    _arrived,
    modes=MODES,
    severity="warning",
    fix="End the response right after its last event: with the last chunk, or by closing the "
    "connection.",
)
def _briefly_open(examined: Sequence[Score]) -> Iterator[Difference]:
    """A stream is ended within seconds after its finish.

    Clients that read a stream to its end wait as long. A pause of seconds is reported if other
    waits of its stream are far shorter, and if the pauses in the streams of the run are mostly
    after their finish.
    """
    for row, e in _mostly_at_the_end(
        lambda stream: stream.open if stream.finished and stream.open < _LONG else 0.0, examined
    ):
        message = "The stream stayed open for seconds after its finish."
        got = f"open for {e.open:.1f} s after the finish; other waits at most {e.longest:.1f} s"
        yield message, evidence(row.record, "$", "the end of the response", got, row.exchange)
