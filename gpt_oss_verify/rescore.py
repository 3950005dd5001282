"""The command `rescore`: a reference reads the replies of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gpt_oss_verify.judge_and_report import judge_and_print
from gpt_oss_verify.options import AsJson, Run
from harmony.extras import install_command
from harness.errors import ConfigurationError
from harness.run.run_log import read_run_info

_SMALL = "gpt-oss-small"
Causes = Annotated[
    Literal["auto", "all", "none"],
    Parameter(
        help="Whether to look for the fault of prompts that explains improbable replies: auto (if "
        "there are any), all (with every reply; takes ten times as long) or none. Default: auto."
    ),
]


@Parameter(name="*", group="Reader")
@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Who reads the replies."""

    checkpoint: Path | None = None
    """Folder of the checkpoint that reads. Default: the bundled one, for runs of gpt-oss-small."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute. Default: cpu."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Number format. Default: the fastest for the device."""
    threads: int | None = None
    """CPU threads. Default: all cores."""
    witness: str | None = None
    """URL of a server that reads the replies, such as vLLM, or `provider` for that of the run."""
    witness_model: str | None = None
    """The model's name at that server. Default: that of the run."""
    witness_key_env: str | None = None
    """Name of the environment variable with the key of that server."""


def rescore(
    run: Run,
    /,
    *,
    reader: ReaderOptions = ReaderOptions(),
    causes: Causes = "auto",
    as_json: AsJson = False,
) -> int:
    """Let the model itself read every reply of a run, to say whether it would have written it.

    Finds damaged texts, wrong prompts, replies of other requests, and other weights or number
    formats, without logprobs or token counts of the provider (docs/rescoring.md). It writes
    rescored.jsonl into the run's folder; another call continues where it was stopped.
    """
    read_replies(run, reader, causes)
    return judge_and_print(run, as_json=as_json)


def read_replies(run: Path, options: ReaderOptions, causes: str) -> None:
    """Read the replies of a run that were not read yet, and look for a cause.

    Raises ConfigurationError and RunLogError.
    """
    info = read_run_info(run)
    models = {condition.model for task in info.tasks for condition in task.conditions}
    others = sorted(models - {_SMALL})
    if options.witness is None and options.checkpoint is None and others:
        raise ConfigurationError(
            f"Nothing here can read replies of {others[0]}: name its weights with --checkpoint DIR "
            "(and --device cuda), or a server that has them with --witness URL."
        )
    try:
        from gpt_oss_verify.reading import read_run
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed: {install_command('reference')}"
        ) from None
    read_run(run, info, options, causes)
