"""The reference engine without the harness: `python -m reference_engine serve`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from reference_engine import checkpoint_commands as commands
from reference_engine.backends.options import add_backend_options, backend_settings
from reference_engine.chat_command import add_chat_options, run_chat
from reference_engine.options import (
    add_batch_option,
    add_engine_options,
    add_server_options,
    engine_settings,
    serve_settings,
)


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
        settings = serve_settings(arguments)
    except ValueError as error:
        return _complain(str(error))
    # Loading torch takes seconds, which neither --help nor a wrong option should have to wait for.
    from reference_engine.server.opening import ServeError
    from reference_engine.server.serve import serve

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
        for line in answer_lines(sys.stdin.buffer, engine_settings(arguments)):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    except (ScoringError, ValueError) as error:
        return _complain(str(error))
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    try:
        backend = backend_settings(arguments)
        run_chat(arguments, replace(engine_settings(arguments), backend=backend))
    except ValueError as error:
        return _complain(str(error))
    return 0


def _run_on_checkpoints(arguments: argparse.Namespace) -> int:
    from harmony.vocabulary import VocabularyError

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
    add_engine_options(score.add_argument)
    add_batch_option(score.add_argument)
    serve = subparsers.add_parser("serve", help="serve a checkpoint over HTTP")
    add_engine_options(serve.add_argument)
    add_batch_option(serve.add_argument)
    add_backend_options(serve.add_argument)
    add_server_options(serve.add_argument)
    chat = subparsers.add_parser("chat", help="talk with a model in the terminal")
    add_engine_options(chat.add_argument)
    add_backend_options(chat.add_argument)
    add_chat_options(chat.add_argument)
    chat.set_defaults(max_batch=1)
    commands.add_commands(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
