"""`gpt-oss-verify watch`: sample providers again and again, with an alert when one gets worse."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from harness.cases import load_suite
from harness.checks import CHECKS
from harness.cli.options import names
from harness.cli.screen import stderr
from harness.cli.watch_rounds import Target, Watch, make_rounds
from harness.errors import ConfigurationError
from harness.golden import files as golden_files
from harness.probes.suites import choose
from harness.providers import entries as providers
from harness.providers.entries import ENVIRONMENT_NAME, Provider
from harness.providers.gate_entry import seconds
from harness.records.runs import SuiteName
from harness.sampling import budget as sampling
from harness.watching.alerts import Sinks, WebhookFormat
from harness.watching.metrics import Metrics
from harness.watching.rounds import Budget, menu
from harness.watching.signals import signals
from harness.watching.state import State

STATE = "state.sqlite"
DEFAULT_BUDGET = "1000"
_BUDGET = re.compile(r"(\d+)|(\d+(?:\.\d+)?) ?usd", re.IGNORECASE)
_ASSUMED_REQUESTS = 40
"""Requests of a round whose budget is in dollars."""
_ALERTS = Group("Alerts", sort_key=2)
_WHAT = Group("What to sample", sort_key=1)


def watch(
    *,
    provider: Annotated[tuple[str, ...], Parameter(alias="-p", consume_multiple=False)] = (),
    every: str = "1h",
    budget: str = DEFAULT_BUDGET,
    once: bool = False,
    out: Path = Path("watch"),
    providers_file: Annotated[Path | None, Parameter(name="--providers")] = None,
    suite: Annotated[SuiteName, Parameter(group=_WHAT)] = "quick",
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=False, group=_WHAT)] = (),
    skip: Annotated[tuple[str, ...], Parameter(consume_multiple=False, group=_WHAT)] = (),
    golden: Annotated[Path | None, Parameter(group=_WHAT)] = None,
    false_alarms: Annotated[float, Parameter(group=_ALERTS)] = 0.05,
    on_alert: Annotated[str | None, Parameter(group=_ALERTS)] = None,
    webhook: Annotated[str | None, Parameter(group=_ALERTS)] = None,
    webhook_format: Annotated[WebhookFormat | None, Parameter(group=_ALERTS)] = None,
    metrics_port: Annotated[int | None, Parameter(group=_ALERTS)] = None,
    metrics_host: Annotated[str, Parameter(group=_ALERTS)] = "127.0.0.1",
) -> int:
    """Watch providers: sample a little every hour, and raise an alert when one gets worse.

    Each round is a run in OUT/runs/DATE. OUT/state.sqlite holds the state; started again, the
    command finishes the interrupted round and continues. OUT/index.html shows all providers.

    Args:
        provider: Name of a provider; can be repeated.
        every: Time between rounds, such as 15m or 1h. Default: 1h.
        budget: Per provider and 24 hours: requests, such as 1000, or dollars, such as 2usd.
            Default: 1000.
        once: Make one round and exit, for cron; with 1 after an alert, 3 if one was not reached.
        out: Folder of the state, the runs and the page. Default: watch.
        providers_file: Another file than ./providers.yaml.
        suite: Probes to choose from. Default: quick.
        only: Only these probes or families, separated by commas; `smoke` means the cases.
        skip: Leave out these probes or families, separated by commas.
        golden: Golden file to compare logprobs with. Default: the shipped one, for gpt-oss-small.
        false_alarms: Probability at most of a false alarm per provider and month. Default: 0.05.
        on_alert: Command to run on an alert; the variables ALERT_… describe it.
        webhook: URL to post alerts to, or the name of an environment variable that holds it.
        webhook_format: json or slack. Default: slack for hooks.slack.com, else json.
        metrics_port: Serve Prometheus metrics at this port.
        metrics_host: Address to serve them on. Default: 127.0.0.1.
    """
    if not 0 < false_alarms < 1:
        raise ConfigurationError(f"--false-alarms is between 0 and 1, not {false_alarms:g}.")
    try:
        pause = seconds(every)
    except ValueError as error:
        raise ConfigurationError(f"--every {error}.") from None
    limits = parse_budget(budget)
    found = [
        _target(each, providers_file, limits, pause, (suite, names(*only), names(*skip)), golden)
        for each in dict.fromkeys(name for given in provider for name in names(given))
    ]
    if not found:
        raise ConfigurationError("Name at least one provider: --provider NAME.")
    hidden = {name for each in found for name in _key_names(each.offer.provider)}
    sinks = Sinks(on_alert, _address(webhook), webhook_format, hidden)
    sinks.check()
    plan = Watch(found, pause, limits, false_alarms, out, sinks, providers_file)
    metrics = Metrics()
    with State(out / STATE) as state, metrics.served(metrics_port, metrics_host) as port:
        if port is not None:
            stderr().print(f"metrics at http://{metrics_host}:{port}/metrics", soft_wrap=True)
        return make_rounds(plan, state, metrics, once=once)


def parse_budget(text: str) -> Budget:
    """`1000` as requests, `2usd` as dollars. Raises ConfigurationError."""
    match = _BUDGET.fullmatch(text.strip())
    requests, dollars = match.groups() if match else (None, None)
    if requests and int(requests):
        return Budget(int(requests), None)
    if dollars and float(dollars):
        return Budget(None, float(dollars))
    raise ConfigurationError(
        f"--budget takes requests per day, such as 1000, or dollars, such as 2usd, not {text!r}."
    )


def _target(
    name: str,
    file: Path | None,
    limits: Budget,
    every: float,
    chosen: tuple[SuiteName, tuple[str, ...], tuple[str, ...]],
    golden: Path | None,
) -> Target:
    """A provider, ready to be sampled. Raises ConfigurationError."""
    provider = providers.find_provider(name, file)
    providers.access(provider)
    first = limits.of_round(every, (0, 0.0))
    sampling.Budget(first).check(provider)
    wanted = choose(*chosen)
    if not (wanted.cases or wanted.probes):
        raise ConfigurationError("--suite, --only and --skip leave nothing to sample.")
    loaded = golden_files.load(golden) if golden else golden_files.fitting(provider.model)
    most = _ASSUMED_REQUESTS if first.max_requests is None else first.max_requests
    offer = menu(provider, load_suite(), wanted, loaded, most)
    probes = {probe.id: probe for parts in offer.parts.values() for part in parts for probe in part}
    rules = [*CHECKS.values(), *probes.values()]
    return Target(offer, signals((rule.about for rule in rules), provider.apis))


def _address(webhook: str | None) -> str | None:
    """The URL of --webhook, perhaps from an environment variable."""
    if webhook is None or "://" in webhook:
        return webhook
    return os.environ.get(webhook, "")


def _key_names(provider: Provider) -> Iterator[str]:
    """The environment variables with the keys of a provider."""
    yield from filter(None, [provider.api_key_env])
    for template in provider.headers.values():
        yield from (match[1] for match in ENVIRONMENT_NAME.finditer(template))
