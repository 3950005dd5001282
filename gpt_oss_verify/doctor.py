"""The command `doctor`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from gpt_oss_verify.options import RUN as HOW
from gpt_oss_verify.options import AsJson, Out, ProviderOptions
from gpt_oss_verify.screen import print_raw, stdout
from harness.doctor.lines import Line, exit_code
from harness.text import plain

if TYPE_CHECKING:
    from harness.providers.entries import Provider

MOST_SECONDS = 60.0
_HOW = Parameter(group=HOW)
_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
_TOPIC_WIDTH = 16


def doctor(
    *,
    provider: ProviderOptions = ProviderOptions(),
    all_providers: Annotated[bool, _HOW, Parameter(name="--all")] = False,
    concurrency: Annotated[int | None, _HOW] = None,
    out: Annotated[Out, _HOW] = None,
    as_json: Annotated[AsJson, _HOW] = False,
) -> int:
    """Check your setup: the installation, the machine, providers.yaml, keys and providers.

    The command contacts only the providers that you name, and does not start providers that have a
    launch entry.

    Args:
        all_providers: Contact every provider of your file whose key variables are set.
        concurrency: Planned attempts in flight. Default: the maximum of the entries.
    """
    lines = []
    for line in _lines(provider, out or Path("runs"), concurrency, every=all_providers):
        lines.append(line)
        if not as_json:
            _print(line)
    code = exit_code(lines)
    if as_json:
        content = {
            "version": version("gpt-oss-verify"),
            "exit_code": code,
            "lines": [asdict(line) for line in lines],
        }
        print_raw(json.dumps(content, indent=2, ensure_ascii=False))
    return code


def _lines(
    options: ProviderOptions, runs: Path, concurrency: int | None, *, every: bool
) -> Iterator[Line]:
    from harness.doctor.setup import installation

    installed = list(installation())
    yield from installed
    if exit_code(installed):
        return  # The other checks need the required packages.
    from harness.doctor.reach import reached
    from harness.doctor.setup import keys, machine, providers_line, vocabulary_line

    yield vocabulary_line()
    line, providers = providers_line(options.providers_file)
    yield line
    yield from keys(providers, os.environ)
    contacted = _contacted(options, providers, every=every) if line.state == "ok" else []
    most = max((each.concurrency for each in contacted or providers.values()), default=1)
    yield from machine(runs, concurrency or most)
    yield from asyncio.run(reached(contacted))


def _contacted(
    options: ProviderOptions, providers: Mapping[str, Provider], *, every: bool
) -> list[Provider]:
    """The providers to contact, with a timeout of at most a minute or --timeout."""
    from gpt_oss_verify.choice import chosen_provider
    from harness.providers.entries import changed, key_variables

    chosen: dict[str, Provider] = {}
    if every:
        usable = (p for p in providers.values() if all(map(os.environ.get, key_variables(p))))
        chosen = {each.name: each for each in usable}
    if (options.provider, options.base_url) != (None, None):
        provider = chosen_provider(options, None)
        chosen[provider.name] = provider
    most = options.timeout or MOST_SECONDS
    return [changed(each, timeout=min(each.timeout, most)) for each in chosen.values()]


def _print(line: Line) -> None:
    shown = Text.assemble((f"{line.state:<8} ", _STYLES[line.state]))
    shown.append(f"{plain(line.topic):<{_TOPIC_WIDTH}} {plain(line.text)}")
    stdout().print(shown, soft_wrap=True)
    if line.remedy is not None:
        indent = " " * (len("problem  ") + _TOPIC_WIDTH + 1)
        stdout().print(f"{indent}{plain(line.remedy)}", soft_wrap=True, style="dim")
