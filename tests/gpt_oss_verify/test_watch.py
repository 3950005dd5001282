"""`watch` over a real socket: rounds, an alert, an interrupted round, and wrong options."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from background import in_background
from healthy import polluted_name, provider_of
from mock_provider import MockProvider
from replies import MODEL

from gpt_oss_verify.app import run
from harness.run.run_log import read_run_info
from harness.watching.records import AVAILABILITY, TOOL_CALLS
from harness.watching.state import State

KEY = "sk-secret-value-1234567890"
ONCE = ["watch", "-p", "mine", "--once", "--only", "cases", "--budget", "240"]


@pytest.fixture
def provider(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", KEY)
    with in_background(MockProvider(always=provider_of(), models=[MODEL], api_key=KEY)) as mock:
        entry = {"base_url": mock.base_url, "model": MODEL, "apis": ["chat"]}
        entry["api_key_env"] = "MY_KEY"
        Path("providers.yaml").write_text(
            yaml.safe_dump({"providers": {"mine": entry}}), encoding="utf-8"
        )
        yield mock


def state():
    return State(Path("watch/state.sqlite"))


def test_rounds_alerts_and_recovery(provider, capsys):
    assert run(ONCE) == 0
    assert "4 of 4 tool calls" in capsys.readouterr().out
    with state() as kept:
        for hour in range(60, 0, -1):
            began = kept.begin("mine", time.time() - hour * 3600, "", [])
            kept.finish(replace(began, counts={TOOL_CALLS: (0, 8), AVAILABILITY: (0, 1)}), [], [])
    provider.always = provider_of(polluted_name)
    hook = "python -c \"import os; open('alert', 'a').write(os.environ['ALERT_EVENT'])\""
    alerting = [*ONCE, "--on-alert", hook, "--webhook", "http://127.0.0.1:9/x"]
    assert [run(alerting) for _ in "12"] == [1, 0]
    out, err = capsys.readouterr()
    assert "ALERT Tool calls have failed more often since" in out
    assert "alert not delivered: the webhook at 127.0.0.1" in err
    assert Path("alert").read_text(encoding="utf-8") == "worse"
    with state() as kept:
        assert [sink for _, sink, _ in kept.undelivered()] == ["webhook"]
    assert run(["watch", "--accept", "mine"]) == 0
    assert "accepted: Tool calls have failed more often since" in capsys.readouterr().out
    assert run(["watch", "--accept", "mine"]) == 2
    assert "mine has no open incident" in capsys.readouterr().err
    page = Path("watch/index.html").read_text(encoding="utf-8")
    assert "1 of 1 provider worse than before" in page
    assert not any(KEY in path.read_text(errors="replace") for path in Path("watch").rglob("*.*"))


def test_old_rounds_are_pruned(provider):
    assert run(ONCE) == 0
    with state() as kept:
        (one,) = kept.watched("mine").rounds
        kept.discard(one)
        old = kept.begin("mine", time.time() - 3 * 86_400, one.folder, [])
        kept.finish(replace(old, counts={TOOL_CALLS: (0, 8)}), [], [])
    assert run([*ONCE, "--keep-days", "2"]) == 0
    assert not Path(one.folder).exists()
    with state() as kept:
        watched = kept.watched("mine")
        assert (len(watched.rounds), watched.made) == (1, 2)
        assert watched.past.counts == {TOOL_CALLS: [0, 8]}
        assert Path(watched.rounds[0].folder).exists()


def test_an_interrupted_round_is_finished(provider, capsys):
    assert run(ONCE) == 0
    with state() as kept:
        (one,) = kept.watched("mine").rounds
        kept.discard(one)
        kept.begin("mine", one.started, one.folder, one.planned)
    log = Path(one.folder) / "rollouts.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]))
    sent = len(provider.posts)
    assert run(ONCE) == 0
    assert "finishing the round" in capsys.readouterr().err
    assert len(provider.posts) == sent + 1 + 2 * (len(lines) - 2)
    assert len(read_run_info(Path(one.folder)).resumed) == 1
    with state() as kept:
        (again,) = kept.watched("mine").rounds
        assert again.counts[TOOL_CALLS] == [0, 4]
        assert again.requests == 10 + 2 + 2 * (len(lines) - 2)
        kept.begin("mine", one.started, "watch/runs/gone", [])
    shutil.rmtree(one.folder)
    assert run(ONCE) == 0


def test_an_unreachable_provider_is_counted_except_in_its_first_round(provider, capsys):
    provider.api_key = "another"
    assert run(ONCE) == 3
    with state() as kept:
        assert not kept.watched("mine").rounds
        assert kept.unfinished("mine") is None
    provider.api_key = KEY
    assert run(ONCE) == 0
    provider.api_key = "another"
    assert run(ONCE) == 3
    out, err = capsys.readouterr()
    assert "mine: not reached" in out
    assert KEY not in out + err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--budget", "lots"], "--budget takes requests per day"),
        (["--budget", "0"], "--budget takes requests per day"),
        (["--budget", "10"], "A round of 0 requests is too small"),
        (["--budget", "2usd"], "has no prices"),
        (["--every", "soon"], "--every must be a time"),
        (["--false-alarms", "2"], "for --false-alarms. Must be < 1"),
        (["--webhook", "NO_SUCH_VARIABLE"], "--webhook takes a URL"),
        (["--on-alert", "'"], "--on-alert cannot be read"),
        (["--metrics-port", "99999"], "--metrics-port 99999 cannot be used"),
        (["--suite", "tools", "--skip", "cases"], "leave nothing to sample"),
    ],
)
def test_wrong_options_are_rejected_in_one_sentence(options, problem, provider, capsys):
    assert run(["watch", "-p", "mine", "--once", *options]) == 2
    assert problem in capsys.readouterr().err
    assert not provider.posts


def test_a_provider_must_be_named(capsys):
    assert run(["watch", "--once"]) == 2
    assert "Name at least one provider" in capsys.readouterr().err
