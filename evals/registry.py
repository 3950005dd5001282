"""The evals by name: loads their data, and creates an eval from data."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from evals.aime import Aime, AimeRow
from evals.answer_eval import AnswerEval, Basic
from evals.datasets import BY_NAME, DataRow, DataSource, Loaded, load_rows
from evals.gpqa import Gpqa, GpqaRow
from evals.healthbench.conversations import NAMES as HEALTHBENCH
from evals.healthbench.conversations import HealthBench, HealthBenchRow
from harness.errors import ConfigurationError
from harness.records.runs import PromptsInfo
from harness.text import suggestion

NAMES = ("aime25", "gpqa", *HEALTHBENCH, "basic")
ROWS: Mapping[str, type[DataRow]] = {
    "aime25": AimeRow,
    "gpqa": GpqaRow,
    **dict.fromkeys(HEALTHBENCH, HealthBenchRow),
}

AnyEval: TypeAlias = AnswerEval | HealthBench


def load_data(name: str, place: DataSource = "hub") -> Loaded[Any]:
    """Return the rows of an eval in `NAMES`; `basic` has none. Raises ConfigurationError."""
    if name == Basic.name:
        return Loaded((), Basic().info)
    if name not in ROWS:
        raise ConfigurationError(f"There is no eval {name!r}; {suggestion(name, NAMES)}")
    return load_rows(BY_NAME[name], place, ROWS[name])


def make_eval(data: Loaded[Any], seed: int, prompts: PromptsInfo | None = None) -> AnyEval:
    """Return the eval of these rows.

    `seed` orders choices. Raises ConfigurationError for equal rows.
    """
    match data.info.eval:
        case "aime25":
            return Aime(data, prompts)
        case "gpqa":
            return Gpqa(data, seed, prompts)
        case "basic":
            return Basic()
    return HealthBench(data, name=data.info.eval, prompts=prompts)
