"""The evals by name: loads their data, and creates an eval from data."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from evals.datasets import DataSource, Loaded, load_own_rows, load_rows
from evals.declaration import AnyEval, Eval, folders
from evals.own import OWN, own_name
from evals.own.scorer import SCORED, load_scored
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo, PromptsInfo
from harness.text import suggestion

EVALS: Mapping[str, Eval] = {
    e.name: e for folder in folders() for e in import_module(f"evals.{folder.name}").EVALS
}
NAMES = tuple(EVALS)
QUICK_TRIES: Mapping[str, int] = {
    name: e.facts.quick_tries for name, e in EVALS.items() if e.facts.quick_tries is not None
}


def eval_of(data: DatasetInfo) -> Eval:
    """Return the eval of these data; for other names, that of the user's own questions."""
    return EVALS.get(data.eval, SCORED if data.scorer else OWN)


def load_data(name: str, place: DataSource = "hub") -> Loaded[Any]:
    """Return the rows of an eval in `NAMES`, or of the user's own in a file or on the hub.

    Raises ConfigurationError.
    """
    if (own := own_name(name)) is not None:
        if name.endswith(".py"):
            return load_scored(own, Path(name))
        return load_own_rows(own, name, OWN.row)
    if name not in EVALS:
        raise ConfigurationError(f"There is no eval {name!r}; {suggestion(name, NAMES)}")
    declared = EVALS[name]
    if declared.built_in is not None:
        return Loaded((), declared.built_in)
    assert declared.facts.dataset is not None, f"{name} has no dataset"
    return load_rows(declared.facts.dataset, place, declared.row)


def make_eval(data: Loaded[Any], seed: int, prompts: PromptsInfo | None = None) -> AnyEval:
    """Return the eval of these rows.

    `seed` orders choices. Raises ConfigurationError for equal rows.
    """
    return eval_of(data.info).make(data, seed, prompts)
