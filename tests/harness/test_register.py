"""What each rule stands on: the stored table is that of today, and it has something for each."""

import pytest

from harness.records import register
from harness.rules.catalogue import RULES
from tools.register import register as made


def test_the_table_is_up_to_date() -> None:
    """`python tools/register.py` writes it."""
    assert register.register() == made()


def test_every_rule_that_can_accuse_stands_on_something() -> None:
    """A rule that no server, recording, report or fault shows gets a fault, or leaves."""
    accusing = {rule.id for rule in RULES.values() if rule.about.severity != "info"}
    standing = {rule for rule, row in register.register().items() if row.keys() - {"judged"}}
    assert sorted(accusing - standing) == []


@pytest.mark.parametrize(
    ("row", "line", "elsewhere"),
    [
        ({}, "", ""),
        ({"servers": ["vLLM 0.32"]}, "seen on vLLM 0.32", "seen on vLLM 0.32"),
        ({"only": ["fault a"]}, "the only error of fault a", ""),
        (
            {"servers": ["a 1", "b 2", "c 3", "d 4"], "recordings": ["r"], "reports": ["v#1"]},
            "seen on a 1, b 2, c 3 and 1 more; recorded in r; reported for v#1",
            "seen on a 1, b 2, c 3 and 1 more; reported for v#1",
        ),
    ],
)
def test_a_line_names_some_of_each_kind(monkeypatch, row, line, elsewhere) -> None:
    monkeypatch.setattr(register, "register", lambda: {"a.rule": row})
    assert (register.standing("a.rule"), register.elsewhere("a.rule")) == (line, elsewhere)
    assert register.standing("another.rule") == ""
