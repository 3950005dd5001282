"""The tasks of the harness itself, of a new run and from the folder of an earlier one."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from harness.errors import RunLogError
from harness.golden import files as golden_files
from harness.golden.content import Golden
from harness.records.conditions import MODES, Condition
from harness.records.runs import ProviderInfo, RunInfo, RunSettings
from harness.records.settings import Sampling
from harness.rules.catalogue import PROBES
from harness.rules.probe import ProbeOptions
from harness.rules.suites import choose
from harness.run.cases import Suite, load_suite, planned_cases
from harness.run.run_folder import CASES_FILE, TOOLS_FILE
from harness.tasks.probing import probe_tasks
from harness.tasks.recorded import ImportedTraffic
from harness.tasks.task import Task
from harness.tasks.tool_calling import NAME as TOOL_CALLING
from harness.tasks.tool_calling import ToolCalling


def suite_tasks(
    provider: ProviderInfo,
    settings: RunSettings,
    suite: Suite,
    golden: Golden | None,
    *,
    tries: int,
    sampling: Sampling,
    effort: str | None = None,
    repeated: int = 1,
) -> Iterator[Task]:
    """Yield tool calling, with `tries`, `sampling` and `effort`, and the chosen probe groups.

    The requests of probes that the settings name by their ids are `repeated`.
    """
    chosen = choose(settings.suite, settings.only, settings.skip)
    if chosen.cases:
        modes = (None,) if settings.modes == MODES else settings.modes
        conditions = [
            Condition(model=provider.model, effort=effort, api=api, mode=mode)
            for api, mode in product(settings.apis, modes)
        ]
        yield ToolCalling(
            suite,
            conditions,
            tries=tries,
            sampling=sampling,
            strict=settings.strict,
            extra_body=provider.extra_body,
        )
    options = _probe_options(provider, settings, golden, sampling.max_tokens)
    named = {PROBES[name].group.name for name in settings.only if name in PROBES}
    yield from probe_tasks(
        chosen.probes, options, {name: dict.fromkeys(settings.apis, repeated) for name in named}
    )


def restored_tasks(folder: Path, info: RunInfo) -> list[Task]:
    """Return the tasks of a run, without its evals; `info` is its `run.json`, perhaps changed.

    Raises ConfigurationError if a file of a task cannot be read, and RunLogError if it is not the
    one that `run.json` describes.
    """
    tasks: list[Task] = []
    settings = info.settings
    calling = info.task(TOOL_CALLING)
    if calling is not None:
        calls = ToolCalling(
            planned_cases(restored_suite(folder, calling.files), settings),
            calling.conditions,
            tries=calling.tries,
            further=calling.further,
            sampling=calling.sampling,
            strict=settings.strict,
            extra_body=info.provider.extra_body,
        )
        tasks.append(calls)
    if info.of_kind("probes"):
        chosen = choose(settings.suite, settings.only, settings.skip)
        repetitions = {task.name: task.repetitions for task in info.tasks}
        tasks += probe_tasks(chosen.probes, restored_options(folder, info), repetitions)
    return [*tasks, *map(ImportedTraffic, info.of_kind("traffic"))]


def restored_options(folder: Path, info: RunInfo) -> ProbeOptions:
    """Return what the probes of the run in a folder need; raises as `restored_tasks`."""
    limits = (task.sampling.max_tokens for task in info.of_kind("probes"))
    golden = golden_files.kept(folder, info)
    return _probe_options(info.provider, info.settings, golden, next(limits, None))


def restored_suite(folder: Path, hashes: Mapping[str, str]) -> Suite:
    """Return the cases of the run in a folder; `hashes` are those of `run.json`.

    Raises ConfigurationError or RunLogError.
    """
    suite = load_suite(folder / CASES_FILE, folder / TOOLS_FILE)
    actual = {CASES_FILE: suite.cases_file.sha256, TOOLS_FILE: suite.tools_file.sha256}
    if actual != dict(hashes):
        raise RunLogError(
            f"{CASES_FILE} or {TOOLS_FILE} in {folder} was changed after the run; restore it."
        )
    return suite


def _probe_options(
    provider: ProviderInfo,
    settings: RunSettings,
    golden: Golden | None,
    max_tokens: int | None,
) -> ProbeOptions:
    return ProbeOptions(
        model=provider.model,
        apis=settings.apis,
        golden=golden,
        extra_body=provider.extra_body,
        max_context=settings.max_context,
        max_tokens=max_tokens,
        confirming=not settings.first_tries,
    )
