"""The command line options of an engine and a server, and their settings."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from reference_engine.backends.settings import backend_settings, key_of
from reference_engine.kernels import KernelChoice
from reference_engine.kv_cache.memory import Memory, parse_bytes
from reference_engine.server.settings import TODAY, AppSettings, ServeSettings


def add_engine_options(add: Callable[..., argparse.Action]) -> None:
    """Add the options of an engine with an argument parser's `add_argument`."""
    _add_model_options(add)
    _add_context_options(add)
    add("--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)")
    add(
        "--current-date",
        metavar="DATE",
        help="current date in the system message: YYYY-MM-DD or 'today' (default: no date)",
    )


def add_batch_option(add: Callable[..., argparse.Action]) -> None:
    """Add the option for the batch size, which the terminal chat does not have."""
    add(
        "--max-batch",
        type=_positive,
        default=ServeSettings().max_batch,
        metavar="N",
        help="most requests in one batch (default: %(default)s)",
    )


def add_server_options(add: Callable[..., argparse.Action]) -> None:
    """Add the options of a server."""
    defaults, app = ServeSettings(), AppSettings()
    add(
        "--model-name",
        action="append",
        metavar="ID",
        help=f"model id of the API; can be repeated (default: {app.model_names[0]})",
    )
    add("--host", default=defaults.host, help="address to listen on (default: %(default)s)")
    add(
        "--port",
        type=_port,
        default=defaults.port,
        help="port; 0 selects a free one (default: %(default)s)",
    )
    add(
        "--api-key-env",
        metavar="NAME",
        help="environment variable with the API key of clients",
    )
    add(
        "--max-body",
        type=_positive,
        default=app.max_body_bytes,
        metavar="BYTES",
        help="limit for request bodies (default: %(default)s)",
    )
    add(
        "--max-queue",
        type=_positive,
        default=defaults.max_queue,
        metavar="N",
        help="most waiting requests; more get status 429 (default: %(default)s)",
    )
    add(
        "--fault",
        action="append",
        metavar="NAME[,NAME][:RATE]",
        help="known defects to reproduce ('python -m reference_engine faults' lists them), "
        "in all requests or in this share of them; can be repeated",
    )
    add(
        "--faults-by-request",
        action="store_true",
        help="let requests name their faults in the header X-Fault",
    )


def serve_settings(arguments: argparse.Namespace) -> ServeSettings:
    """The settings of `serve`.

    Raises:
        ValueError: Options contradict each other; the message gives the remedy.
    """
    settings = engine_settings(arguments)
    app = replace(
        settings.app,
        model_names=tuple(arguments.model_name or AppSettings().model_names),
        api_key=key_of("--api-key-env", arguments.api_key_env),
        max_body_bytes=arguments.max_body,
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


def engine_settings(arguments: argparse.Namespace) -> ServeSettings:
    """The settings of an engine.

    Raises:
        ValueError: The date is invalid.
    """
    return ServeSettings(
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        dtype=arguments.dtype,
        kernels=arguments.kernels,
        packed=arguments.packed,
        threads=arguments.threads,
        max_batch=arguments.max_batch,
        prefill_chunk=arguments.prefill_chunk,
        memory=Memory(arguments.kv_memory, arguments.gpu_memory_share),
        max_context=arguments.max_context,
        app=AppSettings(dated=_date(arguments.current_date)),
    )


def _add_model_options(add: Callable[..., argparse.Action]) -> None:
    defaults = ServeSettings()
    add(
        "--checkpoint",
        type=Path,
        default=defaults.checkpoint,
        metavar="DIR",
        help="checkpoint in OpenAI's or Hugging Face's layout (default: the bundled small one)",
    )
    add(
        "--device",
        default=defaults.device,
        choices=["cpu", "cuda"],
        help="device (default: %(default)s)",
    )
    add(
        "--dtype",
        default=defaults.dtype,
        choices=["float32", "bfloat16"],
        help="number format (default: the fastest of the device)",
    )
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


def _add_context_options(add: Callable[..., argparse.Action]) -> None:
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
    add(
        "--gpu-memory-share",
        type=float,
        default=Memory().gpu_share,
        metavar="SHARE",
        help="share of the GPU memory left by the weights that the KV cache uses "
        "(default: %(default)s)",
    )


def _date(wanted: str | None) -> str | None:
    if wanted in {None, TODAY}:
        return wanted
    try:
        return datetime.date.fromisoformat(wanted).isoformat()
    except ValueError:
        message = f"--current-date must be YYYY-MM-DD or 'today', not '{wanted}'."
        raise ValueError(message) from None


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
