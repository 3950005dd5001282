"""`basic`, as in OpenAI's script: one greeting; any answer that is not empty is correct."""

from collections.abc import Mapping
from dataclasses import replace

from evals.answer_eval import AnswerEval, Item, Order
from evals.datasets import DataRow, rows_sha256
from evals.declaration import declared
from harness.records.runs import DatasetInfo

_SHOWN = 80  # characters of an answer


class _Greeting(Item):
    """A greeting, which any text answers."""

    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the greeting."""
        return self.text

    def read(self, text: str, order: Order | None) -> str | None:
        """Return the beginning of any text that is not blank."""
        return text.strip()[:_SHOWN] or None

    def right(self, answer: str, order: Order | None) -> bool:
        """Accept every answer."""
        return True

    def openai_reads(self, text: str) -> str | None:
        """Accept any text, even a blank one, as OpenAI's script does."""
        return self.answer if text else ""


_HI = _Greeting("hi", "any greeting")
_INFO = DatasetInfo(
    eval="basic",
    source="built in",
    rows=1,
    sha256=rows_sha256([_HI.text]),
    sample=True,
    identity="samples",
)


EVALS = tuple(
    replace(entry, built_in=_INFO)
    for entry in declared(
        __name__,
        DataRow,
        lambda data, seed, prompts: AnswerEval(
            data.info, {"greeting": _HI}, seed=seed, prompts=prompts
        ),
    )
)
