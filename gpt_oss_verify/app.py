"""The commands, and the conversion of their errors to a message and an exit code.

Commands are listed as `module:function` and imported on first use, so that a run starts fast.
"""

import gc
import inspect
import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

from cyclopts import (
    App,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnusedCliTokensError,
)

from gpt_oss_verify.screen import print_raw, say
from harness.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_CRASH,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    ConfigurationError,
    HarnessError,
)
from harness.text import plain

app = App(
    name="gpt-oss-verify",
    help=(
        "Find out whether an inference provider serves gpt-oss correctly.\n\n"
        "Runs tool calls, probes and evals over both APIs, streaming and non-streaming, records "
        "every byte, and ends with a verdict.\n\n"
        "Try it: gpt-oss-verify --provider reference"
    ),
    help_epilogue=(
        "Exit codes: 0 PASS, or SCORED (evals without a baseline) · 1 FAIL · "
        "2 usage or configuration · 3 provider unreachable or unauthorized · 4 INCONCLUSIVE · "
        "70 internal error of the tool · 130 stopped by Ctrl-C"
    ),
    help_format="plaintext",
    default_parameter=Parameter(show_default=False, negative=()),
    version=lambda: version("gpt-oss-verify"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
_COMMANDS = {
    "Commands for the first week": {
        "init": "init:init",
        "providers": "init:providers",
        "checks": "checks:checks",
        "reproduce": "reproduce:reproduce",
        "compare": "compare:compare",
        "recheck": "recheck:recheck",
    },
    "Sample or record": {
        "eval": "verify:evaluate",
        "tap": "traffic:tap",
        "import": "traffic:import_traffic",
    },
    "Work with finished runs": {
        "history": "compare:history",
        "export": "export:export",
        "merge": "recheck:merge",
        "site": "publishing:site",
    },
    "Graders and golden files": {
        "grade": "verify:grade",
        "golden": "golden:app",
    },
    "Reference engine": {
        "selftest": "selftest:selftest",
    },
}
"""The modules and functions of the commands, by the group that --help shows them in."""
_FIRST = next(iter(_COMMANDS))
_GROUPS = {
    name: Group(name, sort_key=-1 if name == _FIRST else 100 + at)
    for at, name in enumerate(_COMMANDS)
}
"""Further commands come after all options."""
_NO_VERDICT = "0 done · 2 usage or configuration"
_UNREACHABLE = "3 provider unreachable or unauthorized"
_OWN_EXIT_CODES = {
    **dict.fromkeys(("checks", "history", "export", "site"), _NO_VERDICT),
    **dict.fromkeys(("init", "providers"), f"{_NO_VERDICT} · {_UNREACHABLE}"),
    "compare": "0 nothing got worse · 1 a result got worse beyond chance · "
    f"2 usage or configuration · {_UNREACHABLE}",
    "reproduce": "0 not reproduced, or nothing was sent · 1 reproduced · "
    f"2 usage or configuration · {_UNREACHABLE}",
}
for _title, _commands in _COMMANDS.items():
    for _name, _path in _commands.items():
        _codes = _OWN_EXIT_CODES.get(_name)
        _epilogue = {"help_epilogue": f"Exit codes: {_codes}"} if _codes else {}
        app.command(f"gpt_oss_verify.{_path}", name=_name, group=_GROUPS[_title], **_epilogue)


@app.command(group=_GROUPS["Reference engine"], help_flags=[], version_flags=[])
def serve(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Serve gpt-oss with the reference engine (`serve --help` lists its options).

    Args:
        arguments: Passed to the engine unchanged.
    """
    try:
        engine = import_module("reference_engine.__main__")
        code = engine.main(["serve", *arguments], program="gpt-oss-verify")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "reference_engine":
            raise
        raise ConfigurationError(
            "The reference engine is not installed: pip install 'gpt-oss-verify[reference]'."
        ) from None
    return code if isinstance(code, int) else 0


_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Few objects are in reference cycles, so fewer collections save 5 % of the time of a run."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command, and return its exit code."""
    try:
        _prepare(arguments)
        code = app(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        command = " ".join(("gpt-oss-verify", *(error.command_chain or ())))
        return _print_error(f"{_sentence(error)} See {command} --help.", EXIT_USAGE)
    except HarnessError as error:
        if "--json" in arguments:
            run = None if error.run is None else str(error.run)
            failed = {"error": str(error), "exit_code": error.exit_code, "run": run}
            print_raw(json.dumps(failed, ensure_ascii=False, indent=2))
        return _print_error(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _print_error("stopped", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Nobody reads the output any more, so nothing may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception:  # noqa: BLE001 (a crash must not exit with 1, which is a verdict)
        traceback.print_exc()
        return _print_error("this is a bug in the tool; please report it", EXIT_CRASH)
    return code if isinstance(code, int) else 0


def unwrapped_description(docstring: str) -> str:
    """Return the description of a Google-style docstring, one line per paragraph."""
    description = inspect.cleandoc(docstring).partition("\n\nArgs:")[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in description.split("\n\n"))


def _prepare(arguments: Sequence[str]) -> None:
    """Load what the arguments need: the main job, or the help texts of all commands."""
    words = (each for each in arguments if each == "--version" or not each.startswith("-"))
    if not arguments or "--help" in arguments or "-h" in arguments:
        prepare_help()
    elif next(words, None) not in list(app):
        _load_main_job()


def prepare_help() -> None:
    """Import all commands, and unwrap their descriptions."""
    _load_main_job()
    _reflow(app)


def _load_main_job() -> None:
    if app.default_command is None:
        from gpt_oss_verify.verify import verify

        app.default(verify)


def _reflow(group: App) -> None:
    """Unwrap the descriptions of all commands."""
    for command in group.resolved_commands().values():
        command.help = unwrapped_description(command.help)
        _reflow(command)


def _sentence(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        problem = "an unexpected argument" if error.command_chain else "not a command"
        return f"{error.unused_tokens[0]!r} is {problem}."
    if isinstance(error, MissingArgumentError) and error.argument:
        missing = f"{error.argument.name} is missing."
        return f"{error.keyword} needs a value." if error.keyword else missing
    text = " ".join(str(error).split()).replace('"', "'")
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _print_error(text: str, code: int) -> int:
    say(f"gpt-oss-verify: {plain(text)}")
    return code
