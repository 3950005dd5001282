"""The command that prints a shell's completion script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from cyclopts import App


def completion_of(app: App) -> Callable[[Literal["bash", "zsh", "fish"]], int]:
    """The command for all that `app` has."""

    def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
        """Print the script with which a shell completes commands and options.

        bash: `eval "$(gpt-oss-verify completion bash)"` in ~/.bashrc. zsh: write it to a file
        _gpt-oss-verify in a folder of $fpath. fish: write it to
        ~/.config/fish/completions/gpt-oss-verify.fish.

        Args:
            shell: Which shell.
        """
        from harness.cli.screen import print_raw

        print_raw(app.generate_completion(prog_name=app.name[0], shell=shell))
        return 0

    return completion
