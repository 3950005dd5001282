"""The help texts of all commands have the same style."""

import re
from io import StringIO

import pytest
from cyclopts import App
from rich.console import Console

from gpt_oss_verify.app import app, prepared, run, unwrapped_description


def every_command(parent: App, path: tuple[str, ...] = ()):
    yield path
    for name, command in parent.resolved_commands().items():
        if not name.startswith("-") and name != "serve":  # the reference engine's own parser
            yield from every_command(command, (*path, name))


@pytest.mark.parametrize("command", list(every_command(app)), ids=" ".join)
def test_help_texts_have_one_style(command):
    page = StringIO()
    prepared([*command, "--help"]).help_print(command, console=Console(file=page, width=300))
    text = page.getvalue()
    summary = text.split("\n\n")[1].strip()
    assert re.fullmatch(r"[A-Z][^\n]*\.", summary), summary
    assert "[default:" not in text
    described = re.findall(r"│ (?:\* +)?[-A-Z][^│]*?  (\S[^│]*?) *│", text)
    assert described or "╭─ Commands" in text
    assert [one for one in described if not re.search(r"[.)](?: \[[^]]*])*$", one)] == []


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("", ""),
        ("One sentence.", "One sentence."),
        ("One.\n\n    Two runs\n    on.\n\n    Three.", "One.\n\nTwo runs on.\n\nThree."),
        ("One.\n\n    Args:\n        run: A run.\n    ", "One."),
    ],
)
def test_the_description_in_a_docstring_is_unwrapped(docstring, text):
    assert unwrapped_description(docstring) == text


def test_help_fits_one_screen_and_help_all_has_every_option(capsys):
    assert run(["--help"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 54
    assert all(f"│ {command}  " in short for command in app if not command.startswith("-"))
    assert "--help-all" in short
    assert "--max-cost" not in short
    assert run(["--help-all"]) == 0
    whole = capsys.readouterr().out
    assert all(option in whole for option in ("--provider", "--max-cost", "--only", "--debug"))
