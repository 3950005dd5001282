"""Questions with right and wrong answers as an eval: the prompt of each try, and marks.

`evals.questions` reads the questions of AIME, GPQA and your own files; `Basic` has one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from evals.datasets import rows_sha256
from evals.extraction import openai_script
from evals.extraction.noted import noted_letters
from evals.prompts import fill, our_prompts
from harness.api.items import Message
from harness.records.runs import DatasetInfo, PromptsInfo

Marking = Literal["correct", "wrong", "no_answer"]
LETTERS = "ABCD"
_AS_GIVEN = (0, 1, 2, 3)


@dataclass(frozen=True)
class Question:
    """One row; `id` is unique in its eval and stable between runs, `text` is for reports."""

    id: str
    text: str


@dataclass(frozen=True)
class Item:
    """A question whose answer is an integer, or the text of one of its four choices.

    A `prompt` is sent instead of a template, with the choices in the given order.
    """

    text: str
    answer: str
    choices: tuple[str, ...] = ()
    prompt: str | None = None


@dataclass(frozen=True)
class Prompt:
    """The messages of one try; `order` is the order of the choices, if the question has any."""

    messages: tuple[Message, ...]
    order: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Mark:
    """The marking of one answer.

    `answer` is the answer extracted from the text, None for `no_answer`; `openai_score` is the
    score that OpenAI's own script gives the same text.
    """

    marking: Marking
    answer: str | None
    openai_score: float


class ChoiceOrders:
    """The order of four choices for each question and try.

    OpenAI's script (`gpt_oss.evals`, `gpqa_eval.py`) repeats the list of n questions once for
    each try and draws an order for each entry from one `random.Random(0)`. The order of question i
    in try r (both from 0) is therefore draw r·n + i, for any number of tries. This class draws the
    same orders. If only some questions are asked, each keeps its index i, so the prompts are a
    subset of those of a full run. OpenAI's script differs in this case: it draws the questions
    first.
    """

    def __init__(self, seed: int, questions: int) -> None:
        self._random = Random(seed)  # noqa: S311 - not a secret
        self._questions = questions
        self._drawn: list[tuple[int, ...]] = []

    def of(self, place: int, number: int) -> tuple[int, ...]:
        """Return the order for the question at `place` (from 0) in try `number` (from 1)."""
        draw = (number - 1) * self._questions + place
        while len(self._drawn) <= draw:
            self._drawn.append(tuple(self._random.sample(range(4), 4)))
        return self._drawn[draw]


class AnswerEval:
    """Questions with right and wrong answers; `tries` is the default number per question."""

    def __init__(
        self,
        info: DatasetInfo,
        items: Mapping[str, Item],
        tries: int = 1,
        seed: int = 0,
        prompts: PromptsInfo | None = None,
    ) -> None:
        """Ask these items, by id. `seed` orders choices."""
        from evals.extraction.integer import integer_answer  # slow
        from evals.extraction.letter import letter_answer

        self._integer_in, self._letter_in = integer_answer, letter_answer
        self._templates = (prompts or our_prompts()).templates
        self._items = items
        self._places = {name: place for place, name in enumerate(items)}
        self._orders = ChoiceOrders(seed, len(items))
        self.name, self.info, self.tries = info.eval, info, tries
        self.questions = tuple(Question(name, item.text) for name, item in items.items())

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the prompt of try `number`, counted from 1."""
        item = self._items[question]
        choices = dict(zip(LETTERS, self._choices(question, number), strict=False))
        template = self._templates["gpqa" if item.choices else "aime25"]
        text = item.prompt or fill(template, question=item.text, **choices)
        return Prompt((Message("user", text),), self._order(question, number))

    def key(self, question: str, number: int) -> str:
        """Return the right integer, or the right letter in the order of this try."""
        item = self._items[question]
        if not item.choices:
            return item.answer
        return LETTERS[self._choices(question, number).index(item.answer)]

    def right(self, question: str, number: int) -> str:
        """Return the right answer of a try, as text for a grader."""
        item, key = self._items[question], self.key(question, number)
        return f"option {key}: {item.answer}" if item.choices else key

    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the integer or the letter that the final text of a try gives; None without one.

        If texts are withheld, this is the letter that was noted in their place.
        """
        if self.info.withheld is not None:
            return noted_letters(text)[0]
        if choices := self._choices(question, number):
            return self._letter_in(text, choices)
        return self._integer_in(text)

    def openai_answer(self, question: str, number: int, text: str) -> str | None:
        """Return the answer that OpenAI's script for AIME or GPQA reads from the same text."""
        if self.info.withheld is not None:
            return noted_letters(text)[1]
        if self._items[question].choices:
            return openai_script.letter(text)
        return str(openai_script.integer(text))

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Mark the final answer of a try; its CoT is not part of `text`."""
        key = self.key(question, number)
        openai_score = float(self.openai_answer(question, number, text) == key)
        answer = self.answer(question, number, text)
        if answer is None:
            return Mark("no_answer", None, openai_score)
        return Mark("correct" if answer == key else "wrong", answer, openai_score)

    def _order(self, question: str, number: int) -> tuple[int, ...] | None:
        item = self._items[question]
        if not item.choices:
            return None
        return _AS_GIVEN if item.prompt else self._orders.of(self._places[question], number)

    def _choices(self, question: str, number: int) -> list[str]:
        choices = self._items[question].choices
        return [choices[place] for place in self._order(question, number) or ()]


BASIC = "basic"
_GREETING = Item("hi", "any greeting", prompt="hi")
_SHOWN = 80  # characters of an answer


class Basic(AnswerEval):
    """One greeting; any answer that is not empty is correct."""

    def __init__(self) -> None:
        digest = rows_sha256([_GREETING.text])
        info = DatasetInfo(eval=BASIC, source="built in", rows=1, sha256=digest, sample=True)
        super().__init__(info, {"greeting": _GREETING})

    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the beginning of any text that is not blank."""
        return text.strip()[:_SHOWN] or None

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Mark every answer as correct."""
        mark = super().mark(question, number, text)
        return replace(mark, marking="correct") if mark.answer else mark

    def openai_answer(self, question: str, number: int, text: str) -> str | None:
        """Accept any text, even a blank one, as OpenAI's script does."""
        return _GREETING.answer if text else None
