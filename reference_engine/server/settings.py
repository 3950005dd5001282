"""How the server is set up."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from reference_engine.backends.settings import BackendSettings
from reference_engine.kernels import KernelChoice
from reference_engine.kv_cache.memory import Memory

TODAY = "today"
SMALL_CHECKPOINT = Path(__file__).parent.parent / "small" / "checkpoint"


@dataclass(frozen=True)
class AppSettings:
    """What the HTTP application needs to know besides the engine.

    Attributes:
        model_names: The ids under which the one loaded model answers; the first is its own.
        api_key: What clients must send as a bearer token, or None to ask for nothing.
        max_body_bytes: Larger request bodies are refused.
        dated: ISO date for the system message, `today`, or None to leave the line out.
        fingerprint: `system_fingerprint` of the replies.
        stored_responses: How many Responses are kept for `previous_response_id`.
        stored_bytes: How much memory they may take together.
        websocket_seconds: How long a WebSocket may stay open; the hour is Open Responses' limit.
    """

    model_names: tuple[str, ...] = ("gpt-oss-small",)
    api_key: str | None = None
    max_body_bytes: int = 16 * 2**20
    dated: str | None = None
    fingerprint: str = "fp_reference"
    stored_responses: int = 1000
    stored_bytes: int = 64 * 2**20
    websocket_seconds: float = 3600

    @property
    def current_date(self) -> str | None:
        """ISO date for the system message of a request that comes now; `today` is that of UTC."""
        if self.dated == TODAY:
            return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        return self.dated


_OUR_OWN = BackendSettings()


@dataclass(frozen=True)
class ServeSettings:
    """A server process: the checkpoint to load, how to run it, where to listen.

    With another backend than ours, `dtype` and `device` are those of `transformers`, and a server
    of its own has no use for them nor for the checkpoint.
    `faults` are options as `reference_engine.faults.catalogue.read_plan` takes them; with
    `faults_by_request`, requests may name their own.
    """

    checkpoint: Path = SMALL_CHECKPOINT
    device: str = "cpu"
    dtype: str | None = None
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
