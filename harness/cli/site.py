"""The command `site`: runs as static pages for publication."""

import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.cli import judging
from harness.cli.bundle import packed
from harness.cli.options import ProvidersFile
from harness.cli.screen import say, show
from harness.comparison.history import history
from harness.comparison.regressions import run_folders
from harness.comparison.site import site_of
from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.integrity.archive import unpack
from harness.providers.entries import load_providers
from harness.records.analysis import Analysis
from harness.storage import run_folder
from harness.storage.run_log import RUN_FILE
from reports.html.site import INDEX, render_site

BUNDLE = "bundle.tar.gz"


def site(*runs: Path, out: Path, providers_file: ProvidersFile = None) -> int:
    """Make a static site of runs: a table of providers, a page for each run, and its records.

    Pages are made from the bundle of each run, which has no keys, no paths of this machine, and no
    texts of gated questions. The site works offline; it depends on the runs and on the prices in
    your providers file only.

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
    """Runs and bundles; any other folder is replaced by the runs and bundles in it."""
    for run in runs:
        single = run.is_file() or (run / RUN_FILE).exists()
        inner = [] if single else [*run_folders(run), *sorted(run.glob("*.tar.gz"))]
        yield from inner or (run,)


def _publish(run: Path, out: Path) -> Analysis:
    """Write the bundle of a run and its page, made from the bundle, into a folder of the site."""
    with TemporaryDirectory(prefix="gpt-oss-verify-") as place:
        file = run if run.is_file() else Path(place) / BUNDLE
        if file != run:
            packed(run, file)
        copy = unpack(file, Path(place))
        analysis = judging.report_again(copy, ("html",))
        folder = out / copy.name
        with os_errors(RunLogError, f"{folder} cannot be written"):
            folder.mkdir(parents=True, exist_ok=True)
            for path in (copy / run_folder.PAGE_FILE, copy / run_folder.ANALYSIS_FILE):
                shutil.copyfile(path, folder / path.name)
            shutil.copyfile(file, folder / BUNDLE)
    return analysis
