"""A server process: listens, serves an engine and stops cleanly."""

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

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reference_engine.errors import SetupError
from reference_engine.generation.engine import Engine
from reference_engine.generation.link import Link
from reference_engine.generation.ranks import Follower, Leader, device_of, process_group
from reference_engine.metrics import CONTENT_TYPE, EngineMetrics
from reference_engine.model.sharding import Shard
from reference_engine.server.opening import Parts, load, open_engine
from reference_engine.server.settings import ServeSettings


def metrics_route(metrics: EngineMetrics) -> Route:
    """The route of an engine's metrics."""

    async def show(_: Request) -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", show, methods=["GET"])


_GRACE_SECONDS = 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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


def serve(settings: ServeSettings) -> None:
    """Serve until a signal arrives; under torchrun, only the first process. Raises SetupError."""
    with process_group(settings.device) as shard:
        if shard.ranks > 1:
            settings = replace(settings, device=device_of(settings.device))
        if shard.rank:
            _follow(settings, shard)
        else:
            _serve(settings, shard)


def _serve(settings: ServeSettings, shard: Shard) -> None:
    parts = _parts(settings)
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
            app = parts.app(engine, replace(settings.app, fingerprint=fingerprint))
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


def _parts(settings: ServeSettings) -> Parts:
    if not settings.faulty:
        return Parts()
    from reference_engine.faults.server import faulty_parts

    return faulty_parts(settings.faults, by_request=settings.faults_by_request)


def _fingerprint(settings: ServeSettings) -> str:
    """A fingerprint of the backend, the checkpoint's configuration and the number format."""
    identity = [settings.backend.name.encode(), str(settings.dtype).encode()]
    if settings.backend.is_remote:
        identity.append(settings.backend.root.encode())
    else:
        identity.append((settings.checkpoint / "config.json").read_bytes())
    digest = hashlib.sha256(b"\0".join(identity)).hexdigest()
    return f"fp_{digest[:10]}"


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket; it is bound before the checkpoint is loaded to report a busy port early."""
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
