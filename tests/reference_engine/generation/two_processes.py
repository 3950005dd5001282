"""Two processes of one model, as torchrun starts them."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

SCRIPT = str(Path(__file__).with_name("parallel_model.py"))


def started(command: list[str], **environment: str) -> list[subprocess.Popen]:
    """Start two processes as torchrun does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Returns the exit code and stderr of each process."""
    try:
        said = [process.communicate(timeout=1800)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def made_by_two(group: str, checkpoint: Path, out: Path, **environment: str) -> Any:
    """The results of a group of scenarios in two processes."""
    results = ended(started([SCRIPT, group, str(checkpoint), str(out)], **environment))
    assert [code for code, _ in results] == [0, 0], results
    return torch.load(out)
