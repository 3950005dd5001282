"""Runs of several providers, one after another, with the same plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.cli import ending, jobs
from harness.cli.choice import chosen_provider
from harness.cli.options import BudgetOptions, GateOptions, PlanOptions, ProviderOptions
from harness.cli.screen import stderr
from harness.cli.verify import carry_out as sample
from harness.errors import ProviderUnavailableError
from harness.text.plain import plain
from harness.verdict.gate import EXIT_PASS, EXIT_UNREACHABLE


@dataclass(frozen=True)
class Asked:
    """Which providers to run, and what to ask each of them."""

    providers: tuple[str, ...]
    providers_file: Path | None
    apis: str | None
    plan: PlanOptions
    gate: GateOptions
    budget: BudgetOptions
    concurrency: int | None

    def has_options(self) -> bool:
        """Whether anything was said about how to run providers."""
        said = (self.providers_file, self.apis, self.concurrency)
        defaults = PlanOptions(), GateOptions(), BudgetOptions()
        return said != (None, None, None) or (self.plan, self.gate, self.budget) != defaults


def carry_out(asked: Asked) -> tuple[list[Path], int]:
    """Run every provider; the folders of the runs, and the exit code.

    A provider that cannot be reached is said to be so and left out; the exit code then is that of
    an unreachable provider, so that nobody takes the comparison for whole.

    Raises:
        ConfigurationError: A provider or an option is wrong; then none was run.
        StoppedError: The user stopped a run.
    """
    talk = stderr()
    planned = [_options(asked, name) for name in asked.providers]
    for chosen in planned:
        chosen_provider(chosen, asked.concurrency)
    folders, code = [], EXIT_PASS
    for chosen in planned:
        job = jobs.new(chosen, asked.plan, asked.gate, asked.concurrency, None, asked.budget)
        talk.print(f"{chosen.provider}: {job.folder}", soft_wrap=True)
        try:
            sample(job, talk, debug=False)
        except ProviderUnavailableError as error:
            talk.print(plain(f"{chosen.provider} is left out: {error}"), soft_wrap=True)
            code = EXIT_UNREACHABLE
            continue
        ending.judge(job.folder)
        folders.append(job.folder)
    return folders, code


def _options(asked: Asked, name: str) -> ProviderOptions:
    return ProviderOptions(provider=name, providers_file=asked.providers_file, apis=asked.apis)
