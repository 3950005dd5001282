"""Agreement of a grader with physicians and with another grader: records and figures. No I/O.

This is HealthBench's meta-evaluation (arXiv 2505.08775). Physicians labeled whether answers meet
criteria, and the grader gets the same task. Each verdict of the grader is compared with each
physician's label of the same row, and each physician with the others, as in OpenAI's script
(simple-evals, `healthbench_meta_eval.py`). The result is macro F1: the mean of F1 for "met" and F1
for "not met", over all rows and by category. If a rater never agrees with a label "met", F1 is 0
here; OpenAI's script omits the category.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from evals.datasets.load import BY_NAME, DataSource, Loaded, load_rows
from evals.datasets.rows import rows_sha256
from evals.healthbench.grades import Verdicts
from evals.healthbench.grading_tasks import GradingTask
from evals.healthbench.rows import HealthBenchRow, Turn, Verbatim
from harness.api.items import Message
from harness.records.figures import RubricSummary
from harness.records.record import Record
from harness.records.runs import DatasetInfo, ProviderInfo
from harness.statistics.estimators import cohens_kappa

Counts = Counter[tuple[bool | None, bool | None]]
"""The number of items for each pair of verdicts of two raters; None is a missing verdict."""


class Agreement(Record):
    """How often two raters agree: a 2 × 2 table; `first_only` are met for the first rater only."""

    both_met: int = 0
    first_only: int = 0
    second_only: int = 0
    neither: int = 0

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """The table of the items on which both gave a verdict."""
        return cls(
            both_met=counts[True, True],
            first_only=counts[True, False],
            second_only=counts[False, True],
            neither=counts[False, False],
        )

    @property
    def items(self) -> int:
        """Items on which both gave a verdict."""
        return self.both_met + self.first_only + self.second_only + self.neither

    @property
    def rate(self) -> float | None:
        """Share of the items on which the raters agree; None without items."""
        return self._share(self.both_met + self.neither)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None without items, or if both gave the same verdict on all items."""
        return cohens_kappa(self.both_met, self.first_only, self.second_only, self.neither)

    @property
    def macro_f1(self) -> float | None:
        """Mean of F1 for "met" and for "not met"; None if either never occurs."""
        differ = self.first_only + self.second_only
        met, unmet = _f1(self.both_met, differ), _f1(self.neither, differ)
        return None if met is None or unmet is None else (met + unmet) / 2

    @property
    def first_met(self) -> float | None:
        """Share of the items that the first rater considers met."""
        return self._share(self.both_met + self.first_only)

    @property
    def second_met(self) -> float | None:
        """Share of the items that the second rater considers met."""
        return self._share(self.both_met + self.second_only)

    def _share(self, part: int) -> float | None:
        return part / self.items if self.items else None


class AgreementReport(Record):
    """Agreement of two graders on the same answers, over all items and by tag.

    `first_ungraded` counts the items that only the second grader graded, `second_ungraded` those
    that only the first graded.
    """

    overall: Agreement
    tags: dict[str, Agreement]
    first_ungraded: int
    second_ungraded: int

    @property
    def axes(self) -> dict[str, Agreement]:
        """Agreement by axis."""
        return {
            tag.removeprefix("axis:"): found
            for tag, found in self.tags.items()
            if tag.startswith("axis:")
        }


class MetaFigure(Record):
    """A grader compared with physicians, over all rows or one category.

    Attributes:
        agreement: The grader's verdicts, compared with the label of each physician.
        physicians: Macro F1 of each physician against the others, in ascending order;
            physicians without enough labels are omitted.
    """

    agreement: Agreement
    physicians: tuple[float, ...]

    @property
    def physician_mean(self) -> float | None:
        """Mean macro F1 of the physicians."""
        return sum(self.physicians) / len(self.physicians) if self.physicians else None

    @property
    def share_reached(self) -> float | None:
        """Share of the physicians whose macro F1 the grader reaches."""
        reached = self.agreement.macro_f1
        if reached is None or not self.physicians:
            return None
        return sum(one <= reached for one in self.physicians) / len(self.physicians)


class MetaReport(Record):
    """A grader's results; the `ungraded` rows have no verdict and are not counted."""

    overall: MetaFigure
    categories: dict[str, MetaFigure]
    rows: int
    ungraded: int


class PhysicianTrial(Record):
    """A grader's agreement with physicians, as a file."""

    kind: Literal["physicians-agreement"] = "physicians-agreement"
    grader: ProviderInfo
    dataset: DatasetInfo
    report: MetaReport


class CompletionScores(Record):
    """HealthBench scores of physicians' answers or of the answers they were shown, as a file."""

    kind: Literal["physicians-scores"] = "physicians-scores"
    grader: ProviderInfo
    dataset: DatasetInfo
    references: bool
    groups: dict[str, RubricSummary]


class GraderComparison(Record):
    """Two graders on the answers of one run; `first` and `second` are the names of their logs."""

    kind: Literal["graders-agreement"] = "graders-agreement"
    run_id: str
    first: str
    second: str
    report: AgreementReport


def agreement(
    answers: Iterable[tuple[str, HealthBenchRow]], first: Verdicts, second: Verdicts
) -> AgreementReport:
    """Compare the grades of two graders on these answers, each with its id and its question."""
    overall: Counts = Counter()
    tags: dict[str, Counts] = defaultdict(Counter)
    nothing: Mapping[str, bool] = {}
    for answer, row in answers:
        ours, theirs = first.get(answer, nothing), second.get(answer, nothing)
        for item in row.items:
            pair = ours.get(item.id), theirs.get(item.id)
            for counts in (overall, *(tags[tag] for tag in item.tags)):
                counts[pair] += 1
    return AgreementReport(
        overall=Agreement.of(overall),
        tags={tag: Agreement.of(tags[tag]) for tag in sorted(tags)},
        first_ungraded=overall[None, True] + overall[None, False],
        second_ungraded=overall[True, None] + overall[False, None],
    )


def _f1(right: int, wrong: int) -> float | None:
    """F1 from the numbers of items with the class on both sides and on one side."""
    return 2 * right / (2 * right + wrong) if right or wrong else None


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
