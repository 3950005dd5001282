"""Logs of inspect_ai, read by it (extra `inspect`), for comparisons, baselines and histories."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from harmony.extras import install_command
from harness.compare.eval_log import STOPS, EvalLog, LogTry, hashed
from harness.errors import ConfigurationError
from harness.records.record import problem_of
from harness.records.settings import Sampling

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessage

_HEAD = 4096  # bytes in which a JSON log has its member `eval`
_WORDS = frozenset({"C", "I", "P", "N", "yes", "no", "true", "false"})
"""Values of scores that inspect_ai turns into numbers, beside numbers."""


def inspect_library() -> ModuleType:
    """Return `inspect_ai.log`. Raises ConfigurationError if it is not installed."""
    try:
        import inspect_ai.log
    except ImportError:
        command = install_command("inspect")
        raise ConfigurationError(
            f"Inspect logs need inspect_ai, which is not installed; install it with: {command}"
        ) from None
    library: ModuleType = inspect_ai.log
    return library


def is_inspect_log(path: Path) -> bool:
    """Return whether a file is a log of inspect_ai, by its name or its first members."""
    if path.suffix == ".eval":
        return path.is_file()
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return b'"eval"' in head and b'"task"' in head and b"gpt-oss-verify baseline" not in head


def read_inspect_log(path: Path) -> EvalLog:
    """Return a log. Raises ConfigurationError if it is damaged, or its scores are not numbers."""
    library = inspect_library()
    try:
        log = library.read_eval_log(str(path), resolve_attachments=True)
    except Exception as error:  # noqa: BLE001 (zip, JSON and validation errors of its version)
        raise ConfigurationError(
            f"{path} cannot be read as an Inspect log: {_one_line(problem_of(error))}."
        ) from None
    if not log.samples:
        raise ConfigurationError(f"{path} has no samples; run the eval again with --log-samples.")
    spec, settings = log.eval, log.eval.model_generate_config
    provider, model = _served(spec.model)
    responses = spec.model_args.get("responses_api")
    scorer = next((name for sample in log.samples for name in sample.scores or ()), "")
    return EvalLog(
        path=path,
        task=spec.task.rpartition("/")[2],
        provider=provider,
        model=model,
        effort=settings.reasoning_effort or "default",
        api="responses" if responses else "chat",
        started_at=spec.created,
        complete=log.status == "success",
        epochs=spec.config.epochs or 1,
        sampling=Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
        ),
        dataset=spec.dataset.name or spec.task,
        seeds=frozenset() if settings.seed is None else frozenset([settings.seed]),
        version=f"inspect_ai {spec.packages.get('inspect_ai', 'of unknown version')}",
        scorer=f"the scorer {scorer}" if scorer else "no scorer",
        tries=tuple(_tries(path, log.samples, scorer)),
    )


def _served(name: str) -> tuple[str, str]:
    """Return provider and model: `openai-api/groq/openai/gpt-oss-20b` is of groq."""
    provider, _, model = name.removeprefix("openai-api/").partition("/")
    return provider, model or provider


def _tries(path: Path, samples: Sequence[EvalSample], scorer: str) -> Iterator[LogTry]:
    from inspect_ai.scorer import value_to_float

    number = value_to_float()
    for sample in samples:
        score = (sample.scores or {}).get(scorer)
        value = None if score is None else score.value
        parts = value if isinstance(value, Mapping) else {"": value}
        values = {}
        for part, given in parts.items():
            if given is None:
                continue
            made = number(given) if _scalar(given) else math.inf
            if made > 1:
                raise ConfigurationError(
                    f"{path}: the score {scorer} of sample {sample.id} is {_one_line(str(given))}; "
                    "scores must be C, P, I or numbers of at most 1."
                )
            if not math.isnan(made):
                values[part] = made
        asked = sample.input if isinstance(sample.input, str) else _joined(sample.input)
        choices = "\n".join(sample.choices or ())
        target = sample.target if isinstance(sample.target, str) else "\n".join(sample.target)
        usage = sample.model_usage or {}
        yield LogTry(
            sample=str(sample.id),
            epoch=sample.epoch,
            content=hashed(asked, choices, target),
            values=values,
            question=f"{asked}\n{choices}".strip(),
            answer=sample.output.completion or (sample.error.message if sample.error else ""),
            seconds=sample.total_time,
            tokens=sum(each.output_tokens for each in usage.values()),
            target=target,
            stop=STOPS.get(sample.output.stop_reason if sample.output.choices else None),
        )


def _scalar(value: object) -> bool:
    if isinstance(value, str):
        return value in _WORDS or re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
    return isinstance(value, bool | int | float)


def _joined(messages: Iterable[ChatMessage]) -> str:
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(".")
