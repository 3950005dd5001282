"""A run makes its further tries only if the first ones find something, and where they do."""

import json

import pytest
from background import in_background
from healthy import SUITE, correct, provider_of, without_call
from mock_provider import MockProvider, status
from replies import MODEL

from gpt_oss_verify.app import run

pytestmark = pytest.mark.usefixtures("empty_folder")
GOOD = provider_of()
CASES = 36


@pytest.mark.parametrize(
    ("bad", "options", "attempts", "code"),
    [
        (False, (), 2, 0),
        (False, ("-k", "3"), 3, 0),
        (False, ("-n", "18"), 4, 0),  # with two tries of so few cases, no run passes
        (True, (), 5, 1),
    ],
)
def test_further_tries_follow_only_a_finding(bad, options, attempts, code, tmp_path):
    made = 0

    async def handle(request, writer):
        nonlocal made
        made += 1
        await (status(400) if bad and made % 20 == 0 else GOOD)(request, writer)

    suite = ("--suite", "tools", "--api", "chat", "--json")
    with in_background(MockProvider(always=handle)) as server:
        got = run(["--base-url", server.base_url, "--model", MODEL, *suite, *options])
    (folder,) = (tmp_path / "runs").iterdir()
    info = json.loads((folder / "run.json").read_text())
    analysis = json.loads((folder / "analysis.json").read_text())
    assert got == code, analysis["verdict"]["reasons"]
    (result,) = analysis["results"]
    cases = 18 if "-n" in options else CASES
    assert (result["tries"], result["finished"]) == (attempts, attempts * cases)
    assert info["settings"]["first_tries"] is (not bad and "-k" not in options)
    assert info["ended"] == "complete"
    ids = [json.loads(line)["id"] for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    assert len(set(ids)) == len(ids) == attempts * cases


@pytest.mark.parametrize(
    ("slips", "further", "attempts"),
    [
        ({0: 1}, {"chat · non-streaming": 20}, 92),  # the first try of a case, in one mode
        ({0: 1, 1: 1}, {"chat · non-streaming": 20, "chat · streaming": 20}, 112),
        ({0: 2}, {}, 180),  # a case that was never passed is a first sign: all tries follow
    ],
)
def test_an_undecided_rate_gets_further_tries_in_its_mode_alone(slips, further, attempts, tmp_path):
    left = {SUITE.cases[place].id: times for place, times in slips.items()}

    def script(case):
        if left.get(case.id, 0):
            left[case.id] -= 1
            return without_call(case)
        return correct(case)

    options = ("--suite", "tools", "--api", "chat", "--json", "--concurrency", "1")
    with in_background(MockProvider(always=provider_of(script))) as server:
        got = run(["--base-url", server.base_url, "--model", MODEL, *options])
    (folder,) = (tmp_path / "runs").iterdir()
    info = json.loads((folder / "run.json").read_text())
    analysis = json.loads((folder / "analysis.json").read_text())
    (task,), (result,) = info["tasks"], analysis["results"]
    assert got == 0, analysis["verdict"]["reasons"]
    assert (task["further"], task["planned"]) == (further, attempts)
    assert result["finished"] == result["planned"] == attempts
    assert info["settings"]["first_tries"] is bool(further)
    assert info["ended"] == "complete"
