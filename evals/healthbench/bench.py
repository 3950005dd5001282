"""HealthBench as an eval: its conversations and their rubrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from evals.base import Prompt, Question
from evals.datasets.load import DataSource, Loaded, load_rows
from evals.datasets.published import BY_NAME
from evals.healthbench.rows import HealthBenchRow
from evals.prompts import our_prompts
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo, PromptsInfo

NAMES = ("healthbench", "healthbench_hard", "healthbench_consensus")


class HealthBench:
    """One of the three HealthBench evals.

    Attributes:
        name: One of `NAMES`.
        info: The dataset.
        questions: One for each row.
        rows: The rows by question, with their rubrics.
        prompts: The prompts of the run, of which the grader's are used.
        tries: Tries at each by default, as in OpenAI's script.
    """

    tries = 1

    def __init__(
        self, loaded: Loaded[HealthBenchRow], *, name: str, prompts: PromptsInfo | None = None
    ) -> None:
        """Take the loaded rows. Raises ConfigurationError if two have the same prompt_id."""
        self.name = name
        self.prompts = prompts or our_prompts()
        self.info: DatasetInfo = loaded.info
        self.rows: Mapping[str, HealthBenchRow] = {row.prompt_id: row for row in loaded.rows}
        if len(self.rows) < len(loaded.rows):
            first, count = Counter(row.prompt_id for row in loaded.rows).most_common(1)[0]
            raise ConfigurationError(
                f"{loaded.info.source}: the prompt_id {first} occurs {count} times; keep one row."
            )
        self.questions: Sequence[Question] = tuple(
            Question(row.prompt_id, _shown(row)) for row in loaded.rows
        )

    def prompt(self, question: str, number: int) -> Prompt:
        """The conversation, unchanged in every try."""
        return Prompt(self.rows[question].messages)


def load(name: str, place: DataSource) -> HealthBench:
    """One of the three evals, by its name in `NAMES`. Raises ConfigurationError."""
    return HealthBench(load_rows(BY_NAME[name], place, HealthBenchRow), name=name)


def _shown(row: HealthBenchRow) -> str:
    return "\n\n".join(f"{turn.role}: {turn.text}" for turn in row.prompt)
