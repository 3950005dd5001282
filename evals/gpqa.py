"""GPQA Diamond: 198 four-choice questions in biology, chemistry and physics.

Rein et al. 2023, arXiv 2311.12022. Its authors ask that the questions not be published.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from random import Random

from pydantic import Field

from evals.answer_eval import AnswerEval, Prompt, Question
from evals.datasets import DataRow, Loaded, text_id
from evals.extraction import openai_script
from evals.prompts import fill, our_prompts
from harness.api.items import Message
from harness.records.runs import PromptsInfo


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


class GpqaRow(DataRow):
    """A question with its four choices, in the published columns."""

    record_id: str | None = Field(default=None, alias="Record ID")
    question: str = Field(min_length=1, alias="Question")
    correct: str = Field(min_length=1, alias="Correct Answer")
    incorrect_1: str = Field(min_length=1, alias="Incorrect Answer 1")
    incorrect_2: str = Field(min_length=1, alias="Incorrect Answer 2")
    incorrect_3: str = Field(min_length=1, alias="Incorrect Answer 3")

    @property
    def choices(self) -> tuple[str, str, str, str]:
        """The texts of the choices, the right one first."""
        return (self.correct, self.incorrect_1, self.incorrect_2, self.incorrect_3)

    def content(self) -> object:
        """Return the question and its choices, because some copies have no id column."""
        return (self.question, *self.choices)


class Gpqa(AnswerEval):
    """GPQA Diamond as an eval; 8 tries by default, as in OpenAI's script."""

    name = "gpqa"
    tries = 8

    def __init__(
        self, data: Loaded[GpqaRow], seed: int = 0, prompts: PromptsInfo | None = None
    ) -> None:
        from evals.extraction.letter import letter_answer  # slow

        self._answer_in = letter_answer
        self._template = (prompts or our_prompts()).templates[self.name]
        self.info = data.info
        ids = [row.record_id or text_id(row.question) for row in data.rows]
        self._rows = data.by_id(ids)
        self._places = {name: place for place, name in enumerate(ids)}
        self._orders = ChoiceOrders(seed, len(ids))
        self.questions = tuple(Question(name, row.question) for name, row in self._rows.items())

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the question with its choices in the order of this try."""
        order = self._order(question, number)
        choices = dict(zip("ABCD", self._choices(question, order), strict=True))
        text = fill(self._template, question=self._rows[question].question, **choices)
        return Prompt((Message("user", text),), order)

    def right(self, question: str, number: int) -> str:
        """Return the letter in the order of this try, and its text."""
        return f"option {self.key(question, number)}: {self._rows[question].correct}"

    def key(self, question: str, number: int) -> str:
        """Return the correct letter in the order of this try."""
        choices = self._choices(question, self._order(question, number))
        return "ABCD"[choices.index(self._rows[question].correct)]

    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the letter that a text declares, or the recorded one if texts are withheld."""
        if self.info.withheld is not None:
            return noted_letters(text)[0]
        return self._answer_in(text, self._choices(question, self._order(question, number)))

    def openai_answer(self, question: str, number: int, text: str) -> str | None:
        """Return what OpenAI's script reads, or the recorded letter if texts are withheld."""
        if self.info.withheld is not None:
            return noted_letters(text)[1]
        return openai_script.letter(text)

    def _order(self, question: str, number: int) -> tuple[int, ...]:
        return self._orders.of(self._places[question], number)

    def _choices(self, question: str, order: Sequence[int]) -> list[str]:
        choices = self._rows[question].choices
        return [choices[index] for index in order]


_NOTE = re.compile(
    r"\[withheld: \d+ characters, sha256 [0-9a-f]{64}; "
    r"answer ([A-D]|none|unclear); by OpenAI's script ([A-D]|none)\]\Z"
)


def withheld(text: str) -> str:
    """Return a placeholder with the length and the hash of a text."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"[withheld: {len(text)} characters, sha256 {digest}]"


def note(text: str, answer: str | None, theirs: str | None) -> str:
    """Return a placeholder with the answers that we and OpenAI's script find in the text."""
    letter = theirs if theirs in {"A", "B", "C", "D"} else "none"
    found = f"; answer {answer or 'none'}; by OpenAI's script {letter}]"
    return withheld(text).removesuffix("]") + found


def noted_letters(text: str) -> tuple[str | None, str | None]:
    """Return the answers of a `note` at the end of a text; None for an answer that is missing."""
    noted = _NOTE.search(text)
    letters = noted.groups() if noted else (None, None)
    ours, theirs = (letter if letter in {"A", "B", "C", "D"} else None for letter in letters)
    return ours, theirs
