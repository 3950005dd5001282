"""The options of the command line that set up an engine and a server, and what they come to."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from reference_engine.backends.options import backend_settings, key_of
from reference_engine.kernels import KernelChoice
from reference_engine.kv_cache.memory import Memory, parse_bytes
from reference_engine.server.settings import TODAY, AppSettings, ServeSettings


def add_engine_options(add: Callable[..., argparse.Action]) -> None:
    """Declare those of an engine, with an argument parser's `add_argument`."""
    _add_model_options(add)
    _add_context_options(add)
    add("--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)")
    add(
        "--current-date",
        metavar="DATE",
        help="date for the system message: YYYY-MM-DD or 'today' (default: no date line)",
    )


def add_batch_option(add: Callable[..., argparse.Action]) -> None:
    """Declare how many requests an engine works on; who asks one at a time has no use for it."""
    add(
        "--max-batch",
        type=_positive,
        default=ServeSettings().max_batch,
        metavar="N",
        help="requests generated together (default: %(default)s)",
    )


def add_server_options(add: Callable[..., argparse.Action]) -> None:
    """Declare those of a server, beside the engine's and the backend's."""
    defaults, app = ServeSettings(), AppSettings()
    add(
        "--model-name",
        action="append",
        metavar="ID",
        help=f"id to answer to, may be repeated (default: {app.model_names[0]})",
    )
    add("--host", default=defaults.host, help="address to listen at (default: %(default)s)")
    add("--port", type=_port, default=defaults.port, help="0 takes any (default: %(default)s)")
    add("--api-key-env", metavar="NAME", help="environment variable with the key to ask for")
    add(
        "--max-body",
        type=_positive,
        default=app.max_body_bytes,
        metavar="BYTES",
        help="largest request body (default: %(default)s)",
    )
    add(
        "--max-queue",
        type=_positive,
        default=defaults.max_queue,
        metavar="N",
        help="requests that may wait; more get a 429 (default: %(default)s)",
    )
    add(
        "--fault",
        action="append",
        metavar="NAME[,NAME][:RATE]",
        help="known defects to show ('python -m reference_engine faults' lists them), "
        "and in which share of the requests; may be repeated",
    )
    add(
        "--faults-by-request",
        action="store_true",
        help="show a request the faults that its header X-Fault names",
    )


def serve_settings(arguments: argparse.Namespace) -> ServeSettings:
    """What the options of `serve` come to.

    Raises:
        ValueError: They do not fit each other; the message says how to mend it.
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
    """What the options of an engine come to.

    Raises:
        ValueError: The date is none.
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
    """What is loaded, and what computes with it."""
    defaults = ServeSettings()
    add(
        "--checkpoint",
        type=Path,
        default=defaults.checkpoint,
        metavar="DIR",
        help="original or Hugging Face layout; the bundled small one by default",
    )
    add(
        "--device",
        default=defaults.device,
        choices=["cpu", "cuda"],
        help="where to compute (default: %(default)s)",
    )
    add(
        "--dtype",
        default=defaults.dtype,
        choices=["float32", "bfloat16"],
        help="number format of the computation (default: what the device is fastest with)",
    )
    add(
        "--kernels",
        default=defaults.kernels,
        choices=get_args(KernelChoice),
        help="what computes attention and experts: Triton needs a CUDA device, and is taken there "
        "by default",
    )
    add(
        "--packed",
        action="store_true",
        help="keep MXFP4 experts packed in memory, as is always done on a GPU: slower on a CPU, "
        "but 20b takes 14 GB (with --dtype bfloat16)",
    )


def _add_context_options(add: Callable[..., argparse.Action]) -> None:
    """How much is read and kept at once."""
    add(
        "--max-context",
        type=_positive,
        metavar="TOKENS",
        help="longest prompt and answer together (default: 8192, or the model's limit if lower)",
    )
    add(
        "--prefill-chunk",
        type=_positive,
        metavar="TOKENS",
        help="most tokens of prompts read between two tokens of the answers under way "
        "(default: 512 on a CPU, 4096 on a GPU)",
    )
    add(
        "--kv-memory",
        type=size_option,
        metavar="SIZE",
        help="memory for keys and values, such as 512MiB or 40GiB (default: 512MiB on a CPU, see "
        "--gpu-memory-share on a GPU); requests wait where it is full",
    )
    add(
        "--gpu-memory-share",
        type=float,
        default=Memory().gpu_share,
        metavar="SHARE",
        help="share of the GPU memory free after the weights that keys and values get "
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
        raise argparse.ArgumentTypeError(f"must be a whole number, not '{text}'") from None


def size_option(text: str) -> int:
    """The bytes that an option says, for an argument parser's `type`."""
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
