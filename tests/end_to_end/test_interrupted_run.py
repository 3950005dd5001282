"""All outputs of an incomplete run have the same counts: passed of made, and the number planned."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from healthy import correct, provider_of, without_call
from mock_provider import MockProvider
from replies import MODEL

import harness
from gpt_oss_verify.app import run
from harness.run import run_folder

pytestmark = pytest.mark.usefixtures("empty_folder")

MADE, PLANNED = 7, 24


def interrupted(mock: MockProvider, *more: str) -> Path:
    """A run of the first two cases over Chat, of which the second never works."""
    first = "markdown-list"
    mock.always = provider_of(lambda case: (correct if case.id == first else without_call)(case))
    place = ("--base-url", mock.base_url, "--model", MODEL, "--suite", "tools", "--apis", "chat")
    run([*place, "-n", "2", "-k", "12", "--no-streaming", *more])
    (folder,) = Path("runs").iterdir()
    log = folder / "rollouts.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:MADE]))
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "ended": None, "finished_at": None}))
    return folder


def test_all_outputs_have_the_same_counts(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted(mock)
    lines = map(json.loads, (folder / "rollouts.jsonl").read_text().splitlines())
    good = sum(len(one["exchanges"]) == 2 for one in lines)
    assert 0 < good < MADE
    share = f"{good / MADE * 100:.1f}%"
    capsys.readouterr()
    assert run(["recheck", str(folder)]) == 4
    terminal = " ".join(capsys.readouterr().out.split())
    assert run(["recheck", str(folder), "--json"]) == 4
    (result,) = json.loads(capsys.readouterr().out)["results"]
    sentence = f"{good} of {MADE} ({share}; {PLANNED} planned)"
    page = re.sub(r"<[^>]+>", " ", (folder / run_folder.PAGE_FILE).read_text())
    page = " ".join(page.split())
    markdown = (folder / run_folder.REPORT_FILE).read_text()
    verdict = " ".join(run_folder.read_analysis(folder).verdict.reasons)

    for text in (terminal, verdict, page, markdown):
        assert sentence in text
    assert f"{MADE}/{PLANNED}" in terminal
    assert f"{MADE} of {PLANNED}" in markdown
    assert f"of {MADE} attempts, {PLANNED} planned" in page
    assert share in page

    assert (result["finished"], result["planned"]) == (MADE, PLANNED)
    assert result["outcomes"]["success"] == good
    assert result["at_k"][0]["pass_at"]["value"] == pytest.approx(good / MADE)
    assert sum(passed for passed, _ in result["cases"].values()) == good
    assert sum(made for _, made in result["cases"].values()) == MADE

    assert counts_in(folder / run_folder.JUNIT_FILE) == (good, MADE, PLANNED)

    attempts = harness.load(folder).attempts
    made = attempts[attempts["outcome"] != "not_run"]
    assert (len(attempts), len(made), made["value"].sum()) == (PLANNED, MADE, good)
    assert attempts["value"].mean() == pytest.approx(good / MADE)


def counts_in(junit: Path) -> tuple[int, int, int]:
    """Passed, made and planned tries of all cases in a JUnit file."""
    sums = [0, 0, 0]
    for test in ET.parse(junit).iter("testcase"):
        texts = [test.get("message") or "", *(test.itertext()), *messages(test)]
        found = re.search(
            r"(\d+) of (\d+) (?:try|tries) passed(?:, (\d+) planned)?", " ".join(texts)
        )
        if found is not None:
            passed, made, planned = found.groups()
            for at, value in enumerate((passed, made, planned or made)):
                sums[at] += int(value)
    return sums[0], sums[1], sums[2]


def messages(test: ET.Element) -> list[str]:
    return [child.get("message") or "" for child in test]
