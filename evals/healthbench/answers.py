"""The answers to grade: those of a run, and those that physicians wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from evals.healthbench.bench import HealthBench
from evals.healthbench.rows import IdealCompletions
from harness.api import DIALECTS
from harness.api.base import UnreadableReplyError
from harness.errors import ConfigurationError
from harness.records.rollouts import Rollout

_GIVEN_UP = ("length", "content_filter")


@dataclass(frozen=True)
class Answer:
    """A final answer without its CoT. `id` is the id of its rollout."""

    id: str
    question: str
    text: str


def final_answer(rollout: Rollout) -> str | None:
    """The final answer of a rollout; None if it has no complete answer.

    That is the case if the request failed, or if the reply is unreadable, truncated, filtered or
    empty. Such a rollout is not graded: it scores 0 and keeps its outcome.
    """
    if rollout.end != "answered":
        return None
    try:
        reply = DIALECTS[rollout.api].read(rollout.exchanges[-1])
    except UnreadableReplyError:
        return None
    if reply.finish in _GIVEN_UP or not reply.text.strip():
        return None
    return reply.text


def run_answers(rollouts: Iterable[Rollout], questions: Container[str]) -> Iterator[Answer]:
    """The answers that can be graded, one by one.

    Args:
        rollouts: The rollouts of one eval.
        questions: The ids of its questions; other samples are skipped.
    """
    for rollout in rollouts:
        text = final_answer(rollout) if rollout.sample in questions else None
        if text is not None:
            yield Answer(rollout.id, rollout.sample, text)


GROUPS = {
    "Group 1": "written by physicians alone",
    "Group 2": "physicians were shown answers of gpt-4o-2024-08-06 and o1-preview",
    "Group 3": "physicians were shown answers of o3 and gpt-4.1",
}
"""How the ideal completions were written, from the descriptions in OpenAI's script."""


def completions(bench: HealthBench, *, references: bool) -> dict[str, tuple[Answer, ...]]:
    """The physicians' completions by group, to be graded in place of a model's answers.

    Args:
        bench: The data.
        references: Return the answers that the physicians were shown instead (four per row; none
            in group 1).

    Raises:
        ConfigurationError: The data have none.
    """
    groups: dict[str, list[Answer]] = defaultdict(list)
    for row in bench.rows.values():
        data = row.ideal_completions_data
        if data is not None:
            group = data.ideal_completions_group
            groups[group].extend(_completions(row.prompt_id, data, references=references))
    found = {group: tuple(groups[group]) for group in sorted(groups) if groups[group]}
    if not found:
        what = "answers that physicians were shown" if references else "completions of physicians"
        raise ConfigurationError(f"{bench.info.source} holds no {what}.")
    return found


def _completions(question: str, data: IdealCompletions, *, references: bool) -> Iterator[Answer]:
    if not references:
        yield Answer(f"physicians/{question}", question, data.ideal_completion)
        return
    for number, text in enumerate(data.ideal_completions_ref_completions or (), start=1):
        yield Answer(f"references/{question}/{number}", question, text)
