"""The plugin for pytest: every test in the `junit.xml` of a run is a test of the session.

    pytest --gpt-oss-provider mine      one run, made when the first of its tests is due
    pytest --gpt-oss-run mine-…         the results of a finished run

Without these options it adds nothing. The tests are known before the run, so that pytest can select
them. pytest always loads this module, so it imports only what it needs.
"""

import fcntl
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from junitparser import TestCase

_OPTIONS = {
    "provider": "Entry of providers.yaml, or a shipped provider.",
    "base-url": "URL of the API, for a provider without an entry.",
    "model": "Model name as the provider knows it.",
    "suite": "standard (default), tools, full, or long.",
    "gate": "File with requirements.",
    "only": "Only these probes, checks or cases, separated by commas.",
    "n": "The first N tool-call cases.",
    "k": "Tries at each case.",
    "run": "Show the results of this finished run: its folder, or its name in runs.",
}
_RUN = "--gpt-oss-run"
_NUMBERS = {"n": "-n", "k": "-k"}  # options whose values are numbers, as the command has them
_NAME = "gpt-oss"
_SESSION = "gpt-oss-session"
_VERDICT = "verdict"
_KINDS = {"checks": "check", "clients": "client", "scores": "score"}
_AGAIN = dict.fromkeys(("check", "probe"), "reproduce {run} {rule}") | {_VERDICT: "recheck {run}"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup(_NAME, "gpt-oss-verify")
    for name, text in _OPTIONS.items():
        choices = ("standard", "tools", "full", "long") if name == "suite" else None
        number = int if name in _NUMBERS else None
        group.addoption(f"--gpt-oss-{name}", help=text, choices=choices, type=number)


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Refuse the form of an option that moves the root of the tests. Raises UsageError.

    pytest looks for the root and the settings of a project before it knows the options of plugins,
    so it takes a folder after a space for one with tests.
    """
    arguments, home = early_config.invocation_params.args, early_config.invocation_params.dir
    for option, value in pairwise(map(str, arguments)):
        place = home / value
        if option == _RUN and place.exists() and not place.resolve().is_relative_to(home):
            raise pytest.UsageError(
                f"Write {_RUN}={value}: after a space, pytest takes a folder outside of {home} for "
                "one with tests, and ignores the settings of your project."
            )


def pytest_configure(config: pytest.Config) -> None:
    """Add the tests of a run if an option asks for one."""
    options = {name: config.getoption(f"--gpt-oss-{name}") for name in _OPTIONS}
    if given := {name: value for name, value in options.items() if value is not None}:
        config.pluginmanager.register(_Session(config, given), _SESSION)


class _Session:
    """The run of a session, which the workers of xdist share, and its tests by group."""

    def __init__(self, config: pytest.Config, given: Mapping[str, Any]) -> None:
        """Find out what will be tested. Raises UsageError if the options are invalid."""
        from harness.errors import HarnessError

        self.config, self.given, self.home = config, given, config.invocation_params.dir
        if "run" in given and len(given) > 1:
            raise pytest.UsageError("--gpt-oss-run needs no other option of --gpt-oss.")
        try:
            self.tests = [*self.results] if "run" in given else _planned(given)
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Add the tests before pytest selects."""
        items += session.genitems(_Tests.from_parent(session, name=_NAME, nodeid=_NAME))

    @cached_property
    def results(self) -> Mapping[str, Sequence["TestCase"]]:
        """The results of each test; a case has one for each API and mode.

        The run is made if there is none. There are none if it cannot be made.
        """
        return {} if "error" in self.made else _results(self.home, self.made["run"])

    @cached_property
    def made(self) -> Mapping[str, str]:
        """The folder of the run as `run`, or an `error`; the first worker of a session makes it."""
        session = getattr(self.config, "workerinput", {}).get("testrunuid")
        if "run" in self.given or session is None:
            return self.given if "run" in self.given else self._made()
        file = Path(gettempdir()) / f"{_SESSION}-{session}.json"
        with file.open("a+", encoding="utf-8") as noted:
            fcntl.flock(noted, fcntl.LOCK_EX)
            noted.seek(0)
            if text := noted.read():
                return dict(json.loads(text))
            made = self._made()
            noted.write(json.dumps(made))
            return made

    def _made(self) -> dict[str, str]:
        """Make the run in a process of its own; return its folder as `run`, or an `error`."""
        command = [sys.executable, "-m", "gpt_oss_verify", "--json"]
        for name, value in self.given.items():
            command += [_NUMBERS[name], str(value)] if name in _NUMBERS else [f"--{name}={value}"]
        capture = self.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            done = subprocess.run(command, stdout=subprocess.PIPE, cwd=self.home, check=False)  # noqa: S603
        try:
            result = json.loads(done.stdout)
        except ValueError:
            return {"error": f"gpt-oss-verify ended with exit code {done.returncode}"}
        return {name: result[name] for name in ("run", "error") if result.get(name)}


def _planned(given: Mapping[str, Any]) -> list[str]:
    """Return the names of the tests of a new run. Raises ConfigurationError."""
    from gpt_oss_verify.options import GateOptions, Options, ProviderOptions
    from gpt_oss_verify.resolve import resolve
    from harness.rules.catalogue import CHECKS
    from harness.rules.clients.forms import CLIENTS
    from harness.rules.suites import choose
    from harness.run.cases import load_suite

    named = ProviderOptions(given.get("provider"), None, given.get("base-url"), given.get("model"))
    resolved = resolve(Options(provider=named, gate=GateOptions(gate=given.get("gate"))))
    suite = given.get("suite") or resolved.thresholds.suite or "standard"
    chosen = choose(suite, given["only"].split(",") if "only" in given else ())
    cases = load_suite().cases[: given.get("n")] if chosen.cases else ()
    return [
        _VERDICT,
        *(f"case::{case.id}" for case in cases),
        *(f"{rule.about.kind}::{rule.id}" for rule in (*CHECKS.values(), *chosen.probes)),
        *(f"client::{client.title}" for client in CLIENTS.values()),
    ]


def _results(home: Path, run: str) -> dict[str, list["TestCase"]]:
    """Return the tests in the junit.xml of a run by their names. Raises HarnessError."""
    from junitparser import JUnitXml

    from gpt_oss_verify.options import run_place
    from harness.errors import ConfigurationError
    from harness.rules.catalogue import PROBES
    from harness.run.run_folder import JUNIT_FILE
    from harness.run.run_log import read_run_info

    folder = home / run_place(Path(run))
    try:
        suites = JUnitXml.fromfile(str(folder / JUNIT_FILE))
    except (OSError, SyntaxError) as error:
        read_run_info(folder)
        raise ConfigurationError(
            f"{run} has no {JUNIT_FILE} ({error}); `gpt-oss-verify recheck {run}` makes it."
        ) from None
    found: dict[str, list[TestCase]] = {}
    for timed, test in ((suite.timestamp, test) for suite in suites for test in suite):
        # Up to version 0.5, a file has no timestamps, and no provider and model in class names.
        place, *parts = test.classname.split(".")[3 if timed else 1 :]
        test.classname = ".".join([place, *parts])
        kind = _KINDS.get(place, "case") if test.name not in PROBES else "probe"
        name = test.name if place == _VERDICT else f"{kind}::{test.name}"
        found.setdefault(name, []).append(test)
    return found


class _Tests(pytest.Collector):
    """All tests."""

    def collect(self) -> Iterator["_Test"]:
        """Yield the verdict, and then the others as `kind::name`."""
        for name in self.config.pluginmanager.getplugin(_SESSION).tests:
            yield _Test.from_parent(self, name=name, nodeid=f"{_NAME}::{name}")


class _Test(pytest.Item):
    """The verdict, or one case, check, probe, client or score."""

    def setup(self) -> None:
        """Make the run, if this is the first test; without one, this test fails and others skip."""
        session = self.config.pluginmanager.getplugin(_SESSION)
        self.results = session.results.get(self.name, [])
        if error := session.made.get("error"):
            text = f"There are no results: {error}"
            if self is next(item for item in self.session.items if isinstance(item, _Test)):
                pytest.fail(text, pytrace=False)
            pytest.skip(text)
        self.run = shlex.quote(session.made["run"])

    def runtest(self) -> None:
        """Fail with what was expected, what came, why, and how to see it again; or skip."""
        kind, _, rule = self.name.partition("::")
        skipped = all(test.is_skipped for test in self.results)
        texts = []
        for test in self.results:
            place = f"{test.classname}: " if len(self.results) > 1 else ""
            if skipped or not test.is_skipped:
                texts += [f"{place}{problem.text or problem.message}" for problem in test.result]
        if skipped and self.name != _VERDICT:  # junit.xml skips that of an inconclusive run
            pytest.skip(" ".join([f"{rule}:", *texts[0].split()]) if texts else "Not in this run.")
        if texts:
            again = _AGAIN.get(kind, "retest {run}").format(run=self.run, rule=rule)
            pytest.fail("\n".join([*texts, f"reproduce: gpt-oss-verify {again}"]), pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """Return how the terminal names the test."""
        return _NAME, None, self.nodeid
