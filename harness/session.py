"""Sample a run into its folder."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import ProviderUnreachableError, StoppedAnsweringError
from harness.providers.entries import Provider
from harness.records.analysis import Analysis
from harness.records.conditions import Api, Condition
from harness.records.runs import RunEnd
from harness.run import run_folder
from harness.run.attempts import Attempt
from harness.run.launch import launched
from harness.run.outage import Outage
from harness.run.preflight import preflight, smallest_exchange
from harness.run.run_log import RunLog, read_rollouts, write_run_info
from harness.run.sampling import Observer, run_attempts, run_until_stopped
from harness.statistics.noninferiority import FIRST_LOOK
from harness.tasks.attempt_order import decisive_first, planned_attempts, portions, stages
from harness.tasks.plan import Plan, ended, learned, started
from harness.transport import open_transport
from harness.transport.retry import RETRIES, RetryPolicy

REPEATS_BROKEN = RetryPolicy({**RETRIES, "broken": 4})
"""A broken response does not measure the model's ability: it is requested again, and recorded."""
T = TypeVar("T")
LONG_REPLY = 1800.0
"""Seconds that a request of a task with long replies may take unless a timeout is set."""
Judge = Callable[[], Analysis]
"""Judges what a run has sampled so far. Raises RunLogError."""


def sample(plan: Plan, folder: Path, observer: Observer, judge: Judge) -> None:
    """Sample the rest of a run, and grade it; `judge` ends a run that may end early.

    Raises ProviderUnavailableError if the provider or the grader could not be used at all,
    StoppedAnsweringError if it stopped answering, RunLogError, and StoppedError.
    """
    plan = started(plan, folder)
    session = Session(plan, folder, observer)
    try:
        end = run_until_stopped(_before_deadline(plan, session.sample(judge)))
    except StoppedAnsweringError as error:
        why = f"{str(error).capitalize()}; finish the run with --resume RUN."
        write_run_info(folder, ended(plan, None).model_copy(update={"stopped": why}))
        raise
    if plan.budget.stopped is not None and not plan.budget.requests:
        raise ProviderUnreachableError(
            f"provider {plan.provider.name} did not answer at {plan.provider.base_url} before the "
            f"deadline of {plan.budget.limits.deadline} s; check that it is running, or allow it "
            "more time"
        )
    write_run_info(folder, ended(plan, end))


def grade(plan: Plan, folder: Path, observer: Observer) -> None:
    """Grade the answers of a run without sampling, and set its grader.

    Raises the errors of `sample`.
    """
    run_until_stopped(_before_deadline(plan, Session(plan, folder, observer).grade()))
    info = plan.info.model_copy(update={"stopped": plan.budget.stopped})
    if info.ended is None and sum(1 for _ in read_rollouts(folder)) >= info.planned:
        info = ended(plan, "complete")
    write_run_info(folder, info)


async def _before_deadline(plan: Plan, main: Coroutine[Any, Any, T]) -> T | None:
    """Return what `main` returns; at the deadline of the budget, cancel it and return None."""
    try:
        async with asyncio.timeout(plan.budget.seconds_left) as limit:
            return await main
    except TimeoutError:
        if not limit.expired():
            raise
        plan.budget.deadline_passed()
        return None


def as_sampled(provider: Provider, concurrency: int, *, long_replies: bool) -> Provider:
    """Return the provider as a stage samples it; long replies get more time by default."""
    changes: dict[str, object] = {"concurrency": concurrency}
    if long_replies and "timeout" not in provider.model_fields_set:
        changes["timeout"] = LONG_REPLY
    return provider.model_copy(update=changes)


@dataclass(frozen=True)
class Session:
    """The sampling and grading of a plan in a folder."""

    plan: Plan
    folder: Path
    observer: Observer

    async def sample(self, judge: Judge) -> RunEnd | None:
        """Sample and grade what is missing; the result states why the run ended, if it did."""
        info = self.plan.info
        if info.ended == "decided":
            return "decided"
        with RunLog(self.folder) as log:
            if info.settings.until_decided:
                return info.ended or await self._until_decided(log, judge)
            planned = planned_attempts(self.plan.tasks) if log.finished else ()
            done = sum(attempt.id in log.finished for attempt in planned)
            if done < info.planned:
                async with self._ready() as provider:
                    self.observer.begin(info.planned, done)
                    early = judge if info.settings.until_fail else None
                    if not await self.make_requests(provider, log, early):
                        return "decided"
        await self.grade()
        return None if self.plan.budget.stopped else "complete"

    async def grade(self) -> None:
        """Grade the answers that have no grade yet, as far as the budget allows."""
        for task in self.plan.tasks:
            if not self.plan.budget.stopped:
                await task.grade(self.folder, self.observer, self.plan.budget)

    async def make_requests(
        self, provider: Provider, log: RunLog, judge: Judge | None = None
    ) -> bool:
        """Make every planned request that is not in the log yet, as far as the budget allows.

        The attempts that show most defects come first. `judge` is called after each portion, and
        ends the run at a verdict of fail: then the result is False. Raises RunLogError, and
        StoppedAnsweringError.
        """
        plan, outage = self.plan, self._outage(provider)
        for stage in stages(plan.tasks):
            burst = max(stage.burst or 0, plan.info.settings.concurrency)
            part, parts = plan.part
            planned: Iterable[Attempt] = planned_attempts(stage.tasks)
            planned = islice(planned, part - 1, None, parts)
            if not stage.long_replies:  # an eval needs no order, and may have too many attempts
                planned = decisive_first(planned, plan.tasks)
            for attempts in portions(list(planned)) if judge else [planned]:
                await self._attempt(
                    provider, log, attempts, burst, outage, long_replies=stage.long_replies
                )
                if plan.budget.stopped is not None:
                    return True
                if judge is not None and judge().verdict.decision == "fail":
                    return False
        return True

    async def _until_decided(self, log: RunLog, judge: Judge) -> RunEnd | None:
        """Sample in rounds: one more try at every sample of the results that are undecided."""
        plan, settings = self.plan, self.plan.info.settings
        undecided: set[tuple[str, Condition]] | None = None
        made = 0
        async with self._ready() as provider:
            outage = self._outage(provider)
            for number in range(1, max((task.info.tries for task in plan.tasks), default=0) + 1):
                attempts = [
                    attempt
                    for task in plan.tasks
                    for attempt in task.attempts(number)
                    if undecided is None or (attempt.task, attempt.condition) in undecided
                ]
                made += len(attempts)
                if settings.budget_samples is not None and made > settings.budget_samples:
                    return "budget"
                done = sum(attempt.id in log.finished for attempt in attempts)
                self.observer.begin(len(attempts), done)
                await self._attempt(provider, log, attempts, settings.concurrency, outage)
                await self.grade()
                if plan.budget.stopped is not None:
                    return None
                if number < FIRST_LOOK:
                    continue
                results = judge().results
                undecided = {
                    (result.task, result.condition)
                    for result in results
                    if result.baseline is not None and result.baseline.decision == "inconclusive"
                }
                decided = f"{len(results) - len(undecided)} of {len(results)} results decided"
                self.observer.stage(f"round {number}: {decided}")
                if not undecided:
                    return "decided"
                used = sum(result.tokens.output for result in results)
                if settings.budget_tokens is not None and used >= settings.budget_tokens:
                    return "budget"
        return "complete"

    async def _attempt(
        self,
        provider: Provider,
        log: RunLog,
        attempts: Iterable[Attempt],
        concurrency: int,
        outage: Outage,
        *,
        long_replies: bool = True,
    ) -> None:
        async with open_transport(
            as_sampled(provider, concurrency, long_replies=long_replies),
            retries=self.plan.retries or (REPEATS_BROKEN if long_replies else None),
            limit_changed=self.observer.limit_changed,
            watch=outage.watch,
        ) as transport:
            await run_attempts(
                attempts,
                transport=transport,
                log=log,
                concurrency=concurrency,
                observer=self.observer,
                budget=self.plan.budget,
                prices=provider.prices,
                outage=outage,
            )

    def _outage(self, provider: Provider) -> Outage:
        """Watch for an outage; the first condition of the run has the model and API to test."""
        conditions = [condition for info in self.plan.info.tasks for condition in info.conditions]
        if not conditions:
            return Outage(partial(smallest_exchange, provider, provider.apis[0]))
        used = provider.model_copy(update={"model": conditions[0].model})
        return Outage(partial(smallest_exchange, used, conditions[0].api))

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[Provider]:
        """Launch the provider if necessary, and send a test request for each model and API."""
        plan = self.plan
        starting = "starting" if plan.provider.launch else "contacting"
        self.observer.stage(f"{starting} the provider")
        apis: dict[str, dict[Api, None]] = {}
        for condition in (used for info in plan.info.tasks for used in info.conditions):
            apis.setdefault(condition.model, {})[condition.api] = None
        async with launched(plan.provider, self.folder / run_folder.PROVIDER_LOG) as provider:
            for model, used in apis.items():
                tested = provider.model_copy(update={"model": model})
                requests = await preflight(tested, tuple(used), self.observer.stage)
                plan.budget.add_requests(requests)
            for task in plan.tasks:
                plan.budget.add_requests(await task.learn(provider))
            write_run_info(self.folder, learned(plan))
            yield provider
