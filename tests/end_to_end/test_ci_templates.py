"""The GitHub action and the GitLab template: bash runs their steps as a runner would."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from healthy import SUITE, provider_of
from mock_provider import status
from recorded_runs import problem_rollouts, write_finished_run
from replies import MODEL, Reply

from gpt_oss_verify import ci
from gpt_oss_verify.app import run

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{ (inputs|steps\.(\w+)\.outputs)\.([\w-]+) \}\}")
COMMAND_LINE = re.compile(r"^::(error|warning) title=", re.MULTILINE)
BINARIES = Path(sys.executable).parent
SHORT = "--suite tools -n 1 -k 1 --no-streaming --rule guide"


class Runner:
    """Execute the `run` steps of action.yml with expressions filled in and files for outputs."""

    def __init__(self, folder, **inputs):
        self.folder = folder
        self.inputs = {name: about["default"] for name, about in ACTION["inputs"].items()}
        self.inputs |= {name.replace("_", "-"): value for name, value in inputs.items()}
        self.outputs = {}
        self.log = ""

    def run(self, step_id):
        step = next(step for step in STEPS if step.get("id") == step_id)
        output = self.folder / f"{step_id}.output"
        output.touch()
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={
                **os.environ,
                **{name: self.value(text) for name, text in step["env"].items()},
                "PATH": f"{BINARIES}:{os.environ['PATH']}",
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
                "RUNNER_TEMP": str(self.folder / "temp"),
            },
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        self.log += done.stdout + done.stderr
        pairs = (line.split("=", 1) for line in output.read_text().splitlines())
        self.outputs[step_id] = dict(pairs)
        return done.returncode

    def value(self, text):
        def filled(match):
            if match[1] == "inputs":
                return self.inputs[match[3]]
            return self.outputs[match[2]].get(match[3], "")

        return EXPRESSION.sub(filled, text)


def verified(folder, mock, **inputs):
    given = {"base_url": mock.base_url, "model": MODEL, "apis": "chat", "args": SHORT}
    runner = Runner(folder, **{**given, **inputs})
    assert runner.run("verify") == 0, runner.log
    return runner


def test_every_use_in_a_job_reports_its_own_run(mock, tmp_path):
    runner = verified(tmp_path, mock)
    found = runner.outputs["verify"]
    assert (found["verdict"], found["exit-code"]) == ("pass", "0")
    assert Path(found["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert Path(found["report"]).is_relative_to(found["runs"])
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("# PASS")
    assert "The artifact `gpt-oss-verify` of this job has the folder of the run" in summary
    assert str(tmp_path) not in summary, "the commands are for the reader's machine"
    assert not COMMAND_LINE.findall(runner.log)
    assert runner.run("finish") == 0
    (tmp_path / "verify.output").unlink()
    second = verified(tmp_path, mock, apis="responses").outputs["verify"]
    assert second["verdict"] == "pass"
    assert second["runs"] != found["runs"], "two uses in one job report their own runs"


def test_a_failure_is_annotated_and_fails_the_job(mock, tmp_path):
    mock.always = provider_of(lambda _: [Reply(text="No,\n::error::no.")])
    runner = verified(tmp_path, mock)
    assert runner.outputs["verify"]["verdict"] == "fail"
    assert (
        "::error title=gpt-oss-verify%3A FAIL::chat · non-streaming: pass@1 is 0.0%25" in runner.log
    )
    assert 0 < len(COMMAND_LINE.findall(runner.log)) <= 10
    assert runner.run("finish") == 1


def test_an_inconclusive_run_fails_the_job_on_request(mock, tmp_path):
    runner = verified(tmp_path, mock, max_requests="3")
    assert runner.outputs["verify"]["verdict"] == "inconclusive"
    assert "::warning title=gpt-oss-verify%3A INCONCLUSIVE::" in runner.log
    for fails, code in (("true", 4), ("false", 0)):
        runner.inputs["fail-on-inconclusive"] = fails
        assert runner.run("finish") == code


def test_provider_output_cannot_inject_runner_commands(mock, tmp_path):
    mock.always = status(404, f"no model {MODEL} exists, not found\n::error::pwned\n::add-mask::x")
    runner = verified(tmp_path, mock)
    assert runner.outputs["verify"] == {"verdict": "error", "exit-code": "3"}
    ended = "# gpt-oss-verify ended with 3\n\ngpt-oss-verify: "
    assert (tmp_path / "summary.md").read_text().startswith(ended)
    stop = re.search(r"::stop-commands::(\w{32})", runner.log)
    heard = runner.log[: stop.start()] + runner.log.split(f"\n::{stop[1]}::\n")[1]
    assert len(COMMAND_LINE.findall(heard)) == 1
    assert "\n::error::pwned" not in heard
    assert "::add-mask::" not in re.sub(r"(?m)^::error title=.*$", "", heard)
    assert runner.run("finish") == 3


def test_inputs_are_never_executed_as_shell_code(mock, tmp_path):
    evil = "$(touch pwned)`touch pwned`\";touch pwned;'|touch pwned"
    runner = verified(tmp_path, mock, gate=evil, args=f"--suite '$(touch pwned)' {SHORT}")
    assert runner.outputs["verify"]["exit-code"] == "2"
    assert not list(tmp_path.rglob("pwned"))


def test_an_unmatched_quote_in_args_is_named(mock, tmp_path):
    runner = Runner(tmp_path, base_url=mock.base_url, model=MODEL, args="--skip 'a")
    assert runner.run("verify") == 2
    assert "an unmatched quote" in runner.log
    assert "an unmatched quote" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert runner.outputs["verify"] == {"verdict": "error", "exit-code": "2"}
    assert mock.received == []


def test_scripts_contain_no_expressions_and_actions_are_pinned():
    for step in STEPS:
        assert "${{" not in step.get("run", "")
        assert re.fullmatch(
            r"actions/[\w-]+@[0-9a-f]{40}", step.get("uses", f"actions/x@{'0' * 40}")
        )
    for script in (ROOT / ".github" / "action").iterdir():
        assert "${{" not in script.read_text(encoding="utf-8")
    used = {match[3] for match in EXPRESSION.finditer((ROOT / "action.yml").read_text("utf-8"))}
    assert set(ACTION["inputs"]) <= used | {"artifact", "python-version"}


def test_every_example_installs_a_release():
    texts = [
        path.read_text("utf-8")
        for each in ("examples", "docs")
        for path in (ROOT / each).glob("*.*")
    ]
    assert set(re.findall(r"git\+https\S+/gpt-oss-verify(@v)?", "".join(texts))) == {"@v"}


def test_the_tool_is_installed_in_its_own_environment(tmp_path):
    install = next(step for step in STEPS if step.get("id") == "install")
    fake = tmp_path / "bin"
    fake.mkdir()
    noted = tmp_path / "noted"
    (fake / "python3").write_text(
        "#!/usr/bin/env bash\n"
        f'echo "$@" >>{noted}\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
    )
    (fake / "python3").chmod(0o755)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", install["run"]],
        env={
            "PATH": f"{fake}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path / "temp"),
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_PATH": str(tmp_path / "path"),
            "EXTRAS": "reference",
        },
        check=False,
        timeout=30,
    )
    assert done.returncode == 0
    place = tmp_path / "temp" / "gpt-oss-verify" / "venv"
    made, installed = noted.read_text().splitlines()
    assert made == f"-m venv {place}"
    assert installed.endswith(f"{ROOT}[reference]")
    assert (tmp_path / "path").read_text() == f"{place}/bin\n"


def test_the_example_workflow_uses_only_existing_inputs():
    workflow = yaml.safe_load((ROOT / "examples" / "github-workflow.yml").read_text("utf-8"))
    for job in workflow["jobs"].values():
        (own,) = (step for step in job["steps"] if "gpt-oss-verify" in step["uses"])
        assert set(own["with"]) <= set(ACTION["inputs"])
        assert own["with"]["gate"] == "gate.yaml"


def test_the_example_workflow_starts_the_server_in_the_job(tmp_path):
    workflow = yaml.safe_load((ROOT / "examples" / "github-workflow.yml").read_text("utf-8"))
    (own,) = (each for each in workflow["jobs"]["verify-local-server"]["steps"] if "with" in each)
    (tmp_path / "gate.yaml").write_text("must_pass: [finish]\n")
    runner = Runner(tmp_path, **own["with"], args=SHORT)
    assert runner.run("verify") == 0, runner.log
    assert runner.outputs["verify"]["verdict"] in {"pass", "inconclusive"}


def test_the_site_workflow_runs_the_expected_commands(tmp_path):
    """The script runs with a fake command that records its arguments."""
    workflow = yaml.safe_load((ROOT / "examples" / "github-pages.yml").read_text("utf-8"))
    steps = workflow["jobs"]["publish"]["steps"]
    (script,) = (step["run"] for step in steps if step.get("name") == "Verify")
    fake = tmp_path / "gpt-oss-verify"
    fake.write_text(
        'echo "$*" >> noted; [ "$1" != --provider ] || mkdir -p "new/$2-1"\n'
        '[ "$2" != slow ] || exit 3\n'
    )
    fake.chmod(0o755)
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PROVIDERS": "quick slow"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "::error::slow: exit code 3" in done.stdout
    noted = (tmp_path / "noted").read_text().splitlines()
    assert noted[2:] == ["site new/quick-1/ new/slow-1/ --out site"]
    pinned = [step["uses"] for step in steps if "uses" in step]
    assert all(re.search(r"@[0-9a-f]{40}$", each) for each in pinned)


def nightly_scripts():
    """The shell of the job for GitHub and of that for GitLab, with what is kept between nights."""
    workflow = yaml.safe_load((ROOT / "examples" / "github-nightly.yml").read_text("utf-8"))
    steps = workflow["jobs"]["verify"]["steps"]
    named = [step for step in steps if step.get("name") in {"Verify", "Compare"}]
    yield "\n".join(step["run"] for step in named if step["name"] == "Compare")
    job = yaml.safe_load((ROOT / "examples" / "gitlab-nightly.yml").read_text("utf-8"))
    yield "\n".join(job["gpt-oss-nightly"]["script"])


@pytest.mark.parametrize("script", list(nightly_scripts()), ids=["github", "gitlab"])
@pytest.mark.parametrize(("code", "webhook"), [(0, "w"), (1, "w"), (3, "w"), (1, "")])
def test_a_nightly_job_ends_with_the_code_of_the_comparison(script, code, webhook, tmp_path):
    """The shell runs with fake commands that record their arguments and input."""
    commands = {
        "gpt-oss-verify": 'echo "$*" >> noted; [ "$1" != history ] || '
        f'{{ echo "mine-2, since mine-1: it is \\"worse\\"." >&2; exit {code}; }}\n',
        "curl": 'echo "$*" >> noted; cat >> posted\n',
    }
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PROVIDER": "mine",
            "DEADLINE": "60m",
            "CHAT_WEBHOOK": webhook,
        },
        timeout=30,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert 'it is "worse"' in done.stdout
    noted = (tmp_path / "noted").read_text()
    assert re.search(r"history --provider[ =]mine --since 1d --fail-on-change\n", noted)
    posted = tmp_path / "posted"
    assert posted.exists() == bool(code and webhook)
    if posted.exists():
        assert "worse" in json.loads(posted.read_text())["text"]


def test_the_nightly_job_keeps_its_runs_and_pins_its_actions():
    workflow = yaml.safe_load((ROOT / "examples" / "github-nightly.yml").read_text("utf-8"))
    steps = workflow["jobs"]["verify"]["steps"]
    (kept,) = (step for step in steps if "cache/save" in step.get("uses", ""))
    assert kept["if"] == "${{ !cancelled() }}"
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps if "uses" in step)


def test_the_gitlab_job_returns_the_exit_code_and_keeps_the_reports(mock, tmp_path):
    template = ROOT / "examples" / "gitlab-ci.yml"
    job = yaml.safe_load(template.read_text(encoding="utf-8"))["gpt-oss-verify"]
    entry = {"base_url": mock.base_url, "model": MODEL, "apis": ["chat"]}
    gate = {"budget": {"max_requests": 3}}
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump({"providers": {"mine": entry}}))
    (tmp_path / "gate.yaml").write_text(yaml.safe_dump(gate))
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(job["script"])],
        cwd=tmp_path,
        env={
            **os.environ,
            **job["variables"],
            "PATH": f"{BINARIES}:{os.environ['PATH']}",
            "PROVIDER": "mine",
            "GATE": "gate.yaml",
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "allow_failure" not in job  # as the action for GitHub
    assert "max_requests 3 (gate.yaml)" in " ".join(done.stdout.split())
    assert list(tmp_path.glob(job["artifacts"]["reports"]["junit"]))


def test_a_run_that_was_judged_before_an_error_is_still_reported(tmp_path, monkeypatch, capsys):
    suite, folder = SUITE.first(2), tmp_path / "runs" / "a-1"
    write_finished_run(folder, problem_rollouts(suite, tries=1), suite, tries=1)
    run(["recheck", str(folder)])
    capsys.readouterr()
    failed = {"error": "the server stopped answering", "exit_code": 3, "run": str(folder)}
    (tmp_path / "result.json").write_text(json.dumps(failed))
    (tmp_path / "log.txt").write_text("")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    ci.report(tmp_path / "result.json", tmp_path / "log.txt", 3)
    assert "ended with 3" in capsys.readouterr().out
    assert f"runs={tmp_path / 'runs'}" in (tmp_path / "outputs").read_text()
    assert (tmp_path / "summary.md").read_text() != ""


def test_the_image_runs_as_a_user_and_is_tested_before_it_is_published():
    """No container can be built in the tests: this reads the files that would build one."""
    lines = (ROOT / "Containerfile").read_text("utf-8").splitlines()
    assert lines.index("USER verify") < lines.index('ENTRYPOINT ["gpt-oss-verify"]')
    workflow = yaml.safe_load((ROOT / "examples" / "github-image.yml").read_text("utf-8"))
    names = [step["name"] for step in workflow["jobs"]["image"]["steps"] if "name" in step]
    assert names == ["Build", "Test", "Publish"]
    for step in workflow["jobs"]["image"]["steps"]:
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True, timeout=30)
