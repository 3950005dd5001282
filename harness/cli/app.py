"""The commands put together, and how their errors become a sentence and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from harness.cli import (
    audit,
    bundle,
    checks,
    ci,
    compare,
    completion,
    doctor,
    engine,
    eval_commands,
    evaluate,
    golden,
    grader,
    help_text,
    history,
    init,
    providers,
    runs,
    selftest,
    verify,
)
from harness.cli.screen import stderr
from harness.errors import HarnessError
from harness.text.plain import plain
from harness.verdict.gate import EXIT_BROKEN_PIPE, EXIT_CRASH, EXIT_INTERRUPTED, EXIT_USAGE

app = App(
    name="gpt-oss-verify",
    help=(
        "Find out whether an inference provider really serves gpt-oss.\n\n"
        "Drives the provider through a tool-call smoke test on both APIs, streaming and not, "
        "records every byte, and ends with a verdict.\n\n"
        "Try it: gpt-oss-verify --provider reference"
    ),
    help_epilogue=(
        "Exit codes: 0 passed · 1 failed · 2 usage or configuration · "
        "3 provider unreachable or unauthorised · 4 inconclusive · 70 an error of the tool itself"
    ),
    help_format="plaintext",
    default_parameter=Parameter(show_default=False, negative=()),
    version=lambda: version("gpt-oss-verify"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
app.default(verify.verify)
app.command(evaluate.evaluate, name="eval")
app.command(eval_commands.grade)
app.command(eval_commands.merge)
app.command(eval_commands.baseline_app)
app.command(runs.recheck)
app.command(runs.report)
app.command(audit.audit)
app.command(bundle.bundle)
app.command(compare.compare)
app.command(history.history)
app.command(checks.checks)
app.command(ci.ci_summary, name="ci-summary", show=False)
app.command(selftest.selftest)
app.command(providers.providers)
app.command(doctor.doctor)
app.command(init.init)
app.command(completion.completion_of(app))
app.command(grader.app)
app.command(golden.app)
app.command(engine.serve, help_flags=[], version_flags=[])
app.command(engine.export_small, name="export-small")
help_text.reflow(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    try:
        code = app(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        return _complain(f"{_sentence(error)} See gpt-oss-verify --help.", EXIT_USAGE)
    except HarnessError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("stopped", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to be said, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception:  # noqa: BLE001 (a crash must not read as a verdict, which exit code 1 is)
        traceback.print_exc()
        return _complain("this is an error of the tool itself; please report it", EXIT_CRASH)
    return code if isinstance(code, int) else 0


def _sentence(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} is not a command."
    text = " ".join(str(error).split()).replace('"', "'")
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _complain(text: str, code: int) -> int:
    stderr().print(f"gpt-oss-verify: {plain(text)}", soft_wrap=True)
    return code
