"""The processes that torchrun starts: the first leads with what there is to compute, others follow.

The leader schedules, samples and serves. Before each pass through the model it sends its rows to
the others, which run the same pass on their part of the layers and the same pages of their caches.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, distributed

from reference_engine.generation.forward import Forward, Row
from reference_engine.generation.ragged import forward_for
from reference_engine.kv_cache.cache import KVCache
from reference_engine.model.sharding import ALONE, ParallelError, Shard
from reference_engine.model.transformer import Transformer

_FOREVER = timedelta(days=3650)
_T = TypeVar("_T")
_LOST = "Another process of the model is gone, so this one ends too; its own message says why."


@contextmanager
def joined(device: str) -> Iterator[Shard]:
    """Joins the processes that torchrun started with this one; alone where it started none.

    Over NCCL on GPUs, of which each process takes its own, else over gloo.

    Raises:
        ParallelError: They do not find each other.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield ALONE
        return
    if device == "cuda":
        torch.cuda.set_device(device_of(device))
    try:
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise ParallelError(f"The {ranks} processes did not find each other: {error}") from error
    try:
        yield Shard(distributed.get_rank(), ranks)
    finally:
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def device_of(device: str) -> str:
    """The device of this process: of several GPUs, each takes its own."""
    return f"{device}:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


@dataclass(frozen=True)
class _Order:
    """A pass through the model; without rows, the end."""

    rows: tuple[Row, ...] = ()
    length: int = 0


class Lead:
    """Has the other processes take part in every pass through the model; alone, there are none.

    After an error in a pass, theirs or its own, they are out of step: this process gets SIGTERM,
    every further pass fails, and `close` says so.
    """

    def __init__(self, shard: Shard = ALONE) -> None:
        self.shard = shard
        self._orders: distributed.ProcessGroup | None = None
        self._lost = False

    def forward(self, model: Transformer, cache: KVCache) -> Forward:
        """What takes batches through the model, once the others have such a cache, too."""
        run = forward_for(model, cache)
        if self.shard.ranks == 1:
            return run
        self._orders = _orders()
        self._send(cache.pool.size)
        return partial(self._pass, run)

    def close(self) -> None:
        """Lets the others end.

        Raises:
            ParallelError: One of them had ended before.
        """
        if self._lost:
            raise ParallelError(_LOST)
        if self._orders is not None:
            with suppress(RuntimeError):  # The signal that ends this process may reach them first.
                self._send(_Order())

    def _pass(self, run: Forward, rows: Sequence[Row], length: int) -> Tensor:
        if self._lost:
            raise ParallelError(_LOST)
        try:
            self._send(_Order(tuple(rows), length))
            return run(rows, length)
        except Exception as error:
            self._lost = True
            os.kill(os.getpid(), signal.SIGTERM)
            raise ParallelError(_LOST) from error

    def _send(self, order: object) -> None:
        distributed.broadcast_object_list([order], src=0, group=self._orders)


@torch.inference_mode()
def follow(model: Transformer) -> None:
    """Takes part in the leader's passes until it ends.

    Raises:
        ParallelError: The leader is gone, or a pass failed.
    """
    orders = _orders()
    weight = model.unembedding.weight
    try:
        cache = KVCache(model.config, _received(orders, int), weight.dtype, weight.device)
        run = forward_for(model, cache)
        while (order := _received(orders, _Order)).rows:
            run(order.rows, order.length)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ParallelError(f"{_LOST} ({reason})" if reason else _LOST) from error


def _orders() -> distributed.ProcessGroup:
    """A group for what the leader sends: on the CPU, and patient, for requests may be rare."""
    group: distributed.ProcessGroup = distributed.new_group(backend="gloo", timeout=_FOREVER)
    return group


def _received(group: distributed.ProcessGroup, kind: type[_T]) -> _T:
    box: list[_T | None] = [None]
    distributed.broadcast_object_list(box, src=0, group=group)
    assert isinstance(box[0], kind)
    return box[0]
