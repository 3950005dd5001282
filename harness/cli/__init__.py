"""The command line. `main` is the console script `gpt-oss-verify`."""

from __future__ import annotations

from harness.cli.app import main

__all__ = ["main"]
