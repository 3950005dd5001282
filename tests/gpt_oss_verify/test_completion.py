"""The completion script, executed by a real bash if there is one."""

import shutil
import subprocess

import pytest

from gpt_oss_verify.app import run


def completed(script: str, *words: str) -> list[str]:
    """The completions that bash offers for the last word."""
    asked = (
        f"{script}\nCOMP_WORDS=({' '.join(map(repr, words))})\nCOMP_CWORD={len(words) - 1}\n"
        '_gpt_oss_verify\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", asked],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert {"init", "eval"} <= set(completed(script, "gpt-oss-verify", ""))
    assert completed(script, "gpt-oss-verify", "rech") == ["recheck"]
    assert "--api-key-env" in completed(script, "gpt-oss-verify", "init", "--api")
    assert completed(script, "gpt-oss-verify", "--suite", "") == [
        *("tools", "standard", "full", "long", "smoke", "quick")
    ]


@pytest.mark.parametrize(
    ("shell", "mark"), [("zsh", "#compdef gpt-oss-verify"), ("fish", "complete")]
)
def test_completion_scripts_are_printed_for_other_shells(
    shell: str, mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert mark in out
    assert "export-small" in out
