"""Descriptions of commands as running text, broken by the terminal and not as in the source."""

from __future__ import annotations

import inspect

from cyclopts import App


def reflow(app: App) -> None:
    """Give all commands of an app, however deep, their descriptions as running text."""
    for command in app.resolved_commands().values():
        command.help = running(command.help)
        reflow(command)


def running(docstring: str) -> str:
    """The description in a docstring, a line for each paragraph, without its sections.

    Args:
        docstring: In Google's style, such as this one.
    """
    description = inspect.cleandoc(docstring).partition("\n\nArgs:")[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in description.split("\n\n"))
