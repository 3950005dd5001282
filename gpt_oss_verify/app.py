"""The commands, and the conversion of their errors to a message and an exit code.

Commands are listed as `module:function` and imported on first use, so that a run starts fast.
"""

import ast
import difflib
import errno
import gc
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module, resources
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import docstring_parser
from cyclopts import (
    App,
    Argument,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.help import ColumnSpec, DefaultFormatter, HelpEntry, HelpPanel, NameRenderer
from pydantic import ValidationError
from rich.console import Console, ConsoleOptions

from gpt_oss_verify.screen import print_raw, say, stdout
from harmony.extras import install_command
from harness.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_CRASH,
    EXIT_DISK_FULL,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    ConfigurationError,
    HarnessError,
)
from harness.records.settings import COMMON
from harness.text import TERMS, plain

_COMMANDS = {
    "Providers, rules and traffic": {
        "providers": "init:providers",
        "init": "init:init",
        "checks": "checks:checks",
        "eval": "verify:evaluate",
        "import": "traffic:import_traffic",
    },
    "Finished runs": {
        "view": "view:view",
        "reproduce": "reproduce:reproduce",
        "retest": "retest:retest",
        "recheck": "recheck:recheck",
        "rescore": "rescore:rescore",
        "compare": "compare:compare",
        "history": "compare:history",
        "export": "export:export",
        "grade": "verify:grade",
        "site": "publishing:site",
    },
    "Reference engine": {
        "golden": "golden:app",
        "selftest": "selftest:selftest",
    },
}
"""The modules and functions of the commands, by the group that --help shows them in."""
_GROUPS = {name: Group(name, sort_key=100 + at) for at, name in enumerate(_COMMANDS)}
HELP_ALL = "--help-all"
_HELP_FLAGS = ("--help", "-h", HELP_ALL)
_NO_VERDICT = "0 done · 2 usage or configuration"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNREACHABLE = "3 provider unreachable or unauthorized"
_OWN_EXIT_CODES = {
    **dict.fromkeys(("checks", "export", "site", "view"), _NO_VERDICT),
    "history": f"{_NO_VERDICT} · with --fail-on-change: 1 the latest run is worse beyond chance · "
    "4 no finished run, or none since --since",
    **dict.fromkeys(("init", "providers"), f"{_NO_VERDICT} · {_UNREACHABLE}"),
    "compare": "0 nothing got worse · 1 a result got worse beyond chance · "
    f"2 usage or configuration · {_UNREACHABLE} · 4 nothing of a run could be compared",
    "reproduce": "0 only printed (--times 0) · 1 reproduced · "
    f"2 usage or configuration · {_UNREACHABLE} · 4 not reproduced: gone, or rare",
    "retest": "0 all findings are fixed · 1 a finding is still there, or a rule fails only now · "
    f"2 usage or configuration · {_UNREACHABLE} · 4 a finding is not verifiable",
}


def serve(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Serve gpt-oss with the reference engine.

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
            f"The reference engine is not installed: {install_command('reference')}"
        ) from None
    return code if isinstance(code, int) else 0


_ADDRESS = re.compile(r"https?://\S+$|[\w.-]+:\d+(?:/\S*)?$")
_MAIN_JOB = frozenset({"verify", "run", "test", "check", "start"})
_OF_OTHERS = frozenset({"--url", "--endpoint", "--api-base", "--server"})
"""What other tools call --base-url."""


class _Short(DefaultFormatter):
    """Formats the overview on one screen: the common options and the commands, a line each."""

    def __init__(self) -> None:
        name = ColumnSpec(renderer=NameRenderer(), style="cyclopts.name")
        super().__init__(column_specs=(name, ColumnSpec(renderer=_first_sentence)))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel, unless it has options that only --help-all shows."""
        if panel.title in {COMMON.name, *_COMMANDS}:
            super().__call__(console, options, panel)


def _first_sentence(entry: HelpEntry) -> str:
    """Return the first sentence of the description of an option or a command."""
    text = " ".join(entry.description.primary_renderable.plain.split())
    return f"{text.partition('. ')[0].rstrip('.')}."


def _command_line(overview: Literal["short", "whole"] | None = None) -> App:
    """Return the command line; the one for an overview lists the commands but cannot run them."""
    line = App(
        name="gpt-oss-verify",
        help=(
            "Find out whether an inference provider serves gpt-oss correctly: run tool calls, "
            "probes and evals over both APIs, record every byte, and end with a verdict.\n\n"
            "Start: gpt-oss-verify init mine --base-url URL, then gpt-oss-verify --provider mine"
        ),
        help_epilogue=(
            f"{TERMS}\n\n"
            * (overview == "whole")
            + "--help-all lists all options, and COMMAND --help those of a command.\n\n"
            "Exit codes: 0 PASS, or SCORED (sample or own questions without a baseline) · 1 FAIL · "
            "2 usage or configuration · 3 provider unreachable or unauthorized · 4 INCONCLUSIVE · "
            "70 a bug in the tool · 74 a file cannot be written · 130 stopped by Ctrl-C"
        ),
        help_format="plaintext",
        usage="Usage: gpt-oss-verify COMMAND [OPTIONS]" if overview else None,
        default_parameter=Parameter(show_default=False, negative=()),
        help_flags=_HELP_FLAGS,
        version=lambda: version("gpt-oss-verify"),
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,
        help_formatter=_Short() if overview == "short" else None,
        console=stdout(),
    )
    for title, commands in _COMMANDS.items():
        for name, path in commands.items():
            if overview:
                line.command(App(name=name, help=_description(path), group=_GROUPS[title]))
                continue
            codes = _OWN_EXIT_CODES.get(name)
            epilogue = {"help_epilogue": f"Exit codes: {codes}"} if codes else {}
            line.command(f"gpt_oss_verify.{path}", name=name, group=_GROUPS[title], **epilogue)
    line.command(serve, group=_GROUPS["Reference engine"], help_flags=[], version_flags=[])
    return line


def _description(path: str) -> str:
    """Return the description of a command, or of a module with several, from its source."""
    module, _, name = path.partition(":")
    source = ast.parse(
        resources.files("gpt_oss_verify").joinpath(f"{module}.py").read_text("utf-8")
    )
    functions = {node.name: node for node in source.body if isinstance(node, ast.FunctionDef)}
    return unwrapped_description(ast.get_docstring(functions.get(name, source)) or "")


app = _command_line()
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Few objects are in reference cycles, so fewer collections save 5% of the time of a run."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    if sys.flags.optimize > 1:  # the texts of the rules are their docstrings
        sys.exit(_print_error("python -OO removes the texts of the rules; use python or -O.", 2))
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command, and return its exit code."""
    try:
        return _run(arguments)
    except BrokenPipeError:
        # Nobody reads the output any more, so nothing may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def _run(arguments: Sequence[str]) -> int:
    """Run one command, and report what is wrong. Raises BrokenPipeError."""
    try:
        code = prepared(arguments)(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        command = " ".join(("gpt-oss-verify", *(error.command_chain or ())))
        return _print_error(f"{_sentence(error)} See {command} --help.", EXIT_USAGE)
    except HarnessError as error:
        full = getattr(error.__context__, "errno", None) in _FULL
        code = EXIT_DISK_FULL if full else error.exit_code
        if "--json" in arguments:
            failed = {
                **error.verdict,
                "error": str(error),
                "exit_code": code,
                "run": error.run and str(error.run),
            }
            print_raw(json.dumps(failed, ensure_ascii=False, indent=2))
        return _print_error(str(error), code)
    except PackageNotFoundError as error:
        return _print_error(
            f"The package {error.name} is not installed: run {install_command('reference')} in the "
            "folder of the repository.",
            EXIT_USAGE,
        )
    except KeyboardInterrupt:
        return _print_error("stopped", EXIT_INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001 (a crash must not exit with 1, which is a verdict)
        traceback.print_exc()
        return _print_error("this is a bug in the tool; please report it", EXIT_CRASH)
    return code if isinstance(code, int) else 0


def unwrapped_description(docstring: str) -> str:
    """Return the description of a Google-style docstring, one line per paragraph."""
    description = inspect.cleandoc(docstring).partition("\n\nArgs:")[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in description.split("\n\n"))


def prepared(arguments: Sequence[str]) -> App:
    """Return the command line that the arguments need, with what it has to import."""
    words = (
        argument
        for argument in arguments
        if argument == "--version" or not argument.startswith("-")
    )
    command, asks = next(words, None), any(flag in arguments for flag in _HELP_FLAGS)
    if command in list(app):
        if asks:
            _reflow(app[command])
        return app
    from gpt_oss_verify.verify import verify

    if asks:
        # cyclopts reads the source of a class, and of its bases, again for each class of options.
        docstring_parser.parse_from_object = cache(docstring_parser.parse_from_object)
    overview: Literal["short", "whole"] = "whole" if HELP_ALL in arguments else "short"
    line = _command_line(overview) if asks or not arguments else app
    if line.default_command is None:
        line.default(verify)
    return line


def _reflow(command: App) -> None:
    """Unwrap the descriptions of a command and its subcommands."""
    command.help = unwrapped_description(command.help)
    for subcommand in command.resolved_commands().values():
        _reflow(subcommand)


def _sentence(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        unknown = error.unused_tokens[0]
        if error.command_chain:
            return f"{unknown!r} is an unexpected argument."
        return f"{unknown!r} is not a command. {_instead_of(unknown)}".rstrip()
    if isinstance(error, UnknownOptionError) and error.token.keyword in _OF_OTHERS:
        return f"Unknown option: {error.token.keyword}. Use --base-url URL."
    if isinstance(error, MissingArgumentError) and error.argument:
        needs = error.keyword and f"{error.keyword} needs a value."
        return needs or f"{error.argument.name} is missing."
    if isinstance(invalid := error.__cause__, ValidationError) and error.argument:
        return " ".join(_invalid_options(invalid, error.argument))
    text = " ".join(str(error).split()).replace('"', "'")
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _instead_of(word: str) -> str:
    """Return what to type instead of a word that is no command; '' if that is unknown."""
    if _ADDRESS.match(word):
        scheme = "" if "://" in word else "http://"
        return f"To verify this address: gpt-oss-verify --base-url {scheme}{word} --model NAME."
    known = [*_MAIN_JOB, *(name for name in app if name[0] != "-")]
    near = next(iter(difflib.get_close_matches(word, known, n=1)), "")
    if near in _MAIN_JOB:
        return "Verifying needs no command: gpt-oss-verify --provider NAME."
    return f"Did you mean {near}?" if near else ""


def _invalid_options(error: ValidationError, options: Argument) -> Iterator[str]:
    """Yield what is wrong with each option of a class of settings, in a sentence."""
    flags: dict[object, str] = {option.keys[-1]: option.name for option in options.children}
    for problem in error.errors(include_url=False):
        wrong = re.sub("^(Value error, )?(Input should )?(must )?", "", str(problem["msg"]))
        yield f"Invalid value {problem['input']!r} for {flags[problem['loc'][0]]}. Must {wrong}."


def _print_error(text: str, code: int) -> int:
    say(f"gpt-oss-verify: {plain(text)}")
    return code
