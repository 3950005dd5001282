"""Which provider grades, and what it receives: one request for each rubric item of each answer.

The contract is that of OpenAI's script (`gpt_oss/evals/healthbench_eval.py`): the conversation, the
answer as its last message, and the item with its points; the reply is a JSON object with
`explanation` and `criteria_met`. The prompts are those of the run (`evals.prompts`). In ours the
rules come first, so that servers can keep them in their prefix cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.healthbench.answers import Answer
from evals.healthbench.bench import HealthBench
from evals.prompts import GRADER, GRADER_SYSTEM, fill, our_prompts
from harness.api.base import Message, Settings
from harness.providers.entries import Provider, find_provider
from harness.records.conditions import Api
from harness.records.runs import PromptsInfo

DEFAULT_GRADER = "openai-grader"
"""OpenAI's own choice, gpt-4.1-2025-04-14, with its own key variable."""

_UNFIT_FOR_A_NAME = re.compile(r"[^\w.@+-]+")


@dataclass(frozen=True)
class GradingTask:
    """One rubric item of one answer. `id` is `<answer>/<item>`; `prompts` None is ours."""

    id: str
    conversation: tuple[Message, ...]
    answer: str
    item: str
    prompts: PromptsInfo | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages of the grading request."""
        prompts = self.prompts or our_prompts()
        system = prompts.templates[GRADER_SYSTEM]
        before = (Message("system", system),) if system else ()
        user = grading_prompt(self.conversation, self.answer, self.item, prompts)
        return (*before, Message("user", user))


def grading_tasks(bench: HealthBench, answers: Iterable[Answer]) -> Iterator[GradingTask]:
    """Every rubric item of every answer, created one at a time."""
    for answer in answers:
        row = bench.rows[answer.question]
        for item in row.items:
            yield GradingTask(
                f"{answer.id}/{item.id}", row.messages, answer.text, item.text, bench.prompts
            )


def grading_prompt(
    conversation: Sequence[Message], answer: str, item: str, prompts: PromptsInfo | None = None
) -> str:
    """The user message of a grading request.

    Args:
        conversation: The conversation that the model continues.
        answer: Its final answer, without its CoT.
        item: The text of the rubric item.
        prompts: The prompts of the run; None for ours.
    """
    messages = [*conversation, Message("assistant", answer)]
    text = "\n\n".join(f"{message.role}: {message.text}" for message in messages)
    template = (prompts or our_prompts()).templates[GRADER]
    return fill(template, conversation=text, rubric_item=item)


def find_grader(name: str = DEFAULT_GRADER, providers_file: Path | None = None) -> Provider:
    """The entry of `providers.yaml` with this name. Raises ConfigurationError."""
    return find_provider(name, providers_file)


def grades_file(grader: str, model: str) -> str:
    """The name of a grader's log in a run folder; another model is another grader."""
    return f"grades-{_UNFIT_FOR_A_NAME.sub('-', f'{grader}-{model}')}.jsonl"


def graders_of(folder: Path) -> dict[str, str]:
    """The graders of a run: labels such as `openai-grader-gpt-4.1`, with their logs."""
    logs = sorted(path.name for path in folder.glob("grades-*.jsonl"))
    return {name.removeprefix("grades-").removesuffix(".jsonl"): name for name in logs}


def grader_settings(grader: Provider) -> Settings:
    """The settings of OpenAI's script: temperature 0.5, at most 2,048 tokens.

    `extra_body` of the grader's entry overrides them.
    """
    return Settings(
        model=grader.model, temperature=0.5, max_tokens=2048, extra_body=grader.extra_body
    )


def grader_api(grader: Provider) -> Api:
    """Chat Completions, as in OpenAI's script, unless the grader supports only Responses."""
    return "chat" if "chat" in grader.apis else grader.apis[0]
