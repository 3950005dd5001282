"""The registry of rules compared with its recorded state, so that refactoring cannot change it.

`python tests/harness/test_rules.py` records it again.
"""

import re
from pathlib import Path

from harness.rules.catalogue import RULES
from harness.rules.rule import Rule

SNAPSHOT = Path(__file__).with_name("rules.txt")


def row(rule: Rule) -> str:
    about = rule.about
    apis, modes = "+".join(sorted(about.apis)), "+".join(sorted(about.modes))
    scope = f"{about.kind} {about.family} {about.severity} {apis} {modes} {rule.suite}"
    return (
        f"{rule.id} {scope} tolerated={rule.tolerated * 100:g}% needs={rule.needs} {about.source}"
    )


def test_ids_severities_scopes_and_tolerances_are_unchanged() -> None:
    assert [row(rule) for rule in RULES.values()] == SNAPSHOT.read_text("utf-8").splitlines()


def test_every_rule_states_a_requirement_a_reason_and_a_source() -> None:
    assert [rule.id for rule in RULES.values() if not well_described(rule)] == []


def well_described(rule: Rule) -> bool:
    about = rule.about
    return (
        all(
            len(text) > 15 and text.endswith(".") and ".." not in text
            for text in (about.summary, about.why)
        )
        and not re.search(r"[|\n]", about.summary)
        and re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+", about.id) is not None
        and about.source.startswith("https://")
        and 0 <= rule.tolerated < 1
    )


if __name__ == "__main__":
    SNAPSHOT.write_text("".join(f"{row(rule)}\n" for rule in RULES.values()), encoding="utf-8")
