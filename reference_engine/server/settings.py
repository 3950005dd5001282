"""Settings of the engine and the server, which are also command-line options."""

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from cyclopts import Parameter
from cyclopts.validators import Number

from reference_engine.backends.settings import BackendSettings
from reference_engine.builtin.tools import ServerTools
from reference_engine.kernels import KernelChoice
from reference_engine.kv_cache.memory import Memory
from reference_engine.small import SMALL_CHECKPOINT

TODAY = "today"
NumberFormat = Literal["float32", "bfloat16"]
COUNT = Parameter(validator=Number(gte=1))

DEVICES = ("cpu", "cuda", "mps")


def _check_device(_: object, wanted: str) -> None:
    if wanted not in DEVICES:
        raise ValueError(f"Choose from: {', '.join(DEVICES)}.")


def _check_date(_: object, wanted: str | None) -> None:
    if wanted is not None and wanted != TODAY:
        try:
            datetime.date.fromisoformat(wanted)
        except ValueError:
            raise ValueError("It must be YYYY-MM-DD or 'today'.") from None


def _check_origins(_: object, wanted: tuple[str, ...]) -> None:
    for origin in wanted:
        parts = urlsplit(origin)
        complete = parts.scheme and parts.netloc and origin == f"{parts.scheme}://{parts.netloc}"
        if origin != "*" and not complete:
            raise ValueError(f"{origin} is neither SCHEME://HOST nor SCHEME://HOST:PORT.")


Device: TypeAlias = Annotated[str, Parameter(validator=_check_device)]
CurrentDate: TypeAlias = Annotated[
    str | None,
    Parameter(
        name="--current-date",
        help="Current date in the system message: YYYY-MM-DD or 'today'. Default: no date.",
        validator=_check_date,
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class AppSettings:
    """Settings of the HTTP application."""

    model_names: Annotated[tuple[str, ...], Parameter(name="--model-name")] = ("gpt-oss-small",)
    """Model id of the API; can be repeated. Default: gpt-oss-small."""
    api_key: Annotated[str | None, Parameter(parse=False)] = None
    """The bearer token that clients must send, or None."""
    max_body_bytes: Annotated[int, COUNT, Parameter(name="--max-body")] = 16 * 2**20
    """Limit for request bodies in bytes. Default: 16777216."""
    allowed_origins: Annotated[
        tuple[str, ...], Parameter(name="--allow-origin", validator=_check_origins)
    ] = ()
    """Origin whose web pages may send requests, such as http://localhost:3000, or * for all; can
    be repeated. Default: only the server's own."""
    dated: CurrentDate = None
    """ISO date for the system message, `today`, or None for no date line."""
    fingerprint: Annotated[str, Parameter(parse=False)] = "fp_reference"
    """`system_fingerprint` of Chat responses."""
    stored_responses: Annotated[int, Parameter(parse=False)] = 1000
    """The number of responses stored for `previous_response_id`."""
    stored_bytes: Annotated[int, Parameter(parse=False)] = 64 * 2**20
    """The memory limit for stored responses."""
    tools: Annotated[ServerTools, Parameter(parse=False)] = field(default_factory=ServerTools)
    """The built-in tools that responses can use."""

    @property
    def current_date(self) -> str | None:
        """ISO date for the system message of a new request; `today` is the date in UTC."""
        if self.dated == TODAY:
            return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        return self.dated


_OUR_OWN = BackendSettings()


@Parameter(name="*")
@dataclass(frozen=True)
class EngineSettings:
    """Settings of an engine.

    The backend `transformers` uses `dtype` and `device`; remote backends ignore them and the
    checkpoint.
    """

    checkpoint: Path = SMALL_CHECKPOINT
    """Checkpoint in OpenAI's or Hugging Face's layout. Default: the bundled small one."""
    device: Device = "cpu"
    """Device: cpu, cuda or mps. Default: cpu."""
    dtype: NumberFormat | None = None
    """Number format. Default: the fastest for the device."""
    residual: NumberFormat = "float32"
    """Number format of the residual stream; most other engines use the one of --dtype. Default:
    float32."""
    kernels: KernelChoice = "auto"
    """Kernels of attention and experts; Triton needs CUDA and is the default there."""
    packed: bool = False
    """Keep MXFP4 experts packed in memory (always on a GPU): slower on a CPU, but 20b takes 14 GB
    with --dtype bfloat16."""
    max_context: Annotated[int | None, COUNT] = None
    """Maximum number of tokens of a prompt and its answer. Default: 8192, or the model's limit if
    it is lower."""
    prefill_chunk: Annotated[int | None, COUNT] = None
    """Maximum number of prompt tokens processed between two tokens of running answers. Default: 512
    on a CPU, 8192 on a GPU, for which running answers of 20b wait about 145 ms on an H200 (76 ms
    with 4096)."""
    memory: Memory = field(default_factory=Memory)
    threads: Annotated[int | None, COUNT] = None
    """CPU threads. Default: all cores."""


@Parameter(name="*")
@dataclass(frozen=True)
class BatchSettings(EngineSettings):
    """Settings of an engine that runs requests in batches, optionally with known defects."""

    max_batch: Annotated[int, COUNT] = 32
    """Maximum number of requests in a batch. Default: 32."""
    faults: Annotated[tuple[str, ...], Parameter(name="--fault")] = ()
    """NAME[,NAME][:RATE]: known defects to reproduce in all requests, or in the share RATE of them
    ('python -m reference_engine faults' lists the names); can be repeated."""


@Parameter(name="*")
@dataclass(frozen=True)
class ServeSettings(BatchSettings):
    """Settings of a server process: the engine, the address, the application."""

    backend: BackendSettings = _OUR_OWN
    host: str = "127.0.0.1"
    """Address to listen on. Default: 127.0.0.1."""
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8000
    """Port; 0 selects a free one. Default: 8000."""
    app: AppSettings = AppSettings()
    max_queue: Annotated[int, COUNT] = 256
    """Maximum number of waiting requests; additional ones get status 429. Default: 256."""
    prescribed: bool = False
    """Answer the questions of reference_engine/prescribed_replies.yaml with the replies there."""
    faults_by_request: bool = False
    """Let requests select faults with the header X-Fault."""

    @property
    def faulty(self) -> bool:
        """Whether some requests may show faults."""
        return bool(self.faults) or self.faults_by_request
