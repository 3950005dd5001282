"""Commands on golden files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from harness.errors import ConfigurationError

app = App(name="golden", help="Golden files: what a trusted engine says, to compare with.")


@app.command
def create(
    *,
    checkpoint: Path,
    out: Path,
    model: Annotated[tuple[str, ...], Parameter(negative=())],
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
        dtype: Number format of the golden answers.
        device: Where to compute.
        current_date: Date line of the system message, YYYY-MM-DD. Default: none.
        threads: CPU threads.
    """
    from harness.cli.screen import stderr, stdout
    from harness.golden import files
    from harness.golden.create import create as made
    from harness.golden.engine import How

    talk = stderr()

    def told(text: str) -> None:
        talk.print(text, markup=False, highlight=False, soft_wrap=True)

    how = How(checkpoint, dtype, device, None, threads, current_date)
    golden = made(model, how, told)
    try:
        out.write_text(files.text(golden), encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}.") from None
    stdout().print(str(out), markup=False, soft_wrap=True)
    return 0
