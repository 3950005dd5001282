"""Settings of the server."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from reference_engine.backends.settings import BackendSettings
from reference_engine.builtin.tools import ServerTools
from reference_engine.kernels import KernelChoice
from reference_engine.kv_cache.memory import Memory

TODAY = "today"
SMALL_CHECKPOINT = Path(__file__).parent.parent / "small" / "checkpoint"


@dataclass(frozen=True)
class AppSettings:
    """Settings of the HTTP application.

    Attributes:
        model_names: The ids of the loaded model.
        api_key: The bearer token that clients must send, or None.
        max_body_bytes: The limit for request bodies.
        dated: ISO date for the system message, `today`, or None for no date line.
        fingerprint: `system_fingerprint` of Chat responses.
        stored_responses: The number of responses stored for `previous_response_id`.
        stored_bytes: The memory limit for stored responses.
        websocket_seconds: The time limit of a WebSocket. Open Responses specifies one hour.
        tools: The built-in tools that responses can use.
    """

    model_names: tuple[str, ...] = ("gpt-oss-small",)
    api_key: str | None = None
    max_body_bytes: int = 16 * 2**20
    dated: str | None = None
    fingerprint: str = "fp_reference"
    stored_responses: int = 1000
    stored_bytes: int = 64 * 2**20
    websocket_seconds: float = 3600
    tools: ServerTools = field(default_factory=ServerTools)

    @property
    def current_date(self) -> str | None:
        """ISO date for the system message of a new request; `today` is the date in UTC."""
        if self.dated == TODAY:
            return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        return self.dated


_OUR_OWN = BackendSettings()


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a server process: the checkpoint, the computation, the address.

    The backend `transformers` uses `dtype` and `device`; remote backends ignore them and the
    checkpoint.

    `faults` are options of `reference_engine.faults.catalogue.read_plan`. With `faults_by_request`,
    a request can name its own.
    """

    checkpoint: Path = SMALL_CHECKPOINT
    device: str = "cpu"
    dtype: str | None = None
    residual: str = "float32"
    kernels: KernelChoice = "auto"
    packed: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    max_context: int | None = None
    threads: int | None = None
    max_batch: int = 32
    prefill_chunk: int | None = None
    memory: Memory = field(default_factory=Memory)
    max_queue: int = 256
    faults: tuple[str, ...] = ()
    faults_by_request: bool = False
    backend: BackendSettings = _OUR_OWN
    app: AppSettings = AppSettings()
