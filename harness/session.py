"""Sample a run into its folder, a portion at a time; whoever consumes the portions judges them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, Self, TypeVar

from harness.api.statuses import passing_failures
from harness.errors import ProviderUnreachableError, StoppedAnsweringError, StoppedError
from harness.providers.entries import Provider
from harness.records.conditions import Api, Condition
from harness.records.runs import RunEnd
from harness.run import run_folder
from harness.run.attempts import Attempt
from harness.run.launch import launched
from harness.run.preflight import preflight, smallest_exchange
from harness.run.run_log import RunLog, read_chosen, read_rollouts, write_run_info
from harness.run.sampling import Observer, run_attempts, run_until_stopped
from harness.statistics.noninferiority import FIRST_LOOK
from harness.tasks.attempt_order import (
    EARLY_LOOK,
    Stage,
    decisive_first,
    planned_attempts,
    portions,
    stages,
)
from harness.tasks.plan import Plan, ended, learned, started
from harness.transport import open_transport
from harness.transport.outage import Outage
from harness.transport.retry import RETRIES, RetryPolicy

REPEATS_BROKEN = RetryPolicy({**RETRIES, "broken": 4})
"""A broken response does not measure the model's ability: it is requested again, and recorded."""
ALONE = RetryPolicy({**RETRIES, "overloaded": 4, "passing": 2})
"""Alone, a request is not in the way of others: it is repeated only against chance."""
MOST_ALONE = 64  # requests of a run that are sent again alone
_EXAMPLES = 2_000  # attempts of earlier sessions that show how long others may take
T = TypeVar("T")
_RESERVE, _SECONDS_TO_JUDGE = 0.1, 0.01
"""The most of a deadline that is kept for judging, and the seconds for each planned attempt: 1,600
exchanges took 11 s on a busy core (2026-11)."""
LONG_REPLY = 1800.0
"""Seconds that a request of a task with long replies may take unless a timeout is set."""


def as_sampled(provider: Provider, concurrency: int, *, long_replies: bool) -> Provider:
    """Return the provider as a stage samples it; long replies get more time by default."""
    changes: dict[str, object] = {"concurrency": concurrency}
    if long_replies and "timeout" not in provider.model_fields_set:
        changes["timeout"] = LONG_REPLY
    return provider.model_copy(update=changes)


@dataclass
class Session:
    """The sampling and grading of a plan in a folder.

    Attributes:
        end: Why the run ended, if it did. Whoever consumes `portions` ends it by setting this.
        undecided: The results that further rounds sample, by task and condition; None for all.
            Whoever consumes the rounds of a run with `until_decided` sets it.
        replies: The tries of this session, by status or failure.
        made: The attempts of the run that are on disk.
    """

    plan: Plan
    folder: Path
    observer: Observer
    end: RunEnd | None = None
    undecided: Collection[tuple[str, Condition]] | None = None
    replies: Counter[str] = field(default_factory=Counter)
    made: int = 0

    @classmethod
    def begun(cls, plan: Plan, folder: Path, observer: Observer) -> Self:
        """Return the session that samples the rest of a run; writes its files. Raises RunLogError.

        A run that was decided stays so.
        """
        plan = started(plan, folder)
        before = plan.info.ended
        keeps = before == "decided" or plan.info.settings.until_decided
        return cls(plan, folder, observer, before if keeps else None)

    def run(self, main: Coroutine[Any, Any, object]) -> None:
        """Run `main`, which consumes `portions`, and record how the run ended.

        Raises ProviderUnavailableError if the provider or the grader could not be used at all,
        StoppedAnsweringError if it stopped answering, RunLogError, and StoppedError.
        """
        plan = self.plan
        try:
            run_until_stopped(_before_deadline(plan, main))
        except StoppedAnsweringError as error:
            self._write_stopped(f", because {error}")
            raise StoppedAnsweringError(f"{error}; {self._replies()}") from None
        except StoppedError:
            self._write_stopped("")
            raise
        if plan.budget.stopped is not None and not plan.budget.requests:
            raise ProviderUnreachableError(
                f"provider {plan.provider.name} did not answer at {plan.provider.base_url} before "
                f"the deadline of {plan.budget.limits.deadline} s; check that it is running, or "
                "allow it more time"
            )
        if plan.budget.stopped is not None:
            self._write_stopped(f" by the budget, {plan.budget.stopped}")
        else:
            write_run_info(self.folder, ended(plan, self.end))

    def _write_stopped(self, why: str) -> None:
        """Record how far the run came before it was stopped, why, and with what replies."""
        planned = self.plan.info.planned
        made = f"{min(self.made, planned):,} of {planned:,} attempts"  # some are made again
        sentence = f"Stopped after {made}{why}; {self._replies()}."
        info = ended(self.plan, self.end).model_copy(update={"stopped": sentence})
        write_run_info(self.folder, info)

    def _replies(self) -> str:
        """Return how many tries had which status or failure: `replies: status 429 × 720`."""
        counts = (
            f"{'status ' if kind.isdecimal() else ''}{kind} × {many:,}"
            for kind, many in self.replies.most_common()
        )
        of = " of this session" if self.plan.info.resumed else ""
        return f"replies{of}: {', '.join(counts) or 'none'}"

    async def portions(self) -> AsyncGenerator[int]:
        """Sample and grade what is missing, and yield the number of each portion that has ended.

        Nothing is in flight then. With `until_decided`, a portion is a round: one more try at every
        sample of the results that are undecided. Raises the errors of `run`.
        """
        info = self.plan.info
        with RunLog(self.folder) as log:
            try:
                if self.end is not None:
                    return
                if info.settings.until_decided:
                    async for number in self._rounds(log):
                        yield number
                    return
                planned = planned_attempts(self.plan.tasks) if log.finished else ()
                done = Counter(each.task for each in planned if each.id in log.finished)
                again = [e for e in self._alone() if e.id not in log.finished] if done else []
                left = Counter({task.name: task.planned for task in info.tasks}) - done
                if left or again:
                    async with self._ready() as provider:
                        self.observer.begin(left, done.total())
                        for rollout in islice(read_rollouts(self.folder), _EXAMPLES if done else 0):
                            self.observer.before(rollout)
                        async for number in self.attempts(provider, log):
                            yield number
            finally:
                self.made = log.count
        if self.end is None:
            await self.grade()
            self.end = None if self.plan.budget.stopped else "complete"

    async def grade(self) -> None:
        """Grade the answers that have no grade yet, as far as the budget allows."""
        for task in self.plan.tasks:
            if not self.plan.budget.stopped:
                await task.grade(self.folder, self.observer, self.plan.budget)

    async def attempts(self, provider: Provider, log: RunLog) -> AsyncGenerator[int]:
        """Make every planned attempt that is not in the log yet, as far as the budget allows.

        The attempts that show most defects come first. The number of a portion is yielded when it
        has ended and another follows. In the end, with nothing else in flight, requests whose
        failure may be due to the load are sent again, one at a time: a form of request is not
        blamed for what the load did. Raises RunLogError, and StoppedAnsweringError.
        """
        plan, outage = self.plan, self._outage(provider)
        planned = [(stage, part) for stage in stages(plan.tasks) for part in self._portions(stage)]
        for number, (stage, part) in enumerate(planned, 1):
            burst = max(stage.burst or 0, plan.info.settings.concurrency)
            if plan.info.retest is not None and plan.info.settings.concurrency == 1:
                burst = 1  # to show what needs load
            await self._attempt(provider, log, part, burst, outage, long=stage.long_replies)
            if plan.budget.stopped is not None:
                return
            if number < len(planned):
                yield number
            if self.end is not None:
                return
        if again := self._alone():
            self.observer.begin(Counter(each.task for each in again), what="requests alone")
            await self._attempt(provider, log, again, 1, outage, long=False, retries=ALONE)

    def _alone(self) -> list[Attempt]:
        """Return the attempts to make again alone, of each task in turn. Raises RunLogError."""
        probes = [task for task in self.plan.tasks if task.info.kind == "probes"]
        others = [task for task in self.plan.tasks if task.info.kind != "eval"]
        planned = {attempt.id for task in others for attempt in task.all_attempts()}
        made = [e for e in read_chosen(self.folder, planned) if e.exchanges]
        last = {rollout.id: rollout.exchanges[-1] for rollout in made}
        passing = passing_failures((rollout, rollout.exchanges[-1]) for rollout in made)
        turns = zip_longest(*(task.alone(last, passing) for task in probes))
        return list(islice(filter(None, chain.from_iterable(turns)), MOST_ALONE))

    def _portions(self, stage: Stage) -> Iterator[Iterable[Attempt]]:
        """Yield the attempts of a stage that are sampled together, in order."""
        part, parts = self.plan.part
        planned = islice(planned_attempts(stage.tasks), part - 1, None, parts)
        if stage.long_replies:  # an eval needs no order, and may have too many attempts
            yield planned
            return
        ordered = decisive_first(planned, self.plan.tasks)
        if self.plan.info.settings.ends_at_failure:
            yield from portions(ordered)
        elif stage.burst is not None:
            yield ordered
        else:
            yield from filter(None, (ordered[:EARLY_LOOK], ordered[EARLY_LOOK:]))

    async def _rounds(self, log: RunLog) -> AsyncGenerator[int]:
        """Sample and grade in rounds, and yield the number of each one that may decide."""
        plan, settings = self.plan, self.plan.info.settings
        made = 0
        async with self._ready() as provider:
            outage = self._outage(provider)
            for number in range(1, max((task.info.tries for task in plan.tasks), default=0) + 1):
                attempts = [
                    attempt
                    for task in plan.tasks
                    for attempt in task.attempts(number)
                    if self.undecided is None or (attempt.task, attempt.condition) in self.undecided
                ]
                made += len(attempts)
                if settings.budget_samples is not None and made > settings.budget_samples:
                    self.end = "budget"
                    return
                left = Counter(each.task for each in attempts if each.id not in log.finished)
                self.observer.begin(left, len(attempts) - left.total())
                await self._attempt(provider, log, attempts, settings.concurrency, outage)
                await self.grade()
                if plan.budget.stopped is not None:
                    return
                if number >= FIRST_LOOK:
                    yield number
                if self.end is not None:
                    return
        self.end = "complete"

    async def _attempt(
        self,
        provider: Provider,
        log: RunLog,
        attempts: Iterable[Attempt],
        concurrency: int,
        outage: Outage,
        *,
        long: bool = True,
        retries: RetryPolicy | None = None,
    ) -> None:
        async with open_transport(
            as_sampled(provider, concurrency, long_replies=long),
            retries=self.plan.retries or retries or (REPEATS_BROKEN if long else None),
            limit_changed=self.observer.limit_changed,
            retrying=self.observer.retrying,
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
            smallest = partial(smallest_exchange, provider, provider.apis[0])
        else:
            used = provider.model_copy(update={"model": conditions[0].model})
            smallest = partial(smallest_exchange, used, conditions[0].api)
        return Outage(smallest, self.replies)

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
                requests = await preflight(
                    tested, tuple(used), self.observer.stage, self.observer.tested
                )
                plan.budget.add_requests(requests)
            for task in plan.tasks:
                plan.budget.add_requests(await task.learn(provider))
            write_run_info(self.folder, learned(plan))
            yield provider


def sample(plan: Plan, folder: Path, observer: Observer) -> None:
    """Sample the rest of a run whose verdict does not end it. Raises the errors of `Session.run`.

    A run with `until_decided` or `until_fail` is sampled to its end.
    """
    session = Session.begun(plan, folder, observer)

    async def exhaust() -> None:
        async for _ in session.portions():
            pass

    session.run(exhaust())


def grade(plan: Plan, folder: Path, observer: Observer) -> None:
    """Grade the answers of a run without sampling, and set its grader.

    Raises the errors of `Session.run`.
    """
    run_until_stopped(_before_deadline(plan, Session(plan, folder, observer).grade()))
    limit = plan.budget.stopped
    stopped = f"Stopped by the budget, {limit}; finish it with `grade RUN`." if limit else None
    info = plan.info.model_copy(update={"stopped": stopped})
    if info.ended is None and sum(1 for _ in read_rollouts(folder)) >= info.planned:
        info = ended(plan, "complete")
    write_run_info(folder, info)


async def _before_deadline(plan: Plan, main: Coroutine[Any, Any, T]) -> T | None:
    """Return what `main` returns; shortly before the deadline, cancel it and return None.

    The rest of the time is a reserve, in which what was sampled is judged.
    """
    left = plan.budget.seconds_left
    if left is not None:
        left -= min(_RESERVE * left, plan.info.planned * _SECONDS_TO_JUDGE)
    try:
        async with asyncio.timeout(left) as limit:
            return await main
    except TimeoutError:
        if not limit.expired():
            raise
        plan.budget.deadline_passed()
        return None
