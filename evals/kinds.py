"""The kinds of questions that several evals ask: an integer, or the letter of a choice."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from evals.answer_eval import Item, Order
from evals.extraction import openai_script
from evals.prompts import fill


@dataclass(frozen=True)
class IntegerItem(Item):
    """A question whose answer is an integer."""

    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the question in its template."""
        return fill(templates[self.template], question=self.text)

    def read(self, text: str, order: Order | None) -> str | None:
        """Return the integer that a text gives."""
        from evals.extraction.integer import integer_answer  # slow

        return integer_answer(text)

    def openai_reads(self, text: str) -> str | None:
        """Return the integer that OpenAI's script for AIME reads, `None` as text without one."""
        return str(openai_script.integer(text))


@dataclass(frozen=True)
class ChoiceItem(Item):
    """A question with 2 to 26 choices; `answer` is the text of the right one."""

    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the question and the choices in their order, in the template."""
        texts = dict(zip(ascii_uppercase, self._ordered(order), strict=False))
        *letters, last = texts
        named = {
            "choices": "\n".join(f"({letter}) {text}" for letter, text in texts.items()),
            "letters": f"{', '.join(letters)} or {last}",
        }
        return fill(templates[self.template], question=self.text, **texts, **named)

    def key(self, order: Order | None) -> str:
        """Return the right letter in this order."""
        return ascii_uppercase[self._ordered(order).index(self.answer)]

    def shown(self, answer: str, order: Order | None) -> str:
        """Return a letter with the text of its choice."""
        return f"option {answer}: {self._ordered(order)[ascii_uppercase.index(answer)]}"

    def read(self, text: str, order: Order | None) -> str | None:
        """Return the letter that a text gives."""
        from evals.extraction.letter import letter_answer  # slow

        return letter_answer(text, self._ordered(order))

    def openai_reads(self, text: str) -> str | None:
        """Return the letter that OpenAI's script for GPQA reads."""
        return openai_script.letter(text)

    def _ordered(self, order: Order | None) -> list[str]:
        return [self.choices[place] for place in order or range(len(self.choices))]
