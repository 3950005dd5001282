"""`gpt-oss-verify watch`: sample providers at intervals, and alert when one gets worse."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from gpt_oss_verify.options import Names, ProvidersFile, names
from gpt_oss_verify.screen import say
from gpt_oss_verify.watch_rounds import Watch, accept_level, make_rounds
from harness.errors import ConfigurationError
from harness.golden import files as golden_files
from harness.probes.suites import choose
from harness.providers import entries as providers
from harness.providers.entries import key_variables
from harness.providers.gate_entry import seconds
from harness.records.runs import Limits, SuiteName
from harness.run.budget import Budget
from harness.run.cases import load_suite
from harness.watching.alerts import Sinks, WebhookFormat
from harness.watching.metrics import Metrics
from harness.watching.rounds import RoundPlan, of_round, plan_rounds
from harness.watching.state import State

STATE = "state.sqlite"
DEFAULT_BUDGET = "1000"
_BUDGET = re.compile(r"(\d+)|(\d+(?:\.\d+)?) ?usd", re.IGNORECASE)
_ASSUMED_REQUESTS = 40
"""Requests of a round whose budget is in dollars."""


@Parameter(name="*", group=Group("What to sample", sort_key=1))
@dataclass(frozen=True)
class ChoiceOptions:
    """The cases and probes that rounds choose from."""

    suite: SuiteName = "standard"
    """Probes to choose from. Default: quick."""
    only: Names = ()
    """Run only these probes or families, separated by commas; `smoke` means the tool-call cases."""
    skip: Names = ()
    """Leave out these probes or families, separated by commas."""
    golden: Path | None = None
    """Golden file to compare logprobs with. Default: the shipped one, for gpt-oss-small."""


@Parameter(name="*", group=Group("Alerts", sort_key=2))
@dataclass(frozen=True)
class AlertOptions:
    """When to alert, and whom."""

    false_alarms: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.05
    """Upper bound on the probability of a false alarm per provider and month. Default: 0.05."""
    on_alert: str | None = None
    """Command to run on an alert; the variables ALERT_… describe it."""
    webhook: str | None = None
    """URL to post alerts to, or the name of an environment variable that holds it."""
    webhook_format: WebhookFormat | None = None
    """json or slack. Default: slack for hooks.slack.com, otherwise json."""
    metrics_port: int | None = None
    """Serve Prometheus metrics on this port."""
    metrics_host: str = "127.0.0.1"
    """Address to serve metrics on. Default: 127.0.0.1."""


def watch(
    *,
    provider: Annotated[Names, Parameter(alias="-p")] = (),
    every: str = "1h",
    budget: str = DEFAULT_BUDGET,
    once: bool = False,
    accept: str | None = None,
    keep_days: Annotated[int, Parameter(validator=Number(gte=2))] = 90,
    out: Path = Path("watch"),
    providers_file: ProvidersFile = None,
    choice: ChoiceOptions = ChoiceOptions(),
    alerts: AlertOptions = AlertOptions(),
) -> int:
    """Run a few cases and probes every hour, and raise an alert when a provider gets worse.

    Each round is a run in OUT/runs/DATE. The state is in OUT/state.sqlite: when you start the
    command again, it finishes the interrupted round and continues. OUT/index.html shows all
    providers.

    Args:
        provider: Name of a provider; can be repeated.
        every: Time between rounds, such as 15m or 1h. Default: 1h.
        budget: Requests, such as 1000, or dollars, such as 2usd, per provider and 24 hours.
            Default: 1000.
        once: Run one round and exit: with 1 after an alert, with 3 if a provider is unreachable.
        accept: Accept the new level of this provider, which ends its open incidents, and exit.
        keep_days: Delete the folders of older rounds and keep only their counts. Default: 90.
        out: Folder of the state, the runs and the page. Default: watch.
    """
    if accept is not None:
        with State(out / STATE) as state:
            return accept_level(accept, state)
    try:
        pause = seconds(every)
    except ValueError as error:
        raise ConfigurationError(f"--every {error}.") from None
    limits = parse_budget(budget)
    chosen = dict.fromkeys(names(*provider))
    if not chosen:
        raise ConfigurationError("Name at least one provider: --provider NAME.")
    rounds = [_round_plan(each, providers_file, limits, pause, choice) for each in chosen]
    hidden = {name for each in rounds for name in key_variables(each.provider)}
    webhook = alerts.webhook
    if webhook is not None and "://" not in webhook:
        webhook = os.environ.get(webhook, "")
    sinks = Sinks(alerts.on_alert, webhook, alerts.webhook_format, hidden)
    sinks.check()
    plan = Watch(rounds, pause, limits, alerts.false_alarms, out, sinks, providers_file, keep_days)
    metrics, host = Metrics(), alerts.metrics_host
    with State(out / STATE) as state, metrics.served(alerts.metrics_port, host) as port:
        if port is not None:
            say(f"metrics at http://{host}:{port}/metrics")
        return make_rounds(plan, state, metrics, once=once)


def parse_budget(text: str) -> Limits:
    """`1000` as requests, `2usd` as dollars. Raises ConfigurationError."""
    match = _BUDGET.fullmatch(text.strip())
    requests, dollars = match.groups() if match else (None, None)
    if requests and int(requests):
        return Limits(max_requests=int(requests))
    if dollars and float(dollars):
        return Limits(max_cost=float(dollars))
    raise ConfigurationError(
        f"--budget takes requests per day, such as 1000, or dollars, such as 2usd, not {text!r}."
    )


def _round_plan(
    name: str, file: Path | None, limits: Limits, every: float, choice: ChoiceOptions
) -> RoundPlan:
    """The plan for the rounds of a provider. Raises ConfigurationError."""
    provider = providers.find_provider(name, file)
    providers.access(provider)
    first = of_round(limits, every, (0, 0.0))
    Budget(first).check(provider)
    wanted = choose(choice.suite, names(*choice.only), names(*choice.skip))
    if not (wanted.cases or wanted.probes):
        raise ConfigurationError("--suite, --only and --skip leave nothing to sample.")
    golden = golden_files.chosen(choice.golden, provider.model)
    most = _ASSUMED_REQUESTS if first.max_requests is None else first.max_requests
    return plan_rounds(provider, load_suite(), wanted, golden, most)
