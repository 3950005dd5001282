"""The requests and output tokens that a run with --until-fail needs to fail a faulty server.

    python benchmarks/cost_of_truth.py [--faults 40] [--seed 1] [--suite full]
    python benchmarks/cost_of_truth.py --runs FOLDER

The runs do not know the fault. Faults are drawn from the visible ones of the catalogue; runs with
faults that only cause warnings end at the last attempt. With `--runs`, the complete runs in the
folder of `gpt-oss-verify selftest --whole --out FOLDER` are judged in the order of --until-fail
instead.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from harness.providers.entries import Provider
from harness.records.conditions import BOTH_APIS, MODES
from harness.records.figures import Decision
from harness.records.runs import RunSettings, SuiteName
from harness.records.scores import Score
from harness.run.cases import load_suite
from harness.run.run_log import RunLog, read_rollouts, read_run_info
from harness.selftest import servers as runner
from harness.selftest.faults import Fault, catalogue
from harness.selftest.rows import row_without_run
from harness.selftest.servers import sampled
from harness.session import InterimResults
from harness.tasks.plan import Plan, decisive_first, portions
from harness.tasks.suite import restored_tasks
from harness.verdict.judge import judge

CONCURRENCY = 16


@dataclass(frozen=True)
class Cost:
    """The cost of a run until its verdict."""

    name: str
    decision: Decision | None
    requests: int
    tokens: int  # of output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--suite", default="full")
    parser.add_argument("--runs", type=Path)
    options = parser.parse_args()
    if options.runs is not None:
        replay(options.runs)
        return
    able = [each for each in catalogue() if not each.allowed and row_without_run(each) is None]
    short = [each for each in able if not each.name.startswith("long")]
    drawn = random.Random(options.seed).sample(short, min(options.faults, len(short)))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(drawn, options.suite, Path(folder)))


def replay(folder: Path) -> None:
    """Judge each recorded run of a fault again, part by part."""
    faults = {each.name for each in catalogue() if not each.allowed}
    costs: list[Cost] = []
    for run in sorted(path.parent for path in folder.glob("**/run.json")):
        if read_run_info(run).provider.name in faults:
            with tempfile.TemporaryDirectory() as part:
                costs.append(replayed(run, Path(part)))
    summarize(costs)


def replayed(run: Path, part: Path) -> Cost:
    """The cost of a recorded run with --until-fail; `part` is an empty folder."""
    info = read_run_info(run)
    settings = info.settings.model_copy(update={"until_fail": True})
    info = info.model_copy(update={"settings": settings, "ended": None})
    plan = Plan(tuple(restored_tasks(run, info)))
    rollouts = {each.id: each for each in read_rollouts(run)}
    interim = InterimResults(part, plan)
    decision: Decision | None = None
    with RunLog(part) as log:
        stages = (decisive_first(plan.attempts(stage), plan.tasks) for stage in plan.stages)
        for attempts in chain.from_iterable(map(portions, stages)):
            for rollout in filter(None, (rollouts.get(each.id) for each in attempts)):
                log.append(rollout)
            decision = interim.verdict(info).decision
            if decision == "fail":
                break
    scores = judge(part, info, list(restored_tasks(run, info))).scores
    return cost(info.provider.name, decision, scores)


async def measure(faults: list[Fault], suite: SuiteName, folder: Path) -> None:
    """Sample servers with these faults."""
    costs: list[Cost] = []
    log = folder / "engine.log"
    async with runner.engine(log, CONCURRENCY) as shared:
        for fault in faults:
            if fault.model:
                async with runner.engine(log, CONCURRENCY, fault) as own:
                    costs.append(await until_fail(own, fault, suite, folder))
            else:
                costs.append(await until_fail(shared, fault, suite, folder))
    summarize(costs)


def summarize(costs: list[Cost]) -> None:
    """Print the median and the 90th percentile of the runs that failed."""
    failed = [each for each in costs if each.decision == "fail"]
    print(f"failed: {len(failed)} of {len(costs)} faults")
    if len(failed) < 2:
        return
    for name, values in (
        ("requests", [each.requests for each in failed]),
        ("output tokens", [each.tokens for each in failed]),
    ):
        tenth = statistics.quantiles(values, n=10)[-1]
        print(f"{name}: median {statistics.median(values):,.0f}, 90 % below {tenth:,.0f}")


async def until_fail(provider: Provider, fault: Fault, suite: SuiteName, folder: Path) -> Cost:
    """Sample a server with a fault until its run fails."""
    settings = RunSettings(
        apis=BOTH_APIS,
        modes=MODES,
        concurrency=CONCURRENCY,
        suite=suite,
        max_context=runner.CONTEXT,
        until_fail=True,
    )
    _, analysis, scores = await sampled(provider, fault, settings, load_suite(), folder, tries=5)
    return cost(fault.name, analysis.verdict.decision, scores)


def cost(name: str, decision: Decision | None, scores: Sequence[Score]) -> Cost:
    """Print and return the cost of the attempts that were made."""
    requests = sum(each.requests for each in scores)
    tokens = sum(each.usage.output or 0 for each in scores)
    print(f"{name:44} {decision!s:14} {requests:6,} {tokens:9,}", flush=True)
    return Cost(name, decision, requests, tokens)


if __name__ == "__main__":
    main()
