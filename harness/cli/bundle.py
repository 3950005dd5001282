"""A run packed for publication, and a bundle opened again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from harness.bundling.copying import Hiding

_MAY_DIFFER = ("run", "run_id", "dataset", "detail")
"""Members in which the judgement of a copy may differ: what was replaced, and quoted errors."""


def bundle(
    run: Path,
    /,
    *,
    out: Path | None = None,
    open_in: Annotated[Path | None, Parameter(name="--open")] = None,
) -> int:
    """Pack a run into one file that audit, recheck, report and compare take in place of its folder.

    Keys are looked for again and taken out, paths of this machine shortened, and the texts of gated
    questions (GPQA) and of the answers to them replaced. manifest.json in it says what was removed.

    Args:
        run: The run's folder; with --open, the bundle.
        out: The file to write. Default: <run>.tar.gz.
        open_in: Unpack a bundle below this folder instead.
    """
    from harness.bundling.archive import unpack
    from harness.cli.screen import stdout

    if open_in is not None:
        if out is not None:
            raise ConfigurationError("--open unpacks a bundle and --out packs one; leave out one.")
        made = unpack(run, open_in)
    else:
        made = _packed(run, out or Path(f"{run.resolve().name}.tar.gz"))
    stdout().print(str(made), soft_wrap=True)
    return 0


def opened_to_stay(run: Path) -> Path:
    """The folder of a run; of a bundle a new one, outside the working folder, that is kept.

    Raises:
        RunLogError: The file is no bundle.
    """
    from harness.bundling.archive import unpack
    from harness.cli.screen import stderr

    if not run.is_file():
        return run
    folder = unpack(run, Path(mkdtemp(prefix="gpt-oss-verify-")))
    stderr().print(f"{run} was opened in {folder}", soft_wrap=True)
    return folder


def _packed(run: Path, out: Path) -> Path:
    """Pack a run, as long as the copy is judged as the run was."""
    from harness.bundling.archive import pack
    from harness.bundling.copying import copy_run, write_manifest
    from harness.bundling.scrubbing import Scrubber, known_secrets
    from harness.cli.screen import stderr

    _require_judged(run)
    with TemporaryDirectory(prefix="gpt-oss-verify-") as place:
        copy = Path(place) / run.resolve().name
        copy.mkdir()
        manifest = copy_run(run, copy, _hiding(run), Scrubber(known_secrets()))
        _judge(run, copy)
        if _judgement(copy) != _judgement(run):
            raise ConfigurationError(
                f"{run} is not packed: without what was taken out it is judged differently. "
                f"Judge it anew with: gpt-oss-verify recheck {run}"
            )
        write_manifest(copy, manifest)
        pack(copy, out)
    for removal in manifest.removals:
        text = f"removed: {removal.what} ({removal.count}): {removal.why}"
        stderr().print(text, soft_wrap=True)
    if manifest.seal:
        stderr().print(f"seal: {manifest.seal[:32]}", soft_wrap=True)
    return out


def _require_judged(run: Path) -> None:
    from harness.errors import RunLogError
    from harness.storage.run_folder import ANALYSIS_FILE
    from harness.storage.run_log import run_kind

    run_kind(run)
    if not (run / ANALYSIS_FILE).exists():
        raise RunLogError(f"{run} was not judged yet; do it with: gpt-oss-verify recheck {run}")


def _hiding(run: Path) -> Hiding:
    from harness.bundling.copying import NothingHidden
    from harness.storage.run_log import SMOKE_TEST, run_kind

    if run_kind(run) == SMOKE_TEST:
        return NothingHidden()
    from evals.withholding import GatedTexts

    return GatedTexts(run)


def _judge(run: Path, copy: Path) -> None:
    """Judge the copy of a run by what the run was judged by; whose paths that names is left out."""
    from harness.bundling.scrubbing import shortened
    from harness.storage.run_log import SMOKE_TEST, run_kind

    if run_kind(run) == SMOKE_TEST:
        from harness.cli import ending
        from harness.storage.run_folder import read_analysis

        thresholds = read_analysis(run).verdict.thresholds
        told = shortened(thresholds.model_dump(mode="json"))
        ending.judge(copy, type(thresholds).model_validate(told))
        return
    from evals.run_folder import read_analysis as read_eval_analysis

    from harness.cli import eval_ending
    from harness.cli.eval_options import EvalGateOptions

    stored = read_eval_analysis(run)
    baseline = stored.run.settings.baseline
    if baseline is not None and Path(baseline).suffix:
        raise ConfigurationError(
            f"{run} is held to the file {baseline}, which others do not have. Hold it to published "
            f"figures first: gpt-oss-verify recheck {run} --baseline range"
        )
    held_to = eval_ending.held_to(stored)
    held_to["origins"] = shortened(dict(stored.run.settings.origins))
    eval_ending.judge(copy, EvalGateOptions(held_to=held_to))


def _judgement(folder: Path) -> object:
    """What a run was judged to be, without what may differ in a copy, and paths shortened."""
    from harness.bundling.scrubbing import shortened
    from harness.storage.run_folder import ANALYSIS_FILE

    return _compared(shortened(json.loads((folder / ANALYSIS_FILE).read_bytes())))


def _compared(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: _compared(inner) for k, inner in value.items() if k not in _MAY_DIFFER}
    return [_compared(inner) for inner in value] if isinstance(value, list) else value
