"""The command `doctor`: what a run would need, looked at before one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harness.cli.options import HOW, ProviderOptions

if TYPE_CHECKING:
    from harness.doctor.lines import Line
    from harness.providers.entries import Provider

MOST_SECONDS = 60.0
_HOW = Parameter(group=HOW)
_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
_TOPIC_WIDTH = 16
_PROVIDER = ProviderOptions()


def doctor(
    *,
    provider: ProviderOptions = _PROVIDER,
    all_providers: Annotated[bool, _HOW, Parameter(name="--all")] = False,
    concurrency: Annotated[int | None, _HOW] = None,
    out: Annotated[Path | None, _HOW] = None,
    as_json: Annotated[bool, _HOW, Parameter(name="--json")] = False,
) -> int:
    """Look at everything a run needs: installation, machine, providers.yaml, keys, the provider.

    Providers that are not named are not asked. Of those that the tool starts itself, the command
    is looked for and not started. Exit codes: 0 without a problem, 2 with one, 3 if a provider
    that was to be asked cannot be used.

    Args:
        provider: Which provider to reach, if any.
        all_providers: Reach every provider of the file whose key variables are set.
        concurrency: Attempts in flight that are planned. Default: the most of any entry.
        out: Where run folders are to be made. Default: runs.
        as_json: Print the lines as JSON on stdout.
    """
    from harness.doctor.lines import exit_code

    lines = []
    for line in _lines(provider, out or Path("runs"), concurrency, every=all_providers):
        lines.append(line)
        if not as_json:
            _print(line)
    code = exit_code(lines)
    if as_json:
        _print_json(lines, code)
    return code


def _lines(
    chosen: ProviderOptions, runs: Path, concurrency: int | None, *, every: bool
) -> Iterator[Line]:
    from harness.doctor.installation import installation
    from harness.doctor.lines import exit_code

    installed = list(installation())
    yield from installed
    if exit_code(installed):
        # What follows needs those packages.
        return
    yield from _lines_on_setup(chosen, runs, concurrency, every=every)


def _lines_on_setup(
    chosen: ProviderOptions, runs: Path, concurrency: int | None, *, every: bool
) -> Iterator[Line]:
    import asyncio
    import os

    from harness.doctor.configuration import keys, providers_line, vocabulary_line
    from harness.doctor.machine import machine
    from harness.doctor.reach import reached

    yield vocabulary_line()
    about_file, known = providers_line(chosen.providers_file)
    yield about_file
    yield from keys(known, os.environ)
    asked = _asked(chosen, known, every=every) if about_file.state == "ok" else []
    most = max((each.concurrency for each in asked or known.values()), default=1)
    yield from machine(runs, concurrency or most)
    yield from asyncio.run(reached(asked))


def _asked(
    chosen: ProviderOptions, known: Mapping[str, Provider], *, every: bool
) -> list[Provider]:
    """The providers to reach; no request may take longer than a minute, or --timeout."""
    import os

    from harness.cli.choice import chosen_provider
    from harness.doctor.configuration import key_variables
    from harness.providers.entries import changed

    asked: dict[str, Provider] = {}
    if every:
        able = (each for each in known.values() if all(map(os.environ.get, key_variables(each))))
        asked = {each.name: each for each in able}
    if (chosen.provider, chosen.base_url) != (None, None):
        provider = chosen_provider(chosen, None)
        asked[provider.name] = provider
    most = chosen.timeout or MOST_SECONDS
    return [changed(each, timeout=min(each.timeout, most)) for each in asked.values()]


def _print(line: Line) -> None:
    from rich.text import Text

    from harness.cli.screen import stdout
    from harness.text.plain import plain

    shown = Text.assemble((f"{line.state:<8} ", _STYLES[line.state]))
    shown.append(f"{plain(line.topic):<{_TOPIC_WIDTH}} {plain(line.text)}")
    stdout().print(shown, soft_wrap=True)
    if line.remedy is not None:
        indent = " " * (len("problem  ") + _TOPIC_WIDTH + 1)
        stdout().print(f"{indent}{plain(line.remedy)}", soft_wrap=True, style="dim")


def _print_json(lines: Sequence[Line], code: int) -> None:
    import json
    from dataclasses import asdict
    from importlib.metadata import version

    from harness.cli.screen import print_raw

    told = {
        "version": version("gpt-oss-verify"),
        "exit_code": code,
        "lines": [asdict(line) for line in lines],
    }
    print_raw(json.dumps(told, indent=2, ensure_ascii=False))
