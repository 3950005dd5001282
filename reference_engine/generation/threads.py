"""The threads of a runner on a CPU: each computes whole rows, with one thread of PyTorch.

PyTorch's own threads divide each operation. The operations of a narrow model are too small for
that: two threads generate as many tokens as one. Rows need each other only between the forward pass
and the draw, where the scheduler learns which of them gain a token.
Which thread computes a row does not matter, because it has the same bits in every batch
(`model.products`).
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
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

Result = TypeVar("Result")


class RowThreads:
    """Runs the jobs of a step in `count` threads; with one, in the thread of the caller."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    @classmethod
    def of(cls, model: Transformer) -> "RowThreads":
        """Return as many threads as PyTorch uses, but one on a GPU and for a wide model."""
        on_cpu = model.unembedding.weight.is_cpu and model.kernels == "torch"
        narrow = model.config.hidden_size <= _WIDEST
        divided = on_cpu and narrow and model.shard.ranks == 1
        return cls(torch.get_num_threads() if divided else 1)

    def run(self, jobs: Iterable[Callable[[], Result]]) -> list[Result]:
        """Return the results of the jobs. Raises what a job raised, after all have ended.

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

    def useful(self, work: int) -> int:
        """Return how many threads are worth their start for an amount of work, in rows."""
        return max(min(self.count, work // _LEAST_WORK), 1)

    def shares(self, work: Sequence[int]) -> list[list[int]]:
        """Divide items with these amounts of work, in rows; return the numbers of each thread's.

        More threads than the work has times the largest item would not end sooner.
        """
        most = -(-sum(work) // max(work, default=1))
        count = max(min(self.useful(sum(work)), most), 1)
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
