"""What an eval declares: a folder of `evals` with `eval.toml`, its rows and how to mark answers.

The folder contains everything about its evals; help texts take their names from it:

- `eval.toml`: `Facts` by the name of the eval
- `__init__.py`: `EVALS`, made by `declared`
- `prompts.yaml`: our templates, if it has any
- a file with sample questions, `published-NAME.csv` with the hashes of the published questions, and
  `scores.json` with published scores (`evals.baselines.published`), as far as there are any
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from evals.answer_eval import AnswerEval
from evals.datasets import DataRow, Loaded, PublishedDataset
from evals.grading import SCRIPTS
from evals.grading.graded_eval import GradedEval
from evals.prompts import Script
from harness.records.record import Record
from harness.records.runs import DatasetInfo, PromptsInfo

AnyEval: TypeAlias = AnswerEval | GradedEval
Maker: TypeAlias = Callable[[Loaded[Any], int, PromptsInfo | None], AnyEval]
FACTS = "eval.toml"


class Facts(Record):
    """The facts about an eval in `eval.toml`.

    `tries` is the default number at each question, `quick_tries` that of `--evals quick`; the evals
    of `--evals quick` are also those of `eval` by default. `output_tokens` by effort are those of
    one attempt, CoT included: rough assumptions, to tell a dollar from a thousand. `max_tokens` is
    the default limit of a reply: that of OpenAI's script, with which figures were published.
    `templates` has the names of the templates that scores depend on, with their places in
    `gpt_oss.evals`, if any.
    """

    tries: int = 1
    quick_tries: int | None = None
    output_tokens: Mapping[str, int]
    max_tokens: int = 131_072
    templates: Mapping[str, Script | None] = {}
    dataset: PublishedDataset | None = None


@dataclass(frozen=True)
class Eval:
    """One eval: its rows, and `make`, which makes it of rows, a seed and prompts."""

    name: str
    facts: Facts
    row: type[DataRow]
    make: Maker
    needs_grader: bool = False
    built_in: DatasetInfo | None = None
    """The data of an eval that has no dataset."""


def declared(
    package: str, row: type[DataRow], make: Maker, *, needs_grader: bool = False
) -> tuple[Eval, ...]:
    """Return the evals in a package, which have the same rows."""
    return tuple(
        Eval(name, facts, row, make, needs_grader)
        for name, facts in facts_of(package.rpartition(".")[2]).items()
    )


def folders() -> list[Traversable]:
    """Return the folders of evals."""
    every = (folder for folder in resources.files("evals").iterdir() if folder.is_dir())
    return sorted((f for f in every if (f / FACTS).is_file()), key=lambda folder: folder.name)


@cache
def facts_of(folder: str) -> Mapping[str, Facts]:
    """Return the facts about the evals of a folder, by their names."""
    given = tomllib.loads((resources.files("evals") / folder / FACTS).read_text("utf-8"))
    for name, facts in given.items():
        if "dataset" in facts:
            facts["dataset"] = {**facts["dataset"], "name": name, "folder": folder}
    return TypeAdapter(dict[str, Facts]).validate_python(given, extra="forbid")


@cache
def all_facts() -> Mapping[str, Facts]:
    """Return the facts about all evals, without importing their modules."""
    return {name: facts for f in folders() for name, facts in facts_of(f.name).items()}


def scripts() -> Mapping[str, Script]:
    """Return where OpenAI's scripts have the templates of the evals and of graders."""
    of_evals = {name: at for facts in all_facts().values() for name, at in facts.templates.items()}
    return {name: at for name, at in (of_evals | SCRIPTS).items() if at is not None}
