"""The command line from end to end, against a provider over a real socket."""

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from analyses import PROVIDER, planned
from background import in_background
from healthy import SUITE, correct, provider_of, without_call
from mock_provider import MockProvider, status, text
from replies import MODEL, Reply

from gpt_oss_verify import app as app_module
from gpt_oss_verify.app import run
from gpt_oss_verify.options import Options, ProviderOptions
from gpt_oss_verify.planning import typed_command
from gpt_oss_verify.resolve import ModelMissingError, resolve
from harmony.extras import install_command
from harness.errors import EXIT_BROKEN_PIPE, EXIT_DISK_FULL, ConfigurationError
from harness.run.run_log import RunLog
from harness.tasks import plan as plan_module
from harness.transport.retry import RetryPolicy
from harness.verdict.judge import Judge

KEY = "sk-very-secret"
QUICK = ("--suite", "tools", "-n", "2", "-k", "4", "--rule", "guide")


pytestmark = pytest.mark.usefixtures("empty_folder")


def at(mock, *more):
    return ["--base-url", mock.base_url, "--model", MODEL, *QUICK, *more]


def only_run(tmp_path):
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    return folder


@pytest.fixture
def folder(mock, tmp_path):
    """The folder of a complete run."""
    run(at(mock))
    return only_run(tmp_path)


def rollouts(folder):
    return (folder / "rollouts.jsonl").read_text().splitlines(keepends=True)


def keep_first(folder, count):
    """Keep only the first `count` rollouts, as if the run had been interrupted."""
    (folder / "rollouts.jsonl").write_text("".join(rollouts(folder)[:count]))


# --- Exit codes


def test_a_good_provider_passes(mock, tmp_path, capsys):
    assert run(at(mock)) == 0
    out, err = capsys.readouterr()
    assert "\nPASS " in out
    assert "sampling 16 attempts" in err
    assert "\x1b" not in out + err
    folder = only_run(tmp_path)
    assert f"runs/{folder.name}/report.html" in out
    assert {path.name for path in folder.iterdir()} == {
        "analysis.json",
        "cases.jsonl",
        "junit.xml",
        "report.html",
        "report.md",
        "rollouts.jsonl",
        "run.json",
        "scores.jsonl",
        "tools.json",
    }
    assert len(rollouts(folder)) == 16
    assert json.loads((folder / "run.json").read_text())["finished_at"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_has_its_own_exit_code_and_loses_no_attempt(
    number, mock, tmp_path, capsys, monkeypatch
):
    append, room = RunLog.append, [6]

    def until_full(self, rollout):
        room[0] -= 1
        if room[0] < 0:
            monkeypatch.setattr(os, "write", full)
        append(self, rollout)

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(RunLog, "append", until_full)
    assert run(at(mock)) == EXIT_DISK_FULL
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{os.strerror(number)}; the 6 finished attempts are kept" in last
    folder = only_run(tmp_path)
    kept = rollouts(folder)
    assert len(kept) == 6
    assert run(["--resume", str(folder)]) == 0
    every = rollouts(folder)
    assert every[:6] == kept
    assert len({json.loads(line)["id"] for line in every}) == len(every) == 16


def test_until_fail_ends_only_with_the_first_failure_and_is_not_resumed(mock, tmp_path, capsys):
    mock.always = text('{"choices": "none"}')
    where = ("--base-url", mock.base_url, "--model", MODEL, "--suite", "tools", "--until-fail")
    few = ("--apis", "chat", "--no-streaming", "-k", "3", "--concurrency", "4")
    assert run([*where, *few]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "16 invalid of 16 attempts (108 planned)" in out
    assert "The run ended as soon as it had failed (--until-fail)." in out
    assert "--resume" not in out
    assert "pass@1 %" not in out
    folder = only_run(tmp_path)
    shutil.copytree(folder, tmp_path / "again")
    assert run(["compare", str(folder), "again", "--json"]) == 0
    mock.received.clear()
    assert run(["--resume", str(folder)]) == 1
    assert (mock.received, len(rollouts(folder))) == ([], 16)
    mock.always = provider_of()
    assert run([*where, "-n", "10", "-k", "2", "--rule", "guide", "--out", "whole"]) == 0
    assert len(rollouts(next(Path("whole").iterdir()))) == 40


def test_one_early_look_tells_the_first_finding_while_nothing_is_in_flight(
    mock, monkeypatch, capsys
):
    looks, first_error = [], Judge.first_error

    def look(judge, info):
        before = len(mock.received)
        time.sleep(0.05)  # The server notices the end of an answer after its client.
        looks.append((mock.in_flight + len(mock.received) - before, before))
        return first_error(judge, info)

    monkeypatch.setattr(Judge, "first_error", look)
    monkeypatch.setattr("harness.session.EARLY_LOOK", 8)
    mock.always = text('{"choices": "none"}')
    where = ("--base-url", mock.base_url, "--model", MODEL, "--apis", "chat", "--no-streaming")
    assert run([*where, "--suite", "tools", "-k", "1", "--max-turns", "1"]) == 1
    ((in_flight, received),) = looks
    assert in_flight == 0
    assert 8 <= received < len(mock.received)
    out, err = capsys.readouterr()
    assert err.count("first finding: reply.unreadable: ") == 1
    assert "reply.unreadable" in out


def test_thresholds_change_the_verdict(mock):
    mock.always = provider_of(without_call)
    assert run(at(mock, "--min-pass-at-k", "-0", "--min-pass-hat-k", "0", "--json")) == 1
    mock.always = provider_of(
        lambda case: correct(case) if case.id == "markdown-list" else without_call(case)
    )
    assert run(at(mock, "--min-pass-at-k", "0.4", "--min-pass-hat-k", "0.4")) == 0


def test_strict_requires_the_expected_arguments(mock):
    other = {
        "markdown_to_html": '{"markdown": "x"}',
        "query_table": '{"table": "x", "columns": ["y"]}',
    }
    mock.always = provider_of(
        lambda case: [Reply(call=(case.tool_name, other[case.tool_name])), Reply("Done.")]
    )
    assert run(at(mock)) == 0
    assert run(at(mock, "--strict")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Select a provider with --provider"),
        (["--fly"], "--fly"),
        (["fly"], "'fly' is not a command"),
        (["http://x:1/v1"], "gpt-oss-verify --base-url http://x:1/v1 --model NAME"),
        (["localhost:8000"], "gpt-oss-verify --base-url http://localhost:8000 --model NAME"),
        (["verify"], "gpt-oss-verify --provider NAME"),
        (["verfy"], "gpt-oss-verify --provider NAME"),
        (["compar"], "Did you mean compare?"),
        (["--url", "http://x:1/v1"], "Use --base-url URL."),
        (["-p", "nobody"], "There is no provider 'nobody'"),
        (
            ["-p", "reference", "-n", "0"],
            "Invalid value '0' for -n. Must be greater than or equal to 1.",
        ),
        (["-p", "reference", "-k", "many"], "many"),
        (["-p", "reference", "--apis", "chat,smoke"], "--apis takes responses, chat, harmony"),
        (["-p", "reference", "--min-pass-at-k", "90"], "Must be less than or equal to 1"),
        (["-p", "reference", "--max-invalid", "-1"], "Must be greater than or equal to 0"),
        (["-p", "reference", "-c", "none.jsonl"], "There is no file none.jsonl"),
        (["-p", "reference", "--tools", "none.json"], "There is no file none.json"),
        (["-p", "reference", "--timeout", "0"], "timeout"),
        (["-p", "reference", "--api-key-env", "sk-123"], "never a key"),
        (
            ["-p", "reference", "--seed", f"{10**25}"],
            "Must be less than or equal to 9223372036854775807",
        ),
        (["-p", "reference", "--max-tokens", f"{10**25}"], "Must be less than or equal to "),
        (["-p", "reference", "--tries", "10001"], "Must be less than or equal to 10000"),
        (["-p", "reference", "--lower-rate", "1e-320"], "Must be greater than or equal to 0.001"),
        (["-p", "reference", "--temperature", "nan"], "Invalid value 'nan' for --temperature"),
        (["-p", "reference", "--deadline", "9" * 400], "--deadline"),
        (["-p", "reference", "--reference", "x" * 300], "cannot be read: File name too long."),
        (["-p", "reference", "--reasoning-effort", "\udcff"], "--reasoning-effort takes a name"),
        (["--resume", "none"], "none"),
        (["recheck", "none"], "There is no folder none."),
        (["recheck"], "RUN is missing. See gpt-oss-verify recheck --help."),
        (["export", "none", "--format"], "--format needs a value."),
        (["recheck", "none", "none"], "'none' is an unexpected argument."),
    ],
)
def test_a_usage_error_is_one_sentence_and_exit_code_2(arguments, message, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gpt-oss-verify: ")
    assert err.count("\n") == 1
    assert message in err
    assert not os.path.exists("runs")


def test_without_a_model_the_models_of_the_address_are_named(mock, capsys):
    with pytest.raises(ModelMissingError, match="Give --model"):
        resolve(Options(ProviderOptions(base_url=mock.base_url)))
    assert mock.received == []
    assert run(["--base-url", mock.base_url]) == 2
    assert f"Give --model; {mock.base_url} serves {MODEL}." in capsys.readouterr().err
    assert run(["--base-url", "http://127.0.0.1:1/v1"]) == 3
    err = capsys.readouterr().err
    assert "http://127.0.0.1:1/v1/models" in err
    assert err.count("\n") == 1
    assert not os.path.exists("runs")


def test_an_unreachable_provider_is_reported_immediately_and_leaves_one_line(capsys, tmp_path):
    assert run(["--base-url", "http://127.0.0.1:1/v1", "--model", "m"]) == 3
    assert "does not answer" in capsys.readouterr().err
    (noted,) = (tmp_path / "runs").iterdir()
    (line,) = noted.read_text().splitlines()
    assert noted.name == "unanswered.jsonl"
    assert json.loads(line)["provider"] == "127.0.0.1-1"
    assert "does not answer" in json.loads(line)["why"]
    assert run(["--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--json"]) == 3
    printed = json.loads(capsys.readouterr().out)
    assert (printed["exit_code"], "does not answer" in printed["error"]) == (3, True)


def test_folders_with_the_names_of_packages_do_not_matter(tmp_path):
    for name in ("harness", "evals", "reports", "harmony"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('the wrong {name}')")
    command = [sys.executable, "-m", "gpt_oss_verify", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, version("gpt-oss-verify")), done.stderr


def test_a_wrong_key_and_a_wrong_model_are_reported_immediately(mock, capsys):
    mock.api_key = KEY
    assert run(at(mock)) == 3
    assert "refuses access" in capsys.readouterr().err
    mock.api_key, mock.always = None, status(404, f"The model {MODEL} does not exist\x1b[2J")
    assert run(at(mock)) == 3
    said = capsys.readouterr().err
    assert "has no model" in said
    assert "does not exist\\x1b[2J" in said
    assert run(at(mock, "--api-key-env", "NO_SUCH_KEY")) == 2
    assert "NO_SUCH_KEY" in capsys.readouterr().err


def test_debug_shows_the_requests_before_the_run(mock, monkeypatch, capsys):
    mock.api_key = "sk-right"
    monkeypatch.setenv("MINE", "sk-wrong-and-secret")
    assert run(at(mock, "--debug", "--api-key-env", "MINE")) == 3
    said = capsys.readouterr().err
    assert "──── before the run" in said
    assert "\nstatus 401 after " in said
    assert "sk-wrong-and-secret" not in said


def test_an_unfinished_run_is_inconclusive(folder, capsys):
    keep_first(folder, 5)
    capsys.readouterr()
    assert run(["recheck", str(folder)]) == 4
    out = capsys.readouterr().out
    assert "INCONCLUSIVE  11 of" in out
    assert f"gpt-oss-verify --resume {folder}" in out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt, 130, "gpt-oss-verify: stopped\n"),
        (RuntimeError, 70, "this is a bug in the tool; please report it\n"),
    ],
)
def test_ctrl_c_or_a_crash_at_any_point_is_not_a_verdict(error, code, said, monkeypatch, capsys):
    def fail(_path):
        raise error

    monkeypatch.setattr("gpt_oss_verify.init.load_providers", fail)
    assert run(["providers"]) == code
    shown = capsys.readouterr().err
    assert shown.endswith(said)
    assert shown.startswith("Traceback" if code == 70 else said)


def test_a_checkout_that_is_not_installed_says_what_to_install():
    """The modules can be imported, but no package metadata can be found."""
    program = (
        "import importlib.metadata, sys\n"
        "found = importlib.metadata.distribution\n"
        "def distribution(name):\n"
        "    if name == 'gpt-oss-verify':\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "importlib.metadata.distribution = distribution\n"
        "from gpt_oss_verify.app import run\n"
        "sys.exit(run(['--provider', 'reference']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "gpt-oss-verify: The package gpt-oss-verify is not installed: run "
        "pip install '.[reference]' in the folder of the repository.\n"
    )


# --- Options


def test_json_is_the_only_output_on_stdout(mock, tmp_path, capsys):
    assert run(at(mock, "--json")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["verdict"]["decision"] == "pass"
    assert (summary["exit_code"], summary["complete"]) == (0, True)
    assert {check["status"] for check in summary["checks"]} <= {"passed", "not_verifiable"}
    assert summary["run"] == str(only_run(tmp_path).relative_to(tmp_path))
    assert [each["condition"]["api"] for each in summary["results"]] == ["responses", "chat"]
    for each in summary["results"]:
        tries = {mode: sum(n for *_, n in cases.values()) for mode, cases in each["modes"].items()}
        assert tries == {"streaming": 4, "non-streaming": 4}


@pytest.mark.parametrize(
    ("options", "conditions"),
    [
        (["-s", "--apis", "chat"], {"chat/streaming"}),
        (["--no-streaming", "--api", "responses"], {"responses/non-streaming"}),
        (["--streaming", "--apis", "chat,responses"], {"chat/streaming", "responses/streaming"}),
    ],
)
def test_apis_and_modes_can_be_chosen(mock, tmp_path, options, conditions):
    assert run(at(mock, *options)) == 0
    sampled = [json.loads(line)["condition"] for line in rollouts(only_run(tmp_path))]
    assert {f"{each['api']}/{each['mode']}" for each in sampled} == conditions


def test_request_options_reach_the_provider(mock):
    options = ["--temperature", "0.5", "--reasoning-effort", "low", "--max-tokens", "99"]
    assert run(at(mock, "--apis", "chat", "--seed", "7", *options)) == 0
    body = mock.posts[-1].body
    assert (body["temperature"], body["reasoning_effort"], body["max_tokens"]) == (0.5, "low", 99)
    assert isinstance(body["seed"], int)
    assert len(body["tools"]) == len(SUITE.tools)


def test_no_unrequested_options_are_sent(mock):
    run(at(mock, "--apis", "chat", "--no-streaming"))
    assert set(mock.posts[-1].body) == {"model", "messages", "tools"}


def test_custom_cases_and_tools_are_used_and_a_bad_line_is_reported(mock, tmp_path, capsys):
    case = {"tool_name": "service_status", "input": "Is the service up right now?"}
    good = json.dumps(case | {"expected_arguments": "{}"})
    (tmp_path / "mine.jsonl").write_text(f"{good}\n{{oops\n")
    assert run(at(mock, "-c", "mine.jsonl", "--out", "elsewhere")) == 0
    out, err = capsys.readouterr()
    assert "mine.jsonl, line 2 is left out: not JSON" in err
    assert "1 case × 4 tries, 2 conditions, 8 of 8 attempts (1 invalid line" in out
    assert (tmp_path / "elsewhere").is_dir()


def test_the_key_of_an_entry_is_never_printed_or_stored(mock, tmp_path, capsys, monkeypatch):
    mock.api_key = KEY
    monkeypatch.setenv("MOCK_KEY", KEY)
    entry = {"base_url": mock.base_url, "model": MODEL, "apis": ["chat"], "api_key_env": "MOCK_KEY"}
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": {"mine": entry}}))
    assert run(["-p", "mine", *QUICK, "--debug"]) == 0
    out, err = capsys.readouterr()
    assert '"model": "gpt-oss-mock"' in err
    assert KEY not in out + err + "".join(path.read_text() for path in only_run(tmp_path).iterdir())


def test_help_and_version(capsys):
    assert run(["--help-all"]) == 0
    text = capsys.readouterr().out
    for option in ("--provider", "-p", "-n", "-k", "-s", "--strict", "-t", "-c", "--debug"):
        assert option in text
    assert "0 PASS, or" in text
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == version("gpt-oss-verify") + "\n"


# --- Resuming


def test_resume_requests_only_missing_attempts(folder, mock, capsys):
    whole = sorted(json.loads(line)["id"] for line in rollouts(folder))
    keep_first(folder, 13)
    with (folder / "rollouts.jsonl").open("a") as log:
        log.write('{"id": "torn')
    mock.received.clear()
    assert run(["--resume", str(folder), "--strict"]) == 2
    assert "leave out --strict" in capsys.readouterr().err
    assert run(["--resume", str(folder)]) == 0
    assert "attempts, 13 of" in capsys.readouterr().err
    assert sorted(json.loads(line)["id"] for line in rollouts(folder)) == whole
    assert len([request for request in mock.posts if "tools" in request.body]) == 6


def test_tries_are_added_to_a_finished_run_and_nothing_is_repeated(
    mock, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.01)
    few = ("--suite", "tools", "-n", "6", "-k", "2", "--only", "cases,errors")
    assert run(["--base-url", mock.base_url, "--model", MODEL, *few[2:]]) == 1
    folder = only_run(tmp_path)
    before, asked = rollouts(folder), len(mock.posts)
    assert run(["--resume", str(folder), "-k", "3"]) == 1
    after = rollouts(folder)
    assert after[: len(before)] == before
    ids = [json.loads(line)["id"] for line in after]
    assert len(ids) == len(set(ids)) == len(before) + 6 * 2
    assert len(mock.posts) - asked <= 6 * 2 * 2 + 4
    assert run(["--resume", str(folder), "-k", "2"]) == 2
    assert "has 3 tries" in capsys.readouterr().err


def test_an_inconclusive_run_prints_the_tries_that_settle_it(mock, tmp_path, capsys):
    few = ("--suite", "tools", "-n", "6", "-k", "1")
    assert run(["--base-url", mock.base_url, "--model", MODEL, *few]) == 4
    folder = only_run(tmp_path)
    (tries,) = re.findall(r"--resume RUN -k (\d+)", capsys.readouterr().out)
    assert run(["--resume", str(folder), "-k", tries]) == 0
    assert rollouts(folder)


def test_a_failed_resume_keeps_a_run_without_records(tmp_path, capsys):
    with in_background(MockProvider(always=provider_of(correct), models=[MODEL])) as gone:
        assert run(at(gone, "--max-requests", "2")) == 4
    folder = only_run(tmp_path)
    before = {path.name for path in folder.iterdir()}
    assert rollouts(folder) == []
    assert run(["--resume", str(folder)]) == 3
    assert "does not answer" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} >= before


def test_run_json_is_written_after_all_that_a_resume_reads(mock, monkeypatch):
    real, seen = plan_module.write_run_info, []

    def recorded(folder, info):
        seen.append({path.name for path in folder.glob("*")})
        real(folder, info)

    monkeypatch.setattr(plan_module, "write_run_info", recorded)
    run(at(mock))
    assert seen[0] >= {"cases.jsonl", "tools.json"}
    assert "run.json" not in seen[0]


def test_resume_takes_the_key_and_limits_of_its_entry_for_another_model(
    mock, tmp_path, monkeypatch
):
    mock.api_key = KEY
    monkeypatch.setenv("MOCK_KEY", KEY)
    entry = {"base_url": mock.base_url, "model": "m", "apis": ["chat"], "api_key_env": "MOCK_KEY"}
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": {"mine": entry}}))
    assert run(["-p", "mine", "--model", MODEL, *QUICK]) == 0
    keep_first(only_run(tmp_path), 2)
    mock.received.clear()
    assert run(["--resume", str(only_run(tmp_path))]) == 0
    assert {post.body["model"] for post in mock.posts} == {MODEL}


def test_a_finished_run_is_resumed_only_with_what_it_had(folder, mock, capsys):
    mock.received.clear()
    assert run(["--resume", str(folder), "--json"]) == 0
    assert mock.received == []
    assert run(["--resume", str(folder), "--model", "another"]) == 2
    assert "pass --base-url and --model" in capsys.readouterr().err
    assert run(["--resume", str(folder), "-p", "reference"]) == 2
    assert "start a new run instead" in capsys.readouterr().err
    (folder / "cases.jsonl").write_text((folder / "cases.jsonl").read_text() + "\n")
    assert run(["--resume", str(folder)]) == 2
    assert "was changed after the run" in capsys.readouterr().err


def test_resuming_a_launched_provider_requires_its_entry():
    launched = {"base_url": "http://127.0.0.1:{port}/v1", "launch_command": ("serve",)}
    provider = PROVIDER.model_copy(update={"name": "gone", **launched})
    info = planned().info.model_copy(update={"provider": provider})
    with pytest.raises(ConfigurationError, match=r"launched gone, but its entry .* --providers"):
        resolve(Options(), info)


@pytest.mark.slow
def test_ctrl_c_keeps_finished_attempts_and_the_run_can_be_resumed(mock, tmp_path):
    slow = provider_of(correct)

    async def delayed(request, writer):
        await asyncio.sleep(0.02)
        await slow(request, writer)

    mock.always = delayed
    script = "from gpt_oss_verify import main; main()"
    where = ["--base-url", mock.base_url, "--model", MODEL, "--suite", "tools"]
    command = [sys.executable, "-c", script, *where, "-n", "6", "-k", "2", "--concurrency", "2",
               "--rule", "guide"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if len(mock.posts) > 12:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    folder = only_run(tmp_path)
    assert "INCONCLUSIVE" in out
    assert f"Report  runs/{folder.name}/report.html" in out
    assert (out + err).count("--resume") == 1  # the advice comes once
    assert f"--resume runs/{folder.name}" in out
    assert "Traceback" not in err
    done = len(rollouts(folder))
    assert 0 < done < 24
    said = " ".join(out.split())
    assert re.search(rf"Stopped after {done} of 24 attempts; replies: status 200 × \d+\.", said)
    assert "was not sent" not in said
    assert json.loads((folder / "analysis.json").read_text())["verdict"]["decision"] == (
        "inconclusive"
    )
    mock.always = slow
    assert run(["--resume", str(folder), "--dry-run"]) == 0
    assert len(rollouts(folder)) == done
    assert run(["--resume", str(folder)]) == 0
    assert len(rollouts(folder)) == 24


DYING_PROVIDER = """
import asyncio, os, sys
from healthy import provider_of
from mock_provider import MockProvider
from replies import MODEL

requests = 0

async def answer(request, writer):
    global requests
    requests += 1
    if requests > int(sys.argv[2]):
        os._exit(7)
    await provider_of()(request, writer)

async def main():
    mock = MockProvider(always=answer, models=[MODEL])
    mock._connections = set()
    server = await asyncio.start_server(mock._connected, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""


def test_a_provider_that_dies_ends_the_run_and_finished_attempts_are_kept(tmp_path, capsys):
    (tmp_path / "dying.py").write_text(DYING_PROVIDER)
    entry = {
        "base_url": "http://127.0.0.1:{port}/v1",
        "model": MODEL,
        "apis": ["chat"],
        "launch": {
            "command": ["{python}", str(tmp_path / "dying.py"), "{port}", "8"],
            "env": {"PYTHONPATH": os.pathsep.join(sys.path)},
        },
    }
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": {"mortal": entry}}))
    assert run(["-p", "mortal", *QUICK, "--concurrency", "1"]) == 3
    err = capsys.readouterr().err
    folder = only_run(tmp_path)
    assert f"judged in runs/{folder.name}/report.md" in err
    assert "exit code 7" in err
    assert len(rollouts(folder)) == 3
    assert "launched with" in (folder / "report.md").read_text()
    entry["launch"]["command"][-1] = "1000"
    (tmp_path / "providers.yaml").write_text(json.dumps({"providers": {"mortal": entry}}))
    night = ["history", "-p", "mortal", "--fail-on-change"]
    assert run(night) == 3
    capsys.readouterr()
    assert run(["--resume", str(folder)]) == 0
    assert len(rollouts(folder)) == 8
    assert run(night) == 0


# --- Finished runs


def test_recheck_keeps_the_thresholds_of_the_run_unless_given_others(mock, tmp_path):
    mock.always = provider_of(
        lambda case: correct(case) if case.id == "markdown-list" else without_call(case)
    )
    assert run(at(mock, "--min-pass-at-k", "0.4", "--min-pass-hat-k", "0.4")) == 0
    folder = str(only_run(tmp_path))
    assert run(["recheck", folder]) == 0
    assert run(["recheck", folder, "--min-pass-hat-k", "0.6", "--json"]) == 1


def test_recheck_reports_a_damaged_line(folder, capsys):
    lines = rollouts(folder)
    (folder / "rollouts.jsonl").write_text("".join([lines[0], "{}\n", *lines[2:]]))
    assert run(["recheck", str(folder)]) == 2
    assert "line 2 is damaged" in capsys.readouterr().err


def test_recheck_needs_no_network_and_writes_the_same_reports_again(folder, mock, monkeypatch):
    names = ["report.html", "report.md", "junit.xml", "analysis.json"]
    first = {name: (folder / name).read_text() for name in names}
    for name in names:
        (folder / name).unlink()
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    mock.received.clear()
    assert run(["recheck", str(folder), "--open"]) == 0
    assert opened == [(folder / "report.html").resolve().as_uri()]
    assert {name: (folder / name).read_text() for name in names} == first
    assert mock.received == []


def test_a_run_is_found_by_its_name_as_the_report_prints_it(mock, tmp_path):
    run(at(mock))
    name = only_run(tmp_path).name
    nothing_compared = 4  # of a run without evals with published scores
    for command in ("recheck", "export --format csv", "site --out pages", "--resume"):
        assert run([*command.split(), name]) == 0, command
    assert run(["compare", "card", name]) == nothing_compared


def test_providers_are_listed_with_the_state_of_their_keys(tmp_path, capsys, monkeypatch):
    assert run(["providers"]) == 0
    assert "reference" in capsys.readouterr().out
    entry = {"base_url": "http://h/v1", "model": "m", "apis": ["chat"], "api_key_env": "K_E_Y"}
    (tmp_path / "other.yaml").write_text(json.dumps({"providers": {"mine": entry}}))
    assert run(["providers", "--providers", "other.yaml"]) == 0
    assert "K_E_Y not set" in capsys.readouterr().out
    monkeypatch.setenv("K_E_Y", "1")
    run(["providers", "--providers", "other.yaml"])
    assert "K_E_Y set" in capsys.readouterr().out


# --- The reference engine


def test_serve_passes_its_arguments_on(monkeypatch):
    given = []

    def main(arguments, *, program):
        given.extend([program, *arguments])
        return 0

    fake = SimpleNamespace(main=main)
    monkeypatch.setattr(app_module, "import_module", lambda name: fake)
    assert run(["serve", "--port", "8000", "--checkpoint", "x", "--help"]) == 0
    assert given == ["gpt-oss-verify", "serve", "--port", "8000", "--checkpoint", "x", "--help"]


def test_a_missing_extra_is_reported_with_the_install_command(monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(app_module, "import_module", missing)
    assert run(["serve"]) == 2
    assert install_command("reference") in capsys.readouterr().err


def test_a_dry_run_states_the_cost_and_sends_no_requests(mock, tmp_path, capsys):
    assert run(at(mock, "--only", "prompt.tool", "--only", "cases", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "tool_calling: 32 requests" in shown  # 2 cases, 4 tries, 2 APIs, 2 requests
    assert "of which probes: " in shown
    assert run(at(mock, "--only", "cases,prompt.tool", "--dry-run", "--json")) == 0
    planned = json.loads(capsys.readouterr().out)
    assert [part["name"] for part in planned["parts"]] == ["tool_calling", "probes"]
    assert planned["sampling"]["requests"] == sum(part["requests"] for part in planned["parts"])
    assert f": {planned['sampling']['requests']} requests" in shown
    assert mock.received == []
    assert not (tmp_path / "runs").exists()


def test_the_readme_says_how_much_the_default_run_sends(mock, capsys):
    assert run(["--base-url", mock.base_url, "--model", MODEL, "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    calls, _ = planned["parts"]
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    ((first, further),) = re.findall(r"([\d,]+) short requests, and ([\d,]+) further", readme)
    sent, every = planned["sampling"]["requests"], planned["all_tries"]["requests"]
    assert round(sent, -2) == int(first.replace(",", ""))
    assert abs(every - sent - int(further.replace(",", ""))) < 50
    assert calls["requests"] == 36 * 2 * 2 * 2  # cases, tries, APIs, requests of an attempt


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("/bin/gpt-oss-verify", ("gpt-oss-verify", "-k", "1")),
        ("/site/gpt_oss_verify/__main__.py", ("python", "-m", "gpt_oss_verify", "-k", "1")),
    ],
)
def test_a_run_records_the_command_that_was_typed(monkeypatch, program, typed):
    monkeypatch.setattr("sys.argv", [program, "-k", "1"])
    assert typed_command() == typed


def test_an_error_that_nobody_reads_ends_without_a_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gpt_oss_verify", "--json", "--provider", "no-such"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (EXIT_BROKEN_PIPE, "")
