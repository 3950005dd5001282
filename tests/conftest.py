"""What tests of the command line need, settings of hypothesis and xdist, what was not tested."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from background import in_background
from healthy import provider_of
from hypothesis import settings
from mock_provider import MockProvider
from skipped import not_tested

SLOWEST = 25  # modules of tests whose durations are printed

settings.register_profile("tests", deadline=None)  # other processes use the processor too
settings.load_profile("tests")
pytest.register_assert_rewrite("probing")


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With `--dist loadfile`, share the suites of the kernels: each runs in its own subprocess."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "/test_kernel_suite.py::" in nodeid else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines what took long, which suites ran again, and what was skipped."""
    passed = terminalreporter.stats.get("passed", [])
    seconds: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.location[0]] += report.duration
    if len(seconds) > SLOWEST:
        terminalreporter.section(f"{SLOWEST} of {len(seconds)} modules took longest")
        for module, took in seconds.most_common(SLOWEST):
            terminalreporter.write_line(f"{took:8.1f} s  {module}")
    repeated = [text for one in passed for name, text in one.user_properties if name == "repeated"]
    if repeated:
        terminalreporter.section("REPEATED until `make snapshots` records the results")
        for line in repeated:
            terminalreporter.write_line(f"  {line}")
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [str(one.longrepr[2]).removeprefix("Skipped: ") for one in skipped]
    if reasons:
        terminalreporter.section(f"NOT TESTED here: {len(reasons)}")
        for line in not_tested(reasons):
            terminalreporter.write_line(line)
