"""The rounds of `gpt-oss-verify watch`: sample, judge, print, and deliver alerts."""

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gpt_oss_verify import judging
from gpt_oss_verify.options import BudgetOptions, GateOptions, ProviderOptions
from gpt_oss_verify.restoring import resume
from gpt_oss_verify.screen import say, show, stderr
from harness import session
from harness.errors import (
    EXIT_FAIL,
    EXIT_PASS,
    EXIT_UNREACHABLE,
    ConfigurationError,
    ProviderUnavailableError,
    StoppedError,
)
from harness.records.runs import Limits
from harness.run import run_folder
from harness.run.budget import Budget
from harness.run.run_log import RUN_FILE, read_run_info
from harness.run.sampling import Observer
from harness.tasks.job import Job, new_job
from harness.text import first_few, plain
from harness.watching.alerts import Sinks, alert, ended, moment, worse
from harness.watching.metrics import Metrics
from harness.watching.records import AVAILABILITY, TOOL_CALLS, Incident, Round, Watched
from harness.watching.rounds import DAY, PREFLIGHT, RoundPlan, next_round, of_round
from harness.watching.signals import accepted, counts_of, examine, pruned
from harness.watching.state import State
from reports.html.watching import render_watch

RUNS, PAGE = "runs", "index.html"
SHOWN = 3  # names of rules that a line lists


@dataclass(frozen=True)
class Watch:
    """The settings of all rounds."""

    rounds: Sequence[RoundPlan]
    every: float
    budget: Limits  # of 24 hours
    alarms: float
    out: Path
    sinks: Sinks
    providers_file: Path | None
    keep_days: int


def accept_level(name: str, state: State) -> int:
    """End the open incidents of a provider; its new level becomes the usual one."""
    watched = state.watched(name)
    if not watched.open:
        raise ConfigurationError(f"{name} has no open incident, so there is no level to accept.")
    ended_now, past = accepted(watched, time.time())
    state.accept(name, ended_now, past)
    for each in ended_now:
        show(f"accepted: {worse(each)}")
    return EXIT_PASS


def make_rounds(plan: Watch, state: State, metrics: Metrics, *, once: bool) -> int:
    """Run rounds until the user stops, or one with `once`, and return the exit code."""
    _print_plan(plan)
    _publish(plan, state, metrics)
    while True:
        began = time.time()
        alerts = unreachable = 0
        for planned in plan.rounds:
            judged = _round(plan, state, planned)
            if judged is not None:
                one, incidents = judged
                metrics.count(one)
                alerts += any(each.ended is None for each in incidents)
                unreachable += one.of(AVAILABILITY)[0]
            _prune(plan, state, planned)
            _deliver(plan, state)
            _publish(plan, state, metrics)
        if once:
            return EXIT_FAIL if alerts else EXIT_UNREACHABLE if unreachable else EXIT_PASS
        time.sleep(max(0.0, began + plan.every - time.time()))


def _round(plan: Watch, state: State, planned: RoundPlan) -> tuple[Round, list[Incident]] | None:
    """Sample and judge one round of a provider; None if its budget is used up.

    Raises ProviderUnavailableError if the provider could not be used in its first round.
    """
    name = planned.provider.name
    watched = state.watched(name)
    prepared = _interrupted(plan, state, planned) or _next(plan, state, planned, watched)
    if prepared is None:
        stderr().print(plain(f"{name}: the budget of the last 24 hours is used up"))
        return None
    one, job = prepared
    one = _carried_out(one, job, state, first=not watched.made)
    watched = replace(watched, rounds=[*watched.rounds, one])
    incidents = list(examine(watched, planned.signals, plan.alarms))
    contents: list[tuple[str, str]] = []
    if incidents:
        opened = [each for each in incidents if each.ended is None]
        closed = [each for each in incidents if each.ended is not None]
        text = alert(name, opened, closed, one.folder)
        contents = [(sink, text) for sink in plan.sinks.names]
    state.finish(one, incidents, contents)
    _print_round(one, incidents)
    return one, incidents


def _interrupted(plan: Watch, state: State, planned: RoundPlan) -> tuple[Round, Job] | None:
    """The interrupted round, if it can be finished; otherwise it is deleted.

    Its earlier usage is unknown, so its whole budget is assumed to be used.
    """
    name = planned.provider.name
    one = state.unfinished(name)
    if one is None:
        return None
    folder = Path(one.folder)
    if not (folder / RUN_FILE).exists():
        with suppress(OSError):
            folder.rmdir()
        state.discard(one)
        return None
    limits = read_run_info(folder).settings.budget or Limits()
    budget = BudgetOptions(max_requests=limits.max_requests, max_cost=limits.max_cost)
    chosen = ProviderOptions(provider=name, providers_file=plan.providers_file)
    stderr().print(plain(f"{name}: finishing the round of {moment(one.started)}"))
    one = replace(one, requests=limits.max_requests or 0, cost=limits.max_cost or 0.0)
    return one, resume(folder, chosen, GateOptions(), budget, None)


def _next(
    plan: Watch, state: State, planned: RoundPlan, watched: Watched
) -> tuple[Round, Job] | None:
    """A new round; None if the budget is too small for it."""
    provider, now = planned.provider, time.time()
    limits = of_round(plan.budget, plan.every, state.used(provider.name, now - DAY))
    limits = limits.model_copy(
        update={"origins": dict.fromkeys(("max_requests", "max_cost"), "--budget")}
    )
    most = limits.max_requests
    if limits.max_cost == 0 or (most is not None and most <= PREFLIGHT):
        return None
    tasks, settings, streams = next_round(planned, watched, limits)
    job = new_job(
        provider,
        tasks,
        settings,
        out=plan.out / RUNS / f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}",
        command=("gpt-oss-verify", "watch", "--provider", provider.name),
        budget=Budget(limits),
    )
    return state.begin(provider.name, now, str(job.folder), streams), job


def _carried_out(one: Round, job: Job, state: State, *, first: bool) -> Round:
    counts: dict[str, tuple[int, int]] = {}
    try:
        session.sample(job, Observer())
    except StoppedError:
        raise StoppedError("stopped; start the command again to continue") from None
    except ProviderUnavailableError as error:
        counts[AVAILABILITY] = (1, 1)
        unused = run_folder.discard_unused(job.folder)
        if first and unused:
            state.discard(one)
            raise
        say(f"{one.provider}: {error}")
        if unused:
            return replace(one, folder="", counts=counts, requests=job.budget.requests)
    api = job.info.settings.apis[0]
    counts = counts_of(judging.judge_and_report(job.folder).analysis, api) | counts
    requests, cost = one.requests + job.budget.requests, one.cost + job.budget.cost
    return replace(one, counts=counts, requests=requests, cost=cost)


def _prune(plan: Watch, state: State, planned: RoundPlan) -> None:
    """Delete the folders of old rounds, and keep the sums of their counts."""
    before = time.time() - plan.keep_days * DAY
    watched = state.watched(planned.provider.name)
    old = [Path(each.folder) for each in watched.rounds if each.folder and each.started < before]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # A folder of a day with other rounds is not empty and remains.
            folder.parent.rmdir()
    past = pruned(watched, planned.signals, before)
    if past != watched.past:
        state.prune(watched.provider, past, before)


def _deliver(plan: Watch, state: State) -> None:
    """Deliver pending alerts; those that cannot be delivered wait for the next round."""
    for number, sink, content in state.undelivered():
        problem = plan.sinks.deliver(sink, content)
        if problem is None or sink not in plan.sinks.names:
            state.delivered(number)
        if problem is not None:
            say(f"alert not delivered: {problem}")


def _publish(plan: Watch, state: State, metrics: Metrics) -> None:
    """Write the page, and replace the metrics."""
    every = [(state.watched(each.provider.name), each.signals) for each in plan.rounds]
    for watched, signals in every:
        metrics.show(watched, signals)
    page = render_watch([watched for watched, _ in every], plan.every, plan.alarms)
    run_folder.write_text(plan.out / PAGE, page)


def _print_plan(plan: Watch) -> None:
    """Print what each round samples."""
    for planned in plan.rounds:
        rounds = max(len(parts) for parts in planned.parts.values()) * len(planned.parts)
        text = f"{planned.provider.name}: {planned.cases} cases in each round"
        if rounds:
            text += (
                f", and up to {planned.probes} requests of probes; all probes in {rounds} rounds"
            )
        say(text)
        if planned.left_out:
            few = first_few(planned.left_out, SHOWN)
            say(f"  {len(planned.left_out)} probes need more requests and are left out: {few}")
    say(f"page: {plan.out / PAGE}")


def _print_round(one: Round, incidents: Sequence[Incident]) -> None:
    """One line for a round, and one for each incident that it opened or ended."""
    failed, tries = one.of(TOOL_CALLS)
    broken = [name for name, bad in one.rules.items() if bad]
    parts = [f"{tries - failed} of {tries} tool calls"] if tries else []
    parts.append(f"{len(one.rules)} rules judged, {len(broken)} failed")
    if broken:
        parts[-1] += f" ({first_few(broken, SHOWN)})"
    parts.append(f"{one.requests} requests")
    if not one.folder:
        parts = ["not reached"]
    show(f"{moment(one.started)}  {one.provider}: {' · '.join(parts)}")
    for each in incidents:
        text = f"ALERT {worse(each)}" if each.ended is None else f"RECOVERED {ended(each)}"
        show(f"  {text}")
