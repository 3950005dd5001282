"""The command that lists providers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def providers(
    *, providers_file: Annotated[Path | None, Parameter(name="--providers")] = None
) -> int:
    """List the providers that can be named with --provider.

    Args:
        providers_file: Another providers.yaml than ./providers.yaml or the one that ships.
    """
    from rich.table import Table

    from harness.cli.screen import stdout
    from harness.providers import load_providers

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("name", "model", "APIs", "address", "key"):
        table.add_column(column, overflow="fold")
    for entry in load_providers(providers_file).values():
        variable = entry.api_key_env or ""
        state = variable and f"{variable} ({'set' if os.environ.get(variable) else 'not set'})"
        address = "started here" if entry.launch else entry.base_url
        table.add_row(entry.name, entry.model, ", ".join(entry.apis), address, state)
    stdout().print(table)
    return 0
