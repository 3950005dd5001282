"""Logs of inspect_ai, read by it (extra `inspect`), for comparisons, baselines and histories."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import orjson

from harmony.extras import install_command
from harness.api.fields import nested
from harness.compare.eval_log import STOPS, EvalLog, LogTry, choices_hash, hashed, member
from harness.errors import ConfigurationError
from harness.records.record import problem_of
from harness.records.settings import Sampling
from harness.text import first_few

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample, EvalSpec
    from inspect_ai.model import GenerateConfig

_NEMO = "nemo_evaluator"
_HEAD = 4096  # bytes in which a JSON log has its member `eval`
_ABSENT = frozenset({"", "na", "n/a", "nan", "none", "null"})
_FALLING = frozenset({
    "failure", "failures", "failed", "error", "errors", "loss", "hallucination", "hallucinations",
    "toxicity", "violation", "violations", "perplexity", "brier", "wer", "cer", "regret",
    "distance", "bias", "penalty", "harm", "harmfulness", "leak", "leakage",
    "spurious", "misconduct", "mistakes",
})  # fmt: skip
"""Words in the names of scores of which a lower value is better: a list of ours; a log of
inspect_ai 0.3 does not say it."""
_FREE = frozenset(
    {"no", "not", "non", "without", "free", "avoided", "detected", "detection", "accuracy"}
)
"""Words beside them that turn the meaning round, or leave it open."""
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
    samples = [sample for sample in log.samples if sample.invalidation is None]
    if not samples:
        raise ConfigurationError(f"{path} has no valid samples: all were marked invalid.")
    spec = log.eval
    settings = spec.model_generate_config.merge(log.plan.config)  # that of the task, then options
    settings = settings.merge(_sent(samples, spec))  # and what providers of models add unasked
    provider, model = _served(spec.model)
    responses = spec.model_args.get("responses_api")
    scorer = next((name for sample in samples for name in sample.scores or ()), "")
    effort = member(settings.extra_body or {}, "reasoning_effort") or nested(
        settings.extra_body, "reasoning", "effort"
    )
    return EvalLog(
        path=path,
        task=spec.task.rpartition("/")[2],
        provider=provider,
        model=model,
        effort=settings.reasoning_effort or str(effort or "default"),
        api="responses" if responses else "chat",
        started_at=spec.created,
        # The log of an invalid sample is invalidated, too; its other samples are not.
        complete=log.status == "success" and log.invalidated <= (len(samples) < len(log.samples)),
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
        tries=tuple(_tries(path, samples, spec, scorer)),
        notes=tuple(_notes(log.samples, spec, scorer)),
        settings={
            "extra body": _json(settings.extra_body),
            "task args": _json(spec.task_args),
            "task version": str(spec.task_version),
            "solvers": _json([{step.solver: step.params or {}} for step in log.plan.steps]),
            "model roles": _json(_roles(spec)),
        },
    )


def _sent(samples: Sequence[EvalSample], spec: EvalSpec) -> GenerateConfig:
    """Return the settings of the first request to the model itself, not to one with a role."""
    from inspect_ai.model import GenerateConfig

    sent = (
        event.config
        for sample in samples
        for event in sample.events
        if event.event == "model" and event.model in (spec.model, _served(spec.model)[1])
        if not event.role
    )
    return next(sent, GenerateConfig())


def _roles(spec: EvalSpec) -> dict[str, list[str]]:
    roles = {
        name: role if isinstance(role, list) else [role]
        for name, role in (spec.model_roles or {}).items()
    }
    return {name: [model.model for model in models] for name, models in roles.items()}


def _json(value: object) -> str | None:
    """Return a setting as text; None if it is not set."""
    return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS).decode() if value else None


def _notes(samples: Sequence[EvalSample], spec: EvalSpec, scorer: str) -> Iterator[str]:
    """Yield what the scores of this log do not say themselves; versions are those measured."""
    invalid = Counter(
        f"{sample.invalidation.reason or 'no reason'} ({sample.invalidation.author})"
        for sample in samples
        if sample.invalidation is not None
    )
    if invalid:
        reasons = first_few([f"{count} × {why}" for why, count in invalid.most_common()], 3)
        yield (
            f"{invalid.total()} of {len(samples)} samples were marked invalid and do not count: "
            f"{reasons}."
        )
    if _NEMO in spec.packages:
        yield (
            "nemo-evaluator 0.3.0 exports neither settings nor why replies ended, and adds the "
            "prompt to output tokens: tokens are not shown, and an empty answer may be a cut one."
        )
    if "openbench" in spec.packages and scorer.rpartition("/")[2] == "mcq_scorer":
        yield (
            "openbench 0.5.3 reads “Answering …” as the answer I: read the answers of questions "
            "whose scores differ."
        )
    yield from _directions(samples, scorer)
    if scorer.rpartition("/")[2] == "math_scorer":
        yield (
            "lighteval 0.13 counts `\\boxed{025}` for 025, and 70° and 070 for 70 as wrong: read "
            "the answers of questions whose scores differ."
        )
    tools = any(message.role == "tool" for sample in samples for message in sample.messages)
    if spec.model_args.get("responses_api") and tools:
        yield (
            "Inspect 0.3.285 sends reasoning back without its text over Responses, so the model "
            "lacks its CoT after each tool call: compare with logs over the same API only."
        )


def _directions(samples: Sequence[EvalSample], scorer: str) -> Iterator[str]:
    """Yield which parts of a score count as falling, and in how many samples one has no number."""
    scored = [score for sample in samples if (score := (sample.scores or {}).get(scorer))]
    values = [v if isinstance(v := score.value, Mapping) else {"": v} for score in scored]
    named = [part for part in dict.fromkeys(chain(*values)) if not part.startswith("_")]
    falling = [part for part in named if _falls(part)]
    if falling:
        yield (
            f"Lower is better for {first_few(falling, 3)}, by its name: 1 minus each value is "
            "compared."
        )
    rising = [part for part in named if part and part not in falling]
    if rising:
        yield f"Higher is taken to be better for {first_few(rising, 3)}; the log does not say it."
    for part in named:
        missing = sum(_absent(value.get(part)) for value in values)
        if 0 < missing < len(values):
            yield f"{missing} of {len(values)} tries have no value of {part or scorer}."
        unfit = sum(not _absent(v.get(part)) and _number(v.get(part)) > 1 for v in values)
        if unfit and len(named) > 1:
            yield f"{part} is not compared: it is no number of at most 1 in {unfit} tries."


def _served(name: str) -> tuple[str, str]:
    """Return provider and model: `openai-api/groq/openai/gpt-oss-20b` is of groq."""
    provider, _, model = name.removeprefix("openai-api/").partition("/")
    return provider, model or provider


def _tries(
    path: Path, samples: Sequence[EvalSample], spec: EvalSpec, scorer: str
) -> Iterator[LogTry]:
    scores = [_parts(sample, scorer) for sample in samples]
    usable = _usable(path, samples, scores, scorer)
    names = {part: f"1 − {part}" if _falls(part) else part for part in usable}
    for sample, parts in zip(samples, scores, strict=True):
        # nemo-evaluator, whose export has no errors, says here that a request failed.
        category = nested(sample.metadata, "scoring_details", "error_category")
        lost = (sample.error is not None or category is not None) and not sample.output.completion
        values = dict.fromkeys(names.values(), 0.0) if lost else {}
        for part, name in names.items():
            if part in parts and not math.isnan(made := _number(parts[part])):
                values[name] = made if name == part else 1 - made
        asked = sample.input
        if not isinstance(asked, str):
            asked = "\n\n".join(f"{message.role}: {message.text}" for message in asked)
        choices = "\n".join(sample.choices or ())
        target = sample.target if isinstance(sample.target, str) else "\n".join(sample.target)
        ends = sample.output.stop_reason if sample.output.choices else None
        yield LogTry(
            sample=str(sample.id),
            epoch=sample.epoch,
            content=(None if sample.choices else choices_hash(asked, target))
            or hashed(asked, *_asked_for(sample, target)),
            values=values,
            question=f"{asked}\n{choices}".strip(),
            answer=sample.output.completion,
            seconds=sample.total_time,
            tokens=_tokens(sample, spec),
            target=target,
            stop="provider_error" if lost else STOPS.get(ends),
        )


def _asked_for(sample: EvalSample, target: str) -> tuple[str, str]:
    """Return choices and right answer; of choices, in any order and with the right text."""
    choices = sample.choices or []
    if len(target) == 1 and 0 <= (at := ord(target) - ord("A")) < len(choices):
        return "\n".join(sorted(choices)), choices[at]
    return "\n".join(choices), target


def _parts(sample: EvalSample, scorer: str) -> dict[str, object]:
    """Return the values of a score by part; its only value has no name.

    A value that says that there is none is left out.
    """
    score = (sample.scores or {}).get(scorer)
    value = None if score is None else score.value
    parts = value if isinstance(value, Mapping) else {"": value}
    return {part: given for part, given in parts.items() if not _absent(given)}


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in _ABSENT)


def _falls(part: str) -> bool:
    """Whether a lower value is better, by the words in the name of a part of a score."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part).lower())
    return not _FALLING.isdisjoint(words) and _FREE.isdisjoint(words)


def _usable(
    path: Path,
    samples: Sequence[EvalSample],
    scores: Sequence[Mapping[str, object]],
    scorer: str,
) -> list[str]:
    """Return the parts that are numbers of at most 1 in all samples. Raises ConfigurationError.

    The others of several parts, such as counts, are left out, and those that begin with `_`: the
    HealthBench of inspect_evals 0.28 stores each criterion so.
    """
    unfit: dict[str, tuple[EvalSample, object]] = {}
    for sample, parts in zip(samples, scores, strict=True):
        for part, given in parts.items():
            if part not in unfit and _number(given) > 1:
                unfit[part] = sample, given
    named = dict.fromkeys(part for parts in scores for part in parts)
    usable = [part for part in named if part not in unfit and not part.startswith("_")]
    if unfit and not usable:
        sample, given = next(iter(unfit.values()))
        raise ConfigurationError(
            f"{path}: the score {scorer} of sample {sample.id} is {_one_line(str(given))}; "
            "scores must be C, P, I or numbers of at most 1."
        )
    return usable or [""]


def _number(value: object) -> float:
    """Return the value of a score as inspect_ai counts it; infinite if it is no number."""
    from inspect_ai.scorer import value_to_float

    numeric = isinstance(value, bool | int | float)
    if isinstance(value, str):
        numeric = value in _WORDS or re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
    return float(value_to_float()(value)) if numeric else math.inf  # type: ignore[arg-type]


def _tokens(sample: EvalSample, spec: EvalSpec) -> int:
    """Return the output tokens of the model itself, without those of roles such as a judge."""
    usage = {} if _NEMO in spec.packages else sample.model_usage or {}
    own = usage[spec.model].output_tokens if spec.model in usage else 0
    used = sample.role_usage or {}
    for name, models in _roles(spec).items():
        if name in used and spec.model in models:
            own -= used[name].output_tokens
    return own


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(".")
