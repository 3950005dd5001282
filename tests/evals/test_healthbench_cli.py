"""`gpt-oss-verify grader …`, from the command line to a grader over a real socket."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import mock_provider as mock
import pytest
from background import in_background
from mock_provider import MockProvider, Received
from replies import MODEL, Reply

from evals.grader_trial import compare_graders
from evals.healthbench.grading_tasks import graders_of, grading_prompt
from evals.healthbench.trials import load_meta, meta_tasks
from gpt_oss_verify.app import run

META = {
    grading_prompt(task.conversation, task.answer, task.item): row.binary_labels[0]
    for row in load_meta("samples").rows
    for task in meta_tasks([row])
}


async def physician(request: Received, writer: asyncio.StreamWriter) -> None:
    """Grades labelled rows as their first physician does, and all other items as met.

    The model `strict` grades only faults as met. As a provider it answers with a greeting.
    """
    assert request.body is not None
    prompt = request.body["messages"][-1]["content"]
    said = "Good day."
    _, _, item = prompt.partition("# Rubric item\n")
    if item:
        met = META.get(prompt, request.body["model"] != "strict" or item.startswith("[-"))
        said = json.dumps({"explanation": "So I think.", "criteria_met": met})
    mock.write_reply(request, writer, Reply(text=said, model=request.body["model"]))


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with in_background(MockProvider(always=physician, models=[MODEL, "strict"])) as running:
        yield running


@pytest.fixture(autouse=True)
def _in_a_folder_with_graders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: MockProvider
) -> None:
    monkeypatch.chdir(tmp_path)
    write_graders(provider, MODEL)


def write_graders(provider: MockProvider, model: str) -> None:
    entry = {"base_url": provider.base_url, "model": model, "apis": ["chat"]}
    entries = {"doc": entry, "keyed": {**entry, "api_key_env": "NO_SUCH_KEY_HERE"}}
    Path("providers.yaml").write_text(json.dumps({"providers": entries}), encoding="utf-8")


def only_run() -> Path:
    (folder,) = Path("runs").iterdir()
    return folder


def test_a_grader_is_compared_with_physicians(
    capsys: pytest.CaptureFixture[str], provider: MockProvider
) -> None:
    assert run(["grader", "check", "doc", "--samples"]) == 0
    out = capsys.readouterr().out
    report = (only_run() / "report.md").read_text(encoding="utf-8")
    assert out.startswith(report)
    assert "| emergency_referrals |" in report
    assert "8 rows of samples/healthbench_meta.jsonl, 0 without a grade" in report
    assert "These are not the published" in report
    found = json.loads((only_run() / "grader.json").read_text(encoding="utf-8"))
    # 16 labels; the first physician is contradicted twice: once with no, once with yes.
    assert found["report"]["overall"]["agreement"] == {
        "both_met": 6 - 1,
        "first_only": 1,
        "second_only": 1,
        "neither": 9,
    }
    asked = len(provider.posts)
    assert run(["grader", "check", "doc", "--samples", "--resume", str(only_run())]) == 0
    assert len(provider.posts) == asked


def test_a_trial_is_not_resumed_in_the_folder_of_a_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    assert run(["grader", "check", "doc", "--samples", "--resume", str(folder)]) == 2
    assert "is the folder of a run" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_a_trial_that_exceeds_its_budget_is_inconclusive_and_can_be_resumed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    limited = ["grader", "check", "doc", "--samples", "--max-requests", "4"]
    assert run(limited) == 4
    assert "max_requests 4 (--max-requests): 4 requests" in capsys.readouterr().err
    assert run(["grader", "check", "doc", "--samples", "--resume", str(only_run())]) == 0


def test_a_trial_of_some_rows_can_be_resumed_with_all_rows(provider: MockProvider) -> None:
    assert run(["grader", "check", "doc", "--samples", "--examples", "3"]) == 0
    first = len(provider.posts)
    assert run(["grader", "check", "doc", "--samples", "--resume", str(only_run())]) == 0
    # Each call sends one request to check that the grader answers.
    assert (first, len(provider.posts)) == (1 + 3, 1 + 3 + 1 + 5)


@pytest.mark.parametrize(
    ("flags", "groups"),
    [
        ((), {"Group 1": 2, "Group 2": 1, "Group 3": 1}),
        (("--references",), {"Group 2": 4, "Group 3": 4}),
    ],
)
def test_physicians_are_scored_by_group(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], groups: dict[str, int]
) -> None:
    assert run(["grader", "physicians", "doc", "--samples", "--json", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: one["tries"] for name, one in found["groups"].items()} == groups
    # Everything is met, the faults too: 10 + 4 + 3 - 8 of 17 points, and 10 + 4 - 7 of 14.
    if not flags:
        assert found["groups"]["Group 1"]["overall"]["mean"] == pytest.approx((9 / 17 + 0.5) / 2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["check", "dog", "--samples"], 2, "There is no provider 'dog'; did you mean 'doc'?"),
        (["check", "doc", "--samples", "--data-file", "x"], 2, "Give only one of --samples"),
        (["check", "doc", "--data-file", "x.jsonl"], 2, "There is no file x.jsonl"),
        (["check", "doc", "--samples", "--examples", "0"], 2, "for --examples. Must be >= 1"),
        (["check", "doc", "--samples", "--resume", "gone"], 2, "There is no folder gone"),
        (["check", "keyed", "--samples"], 2, "NO_SUCH_KEY_HERE is not set"),
        (["compare", "gone"], 2, "gone"),
    ],
)
def test_a_usage_error_is_one_sentence_and_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run(["grader", *arguments]) == code
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def graded_run(provider: MockProvider) -> Path:
    """The folder of a run on the samples, graded by two graders."""
    base = ["eval", "--base-url", provider.base_url, "--model", MODEL, "--api", "chat", "-k", "1"]
    assert run([*base, "--samples", "--eval", "healthbench", "--grader", "doc"]) == 0
    folder = only_run()
    write_graders(provider, "strict")
    assert run(["grade", str(folder), "--grader", "doc"]) == 0
    return folder


def test_two_graders_of_a_run_are_compared(
    capsys: pytest.CaptureFixture[str], provider: MockProvider
) -> None:
    folder = graded_run(provider)
    capsys.readouterr()
    labels = list(graders_of(folder))
    assert labels == [f"doc-{MODEL}", "doc-strict"]
    assert run(["grader", "compare", str(folder)]) == 0
    assert "| completeness" in capsys.readouterr().out
    found = compare_graders(folder, [f"doc-{MODEL}", "doc-strict"])
    table = found.report.overall
    assert (table.both_met, table.first_only, table.second_only, table.neither) == (12, 33, 0, 0)
    assert run(["grader", "compare", str(folder), "doc", "doc-strict"]) == 2
    assert "'doc' does not name exactly one grader" in capsys.readouterr().err
    assert run(["grader", "compare", str(folder), "doc-strict"]) == 2
    assert "name two graders" in " ".join(capsys.readouterr().err.split())
