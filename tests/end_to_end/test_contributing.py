"""What CONTRIBUTING.md shows is so."""

import re
import tomllib
from collections.abc import Callable
from inspect import getmembers, isfunction, signature
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from evals.datasets import Loaded
from evals.declaration import Facts
from harness.rules.evidence import subjects

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The code in this language in the section on an eval whose questions ship."""
    section = PAGE[PAGE.index("### An eval whose questions ship") :]
    return section.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def is_selector(function: Callable[..., object]) -> bool:
    return isfunction(function) and list(signature(function).parameters) == ["parsed"]


def test_every_selector_is_listed() -> None:
    listed = re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)
    defined = [name for name, _ in getmembers(subjects, is_selector) if not name.startswith("_")]
    assert sorted(listed) == defined


def test_the_eval_whose_questions_ship_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = TypeAdapter(dict[str, Facts]).validate_python(tomllib.loads(block("toml")))
    monkeypatch.setattr("evals.declaration.facts_of", {"sums": facts}.__getitem__)
    module: dict[str, object] = {"__name__": "evals.sums"}
    exec(block("python"), module)
    (one,) = module["EVALS"]  # type: ignore[misc]
    test = one.make(Loaded((), one.built_in), 0, None)
    assert len(test.questions) == one.built_in.rows
    for question in test.questions:
        right = one.make.__globals__["_SUMS"][question.id][1]
        assert test.mark(question.id, 1, f"The sum is {right}.").marking == "correct"
        assert test.mark(question.id, 1, "The sum is 3.").marking == "wrong"
