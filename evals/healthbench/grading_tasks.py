"""The tasks of a grader, one for each rubric item of each answer, and the choice of the grader.

The prompts and settings follow OpenAI's script (`gpt_oss/evals/healthbench_eval.py`). A grader can
also read answers of other evals that the rules cannot read (`grade RUN --grader NAME --unread`).
These readings are counted separately; outcomes and scores do not change.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from evals.base import AnswerEval
from evals.healthbench.grades import last_reply
from evals.healthbench.rows import HealthBench
from evals.prompts import GRADER, GRADER_SYSTEM, fill, our_prompts
from harness.api.items import Message, Settings
from harness.providers.entries import Provider
from harness.records.conditions import Api
from harness.records.rollouts import Rollout
from harness.records.runs import PromptsInfo
from harness.run.run_folder import as_name

_GIVEN_UP = ("length", "content_filter")


@dataclass(frozen=True)
class Answer:
    """A final answer without its CoT. `id` is the id of its rollout."""

    id: str
    question: str
    text: str


def final_answer(rollout: Rollout) -> str | None:
    """The final answer of a rollout; None if it failed, or is truncated, filtered or empty."""
    reply = last_reply(rollout)
    if reply is None or reply.finish in _GIVEN_UP or not reply.text.strip():
        return None
    return reply.text


def run_answers(rollouts: Iterable[Rollout], questions: Container[str]) -> Iterator[Answer]:
    """The answers to these questions that can be graded, one by one."""
    for rollout in rollouts:
        text = final_answer(rollout) if rollout.sample in questions else None
        if text is not None:
            yield Answer(rollout.id, rollout.sample, text)


DEFAULT_GRADER = "openai-grader"
"""OpenAI's choice, gpt-4.1-2025-04-14, with a separate key variable."""


@dataclass(frozen=True)
class GradingTask:
    """One rubric item of one answer. `id` is `<answer>/<item>`; `prompts` None means ours."""

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
    """The user message of a grading request, with the prompts of the run or ours."""
    messages = [*conversation, Message("assistant", answer)]
    text = "\n\n".join(f"{message.role}: {message.text}" for message in messages)
    template = (prompts or our_prompts()).templates[GRADER]
    return fill(template, conversation=text, rubric_item=item)


def grades_file(grader: str, model: str) -> str:
    """The name of a grader's log in a run folder, which depends on the grader's model."""
    return f"grades-{as_name(f'{grader}-{model}')}.jsonl"


def grader_settings(grader: Provider) -> Settings:
    """OpenAI's settings: temperature 0.5, 2,048 tokens; the entry's `extra_body` overrides them."""
    return Settings(
        model=grader.model, temperature=0.5, max_tokens=2048, extra_body=grader.extra_body
    )


def grader_api(grader: Provider) -> Api:
    """Chat Completions, as in OpenAI's script, unless the grader supports only Responses."""
    return "chat" if "chat" in grader.apis else grader.apis[0]


ITEM = "final-answer"  # the id of the only rubric item


def unread_tasks(
    test: AnswerEval, rollouts: Iterable[Rollout], prompts: PromptsInfo | None
) -> Iterator[GradingTask]:
    """A grading task for every answer in the rollouts of an eval that the rules cannot read."""
    for rollout in rollouts:
        text = final_answer(rollout)
        if text is None:
            continue
        question, number = rollout.sample, rollout.presentation
        if test.mark(question, number, text).marking == "no_answer":
            item = f"[1] Gives exactly one final answer, and it is {test.right(question, number)}."
            asked = test.prompt(question, number).messages
            yield GradingTask(f"{rollout.id}/{ITEM}", asked, text, item, prompts)
