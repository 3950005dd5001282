"""The commands `compare` (runs, baselines and published figures) and `history` (runs over time)."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from evals.baselines.column import baseline_column
from gpt_oss_verify.carry_out import sample_with_progress
from gpt_oss_verify.judge_and_report import judge_and_report
from gpt_oss_verify.options import (
    COUNT,
    DEFAULT_OUT,
    RUN,
    AlsoEvals,
    AsJson,
    BudgetOptions,
    CaseOptions,
    GateOptions,
    Options,
    ProviderOptions,
    ProvidersFile,
    SamplingOptions,
    refuse,
    run_place,
)
from gpt_oss_verify.planning import new_plan
from gpt_oss_verify.screen import print_raw, say, show, stdout
from harness.compare.answers import answered_questions
from harness.compare.columns import Column, read_run
from harness.compare.compared import compare as compare_columns
from harness.compare.compared import labelled
from harness.compare.comparison_types import Comparison
from harness.compare.history import history_of
from harness.compare.previous_run import latest_run, since_previous
from harness.errors import (
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_PASS,
    EXIT_UNREACHABLE,
    ConfigurationError,
    ProviderUnavailableError,
)
from harness.records.settings import seconds
from harness.run import run_folder
from harness.run.run_log import RUN_FILE, read_run_info
from reports.comparison import alert, change_sentences, print_comparison, render_compare_markdown
from reports.history import print_history
from reports.html.comparison_page import render_compare_html
from reports.html.site import render_history
from reports.text import moment

STEM = "compare"
_RUN = Parameter(group=RUN)
_JSON = "Print the comparison as JSON on stdout, and write files only with --out."
_PROVIDERS = Parameter(group=Group("Run providers first", sort_key=1))


def compare(
    *runs: str,
    against: Annotated[str | None, _RUN] = None,
    provider: Annotated[tuple[str, ...], _PROVIDERS, Parameter(alias="-p")] = (),
    providers_file: Annotated[ProvidersFile, _PROVIDERS] = None,
    apis: Annotated[str | None, _PROVIDERS, Parameter(alias="--api")] = None,
    cases: CaseOptions = CaseOptions(),
    sampling: SamplingOptions = SamplingOptions(),
    evals: AlsoEvals = None,
    gate: GateOptions = GateOptions(),
    budget: BudgetOptions = BudgetOptions(),
    concurrency: Annotated[int | None, _PROVIDERS, COUNT] = None,
    out: Annotated[Path | None, _RUN] = None,
    as_json: Annotated[AsJson, _RUN, Parameter(help=_JSON)] = False,
) -> int:
    """Show the differences between runs, and which exceed chance.

    Exits with 1 if a run is worse than the reference by more than chance, and with 4 if nothing
    of a run could be compared with it.

    Args:
        runs: Run folders, logs of other harnesses (docs/comparing.md), or baselines.
        against: The run to compare the others with. Default: the first baseline, or the first run.
        provider: Run this provider first; repeat the option for several providers.
        apis: responses, chat, harmony (raw completions), or several separated by commas.
        concurrency: Attempts in flight. Default: that of the provider's entry, or 8.
        out: Folder for compare.html, .md and .json. Default: a new one in runs.
    """
    extra = int(against is not None and against not in runs)
    if len(runs) + len(provider) + extra < 2:
        raise ConfigurationError(
            "Name at least two runs, or providers to run: compare RUN RUN, or "
            "compare --provider A --provider B."
        )
    if not provider:
        refuse(
            "Options of new runs need a provider; add --provider, or",
            *(cases, sampling, gate, budget),
            providers_file=providers_file,
            apis=apis,
            concurrency=concurrency,
            evals=evals,
        )
    shared = Options(
        sampling=sampling,
        gate=gate,
        budget=budget,
        evals=evals,
        concurrency=concurrency,
        cases=cases,
    )
    asked = [ProviderOptions(name, providers_file, apis=apis) for name in provider]
    folders, code = _run([replace(shared, provider=each) for each in asked])
    names = [*runs, *map(str, folders)]
    if len(names) + extra > 1:
        comparison = _comparison(names, against)
        _report(comparison, out, as_json=as_json)
        if code or comparison.worse:
            return code or EXIT_FAIL
        return EXIT_INCONCLUSIVE if comparison.uncompared else EXIT_PASS
    return code


def _run(options: Sequence[Options]) -> tuple[list[Path], int]:
    """Run every provider, and return the folders of the runs and the exit code.

    An unreachable provider is left out, and determines the exit code, because the comparison is
    incomplete. If an option is wrong, no provider is run.
    """
    folders, code = [], EXIT_PASS
    for plan in [new_plan(chosen) for chosen in options]:
        name = plan.provider.name
        folder = run_folder.create(DEFAULT_OUT, name)
        say(f"{name}: {folder}")
        try:
            judge = sample_with_progress(plan, folder)
        except ProviderUnavailableError as error:
            say(f"{name} is left out: {error}")
            code = EXIT_UNREACHABLE
            continue
        judge_and_report(folder, judge=judge)
        folders.append(folder)
    return folders, code


def _report(comparison: Comparison, out: Path | None, *, as_json: bool) -> None:
    """Print a comparison, and write its files unless only JSON is requested."""
    if out is None and not as_json:
        out = run_folder.create(DEFAULT_OUT, STEM)
    if out is not None:
        texts = {
            "html": render_compare_html(comparison, out),
            "md": render_compare_markdown(comparison, out),
            "json": comparison.model_dump_json(indent=2) + "\n",
        }
        for suffix, text in texts.items():
            run_folder.write_text(out / f"{STEM}.{suffix}", text)
    if as_json:
        print_raw(comparison.model_dump_json(indent=2))
    else:
        print_comparison(comparison, f"{out}/{STEM}.html", stdout())


def _comparison(names: Sequence[str], against: str | None) -> Comparison:
    chosen = list(names)
    if against is not None and against not in chosen:
        chosen.insert(0, against)
    twice = [name for name in chosen if chosen.count(name) > 1]
    if twice:
        raise ConfigurationError(f"{twice[0]} is given twice; give each run only once.")
    columns = labelled([_column(name) for name in chosen])
    if all(column.entry.kind == "published" for column in columns):
        raise ConfigurationError("Only published baselines are given; add a run to compare.")
    baselines = (at for at, column in enumerate(columns) if column.entry.kind not in ("run", "log"))
    base = next(baselines, 0) if against is None else chosen.index(against)
    comparison = compare_columns(columns, base, version("gpt-oss-verify"))
    return comparison.model_copy(update={"answers": answered_questions(columns, base)})


def _column(name: str) -> Column:
    path = run_place(Path(name))
    return read_run(path) if (path / RUN_FILE).exists() else baseline_column(name)


def history(
    runs: Path = DEFAULT_OUT,
    /,
    *,
    provider: Annotated[str | None, Parameter(alias="-p")] = None,
    since: str | None = None,
    fail_on_change: bool = False,
    html: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Show the runs of a provider over time. `site` publishes them as pages.

    With --fail-on-change, the latest finished run is compared with the one before it that is
    comparable: the exit code is 1 if it is worse beyond chance.

    Args:
        runs: The folder with the run folders. Default: runs.
        provider: Only this provider. Default: all.
        since: With --fail-on-change: how old the latest run may be, such as 36h or 1d.
        html: Also write a page with charts of pass rates and scores over time.
        fail_on_change: Exit with 1 if worse, 3 without an answer, and 4 if no run is new enough.
    """
    if fail_on_change and provider is None:
        raise ConfigurationError("--fail-on-change needs --provider: the one whose runs count.")
    if since is not None and not fail_on_change:
        raise ConfigurationError("--since needs --fail-on-change.")
    oldest = None if since is None else time.time() - _seconds(since)
    if not runs.is_dir():
        raise ConfigurationError(
            f"There is no folder {runs}; name your folder of runs: history FOLDER."
        )
    past = history_of(runs, provider)
    if provider is not None and not (past.lines or past.unread or fail_on_change):
        raise ConfigurationError(f"There is no run of {provider} in {runs}.")
    if html is not None:
        run_folder.write_text(html, render_history(past, html.parent, version("gpt-oss-verify")))
    if as_json:
        print_raw(past.model_dump_json(indent=2))
    else:
        print_history(past, stdout())
        if html is not None:
            show(f"Page    {html}")
    if provider is None or not fail_on_change:
        return EXIT_PASS
    return _changed(runs, provider, oldest, as_json=as_json)


def _changed(runs: Path, provider: str, oldest: float | None, *, as_json: bool) -> int:
    """Say what changed since the run before the latest one, and return the exit code."""
    latest = latest_run(runs, provider)
    info = None if latest is None else read_run_info(latest)
    since = "" if info is None else info.started_at
    silent = next(reversed(run_folder.unanswered(runs, provider)), None)
    ended = "" if info is None else info.finished_at or info.started_at
    if silent is not None and silent.at > ended and not _before(silent.at, oldest):
        after = f" since {moment(since)}" if since else ""
        say(f"{provider} UNREACHABLE: no finished run{after}: the provider did not answer")
        show(f"{moment(silent.at)}: {silent.why}")
        return EXIT_UNREACHABLE
    if latest is None:
        say(f"There is no finished run of {provider}.")
        return EXIT_INCONCLUSIVE
    if _before(since, oldest):
        say(f"The latest finished run of {provider} is too old: {latest.name}, {moment(since)}.")
        return EXIT_INCONCLUSIVE
    compared = since_previous(latest)
    if compared is None:
        say(f"{latest.name} has no comparable run before it.")
        return EXIT_PASS
    (name, at), comparison = compared
    if not as_json:
        sentences = [line for change in comparison.changes for line in change_sentences(change)]
        show(f"{latest.name}, since {name} ({moment(at)}): {' '.join(sentences)}")
    say(alert(comparison, str(latest / run_folder.PAGE_FILE)))
    return EXIT_FAIL if comparison.worse else EXIT_PASS


def _before(time: str, oldest: float | None) -> bool:
    return oldest is not None and datetime.fromisoformat(time).timestamp() < oldest


def _seconds(text: str) -> float:
    """Return `36h`, `1d` or a number of seconds. Raises ConfigurationError."""
    days = text.removesuffix("d")
    try:
        return float(days) * 86_400 if days != text else seconds(text)
    except ValueError:
        raise ConfigurationError(f"--since must be a time such as 36h or 1d, not {text}.") from None
