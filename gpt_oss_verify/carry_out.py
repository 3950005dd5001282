"""Carry out a plan: sample with progress, judge and report; and print what it will cost."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

from evals.cost import Cost, Expectation, Part, expect
from evals.restoring import all_tasks
from gpt_oss_verify.options import DEFAULT_OUT, Options, RunOptions
from gpt_oss_verify.planning import undecided_tries, with_further_tries, with_tries_beyond
from gpt_oss_verify.progress import LineDisplay, display
from gpt_oss_verify.resolve import resolve
from gpt_oss_verify.screen import print_raw, say, show, stdout
from harness.errors import (
    ConfigurationError,
    ProviderUnavailableError,
    StoppedAnsweringError,
    StoppedError,
)
from harness.records.analysis import TaskResult
from harness.records.runs import RunInfo
from harness.rules.catalogue import RULES
from harness.run import run_folder
from harness.run.run_log import read_rollouts, read_run_info
from harness.session import Session
from harness.session import grade as grade_answers
from harness.tasks.plan import Plan, now
from harness.verdict.judge import Judge
from reports.text import counted, visible

Sampler = Callable[[Plan, Path, LineDisplay, Judge], None]


def carry_out(
    plan: Plan, run: RunOptions, *, show_questions: bool = False, sample: Sampler | None = None
) -> int:
    """Sample, judge and report, and return the exit code.

    Raises the errors of `sample_with_progress`.
    """
    folder = run.resume or run_folder.create(run.out or DEFAULT_OUT, plan.provider.name)
    judge = sample_with_progress(
        plan, folder, debug=run.debug, sample=sample or sample_here, as_json=run.as_json
    )
    from gpt_oss_verify.judge_and_report import judge_and_print  # after sampling: slow

    try:
        if run.rescore or _retests_readings(plan.info):
            from gpt_oss_verify.rescore import ReaderOptions, read_replies

            read_replies(folder, ReaderOptions(), "auto")
        return judge_and_print(
            folder,
            judge=judge,
            as_json=run.as_json,
            show_questions=show_questions,
            durations=run.durations or 0,
        )
    except Exception:
        say(f"The replies are kept; judge them again with: gpt-oss-verify recheck {folder}")
        raise


def _retests_readings(info: RunInfo) -> bool:
    """Whether a retest tests a finding that only a reader of its replies finds again."""
    tested = info.retest.rules if info.retest is not None else ()
    return any(rule.rule in RULES and RULES[rule.rule].of_readings for rule in tested)


def sample_here(plan: Plan, folder: Path, screen: LineDisplay, judge: Judge) -> None:
    """Sample in this process, and end the run where its settings say so.

    Raises the errors of `Session.run`.
    """
    session = Session.begun(plan, folder, screen)
    session.run(_judge_portions(session, screen, judge))


async def _judge_portions(session: Session, screen: LineDisplay, judge: Judge) -> None:
    """Judge a run whenever a verdict may end it; else tell the first error of an early look."""
    settings = session.plan.info.settings
    async with aclosing(session.portions()) as portions:
        async for number in portions:
            if settings.until_decided:
                results = judge.so_far(session.plan.info).results
                screen.stage(f"round {number}: {_go_on(session, results)}")
            elif settings.ends_at_failure:
                if judge.so_far(session.plan.info).verdict.decision == "fail":
                    session.end = "decided"
            elif number == 1 and (error := judge.first_error(session.plan.info)) is not None:
                screen.tell(f"first finding: {error.id}: {error.message}")


def _go_on(session: Session, results: Sequence[TaskResult]) -> str:
    """Leave undecided results to further rounds, or end the run; return how many are decided."""
    settings = session.plan.info.settings
    session.undecided = {
        (result.task, result.condition)
        for result in results
        if result.baseline is not None and result.baseline.decision == "inconclusive"
    }
    used = sum(result.tokens.output for result in results)
    if not session.undecided:
        session.end = "decided"
    elif settings.budget_tokens is not None and used >= settings.budget_tokens:
        session.end = "budget"
    return f"{len(results) - len(session.undecided)} of {len(results)} results decided"


def sample_with_progress(
    plan: Plan,
    folder: Path,
    *,
    debug: bool = False,
    sample: Sampler = sample_here,
    as_json: bool = False,
) -> Judge:
    """Sample with progress on stderr, and return the judge, which may have scored some attempts.

    If sampling ends early, the finished attempts are judged, and if the user stops it, the verdict
    so far is printed.

    Raises ConfigurationError if a task cannot be sampled on this machine,
    ProviderUnavailableError if the provider or the grader cannot be used, and StoppedError when the
    user stops the run.
    """
    judge = Judge(folder, plan.tasks)
    try:
        with display(plan.info, debug=debug) as screen:
            sample(plan, folder, screen, judge)
            while (longer := _longer(plan, folder, judge)) is not None:
                if longer.info.settings.first_tries:
                    judge.replan(longer.tasks)
                    added = longer.info.planned - plan.info.planned
                    screen.tell(f"the rate of tool calls is undecided; {added} more tries follow")
                else:
                    judge = Judge(folder, longer.tasks)
                    screen.tell("the first tries found something; all others follow")
                plan = longer
                sample(plan, folder, screen, judge)
    except (ProviderUnavailableError, ConfigurationError) as error:
        discarded = not plan.info.resumed and run_folder.discard_unused(folder)
        if isinstance(error, ProviderUnavailableError) and error.tested:
            run = None if discarded else folder.name
            note = run_folder.Unanswered(
                provider=plan.provider.name, at=now(), why=str(error), run=run
            )
            run_folder.note_unanswered(folder.parent, note)
        if discarded:
            raise
        from gpt_oss_verify.judge_and_report import judge_and_report

        judge_and_report(folder, judge=judge)
        say(f"The finished attempts are judged in {folder}/report.md")
        resume = isinstance(error, StoppedAnsweringError)
        more = f"; continue with --resume {folder}" if resume else ""
        raise type(error)(f"{error}{more}", folder) from None
    except StoppedError as stop:
        from gpt_oss_verify.judge_and_report import judge_and_report, summary
        from reports.terminal import print_report

        made = judge_and_report(folder, judge=judge)
        if as_json:
            message = f"{stop} {folder}"
        else:
            print_report(made, stdout())
            message = "stopped before the end"  # the report says how to finish the run
        raise StoppedError(message, folder, summary(made.analysis, folder)) from None
    return judge


def _longer(plan: Plan, folder: Path, judge: Judge) -> Plan | None:
    """Return the plan with more tries after first tries that do not settle the run.

    All tries follow a finding, a case that was never passed, and whatever else is no PASS. Where
    only the rate of tool calls is undecided, its API and mode alone get more, until it is decided
    or they would be as many as all tries.
    """
    if not plan.info.settings.first_tries or plan.budget.stopped is not None:
        return None
    info = read_run_info(folder)
    analysis = judge.so_far(info)
    found = any(result.status in ("failed", "warned") for result in analysis.checks)
    calling = analysis.tool_calling
    lost = any(not passed for each in calling for passed, made in each.cases.values() if made)
    if found or lost:
        return with_further_tries(plan, folder)
    if further := undecided_tries(info.settings.thresholds, calling):
        return with_tries_beyond(plan, folder, further)
    tried = any(result.further for result in calling)
    return (
        None if tried or analysis.verdict.decision == "pass" else with_further_tries(plan, folder)
    )


def grade(run: Path, options: Options, *, unread: bool, debug: bool, as_json: bool) -> int:
    """Grade the answers of a run, judge it again, and return the exit code.

    Raises ConfigurationError if there is no grader or nothing to grade, and StoppedError.
    """
    from gpt_oss_verify.judge_and_report import judge_and_print, with_settings  # imports reports

    info = read_run_info(run)
    if unread and options.decision.grader_name is None:
        raise ConfigurationError("--unread has no default grader; name one with --grader.")
    chosen = resolve(options, info)
    asked = chosen.provider
    info = with_settings(info, {"unread_grader" if unread else "grader": asked.info()})
    tasks = all_tasks(run, info, asked)
    if not unread and not any(getattr(task, "graded", False) for task in tasks):
        raise ConfigurationError(f"{run} has no HealthBench answers, so there is nothing to grade.")
    plan = Plan(asked, tuple(tasks), info, chosen.budget)
    try:
        with display(info, debug=debug) as screen:
            grade_answers(plan, run, screen)
    except StoppedError:
        again = f"gpt-oss-verify grade {run}"
        raise StoppedError(f"stopped before the end; finish with: {again}") from None
    return judge_and_print(run, as_json=as_json)


_TOKENS_PER_SECOND = 100  # of one reply of gpt-oss; assumed, because nothing has been sent yet


def print_plan(plan: Plan, *, dry_run: bool, as_json: bool, all_tries: Plan | None = None) -> None:
    """Print what a plan will cost: on stdout for `--dry-run`, otherwise on stderr.

    `all_tries` is the plan if the first tries find something.
    """
    expected = expect(plan.tasks, plan.info, plan.provider, plan.grader)
    if all_tries is not None:
        every = expect(all_tries.tasks, all_tries.info, all_tries.provider, None).sampling
        expected = expected.model_copy(update={"all_tries": every})
    if as_json:
        print_raw(expected.model_dump_json(indent=2))
        return
    put = show if dry_run else say
    for line in plan_lines(expected, plan.info.settings.concurrency):
        put(line)
    parts = [expected.sampling, *([expected.grading] if expected.grading else [])]
    costs = [part.dollars for part in parts if part.dollars is not None]
    requests = 0 if plan.info.settings.until_decided else expected.sampling.requests
    if warning := plan.budget.foreseen(requests, plan.provider.rpm, sum(costs)):
        put(warning)


def print_left(plan: Plan, folder: Path) -> int:
    """Print how many attempts of a run are left, by task."""
    made = Counter(rollout.task for rollout in read_rollouts(folder))
    left = Counter({task.name: task.planned for task in plan.info.tasks}) - made
    show(f"{left.total():,} of {plan.info.planned:,} attempts are left")
    for task, count in left.items():
        show(f"  {visible(task)}: {count:,}")
    return 0


def on_ray() -> Sampler:
    """Sampling in shards on a Ray cluster. Raises ConfigurationError without Ray."""
    from evals.ray_cluster import RayExecutor, sample_in_shards

    executor = RayExecutor()
    return lambda plan, folder, screen, _: sample_in_shards(plan, folder, executor, screen)


def plan_lines(expected: Expectation, concurrency: int) -> Iterator[str]:
    """Requests, tokens, cost and time of sampling and grading, and what can be decided."""
    yield from _lines("sampling", expected.sampling, concurrency)
    if (every := expected.all_tries) is not None:
        yield f"  if that finds something: {counted(every.requests, 'request')}, {_tokens(every)}"
    for part in expected.parts if len(expected.parts) > 1 else ():
        yield f"  of which {part.name}: {counted(part.requests, 'request')}, " + _tokens(part)
    if limits := [(name, most) for name, most in expected.limits.items() if most]:
        each = ", ".join(f"{most:,} ({visible(name)})" for name, most in limits)
        yield f"  most tokens of a reply: {each}; --max-tokens changes it"
    if expected.grading is not None:
        yield from _lines("grading", expected.grading, concurrency)
    yield from map(visible, expected.forecasts)


def _lines(what: str, cost: Cost, concurrency: int) -> Iterator[str]:
    yield f"{what} from {visible(cost.provider)}: {counted(cost.requests, 'request')}"
    tokens = f"  tokens: about {_tokens(cost)} (assumed"
    if cost.most_output_tokens is not None:
        tokens += f"; at most {cost.most_output_tokens:,}"
    yield f"{tokens})"
    if cost.dollars is None:
        yield "  cost: unknown; set `prices` in the entry of the provider"
    else:
        yield f"  cost: about ${cost.dollars:,.2f}"
    if cost.minutes is None:
        minutes = cost.output_tokens / (_TOKENS_PER_SECOND * concurrency) / 60
        yield (
            f"  time: about {max(1, round(minutes)):,} min if each of {concurrency} requests in "
            f"flight gets {_TOKENS_PER_SECOND} tokens per second; the run estimates it again"
        )
    else:
        yield f"  time: at least {cost.minutes:,.0f} minutes with the configured limits"


def _tokens(amount: Cost | Part) -> str:
    return f"{amount.input_tokens:,} in, {amount.output_tokens:,} out"
