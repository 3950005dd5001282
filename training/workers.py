"""Two processes with one thread each, which is faster on a CPU than two threads."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

_RANK, _PORT = "SMALL_TRAIN_RANK", "SMALL_TRAIN_PORT"
_THREADING = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16384",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}


def is_worker() -> bool:
    """Returns whether `launch` started this process."""
    return _RANK in os.environ


def launch(module: str, arguments: Sequence[str], count: int) -> int:
    """Runs a module in `count` processes and forwards stop signals to them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", module, *arguments]
    workers = []
    for rank in range(count):
        environment = {**os.environ, **_THREADING, _RANK: str(rank), _PORT: str(port)}
        workers.append(subprocess.Popen(command, env=environment))  # noqa: S603

    def forward(number: int, _frame: object) -> None:
        for worker in workers:
            worker.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    return max(abs(worker.wait()) for worker in workers)


def join(count: int) -> int:
    """Joins the other processes; returns the rank of this one."""
    torch.set_num_threads(1)
    rank = int(os.environ[_RANK])
    address = f"tcp://127.0.0.1:{os.environ[_PORT]}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=count)
    return rank


def total(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns the sum of each tensor over all processes, sent as one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
