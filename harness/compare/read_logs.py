"""Logs of other harnesses: which they are, and their tasks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.compare.eval_log import EvalLog
from harness.compare.evalscope_log import is_evalscope, read_evalscope
from harness.compare.inspect_log import is_inspect_log, read_inspect_log
from harness.compare.lm_eval_log import is_lm_eval, read_lm_eval, results_files
from harness.compare.sgl_eval_log import is_sgl_eval, read_sgl_eval
from harness.errors import ConfigurationError
from harness.run.run_log import RUN_FILE

_HEAD = 65_536  # bytes in which a file has the members that tell its kind
_INSTEAD = "Ask the questions with Inspect or lm_eval, and compare their logs."


class _Format(NamedTuple):
    """Logs that can be compared: of which harness, which path is one, and what reads it."""

    harness: str
    is_one: Callable[[Path], bool]
    read: Callable[[Path], tuple[EvalLog, ...]]


_LM_EVAL = _Format("lm_eval", is_lm_eval, read_lm_eval)  # of several runs, if it is a folder
_ONE_LOG = (
    _Format("Inspect", is_inspect_log, lambda path: (read_inspect_log(path),)),
    _Format("evalscope", is_evalscope, read_evalscope),
    _Format("sgl-eval", is_sgl_eval, read_sgl_eval),
)
_FORMATS = (*_ONE_LOG, _LM_EVAL)
KINDS = f"a log of {', '.join(each.harness for each in _ONE_LOG)} or {_LM_EVAL.harness}"


class _Refused(NamedTuple):
    """Results that cannot be compared: their files, by name and first members, and the reason."""

    harness: str
    name: str
    members: tuple[bytes, ...]
    reason: str


# `make harnesses` measures what harnesses get wrong.
_REFUSED = (
    _Refused(
        "eval-protocol",
        "*.jsonl",
        (b'"input_metadata"', b'"rollout_status"'),
        "leaves AIME replies without a number out of the mean, and reads the article “a” as the "
        f"answer A to GPQA (0.3.33). {_INSTEAD}",
    ),
    _Refused(
        "opencompass",
        "predictions/*/*.json",
        (b'"origin_prompt"', b'"prediction"'),
        "scores the first “answer:” in the CoT and the answer together if the server names the CoT "
        f"`reasoning_content` (0.5.4). {_INSTEAD}",
    ),
    _Refused(
        "HELM or medhelm",
        "scenario_state.json",
        (b'"adapter_spec"',),
        "reads the first capital letter after “answer is” as the answer to GPQA (HELM 0.5.16), or "
        f"adds points for faults that HealthBench subtracts (medhelm 0.8.0). {_INSTEAD}",
    ),
    _Refused(
        "harbor",
        "result.json",
        (b'"n_total_trials"', b'"stats"'),
        "leaves trials that ended with an error of the server out of pass@k (0.26.0). Run "
        "the tasks with Inspect, and compare its logs.",
    ),
    _Refused(
        "verifiers",
        "traces.jsonl",
        (b'"verifiers"', b'"task"'),
        "shows the mean of rollouts without an error as the reward (0.4.0). Compare the means in "
        f"brackets, which count all. {_INSTEAD}",
    ),
    _Refused(
        "livecodebench",
        "*_eval_all.json",
        (b'"question_content"',),
        "runs the first block of code in a reply, also if a corrected one follows "
        "(nvidia-livecodebench 26.3). Run a task of inspect_evals, and compare its logs.",
    ),
    _Refused(
        "twinkle-eval",
        "results_*.json",
        (b'"dataset_results"', b'"duration_seconds"'),
        "scores the CoT of a reply without an answer, and stores neither why a reply ended nor how "
        f"many tokens it had (2.10.0). {_INSTEAD}",
    ),
    _Refused(
        "NeMo-Skills",
        "output*.jsonl",
        (b'"generation"', b'"predicted_answer"'),
        "stores no settings of requests beside its tries. Ask the questions with sgl-eval, Inspect "
        "or lm_eval, and compare their logs.",
    ),
    _Refused(
        "gpt_oss.evals",
        "*_allresults.json",
        (),
        "does not store which tries belong to one question, why a reply ended, or how many tokens "
        "it had: no interval can be computed. Ask the same prompts with "
        "`gpt-oss-verify eval --prompts gpt-oss`.",
    ),
    _Refused(
        "promptfoo",
        "*.json",
        (b'"evalId"', b'"results"'),
        "writes the CoT before the answer (“Thinking: …”) where a server sends it, and drops calls "
        "beside it (0.123.1): its scores depend on the name of a field. "
        f"{_INSTEAD}",
    ),
    _Refused(
        "nvidia-simple-evals",
        "*.json",
        (b'"task_name"', b'"score"'),
        "stores averages, without tries: no interval can be computed. Its repeats are grouped by "
        "the order in which they finished, and its cache answers for other servers by position "
        "(26.3). Ask the questions with `gpt-oss-verify eval`, Inspect or lm_eval.",
    ),
    _Refused(
        "NeMo Evaluator",
        "results.yml",
        (),
        "stores averages, without tries: no interval can be computed. Export its samples as a log "
        "of Inspect, or compare the log of the harness that it started.",
    ),
)


def is_log(path: Path) -> bool:
    """Return whether a file or a folder is a log, by its name or its first members."""
    return any(each.is_one(path) for each in _FORMATS) or _refused(path) is not None


def not_traffic(path: Path) -> ConfigurationError:
    """Return why a log is not judged, and what can be done with it."""
    if refused := _refused(path):
        return refused
    return ConfigurationError(
        f"{path} is a log of another harness, which judged it; compare it with a run or with "
        f"another log: gpt-oss-verify compare {path} RUN; its scores become a baseline with: "
        f"gpt-oss-verify export {path} --format baseline"
    )


def read_logs(path: Path) -> tuple[EvalLog, ...]:
    """Return a log as its tasks, without copies. Raises ConfigurationError if it is damaged."""
    if refused := _refused(path):
        raise refused
    found = next((each for each in _FORMATS if each.is_one(path)), _LM_EVAL)
    return tuple(log.without_copies() for log in found.read(path))


def logs_in(folder: Path) -> Iterator[Path]:
    """Yield the logs in a folder of runs and in its folders; of lm_eval, the results of each run.

    The folder may be a log itself. The folders of runs and logs are not searched.
    """
    if _is_one_log(folder):
        yield folder
        return
    inside = sorted(folder.iterdir())
    further = [e for e in inside if e.is_dir() and not (_is_one_log(e) or (e / RUN_FILE).exists())]
    yield from filter(_is_one_log, inside)
    for other in further:
        yield from filter(_is_one_log, sorted(other.iterdir()))
    results = [found for place in (folder, *further) for found in results_files(place)]
    yield from dict.fromkeys(results)


def _is_one_log(path: Path) -> bool:
    return any(each.is_one(path) for each in _ONE_LOG)


def _refused(path: Path) -> ConfigurationError | None:
    """Return why results of a harness cannot be compared; None for everything else."""
    for refused in _REFUSED:
        inside = path.glob(refused.name) if path.is_dir() else iter([path])
        file = next(inside, path)
        if file.is_file() and file.match(refused.name):
            with file.open("rb") as opened:
                head = opened.read(_HEAD)
            if all(member in head for member in refused.members):
                return ConfigurationError(f"{path} is of {refused.harness}, which {refused.reason}")
    return None
