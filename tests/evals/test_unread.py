"""`grade RUN --grader NAME --unread`: a grader reads what the rules cannot, counted separately."""

import json

import pytest
from background import in_background
from mock_provider import MockProvider, write_json
from quiz import MODEL
from replies import Reply, chat_whole

from evals.grading.requests import ITEM
from gpt_oss_verify.app import run

UNREADABLE = "I count some of them, I think."


async def _vague(request, writer):
    """Half of the answers cannot be read; the grader finds the right answer in each of them."""
    prompt = str((request.body or {})["messages"][-1]["content"])
    text = UNREADABLE if len(prompt) % 2 else r"\boxed{1000}"
    if "criteria_met" in prompt:
        text = '{"explanation": "", "criteria_met": true}'
    write_json(writer, chat_whole(Reply(text=text, reasoning="Let me see.")))


@pytest.fixture
def mock():
    with in_background(MockProvider(always=_vague, models=[MODEL, "other"])) as running:
        yield running


@pytest.fixture
def folder(mock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = {"base_url": mock.base_url, "model": "other", "apis": ["chat"]}
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": {"second": entry}}))
    options = ["--samples", "--eval", "aime25", "-k", "1", "--api", "chat"]
    assert run(["eval", "--base-url", mock.base_url, "--model", MODEL, *options]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def graded(folder, capsys):
    capsys.readouterr()
    assert run(["grade", str(folder), "--grader", "second", "--unread", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    return result


def test_a_grader_reads_answers_the_rules_cannot_without_changing_the_score(mock, folder, capsys):
    before = json.loads((folder / "analysis.json").read_text())["results"][0]
    unread = before["outcomes"]["unread"]
    assert before["unread"]["read"] == 0
    bounds = [before["unread"][name] for name in ("low", "high")]
    assert bounds[1] - bounds[0] == pytest.approx(unread / before["planned"])
    assert any(f"unread answers: {unread}," in note for note in before["baseline"]["warnings"])
    mock.received.clear()
    result = graded(folder, capsys)
    assert 0 < unread < result["planned"]
    assert result["unread"] == {
        **dict.fromkeys(("unread", "read", "right"), unread),
        **dict.fromkeys(("low", "high"), bounds[1]),
    }
    assert result["baseline"]["warnings"] == []
    assert result["outcomes"] == before["outcomes"]
    assert result["score"] == before["score"]
    asked = [post.body["messages"][-1]["content"] for post in mock.posts if post.body]
    about = [text for text in asked if "criteria_met" in text]
    assert len(about) == unread
    assert all(f"assistant: {UNREADABLE}" in text for text in about)
    assert all("[1] Gives exactly" in text for text in about)
    log = (folder / "grades-second-other.jsonl").read_text().splitlines()
    assert all(json.loads(line)["sample"].endswith(f"/{ITEM}") for line in log)
    assert f"{unread} of {unread}" in (folder / "report.md").read_text()


def test_answers_a_grader_has_read_are_not_requested_again(mock, folder, capsys):
    first = graded(folder, capsys)
    mock.received.clear()
    assert graded(folder, capsys) == first
    assert mock.received == []


def test_no_grader_is_used_by_default(mock, folder, capsys):
    assert run(["grade", str(folder), "--unread"]) == 2
    assert "with --grader" in capsys.readouterr().err
    assert not list(folder.glob("grades-*"))
