"""The order of the choices of a question, by seed; seed 0 gives the order of OpenAI's script."""

from __future__ import annotations

from random import Random


class ChoiceOrders:
    """The order of four choices for each question and try.

    OpenAI's script (`gpt_oss.evals`, `gpqa_eval.py`) repeats the list of n questions once for
    each try and draws an order for each entry from one `random.Random(0)`. The order of question i
    in try r (both from 0) is therefore draw r·n + i, for any number of tries, and this class draws
    the same. A question keeps its place i when only some questions are asked, so that the prompts
    of such a run are a subset of the full run's. There OpenAI's script differs: it first draws the
    questions.
    """

    def __init__(self, seed: int, questions: int) -> None:
        self._random = Random(seed)  # noqa: S311 - not a secret
        self._questions = questions
        self._drawn: list[tuple[int, ...]] = []

    def of(self, place: int, number: int) -> tuple[int, ...]:
        """The order for the question at `place` (from 0) in try `number` (from 1)."""
        draw = (number - 1) * self._questions + place
        while len(self._drawn) <= draw:
            self._drawn.append(tuple(self._random.sample(range(4), 4)))
        return self._drawn[draw]
