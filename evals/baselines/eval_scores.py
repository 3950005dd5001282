"""The scores of one eval under one condition, and the baseline that they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from harness.records.conditions import Api
from harness.records.figures import BaselineInfo
from harness.records.record import Record
from harness.records.runs import DatasetInfo
from harness.records.settings import Sampling
from harness.statistics.mean_scores import Mean

Reading = Literal["ours", "openai"]

MAKE_ONE = "create one with `gpt-oss-verify export RUN --format baseline`"


class EvalScores(Record):
    """All scores of one eval of one model at one effort.

    `scores` has every planned question by its id, with the values of its finished attempts in the
    order of their numbers; `copies` of others are left out. `planned` is the number of attempts at
    each question. `grader` is the model that graded, None if answers need no grader. `prompts` is
    the SHA-256 of the prompts (`evals.prompts.wording`), None if it is unknown or irrelevant.
    `reading` states whose rules read the answers: ours, or those of OpenAI's script, as for
    published scores.
    """

    eval: str
    model: str
    effort: str
    dataset: DatasetInfo
    api: Api
    sampling: Sampling
    grader: str | None = None
    prompts: str | None = None
    reading: Reading = "ours"
    contents: Mapping[str, str] = Field(
        default={}, description="hash of each question, where the data have no hash of the whole"
    )
    until: tuple[str, ...] | None = Field(default=None, description="the stop strings of a log")
    first_question: str | None = Field(
        default=None, description="SHA-256 of the first prompt of a log"
    )
    planned: int = Field(ge=1)
    copies: int = 0
    scores: Mapping[str, tuple[float, ...]] = Field(min_length=1)

    @property
    def name(self) -> str:
        """`aime25, gpt-oss-20b, high effort`."""
        tools = ", with Python" if self.python else ""
        return f"{self.eval}, {self.model}, {self.effort} effort{tools}"

    @property
    def python(self) -> bool:
        """Whether the model could run Python programs."""
        return self.sampling.python is not None

    @property
    def missing(self) -> int:
        """The number of planned attempts that were not made."""
        due = sum(max(0, self.planned - len(tries)) for tries in self.scores.values())
        return max(0, due - self.copies)

    @property
    def rounds(self) -> int:
        """The number of complete rounds: attempts that every question has had."""
        return min(map(len, self.scores.values()))

    def filled(self, value: float, tries: int) -> EvalScores:
        """Return the first `tries` scores of every question, with `value` for missing ones."""
        return self.model_copy(
            update={
                "scores": {
                    question: (*values[:tries], *[value] * (tries - len(values)))
                    for question, values in self.scores.items()
                }
            }
        )


@dataclass(frozen=True)
class Reference:
    """A score and its baseline, with the noise of each.

    `other_prompts` is true if they are known to have been measured with different prompts.
    """

    run: Mean
    baseline: Mean
    info: BaselineInfo
    warnings: tuple[str, ...] = ()
    other_prompts: bool = False


class Baseline(Protocol):
    """A source of reference scores."""

    @property
    def reading(self) -> Reading:
        """Whose reading of the answers gives the scores that are compared with it."""

    def reference(self, scores: EvalScores) -> Reference | str:
        """Return the baseline of these scores, or a sentence why there is none."""


def differ_in_prompts(ours: str | None, theirs: str | None) -> bool:
    """Return whether two scores are known to have been measured with different prompts."""
    return ours is not None and theirs is not None and ours != theirs


def sampling_differences(ours: Sampling, theirs: Sampling, name: str) -> list[str]:
    """Return sentences about how the sampling of a run differs from that of its baseline."""
    pairs = [
        ("temperature", ours.temperature, theirs.temperature),
        ("top_p", ours.top_p, theirs.top_p),
        ("max. output tokens", ours.max_tokens, theirs.max_tokens),
    ]
    differences = [
        f"Sampled with {what} {_shown(here)}, {name} with {_shown(there)}."
        for what, here, there in pairs
        if here != there
    ]
    if {ours.python, theirs.python} == {"function", "built-in"}:
        forms = {"function": "a function", "built-in": "the provider's built-in tool"}
        here, there = forms[str(ours.python)], forms[str(theirs.python)]
        differences.append(f"Python was {here}, for {name} {there}.")
    return differences


def _shown(value: float | None) -> str:
    return "the provider's default" if value is None else f"{value:g}"
