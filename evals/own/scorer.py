"""Questions that a function of the user's own marks: `--eval my_eval.py`.

The file has `QUESTIONS`, a list of rows or the name of a file beside it, and `score(question,
answer)`, which returns True, False or a number from 0 to 1. Its source is kept in the run folder,
so that the run can be judged again.
"""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, Field

from evals.answer_eval import AnswerEval, Item, Order
from evals.datasets import DataRow, Loaded, RawRow, read_file, rows_sha256, text_id, validate_rows
from evals.declaration import AnyEval, Eval
from evals.own import OWN
from harness.errors import ConfigurationError, read_text
from harness.records.runs import DatasetInfo, PromptsInfo


class ScorerError(Exception):
    """The scorer raised an error, or returned something else than a score."""


@dataclass(frozen=True)
class Scorer:
    """The source of a scorer; it runs when the first answer is marked."""

    name: str  # of the file
    source: str

    @property
    def described(self) -> str:
        """The file with the beginning of its hash: `my_eval.py (1a2b3c4d5e6f)`."""
        return f"{self.name} ({hashlib.sha256(self.source.encode()).hexdigest()[:12]})"

    @cached_property
    def module(self) -> ModuleType:
        """The file as a module. Raises ScorerError."""
        made = ModuleType(f"scorer_{Path(self.name).stem}")
        sys.modules[made.__name__] = made  # dataclasses look up their module
        try:
            exec(compile(self.source, self.name, "exec"), made.__dict__)  # noqa: S102 (the user's)
        except Exception as error:
            raise ScorerError(f"{self.name} cannot be run: {_named(error)}") from error
        return made

    def score(self, question: Mapping[str, Any], answer: str) -> float:
        """Return the score of an answer. Raises ScorerError."""
        try:
            value = self.module.score(question, answer)
        except ScorerError:
            raise
        except Exception as error:
            raise ScorerError(f"{self.name} raised {_named(error)}") from error
        if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
            raise ScorerError(f"{self.name} returned {value!r}, not True, False or 0 to 1")
        return float(value)


class ScoredRow(DataRow):
    """A question with any other columns, which the scorer gets unchanged."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    question: str = Field(min_length=1)

    @property
    def question_id(self) -> str:
        """The given id, or one from the text."""
        return self.id or text_id(self.question)


@dataclass(frozen=True)
class ScoredItem(Item):
    """A question that a scorer marks; the whole final text is the answer."""

    row: Mapping[str, Any] = field(default_factory=dict)
    scorer: Scorer = Scorer("", "")

    def asked(self, templates: Mapping[str, str], order: Order | None) -> str:
        """Return the question."""
        return self.text

    def read(self, text: str, order: Order | None) -> str | None:
        """Return the text."""
        return text.strip() or None

    def value(self, answer: str, order: Order | None) -> float:
        """Return the scorer's value. Raises ScorerError."""
        return self.scorer.score(self.row, answer)


def load_scored(name: str, path: Path) -> Loaded[ScoredRow]:
    """Return the questions of a scorer's file. Raises ConfigurationError if it cannot mark them."""
    scorer = Scorer(path.name, read_text(path))
    try:
        if not callable(getattr(scorer.module, "score", None)):
            raise ConfigurationError(
                f"{path} has no function score(question, answer) that marks an answer."
            )
        given = getattr(scorer.module, "QUESTIONS", None)
        if isinstance(given, str):
            raw = read_file(path.parent / given)
        elif isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
            places = (f"{path} question {number}" for number in range(1, len(given) + 1))
            raw = tuple(map(RawRow, places, given))
        else:
            raise ConfigurationError(
                f"{path}: QUESTIONS must be a list of dicts with a question, or the name of a "
                ".jsonl or .csv file beside it."
            )
        rows = validate_rows(raw, ScoredRow)
        for row in rows:
            scorer.score(row.model_dump(mode="json"), "")
    except ScorerError as error:
        raise ConfigurationError(
            f"{path}: {error}. Correct score(question, answer); it was tried with an empty answer."
        ) from None
    digest = rows_sha256(row.content() for row in rows)
    info = DatasetInfo(
        eval=name, source=str(path), rows=len(rows), sha256=digest, scorer=scorer.described
    )
    return Loaded(rows, info, scorer.source)


def scorer_file(info: DatasetInfo) -> str:
    """Return the name of the file in a run folder with the source of an eval's scorer."""
    return f"scorer-{info.eval}.py"


def _make(data: Loaded[ScoredRow], seed: int, prompts: PromptsInfo | None) -> AnyEval:
    rows = data.by_id([row.question_id for row in data.rows])
    scorer = Scorer(Path(data.info.source).name, data.code)
    items = {
        name: ScoredItem(row.question, "", row=row.model_dump(mode="json"), scorer=scorer)
        for name, row in rows.items()
    }
    info = data.info.model_copy(update={"scorer": scorer.described})
    return AnswerEval(info, items, seed=seed, prompts=prompts)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


SCORED = Eval(
    "scored",
    OWN.facts.model_copy(update={"templates": {}}),
    ScoredRow,
    _make,
)
