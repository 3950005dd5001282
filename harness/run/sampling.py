"""Attempts of a run, many at a time, each written to disk as soon as it has finished."""

import asyncio
import gc
import signal
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

from harness.api import DIALECTS
from harness.api.statuses import unanswered
from harness.errors import HarnessError, StoppedError
from harness.providers.entries import Prices
from harness.records.rollouts import Exchange, Rollout
from harness.run.attempts import Attempt
from harness.run.budget import Budget, Metered, SpentError
from harness.run.run_log import RunLog
from harness.run.tool_loop import run_attempt
from harness.transport.interface import Transport
from harness.transport.outage import Outage


class Observer:
    """Callbacks for the events of a run; they do nothing unless overridden.

    They are called on the event loop, so they must return quickly. Attempts that were already in
    the log are reported to `before` alone.
    """

    def stage(self, text: str) -> None:
        """The current activity, in a few words."""

    def tested(self, exchange: Exchange) -> None:
        """A request before the run has got its reply, which no log has."""

    def begin(self, left: Mapping[str, int], finished: int = 0, what: str = "attempts") -> None:
        """Sampling begins of the attempts that are left, by task; the log has `finished` others."""

    def before(self, rollout: Rollout) -> None:
        """An attempt of an earlier session, after `begin`; only the first ones are reported."""

    def limit_changed(self, limit: int, most: int) -> None:
        """The provider allows `limit` concurrent requests instead of `most`, or `most` again."""

    def started(self, attempt: Attempt) -> None:
        """An attempt has begun."""

    def retrying(self, exchange: Exchange, number: int, waited: float) -> None:
        """A try failed, as `exchange` has it, and is repeated after `waited` seconds."""

    def ended(self, attempt: Attempt) -> None:
        """An attempt that began waits for nothing more; it may be written later, or dropped."""

    def finished(self, rollout: Rollout) -> None:
        """A rollout has been written to the log."""


SILENT = Observer()
T = TypeVar("T")
_ALLOCATIONS_BETWEEN_COLLECTIONS = 100_000  # of objects that were not freed; at most 20 MB
_AT_ONCE = 64
_BETWEEN_STARTS = 0.002
"""Seconds between the starts of further workers. Requests that start together would be answered
together, and wait for each other: with 256 in flight, the first responses 80 ms."""
_STOPS = (signal.SIGINT, signal.SIGTERM)


async def run_attempts(
    attempts: Iterable[Attempt],
    *,
    transport: Transport,
    log: RunLog,
    concurrency: int,
    observer: Observer = SILENT,
    budget: Budget | None = None,
    prices: Prices | None = None,
    outage: Outage | None = None,
) -> None:
    """Carry out every attempt that was not in the log when it was opened.

    At most `concurrency` attempts are in flight; `attempts` is consumed lazily. Cancellation drops
    the attempts in flight; the log keeps the finished ones. Once a limit of `budget` is reached, no
    request starts, and attempts that need one are dropped; `prices` are those of the provider.

    Attempts without a reply are written once `outage` shows that the server still answers.

    Raises RunLogError if the log cannot be written, and StoppedAnsweringError if the server stopped
    answering; everything in flight is dropped, and so are the attempts that got no reply since.
    """
    order = _Order(attempts)
    limited = budget if budget is not None and budget.recorded_limits is not None else None
    writer = _Writer(log, observer, outage)

    async def work() -> None:
        while (attempt := await order.take()) is not None:
            if attempt.id not in log.finished:
                dialect = DIALECTS[attempt.condition.api]
                metered = limited and Metered(transport, limited, prices, attempt, dialect)
                try:
                    with metered or nullcontext(transport) as sending:
                        observer.started(attempt)
                        try:
                            done = await run_attempt(attempt, sending, dialect)
                        finally:
                            observer.ended(attempt)
                except SpentError:
                    order.ended(attempt)
                    return
                writer.add(done)
            order.ended(attempt)

    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as workers:
            for number in range(concurrency):
                workers.create_task(work())
                await asyncio.sleep(0 if number < _AT_ONCE else _BETWEEN_STARTS)
        await writer.finish()
    except* HarnessError as group:
        failure = group.exceptions[0]
    if failure is not None:
        raise failure


class _Writer:
    """Writes finished attempts; those without a reply wait until the server is known to answer."""

    def __init__(self, log: RunLog, observer: Observer, outage: Outage | None) -> None:
        self._log = log
        self._observer = observer
        self._outage = outage
        self._held: list[Rollout] = []

    def add(self, done: Rollout) -> None:
        """Write an attempt now or later. Raises RunLogError."""
        suspected = self._outage is not None and self._outage.suspected
        if suspected and unanswered(done.exchanges[-1]):
            self._held.append(done)
            return
        if not suspected:
            self._write_held()
        self._write(done)

    async def finish(self) -> None:
        """Write what waits. Raises RunLogError, or StoppedAnsweringError if there was an outage."""
        if self._held and self._outage is not None:
            await self._outage.confirm()
        self._write_held()

    def _write_held(self) -> None:
        held, self._held = self._held, []
        for done in held:
            self._write(done)

    def _write(self, done: Rollout) -> None:
        self._log.append(done)
        self._observer.finished(done)


class _Order:
    """Attempts in order, but one that follows another under way comes after the end of that one.

    Until then, others use its place.
    """

    def __init__(self, attempts: Iterable[Attempt]) -> None:
        self._coming = iter(attempts)
        self._free: deque[Attempt] = deque()
        self._followers: dict[str, list[Attempt]] = {}  # of the attempts that have not ended
        self._freed = asyncio.Event()

    async def take(self) -> Attempt | None:
        """Return an attempt as soon as one may begin; None if none is left."""
        while not self._free:
            for attempt in self._coming:
                self._followers[attempt.id] = []
                if attempt.after is None or attempt.after not in self._followers:
                    return attempt
                self._followers[attempt.after].append(attempt)
            if not any(self._followers.values()):
                return None
            self._freed.clear()
            await self._freed.wait()
        return self._free.popleft()

    def ended(self, attempt: Attempt) -> None:
        """Let the attempts that follow one begin."""
        self._free.extend(self._followers.pop(attempt.id))
        self._freed.set()


def _event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop if that extra is installed: sampling uses a tenth less CPU."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_until_stopped(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in a new event loop; Ctrl-C and SIGTERM cancel it and then raise StoppedError.

    A pause of the garbage collector is an error of that size in recorded arrival times. Existing
    objects are exempt, because traversing all imported modules takes about 50 ms, and the others
    are traversed seldom: attempts that end without an exception leave no cycles.
    """

    async def guarded() -> T:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        stops = 0

        def stop() -> None:
            nonlocal stops
            stops += 1
            task.cancel()

        for number in _STOPS:
            loop.add_signal_handler(number, stop)
        try:
            return await task
        except asyncio.CancelledError:
            if stops:
                raise StoppedError("stopped before the end; finish it with --resume") from None
            raise

    handlers = [(number, signal.getsignal(number)) for number in _STOPS]
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
    try:
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            return runner.run(guarded())
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        for number, handler in handlers:  # uvloop leaves its own handlers, which ignore the signal
            signal.signal(number, handler)
