"""The commands `audit`, `bundle` and `site`, for sharing runs with others."""

import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evals.withholding import gated_texts
from gpt_oss_verify import judging
from gpt_oss_verify.judging import not_reproducible
from gpt_oss_verify.options import AsJson, ProvidersFile, RunOrBundle, RunPath
from gpt_oss_verify.screen import print_raw, say, show, stdout
from harness.compare.history import history, run_folders, site_of
from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.integrity.archive import opened, scratch_folder, unpack
from harness.integrity.audit import audit as audit_run
from harness.integrity.bundle import bundle as bundle_run
from harness.integrity.records import Manifest
from harness.integrity.secrets import shortened
from harness.providers.entries import load_providers
from harness.records.analysis import Analysis
from harness.records.runs import Thresholds
from harness.run import run_folder
from harness.run.run_log import RUN_FILE
from reports.audit import EXIT_CODES, print_audit
from reports.html.site import INDEX, render_site


def bundle(
    run: RunPath,
    /,
    *,
    out: Path | None = None,
    open_in: Annotated[Path | None, Parameter(name="--open")] = None,
) -> int:
    """Pack a run into one file, which audit, recheck, report and compare accept as a run.

    The bundle contains no keys, no paths of this machine, and no texts of gated questions (GPQA) or
    of the answers to them. Its manifest.json lists what was removed.

    Args:
        run: The run's folder, or its name in `runs`; with --open, the bundle.
        out: The file to write. Default: <run>.tar.gz.
        open_in: Unpack a bundle into a new folder in this one.
    """
    if open_in is not None:
        if out is not None:
            raise ConfigurationError("--open unpacks a bundle and --out packs one; use only one.")
        written = unpack(run, open_in)
    else:
        written = out or Path(f"{run.resolve().name}.tar.gz")
        manifest = packed(run, written)
        for removal in manifest.removals:
            say(f"removed: {removal.what} ({removal.count}): {removal.why}")
        if manifest.seal:
            say(f"seal: {manifest.seal[:32]}")
    show(str(written))
    return 0


def packed(run: Path, file: Path) -> Manifest:
    """Pack a run into a file. Raises ConfigurationError or RunLogError."""
    return bundle_run(run, file, gated_texts, _judge)


def _judge(copy: Path, stored: Analysis) -> None:
    """Judge a copy with the gate of the run, in which paths are shortened."""
    baseline = stored.run.settings.baseline
    if baseline is not None and Path(baseline).suffix:
        raise ConfigurationError(
            f"The run is compared with the file {baseline}, which is not part of a bundle. Compare "
            "it with published figures first: gpt-oss-verify recheck RUN --baseline range"
        )
    gate = judging.gate_of(stored)
    gate["origins"] = shortened(dict(stored.run.settings.origins))
    thresholds = shortened(stored.verdict.thresholds.model_dump(mode="json"))
    judging.judge_and_report(copy, Thresholds.model_validate(thresholds), gate)


def audit(run: RunOrBundle, /, *, seal: str | None = None, as_json: AsJson = False) -> int:
    """Check that a run is unchanged: no record was removed, changed, added or sampled twice.

    Only a seal that you stored elsewhere proves that the whole run was not replaced.

    Args:
        seal: The seal that the run must have, or at least its first 16 digits.
    """
    with opened(run) as folder:
        result = audit_run(folder, seal, not_reproducible)
    if as_json:
        print_raw(result.model_dump_json(indent=2))
    else:
        print_audit(result, stdout())
    return EXIT_CODES[result.conclusion]


BUNDLE = "bundle.tar.gz"


def site(*runs: RunPath, out: Path, providers_file: ProvidersFile = None) -> int:
    """Make a static site of runs: a table of providers, a page for each run, and its records.

    Pages are made from the bundle of each run, which contains no keys, no paths of this machine,
    and no texts of gated questions. The site works offline and depends only on the runs and on the
    prices in your providers file.

    Args:
        runs: Run folders, bundles, or folders that contain them.
        out: The folder of the site.
    """
    found = list(_expanded(runs))
    if not found:
        raise ConfigurationError("Name at least one run: gpt-oss-verify site RUN … --out DIR.")
    prices = {
        name: entry.prices
        for name, entry in load_providers(providers_file).items()
        if entry.prices is not None
    }
    analyses: list[Analysis] = []
    for run in found:
        say(f"publishing {run}")
        analysis = _publish(run, out)
        if any(analysis.run_id == other.run_id for other in analyses):
            raise ConfigurationError(f"{run} has the name of another run; rename one of the two.")
        analyses.append(analysis)
    over_time = history(out.name, [(each.run_id, each) for each in analyses])
    made = render_site(site_of(analyses, prices, version("gpt-oss-verify")), over_time)
    for name, content in made.items():
        run_folder.write_text(out / name, content)
    show(f"{out}/{INDEX}")
    return 0


def _expanded(runs: Sequence[Path]) -> Iterator[Path]:
    """Runs and bundles; any other folder is replaced with the runs and bundles in it."""
    for run in runs:
        single = run.is_file() or (run / RUN_FILE).exists()
        inner = [] if single else [*run_folders(run), *sorted(run.glob("*.tar.gz"))]
        yield from inner or (run,)


def _publish(run: Path, out: Path) -> Analysis:
    """Write the bundle of a run and its page, made from the bundle, into a folder of the site."""
    with scratch_folder() as place:
        file = run if run.is_file() else place / BUNDLE
        if file != run:
            packed(run, file)
        copy = unpack(file, place)
        analysis = judging.rewrite_reports(copy, ("html",))
        folder = out / copy.name
        with os_errors(RunLogError, f"{folder} cannot be written"):
            folder.mkdir(parents=True, exist_ok=True)
            for path in (copy / run_folder.PAGE_FILE, copy / run_folder.ANALYSIS_FILE):
                shutil.copyfile(path, folder / path.name)
            shutil.copyfile(file, folder / BUNDLE)
    return analysis
