"""The processes that torchrun starts: the first one is the leader, the others are followers.

The leader schedules, samples and serves. Before each forward pass it sends its rows to the
followers. They run the same pass on their part of the layers and on the same pages of their caches.
"""

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

from reference_engine.errors import SetupError
from reference_engine.generation.forward import Forward, Row
from reference_engine.generation.graphs import forward_for
from reference_engine.kv_cache.cache import KVCache
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer

_FOREVER = timedelta(days=3650)
_T = TypeVar("_T")
_LOST = "Another process of the model stopped, so this one stops too. See that process's message."


@contextmanager
def process_group(device: str) -> Iterator[Shard]:
    """Joins torchrun's processes (NCCL or gloo) or yields `UNSHARDED`. Raises SetupError."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield UNSHARDED
        return
    if device == "cuda":
        torch.cuda.set_device(device_of(device))
    try:
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise SetupError(f"The {ranks} processes could not connect: {error}") from error
    try:
        yield Shard(distributed.get_rank(), ranks)
    finally:
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def device_of(device: str) -> str:
    """Returns the device of this process: each process uses its own GPU."""
    return f"{device}:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


@dataclass(frozen=True)
class _Pass:
    """A forward pass to run; without rows, the message that the leader closes."""

    rows: tuple[Row, ...] = ()
    length: int = 0


class Leader:
    """Makes the followers run every forward pass; does nothing without followers.

    After an error in any process's pass, the processes are out of step. The leader then sends
    SIGTERM to its own process, every further pass fails, and `close` raises.
    """

    def __init__(self, shard: Shard = UNSHARDED) -> None:
        self.shard = shard
        self._group: distributed.ProcessGroup | None = None
        self._lost = False

    def forward(self, model: Transformer, cache: KVCache) -> Forward:
        """Returns the forward pass, after the followers have created the same cache."""
        run = forward_for(model, cache)
        if self.shard.ranks == 1:
            return run
        self._group = _message_group()
        self._send(cache.pool.size)
        return partial(self._run, run)

    def close(self) -> None:
        """Stops the followers. Raises SetupError."""
        if self._lost:
            raise SetupError(_LOST)
        if self._group is not None:
            with suppress(RuntimeError):  # They may already have received the signal.
                self._send(_Pass())

    def _run(self, run: Forward, rows: Sequence[Row], length: int) -> Tensor:
        if self._lost:
            raise SetupError(_LOST)
        try:
            self._send(_Pass(tuple(rows), length))
            return run(rows, length)
        except Exception as error:
            self._lost = True
            os.kill(os.getpid(), signal.SIGTERM)
            raise SetupError(_LOST) from error

    def _send(self, message: object) -> None:
        distributed.broadcast_object_list([message], src=0, group=self._group)


@torch.inference_mode()
def run_follower(model: Transformer) -> None:
    """Runs the leader's forward passes until the leader closes. Raises SetupError."""
    group = _message_group()
    weight = model.unembedding.weight
    try:
        cache = KVCache(model.config, _receive(group, int), weight.dtype, weight.device)
        run = forward_for(model, cache)
        while (step := _receive(group, _Pass)).rows:
            run(step.rows, step.length)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(f"{_LOST} ({reason})" if reason else _LOST) from error


def _message_group() -> distributed.ProcessGroup:
    """Returns a CPU group for the leader's messages, without a timeout: requests may be rare."""
    group: distributed.ProcessGroup = distributed.new_group(backend="gloo", timeout=_FOREVER)
    return group


def _receive(group: distributed.ProcessGroup, kind: type[_T]) -> _T:
    box: list[_T | None] = [None]
    distributed.broadcast_object_list(box, src=0, group=group)
    assert isinstance(box[0], kind)
    return box[0]
