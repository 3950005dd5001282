"""The evals by name: loads their data, and creates an eval from data."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from evals.aime import Aime, AimeRow
from evals.answer_eval import AnswerEval, Basic
from evals.datasets import BY_NAME, DataRow, DataSource, Loaded, load_rows
from evals.gpqa import Gpqa, GpqaRow
from evals.healthbench.conversations import NAMES as HEALTHBENCH
from evals.healthbench.conversations import HealthBench, HealthBenchRow
from evals.own import Own, OwnRow, load_own, own_name
from harness.errors import ConfigurationError
from harness.records.runs import PromptsInfo
from harness.text import suggestion

NAMES = ("aime25", "gpqa", *HEALTHBENCH, "basic")
ROWS: Mapping[str, type[DataRow]] = {
    "aime25": AimeRow,
    "gpqa": GpqaRow,
    **dict.fromkeys(HEALTHBENCH, HealthBenchRow),
}


def row_type(name: str) -> type[DataRow]:
    """Return the type of the rows of an eval that has rows."""
    return ROWS.get(name, OwnRow)


AnyEval: TypeAlias = AnswerEval | HealthBench


def load_data(name: str, place: DataSource = "hub") -> Loaded[Any]:
    """Return the rows of an eval in `NAMES`, or of the user's own in a file or on the hub.

    `basic` has none. Raises ConfigurationError.
    """
    if name == Basic.name:
        return Loaded((), Basic().info)
    if own_name(name) is not None:
        return load_own(name)
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
        case name if name in HEALTHBENCH:
            return HealthBench(data, name=name, prompts=prompts)
    return Own(data, seed, prompts)
