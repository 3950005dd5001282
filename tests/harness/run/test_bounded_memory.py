"""Memory does not grow with the number of finished attempts, because they are on disk."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from healthy import exchange, json_response
from replies import Reply, chat_whole

from harness.api.items import Message, RequestSettings, Sample
from harness.records.conditions import Condition
from harness.records.rollouts import SDK, Exchange, Rollout, Sender
from harness.run.attempts import Attempt
from harness.run.run_log import RunLog, read_rollouts
from harness.run.sampling import Observer, run_attempts
from harness.transport.pacing import AdaptiveTransport, RateLimitedTransport
from harness.transport.retry import RetryingTransport, RetryPolicy

IN_FLIGHT = 8
WHOLE, STEP = 1600, 400
POINTS = tuple(WHOLE - IN_FLIGHT - n * STEP for n in reversed(range(4)))
WINDOW, EVERY = 100, 20
SMALLEST_TRACE = 50
CONDITION = Condition(model="m", effort="high", api="chat", mode="non-streaming")


class Answering:
    """A provider without a network; every fifth answer is a 429."""

    def __init__(self) -> None:
        self.asked = 0

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, sender: Sender = SDK
    ) -> Exchange:
        self.asked += 1
        await asyncio.sleep(0)
        text = json.dumps(chat_whole(Reply(text=f"Answer {self.asked % 9}.")))
        return exchange("chat", False, json_response(text, 429 if self.asked % 5 == 0 else 200))


class Measuring(Observer):
    """Measure the traced memory several times before each point of the run.

    The smallest of a few measurements has the fewest attempts that are still being written.
    """

    def __init__(self) -> None:
        self.count = 0
        self.measured: dict[int, list[int]] = {point: [] for point in POINTS}

    def started(self, attempt: Attempt) -> None:
        pass

    def finished(self, rollout: Rollout) -> None:
        self.count += 1
        for point, taken in self.measured.items():
            if point - WINDOW < self.count <= point and self.count % EVERY == 0:
                gc.collect()
                taken.append(tracemalloc.get_traced_memory()[0])


def planned() -> Iterator[Attempt]:
    for number in range(WHOLE):
        sample = Sample(f"question-{number}", (Message("user", "How many?" * 10),))
        yield Attempt(
            f"gpqa/question-{number}/1", "gpqa", sample, CONDITION, 1, RequestSettings("m")
        )


async def test_memory_does_not_grow_with_finished_attempts(tmp_path: Path) -> None:
    """A trace of each attempt grows in every stretch; a table that is enlarged, in one of them."""
    limited = RateLimitedTransport(Answering(), rpm=10**9, tpm=10**9)
    adaptive = AdaptiveTransport(limited, most=IN_FLIGHT)
    transport = RetryingTransport(adaptive, RetryPolicy(first_wait=0, longest_wait=0))
    measuring = Measuring()
    gc.freeze()  # what other tests keep need not be searched at each measurement
    tracemalloc.start()
    try:
        with RunLog(tmp_path) as log:
            await run_attempts(
                planned(),
                transport=transport,
                log=log,
                concurrency=IN_FLIGHT,
                observer=measuring,
            )
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    sizes = [min(taken) for taken in measuring.measured.values()]
    assert min(later - earlier for earlier, later in pairwise(sizes)) / STEP < SMALLEST_TRACE
    assert sum(1 for _ in read_rollouts(tmp_path)) == WHOLE
