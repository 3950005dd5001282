"""A run makes its further tries only if the first ones find something."""

import json

import pytest
from background import in_background
from healthy import provider_of
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
