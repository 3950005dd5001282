"""Commands on golden files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from harness.cli.screen import print_raw, stderr, stdout
from harness.errors import ConfigurationError
from harness.golden import files, teacher_forcing
from harness.golden.create import create as create_golden
from harness.golden.distance import distance, shown
from harness.golden.engine import EngineOptions
from harness.golden.records import Distance, Golden, Tolerance
from harness.pipeline.exit_codes import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from harness.probes import golden_prompts
from harness.storage.run_folder import GOLDEN_FILE
from harness.storage.run_log import read_rollouts, read_run_info

app = App(name="golden", help="Golden files: the logprobs of a trusted engine.")


@app.command
def create(
    *,
    checkpoint: Path,
    out: Path,
    model: tuple[str, ...],
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: Literal["cpu", "cuda"] = "cpu",
    current_date: str | None = None,
    threads: int | None = None,
) -> int:
    """Create a golden file with the reference engine, with tolerances from healthy runs.

    Args:
        checkpoint: Folder of the checkpoint, in OpenAI's or Hugging Face's layout.
        out: The file to write.
        model: Name under which providers serve it; may be repeated.
        dtype: Number format of the golden replies. Default: float32.
        device: Where to compute. Default: cpu.
        current_date: Date line of the system message, YYYY-MM-DD. Default: none.
        threads: CPU threads.
    """
    talk = stderr()

    def show(text: str) -> None:
        talk.print(text, soft_wrap=True)

    options = EngineOptions(checkpoint, dtype, device, None, threads, current_date)
    golden = create_golden(model, options, golden_prompts.requests(), show)
    try:
        out.write_text(files.text(golden), encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}.") from None
    stdout().print(str(out), soft_wrap=True)
    return 0


@app.command
def follow(
    run: Path,
    /,
    *,
    checkpoint: Path,
    tolerance_of: Annotated[Path | None, Parameter(name="--golden")] = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    current_date: str | None = None,
    threads: int | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Score the replies of a run with the reference engine, and compare the logprobs.

    The replies need not agree with the engine's own; every reply with logprobs is used.

    Args:
        run: The run's folder.
        checkpoint: Folder of the checkpoint that the provider serves.
        tolerance_of: Golden file with the tolerance. Default: the run's, or the shipped one.
        dtype: Number format. Default: the fastest of the device.
        device: Where to compute. Default: cpu.
        current_date: Date line of the provider's system message, YYYY-MM-DD. Default: none.
        threads: CPU threads.
        as_json: Print the figures as JSON on stdout.
    """
    golden = _golden_of(run, tolerance_of)
    options = EngineOptions(checkpoint, dtype, device, None, threads, current_date)
    found = teacher_forcing.score_replies(read_rollouts(run), options)
    if not found.compared.differences:
        stdout().print(
            f"No reply in {run} has logprobs that can be compared "
            f"({found.other_prompts} have prompts of another length).",
            soft_wrap=True,
        )
        return EXIT_INCONCLUSIVE
    figures = distance(found.compared)
    passed = golden.tolerance.allows(figures)
    if as_json:
        print_raw(figures.model_dump_json(indent=1))
    else:
        stdout().print(_result(found.replies, figures, golden.tolerance), soft_wrap=True)
    return EXIT_PASS if passed else EXIT_FAIL


def _golden_of(run: Path, file: Path | None) -> Golden:
    """The golden file with the tolerance for a run. Raises ConfigurationError."""
    info = read_run_info(run)
    hashes = (task.files.get(GOLDEN_FILE) for task in info.tasks)
    golden = files.load(file) if file else files.kept(run, next(filter(None, hashes), None))
    golden = golden or files.fitting(info.provider.model)
    if golden is None:
        raise ConfigurationError(
            f"There is no tolerance for {info.provider.model}; name its golden file with --golden."
        )
    return golden


def _result(replies: int, figures: Distance, allowed: Tolerance) -> str:
    verdict = "Within tolerance." if allowed.allows(figures) else "Beyond tolerance."
    return (
        f"{replies} replies, {figures.tokens} tokens, {figures.values} logprobs: "
        f"{shown(figures)}; {figures.agreement:.1%} have the same most likely token.\n"
        f"Tolerance: {shown(allowed)}. {verdict}"
    )
