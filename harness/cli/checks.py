"""The command that lists checks and probes."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter


def checks(
    *,
    family: str | None = None,
    as_markdown: Annotated[bool, Parameter(name="--markdown")] = False,
) -> int:
    """List all checks and probes: what they require, why, and the source of the requirement.

    Args:
        family: List only the checks and probes of this family.
        as_markdown: Print Markdown, as in docs/checks.md.
    """
    from rich.text import Text

    from harness.cli.screen import print_raw, stdout
    from harness.verification import catalogue

    listed = catalogue.entries(family)
    if as_markdown:
        print_raw(catalogue.markdown(listed))
        return 0
    styles = {"error": "red", "warning": "yellow", "info": "cyan"}
    for title, rules in catalogue.by_family(listed).items():
        stdout().print(Text(title, style="bold"))
        for rule in rules:
            about = rule.about
            suite = "" if about.kind == "check" else f" · probe, suite {rule.suite}"
            head = Text.assemble(
                "  ", (about.id, styles[about.severity]), f" · {about.severity} · {rule.scope}"
            )
            stdout().print(head.append(suite), soft_wrap=True)
            for line in (about.summary, about.why, about.source):
                stdout().print(Text(f"      {line}", style="dim"), soft_wrap=True)
        stdout().print()
    return 0
