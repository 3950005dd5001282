"""The plugin for pytest: every case, check, probe and client of a run is a test of the session.

    pytest --gpt-oss-provider mine      one run, made when the first of its tests is due
    pytest --gpt-oss-run mine-…         the results of a finished run

Without these options it adds nothing. The tests are known before the run, so pytest selects them
like any others. pytest always loads this module, so it imports only what it needs.
"""

import fcntl
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reports.model import Report

_OPTIONS = {
    "provider": "Entry of providers.yaml, or a shipped provider.",
    "base-url": "URL of the API, for a provider without an entry.",
    "model": "Model name as the provider knows it.",
    "suite": "standard (default), tools, full, or long.",
    "gate": "File with requirements.",
    "run": "Show the results of this finished run: its folder, or its name in runs.",
}
_CHOICES = {"suite": ("standard", "tools", "full", "long")}
_NAME = "gpt-oss"
_SESSION = "gpt-oss-session"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup(_NAME, "gpt-oss-verify")
    for name, text in _OPTIONS.items():
        group.addoption(f"--gpt-oss-{name}", help=text, choices=_CHOICES.get(name))


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
            self.tests = _recorded(self.report) if "run" in given else _planned(given)
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Add the tests before pytest selects."""
        items += session.genitems(_Tests.from_parent(session, name=_NAME, nodeid=_NAME))

    @cached_property
    def report(self) -> "Report":
        """The report of the run, which is made if there is none. Fails the test if it cannot be."""
        from gpt_oss_verify.options import run_place
        from harness.run.run_folder import read_analysis
        from reports.build import build_report

        if "error" in self.made:
            pytest.fail(f"There are no results: {self.made['error']}", pytrace=False)
        run = self.made["run"]
        return build_report(read_analysis(self.home / run_place(Path(run))), run)

    @cached_property
    def made(self) -> Mapping[str, str]:
        """The folder of the run as `run`, or an `error`; the first worker of a session makes it."""
        session = getattr(self.config, "workerinput", {}).get("testrunuid")
        if session is None or "run" in self.given:
            return self.given if "run" in self.given else self._made()
        with (Path(gettempdir()) / f"{_SESSION}-{session}.json").open(
            "a+", encoding="utf-8"
        ) as noted:
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
        command += [f"--{name}={value}" for name, value in self.given.items()]
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
    from gpt_oss_verify.choice import chosen_provider, gate_for
    from gpt_oss_verify.options import BudgetOptions, GateOptions, ProviderOptions
    from harness.records.settings import Thresholds, layered
    from harness.rules.catalogue import CHECKS
    from harness.rules.clients.forms import CLIENTS
    from harness.rules.suites import choose
    from harness.run.cases import load_suite

    named = ProviderOptions(given.get("provider"), None, given.get("base-url"), given.get("model"))
    gate = GateOptions(gate=given.get("gate"))
    layers = gate_for(chosen_provider(named, None), None, gate, BudgetOptions())
    chosen = choose(given.get("suite") or layered(Thresholds(), layers).suite or "standard")
    return [
        *(f"case::{case.id}" for case in load_suite().cases if chosen.cases),
        *(f"{rule.about.kind}::{rule.id}" for rule in (*CHECKS.values(), *chosen.probes)),
        *(f"client::{client.title}" for client in CLIENTS.values()),
    ]


def _recorded(report: "Report") -> list[str]:
    """Return the names of the tests of a finished run."""
    analysis = report.analysis
    return [
        *{f"case::{case}": None for result in analysis.tool_calling for case in result.cases},
        *(f"{rule.check.kind}::{rule.check.id}" for rule in analysis.checks),
        *{f"client::{client.client}": None for client in analysis.clients},
    ]


class _Tests(pytest.Collector):
    """All tests of the run, as `kind::name`."""

    def collect(self) -> Iterator["_Test"]:
        """Yield the verdict, and then the others."""
        tests = self.config.pluginmanager.getplugin(_SESSION).tests
        for name in ("verdict", *tests):
            yield _Test.from_parent(self, name=name, nodeid=f"{_NAME}::{name}")


class _Test(pytest.Item):
    """The verdict, or one case, check, probe or client."""

    def setup(self) -> None:
        """Make the run, if this is the first test that needs it."""
        self.report: Report = self.config.pluginmanager.getplugin(_SESSION).report

    def runtest(self) -> None:
        """Fail with what was expected, what came, why, and how to see it again; or skip."""
        kind, _, name = self.name.partition("::")
        judge = {"case": _case, "client": _client, "verdict": _verdict}.get(kind, _rule)
        folder = shlex.quote(self.report.folder)
        again = f"retest {folder}" if judge is not _rule else f"reproduce {folder} {name}"
        if text := "\n".join(judge(self.report, name)):
            pytest.fail(f"{text}\nreproduce  gpt-oss-verify {again}", pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """Return how the terminal names the test."""
        return _NAME, None, self.nodeid


def _verdict(report: "Report", _: str) -> Iterator[str]:
    """Yield why the run did not pass."""
    verdict = report.analysis.verdict
    if verdict.decision in ("fail", "inconclusive") or verdict.internal_errors:
        yield f"{report.verdict}: {' '.join(verdict.reasons)}"


def _case(report: "Report", name: str) -> Iterator[str]:
    """Yield where no try of a case passed, unless the run passed all the same."""
    results = [r for r in report.analysis.tool_calling if r.cases.get(name, (0, 0))[1]]
    if not results:
        pytest.skip("The run did not include it.")
    for result in results if report.analysis.verdict.decision != "pass" else ():
        passed, tries = result.cases[name]
        if not passed:
            yield f"{name}: none of {tries} tries passed over {result.name}"
            for failed in (each for each in result.failures if each.sample == name):
                yield f"{failed.outcome.replace('_', ' ')}: {failed.detail}"
                yield f"expected   {failed.expected}\ngot        {failed.got}"


def _rule(report: "Report", name: str) -> Iterator[str]:
    """Yield the first finding of a check or probe that failed, its cause and its fix."""
    from harness.rules.catalogue import RULES
    from reports.diagnosis import groups
    from reports.model import ShownRule

    shown = {result.check.id: ShownRule(result) for result in report.analysis.checks}.get(name)
    if shown is None:
        pytest.skip("The run did not include it.")
    if shown.status in ("not_verifiable", "skipped", "declared"):
        pytest.skip(shown.result.reason or shown.label)
    if shown.status == "failed":
        yield f"{name}: {shown.result.check.summary}"
        yield f"{shown.share_where}: {' '.join(shown.messages)}"
        found = shown.result.examples[0].evidence
        yield f"expected   {found.expected}\ngot        {found.shown}"
        cause = next(group.cause for group in groups(report) if shown in group.rules)
        if cause is not None:
            yield f"cause      {cause.description}"
        yield f"fix        {cause.remedy if cause else RULES[name].fix}"


def _client(report: "Report", name: str) -> Iterator[str]:
    """Yield what does not work for a client."""
    results = [client for client in report.analysis.clients if client.client == name]
    if all(result.status == "not_verifiable" for result in results):
        pytest.skip("The run does not tell whether this client works.")
    for result in results:
        if result.status == "breaks":
            yield f"{name} breaks over {result.api}: {', '.join(result.breaking)}"
