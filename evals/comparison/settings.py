"""In which settings two runs differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evals.comparison.records import Change
from evals.comparison.runs import ScoredRun, SmokeRun
from evals.judgement import CellScores
from evals.records import EvalRunInfo
from harness.records.runs import RunInfo

_NOT_SENT = "not sent"
_SMOKE_FIELDS = (
    "suite",
    "only",
    "skip",
    "apis",
    "streaming",
    "first_cases",
    "tries",
    "strict",
    "max_turns",
    "reasoning_effort",
    "temperature",
    "max_tokens",
    "seed",
)
_MOVING = frozenset(
    {
        "model",
        "extra_body",
        "tools",
        "strict",
        "max_turns",
        "reasoning_effort",
        "temperature",
        "max_tokens",
        "api",
        "top_p",
        "grader",
    }
)
"""Settings that can move a result of the very same cases or questions."""


def settings_of(info: RunInfo | EvalRunInfo) -> Mapping[str, str]:
    """The settings of a run that matter beside another run, as people write them."""
    settings = info.settings
    found: dict[str, object] = {
        "model": info.provider.model,
        "extra_body": info.provider.extra_body or None,
    }
    if isinstance(info, RunInfo):
        found |= {name: getattr(settings, name) for name in _SMOKE_FIELDS}
        found |= {"cases": info.cases_sha256[:12], "tools": info.tools_sha256[:12]}
    elif isinstance(info, EvalRunInfo):
        chosen = info.settings
        found |= {
            "model": chosen.models,
            "evals": chosen.evals,
            "efforts": chosen.efforts,
            "tries": tuple(f"{name} {count}" for name, count in sorted(chosen.tries.items())),
            "examples": chosen.examples,
            "api": chosen.api,
            "temperature": chosen.temperature,
            "top_p": chosen.top_p,
            "max_tokens": chosen.max_tokens,
            "grader": None if chosen.grader is None else chosen.grader.model,
        }
        found |= {f"{data.eval} data": data.sha256[:12] for data in info.datasets}
    found["tool version"] = info.tool_version
    return {name: _said(value) for name, value in found.items()}


def changes(here: Mapping[str, str], there: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs between two sets of settings."""
    names = dict.fromkeys([*here, *there])
    return tuple(
        Change(
            what=name.replace("_", " "),
            here=here.get(name, _NOT_SENT),
            there=there.get(name, _NOT_SENT),
        )
        for name in names
        if here.get(name) != there.get(name)
    )


def moving(here: Mapping[str, str], there: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs and can move a result although the same was asked."""
    chosen = [{k: v for k, v in each.items() if k in _MOVING} for each in (here, there)]
    return changes(chosen[0], chosen[1])


def differing(one: SmokeRun | ScoredRun, other: SmokeRun | ScoredRun) -> tuple[Change, ...]:
    """In what settings a column is not like another one of its kind."""
    if isinstance(one, SmokeRun) and isinstance(other, SmokeRun):
        return changes(settings_of(one.analysis.run), settings_of(other.analysis.run))
    if isinstance(one, ScoredRun) and isinstance(other, ScoredRun):
        if one.analysis is not None and other.analysis is not None:
            return changes(settings_of(one.analysis.run), settings_of(other.analysis.run))
        return changes(dict(_sampling(one)), dict(_sampling(other)))
    return ()


def _sampling(run: ScoredRun) -> Iterator[tuple[str, str]]:
    for scores in run.measured.cells:
        yield from ((name, _said(value)) for name, value in _values(scores).items())


def _values(scores: CellScores) -> dict[str, object]:
    values: dict[str, object] = dict(scores.sampling.model_dump())
    return {
        **values,
        f"{scores.cell.eval} tries": scores.planned,
        f"{scores.cell.eval} data": scores.dataset.sha256[:12],
    }


def _said(value: object) -> str:
    if value is None or value == ():
        return _NOT_SENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(_said(one) for one in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
