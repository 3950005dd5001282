"""Create golden files: the logprobs of a trusted engine."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from gpt_oss_verify.screen import say, show
from harmony.installed import harmony_package
from harness.errors import ConfigurationError, os_errors
from harness.golden import files
from harness.golden.content import Golden
from harness.golden.create import create_all, record
from harness.golden.distance import shown
from harness.golden.tolerances import merged, with_long
from harness.golden.trusted_engines import ReferenceEngine, Server
from harness.providers.entries import adhoc_provider
from harness.rules.numerics import golden_prompts

app = App(name="golden", help="Create golden files: the logprobs of a trusted engine.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Computation:
    """How the reference engine computes."""

    dtype: Literal["float32", "bfloat16"] | None = None
    """Number format. Default: the fastest for the device; for `create` float32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute. Default: cpu."""
    current_date: str | None = None
    """Date line of the system message, YYYY-MM-DD. Default: none."""
    threads: int | None = None
    """CPU threads."""


@Parameter(name="*", group="Trusted server")
@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """A server whose answers become the golden answers."""

    url: Annotated[str | None, Parameter(name="--from")] = None
    """API URL of a server, up to /v1, instead of a checkpoint. It must serve raw completions."""
    engine: str | None = None
    """Name and version of the server's engine, to record."""
    numbers: str | None = None
    """Number formats of the server, to record."""
    fp8: bool = False
    """The server stores weights or its KV cache in 8 bits."""
    long: Annotated[bool, Parameter(negative="--no-long")] = True
    """Also send the long prompts, of up to 60,000 tokens. Default: --long."""
    api_key_env: str | None = None
    """Name of the environment variable with the API key."""
    timeout: float = 600.0
    """Timeout of a request in seconds. Default: 600."""


_COMPUTATION, _NO_SERVER = Computation(), ServerOptions()


@app.command
def create(
    *,
    out: Path,
    model: tuple[str, ...],
    checkpoint: Path | None = None,
    computation: Computation = _COMPUTATION,
    server: ServerOptions = _NO_SERVER,
) -> int:
    """Create a golden file with the reference engine, or from a server that you trust.

    Only files of the reference engine have tolerances for several number formats and patterns of
    known defects. Before the file of a server can be used to judge providers, `golden merge` must
    combine it with the file of a different engine.

    Args:
        out: The file to write.
        model: Model name at providers; can be repeated. Requests to a server use the first one.
        checkpoint: Folder of the checkpoint, in OpenAI's or Hugging Face's layout.
    """
    if (checkpoint is None) == (server.url is None):
        raise ConfigurationError("Give either --checkpoint DIR or --from URL.")
    _check_writable(out)
    if warning := harmony_package().warning:
        say(warning)
    command = shlex.join(("gpt-oss-verify", *sys.argv[1:]))
    if server.url is not None:
        kept = out.with_name(f"{out.name}.partial")
        try:
            golden = _recorded(server, server.url, model, command, kept)
        except BaseException:
            if kept.exists():
                say(f"{kept} has the answers so far; the same command asks for the others.")
            raise
        _write(out, golden)
        kept.unlink(missing_ok=True)
        return 0
    engine = ReferenceEngine(
        checkpoint=checkpoint,
        **(vars(computation) | {"dtype": computation.dtype or "float32"}),
    )
    short, long = golden_prompts.requests(), golden_prompts.long_requests()
    _write(out, create_all(model, engine, short, long, say, command))
    return 0


def _recorded(
    options: ServerOptions, url: str, models: tuple[str, ...], command: str, kept: Path
) -> Golden:
    """Return a golden file of a server's answers, without those that an earlier call kept."""
    if not options.engine or not options.numbers:
        raise ConfigurationError(
            "With --from, describe the server: --engine 'vLLM 0.32' --numbers 'bfloat16'."
        )
    provider = adhoc_provider(url, models[0], ("harmony",), options.api_key_env)
    provider = provider.model_copy(update={"timeout": options.timeout})
    exact = not options.fp8
    server = Server(provider, options.engine, options.numbers, exact, kept=kept, progress=say)
    golden = record(models, server, golden_prompts.requests("harmony", models[0]), say, command)
    if options.long:
        say("requesting the long prompts")
        long = golden_prompts.long_requests("harmony", models[0])
        try:
            answers = record(models, server, long, say, command)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error} If the context of the server is too short, use --no-long."
            ) from None
        golden = with_long(golden, answers)
    say("This file covers only one engine; merge it with another before you compare providers.")
    return golden


@app.command
def merge(first: Path, /, *others: Path, out: Path) -> int:
    """Merge golden files of several engines: the answers of the first, the tolerances of all.

    Every other file is treated as a healthy engine, whose deviation from the answers of the first
    file is tolerated. The files must answer the same requests with the same weights.

    Args:
        first: The file with the golden answers, preferably from the reference engine.
        others: Files of other engines or number formats.
        out: The file to write.
    """
    if not others:
        raise ConfigurationError(f"Name at least one golden file to merge with {first}.")
    golden = files.load(first)
    for path in others:
        golden = merged(golden, files.load(path), str(path))
    for part in filter(None, (golden, golden.dated, golden.long)):
        for run in part.healthy:
            show(f"{run.engine}, {run.numbers}: {shown(run.distance)}")
        show(f"tolerated: {shown(part.tolerance)}")
    _write(out, golden)
    return 0


def _check_writable(path: Path) -> None:
    """Raise ConfigurationError if the file cannot be written: its contents may take hours."""
    exists = path.exists()
    with os_errors(ConfigurationError, f"{path} cannot be written"):
        path.open("ab").close()
        if not exists:
            path.unlink()


def _write(path: Path, golden: Golden) -> None:
    with os_errors(ConfigurationError, f"{path} cannot be written"):
        path.write_text(files.serialized(golden), encoding="utf-8", newline="")
    show(str(path))
