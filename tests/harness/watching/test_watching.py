"""Rounds, signals, state, alerts and metrics of `watch`, partly over real sockets."""

import json
import sqlite3
import sys
import threading
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from harness.checks import CHECKS
from harness.errors import ConfigurationError
from harness.probes.suites import choose
from harness.providers.entries import adhoc_provider
from harness.records.conditions import BOTH_APIS
from harness.records.runs import Limits
from harness.run.cases import load_suite
from harness.watching.alerts import Sinks, alert, ended, past, worse
from harness.watching.metrics import Metrics
from harness.watching.records import AVAILABILITY, TOOL_CALLS, Incident, Past, Round, Watched
from harness.watching.rounds import next_round, of_round, plan_rounds
from harness.watching.signals import accepted, examine, pruned, signals, stream, suspects
from harness.watching.state import State
from reports.html.watching import render_watch

HOUR = 3600.0
SIGNALS = signals((check.about for check in CHECKS.values()), BOTH_APIS)
RULE = stream("calls.name.polluted", "chat")


def rounds(*counts, start=0, planned=()):
    return [
        Round(start + n + 1, "p", (start + n) * HOUR, f"watch/runs/day/p-{n}", planned, each, 10)
        for n, each in enumerate(counts)
    ]


def healthy(number):
    return [{TOOL_CALLS: (0, 8), AVAILABILITY: (0, 1), RULE: (0, 1)}] * number


BROKEN = {TOOL_CALLS: (6, 8), AVAILABILITY: (0, 1), RULE: (1, 1)}


# --- Signals and incidents


def test_the_shares_of_all_signals_add_up():
    assert sum(signal.share for signal in SIGNALS) == pytest.approx(1)
    assert not {RULE} - {name for signal in SIGNALS for name in signal.streams}


def test_a_drop_opens_an_incident_of_its_signal_and_recovery_ends_it():
    watched = Watched("p", rounds(*healthy(60), BROKEN, BROKEN))
    (opened,) = examine(watched, SIGNALS, 0.05)
    assert (opened.signal, opened.before, opened.after) == (TOOL_CALLS, (0, 480), (12, 16))
    assert opened.since == 60 * HOUR == opened.earliest
    assert opened.chance < 0.001
    open_ = replace(watched, incidents=[replace(opened, id=1)])
    assert not list(examine(open_, SIGNALS[:1], 0.05))
    again = replace(open_, rounds=[*watched.rounds, *rounds(*healthy(2), start=62)])
    (closed,) = examine(again, SIGNALS[:1], 0.05)
    assert (closed.id, closed.ended) == (1, 63 * HOUR)
    calm = replace(again, incidents=[closed])
    assert not list(examine(calm, SIGNALS, 0.05))


def test_an_accepted_level_is_the_new_baseline_from_its_start():
    worse_now = {TOOL_CALLS: (2, 8), AVAILABILITY: (0, 1)}
    past = Past(-HOUR, 9, {TOOL_CALLS: (0, 72), AVAILABILITY: (0, 9)})
    watched = Watched("p", rounds(*healthy(60), *[worse_now] * 20), past=past)
    (opened,) = examine(watched, SIGNALS, 0.05)
    ended_now, past = accepted(replace(watched, incidents=[opened]), 80 * HOUR)
    assert past.counts == {AVAILABILITY: (0, 9)}
    more = rounds(*[worse_now] * 20, start=80)
    calm = Watched("p", [*watched.rounds, *more], ended_now, past)
    assert not list(examine(calm, SIGNALS, 0.05))
    down = {TOOL_CALLS: (8, 8), AVAILABILITY: (0, 1)}
    gone = replace(calm, rounds=[*calm.rounds, *rounds(*[down] * 3, start=100)])
    (again,) = examine(gone, SIGNALS, 0.05)
    assert again.before == (80, 320)


def test_pruned_rounds_still_count_as_the_past():
    watched = Watched("p", rounds(*healthy(60), BROKEN, BROKEN))
    (opened,) = examine(watched, SIGNALS[:1], 0.05)
    past = pruned(watched, SIGNALS, 50 * HOUR)
    assert (past.until, past.rounds, past.counts[TOOL_CALLS]) == (49 * HOUR, 50, (0, 400))
    short = Watched("p", watched.rounds[50:], past=past)
    assert short.made == watched.made
    (same,) = examine(short, SIGNALS[:1], 0.05)
    assert (same.before, same.after, same.since) == (opened.before, opened.after, opened.since)
    incident = replace(opened, ended=62 * HOUR)
    later = replace(short, rounds=[*short.rounds, *rounds(*healthy(2), start=62)])
    past = pruned(replace(later, incidents=[incident]), SIGNALS, 63 * HOUR)
    assert past.counts[TOOL_CALLS] == (0, 61 * 8)
    assert past.counts[RULE] == (2, 63)


def test_a_rule_needs_more_than_one_failure():
    failing = {RULE: (1, 1)}
    found = [
        [
            each.stream
            for each in examine(Watched("p", rounds(*healthy(90), *[failing] * n)), SIGNALS, 0.05)
        ]
        for n in (1, 6)
    ]
    assert found == [[], [RULE]]


def test_rules_that_failed_last_are_suspect_unless_they_always_failed():
    always = Watched("p", rounds(*[{RULE: (1, 1)}] * 4))
    assert suspects(always) == set()
    assert suspects(Watched("p", rounds(*healthy(3), {RULE: (1, 1)}))) == {RULE}


# --- Rounds


@pytest.fixture(scope="module")
def planned():
    provider = adhoc_provider("http://localhost:1/v1", "m", BOTH_APIS, None)
    return plan_rounds(provider, load_suite(), choose("standard"), None, 41)


def test_rounds_cover_every_case_under_every_condition_and_every_probe(planned):
    seen, sampled, watched = set(), set(), Watched("p")
    for number in range(40):
        drawn = next_round(planned, watched, Limits())
        assert sum(task.info.planned for task in drawn.tasks) <= 41
        mode, api = drawn.settings.modes[0], drawn.settings.apis[0]
        seen |= {(case, api, mode) for case in drawn.settings.case_ids}
        sampled |= set(drawn.streams)
        made = rounds({}, start=number, planned=drawn.streams)
        watched = replace(watched, rounds=[*watched.rounds, *made])
    assert len(seen) == 36 * 4
    fitting = {
        stream(probe.id, api)
        for api, parts in planned.parts.items()
        for part in parts
        for probe in part
    }
    assert sampled == fitting
    assert "echo.exact" not in sampled
    assert planned.left_out


def test_suspect_probes_are_sampled_again_in_every_second_round_of_their_api(planned):
    probe = stream(planned.parts["chat"][-1][0].id, "chat")
    watched = Watched("p", rounds({probe: (0, 1)}, {probe: (0, 1)}, {probe: (1, 1)}))
    numbers = (replace(watched, past=Past(rounds=number - 3)) for number in range(4))
    drawn = [next_round(planned, each, Limits()).streams for each in numbers]
    assert [streams == (probe,) for streams in drawn] == [False, False, False, True]


def test_a_budget_too_small_for_a_round_is_rejected():
    provider = adhoc_provider("http://localhost:1/v1", "m", BOTH_APIS, None)
    with pytest.raises(ConfigurationError, match="A round of 2 requests is too small"):
        plan_rounds(provider, load_suite(), choose("standard"), None, 2)


def test_the_budget_of_a_round_is_its_share_of_the_remainder():
    assert of_round(Limits(max_requests=240), HOUR, (0, 0)).max_requests == 10
    assert of_round(Limits(max_requests=240), HOUR, (236, 0)).max_requests == 4
    assert of_round(Limits(max_cost=2.4), HOUR, (0, 2.35)).max_cost == pytest.approx(0.05)


# --- State


def test_the_state_is_read_back(tmp_path):
    incident = next(examine(Watched("p", rounds(*healthy(60), BROKEN)), SIGNALS, 0.05))
    with State(tmp_path / "state.sqlite") as state:
        one = state.begin("p", 5.0, "folder", ["a"])
        assert state.unfinished("p") == one
    with State(tmp_path / "state.sqlite") as state:
        (left,) = [state.unfinished("p")]
        done = replace(left, counts={TOOL_CALLS: (1, 8)}, requests=18, cost=0.5)
        state.finish(done, [incident], [("command", "{}")])
        assert state.unfinished("p") is None
        watched = state.watched("p")
        assert watched.incidents == [replace(incident, id=1)]
        assert [each.counts for each in watched.rounds] == [{TOOL_CALLS: [1, 8]}]
        state.finish(replace(done, requests=0), [replace(watched.incidents[0], ended=9.0)], [])
        assert [each.ended for each in state.watched("p").incidents] == [9.0]
        assert state.used("p", 4.0) == (18, 1.0)
        assert state.used("p", 6.0) == (0, 0)
        kept = Past(5.0, 1, {TOOL_CALLS: [1, 8]})
        state.prune("p", kept, 10.0)
        assert state.watched("p") == Watched("p", [], [], kept)
        ((number, sink, _),) = state.undelivered()
        state.delivered(number)
        assert sink == "command"
        assert not state.undelivered()


def test_a_state_in_use_or_of_another_program_is_rejected(tmp_path):
    path = tmp_path / "state.sqlite"
    with State(path), pytest.raises(ConfigurationError, match="used by another"):
        State(path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE t (x)")
    base.close()
    with pytest.raises(ConfigurationError, match="another version"):
        State(other)
    (tmp_path / "text.sqlite").write_text("no database" * 200, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        State(tmp_path / "text.sqlite")


# --- Alerts


INCIDENT = Incident(
    1,
    "p & q",
    TOOL_CALLS,
    TOOL_CALLS,
    9 * HOUR,
    7 * HOUR,
    6 * HOUR,
    8 * HOUR,
    0.0132,
    (2, 400),
    (9, 24),
)
CONTENT = alert("p & q", [INCIDENT], [], "watch/runs/p-1")


@contextmanager
def receiver(status=200):
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/SECRET", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_alerts_are_worded_as_sentences():
    assert worse(INCIDENT) == (
        "Tool calls have failed more often since 1970-01-01 07:00 UTC (90 %: 1970-01-01 06:00 UTC "
        "to 1970-01-01 08:00 UTC): 9 of 24 (37.5 %); before, 2 of 400 (0.5 %). If nothing had "
        "changed, such evidence would appear within a month with a probability of at most 1.3 %."
    )
    rule = replace(INCIDENT, signal="tools", stream=RULE, since=8 * HOUR, earliest=8 * HOUR)
    assert worse(rule).startswith(
        f"{RULE} has failed more often since 1970-01-01 08:00 UTC: 9 of 24 rounds"
    )
    assert past(replace(rule, ended=10 * HOUR)) == (
        f"{RULE} failed more often from 1970-01-01 08:00 UTC to 1970-01-01 10:00 UTC: 9 of 24 "
        "rounds (37.5 %) until it was noticed; before, 2 of 400 rounds (0.5 %)."
    )
    assert ended(replace(INCIDENT, ended=10 * HOUR)) == (
        "Tool calls no longer fail more often than before; this was noticed at 1970-01-01 10:00 "
        "UTC. The incident began at 1970-01-01 07:00 UTC."
    )


def test_a_webhook_gets_json_or_a_slack_message():
    with receiver() as (url, received):
        assert Sinks(webhook=url).deliver("webhook", CONTENT) is None
        assert Sinks(webhook=url, form="slack").deliver("webhook", CONTENT) is None
    plain, slack = received
    assert plain["provider"] == "p & q"
    assert plain["event"] == "worse"
    assert plain["incidents"][0]["after"] == [9, 24]
    assert slack.keys() == {"text"}
    assert slack["text"].startswith("p &amp; q: Tool calls have failed")


def test_messages_about_webhooks_name_no_secrets():
    with receiver(status=500) as (url, _):
        assert "status 500" in (said := Sinks(webhook=url).deliver("webhook", CONTENT))
    gone = Sinks(webhook=url).deliver("webhook", CONTENT)
    assert "could not be reached" in gone
    assert "SECRET" not in said + gone
    with pytest.raises(ConfigurationError) as raised:
        Sinks(webhook="ftp://SECRET").check()
    assert "SECRET" not in str(raised.value)


def test_a_command_gets_the_alert_and_no_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    script = tmp_path / "hook.py"
    script.write_text(
        "import json, os, pathlib\n"
        "pathlib.Path(__file__).with_suffix('.json').write_text(json.dumps(dict(os.environ)))\n",
        encoding="utf-8",
    )
    sinks = Sinks(f"{sys.executable} '{script}'", hidden=("MY_KEY",))
    assert sinks.deliver("command", CONTENT) is None
    seen = json.loads(script.with_suffix(".json").read_text(encoding="utf-8"))
    assert (seen["ALERT_PROVIDER"], seen["ALERT_EVENT"]) == ("p & q", "worse")
    assert json.loads(seen["ALERT_JSON"]) == json.loads(CONTENT)
    assert "MY_KEY" not in seen
    assert "exit code 1" in Sinks("false").deliver("command", CONTENT)
    assert "could not be started" in Sinks("/no/such/command").deliver("command", CONTENT)


# --- Metrics and the page


def test_metrics_are_served_in_the_text_format():
    watched = Watched('p"', rounds(*healthy(2), BROKEN), [replace(INCIDENT, provider='p"')])
    metrics = Metrics()
    metrics.show(watched, SIGNALS)
    for one in watched.rounds:
        metrics.count(replace(one, provider='p"'))
    with metrics.served(0) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        with pytest.raises(ConfigurationError, match="--metrics-port"), metrics.served(port):
            pass
    lines = text.splitlines()
    assert 'gpt_oss_verify_tool_call_failures_total{provider="p\\""} 6.0' in lines
    assert 'gpt_oss_verify_incident_open{provider="p\\"",signal="tool calls"} 1.0' in lines
    assert lines.count("# TYPE gpt_oss_verify_incident_open gauge") == 1


def test_the_page_shows_incidents_and_rounds_and_runs_no_foreign_code():
    hostile = "<script>alert(1)</script>"
    watched = Watched(
        hostile, rounds(*healthy(60), BROKEN), [INCIDENT, replace(INCIDENT, ended=99.0)]
    )
    page = render_watch([watched, Watched("new")], HOUR, 0.05)
    assert hostile not in page
    assert "1 of 2 providers worse than before" in page
    assert "One round every hour." in page
    assert "at most 5.0 %" in page
    assert worse(INCIDENT).replace("&", "&amp;") in page
    assert 'href="runs/day/p-60/report.html"' in page
    assert RULE in page
    assert "Tool calls failed more often from 1970-01-01 07:00 UTC" in page
    assert page.count("<svg") == 3
