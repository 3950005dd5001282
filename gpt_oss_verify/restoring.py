"""Earlier runs: their tasks from their folders, and the plans that finish them."""

from pathlib import Path

from evals.healthbench.grading import DEFAULT_GRADER
from evals.restoring import restored_evals
from gpt_oss_verify.choice import budget_of, gate_for, same_provider, thresholds_of_run
from gpt_oss_verify.options import BudgetOptions, GateOptions, ProviderOptions
from harness.errors import ConfigurationError
from harness.providers.entries import Provider, find_provider
from harness.records.runs import RunInfo
from harness.run.run_log import read_run_info
from harness.tasks.plan import Plan, continued
from harness.tasks.suite import restored_tasks
from harness.tasks.task import Task
from harness.tasks.tool_calling import NAME as TOOL_CALLING


def resume(
    folder: Path,
    provider: ProviderOptions,
    gate: GateOptions,
    budget: BudgetOptions,
    concurrency: int | None,
    tries: int | None = None,
) -> Plan:
    """Return the plan that finishes a run, or adds `tries` at tool-call cases to it.

    Raises ConfigurationError or RunLogError.
    """
    info = read_run_info(folder)
    if tries is not None:
        info = _with_tries(folder, info, tries)
    entry = same_provider(info.provider, provider, concurrency)
    grader = _grader_of_run(info, entry, provider)
    limits = gate_for(entry, provider.providers_file, gate, budget)
    spending = budget_of(limits, entry, *filter(None, [grader]))
    thresholds = thresholds_of_run(gate, info)
    return continued(info, entry, restore(folder, info, grader), spending, thresholds)


def restore(folder: Path, info: RunInfo, grader: Provider | None = None) -> list[Task]:
    """The tasks of the run in `folder`; `info` is its `run.json`, perhaps with other settings.

    Without a `grader` nothing can be graded. Raises ConfigurationError if a file of a task cannot
    be read, and RunLogError if it is not the one that `run.json` describes.
    """
    return [*restored_tasks(folder, info), *restored_evals(folder, info, grader)]


def _with_tries(folder: Path, info: RunInfo, tries: int) -> RunInfo:
    """Return `run.json` with more tries at each tool-call case. Raises ConfigurationError."""
    calling = info.task(TOOL_CALLING)
    if calling is None or info.shard is not None or info.merged:
        raise ConfigurationError(f"{folder} has no tool-call cases of its own; leave out --tries.")
    if tries < calling.tries:
        raise ConfigurationError(
            f"{folder} has {calling.tries} tries of each case; --tries must be larger."
        )
    if tries == calling.tries:
        return info
    planned = calling.planned // calling.tries * tries
    more = calling.model_copy(update={"tries": tries, "planned": planned})
    tasks = tuple(more if each is calling else each for each in info.tasks)
    return info.model_copy(update={"tasks": tasks, "ended": None, "finished_at": None})


def same_grader(info: RunInfo, chosen: ProviderOptions) -> Provider:
    """Return the grader of an earlier run. Raises ConfigurationError."""
    before = info.settings.grader
    if before is None:
        raise ConfigurationError("The run has no grader; name one with --grader.")
    if before.name == DEFAULT_GRADER:
        return find_provider(before.name, chosen.providers_file)
    return same_provider(before, chosen, None)


def _grader_of_run(info: RunInfo, provider: Provider, chosen: ProviderOptions) -> Provider | None:
    before = info.settings.grader
    if before is None:
        return None
    if (before.name, before.base_url) == (info.provider.name, info.provider.base_url):
        # The provider grades its own answers, with the key of this call.
        return provider.model_copy(update={"model": before.model})
    return same_grader(info, ProviderOptions(providers_file=chosen.providers_file))
