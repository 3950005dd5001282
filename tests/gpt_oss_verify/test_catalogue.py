"""`gpt-oss-verify checks`: all rules as a table, one with its requests."""

import json
import re

import pytest

from gpt_oss_verify import checks as catalogue
from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.records.conditions import BOTH_APIS, MODES
from harness.records.register import standing
from harness.rules.catalogue import RULES
from harness.rules.probe import Probe


def test_every_rule_is_listed_with_summary_reason_and_source(capsys):
    assert run(["checks", "--all"]) == 0
    listed = capsys.readouterr().out
    for check in RULES.values():
        for text in (check.id, check.about.summary, check.about.why, check.about.source):
            assert text in listed


def test_the_families_are_listed_with_their_numbers_on_one_screen(capsys):
    assert run(["checks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [row.groups() for line in lines if (row := re.match(r"(\w+) +(\d+) +(\d+) ", line))]
    assert {row[0] for row in rows} == {rule.about.family for rule in RULES.values()}
    assert sum(int(checks) + int(probes) for _, checks, probes in rows) == len(RULES)
    assert sum(int(probes) for _, _, probes in rows) == sum(
        isinstance(rule, Probe) for rule in RULES.values()
    )
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80


def test_one_family_can_be_listed(capsys):
    assert run(["checks", "--family", "usage", "--markdown"]) == 0
    ids = re.findall(r"^\| \[`([a-z_.]+)`", capsys.readouterr().out, flags=re.M)
    assert ids == [entry.about.id for entry in catalogue.entries("usage")]
    assert {entry.about.family for entry in catalogue.entries("usage")} == {"usage"}


def test_a_probe_is_shown_with_the_requests_that_it_sends(capsys):
    assert run(["checks", "tools.choice.required"]) == 0
    shown = capsys.readouterr().out
    assert "tool_choice required" in shown
    parts = re.split(r"^# (.*)$", shown, flags=re.M)
    names, bodies = parts[1::2], [json.loads(text) for text in parts[2::2]]
    expected = [(api, mode) for api in BOTH_APIS for mode in MODES]
    assert sorted(names) == sorted(f"'required' · {a} · {m} · 2 tries" for a, m in expected)
    assert {body["tool_choice"] for body in bodies} == {"required"}
    assert sum("input" in body for body in bodies) == len(MODES)


def test_long_texts_of_shown_requests_are_abbreviated(capsys):
    assert run(["checks", "long.words"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"… \([\d,]{6,} characters\)", shown)
    assert max(map(len, shown.splitlines())) < 700


def test_a_check_is_shown_without_requests(capsys):
    assert run(["checks", "usage.output.lost"]) == 0
    shown = capsys.readouterr().out
    assert RULES["usage.output.lost"].about.summary in shown
    assert standing("usage.output.lost") in shown
    assert "# " not in shown


def test_an_unknown_rule_or_two_selections_are_reported(capsys):
    assert run(["checks", "tools.choice.requird"]) == 2
    assert "'tools.choice.required'?" in capsys.readouterr().err
    assert run(["checks", "tools.choice.named", "--family", "usage"]) == 2
    assert "not both" in capsys.readouterr().err


def test_every_probe_can_be_shown_with_at_least_one_request(capsys):
    for rule in RULES.values():
        if isinstance(rule, Probe):
            assert run(["checks", rule.about.id]) == 0
            assert re.search(r"^# '", capsys.readouterr().out, flags=re.M), rule.about.id


def test_an_unknown_family_is_reported_with_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"'usge'; choose from errors, calls"):
        catalogue.entries("usge")


def test_every_row_has_the_columns_of_the_table():
    rows = [line for line in catalogue.markdown(catalogue.entries()).splitlines() if "|" in line]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {3, 5}
