"""The catalogue of faults, the faults of a server, and the requests that show them."""

import json
import re

import pytest
from docs_pages import ROOT
from faulty import HI, chat, send

from gpt_oss_verify.app import run
from harness.rules.catalogue import CHECKS
from harness.rules.suites import choose
from reference_engine.__main__ import main
from reference_engine.faults.catalogue import CATALOGUE, FaultError, listing_json, read_plan
from reference_engine.faults.fault import ALLOWED, CHANGES
from reference_engine.faults.hooks import SSE_FILTER

SOURCE = re.compile(r"[\w./-]+( PR)?#\d+|[\w./-]+ [0-9a-f]{9}|constructed|.* .*")


def test_the_catalogue_is_complete():
    for fault in CATALOGUE.values():
        assert re.fullmatch(r"(ok:)?[a-z0-9]+(-[a-z0-9]+)*", fault.name)
        assert re.fullmatch(r"\w[^\n]*\.", fault.description), fault.name
        assert SOURCE.fullmatch(fault.source), fault.source
        assert fault.changes
        assert bool(fault.detectors) is not fault.allowed, fault.name


def test_every_change_belongs_to_one_row_of_the_catalogue():
    assert CHANGES.keys() == {name.removeprefix(ALLOWED) for name in CATALOGUE}
    assert len(CHANGES) == len(CATALOGUE)


def test_a_fault_changes_a_point_once():
    with pytest.raises(ValueError, match="'done-missing' changes the point 'stream' twice"):
        SSE_FILTER.faults({"done-missing": lambda _: True})


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        (["done-missing"], {"done-missing": 1}),
        (["done-missing,usage-zero:0.5"], {"done-missing": 0.5, "usage-zero": 0.5}),
        (["ok:extra-fields:.2", "sinks-dropped"], {"ok:extra-fields": 0.2, "sinks-dropped": 1}),
        ([" done-missing , ok:other-ids "], {"done-missing": 1, "ok:other-ids": 1}),
        (["sinks-dropped:1"], {"sinks-dropped": 1}),
        ([], {}),
    ],
)
def test_options(options, rates):
    assert read_plan(options).rates == rates


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("done-mising", r"no fault 'done-mising'; did you mean 'done-missing'\?"),
        ("done-missing,", r"no fault ''; run 'python -m reference_engine faults'\."),
        ("extra-fields", r"did you mean 'ok:extra-fields'\?"),
        ("done-missing:x", r"no fault 'done-missing:x'"),
        ("done-missing:0", r"rate of 'done-missing' must be above 0 and at most 1, not '0'"),
        ("done-missing:1.1", r"must be above 0 and at most 1"),
        ("done-missing:-1", r"must be above 0 and at most 1"),
        ("done-missing:nan", r"no fault 'done-missing:nan'"),
        ("done-missing:1e", r"must be above 0 and at most 1"),
        ("sinks-dropped:0.5", r"cannot have a rate: it changes the engine"),
    ],
)
def test_invalid_options_are_rejected(option, message):
    with pytest.raises(FaultError, match=message):
        read_plan([option])


def test_a_rate_picks_the_same_requests_in_every_run():
    plan = read_plan(["done-missing:0.3", "usage-zero:0.3"])
    picks = [[fault.name for fault in plan.of(number)] for number in range(2000)]
    assert picks == [[fault.name for fault in plan.of(number)] for number in range(2000)]
    for name in plan.rates:
        assert 0.26 < sum(name in pick for pick in picks) / 2000 < 0.34
    assert 0.06 < sum(len(pick) == 2 for pick in picks) / 2000 < 0.12


def test_the_default_run_passes_each_stage_of_a_server():
    page = (ROOT / "docs" / "reference-engine.md").read_text(encoding="utf-8")
    stages = re.findall(r"(?m)^\| ([^|`]+) \| (`.+`) \| (`.+`) \| `(\S+)` \|$", page)
    probes = choose("standard").probes
    sent = {"tool_calling", *(probe.group.name for probe in probes)}
    assert len(stages) > len(sent)
    for stage, requests, families, fault in stages:
        assert sent.issuperset(requests.strip("`").split("`, `")), stage
        judging = {
            rule.about.family
            for rule in (*CHECKS.values(), *probes)
            if any(map(rule.about.is_named, CATALOGUE[fault].detectors))
        }
        assert judging == {*families.strip("`").split("`, `")}, stage


async def test_faults_are_combined():
    seen = await send(chat(HI), "usage-zero", "cot-in-content", "effort-ignored")
    assert seen.json["usage"]["total_tokens"] == 0
    assert seen.message["content"] == "I think.\n\nHello there."


@pytest.mark.parametrize("name", [name for name, fault in CATALOGUE.items() if not fault.allowed])
async def test_no_fault_crashes_on_a_malformed_request(name):
    ask = chat("hi", 3, {"role": "user", "content": [4]}, tools=[5], tool_choice=6)
    seen = await send(ask, name, accepts="identity")  # some faults break the encoding
    assert seen.status in ({503} if name == "rejection-locks-all" else {200, 400, 500})
    assert seen.text


def test_the_command_line_lists_the_faults(capsys):
    assert main(["faults"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name}\n" in f"\n{listed}" for name in CATALOGUE)
    assert "vllm#27653" in listed


@pytest.mark.parametrize("command", [main, run])
def test_both_command_lines_reject_an_unknown_fault(command, capsys):
    assert command(["serve", "--port", "0", "--fault", "sinks-droped"]) == 2
    said = "error: There is no fault 'sinks-droped'; did you mean 'sinks-dropped'?\n"
    assert capsys.readouterr().err.endswith(said)


def test_the_catalogue_as_json_says_what_is_in_the_model() -> None:
    listed = {fault["name"]: fault for fault in json.loads(listing_json())}
    assert listed.keys() == CATALOGUE.keys()
    assert listed["sinks-dropped"]["model"]
    assert not listed["done-missing"]["model"]
    assert listed["ok:keep-alive-comments"]["allowed"]
