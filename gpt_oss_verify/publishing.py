"""The command `site`: runs as a static site."""

import gzip
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from evals.withholding import gated_texts
from gpt_oss_verify.judge_and_report import judge_and_report
from gpt_oss_verify.options import ProvidersFile, RunPath
from gpt_oss_verify.screen import say, show
from harness.compare.history import history
from harness.compare.site import site_of
from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.providers.entries import load_providers
from harness.records.analysis import Analysis
from harness.records.runs import GATE_SETTINGS
from harness.records.settings import Thresholds
from harness.run import run_folder
from harness.run.published_copy import publish, shortened
from harness.run.run_log import COMPRESSED, ROLLOUTS_FILE, RUN_FILE, read_run_info
from reports.html.site import INDEX, render_site

_MOST_BYTES = 800_000  # of the transcripts of a page; the records beside it have all of them


def site(*runs: RunPath, out: Path, providers_file: ProvidersFile = None) -> int:
    """Make a static site: a table of providers, and a page of each run.

    Pages are made from a copy of each run that contains no keys, no paths of this machine, and no
    texts of gated questions. The site works offline and depends only on the runs and on the prices
    in your providers file.

    Args:
        runs: Run folders, or folders that contain them.
        out: The folder of the site.
    """
    judged = [run for run in _expanded(runs) if _is_shown(run)]
    if not judged:
        raise ConfigurationError("Name at least one run: gpt-oss-verify site RUN … --out DIR.")
    prices = {
        name: entry.prices
        for name, entry in load_providers(providers_file).items()
        if entry.prices is not None
    }
    analyses: list[Analysis] = []
    for run in judged:
        say(f"publishing {run}")
        name = run.resolve().name
        if any(name == other.run_id for other in analyses):
            raise ConfigurationError(f"{run} has the name of another run; rename one of the two.")
        analyses.append(_publish(run, out / name))
    over_time = history(out.name, [(analysis.run_id, analysis) for analysis in analyses])
    made = render_site(site_of(analyses, prices, version("gpt-oss-verify")), over_time)
    for name, content in made.items():
        run_folder.write_text(out / name, content)
    show(f"{out}/{INDEX}")
    return 0


def _expanded(runs: Sequence[Path]) -> Iterator[Path]:
    """Yield runs; any other folder is replaced with the runs in it."""
    for run in runs:
        inner = [] if (run / RUN_FILE).exists() else run_folder.run_folders(run)
        yield from inner or (run,)


def _is_shown(run: Path) -> bool:
    """Return whether a run is shown, or say why not. Raises RunLogError for any other folder."""
    if (retest := read_run_info(run).retest) is not None:
        reason = f"is a retest of {retest.name}; a site shows runs of a suite"
    elif not (run / run_folder.ANALYSIS_FILE).exists():  # perhaps of a run that could not start
        reason = f"has no results; judge it with: gpt-oss-verify recheck {run}"
    elif run_folder.read_analysis(run).attempts:
        return True
    else:
        reason = "has no finished attempt"
    say(f"left out: {run} {reason}")
    return False


def _publish(run: Path, folder: Path) -> Analysis:
    """Write the published copy of a run, judged with the gate of the run, into a folder."""
    stored = run_folder.read_analysis(run)
    baseline = stored.run.settings.baseline
    if baseline is not None and Path(baseline).suffix:
        raise ConfigurationError(
            f"{run} is compared with the file {baseline}, which is not published. Compare it with "
            f"published figures first: gpt-oss-verify recheck {run} --baseline range"
        )
    gate = {name: getattr(stored.run.settings, name) for name in GATE_SETTINGS}
    gate["origins"] = shortened(dict(stored.run.settings.origins))
    thresholds = shortened(stored.verdict.thresholds.model_dump(mode="json"))
    with (
        os_errors(RunLogError, f"{folder} cannot be written"),
        TemporaryDirectory(prefix="gpt-oss-verify-") as place,
    ):
        copy = Path(place) / folder.name
        copy.mkdir()
        publish(run, copy, gated_texts(run))
        judge_and_report(copy, Thresholds.model_validate(thresholds), gate, most_bytes=_MOST_BYTES)
        analysis = run_folder.read_analysis(copy)
        if analysis.verdict.decision != stored.verdict.decision:
            raise ConfigurationError(
                f"{run} is not published: its verdict does not follow from the records that would "
                f"be published. Judge it again: gpt-oss-verify recheck {run}"
            )
        for name in (ROLLOUTS_FILE, run_folder.SCORES_FILE):
            packed = gzip.compress((copy / name).read_bytes(), mtime=0)  # the same bytes every time
            (copy / f"{name}{COMPRESSED}").write_bytes(packed)
            (copy / name).unlink()
            (folder / name).unlink(missing_ok=True)  # of an earlier version
        shutil.copytree(copy, folder, dirs_exist_ok=True)
    return analysis
