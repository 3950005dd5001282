"""The command `providers`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from harness.cli.screen import stdout
from harness.providers.entries import load_providers


def providers(
    *, providers_file: Annotated[Path | None, Parameter(name="--providers")] = None
) -> int:
    """List the providers that --provider accepts: your own and the shipped ones.

    Args:
        providers_file: Your providers file. Default: ./providers.yaml, if it exists.
    """
    entries = load_providers(providers_file)
    width = max(map(len, entries))
    for entry in entries.values():
        place = "launched on this machine" if entry.launch else entry.base_url
        if entry.api_key_env:
            state = "set" if os.environ.get(entry.api_key_env) else "not set"
            place += f" · {entry.api_key_env} {state}"
        line = Text.assemble((entry.name.ljust(width), "bold"), f"  {entry.model}")
        line.append(f" · {', '.join(entry.apis)}\n")
        line.append(f"{'':{width}}  {place}", style="dim")
        stdout().print(line, soft_wrap=True)
    return 0
