"""Runs as DataFrames."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import reporting
from background import in_background
from compared_runs import QUESTIONS, SMALL, TINY, always, judged_run, never_in
from healthy import SUITE, correct, provider_of
from mock_provider import MockProvider
from recorded_runs import problem_rollouts, write_finished_run
from replies import MODEL

import harness
from gpt_oss_verify.app import run as main
from harness.compare.dataframes import COLUMNS, Frames
from harness.compare.inspect_export import write_inspect_logs
from harness.errors import RunLogError
from harness.run.run_folder import write_analysis

ATTEMPTS = 4 * 4 * 5
KEYS = ["record", "task", "kind", "sample", "model", "effort", "api", "mode", "attempt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return judged_run(
        tmp_path_factory.mktemp("runs") / "mixed",
        never_in("chat · streaming"),
        miscounted=True,
        evals=lambda sample, _condition, _number: sample != "q3",
        rollouts=True,
    )


def test_attempts_have_one_row_per_planned_attempt(folder):
    attempts = harness.load(folder).attempts
    assert len(attempts) == ATTEMPTS + 5 * QUESTIONS
    assert not attempts.duplicated([*KEYS[1:]]).any()
    by_task = attempts.groupby(["task", "api", "mode"])["value"].mean()
    assert by_task["tool_calling", "chat", "streaming"] == 0
    assert by_task["tool_calling", "responses", "streaming"] == 1
    assert by_task["aime25", "chat", "non-streaming"] == 0.9
    assert set(attempts.loc[attempts["invalid"], "mode"]) == {"non-streaming"}


def test_tables_have_the_documented_columns(folder):
    run = harness.load(folder)
    for table, columns in COLUMNS.items():
        assert list(getattr(run, table).columns) == list(columns)
        assert list(columns)[: len(KEYS)] == KEYS


def test_tables_have_findings_scores_usage_and_timing(folder):
    run = harness.load(folder)
    finding = run.findings.iloc[0]
    assert (finding["rule"], finding["path"], finding["got"]) == (
        "usage.sum",
        "$.usage.total_tokens",
        "1",
    )
    assert len(run.findings) == run.attempts["errors"].sum() == 20
    assert set(run.scores.loc[run.scores["task"] == "aime25", "answer"]) == {"41", "42"}
    assert run.usage["output"].sum() == 20 * len(run.usage)
    assert run.timing["first_token"].notna().sum() == 2 * 4 * 5


def test_planned_attempts_that_were_not_made_have_no_value(tmp_path):
    run = harness.load(judged_run(tmp_path / "cut", made=30, finished=False))
    assert run.attempts["finished"].sum() == len(run.usage) == len(run.scores) == 30
    assert run.attempts.loc[~run.attempts["finished"], "value"].isna().all()


def test_a_run_without_findings_has_an_empty_table(tmp_path):
    run = harness.load(judged_run(tmp_path / "good", suite=TINY, tries=1))
    assert run.findings.empty
    assert list(run.findings.columns) == list(COLUMNS["findings"])


def test_a_failed_probe_has_a_row_for_each_example(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    run = harness.load(copy)
    before, analysis = len(run.findings), run.analysis
    record = run.attempts["record"].iloc[0]
    failed = reporting.failed_rule("tools.loop", "failed", reporting.finding(record, "tools.loop"))
    probe = failed.model_copy(update={"check": failed.check.model_copy(update={"kind": "probe"})})
    write_analysis(copy, analysis.model_copy(update={"checks": (*analysis.checks, probe)}))
    run = harness.load(copy)
    (row,) = run.findings.query("rule == 'tools.loop'").to_dict("records")
    assert (row["record"], row["severity"], row["got"]) == (record, "error", "1")
    assert len(run.findings) == before + 1 == run.attempts["errors"].sum()


def test_info_and_analysis_are_the_records(folder):
    run = harness.load(folder)
    assert (run.info.provider.name, run.analysis.run_id) == ("mock", "mixed")


def test_a_transcript_is_a_conversation(folder):
    run = harness.load(folder)
    passed = run.attempts.query("outcome == 'success'").iloc[0]
    transcript = run.transcript(passed["record"])
    assert [message["role"] for message in transcript.messages] == ["user", "assistant"]
    assert transcript.rollout.sample == passed["sample"]
    assert "(chain of thought)" in str(transcript)
    with pytest.raises(KeyError, match="no record"):
        run.transcript("nowhere")


def test_several_runs_have_a_column_that_names_them(folder, tmp_path):
    runs = harness.load_many([folder, judged_run(tmp_path / "other", always, suite=SMALL, tries=1)])
    assert list(runs.attempts.columns) == ["run", *COLUMNS["attempts"]]
    assert runs.attempts["run"].value_counts().to_dict() == {
        "mixed": ATTEMPTS + 5 * QUESTIONS,
        "other": 16,
    }
    assert set(harness.load_many({"a": folder, "b": folder}).findings["run"]) == {"a", "b"}
    with pytest.raises(ValueError, match="same folder name"):
        harness.load_many([folder, folder])


def test_a_folder_that_is_not_a_run_is_rejected(tmp_path):
    with pytest.raises(RunLogError, match="not a run folder"):
        harness.load(tmp_path)


def test_a_run_that_was_never_judged_is_judged_in_memory(tmp_path):
    folder = tmp_path / "run"
    write_finished_run(folder, problem_rollouts(tries=1), tries=1)
    here = harness.load(folder)
    assert len(here.attempts) == 4 * len(SUITE.cases)
    assert not (folder / "analysis.json").exists()
    assert main(["recheck", str(folder)]) == 4
    assert harness.load(folder).attempts.equals(here.attempts)
    assert harness.load(folder).analysis.verdict == here.analysis.verdict


def test_a_run_of_evals_that_was_never_judged_is_rejected(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "analysis.json").unlink()
    with pytest.raises(RunLogError, match="not judged; judge it with: gpt-oss-verify recheck"):
        harness.load(copy)


def test_scores_that_do_not_fit_the_analysis_are_rejected(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "scores.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(RunLogError, match="judge the run again with: gpt-oss-verify recheck"):
        _ = harness.load(copy).attempts


def test_importing_harness_does_not_import_pandas():
    code = "import harness, sys; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = harness.nothing


def documented(docstring):
    return dict(re.findall(r"^ *- `(\w+)`: (.+)$", docstring, re.MULTILINE))


def test_an_editor_shows_the_columns_and_the_page_has_the_same():
    keys = documented(Frames.__doc__)
    page = (Path(__file__).parents[3] / "docs" / "comparing.md").read_text()
    for table, columns in COLUMNS.items():
        own = documented(getattr(Frames, table).__doc__)
        assert list(keys | own) == list(columns)
        for name, meaning in (keys | own).items():
            assert f"| `{name}` | {meaning} |" in page


def test_conversations_have_calls_and_results_over_both_apis(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with in_background(MockProvider(always=provider_of(correct), models=[MODEL])) as mock:
        few = ["--suite", "tools", "-n", "1", "-k", "1", "--rule", "guide"]
        assert main(["--base-url", mock.base_url, "--model", MODEL, *few]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    run = harness.load(folder)
    assert set(run.attempts["api"]) == {"responses", "chat"}
    assert len(run.timing) == 2 * len(run.attempts)
    for record in run.attempts["record"]:
        messages = run.transcript(record).messages
        called = [message for message in messages if message.get("tool_calls")]
        assert messages[0]["role"] == "user"
        assert [message["role"] for message in messages][-2:] == ["tool", "assistant"]
        assert called[0]["tool_calls"][0]["function"]["name"] == "query_table"
        assert messages[-1]["content"] == "All done."
    (tmp_path / "logs").mkdir()
    for path in write_inspect_logs(run, (), tmp_path / "logs"):
        (sample,) = json.loads(path.read_text())["samples"]
        roles = [message["role"] for message in sample["messages"]]
        assert roles == ["user", "assistant", "tool", "assistant"]
        assert sample["messages"][1]["tool_calls"][0]["arguments"]["limit"] == 3
        assert sample["messages"][1]["tool_calls"][0]["id"] == sample["messages"][2]["tool_call_id"]
