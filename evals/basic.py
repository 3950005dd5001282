"""The smallest eval there is: does the model answer a greeting at all?"""

from __future__ import annotations

from collections.abc import Sequence

from evals.base import Mark, Put, Question
from evals.datasets.rows import rows_sha256
from harness.api.base import Message
from harness.records.runs import DatasetInfo

_GREETING = "hi"
_SHOWN = 80


class Basic:
    """One greeting; any answer but an empty one is right."""

    name = "basic"
    tries = 1
    questions: Sequence[Question] = (Question("greeting", _GREETING),)

    def __init__(self) -> None:
        digest = rows_sha256([_GREETING])
        self.info = DatasetInfo(
            eval=self.name, source="built in", rows=1, sha256=digest, sample=True
        )

    def put(self, question: str, number: int) -> Put:
        """The greeting."""
        return Put((Message("user", _GREETING),))

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Right if there is an answer; OpenAI's script counts blanks as one."""
        openai_score = float(bool(text))
        if not text.strip():
            return Mark("no_answer", None, openai_score)
        return Mark("correct", text.strip()[:_SHOWN], openai_score)
