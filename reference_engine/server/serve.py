"""A server process: load the checkpoint, listen, stop cleanly."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType

import torch
import uvicorn
from starlette.applications import Starlette

from reference_engine.backends.base import Backend
from reference_engine.checkpoint import CheckpointError, load_model
from reference_engine.config import ConfigError
from reference_engine.engine import Engine
from reference_engine.harmony.vocabulary import VocabularyError, harmony_encoding, token_bytes
from reference_engine.kernels import KernelsError
from reference_engine.memory import MemoryTooSmallError
from reference_engine.model import Transformer
from reference_engine.parallel import ALONE, ParallelError, Shard
from reference_engine.ranks import Lead, device_of, follow, joined
from reference_engine.server.metrics import metrics_route
from reference_engine.server.parts import Parts
from reference_engine.server.settings import ServeSettings

_GRACE_SECONDS = 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ServeError(Exception):
    """The server cannot start; the message says why and what to do."""


class Server(uvicorn.Server):
    """Stops on SIGINT and SIGTERM by telling the requests in flight to end."""

    def __init__(self, app: Starlette, *, quiet: bool = True) -> None:
        config = uvicorn.Config(
            app,
            log_level="error" if quiet else "info",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the requests in flight, then the server."""
        self._app.state.stop.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals; `serve` puts the handlers back when all is closed."""

        def stop(_: int, __: FrameType | None) -> None:
            self.should_exit = True

        if _in_main_thread():
            for number in _SIGNALS:
                signal.signal(number, stop)
        yield


def serve(settings: ServeSettings) -> None:
    """Serve until a signal comes; as one of several processes of torchrun, follow the first.

    Raises:
        ServeError: A fault is unknown, the checkpoint cannot be loaded, the address not be had, or
            another process of the model is gone.
    """
    try:
        with joined(settings.device) as shard:
            if shard.ranks > 1:
                settings = replace(settings, device=device_of(settings.device))
            if shard.rank:
                _follow(settings, shard)
            else:
                _serve(settings, shard)
    except ParallelError as error:
        raise ServeError(str(error)) from error


def _serve(settings: ServeSettings, shard: Shard) -> None:
    parts = _parts(settings)
    if shard.ranks > 1 and not _can_be_shared(settings):
        raise ServeError("Faults and --backend need one process: start it without torchrun.")
    with _handlers_put_back(), _listening(settings.host, settings.port) as listener:
        lead = Lead(shard)
        engine = open_engine(settings, parts, lead)
        engine.start()
        try:
            fingerprint = _fingerprint(settings)
            app = parts.app(engine, replace(settings.app, fingerprint=fingerprint))
            if isinstance(engine, Engine):
                app.router.routes.append(metrics_route(engine.metrics))
            listener.listen()
            host, port = listener.getsockname()[:2]
            names = ", ".join(settings.app.model_names)
            shown = f"[{host}]" if ":" in host else host
            sys.stderr.write(f"Serving {names} at http://{shown}:{port}/v1\n")
            sys.stderr.flush()
            Server(app).run(sockets=[listener])
        finally:
            engine.close()
            lead.close()


def _follow(settings: ServeSettings, shard: Shard) -> None:
    for number in _SIGNALS:  # The first process says when to end; torchrun's signals reach it too.
        signal.signal(number, signal.SIG_IGN)
    follow(load(settings, shard))


def _can_be_shared(settings: ServeSettings) -> bool:
    plain = not settings.faults and not settings.faults_by_request
    return plain and settings.backend.name == "reference"


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if _in_main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _parts(settings: ServeSettings) -> Parts:
    if not settings.faults and not settings.faults_by_request:
        return Parts()
    from reference_engine.faults.setup import FaultError, faulty_parts

    try:
        return faulty_parts(settings.faults, by_request=settings.faults_by_request)
    except FaultError as error:
        raise ServeError(str(error)) from error


def load(settings: ServeSettings, shard: Shard = ALONE) -> Transformer:
    """The model of the settings' checkpoint, or a part of it, and the vocabulary with it.

    Raises:
        ServeError: One of them cannot be had, or the device not be used.
    """
    if settings.device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise ServeError("PyTorch sees no CUDA device: use --device cpu, or check the driver.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        harmony_encoding()
        token_bytes()
        dtype = getattr(torch, settings.dtype) if settings.dtype else None
        return load_model(
            settings.checkpoint,
            settings.device,
            dtype,
            kernels=settings.kernels,
            packed=settings.packed or None,
            shard=shard,
        )
    except (CheckpointError, ConfigError, KernelsError, VocabularyError) as error:
        raise ServeError(str(error)) from error


def open_engine(
    settings: ServeSettings, parts: Parts | None = None, lead: Lead | None = None
) -> Backend:
    """Our engine, or the backend that the settings name; not started yet.

    Raises:
        ServeError: It cannot be had.
    """
    if settings.backend.name != "reference":
        return _backend(settings)
    parts, lead = parts or Parts(), lead or Lead()
    try:
        return Engine(
            parts.model(load(settings, lead.shard)),
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            max_context=settings.max_context,
            prefill_chunk=settings.prefill_chunk,
            memory=settings.memory,
            sampler=parts.sampler,
            forward=lead.forward,
        )
    except MemoryTooSmallError as error:
        raise ServeError(str(error)) from error


def _backend(settings: ServeSettings) -> Backend:
    from reference_engine.backends.base import BackendUnavailableError
    from reference_engine.backends.opening import open_backend

    if settings.faults or settings.faults_by_request:
        raise ServeError("--fault changes our own engine: leave out --backend.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        harmony_encoding()
        return open_backend(
            settings.backend,
            checkpoint=settings.checkpoint,
            device=settings.device,
            dtype=settings.dtype,
            max_batch=settings.max_batch,
            max_context=settings.max_context,
            max_queue=settings.max_queue,
        )
    except (BackendUnavailableError, VocabularyError) as error:
        raise ServeError(str(error)) from error


def _fingerprint(settings: ServeSettings) -> str:
    """Changes when the backend, the checkpoint's configuration or the number format does."""
    identity = [settings.backend.name.encode(), str(settings.dtype).encode()]
    if settings.backend.is_remote:
        identity.append(settings.backend.root.encode())
    else:
        identity.append((settings.checkpoint / "config.json").read_bytes())
    digest = hashlib.sha256(b"\0".join(identity)).hexdigest()
    return f"fp_{digest[:10]}"


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket; had before the checkpoint is loaded, so that a busy port is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            advice = "choose another with --port, or 0 for any free one"
            if error.errno != errno.EADDRINUSE:
                advice = "check --host and --port"
            reason = error.strerror or str(error)
            raise ServeError(f"Cannot listen at {host}:{port} ({reason}): {advice}.") from error
        yield listener
