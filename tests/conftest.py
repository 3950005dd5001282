"""What tests of the command line need, settings of hypothesis, and what a session did not test."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from background import in_background
from healthy import provider_of
from hypothesis import settings
from mock_provider import MockProvider

settings.register_profile("tests", deadline=None)  # other processes use the processor too
settings.load_profile("tests")


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is empty, and the terminal is wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def mock() -> Iterator[MockProvider]:
    """A provider that answers every shipped case correctly; a test file may override it."""
    with in_background(MockProvider(always=provider_of())) as running:
        yield running


_KINDS: Mapping[str, str] = {
    "Chromium": "pages in a browser; install Chromium, on Debian: apt-get install chromium",
    "CUDA": "kernels and engine on a GPU; they need an NVIDIA GPU: make gpu",
    "GPU": "kernels and engine on a GPU; they need an NVIDIA GPU: make gpu",
    "inspect_ai": "Inspect; install inspect_ai: .venv/bin/pip install inspect-ai",
    "ray": "a Ray cluster; install Ray: .venv/bin/pip install '.[ray]' -c constraints.txt",
    "mlx": "MLX; it needs a Mac with Apple silicon: .venv/bin/pip install mlx-lm",
    "sandbox": "programs in a sandbox; the reason above says what this machine lacks",
}
"""What a reason to skip a test says, and the kind of tests with what they need."""


def not_tested(reasons: Iterable[str]) -> list[str]:
    """Return a line for each kind of skipped tests: their number, their kind, what they need."""
    kinds = Counter(
        next((kind for word, kind in _KINDS.items() if word in reason), f"others: {reason}")
        for reason in reasons
    )
    return [f"  {count} of {kind}" for kind, count in kinds.most_common()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines which kinds of tests were skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [str(one.longrepr[2]).removeprefix("Skipped: ") for one in skipped]
    if reasons:
        terminalreporter.section(f"NOT TESTED here: {len(reasons)}")
        for line in not_tested(reasons):
            terminalreporter.write_line(line)
