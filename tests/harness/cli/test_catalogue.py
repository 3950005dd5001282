import re
from pathlib import Path

import pytest

from harness.cli import checks as catalogue
from harness.cli.app import run
from harness.errors import ConfigurationError
from harness.rules import RULES

DOCS = Path(__file__).parents[3] / "docs" / "checks.md"


def test_the_page_of_checks_is_up_to_date():
    made = catalogue.markdown(catalogue.entries())
    hint = "make it again: gpt-oss-verify checks --markdown > docs/checks.md"
    assert DOCS.read_text("utf-8") == made, hint


def test_the_readme_has_the_current_numbers_of_probes_and_requests():
    page = catalogue.markdown(catalogue.entries())
    sizes = re.findall(r"^\| (?:quick|full) \| (\d+) \| (\d+) \|", page, flags=re.M)
    readme = (DOCS.parents[1] / "README.md").read_text("utf-8")
    found = re.search(
        r"adds\s(\d+)\sprobes\s\((\d+)\s.*?full`\s(\d+)\s\((\d+)\)", readme, flags=re.S
    )
    assert found is not None
    assert [found.group(1, 2), found.group(3, 4)] == sizes


def test_every_rule_is_listed_with_summary_reason_and_source(capsys):
    assert run(["checks"]) == 0
    listed = capsys.readouterr().out
    for check in RULES.values():
        for text in (check.id, check.about.summary, check.about.why, check.about.source):
            assert text in listed


def test_one_family_can_be_listed(capsys):
    assert run(["checks", "--family", "usage", "--markdown"]) == 0
    ids = re.findall(r"^\| \[`([a-z_.]+)`", capsys.readouterr().out, flags=re.M)
    assert ids == [entry.about.id for entry in catalogue.entries("usage")]
    assert {entry.about.family for entry in catalogue.entries("usage")} == {"usage"}


def test_an_unknown_family_is_reported_with_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"'usge'; families are schema, stream"):
        catalogue.entries("usge")


def test_every_row_has_the_columns_of_the_table():
    rows = [line for line in catalogue.markdown(catalogue.entries()).splitlines() if "|" in line]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_every_family_has_a_title():
    titles = catalogue.by_family(catalogue.entries())
    assert all(":" in title or " " in title for title in titles)
