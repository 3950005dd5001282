"""A sampling process does not import what only checks, statistics and reports need."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "openai", "scipy", "torch")


@pytest.mark.parametrize(
    "modules",
    [
        "gpt_oss_verify.verify, harness.session",
        "harness.statistics.draws, harness.statistics.noninferiority",
    ],
)
def test_imports_are_lightweight(modules: str) -> None:
    code = f"import sys, {modules}; print({set(HEAVY)} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_dry_run_imports_nothing_that_only_judging_needs() -> None:
    command = ["--base-url", "http://localhost:8000/v1", "--model", "m", "--dry-run"]
    code = f"import sys; from gpt_oss_verify.app import run; run({command}); "
    code += "print({'jinja2', 'openai', 'pandas', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_help_imports_no_command() -> None:
    code = "import sys; from gpt_oss_verify.app import run; run(['--help']); "
    code += "print({'aiohttp', 'jinja2', 'openai', 'pandas', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"
