"""Grading: one request to a grader for every rubric item of every answer.

The prompts and settings follow OpenAI's script (`gpt_oss/evals/healthbench_eval.py`); the entry's
`extra_body` overrides the settings. A grade is recorded as a `Rollout` with the id
`<answer>/<item>/<request>` and the sample `<answer>/<item>`, so replies may arrive in any order.
Each grader has its own log next to the log of the run, and an item with a grade is not requested
again.

A grader can also read answers of other evals that the rules cannot read (`grade RUN --grader NAME
--unread`). Outcomes and scores do not change; the bounds of the score do.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evals.answer_eval import AnswerEval
from evals.grading import GRADER, GRADER_SYSTEM
from evals.grading.graded_eval import GradedEval
from evals.grading.grades import REQUESTS, Ledger, last_reply
from evals.prompts import fill, our_prompts
from harness.api.items import Message, RequestSettings, Sample
from harness.api.statuses import explanation, out_of_credit
from harness.errors import ProviderUnavailableError
from harness.providers.entries import Provider
from harness.records.conditions import Api, Condition
from harness.records.rollouts import Exchange, Rollout
from harness.records.runs import PromptsInfo
from harness.run.attempts import Attempt
from harness.run.budget import Budget
from harness.run.launch import launched
from harness.run.preflight import preflight
from harness.run.run_folder import as_name
from harness.run.run_log import RunLog, read_rollouts
from harness.run.sampling import Observer, run_attempts
from harness.transport import open_transport

DEFAULT_GRADER = "openai-grader"
"""OpenAI's choice, gpt-4.1-2025-04-14, with a separate key variable."""
GRADER_LOG = "grader.log"
GRADING = "grading"  # the task name of grades
ITEM = "final-answer"  # the id of the only rubric item of an answer that the rules cannot read
_GIVEN_UP = ("length", "content_filter")
_NO_CREDIT = 402


@dataclass(frozen=True)
class FinalAnswer:
    """A final answer without its CoT. `id` is the id of its rollout."""

    id: str
    question: str
    text: str


def final_answer(rollout: Rollout) -> str | None:
    """Return the final answer of a rollout.

    None if it failed, or is truncated, filtered or empty.
    """
    reply = last_reply(rollout)
    if reply is None or reply.finish in _GIVEN_UP or not reply.text.strip():
        return None
    return reply.text


def run_answers(rollouts: Iterable[Rollout], questions: Container[str]) -> Iterator[FinalAnswer]:
    """Yield the answers to these questions that can be graded, one by one."""
    for rollout in rollouts:
        text = final_answer(rollout) if rollout.sample in questions else None
        if text is not None:
            yield FinalAnswer(rollout.id, rollout.sample, text)


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
        turns = [*self.conversation, Message("assistant", self.answer)]
        text = "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns)
        user = fill(prompts.templates[GRADER], conversation=text, rubric_item=self.item)
        return (*before, Message("user", user))


def grading_tasks(bench: GradedEval, answers: Iterable[FinalAnswer]) -> Iterator[GradingTask]:
    """Yield every rubric item of every answer, created one at a time."""
    for answer in answers:
        row = bench.rows[answer.question]
        for item in row.items:
            yield GradingTask(
                f"{answer.id}/{item.id}", row.messages, answer.text, item.text, bench.prompts
            )


def grades_file(grader: str, model: str) -> str:
    """Return the name of a grader's log in a run folder, which depends on the grader's model."""
    return f"grades-{as_name(f'{grader}-{model}')}.jsonl"


def grader_api(grader: Provider) -> Api:
    """Chat Completions, as in OpenAI's script, unless the grader supports only Responses."""
    return "chat" if "chat" in grader.apis else grader.apis[0]


def unread_tasks(
    test: AnswerEval, rollouts: Iterable[Rollout], prompts: PromptsInfo | None
) -> Iterator[GradingTask]:
    """Yield a grading task for every answer of an eval that the rules cannot read."""
    for rollout in rollouts:
        text = final_answer(rollout)
        if text is None:
            continue
        question, number = rollout.sample, rollout.presentation
        if test.mark(question, number, text).marking == "unread":
            item = f"[1] Gives exactly one final answer, and it is {test.right(question, number)}."
            asked = test.prompt(question, number).messages
            yield GradingTask(f"{rollout.id}/{ITEM}", asked, text, item, prompts)


class _LedgerObserver(Observer):
    """Updates the ledger, forwards to another observer, and lets `check` read the last response."""

    def __init__(
        self, ledger: Ledger, observer: Observer, check: Callable[[Exchange], None]
    ) -> None:
        self._ledger = ledger
        self._watcher = observer
        self._check = check

    def started(self, attempt: Attempt) -> None:
        self._watcher.started(attempt)

    def ended(self, attempt: Attempt) -> None:
        self._watcher.ended(attempt)

    def finished(self, rollout: Rollout) -> None:
        self._ledger.note(rollout)
        self._watcher.finished(rollout)
        self._check(rollout.exchanges[-1])


async def grade_with(
    grader: Provider,
    tasks: Callable[[], Iterable[GradingTask]],
    folder: Path,
    observer: Observer | None = None,
    budget: Budget | None = None,
    unit: str = "rubric items",
) -> None:
    """Grade all items without a grade with `grader`, launching it first if its entry says how.

    Continues where an earlier call stopped. If nothing is left to grade, no grader is needed. Each
    call of `tasks` yields all items, preferably one at a time from disk. The log of the grader is
    written to the run folder. `unit` is the unit of the progress display.

    Raises ConfigurationError if the grader's key is not set, ProviderUnavailableError if the grader
    could not be reached at all or has no credit, and RunLogError.
    """
    watcher = observer or Observer()

    def check(exchange: Exchange) -> None:
        response = exchange.response
        if response is not None and (response.status == _NO_CREDIT or out_of_credit(response)):
            raise ProviderUnavailableError(
                f"grader {grader.name} answers {response.status} ({explanation(response)}); "
                f"add credit, and grade the rest with: gpt-oss-verify grade {folder}"
            )

    def retrying(exchange: Exchange, number: int, waited: float) -> None:
        check(exchange)
        watcher.retrying(exchange, number, waited)

    name = grades_file(grader.name, grader.model)
    budget = budget or Budget()
    with RunLog(folder, name) as log:
        ledger = Ledger(read_rollouts(folder, name))
        watcher.stage(f"grading with {grader.name}")
        left = sum(1 for _ in tasks()) - ledger.graded
        watcher.begin({GRADING: left}, ledger.graded, unit)
        if any(ledger.next_request(task.id) is not None for task in tasks()):
            async with launched(grader, folder / GRADER_LOG) as ready:
                budget.add_requests(await preflight(ready, (grader_api(ready),)))
                async with open_transport(ready, retrying=retrying) as transport:
                    # An item without a readable grade is requested again in the next round.
                    for _ in range(REQUESTS):
                        await run_attempts(
                            _attempts(tasks(), ledger, ready),
                            transport=transport,
                            log=log,
                            concurrency=ready.concurrency,
                            observer=_LedgerObserver(ledger, watcher, check),
                            budget=budget,
                            prices=ready.prices,
                        )
                        if ledger.settled:
                            break


def _attempts(tasks: Iterable[GradingTask], ledger: Ledger, grader: Provider) -> Iterator[Attempt]:
    """Yield a request for every item that has no grade yet."""
    # The settings are those of OpenAI's script.
    settings = RequestSettings(
        model=grader.model, temperature=0.5, max_tokens=2048, extra_body=grader.extra_body
    )
    condition = Condition(model=settings.model, api=grader_api(grader), mode="non-streaming")
    for task in tasks:
        number = ledger.next_request(task.id)
        if number is not None:
            sample = Sample(task.id, task.messages)
            identity = f"{task.id}/{number}"
            yield Attempt(identity, GRADING, sample, condition, number=number, settings=settings)
