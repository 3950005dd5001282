"""`gpt-oss-verify eval` from end to end, against a provider over a real socket."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import ModuleType, SimpleNamespace
from zlib import compress

import pytest
from background import in_background
from mock_provider import MockProvider, status
from quiz import MODEL, quiz

from evals.__main__ import translated
from evals.ray_cluster import SampledShard, sample_in_shards, sample_shard
from evals.registry import load_data
from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.transport.retry import RetryPolicy

SAMPLES = ("--samples", "--api", "chat", "--max-tokens", "500")


pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def mock():
    with in_background(MockProvider(always=quiz(0.8), models=[MODEL])) as running:
        yield running


def at(mock, *more):
    return ["eval", "--base-url", mock.base_url, "--model", MODEL, *SAMPLES, *more]


def runs(tmp_path, folder="runs"):
    return sorted((tmp_path / folder).iterdir(), key=lambda path: path.stat().st_mtime_ns)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def settings_and_task(folder):
    """The settings of a run, and its only task."""
    info = json.loads((folder / "run.json").read_text())
    (task,) = info["tasks"]
    return info["settings"], task


def result(capsys):
    return json.loads(capsys.readouterr().out)


def scores(folder):
    return {one["record"]: (one["outcome"], one["value"]) for one in lines(folder / "scores.jsonl")}


# --- A whole run


def test_a_run_prints_scores_and_leaves_a_complete_folder(mock, tmp_path, capsys):
    assert run(at(mock, "--eval", "aime25,gpqa,healthbench", "-k", "2")) == 0
    out, err = capsys.readouterr()
    assert "\nSCORED " in out
    assert "aime25 (samples)" in out
    assert "sampling 174 attempts" in err
    assert " rubric items" in err
    assert " not met\n" in err
    assert err.index("174/174") < err.index("grading with") < err.index("90/90")
    (folder,) = runs(tmp_path)
    assert folder.name.startswith("127.0.0.1-")
    assert {path.name for path in folder.iterdir()} == {
        "analysis.json",
        f"grades-{folder.name.rsplit('-', 2)[0]}-{MODEL}.jsonl",
        "junit.xml",
        "questions-aime25.jsonl",
        "questions-gpqa.jsonl",
        "questions-healthbench.jsonl",
        "report.html",
        "report.md",
        "rollouts.jsonl",
        "run.json",
        "scores.jsonl",
    }
    info = json.loads((folder / "run.json").read_text())
    assert [task["kind"] for task in info["tasks"]] == ["eval"] * 3
    assert (sum(task["planned"] for task in info["tasks"]), info["ended"]) == (174, "complete")
    assert len(scores(folder)) == 174


def test_the_score_is_the_providers_share_of_right_answers(mock, capsys):
    assert run(at(mock, "-k", "8", "--json")) == 0
    for cell in result(capsys)["results"]:
        low, high = (cell["score"]["estimate"][bound] for bound in ("low", "high"))
        assert low < 0.8 < high
        assert cell["score"]["estimate"]["value"] == pytest.approx(0.8, abs=0.06)
        assert cell["score"]["estimate"]["value"] == cell["openai_score"]
        assert cell["outcomes"]["correct"] + cell["outcomes"]["wrong"] == cell["planned"]


def test_each_model_and_effort_is_a_separate_condition(mock, capsys):
    mock.models = ["a/x", "b"]
    options = ["--eval", "basic", "--reasoning-effort", "low,high", *SAMPLES, "--json"]
    assert run(["eval", "--base-url", mock.base_url, "--model", "a/x,b", *options]) == 0
    conditions = [each["condition"] for each in result(capsys)["results"]]
    assert [(each["model"], each["effort"]) for each in conditions] == [
        ("a/x", "low"), ("a/x", "high"), ("b", "low"), ("b", "high"),
    ]  # fmt: skip
    asked = [post.body for post in mock.posts if "reasoning_effort" in post.body]
    assert {(body["model"], body["reasoning_effort"]) for body in asked} == {
        ("a/x", "low"), ("a/x", "high"), ("b", "low"), ("b", "high"),
    }  # fmt: skip


def test_requests_follow_openais_guide(mock):
    assert run(["eval", "--base-url", mock.base_url, "--model", MODEL, "--samples",
                "--eval", "basic", "--api", "responses"]) == 0  # fmt: skip
    body = mock.posts[-1].body
    assert (body["temperature"], body["top_p"], body["max_output_tokens"]) == (1.0, 1.0, 131_072)
    assert body["reasoning"]["effort"] == "medium"
    assert "tools" not in body


def test_python_m_evals_becomes_the_command(mock, tmp_path):
    place = ["--base-url", mock.base_url, "--model", MODEL]
    command = [sys.executable, "-m", "evals", *place, "--eval", "basic", "--samples"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = runs(tmp_path)
    typed = json.loads((folder / "run.json").read_text())["command"]
    assert typed[:4] == ["python", "-m", "gpt_oss_verify", "eval"]
    assert mock.posts[-1].path == "/v1/responses"


def test_the_flags_of_gpt_oss_evals_mean_the_same(mock, tmp_path):
    arguments = ["--base-url", mock.base_url, "--model", MODEL, "--eval", "basic", "--samples"]
    more = ["--sampler", "chat_completions", "--reasoning-effort", "high", "--n-threads", "3"]
    assert run(translated([*arguments, *more, "--temperature", "0.6"])) == 0
    (folder,) = runs(tmp_path)
    settings, task = settings_and_task(folder)
    (condition,) = task["conditions"]
    assert (condition["api"], condition["effort"]) == ("chat", "high")
    assert (settings["concurrency"], task["sampling"]["temperature"]) == (3, 0.6)


def test_defaults_of_gpt_oss_evals_do_not_override_an_entry_or_a_resumed_run(mock, tmp_path):
    entry = {"base_url": mock.base_url, "model": MODEL, "apis": ["chat"], "concurrency": 2}
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": {"mine": entry}}))
    plan = ["--eval", "basic", "--reasoning-effort", "low", "--samples"]
    more = ["-p", "mine", "--api", "chat", "--debug", "--examples", "1", "-k", "2"]
    assert run(translated([*plan, *more])) == 0
    (folder,) = runs(tmp_path)
    settings, task = settings_and_task(folder)
    assert [each["model"] for each in task["conditions"]] == [MODEL]
    assert (settings["concurrency"], task["tries"]) == (2, 2)
    assert run(translated(["--resume", str(folder)])) == 0


# --- Resuming and judging again


def test_an_interrupted_run_is_resumed_without_repeating_requests(mock, tmp_path, capsys):
    run(at(mock, "--eval", "aime25,healthbench", "-k", "1", "--seed", "4"))
    (folder,) = runs(tmp_path)
    before = scores(folder)
    capsys.readouterr()
    log = folder / "rollouts.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:20]))
    assert run(["recheck", str(folder), "--json"]) == 4
    assert result(capsys)["complete"] is False
    assert sum(outcome == "not_run" for outcome, _ in scores(folder).values()) == len(before) - 20
    mock.received.clear()
    assert run(["eval", "--resume", str(folder)]) == 0
    assert scores(folder) == before
    assert len([post for post in mock.posts if "seed" in post.body]) == len(before) - 20


def test_the_prompt_set_of_a_run_is_recorded_and_kept(mock, tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text('aime25: "<<question>>\\n\\nBox it."', encoding="utf-8")
    run(at(mock, "--eval", "aime25", "-k", "1", "--prompts", str(mine)))
    (folder,) = runs(tmp_path)
    settings, _ = settings_and_task(folder)
    assert settings["prompts"]["source"] == str(mine)
    assert settings["prompts"]["templates"]["aime25"].endswith("Box it.")
    assert len(settings["prompts"]["sha256"]) == 64
    mine.unlink()
    log = folder / "rollouts.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:20]))
    mock.received.clear()
    assert run(["eval", "--resume", str(folder)]) == 0
    asked = [post.body["messages"][-1]["content"] for post in mock.posts if "seed" not in post.body]
    assert sum(text.endswith("\n\nBox it.") for text in asked) >= 10
    assert run(["eval", "--resume", str(folder), "--prompts", "ours"]) == 2
    assert "leave out --prompts" in capsys.readouterr().err


def test_recheck_needs_no_network(mock, tmp_path, capsys):
    run(at(mock, "--eval", "aime25,gpqa", "-k", "2", "--json"))
    first = result(capsys)
    (folder,) = runs(tmp_path)
    shutil.move(folder, tmp_path / "elsewhere")
    mock.received.clear()
    assert run(["recheck", "elsewhere", "--json"]) == 0
    assert result(capsys) | {"run": ""} == first | {"run": ""}
    assert (tmp_path / "elsewhere" / "report.md").read_text().startswith("# SCORED")
    assert mock.received == []


def test_gated_questions_are_in_the_report_only_on_request(mock, tmp_path):
    run(at(mock, "--eval", "gpqa", "-k", "1"))
    (folder,) = runs(tmp_path)
    texts = [row["Question"] for row in lines(folder / "questions-gpqa.jsonl")]
    assert any(text in (folder / "report.md").read_text() for text in texts)
    info = json.loads((folder / "run.json").read_text())
    info["tasks"][0]["dataset"]["gated"] = True
    (folder / "run.json").write_text(json.dumps(info))
    assert run(["recheck", str(folder)]) == 0
    files = ["report.html", "report.md", "junit.xml", "analysis.json"]
    written = "".join((folder / name).read_text() for name in files)
    assert not any(text in written for text in texts)
    assert run(["recheck", str(folder), "--show-questions"]) == 0
    assert any(text in (folder / "report.md").read_text() for text in texts)


def test_another_grader_grades_without_sampling(mock, tmp_path, capsys):
    run(at(mock, "--eval", "healthbench", "-k", "1"))
    (folder,) = runs(tmp_path)
    entry = {"base_url": mock.base_url, "model": "other", "apis": ["chat"]}
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": {"second": entry}}))
    mock.models = ["other"]
    capsys.readouterr()
    log = (folder / "rollouts.jsonl").read_text()
    assert run(["grade", str(folder), "--grader", "second", "--json"]) == 0
    assert result(capsys)["results"][0]["grader"] == "other"
    assert (folder / "grades-second-other.jsonl").exists()
    assert (folder / "rollouts.jsonl").read_text() == log


# --- Baselines and verdicts


def measured(mock, chance, tmp_path, *more):
    mock.always = quiz(chance)
    run(at(mock, *more))
    folder = runs(tmp_path)[-1]
    assert run(["export", str(folder), "--format", "baseline", "--out", "baseline.json"]) == 0
    return ("--baseline", "baseline.json")


@pytest.mark.slow
def test_an_equal_provider_passes_and_a_worse_one_fails(mock, tmp_path, capsys):
    """41 questions, 5 tries: two equal scores near 90% differ by 3 points (one standard error)."""
    size = ("--eval", "gpqa", "-k", "5")
    baseline = measured(mock, 0.9, tmp_path, *size, "--seed", "0")
    assert run(at(mock, *size, *baseline, "--margin", "10", "--seed", "1")) == 0
    assert "\nPASS " in capsys.readouterr().out
    mock.always = quiz(0.6)
    assert run(at(mock, *size, *baseline, "--margin", "10", "--seed", "2")) == 1
    assert "\nFAIL " in capsys.readouterr().out


def test_a_run_stops_as_soon_as_it_is_decided(mock, tmp_path, capsys):
    baseline = measured(mock, 0.9, tmp_path, "--eval", "aime25", "-k", "4")
    mock.always = quiz(0.2)
    assert run(at(mock, *("--eval", "aime25", "-k", "16", "--until-decided", *baseline))) == 1
    folder = runs(tmp_path)[-1]
    assert json.loads((folder / "run.json").read_text())["ended"] == "decided"
    assert {one["attempt"] for one in lines(folder / "scores.jsonl")} == {1, 2}
    assert "round 2: 1" in capsys.readouterr().err


def test_a_budget_ends_an_undecided_run(mock, tmp_path):
    baseline = measured(mock, 0.8, tmp_path, "--eval", "aime25", "-k", "4")
    mock.always = quiz(0.75)
    options = ("--eval", "aime25", "-k", "16", "--until-decided", *baseline)
    assert run(at(mock, *options, "--budget-samples", "100")) == 4
    folder = runs(tmp_path)[-1]
    assert json.loads((folder / "run.json").read_text())["ended"] == "budget"
    assert len(lines(folder / "rollouts.jsonl")) <= 100


# --- Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eval", "mmlu"], "or hf:NAME, not 'mmlu'; other evals run in inspect_ai or lm_eval"),
        (["--reasoning-effort", "extreme"], "--reasoning-effort takes low, medium, high"),
        (["--api", "chat,responses"], "Evals use one API"),
        (["--margin", "0"], "for --margin. Must be greater than 0"),
        (["--budget-samples", "9"], "need --until-decided; add it"),
        (["--examples", "500"], "--examples must be between 1 and"),
        (["-k", "0"], "Must be greater than or equal to 1"),
        (["--data", "x.csv"], "Give only one of --samples and --data"),
        (["--grader", "nobody", "--eval", "healthbench"], "There is no provider 'nobody'"),
        (["--baseline", "nobody"], "There is no baseline 'nobody'"),
        (["--baseline", "none.json"], "There is no file"),
        (["--seed", f"{10**25}"], "for --seed. Must be less than or equal to "),
        (["--top-p", "nan"], "for --top-p. Must be"),
        (["--resume", "none"], "leave out"),
    ],
)
def test_a_usage_error_is_one_sentence(arguments, message, capsys):
    base = ["eval", "--base-url", "http://127.0.0.1:1/v1", "--model", MODEL]
    assert run([*base, "--samples", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert not os.path.exists("runs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval"], "Select a provider with --provider"),
        (["eval", "--resume", "none"], "There is no folder none."),
        (["eval", "--resume", "none", "--dry-run"], "There is no folder none."),
        (["grade", "none"], "There is no folder none."),
        (["export", "none", "--format", "baseline"], "There is no folder none."),
    ],
)
def test_commands_without_a_run_or_provider_name_what_is_missing(arguments, message, capsys):
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_healthbench_is_not_sampled_without_a_grader(mock, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_GRADER_API_KEY", raising=False)
    base = ["eval", "--base-url", mock.base_url, "--model", MODEL]
    assert run([*base, "--eval", "healthbench", "--samples", "--grader", "openai-grader"]) == 2
    assert "OPENAI_GRADER_API_KEY" in capsys.readouterr().err
    assert mock.received == []


def test_resuming_with_more_tries_adds_them_and_keeps_the_others(mock, tmp_path, capsys):
    assert run(at(mock, "--eval", "gpqa", "-k", "2")) == 0
    (folder,) = runs(tmp_path)
    before = lines(folder / "rollouts.jsonl")
    assert run(["eval", "--resume", str(folder), "-k", "1"]) == 2
    assert "--tries" in capsys.readouterr().err
    assert run(["eval", "--resume", str(folder), "-k", "4", "--json"]) == 0
    (cell,) = result(capsys)["results"]
    assert (cell["tries"], cell["finished"]) == (4, 2 * len(before))
    assert lines(folder / "rollouts.jsonl")[: len(before)] == before


def test_either_command_finishes_an_eval_run(mock, tmp_path):
    assert run(at(mock, "--eval", "basic", "-k", "2")) == 0
    (folder,) = runs(tmp_path)
    log = folder / "rollouts.jsonl"
    first = log.read_text().splitlines(keepends=True)[0]
    for command in (["--resume"], ["eval", "--resume"]):
        log.write_text(first)
        assert run([*command, str(folder)]) == 0
        assert len(lines(log)) == 2


def test_the_timeout_option_applies_to_evals(mock, capsys, monkeypatch):
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)
    inner = quiz(0.8)

    async def slow(request, writer):
        if (request.body or {}).get("max_tokens") == 16:
            await inner(request, writer)
        else:
            await asyncio.sleep(30)

    mock.always = slow
    assert run(at(mock, "--eval", "basic", "--reply-timeout", "1", "--json")) == 0
    assert result(capsys)["results"][0]["outcomes"] == {"provider_error": 1}


def test_a_dry_run_sends_no_requests(mock, tmp_path, capsys):
    assert run(at(mock, "--eval", "aime25,healthbench", "-k", "3", "--dry-run")) == 0
    out = capsys.readouterr().out
    assert "sampling from 127.0.0.1-" in out
    assert ": 138 requests" in out
    assert "grading from 127.0.0.1" in out
    assert run(at(mock, "--eval", "aime25", "-k", "3", "--dry-run", "--json")) == 0
    assert result(capsys)["sampling"]["requests"] == 102
    assert mock.received == []
    assert not (tmp_path / "runs").exists()


# --- Shards on other machines


def in_processes(plan, folder, observer, judge):
    class Processes:
        workers = 2

        def execute(self, parts):
            entries = [json.loads(part.provider) for part in parts]
            assert not any("timeout" in entry for entry in entries)  # so that evals wait longer
            with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
                yield from pool.map(sample_shard, parts)

    sample_in_shards(plan, folder, Processes(), observer)


def test_shards_sampled_by_other_processes_equal_the_whole_run(mock, tmp_path, monkeypatch):
    size = ("--eval", "gpqa,healthbench", "-k", "2", "--seed", "9")
    run(at(mock, *size))
    whole = runs(tmp_path)[-1]
    monkeypatch.setattr("gpt_oss_verify.carry_out.on_ray", lambda: in_processes)
    assert run(at(mock, *size, "--executor", "ray", "--out", "parts")) == 0
    (parts,) = runs(tmp_path, "parts")
    assert scores(parts) == scores(whole)


@pytest.mark.parametrize(
    "other", [("--until-decided",), ("--max-requests", "9")], ids=lambda o: o[0]
)
def test_options_an_executor_does_not_support_are_rejected_before_loading_questions(
    mock, monkeypatch, capsys, other
):
    monkeypatch.setattr("gpt_oss_verify.resolve.load_data", lambda *_: pytest.fail("loaded"))
    assert run(at(mock, "--eval", "gpqa", "--executor", "ray", *other)) == 2
    assert "--executor" in capsys.readouterr().err


class Broken:
    workers = 2

    def execute(self, parts):
        yield sample_shard(parts[0])
        yield SampledShard(compress(b""), "it is gone")


class Stopped(Broken):
    def execute(self, parts):
        yield sample_shard(parts[0])
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("executor", "code", "said"),
    [(Broken, 3, "1 of 2 shards failed: it is gone"), (Stopped, 130, "stopped before the end")],
)
def test_the_parts_that_are_finished_are_kept(
    executor, code, said, mock, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        "gpt_oss_verify.carry_out.on_ray",
        lambda: lambda plan, folder, screen, _: sample_in_shards(plan, folder, executor(), screen),
    )
    assert run(at(mock, "--eval", "gpqa", "-k", "1", "--executor", "ray")) == code
    (folder,) = runs(tmp_path)
    assert said in capsys.readouterr().err
    assert len(lines(folder / "rollouts.jsonl")) == 21
    assert run(["eval", "--resume", str(folder)]) == 0


class Here(Broken):
    def execute(self, parts):
        yield from map(sample_shard, parts)


def test_shards_that_the_provider_does_not_answer_leave_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gpt_oss_verify.carry_out.on_ray",
        lambda: lambda plan, folder, screen, _: sample_in_shards(plan, folder, Here(), screen),
    )
    base = ["eval", "--base-url", "http://127.0.0.1:1/v1", "--model", MODEL]
    assert run([*base, "--samples", "--eval", "gpqa", "-k", "1", "--executor", "ray"]) == 3
    assert [path.name for path in runs(tmp_path)] == ["unanswered.jsonl"]


class FakeRay(ModuleType):
    """Ray on one CPU, whose calls fail as the subclasses say."""

    class exceptions:  # noqa: N801 (a module of Ray)
        class RayError(Exception):
            pass

    def __init__(self):
        super().__init__("ray")

    def init(self, **_):
        pass

    def shutdown(self):
        pass

    def cluster_resources(self):
        return {"CPU": 1.0}

    def remote(self, task):
        return SimpleNamespace(remote=lambda shard: shard)

    def wait(self, waiting):
        return waiting[:1], waiting[1:]

    def get(self, shard):
        raise self.exceptions.RayError("Traceback:\n  File\nModuleNotFoundError: no evals\n")


def test_a_node_without_the_tool_is_said(mock, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    assert run(at(mock, "--eval", "gpqa", "-k", "1", "--executor", "ray")) == 3
    assert "ModuleNotFoundError: no evals" in capsys.readouterr().err
    assert runs(tmp_path) == []


@pytest.mark.parametrize("address", ["", "auto", "127.0.0.1:9", "ray://127.0.0.1:9"])
def test_a_cluster_that_cannot_be_used_is_one_sentence(mock, monkeypatch, capsys, address):
    class Unusable(FakeRay):
        def init(self, **_):
            assert ":" not in address  # Ray would try for minutes.
            raise ConnectionError("no Ray here.")

    monkeypatch.setitem(sys.modules, "ray", Unusable())
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert run(at(mock, "--eval", "gpqa", "-k", "1", "--executor", "ray")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    if ":" in address:
        assert f"The Ray cluster at {address}, which RAY_ADDRESS names, cannot be reached" in said
    else:
        assert "Ray cannot be used: no Ray here; RAY_ADDRESS names the cluster" in said


@pytest.mark.slow
def test_an_eval_runs_on_ray(mock, tmp_path):
    ray = pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False)
        assert run(at(mock, "--eval", "gpqa", "-k", "2", "--executor", "ray")) == 0
    (folder,) = runs(tmp_path)
    assert len(scores(folder)) == 82


# --- With tool calling


def test_quick_evals_and_tool_calling_share_one_run_and_verdict(mock, monkeypatch, capsys):
    def offline(name, place="hub"):
        if place != "samples":
            raise ConfigurationError("no hub here")
        return load_data(name, place)

    monkeypatch.setattr("gpt_oss_verify.resolve.load_data", offline)
    monkeypatch.setattr("harness.transport.retry.RetryPolicy.wait", lambda *_: 0.01)
    options = ["--apis", "chat", "--no-streaming", "-n", "1", "-k", "1", "--evals", "quick"]
    options += ["--rule", "guide"]
    assert run(["--base-url", mock.base_url, "--model", MODEL, *options, "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["verdict"]["decision"] == "fail"
    planned = [(each["task"], each["planned"]) for each in found["results"]]
    assert planned == [("tool_calling", 1), ("aime25", 136), ("gpqa", 41)]
    assert [each["baseline"]["decision"] for each in found["results"][1:]] == [None, None]
    assert "aime25: no hub" in err


def test_a_slow_hub_is_named_and_sample_questions_are_offered(mock, monkeypatch, capsys):
    def slow(name, place="hub"):
        time.sleep(0.3)
        raise ConfigurationError("no hub here.")

    monkeypatch.setattr("gpt_oss_verify.resolve.load_data", slow)
    monkeypatch.setattr("gpt_oss_verify.resolve._SLOW", 0.01)
    base = ["--base-url", mock.base_url, "--model", MODEL, "--api", "chat", "--dry-run"]
    assert run(["eval", *base, "--eval", "aime25"]) == 2
    err = capsys.readouterr().err
    assert "loading aime25 from huggingface.co …" in err
    assert "no hub here. The sample questions, with --samples, need no internet." in err
    assert not mock.received


def entries(tmp_path, **places):
    """A providers file with graders at these places."""
    graders = {
        name: {"base_url": url, "model": MODEL, "apis": ["chat"]} for name, url in places.items()
    }
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": graders}))


def test_a_grader_must_answer_before_anything_is_sampled(mock, tmp_path, capsys):
    entries(tmp_path, gone="http://127.0.0.1:1/v1")
    assert run(at(mock, "--eval", "healthbench", "--grader", "gone")) == 3
    assert "provider gone" in capsys.readouterr().err
    assert len(mock.posts) == 1  # the preflight of the provider
    assert not runs(tmp_path)


def test_a_run_is_unfinished_until_it_is_graded(mock, tmp_path, capsys):
    with in_background(MockProvider([quiz(0.8)], always=status(401))) as locked:
        entries(tmp_path, locked=locked.base_url, there=mock.base_url)
        assert run(at(mock, "--eval", "healthbench", "--grader", "locked")) == 3
    (folder,) = runs(tmp_path)
    assert run(["recheck", str(folder)]) == 4
    assert "The run is not finished" in capsys.readouterr().out
    assert run(["grade", str(folder), "--grader", "there"]) == 0
