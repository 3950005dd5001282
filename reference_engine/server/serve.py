"""A server process: opens the engine, serves it over HTTP and stops cleanly."""

import contextlib
import errno
import hashlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FrameType

import torch
import uvicorn
from starlette.applications import Starlette

from harmony.vocabulary import VocabularyError, harmony_encoding, token_bytes
from reference_engine.backends.token_source import Backend, TokenSource
from reference_engine.checkpoint import load_model
from reference_engine.errors import SetupError
from reference_engine.generation.engine import Engine
from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import forward_for
from reference_engine.generation.link import Link
from reference_engine.generation.ranks import Follower, Leader, device_of, process_group
from reference_engine.generation.sampling import Sampler, sample
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer
from reference_engine.prescribed_replies import PrescribedReplies
from reference_engine.server.app import create_app, metrics_route
from reference_engine.server.settings import AppSettings, ServeSettings

_GRACE_SECONDS = 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Parts:
    """The replaceable parts of a server."""

    model: Callable[[Transformer], Transformer] = lambda model: model
    sampler: Sampler = sample
    app: Callable[[TokenSource, AppSettings], Starlette] = create_app
    forward: Callable[[MakeForward], MakeForward] = lambda make: make


def serve(settings: ServeSettings, parts: Parts = Parts()) -> None:
    """Serve until a signal arrives; under torchrun, only the first process. Raises SetupError."""
    with process_group(settings.device) as shard:
        if shard.ranks > 1:
            settings = replace(settings, device=device_of(settings.device))
        if shard.rank:
            _follow(settings, shard)
        else:
            _serve(settings, parts, shard)


def _serve(settings: ServeSettings, parts: Parts, shard: Shard) -> None:
    if shard.ranks > 1 and (settings.faulty or settings.backend.name != "reference"):
        raise SetupError("Faults and --backend need a single process: do not use torchrun.")
    with _restored_handlers(), _listening(settings.host, settings.port) as listener:
        link = Leader() if shard.ranks > 1 else Link()
        engine = open_engine(settings, parts, shard, link)
        if isinstance(engine, Engine):
            engine.prepare(_report)
        engine.start()
        try:
            fingerprint = _fingerprint(settings)
            source = PrescribedReplies(engine) if settings.prescribed else engine
            app = parts.app(source, replace(settings.app, fingerprint=fingerprint))
            server = Server(app)
            if isinstance(engine, Engine):
                app.router.routes.append(metrics_route(engine.metrics))
                engine.on_failure = server.stop
            listener.listen()
            host, port = listener.getsockname()[:2]
            names = ", ".join(settings.app.model_names)
            shown = f"[{host}]" if ":" in host else host
            server.greeting = f"Serving {names} at http://{shown}:{port}/v1\n"
            server.run(sockets=[listener])
            if isinstance(engine, Engine) and engine.failed:
                raise SetupError("The GPU reported an error (see above); start the server again.")
        finally:
            engine.close()
            link.close()


def _report(done: int, total: int) -> None:
    """Show how many decode steps of a GPU are recorded; on a terminal, one line that changes."""
    if sys.stderr.isatty() or done in {1, total}:
        end = "\r" if sys.stderr.isatty() and done < total else "\n"
        sys.stderr.write(f"Recorded decode step {done} of {total}.{end}")
        sys.stderr.flush()


def _follow(settings: ServeSettings, shard: Shard) -> None:
    # The first process decides when to stop; it also receives torchrun's signals.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    follower = Follower()
    follower.run(
        load(settings, shard),
        max_batch=settings.max_batch,
        max_context=settings.max_context,
        prefill_chunk=settings.prefill_chunk,
        memory=settings.memory,
    )


def open_engine(
    settings: ServeSettings,
    parts: Parts = Parts(),
    shard: Shard = UNSHARDED,
    link: Link | None = None,
) -> Backend:
    """Create the engine or backend of the settings, without starting it. Raises SetupError."""
    backend = settings.backend
    if backend.name == "reference":
        return Engine(
            parts.model(load(settings, shard)),
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            # A fault may differ from request to request, and so may the bits on a GPU.
            shares_equal=settings.device == "cpu" and not settings.faulty,
            max_context=settings.max_context,
            prefill_chunk=settings.prefill_chunk,
            memory=settings.memory,
            sampler=parts.sampler,
            forward=parts.forward(forward_for),
            link=link,
        )
    if settings.faulty:
        raise SetupError("--fault needs the reference engine: remove --backend.")
    _prepare(settings)
    # Imported here because only these backends need their packages.
    if backend.is_remote:
        from reference_engine.backends.remote import connect

        return connect(backend, settings.max_context)
    from reference_engine.backends.in_process import InProcessEngine, load_mlx, load_transformers

    model = (
        load_mlx(settings.checkpoint)
        if backend.name == "mlx"
        else load_transformers(settings.checkpoint, settings.device, settings.dtype)
    )
    return InProcessEngine(
        model,
        max_batch=settings.max_batch,
        max_context=settings.max_context,
        max_queue=settings.max_queue,
    )


def load(settings: ServeSettings, shard: Shard = UNSHARDED) -> Transformer:
    """Load the vocabulary and the checkpoint, or one shard of the latter. Raises SetupError."""
    _prepare(settings)
    return load_model(
        settings.checkpoint,
        settings.device,
        getattr(torch, settings.dtype) if settings.dtype else None,
        kernels=settings.kernels,
        packed=settings.packed or None,
        shard=shard,
        residual=getattr(torch, settings.residual),
    )


def _prepare(settings: ServeSettings) -> None:
    """Check the device, set the threads and load the vocabulary. Raises SetupError."""
    device, local = settings.device.partition(":")[0], not settings.backend.is_remote
    if device == "cuda" and local and not torch.cuda.is_available():
        raise SetupError("PyTorch finds no CUDA device: use --device cpu, or check the driver.")
    if device == "mps" and local and not torch.backends.mps.is_available():
        raise SetupError("PyTorch finds no Apple GPU: use --device cpu.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        harmony_encoding()
        token_bytes()
    except VocabularyError as error:
        raise SetupError(str(error)) from error


class Server(uvicorn.Server):
    """Ends all requests and stops on SIGINT and SIGTERM; writes its greeting when ready."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        super().__init__(config)
        self._app = app
        self.greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then write the greeting."""
        await super().startup(sockets)
        sys.stderr.write(self.greeting)
        sys.stderr.flush()

    def stop(self) -> None:
        """Request a stop; can be called from any thread."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all requests, then the server."""
        self._app.state.stop.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals. `serve` restores the previous handlers at the end."""

        def handle(_: int, __: FrameType | None) -> None:
            self.stop()

        if _in_main_thread():
            for number in _SIGNALS:
                signal.signal(number, handle)
        yield


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _restored_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if _in_main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _fingerprint(settings: ServeSettings) -> str:
    """Return a fingerprint of the backend, the checkpoint's configuration and the number format."""
    identity = [settings.backend.name.encode(), str(settings.dtype).encode()]
    if settings.backend.is_remote:
        identity.append(settings.backend.root.encode())
    else:
        identity.append((settings.checkpoint / "config.json").read_bytes())
    digest = hashlib.sha256(b"\0".join(identity)).hexdigest()
    return f"fp_{digest[:10]}"


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a socket before the checkpoint is loaded, to report a busy port early."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            advice = "choose another port with --port, or 0 for any free port"
            if error.errno != errno.EADDRINUSE:
                advice = "check --host and --port"
            reason = error.strerror or str(error)
            raise SetupError(f"Cannot listen at {host}:{port} ({reason}): {advice}.") from error
        yield listener
