"""The processes that torchrun starts: the first one is the leader, the others are followers.

All run the same scheduler on their parts of the model. At each step, the leader sends the requests
that joined or left, the tokens that it read, and a hash of its results. Everything else is the same
in all processes; a follower with another hash stops all of them.
"""

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Unpack

import torch
from torch import distributed

from reference_engine.errors import SetupError
from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import forward_for
from reference_engine.generation.link import Link, Tokens
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.generation.sequence import Sequence
from reference_engine.generation.setup import Sizes, runner_for
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer

_FOREVER = timedelta(days=3650)
_LOST = "Another process of the model stopped, so this one stops too. See that process's message."
_DIFFERENT = (
    "Process {rank} of the model computed other numbers than the first process, so the answers "
    "would be wrong, and all processes stop. Use equal GPUs, and the same versions of PyTorch, "
    "Triton and NCCL for all processes."
)
_FRAME = 4096
"""Bytes of the first broadcast of a message, which is the only one for most messages."""
_PREFIX = 8  # bytes of the length of a message

_Change = tuple[tuple[int, ...], SamplingParams] | int
"""The prompt and parameters of a sequence that joined, or the number of one that left."""


@contextmanager
def process_group(device: str) -> Iterator[Shard]:
    """Join torchrun's processes (NCCL or gloo) or yield `UNSHARDED`. Raises SetupError."""
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
    """Return the device of this process: each process uses its own GPU."""
    return f"{device}:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


class Messages:
    """Carries the leader's messages to all followers."""

    def __init__(self) -> None:
        # On CPUs, and without a timeout: requests may be rare.
        self._group = distributed.new_group(backend="gloo", timeout=_FOREVER)

    def send(self, content: object) -> None:
        """Send a message."""
        data = pickle.dumps(content)
        data = len(data).to_bytes(_PREFIX, "little") + data
        self._broadcast(data[:_FRAME].ljust(_FRAME, b"\0"))
        if len(data) > _FRAME:
            self._broadcast(data[_FRAME:])

    def receive(self) -> object:
        """Wait for a message and return its content."""
        data = self._broadcast(bytes(_FRAME))
        end = _PREFIX + int.from_bytes(data[:_PREFIX], "little")
        if end > _FRAME:
            data += self._broadcast(bytes(end - _FRAME))
        return pickle.loads(data[_PREFIX:end])  # noqa: S301 - from our own process

    def _broadcast(self, data: bytes) -> bytes:
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        distributed.broadcast(buffer, src=0, group=self._group)
        return buffer.numpy().tobytes()


class Leader(Link):
    """Makes the followers run every step.

    After an error in any process, the processes are out of step. The leader then sends SIGTERM to
    its own process, every further step fails, and `close` raises.
    """

    def __init__(self) -> None:
        self._messages = Messages()
        self._changes: list[_Change] = []
        self._lost = False

    def joined(self, sequence: Sequence) -> None:
        """See `Link`."""
        self._changes.append((sequence.prompt, replace(sequence.params, seed=sequence.seed)))

    def left(self, sequence: Sequence) -> None:
        """See `Link`."""
        self._changes.append(sequence.order)

    @contextmanager
    def step(self) -> Iterator[None]:
        """See `Link`. Raises SetupError."""
        if self._lost:
            raise SetupError(_LOST)
        try:
            changes, self._changes = tuple(self._changes), []
            self._messages.send(changes)
            yield
        except Exception as error:
            self._lost = True
            os.kill(os.getpid(), signal.SIGTERM)
            raise SetupError(_LOST) from error

    def tokens(self, read: Callable[[], Tokens], digests: Callable[[], list[int]]) -> Tokens:
        """See `Link`."""
        tokens = read()
        self._messages.send((hash(tuple(digests())), [token and token.id for token in tokens]))
        return tokens

    def close(self) -> None:
        """Stop the followers. Raises SetupError."""
        if self._lost:
            raise SetupError(_LOST)
        with suppress(RuntimeError):  # They may already have received the signal.
            self._messages.send(None)


class Follower(Link):
    """Runs the leader's steps. Raises SetupError if there is no leader."""

    def __init__(self) -> None:
        with _loss_reported():
            self._messages = Messages()

    def tokens(self, read: Callable[[], Tokens], digests: Callable[[], list[int]]) -> Tokens:
        """See `Link`. Raises SetupError if the results differ from those of the leader."""
        received = self._messages.receive()
        assert isinstance(received, tuple)
        leaders, ids = received
        if leaders != hash(tuple(digests())):
            raise SetupError(_DIFFERENT.format(rank=distributed.get_rank()))
        return [None if token is None else Token(token) for token in ids]

    def run(
        self,
        model: Transformer,
        *,
        forward: MakeForward = forward_for,
        **sizes: Unpack[Sizes],
    ) -> None:
        """Run until the leader closes. Raises SetupError.

        The leader uses the same sizes, and prepares its runner before the first step.
        """
        with _loss_reported():
            runner = runner_for(model, forward=forward, link=self, **sizes)
            runner.prepare(lambda done, total: None)
            while (changes := self._messages.receive()) is not None:
                assert isinstance(changes, tuple)
                for change in changes:
                    _apply(runner, change)
                runner.step()


@contextmanager
def _loss_reported() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(f"{_LOST} ({reason})" if reason else _LOST) from error


def _apply(runner: Runner, change: _Change) -> None:
    if isinstance(change, int):
        runner.remove(runner.scheduler.sequence(change))
    else:
        runner.add(Sequence(*change))
