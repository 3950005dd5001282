"""Questions with right and wrong answers as an eval: the prompt of each try, and marks.

An `Item` is one kind of question; `evals.kinds` has those that several evals ask.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from evals.noted import noted_letters
from evals.prompts import our_prompts, with_ours
from harness.api.items import Message
from harness.records.runs import DatasetInfo, PromptsInfo

Marking = Literal["correct", "wrong", "graded", "unread"]
Order = tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """One row; `id` is unique in its eval and stable between runs, `text` is for reports."""

    id: str
    text: str


@dataclass(frozen=True)
class Item(ABC):
    """A question, its right answer, and how to read and mark answers.

    A `given` prompt is sent instead of the one of a template, with choices in the given order. The
    order of a question without choices is None.
    """

    text: str
    answer: str
    given: str | None = None
    choices: tuple[str, ...] = ()
    template: str = ""

    @abstractmethod
    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the prompt."""

    @abstractmethod
    def read(self, text: str, order: Order | None) -> str | None:
        """Return the answer that a final text gives; None without one or with several."""

    def key(self, order: Order | None) -> str:
        """Return the right answer as it is read."""
        return self.answer

    def shown(self, answer: str, order: Order | None) -> str:
        """Return an answer that was read, for graders and reports."""
        return answer

    def described(self, order: Order | None) -> str:
        """Return the right answer for graders and reports."""
        return self.shown(self.key(order), order)

    def right(self, answer: str, order: Order | None) -> bool:
        """Return whether an answer that was read is right."""
        return answer == self.key(order)

    def value(self, answer: str, order: Order | None) -> float:
        """Return the score of an answer that was read."""
        return float(self.right(answer, order))

    def openai_reads(self, text: str) -> str | None:
        """Return the answer that OpenAI's script reads; None if it has no such question."""
        return None


@dataclass(frozen=True)
class Prompt:
    """The messages of one try; `order` is the order of the choices, if the question has any."""

    messages: tuple[Message, ...]
    order: Order | None = None


@dataclass(frozen=True)
class Mark:
    """The marking of one answer; `value` is its score.

    `answer` is the answer extracted from the text, None for `unread`; `openai_score` is the
    score that OpenAI's own script gives the same text, None if it has no such question.
    """

    marking: Marking
    answer: str | None
    openai_score: float | None
    value: float = 0.0


class ChoiceOrders:
    """The order of the choices of each question in each try.

    OpenAI's script (`gpt_oss.evals`, `gpqa_eval.py`) repeats the list of n questions once for
    each try and draws an order for each entry from one `random.Random(0)`. The order of question i
    in try r (both from 0) is therefore draw r·n + i, for any number of tries. This class draws the
    same orders. If only some questions are asked, each keeps its index i, so the prompts are a
    subset of those of a full run. OpenAI's script differs in this case: it draws the questions
    first.
    """

    def __init__(self, seed: int, sizes: Sequence[int]) -> None:
        """Draw orders of as many choices as `sizes` states for each question."""
        self._random = Random(seed)  # noqa: S311 - not a secret
        self._sizes = sizes
        self._drawn: list[Order] = []

    def of(self, place: int, number: int) -> Order:
        """Return the order for the question at `place` (from 0) in try `number` (from 1)."""
        draw = (number - 1) * len(self._sizes) + place
        while len(self._drawn) <= draw:
            size = self._sizes[len(self._drawn) % len(self._sizes)]
            self._drawn.append(tuple(self._random.sample(range(size), size)))
        return self._drawn[draw]


_SIZE_WITHOUT_CHOICES = 4
"""A question without choices also draws an order, so that earlier runs keep theirs."""


class AnswerEval:
    """Questions with right and wrong answers."""

    def __init__(
        self,
        info: DatasetInfo,
        items: Mapping[str, Item],
        seed: int = 0,
        prompts: PromptsInfo | None = None,
    ) -> None:
        """Ask these items, by id. `seed` orders choices."""
        self._templates = with_ours(prompts or our_prompts())
        self.items = items
        self._places = {name: place for place, name in enumerate(items)}
        sizes = [len(item.choices) or _SIZE_WITHOUT_CHOICES for item in items.values()]
        self._orders = ChoiceOrders(seed, sizes)
        self.name, self.info = info.eval, info
        self.questions = tuple(Question(name, item.text) for name, item in items.items())

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the prompt of try `number`, counted from 1."""
        item, order = self.items[question], self._order(question, number)
        text = item.given or item.asked(self._templates, order)
        return Prompt((Message("user", text),), order)

    def key(self, question: str, number: int) -> str:
        """Return the right answer of a try as it is read."""
        return self.items[question].key(self._order(question, number))

    def right(self, question: str, number: int) -> str:
        """Return the right answer of a try, as text for a grader or a report."""
        return self.items[question].described(self._order(question, number))

    def shown(self, question: str, number: int, answer: str) -> str:
        """Return an answer that was read in a try, as text for a report."""
        return self.items[question].shown(answer, self._order(question, number))

    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the answer that the final text of a try gives; None without one.

        If texts are withheld, this is the answer that was noted in their place.
        """
        if self.info.withheld is not None:
            return noted_letters(text)[0]
        return self.items[question].read(text, self._order(question, number))

    def openai_answer(self, question: str, text: str) -> str | None:
        """Return the answer that OpenAI's script reads from the same text."""
        if self.info.withheld is not None:
            return noted_letters(text)[1] or ""
        return self.items[question].openai_reads(text)

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Mark the final answer of a try; its CoT is not part of `text`."""
        item, order = self.items[question], self._order(question, number)
        theirs = self.openai_answer(question, text)
        openai_score = None if theirs is None else float(theirs == item.key(order))
        answer = self.answer(question, number, text)
        if answer is None:
            return Mark("unread", None, openai_score)
        value = item.value(answer, order)
        marking: Marking = "correct" if value == 1 else "graded" if value else "wrong"
        return Mark(marking, answer, openai_score, value)

    def _order(self, question: str, number: int) -> Order | None:
        item = self.items[question]
        if not item.choices:
            return None
        if item.given:
            return tuple(range(len(item.choices)))
        return self._orders.of(self._places[question], number)
