"""The threads of a runner on a CPU: each computes whole rows, with one thread of PyTorch.

PyTorch's own threads divide each operation. The operations of a narrow model are too small for
that: two threads generate as many tokens as one. Rows need each other only between the forward pass
and the draw, where the scheduler learns which of them gain a token.
Which thread computes a row does not matter, because it has the same bits in every batch
(`model.products`). So the number of threads may change from step to step: beside other processes,
the threads wait for each other's operations, and one of them alone is quicker.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch

from reference_engine.model.transformer import Transformer

_WIDEST = 1024
"""Hidden size up to which rows are divided. A wider model's weights do not fit into the caches, and
each thread would read them from memory."""
_LEAST_WORK = 8
"""Rows of a thread. Fewer take hardly less time: on one core, a step of the small checkpoint took
17 ms for 1 row, 22 for 8, 34 for 16 and 57 for 32."""
PROMPT_WORK, PROMPT_TOKENS = 16, 4
"""The work of a prompt is that of so many decode rows, and of one more for so many of its tokens.
On one core, 8 tokens took 27 ms, 64 34, 128 54 and 512 138, and a further decode row 1.1 ms."""
_WEIGHT = 0.25  # of the last step in the seconds of a row
_GAIN = 0.95  # of the time of one thread: what several must save to be worth their CPU time
_SOONEST, _LATEST = 16, 256  # steps between two trials of what was slower

Result = TypeVar("Result")


@dataclass
class Pace:
    """Whether one thread or several are quicker at present, for steps of about the same size."""

    seconds: dict[bool, float] = field(default_factory=dict)
    """Of a row, averaged over the last steps: with several threads (True), and with one."""
    interval: int = 0
    left: int = 0
    """Steps between two trials, and until the next one."""

    def is_divided(self) -> bool:
        """Return whether the next step has several threads."""
        if len(self.seconds) < 2:
            return not self.seconds
        return self._divided_is_quicker != (self.left == 0)

    def note(self, divided: bool, seconds: float) -> None:
        """Take the seconds of a row of a step into account."""
        before = self._divided_is_quicker
        if self.left and divided in self.seconds:
            self.seconds[divided] += (seconds - self.seconds[divided]) * _WEIGHT
            self.left -= 1
            return
        self.seconds[divided] = seconds  # of a trial: what was measured long ago says nothing
        changes = self._divided_is_quicker != before
        self.interval = self.interval // 2 if changes else self.interval * 2
        self.left = self.interval = min(max(self.interval, _SOONEST), _LATEST)

    @property
    def _divided_is_quicker(self) -> bool:
        return self.seconds.get(True, 0.0) < _GAIN * self.seconds.get(False, 1.0)


class RowThreads:
    """Runs the jobs of a step in up to `count` threads; if it is 1, in the thread of the caller."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._paces: dict[tuple[str, int], Pace] = defaultdict(Pace)

    @classmethod
    def of(cls, model: Transformer) -> "RowThreads":
        """Return as many threads as PyTorch uses, but one on a GPU and for a wide model."""
        on_cpu = model.unembedding.weight.is_cpu and model.kernels == "torch"
        narrow = model.config.hidden_size <= _WIDEST
        divided = on_cpu and narrow and model.shard.ranks == 1
        return cls(torch.get_num_threads() if divided else 1)

    def divided(
        self, name: str, work: Sequence[int], job: Callable[[list[int]], Result]
    ) -> list[tuple[list[int], Result]]:
        """Call a job with the numbers of some items in each thread; return these and its results.

        Args:
            name: What the job does; the time of jobs with other names says nothing about it.
            work: The amount of work of each item, in rows.
            job: Gets the numbers of its items, in ascending order.

        Raises:
            Exception: What a job raised, after all have ended.
        """
        pace = self._paces[name, sum(work).bit_length()]
        shares = self.shares(work)
        divisible = len(shares) > 1
        if divisible and not pace.is_divided():
            shares = [list(range(len(work)))]
        began = time.perf_counter()
        made = self._run([partial(job, share) for share in shares])
        if divisible:
            pace.note(len(shares) > 1, (time.perf_counter() - began) / sum(work))
        return list(zip(shares, made, strict=True))

    def _run(self, jobs: Iterable[Callable[[], Result]]) -> list[Result]:
        """Return the results of the jobs, each in a thread of its own.

        The thread of the first job starts the others. By then, the caller waits, and its core is
        idle. Otherwise the kernel may start two jobs on one core (measured: up to 4 ms).
        """
        if self.count == 1:
            return [job() for job in jobs]
        pool = self._pool = self._pool or ThreadPoolExecutor(
            self.count, "rows", initializer=_prepare_thread
        )
        first, *others = (partial(_inferred, job) for job in jobs)

        def lead() -> list[Result]:
            futures: list[Future[Result]] = [pool.submit(job) for job in others]
            try:
                made = first()
            finally:
                wait(futures)
            return [made, *(future.result() for future in futures)]

        return pool.submit(lead).result()

    def shares(self, work: Sequence[int]) -> list[list[int]]:
        """Divide items with these amounts of work, in rows; return the numbers of each thread's.

        More threads than the work has times the largest item would not end sooner.
        """
        every = sum(work)
        count = max(min(self.count, every // _LEAST_WORK, -(-every // max(work, default=1))), 1)
        shares: list[list[int]] = [[] for _ in range(count)]
        done = [0] * count
        for item in sorted(range(len(work)), key=work.__getitem__, reverse=True):
            least = done.index(min(done))
            shares[least].append(item)
            done[least] += work[item]
        return [sorted(share) for share in shares]

    def close(self) -> None:
        """End the threads, after their jobs."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _prepare_thread() -> None:
    torch.set_num_threads(1)
    flush_denormals()


def flush_denormals() -> None:
    """Make probabilities below 1e-38 zero in this thread.

    Otherwise, sampling on a CPU takes four times as long if a quarter of the vocabulary is that
    improbable.
    """
    torch.set_flush_denormal(True)


def _inferred(job: Callable[[], Result]) -> Result:
    with torch.inference_mode():
        return job()
