"""The command line options of an engine and a server, and their settings."""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from harmony.conversation import Effort
from reference_engine.backends.settings import REMOTE, BackendSettings
from reference_engine.builtin.mcp import read_servers
from reference_engine.builtin.pages import Folder
from reference_engine.builtin.python import PythonSandbox
from reference_engine.builtin.tools import ServerTools
from reference_engine.errors import SetupError
from reference_engine.kernels import KernelChoice
from reference_engine.kv_cache.memory import Memory, parse_bytes
from reference_engine.server.settings import TODAY, AppSettings, ServeSettings

Add = Callable[..., argparse.Action]
"""The `add_argument` of a parser."""
_DTYPES = ("float32", "bfloat16")


def add_engine_options(add: Add) -> None:
    """Add the options of an engine."""
    defaults = ServeSettings()
    add(
        "--checkpoint",
        type=Path,
        default=defaults.checkpoint,
        metavar="DIR",
        help="checkpoint in OpenAI's or Hugging Face's layout (default: the bundled small one)",
    )
    _option(add, "--device", "device", default=defaults.device, choices=["cpu", "cuda", "mps"])
    add(
        "--dtype",
        choices=_DTYPES,
        help="number format (default: the fastest of the device)",
    )
    text = "number format of the residual stream; most other engines use that of --dtype"
    _option(add, "--residual", text, choices=_DTYPES, default=defaults.residual)
    add(
        "--kernels",
        default=defaults.kernels,
        choices=get_args(KernelChoice),
        help="kernels of attention and experts; Triton needs CUDA and is the default there",
    )
    add(
        "--packed",
        action="store_true",
        help="keep MXFP4 experts packed in memory (always on a GPU): slower on a CPU, but 20b "
        "takes 14 GB with --dtype bfloat16",
    )
    add(
        "--max-context",
        type=_positive,
        metavar="TOKENS",
        help="most tokens of prompt and answer (default: 8192, or the model's limit if lower)",
    )
    add(
        "--prefill-chunk",
        type=_positive,
        metavar="TOKENS",
        help="most prompt tokens processed between two tokens of running answers "
        "(default: 512 on a CPU, 4096 on a GPU)",
    )
    add(
        "--kv-memory",
        type=size_option,
        metavar="SIZE",
        help="memory of the KV cache, such as 512MiB or 40GiB (default: 512MiB on a CPU, see "
        "--gpu-memory-share on a GPU); requests wait while it is full",
    )
    text = "share of the GPU memory left by the weights that the KV cache uses"
    share = Memory().gpu_share
    _option(add, "--gpu-memory-share", text, type=float, default=share, metavar="SHARE")
    add("--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)")
    add(
        "--current-date",
        metavar="DATE",
        help="current date in the system message: YYYY-MM-DD or 'today' (default: no date)",
    )


def add_batch_option(add: Add) -> None:
    """Add the option for the batch size, which the terminal chat does not have."""
    most = ServeSettings().max_batch
    text = "most requests in one batch"
    _option(add, "--max-batch", text, type=_positive, default=most, metavar="N")


def add_server_options(add: Add) -> None:
    """Add the options of a server."""
    defaults, app = ServeSettings(), AppSettings()
    add(
        "--model-name",
        action="append",
        metavar="ID",
        help=f"model id of the API; can be repeated (default: {app.model_names[0]})",
    )
    _option(add, "--host", "address to listen on", default=defaults.host)
    _option(add, "--port", "port; 0 selects a free one", type=_port, default=defaults.port)
    add("--api-key-env", metavar="NAME", help="environment variable with the API key of clients")
    most = app.max_body_bytes
    text = "limit for request bodies"
    _option(add, "--max-body", text, type=_positive, default=most, metavar="BYTES")
    text = "most waiting requests; more get status 429"
    _option(add, "--max-queue", text, type=_positive, default=defaults.max_queue, metavar="N")
    add_fault_option(add)
    text = "let requests name their faults in the header X-Fault"
    add("--faults-by-request", action="store_true", help=text)
    add(
        "--browser",
        type=Path,
        metavar="DIR",
        help="offer the tool web_search in the Responses API, with the pages in DIR/HOST/PATH",
    )
    text = "offer the tool code_interpreter in the Responses API, in a sandbox (Linux)"
    add("--python", action="store_true", help=text)
    add(
        "--mcp",
        action="append",
        metavar="LABEL=TARGET",
        help="MCP server that requests may use in the Responses API, by its URL or the command "
        "that starts it; can be repeated",
    )


def add_fault_option(add: Add) -> None:
    """Add the option for the defects to reproduce."""
    add(
        "--fault",
        action="append",
        metavar="NAME[,NAME][:RATE]",
        help="known defects to reproduce ('python -m reference_engine faults' lists them), "
        "in all requests or in this share of them; can be repeated",
    )


def add_backend_options(add: Add) -> None:
    """Add the options that choose a backend."""
    defaults = BackendSettings()
    add(
        "--backend",
        default=defaults.name,
        choices=["reference", "transformers", "mlx", *sorted(REMOTE, reverse=True)],
        help="engine that generates the tokens (default: %(default)s); transformers and mlx "
        "run in this process, the others are servers that receive token ids (ollama: text)",
    )
    add("--backend-url", metavar="URL", help="URL of that server (default: its usual local port)")
    add("--backend-model", metavar="ID", help="its model id (default: the model it serves)")
    add("--backend-key-env", metavar="NAME", help="environment variable with its API key")
    add(
        "--backend-timeout",
        type=_seconds,
        default=defaults.timeout,
        metavar="SECONDS",
        help="most seconds without a byte from that server (default: %(default)g)",
    )


def add_chat_options(add: Add) -> None:
    """Add the options of the chat command."""
    _option(add, "--effort", "initial reasoning effort", default="medium", choices=get_args(Effort))
    add("--raw", action="store_true", help="show the raw harmony tokens")
    add("--temperature", type=float, default=1.0, help="0 selects the most probable token")
    add("--seed", type=int, help="seed of the conversation")


def _option(add: Add, name: str, text: str, **settings: object) -> None:
    """Add an option whose help states its default."""
    add(name, help=f"{text} (default: %(default)s)", **settings)


def serve_settings(arguments: argparse.Namespace) -> ServeSettings:
    """The settings of `serve`.

    Raises:
        SetupError: Options contradict each other, the folder of pages is empty, Python programs
            cannot be isolated, or --mcp is invalid; the message gives the remedy.
    """
    settings = engine_settings(arguments)
    app = replace(
        settings.app,
        model_names=tuple(arguments.model_name or AppSettings().model_names),
        api_key=key_of("--api-key-env", arguments.api_key_env),
        max_body_bytes=arguments.max_body,
        tools=_tools(arguments),
    )
    return replace(
        settings,
        host=arguments.host,
        port=arguments.port,
        max_queue=arguments.max_queue,
        backend=backend_settings(arguments),
        faults=tuple(arguments.fault or ()),
        faults_by_request=arguments.faults_by_request,
        app=app,
    )


def _tools(arguments: argparse.Namespace) -> ServerTools:
    python = PythonSandbox() if arguments.python else None
    if python:
        python.require_isolation()
    pages = Folder(arguments.browser) if arguments.browser else None
    return ServerTools(pages, python, read_servers(arguments.mcp or ()))


def engine_settings(arguments: argparse.Namespace) -> ServeSettings:
    """The settings of an engine.

    Raises:
        SetupError: The date is invalid.
    """
    return ServeSettings(
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        dtype=arguments.dtype,
        residual=arguments.residual,
        kernels=arguments.kernels,
        packed=arguments.packed,
        threads=arguments.threads,
        max_batch=arguments.max_batch,
        prefill_chunk=arguments.prefill_chunk,
        memory=Memory(arguments.kv_memory, arguments.gpu_memory_share),
        max_context=arguments.max_context,
        app=AppSettings(dated=_date(arguments.current_date)),
    )


def backend_settings(arguments: argparse.Namespace) -> BackendSettings:
    """The chosen backend.

    Raises:
        SetupError: Options contradict each other; the message gives the remedy.
    """
    settings = BackendSettings(
        name=arguments.backend,
        url=arguments.backend_url,
        model=arguments.backend_model,
        api_key=key_of("--backend-key-env", arguments.backend_key_env),
        timeout=arguments.backend_timeout,
    )
    if not settings.is_remote and (settings.url or settings.model or settings.api_key):
        servers = ", ".join(sorted(REMOTE, reverse=True))
        raise SetupError(f"--backend-url, -model and -key-env need a server: --backend {servers}.")
    if settings.url and not settings.url.startswith(("http://", "https://")):
        raise SetupError(f"--backend-url must start with http:// or https://: '{settings.url}'.")
    return settings


def key_of(option: str, variable: str | None) -> str | None:
    """The key in an environment variable, or None without the option.

    Raises:
        SetupError: The variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise SetupError(f"{option} names {variable}, but that variable is not set.")
    return key


def _date(wanted: str | None) -> str | None:
    if wanted in {None, TODAY}:
        return wanted
    try:
        return datetime.date.fromisoformat(wanted).isoformat()
    except ValueError:
        message = f"--current-date must be YYYY-MM-DD or 'today', not '{wanted}'."
        raise SetupError(message) from None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be an integer, not '{text}'") from None


def size_option(text: str) -> int:
    """Parse a size in bytes, for an argument parser's `type`."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    value = _integer(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _port(text: str) -> int:
    value = _integer(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"must be between 0 and 65535, not {value}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not '{text}'") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value
