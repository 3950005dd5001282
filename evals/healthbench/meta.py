"""Is a grader as good as a physician? HealthBench's meta-evaluation (arXiv 2505.08775).

Physicians labelled whether answers meet criteria, and the grader gets the same task. Each of its
verdicts is compared with each physician's label of the same row, and each physician with the
others, as in OpenAI's script (simple-evals, `healthbench_meta_eval.py`). The result is macro F1:
the mean of F1 for "met" and F1 for "not met", over all rows and by category.

If a rater never agrees with a label "met", F1 is 0 here; OpenAI's script omits the category.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from evals.datasets.load import BY_NAME, DataSource, Loaded, load_rows
from evals.datasets.rows import rows_sha256
from evals.healthbench.grades import Verdicts
from evals.healthbench.grading_tasks import GradingTask
from evals.healthbench.rows import Turn, Verbatim
from evals.healthbench.trials import Agreement, Counts, MetaFigure, MetaReport
from harness.api.base import Message

META_SOURCE = replace(
    BY_NAME["healthbench"],
    name="healthbench_meta",
    files=("2025-05-07-06-14-12_oss_meta_eval.jsonl",),
    rows=29_511,
    sample="healthbench_meta.jsonl",
)
_ANSWER = "meta"
_OVERALL = ""


class MetaRow(Verbatim):
    """One criterion of one answer with physicians' labels; columns as in the published file."""

    prompt: tuple[Turn, ...] = Field(min_length=1)
    completion: str
    rubric: str = Field(min_length=1)
    category: str
    binary_labels: tuple[bool, ...] = Field(min_length=1)
    anonymized_physician_ids: tuple[str, ...]

    @model_validator(mode="after")
    def _one_physician_a_label(self) -> Self:
        if len(self.binary_labels) != len(self.anonymized_physician_ids):
            raise ValueError("there are not as many labels as physicians")
        return self

    @cached_property
    def key(self) -> str:
        """A hash of the grader's prompt, independent of the position of the row."""
        asked = [*((turn.role, turn.text) for turn in self.prompt), self.completion, self.rubric]
        return rows_sha256([asked])[:16]


def load_meta(place: DataSource) -> Loaded[MetaRow]:
    """The rows of the meta-evaluation. Raises ConfigurationError."""
    return load_rows(META_SOURCE, place, MetaRow)


def meta_tasks(rows: Iterable[MetaRow]) -> Iterator[GradingTask]:
    """One grading task per row."""
    for row in rows:
        conversation = tuple(Message(turn.role, turn.text) for turn in row.prompt)
        yield GradingTask(f"{_ANSWER}/{row.key}", conversation, row.completion, row.rubric)


def meta_report(rows: Sequence[MetaRow], verdicts: Verdicts) -> MetaReport:
    """Compare a grader with the physicians."""
    known: Mapping[str, bool] = verdicts.get(_ANSWER, {})
    grader: dict[str, Counts] = defaultdict(Counter)
    physicians: dict[str, dict[str, Counts]] = defaultdict(lambda: defaultdict(Counter))
    ungraded = 0
    for row in rows:
        verdict = known.get(row.key)
        ungraded += verdict is None
        labels = row.binary_labels
        for scope in (_OVERALL, row.category):
            if verdict is not None:
                grader[scope].update((verdict, label) for label in labels)
            for place, name in enumerate(row.anonymized_physician_ids):
                others = labels[:place] + labels[place + 1 :]
                physicians[scope][name].update((labels[place], other) for other in others)
    figures = {
        scope: MetaFigure(agreement=Agreement.of(grader[scope]), physicians=_scores(found.values()))
        for scope, found in physicians.items()
    }
    overall = figures.pop(_OVERALL, MetaFigure(agreement=Agreement(), physicians=()))
    categories = {name: figures[name] for name in sorted(figures)}
    return MetaReport(overall=overall, categories=categories, rows=len(rows), ungraded=ungraded)


def _scores(physicians: Iterable[Counts]) -> tuple[float, ...]:
    found = (Agreement.of(counts).macro_f1 for counts in physicians)
    return tuple(sorted(one for one in found if one is not None))
