"""The reference engine without the harness: `python -m reference_engine serve`."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from reference_engine import checkpoint_commands as commands
from reference_engine.backends.options import add_backend_options, backend_settings, key_of
from reference_engine.chat_command import add_chat_options, run_chat
from reference_engine.kernels import KernelChoice
from reference_engine.memory import Memory, parse_bytes
from reference_engine.server.settings import AppSettings, ServeSettings


def main(argv: Sequence[str] | None = None, *, program: str = "python -m reference_engine") -> int:
    """Run the command line: 0 after a clean stop, 2 if it cannot start, 130 if interrupted.

    Args:
        argv: The arguments; those of the process by default.
        program: What the user typed before them, for the help.
    """
    arguments = _parser(program).parse_args(argv)
    # Threads that spin while they wait would take the cores from whoever drives this server.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        if arguments.command == "faults":
            return _list_faults(as_json=arguments.json)
        if arguments.command == "score":
            return _score(arguments)
        if arguments.command == "chat":
            return _chat(arguments)
        if arguments.command in commands.NAMES:
            return _run_on_checkpoints(arguments)
        return _serve(arguments)
    except ModuleNotFoundError as error:
        return _complain(f"{error.name} is not installed: pip install 'gpt-oss-verify[reference]'")


def _serve(arguments: argparse.Namespace) -> int:
    try:
        settings = _settings(arguments)
    except ValueError as error:
        return _complain(str(error))
    # Loading torch takes seconds, which neither --help nor a wrong option should have to wait for.
    from reference_engine.server.serve import ServeError, serve

    try:
        serve(settings)
    except ServeError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from reference_engine.scoring import ScoringError, answer_lines

    try:
        for line in answer_lines(sys.stdin.buffer, _engine_settings(arguments)):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    except (ScoringError, ValueError) as error:
        return _complain(str(error))
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    try:
        backend = backend_settings(arguments)
        run_chat(arguments, replace(_engine_settings(arguments), backend=backend))
    except ValueError as error:
        return _complain(str(error))
    return 0


def _run_on_checkpoints(arguments: argparse.Namespace) -> int:
    from reference_engine.harmony.vocabulary import VocabularyError

    try:
        commands.run(arguments)
    except (ValueError, VocabularyError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _list_faults(*, as_json: bool) -> int:
    from reference_engine.faults.catalogue import listing, listing_json

    sys.stdout.write(f"{listing_json() if as_json else listing()}\n")
    return 0


def _complain(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 2


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    faults = subparsers.add_parser("faults", help="list the faults that serve --fault takes")
    faults.add_argument("--json", action="store_true", help="as a JSON list")
    score = subparsers.add_parser(
        "score", help="continue requests, or follow given continuations, with log probabilities"
    )
    _add_engine_options(score.add_argument)
    serve = subparsers.add_parser("serve", help="serve a checkpoint over HTTP")
    _add_engine_options(serve.add_argument)
    add_backend_options(serve.add_argument)
    _add_server_options(serve.add_argument)
    chat = subparsers.add_parser("chat", help="talk with a model in the terminal")
    _add_engine_options(chat.add_argument)
    add_backend_options(chat.add_argument)
    add_chat_options(chat.add_argument)
    commands.add_commands(subparsers)
    return parser


def _add_engine_options(add: Callable[..., argparse.Action]) -> None:
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
        "--max-batch",
        type=_positive,
        default=defaults.max_batch,
        metavar="N",
        help="requests generated together (default: %(default)s)",
    )
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
        type=_bytes,
        metavar="SIZE",
        help="memory for keys and values, such as 512MiB or 40GiB (default: 512MiB on a CPU, see "
        "--gpu-memory-share on a GPU); requests wait where it is full",
    )
    add(
        "--gpu-memory-share",
        type=float,
        default=defaults.memory.gpu_share,
        metavar="SHARE",
        help="share of the GPU memory free after the weights that keys and values get "
        "(default: %(default)s)",
    )
    add("--threads", type=_positive, metavar="N", help="CPU threads of the computation")
    add(
        "--current-date",
        metavar="DATE",
        help="date for the system message: YYYY-MM-DD or 'today' (default: no date line)",
    )


def _add_server_options(add: Callable[..., argparse.Action]) -> None:
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


def _settings(arguments: argparse.Namespace) -> ServeSettings:
    settings = _engine_settings(arguments)
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


def _engine_settings(arguments: argparse.Namespace) -> ServeSettings:
    return ServeSettings(
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        dtype=arguments.dtype,
        kernels=arguments.kernels,
        threads=arguments.threads,
        max_batch=arguments.max_batch,
        prefill_chunk=arguments.prefill_chunk,
        memory=Memory(arguments.kv_memory, arguments.gpu_memory_share),
        max_context=arguments.max_context,
        app=AppSettings(current_date=_date(arguments.current_date)),
    )


def _date(wanted: str | None) -> str | None:
    if wanted is None:
        return None
    if wanted == "today":
        return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
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


def _bytes(text: str) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
