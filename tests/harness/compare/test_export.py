"""`export`: the tables and rollouts of a run for other tools."""

import glob
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from compared_runs import QUESTIONS, SMALL, judged_run, never_in

import harness
from gpt_oss_verify.app import run
from harmony.extras import install_command
from harness.compare.dataframes import COLUMNS
from harness.compare.inspect_export import write_inspect_logs
from harness.records.runs import RunInfo

RUNS = Path(__file__).parents[2] / "characterization" / "runs"
HAS_INSPECT = importlib.util.find_spec("inspect_ai") is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return judged_run(
        tmp_path_factory.mktemp("runs") / "mixed",
        never_in("chat · streaming"),
        miscounted=True,
        tries=2,
        evals=lambda sample, _condition, _number: sample != "q3",
        rollouts=True,
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_are_written_one_file_each(form, folder, tmp_path, capsys):
    assert run(["export", str(folder), "--format", form, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.split()
    assert [line.rpartition("/")[2] for line in printed] == [f"{name}.{form}" for name in COLUMNS]
    expected = harness.load(folder)
    for table in COLUMNS:
        path = tmp_path / "out" / f"{table}.{form}"
        found = pd.read_csv(path) if form == "csv" else pd.read_parquet(path)
        assert list(found.columns) == list(COLUMNS[table])
        assert len(found) == len(getattr(expected, table))
    read = pd.read_csv if form == "csv" else pd.read_parquet
    attempts = read(tmp_path / "out" / f"attempts.{form}")
    assert attempts["value"].mean() == expected.attempts["value"].mean()


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb", "datasets"])
def test_other_readers_read_the_texts_of_all_runs(reader, folder, tmp_path, monkeypatch):
    """The first run has no answer; a reader that infers types makes one number of two texts."""
    module = pytest.importorskip(reader, reason=f"{reader} is not installed: polars, duckdb")
    monkeypatch.chdir(tmp_path)
    answers = [None, "070", "70"]
    for answer in answers:
        copy = tmp_path / "runs" / str(answer)
        shutil.copytree(folder, copy)
        lines = [json.loads(line) for line in (copy / "scores.jsonl").read_text().splitlines()]
        (copy / "scores.jsonl").write_text(
            "".join(f"{json.dumps(line | {'answer': answer})}\n" for line in lines)
        )
        assert run(["export", str(copy), "--format", "parquet", "--out", f"tables/{answer}"]) == 0
    page = (Path(__file__).parents[3] / "docs/comparing.md").read_text("utf-8")
    (code,) = re.findall(rf"^\| {reader} \| `(.*)` \|$", page, re.MULTILINE)
    table = eval(code, {reader: module, "glob": glob})
    read = table.fetchall() if reader == "duckdb" else table["answer"]
    if reader == "duckdb":
        read = [row[table.columns.index("answer")] for row in read]
    counts = Counter(answer if isinstance(answer, str) else None for answer in read)
    assert counts == dict.fromkeys(answers, len(harness.load(folder).scores))


def test_the_default_folder_is_named_after_the_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["export", str(folder), "--format", "csv"]) == 0
    assert (tmp_path / "mixed-csv" / "attempts.csv").exists()


def test_parquet_without_pyarrow_says_what_to_install(folder, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "gpt_oss_verify.export.find_spec", lambda name: None if name == "pyarrow" else found(name)
    )
    assert run(["export", str(folder), "--format", "parquet"]) == 2
    assert install_command("evals") in capsys.readouterr().err


def logs_of(folder, out, **options):
    out.mkdir()
    paths = write_inspect_logs(harness.load(folder), (), out, **options)
    return {path.name.partition("_")[2]: path for path in paths}


def test_each_inspect_log_has_one_task_and_condition(folder, tmp_path):
    logs = logs_of(folder, tmp_path / "logs")
    assert len(logs) == 5
    log = json.loads(logs["tool_calling-gpt-oss-mock-chat-streaming.json"].read_text())
    assert log["status"] == "success"
    assert len(log["samples"]) == 2 * len(SMALL.cases)
    (score,) = log["results"]["scores"]
    assert score["metrics"]["mean"]["value"] == 0
    assert {sample["epoch"] for sample in log["samples"]} == {1, 2}
    broken = json.loads(logs["tool_calling-gpt-oss-mock-chat-non-streaming.json"].read_text())
    assert broken["samples"][0]["metadata"]["findings"][0]["id"] == "usage.sum"


def test_an_unfinished_run_has_cancelled_logs(tmp_path):
    cut = judged_run(tmp_path / "cut", made=10, finished=False, rollouts=True)
    read = [json.loads(path.read_text()) for path in logs_of(cut, tmp_path / "logs").values()]
    assert {log["status"] for log in read} == {"cancelled"}
    assert sum(len(log["samples"]) for log in read) == 10


def test_texts_of_gated_data_are_left_out(folder, tmp_path):
    info = RunInfo.model_validate_json((folder / "run.json").read_bytes())
    gated = tmp_path / "gated"
    gated.mkdir()
    for path in folder.iterdir():
        (gated / path.name).write_bytes(path.read_bytes())
    tasks = tuple(
        task.model_copy(update={"dataset": task.dataset.model_copy(update={"gated": True})})
        if task.dataset
        else task
        for task in info.tasks
    )
    (gated / "run.json").write_text(info.model_copy(update={"tasks": tasks}).model_dump_json())
    name = "aime25-gpt-oss-mock-high-chat-non-streaming.json"
    hidden = logs_of(gated, tmp_path / "hidden")[name].read_text()
    shown = logs_of(gated, tmp_path / "shown", gated=True)[name].read_text()
    assert "What is the weather in Lisbon?" in shown
    assert "What is the weather in Lisbon?" not in hidden
    assert "It is 42." not in hidden
    assert "let me see" not in hidden


def exported(folder, out):
    """The logs that the command writes, by task and condition."""
    assert run(["export", str(folder), "--format", "inspect", "--out", str(out)]) == 0
    logs = {path.name.partition("_")[2]: json.loads(path.read_text()) for path in out.iterdir()}
    return {name.removesuffix(".json"): log for name, log in logs.items()}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Judged runs of tool calls, of AIME, and of HealthBench."""
    place = tmp_path_factory.mktemp("stored")
    names = ("smoke_pass", "evals", "healthbench")
    for name in names:
        with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
            archive.extractall(place, filter="data")
        run(["recheck", str(place / name)])
    return [place / name for name in names]


def test_every_sample_has_its_target(stored, tmp_path, capsys):
    logs = {}
    for folder in stored:
        logs |= exported(folder, tmp_path / folder.name)
    targets = {name: {s["target"] for s in log["samples"]} for name, log in logs.items()}
    calls = [found for name, found in targets.items() if name.startswith("tool_calling")]
    assert len(calls) == 4
    assert all(re.fullmatch(r"\w+\(\{.*\}\)", target) for found in calls for target in found)
    (aime,) = (found for name, found in targets.items() if name.startswith("aime25"))
    assert len(aime) > 1
    assert all(target.isdigit() for target in aime)
    (health,) = (found for name, found in targets.items() if name.startswith("healthbench"))
    assert all(re.match(r"[+-]\d+ \w", target) for target in health)


@pytest.mark.skipif(not HAS_INSPECT, reason="inspect_ai is not installed")
def test_inspect_lists_reads_and_dumps_the_logs(stored, tmp_path):
    from inspect_ai.log import list_eval_logs, read_eval_log

    for folder in stored:
        logs = exported(folder, tmp_path / folder.name)
        listed = list_eval_logs(str(tmp_path / folder.name))
        assert len(listed) == len(logs)
        for info in listed:
            log = read_eval_log(info)
            assert log.status == "success"
            assert log.results.total_samples == len(log.samples) > 0
            assert all(sample.target for sample in log.samples)
        command = [sys.executable, "-m", "inspect_ai", "log", "dump", info.name]
        dumped = subprocess.run(command, check=True, capture_output=True, text=True)
        assert json.loads(dumped.stdout)["eval"]["task"] == log.eval.task


@pytest.mark.skipif(not HAS_INSPECT, reason="inspect_ai is not installed")
def test_inspect_reads_the_logs(folder, tmp_path):
    from inspect_ai.log import list_eval_logs, read_eval_log

    logs = logs_of(folder, tmp_path / "logs")
    assert len(list_eval_logs(str(tmp_path / "logs"))) == len(logs)
    log = read_eval_log(str(logs["aime25-gpt-oss-mock-high-chat-non-streaming.json"]))
    assert (log.status, log.eval.task, log.eval.config.epochs) == ("success", "aime25", 2)
    assert len(log.samples) == 2 * QUESTIONS
    assert log.results.scores[0].metrics["mean"].value == 0.9
    calls = read_eval_log(str(logs["tool_calling-gpt-oss-mock-responses-streaming.json"]))
    sample = calls.samples[0]
    assert sample.scores["gpt-oss-verify"].value == 1
    assert [message.role for message in sample.messages] == ["user", "assistant"]
    assert sample.output.completion == "All done."
