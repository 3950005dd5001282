"""The engine: an asynchronous generator of tokens for each request, with one shared model.

A worker thread runs the steps. Requests wait in a bounded queue and join the batch when there
is room. They leave when they finish, when their consumer disconnects, or when the engine closes.

On request, equal requests whose tokens are determined share a sequence while they are in flight:
tests of a server send the same greedy request over each API and in each mode.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import torch

from reference_engine.generation.errors import (
    NOT_FINITE,
    EngineClosedError,
    EngineError,
    GenerationError,
    QueueFullError,
    require_room,
)
from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import forward_for
from reference_engine.generation.link import Link
from reference_engine.generation.sampling import Sampler, SamplingParams, Token, sample
from reference_engine.generation.sequence import Sequence as TokenSequence
from reference_engine.generation.setup import Sizes, runner_for
from reference_engine.generation.threads import flush_denormals
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.metrics import EngineMetrics, Snapshot, TokenClock
from reference_engine.model.transformer import Transformer

__all__ = ["Engine", "SamplingParams", "Token"]

_log = logging.getLogger(__name__)


class _Request:
    """A sequence, and the queue of its consumer in an event loop."""

    def __init__(self, prompt: tuple[int, ...], params: SamplingParams, clock: TokenClock) -> None:
        self.sequence = TokenSequence(prompt, params)
        self.left = params.max_tokens
        self.reused: int | None = None  # prompt tokens, if it joined an equal request
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.inbox: asyncio.Queue[Token | EngineError | None] = asyncio.Queue()
        self.cancelled = False


_Delivery = tuple[_Request, Token | EngineError | None]


@dataclass(frozen=True, eq=False)
class _Active:
    """A sequence in the batch and the requests that get its tokens.

    If others may join, `key` determines its tokens, and `tokens` are those so far.
    """

    sequence: TokenSequence
    key: Hashable | None
    requests: list[_Request]
    tokens: list[Token]


class Engine:
    """Generates tokens for many concurrent requests.

    `runner_for` describes the arguments, except for `max_queue`, the maximum number of waiting
    requests, and `shares_equal`, whether equal requests share a sequence.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        max_queue: int = 256,
        shares_equal: bool = False,
        sampler: Sampler = sample,
        forward: MakeForward = forward_for,
        link: Link | None = None,
        **sizes: Unpack[Sizes],
    ) -> None:
        self.vocab_size = model.config.vocab_size
        self._device = model.unembedding.weight.device
        self._runner = runner_for(model, sampler=sampler, forward=forward, link=link, **sizes)
        self.max_context = self._runner.scheduler.max_context
        self.metrics = EngineMetrics(self.snapshot)
        self._max_queue = max_queue
        self._waiting: deque[_Request] = deque()
        self._active: dict[TokenSequence, _Active] = {}
        self._shares_equal = shares_equal
        self._determined: dict[Hashable, _Active] = {}
        self._wake = threading.Condition()
        self._open = False
        self._thread: threading.Thread | None = None
        self.failed = False  # whether the GPU reported an error, after which every step fails
        self.on_failure: Callable[[], None] = lambda: None
        """Called from the worker thread in that case."""

    def snapshot(self) -> Snapshot:
        """Return the current state for the metrics."""
        scheduler = self._runner.scheduler
        requests = {
            "running": scheduler.running,
            "waiting": len(self._waiting),
            "preempted": scheduler.preempted,
        }
        return Snapshot(requests, scheduler.pages, scheduler.tally.totals())

    def prepare(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compile kernels and record decode steps on a GPU; see `Runner.prepare`."""
        self._runner.prepare(progress)

    def start(self) -> None:
        """Start the worker thread."""
        with self._wake:
            if self._open:
                return
            self._open = True
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the worker; waiting consumers get an EngineClosedError."""
        with self._wake:
            self._open = False
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._runner.close()

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """See `TokenSource`. The generator also ends when the context is full."""
        request = _Request(self._validate(prompt), params, self.metrics.clock())
        self._submit(request)
        first = True
        try:
            while (item := await request.inbox.get()) is not None:
                if isinstance(item, EngineError):
                    raise item
                joined = request.reused
                reused = request.sequence.reused if joined is None else joined
                yield replace(item, reused=reused) if first else item
                first = False
        finally:
            request.cancelled = True

    def _validate(self, prompt: Sequence[int]) -> tuple[int, ...]:
        if not prompt:
            raise ValueError("The prompt must contain at least one token.")
        if not (min(prompt) >= 0 and max(prompt) < self.vocab_size):
            raise ValueError(f"The prompt contains a token outside 0 to {self.vocab_size - 1}.")
        require_room(prompt, self.max_context)
        return tuple(prompt)

    def _submit(self, request: _Request) -> None:
        with self._wake:
            if not self._open:
                raise EngineClosedError("The engine is not running.")
            if len(self._waiting) >= self._max_queue:
                self._drop_cancelled()
            if len(self._waiting) >= self._max_queue:
                self.metrics.ended("refused")
                raise QueueFullError(f"{self._max_queue} requests are already waiting.")
            self._waiting.append(request)
            self._wake.notify()

    def _work(self) -> None:
        flush_denormals()
        while self._wait_for_work():
            try:
                self._admit()
                _deliver(self._step())
            except Exception as error:  # noqa: BLE001 - any failure must leave the engine running
                _log.exception("A step of the engine failed.")
                lost = isinstance(error, torch.AcceleratorError) or _is_lost(self._device)
                if lost:
                    with self._wake:  # accept no request: a CUDA error lasts until the process ends
                        self._open = False
                    self.failed = True
                self._fail_all(GenerationError(f"The model failed: {error}"))
                if lost:
                    self.on_failure()
        closed = EngineClosedError("The engine was closed before the request was finished.")
        self._fail_all(closed)
        with self._wake:
            waiting, self._waiting = list(self._waiting), deque()
        _deliver((request, closed) for request in waiting)

    def _wait_for_work(self) -> bool:
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._active or not self._open)
            return self._open

    def _admit(self) -> None:
        for active in list(self._active.values()):
            for request in [each for each in active.requests if each.cancelled]:
                active.requests.remove(request)
                self.metrics.ended("cancelled")
            if not active.requests:
                self._leave(active)
        while joining := self._next():
            key = _determining(joining.sequence) if self._shares_equal else None
            equal = self._determined.get(key)
            if equal is not None and equal.sequence.params.max_tokens >= joining.left:
                joining.reused = (len(joining.sequence.prompt) - 1) // BLOCK * BLOCK
                equal.requests.append(joining)
                _deliver(
                    [each for token in equal.tokens for each in self._give(joining, token, equal)]
                )
                continue
            active = _Active(joining.sequence, key, [joining], [])
            self._active[joining.sequence] = active
            if key is not None and equal is None:
                self._determined[key] = active
            self._runner.add(joining.sequence)

    def _next(self) -> _Request | None:
        """Return the request that has waited longest if there is room for it."""
        with self._wake:
            self._drop_cancelled()
            if self._waiting and self._runner.scheduler.fits(self._waiting[0].sequence):
                return self._waiting.popleft()
        return None

    def _drop_cancelled(self) -> None:
        remaining = deque(request for request in self._waiting if not request.cancelled)
        for _ in range(len(self._waiting) - len(remaining)):
            self.metrics.ended("cancelled")
        self._waiting = remaining

    def _step(self) -> list[_Delivery]:
        deliveries: list[_Delivery] = []
        rows, started = self._runner.scheduler.running, time.perf_counter()
        steps = self._runner.step()
        now = time.perf_counter()
        self.metrics.stepped(rows, now - started)
        for step in steps:
            active = self._active[step.sequence]
            for request in tuple(active.requests):
                request.clock.tick(now)
                if step.token is None:
                    _log.error("The logits of a request are not finite.")
                    deliveries += [(request, GenerationError(NOT_FINITE)), (request, None)]
                    self.metrics.ended("failed")
                else:
                    deliveries += self._give(request, step.token, active, last=step.finished)
            if step.token is not None and active.key is not None:
                active.tokens.append(step.token)
            if step.finished or not active.requests:
                self._leave(active)
        return deliveries

    def _give(
        self, request: _Request, token: Token, active: _Active, *, last: bool = False
    ) -> list[_Delivery]:
        """Return a token for a request, and its end if the token is its last one."""
        request.left -= 1
        if request.left and not last:
            return [(request, token)]
        active.requests.remove(request)
        self.metrics.ended("finished")
        return [(request, token), (request, None)]

    def _leave(self, active: _Active) -> None:
        self._runner.remove(active.sequence)
        del self._active[active.sequence]
        if self._determined.get(active.key) is active:
            del self._determined[active.key]

    def _fail_all(self, error: EngineError) -> None:
        every = list(self._active.values())
        for active in every:
            self._leave(active)
        requests = [request for active in every for request in active.requests]
        for _ in requests:
            self.metrics.ended("failed")
        _deliver((request, error) for request in requests)


def _determining(sequence: TokenSequence) -> Hashable | None:
    """Return what determines the tokens of a sequence up to their limit; None if chance does."""
    params = replace(sequence.params, max_tokens=1)
    if not params.temperature:
        params = replace(params, seed=0, top_p=1.0, top_k=0)
    return None if params.seed is None else (sequence.prompt, params)


def _is_lost(device: torch.device) -> bool:
    """Return whether a GPU accepts no more work; the type of Triton's errors does not say it."""
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def _deliver(deliveries: Iterable[_Delivery]) -> None:
    """Put items into their consumers' queues with one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Delivery]] = {}
    for request, item in deliveries:
        by_loop.setdefault(request.loop, []).append((request, item))
    for loop, items in by_loop.items():
        try:
            loop.call_soon_threadsafe(_put, items)
        except RuntimeError:  # The consumers' loop is closed, so no consumer is left.
            for request, _ in items:
                request.cancelled = True


def _put(items: list[_Delivery]) -> None:
    for request, item in items:
        request.inbox.put_nowait(item)
