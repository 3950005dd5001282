"""The command `completion`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from cyclopts import App


def completion_of(app: App) -> Callable[[Literal["bash", "zsh", "fish"]], int]:
    """The command that prints the completion script of `app`."""

    def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
        """Print the script that makes a shell complete commands and options.

        bash: put `eval "$(gpt-oss-verify completion bash)"` into ~/.bashrc. zsh: write the script
        to a file _gpt-oss-verify in a folder of $fpath. fish: write it to
        ~/.config/fish/completions/gpt-oss-verify.fish.

        Args:
            shell: The shell.
        """
        from harness.cli.screen import print_raw

        print_raw(app.generate_completion(prog_name=app.name[0], shell=shell))
        return 0

    return completion
