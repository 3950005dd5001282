"""The tasks of the harness itself: tool calling and the probe groups."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from harness.cases import Suite
from harness.golden.records import Golden
from harness.probes.suites import choose
from harness.records.conditions import Condition
from harness.records.runs import ProviderInfo, RunSettings, Sampling
from harness.tasks.base import Task
from harness.tasks.probing import ProbeOptions, probe_tasks
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
) -> Iterator[Task]:
    """Tool calling and the probe groups that the settings of a run select.

    Args:
        provider: The provider.
        settings: The settings, which choose cases, probes, APIs and modes.
        suite: The cases, if the settings select them.
        golden: The golden file, if there is one for the model.
        tries: Attempts at each case under each condition.
        sampling: The sampling parameters for the cases.
        effort: The reasoning effort for the cases; None sends none.
    """
    chosen = choose(settings.suite, settings.only, settings.skip)
    if chosen.cases:
        conditions = [
            Condition(model=provider.model, effort=effort, api=api, mode=mode)
            for api, mode in product(settings.apis, settings.modes)
        ]
        yield ToolCalling(
            suite,
            conditions,
            tries=tries,
            sampling=sampling,
            strict=settings.strict,
            extra_body=provider.extra_body,
        )
    options = probe_options(provider, settings, golden)
    yield from probe_tasks(chosen.probes, options)


def probe_options(
    provider: ProviderInfo, settings: RunSettings, golden: Golden | None
) -> ProbeOptions:
    """What the probe groups of a run share."""
    return ProbeOptions(
        provider.model,
        settings.apis,
        provider.limitations,
        golden,
        provider.extra_body,
        settings.max_context,
    )
