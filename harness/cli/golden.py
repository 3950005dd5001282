"""Commands on golden files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from harness.golden.records import Distance, Golden, Tolerance

app = App(name="golden", help="Golden files: what a trusted engine says, to compare with.")


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
    """Make a golden file with the reference engine, and learn from healthy runs what to tolerate.

    Args:
        checkpoint: Folder of the checkpoint, in OpenAI's or Hugging Face's layout.
        out: The file to write.
        model: Name under which providers serve it; may be repeated.
        dtype: Number format of the golden answers. Default: float32.
        device: Where to compute. Default: cpu.
        current_date: Date line of the system message, YYYY-MM-DD. Default: none.
        threads: CPU threads.
    """
    from harness.cli.screen import stderr, stdout
    from harness.golden import files
    from harness.golden.create import create as made
    from harness.golden.engine import EngineOptions
    from harness.probes import golden_prompts

    talk = stderr()

    def told(text: str) -> None:
        talk.print(text, soft_wrap=True)

    how = EngineOptions(checkpoint, dtype, device, None, threads, current_date)
    golden = made(model, how, golden_prompts.requests(), told)
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
    """Lead the reference engine along the answers of a run, and compare log probabilities.

    Nothing has to agree for that, and any request counts whose reply has log probabilities.

    Args:
        run: The run's folder.
        checkpoint: Folder of the checkpoint that the provider serves.
        tolerance_of: File that says what to tolerate. Default: the run's, or the one that ships.
        dtype: Number format. Default: what the device is fastest with.
        device: Where to compute. Default: cpu.
        current_date: Date line of the provider's system message, YYYY-MM-DD. Default: none.
        threads: CPU threads.
        as_json: Print the figures as JSON on stdout.
    """
    from harness.cli.screen import print_raw, stdout
    from harness.golden import teacher_forcing
    from harness.golden.distance import distance
    from harness.golden.engine import EngineOptions
    from harness.storage.run_log import read_rollouts
    from harness.verdict.gate import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS

    golden = _tolerated(run, tolerance_of)
    how = EngineOptions(checkpoint, dtype, device, None, threads, current_date)
    found = teacher_forcing.score_replies(read_rollouts(run), how)
    if not found.compared.differences:
        stdout().print(
            f"No reply in {run} has log probabilities that can be compared "
            f"({found.other_prompts} were to prompts of another length).",
            soft_wrap=True,
        )
        return EXIT_INCONCLUSIVE
    figures = distance(found.compared)
    passed = golden.tolerance.allows(figures)
    if as_json:
        print_raw(figures.model_dump_json(indent=1))
    else:
        stdout().print(_told(found.replies, figures, golden.tolerance), soft_wrap=True)
    return EXIT_PASS if passed else EXIT_FAIL


def _tolerated(run: Path, file: Path | None) -> Golden:
    """The golden file that says what to tolerate. Raises ConfigurationError."""
    from harness.golden import files
    from harness.storage.run_log import read_run_info

    info = read_run_info(run)
    golden = files.load(file) if file else files.kept(run, info)
    golden = golden or files.fitting(info.provider.model)
    if golden is None:
        raise ConfigurationError(
            f"Nothing says what to tolerate of {info.provider.model}; name a golden file of it "
            "with --golden."
        )
    return golden


def _told(replies: int, figures: Distance, allowed: Tolerance) -> str:
    from harness.golden.distance import shown

    verdict = "That is healthy." if allowed.allows(figures) else "That is too far."
    return (
        f"{replies} replies, {figures.tokens} tokens, {figures.values} log probabilities: "
        f"{shown(figures)}; {figures.agreement:.1%} have the same best token.\n"
        f"Tolerated: {shown(allowed)}. {verdict}"
    )
