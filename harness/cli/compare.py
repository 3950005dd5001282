"""The command `compare`: runs, baselines and published figures in one comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from harness.cli.options import (
    DEFAULT_OUT,
    EVALS,
    RUN,
    BudgetOptions,
    CaseOptions,
    GateOptions,
    ProviderOptions,
    SamplingOptions,
    at_least,
)
from harness.errors import ConfigurationError, ProviderUnavailableError

if TYPE_CHECKING:
    from harness.cli.planning import Options

_RUN = Parameter(group=RUN)
_PROVIDERS = Parameter(group=Group("Run providers first", sort_key=1))
_CASES = CaseOptions()
_SAMPLING = SamplingOptions()
_GATE = GateOptions()
_BUDGET = BudgetOptions()


def compare(
    *runs: str,
    against: Annotated[str | None, _RUN] = None,
    provider: Annotated[tuple[str, ...], _PROVIDERS, Parameter(alias="-p")] = (),
    providers_file: Annotated[Path | None, _PROVIDERS, Parameter(name="--providers")] = None,
    apis: Annotated[str | None, _PROVIDERS, Parameter(alias="--api")] = None,
    cases: CaseOptions = _CASES,
    sampling: SamplingOptions = _SAMPLING,
    evals: Annotated[str | None, Parameter(group=EVALS)] = None,
    gate: GateOptions = _GATE,
    budget: BudgetOptions = _BUDGET,
    concurrency: Annotated[int | None, _PROVIDERS] = None,
    out: Annotated[Path | None, _RUN] = None,
    as_json: Annotated[bool, _RUN, Parameter(name="--json")] = False,
) -> int:
    """Compare runs: what differs, and which differences exceed chance.

    Args:
        runs: Run folders, bundles, baseline files, or published baselines (range, card, …).
        against: The reference. Default: the first.
        provider: Run this provider first; repeat the option for several providers.
        providers_file: Another file than ./providers.yaml.
        apis: responses, chat, or both separated by a comma.
        cases: Which tool-call cases and probes to run.
        sampling: How to sample.
        evals: Also run evals; quick: AIME 2025 and GPQA Diamond in 318 requests.
        gate: What each run must reach.
        budget: What each run may use.
        concurrency: Attempts in flight. Default: the provider entry's, or 8.
        out: Folder for compare.html, .md and .json. Default: a new one in runs.
        as_json: Print the comparison as JSON on stdout, and write files only with --out.
    """
    from harness.cli import comparing, planning

    at_least(1, {"-n": cases.first, "--max-turns": cases.max_turns, "--concurrency": concurrency})
    extra = int(against is not None and against not in runs)
    if len(runs) + len(provider) + extra < 2:
        raise ConfigurationError(
            "Name at least two runs, or providers to run: compare RUN RUN, or "
            "compare --provider A --provider B."
        )
    given = (providers_file, apis, evals, concurrency, cases, sampling, gate, budget)
    defaults = (None, None, None, None, _CASES, _SAMPLING, _GATE, _BUDGET)
    if not provider and given != defaults:
        raise ConfigurationError("Options of runs need a provider; add --provider or remove them.")
    options = [
        planning.Options(
            ProviderOptions(provider=name, providers_file=providers_file, apis=apis),
            sampling,
            gate,
            budget,
            cases,
            evals,
            concurrency=concurrency,
        )
        for name in provider
    ]
    folders, code = _run(options)
    names = [*runs, *map(str, folders)]
    if len(names) + extra > 1:
        comparing.compare(names, against, out, as_json=as_json)
    return code


def _run(options: Sequence[Options]) -> tuple[list[Path], int]:
    """Run every provider; the folders of the runs, and the exit code.

    A provider that is unreachable is left out, and the exit code is then that of an unreachable
    provider, because the comparison is incomplete.

    Raises:
        ConfigurationError: A provider or an option is wrong; then no provider was run.
        StoppedError: The user stopped a run.
    """
    from harness.cli import judging, planning
    from harness.cli.screen import stderr
    from harness.cli.verify import sample_shown
    from harness.pipeline.exit_codes import EXIT_PASS, EXIT_UNREACHABLE
    from harness.text.plain import plain

    folders, code, talk = [], EXIT_PASS, stderr()
    for draft in [planning.draft(each) for each in options]:
        job = draft.job(DEFAULT_OUT)
        talk.print(f"{draft.provider.name}: {job.folder}", soft_wrap=True)
        try:
            sample_shown(job)
        except ProviderUnavailableError as error:
            talk.print(plain(f"{draft.provider.name} is left out: {error}"), soft_wrap=True)
            code = EXIT_UNREACHABLE
            continue
        judging.judge(job.folder)
        folders.append(job.folder)
    return folders, code
