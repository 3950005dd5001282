"""Commands on golden files."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from harness.cli.options import AsJson, Run
from harness.cli.screen import print_raw, say, show
from harness.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, ConfigurationError, os_errors
from harness.golden import files, teacher_forcing
from harness.golden.create import create_with_long, healthy_run
from harness.golden.create import learn as learn_from
from harness.golden.distance import distance, shown
from harness.golden.divergence import compared_replies
from harness.golden.engine import EngineOptions
from harness.golden.records import Golden
from harness.parsing.rollout import parse_rollout
from harness.probes import golden_prompts, numerics
from harness.storage.run_log import read_rollouts, read_run_info

app = App(name="golden", help="Create and use golden files: the logprobs of a trusted engine.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Engine:
    """The engine that computes."""

    checkpoint: Path
    """Folder of the checkpoint, in OpenAI's or Hugging Face's layout."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Number format. Default: the fastest of the device; for `create` float32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute. Default: cpu."""
    current_date: str | None = None
    """Date line of the system message, YYYY-MM-DD. Default: none."""
    threads: int | None = None
    """CPU threads."""


@app.command
def create(*, engine: Engine, out: Path, model: tuple[str, ...]) -> int:
    """Create a golden file with the reference engine, with tolerances from healthy runs.

    Args:
        out: The file to write.
        model: Name under which providers serve it; may be repeated.
    """
    options = EngineOptions(**(vars(engine) | {"dtype": engine.dtype or "float32"}))
    command = shlex.join(("gpt-oss-verify", *sys.argv[1:]))
    short, long = golden_prompts.requests(), golden_prompts.long_requests()
    _write(out, create_with_long(model, options, short, long, say, command))
    return 0


@app.command
def learn(golden: Path, run: Path, /, *, engine: str, numbers: str, fp8: bool = False) -> int:
    """Widen the tolerances of a golden file to cover an engine that is known to be healthy.

    The run is compared with the golden file that it used, which may have another date line.

    Args:
        golden: The golden file, which is overwritten.
        run: Folder of a run of the engine with `--only numerics`.
        engine: Name and version of the engine, to record.
        numbers: Its number formats, to record.
        fp8: It stores weights or keys and values in 8 bits: do not widen the tolerance of exact
            engines.
    """
    file, used = files.load(golden), _golden_of(run, None)
    if used.weights_sha256 != file.weights_sha256:
        raise ConfigurationError(f"{run} used a golden file of other weights than {golden}.")
    replies = (
        (parsed.rollout.sample, exchange, reply)
        for parsed in map(parse_rollout, read_rollouts(run))
        if parsed.rollout.task == numerics.GROUP.name
        for exchange, reply in parsed.replies
    )
    compared = list(compared_replies(used, replies))
    gaps = [each.divergence.gap for each in compared if each.divergence is not None]
    tokens = [each.compared for each in compared]
    if not any(each.tokens for each in tokens):
        raise ConfigurationError(
            f"No reply in {run} has logprobs that can be compared with {golden}."
        )
    found = healthy_run(engine, numbers, exact=not fp8, replies=tokens, gaps=gaps)
    show(shown(found.distance))
    _write(golden, learn_from(file, found))
    return 0


def _write(path: Path, golden: Golden) -> None:
    with os_errors(ConfigurationError, f"{path} cannot be written"):
        path.write_text(files.text(golden), encoding="utf-8", newline="")
    show(str(path))


@app.command
def follow(
    run: Run,
    /,
    *,
    engine: Engine,
    tolerance_of: Annotated[Path | None, Parameter(name="--golden")] = None,
    as_json: AsJson = False,
) -> int:
    """Score the replies of a run with the reference engine, and compare the logprobs.

    The replies need not agree with the engine's own; every reply with logprobs is used.

    Args:
        tolerance_of: Golden file with the tolerance. Default: the run's, or the shipped one.
    """
    golden = _golden_of(run, tolerance_of)
    options = EngineOptions(**vars(engine))
    found = teacher_forcing.score_replies(read_rollouts(run), options)
    if not found.compared.differences:
        show(
            f"No reply in {run} has logprobs that can be compared "
            f"({found.other_prompts} have prompts of another length)."
        )
        return EXIT_INCONCLUSIVE
    figures = distance(found.compared)
    passed = golden.tolerance.allows(figures)
    if as_json:
        print_raw(figures.model_dump_json(indent=1))
    else:
        show(
            f"{found.replies} replies, {figures.tokens} tokens, {figures.values} logprobs: "
            f"{shown(figures)}; {figures.agreement:.1%} have the same most likely token.\n"
            f"Tolerance: {shown(golden.tolerance)}. {'Within' if passed else 'Beyond'} tolerance."
        )
    return EXIT_PASS if passed else EXIT_FAIL


def _golden_of(run: Path, file: Path | None) -> Golden:
    """The golden file with the tolerance for a run. Raises ConfigurationError."""
    info = read_run_info(run)
    golden = files.load(file) if file else files.kept(run, info)
    golden = golden or files.fitting(info.provider.model)
    if golden is None:
        raise ConfigurationError(
            f"There is no tolerance for {info.provider.model}; name its golden file with --golden."
        )
    return golden
