"""The reference engine without the harness: `python -m reference_engine serve`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reference_engine.errors import SetupError
from reference_engine.options import (
    add_backend_options,
    add_batch_option,
    add_chat_options,
    add_engine_options,
    add_fault_option,
    add_server_options,
    backend_settings,
    engine_settings,
    serve_settings,
    size_option,
)
from reference_engine.server.settings import SMALL_CHECKPOINT, ServeSettings

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Subparsers = _SubParsersAction[argparse.ArgumentParser]

_LAYOUTS = ["original", "hf"]
_DEST = "folder to create; it is called DIR.partial until it is complete"


def main(argv: Sequence[str] | None = None, *, program: str = "python -m reference_engine") -> int:
    """Run the command line.

    Args:
        argv: The arguments; the process's own by default.
        program: The program name to show in the help.

    Returns:
        The exit code: 0 on success, 2 on a usage or setup error, 130 on an interrupt.
    """
    arguments = _parser(program).parse_args(argv)
    # Spinning worker threads would take CPU time from clients on the same machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        _COMMANDS[arguments.command](arguments)
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed: pip install 'gpt-oss-verify[reference]'")
    except SetupError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _fail(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 2


def _serve(arguments: argparse.Namespace) -> None:
    settings = serve_settings(arguments)
    # Importing torch takes seconds; --help and usage errors must not wait for it.
    from reference_engine.server.serve import serve

    serve(settings)


def _score(arguments: argparse.Namespace) -> None:
    from reference_engine.scoring import answer_lines

    settings = replace(engine_settings(arguments), faults=tuple(arguments.fault or ()))
    try:
        for line in answer_lines(sys.stdin.buffer, settings):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    except ValueError as error:
        raise SetupError(error) from error


def _chat(arguments: argparse.Namespace) -> None:
    """Chat in the terminal until the user quits."""
    settings = replace(engine_settings(arguments), backend=backend_settings(arguments))
    if arguments.temperature < 0:
        raise SetupError(f"--temperature must be 0 or more, not {arguments.temperature:g}.")
    from reference_engine.chat import ChatSettings, chat
    from reference_engine.server.opening import open_engine

    engine = open_engine(settings)
    chat_settings = ChatSettings(
        effort=arguments.effort,
        raw=arguments.raw,
        temperature=arguments.temperature,
        seed=arguments.seed,
        current_date=settings.app.current_date,
    )
    engine.start()
    try:
        chat(engine, chat_settings, name=f"{_model_name(settings)}, by {settings.backend.name}")
    finally:
        engine.close()


def _model_name(settings: ServeSettings) -> str:
    if settings.backend.is_remote:
        return settings.backend.root
    if settings.checkpoint == SMALL_CHECKPOINT:
        return settings.app.model_names[0]
    return settings.checkpoint.resolve().name


def _list_faults(arguments: argparse.Namespace) -> None:
    from reference_engine.faults.catalogue import listing, listing_json

    sys.stdout.write(f"{listing_json() if arguments.json else listing()}\n")


def _write_checkpoint(arguments: argparse.Namespace) -> None:
    from harmony.vocabulary import VocabularyError

    try:
        sys.stdout.write(f"{_WRITERS[arguments.command](arguments)}\n")
    except (ValueError, VocabularyError) as error:
        raise SetupError(error) from error


def _convert(arguments: argparse.Namespace) -> Path:
    from reference_engine.checkpoint.convert import convert

    convert(arguments.source, arguments.dest, arguments.layout, shard_bytes=arguments.shard_size)
    return Path(arguments.dest)


def _download(arguments: argparse.Namespace) -> Path:
    from reference_engine.checkpoint.download import download

    return download(arguments.name, arguments.out, arguments.layout)


def _synthesize(arguments: argparse.Namespace) -> Path:
    from reference_engine.checkpoint.synthetic import synthesize
    from reference_engine.model.config import shape_named

    synthesize(
        shape_named(arguments.shape),
        arguments.dest,
        arguments.layout,
        seed=arguments.seed,
        shard_bytes=arguments.shard_size,
    )
    return Path(arguments.dest)


_WRITERS: dict[str, Callable[[argparse.Namespace], Path]] = {
    "convert": _convert,
    "download": _download,
    "synthesize": _synthesize,
}
_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "faults": _list_faults,
    "score": _score,
    "serve": _serve,
    "chat": _chat,
    **dict.fromkeys(_WRITERS, _write_checkpoint),
}


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    faults = subparsers.add_parser("faults", help="list the faults that serve --fault accepts")
    faults.add_argument("--json", action="store_true", help="print a JSON list")
    score = subparsers.add_parser(
        "score", help="print the logprobs of generated or given completions"
    )
    add_engine_options(score.add_argument)
    add_batch_option(score.add_argument)
    add_fault_option(score.add_argument)
    serve = subparsers.add_parser("serve", help="serve a checkpoint over HTTP")
    add_engine_options(serve.add_argument)
    add_batch_option(serve.add_argument)
    add_backend_options(serve.add_argument)
    add_server_options(serve.add_argument)
    chat = subparsers.add_parser("chat", help="chat with a model in the terminal")
    add_engine_options(chat.add_argument)
    add_backend_options(chat.add_argument)
    add_chat_options(chat.add_argument)
    chat.set_defaults(max_batch=1)
    _add_convert(subparsers)
    _add_synthesize(subparsers)
    _add_download(subparsers)
    return parser


def _add_convert(subparsers: Subparsers) -> None:
    convert = subparsers.add_parser(
        "convert", help="write a checkpoint in the other layout without changing a bit"
    )
    convert.add_argument("source", type=Path, metavar="FROM", help="checkpoint in either layout")
    convert.add_argument("dest", type=Path, metavar="DIR", help=_DEST)
    convert.add_argument("--layout", choices=_LAYOUTS, required=True, help="layout to write")
    _add_shard_size(convert)


def _add_synthesize(subparsers: Subparsers) -> None:
    synthesize = subparsers.add_parser(
        "synthesize", help="write a checkpoint of any size with random weights"
    )
    synthesize.add_argument("dest", type=Path, metavar="DIR", help=_DEST)
    synthesize.add_argument(
        "--shape",
        required=True,
        metavar="20b|120b|tiny|FILE",
        help="a published model, a tiny model, or the path of a config.json",
    )
    synthesize.add_argument(
        "--layout", choices=_LAYOUTS, default="hf", help="layout to write (default: hf)"
    )
    synthesize.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    _add_shard_size(synthesize)


def _add_download(subparsers: Subparsers) -> None:
    download = subparsers.add_parser(
        "download", help="download a checkpoint from the Hugging Face Hub and check its hashes"
    )
    download.add_argument(
        "name", metavar="NAME", help="gpt-oss-20b, gpt-oss-120b, or a repository as owner/name"
    )
    download.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="target folder; created if missing"
    )
    download.add_argument(
        "--layout", choices=_LAYOUTS, default="hf", help="layout to download (default: hf)"
    )


def _add_shard_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard-size",
        type=size_option,
        default="5GB",
        metavar="SIZE",
        help="maximum size of a weights file, such as 500MB or 5GB (default: %(default)s)",
    )


if __name__ == "__main__":
    sys.exit(main())
