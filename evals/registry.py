"""The evals by name: loads their data, and creates an eval from data."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from evals.answer_eval import BASIC, AnswerEval, Basic
from evals.datasets import BY_NAME, DataRow, DataSource, Loaded, load_own_rows, load_rows
from evals.healthbench.conversations import NAMES as HEALTHBENCH
from evals.healthbench.conversations import HealthBench, HealthBenchRow
from evals.questions import AimeRow, GpqaRow, OwnRow, items, own_name
from harness.errors import ConfigurationError
from harness.records.runs import PromptsInfo
from harness.text import suggestion

NAMES = ("aime25", "gpqa", *HEALTHBENCH, BASIC)
ROWS: Mapping[str, type[DataRow]] = {
    "aime25": AimeRow,
    "gpqa": GpqaRow,
    **dict.fromkeys(HEALTHBENCH, HealthBenchRow),
}

_TRIES = {"aime25": 16, "gpqa": 8}
"""The tries by default: 16 as in published reproductions, 8 as in OpenAI's script."""


def row_type(name: str) -> type[DataRow]:
    """Return the type of the rows of an eval that has rows."""
    return ROWS.get(name, OwnRow)


AnyEval: TypeAlias = AnswerEval | HealthBench


def load_data(name: str, place: DataSource = "hub") -> Loaded[Any]:
    """Return the rows of an eval in `NAMES`, or of the user's own in a file or on the hub.

    `basic` has none. Raises ConfigurationError.
    """
    if name == BASIC:
        return Loaded((), Basic().info)
    if (own := own_name(name)) is not None:
        return load_own_rows(own, name, OwnRow)
    if name not in ROWS:
        raise ConfigurationError(f"There is no eval {name!r}; {suggestion(name, NAMES)}")
    return load_rows(BY_NAME[name], place, ROWS[name])


def make_eval(data: Loaded[Any], seed: int, prompts: PromptsInfo | None = None) -> AnyEval:
    """Return the eval of these rows.

    `seed` orders choices. Raises ConfigurationError for equal rows.
    """
    name = data.info.eval
    if name == BASIC:
        return Basic()
    if name in HEALTHBENCH:
        return HealthBench(data, name=name, prompts=prompts)
    return AnswerEval(data.info, items(data), _TRIES.get(name, 1), seed, prompts)
