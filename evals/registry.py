"""The evals by name: loads their data, and creates an eval from data.

`python -m evals.registry NAME [PLACE]` writes the hashes of a published file for `evals.identity`:
from the hub, or from a copy with a known SHA-256.
"""

import sys
from collections.abc import Mapping, Sequence
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
    one.name: one for folder in folders() for one in import_module(f"evals.{folder.name}").EVALS
}
NAMES = tuple(EVALS)
QUICK_TRIES: Mapping[str, int] = {
    name: one.facts.quick_tries for name, one in EVALS.items() if one.facts.quick_tries is not None
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
    one = EVALS[name]
    if one.built_in is not None:
        return Loaded((), one.built_in)
    assert one.facts.dataset is not None, f"{name} has no dataset"
    return load_rows(one.facts.dataset, place, one.row)


def make_eval(data: Loaded[Any], seed: int, prompts: PromptsInfo | None = None) -> AnyEval:
    """Return the eval of these rows.

    `seed` orders choices. Raises ConfigurationError for equal rows.
    """
    return eval_of(data.info).make(data, seed, prompts)


def main(arguments: Sequence[str]) -> None:
    """Write the hashes of a published file: NAME [PLACE]. Raises ConfigurationError."""
    name, place = arguments[0], arguments[1] if len(arguments) > 1 else "hub"
    data = load_data(name, place)
    dataset = EVALS[name].facts.dataset
    if dataset is None or data.info.revision != dataset.revision:
        raise ConfigurationError(f"{place} is not a published file of {name}: its hash is unknown.")
    ids = EVALS[name].make(data, 0, None).questions
    path = Path(__file__).parent / dataset.folder / f"published-{name}.csv"
    pairs = zip(ids, data.rows, strict=True)
    lines = [f"{one.id},{row.fingerprint},{dataset.repository}" for one, row in pairs]
    kept = path.read_text("utf-8").splitlines()[1:] if path.exists() else []
    path.write_text("\n".join(["id,hash,source", *dict.fromkeys([*kept, *lines])]) + "\n", "utf-8")
    print(path)  # noqa: T201 (a tool for maintainers)


if __name__ == "__main__":
    main(sys.argv[1:])
