"""The rows of attempts: what they show, and which of them a reader chooses."""

import pytest
from healthy import exchange, json_response
from recorded_runs import broken
from replies import Reply
from reporting import condition, finding, rollout, score

from reports.view.rows import REFUSED, Choice, Row, said_in

STREAMED = condition("responses", "streaming")


def row(made, answers=(), of_probes=()):
    found = Row.of(made)
    found.judge(made, of_probes)
    if answers:
        found.said = said_in(rollout(made, list(answers)))
    return found


ROWS = {
    "good": row(score("weather"), [Reply(call=("weather", "{}")), Reply(text="Sunny in Lisbon.")]),
    "streamed": row(score("chart", 2, condition=STREAMED), [Reply(text="A chart.")]),
    "failed": row(
        score("chart", 1, "no_tool_call", seconds=9.0), [Reply(text="I am sorry, I cannot.")]
    ),
    "broken": row(score("time", 1, "invalid_response", findings=(finding("time"),))),
    "probed": row(score("limit", 1, "provider_error", task="limits", value=None)),
}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, [*ROWS]),
        ({"api": "responses"}, ["streamed"]),
        ({"mode": "non-streaming"}, ["good", "failed", "broken", "probed"]),
        ({"outcome": "no_tool_call"}, ["failed"]),
        ({"rule": "usage.sum"}, ["broken"]),
        ({"rule": "usage"}, []),
        ({"sample": "CHART"}, ["streamed", "failed"]),
        ({"sample": "tool calling/time"}, ["broken"]),
        ({"text": "lisbon"}, ["good", "streamed", "failed"]),  # in the question
        ({"text": "sorry, i"}, ["failed"]),
        ({"text": " is not the sum "}, ["broken"]),
        ({"text": "limit"}, ["probed"]),
        ({"only": "findings"}, ["broken"]),
        ({"only": "failed"}, ["failed", "broken"]),  # what a probe provokes is no failure
        ({"only": "?", "order": "?", "unknown": "x"}, [*ROWS]),
        ({"api": "chat", "only": "failed", "text": "sorry"}, ["failed"]),
        ({"order": "sample"}, ["probed", "failed", "streamed", "broken", "good"]),
    ],
)
def test_a_choice_takes_the_rows_with_all_that_it_names(query, names):
    chosen = Choice.of(query).rows(list(ROWS.values()))
    assert [name for each in chosen for name, known in ROWS.items() if known is each] == names


def test_the_slowest_come_first_and_unknown_times_last():
    times = [each.seconds for each in Choice.of({"order": "seconds"}).rows(list(ROWS.values()))]
    known = [seconds for seconds in times if seconds is not None]
    assert known == sorted(known, reverse=True)
    assert times[len(known) :] == [None] * (len(times) - len(known))


def test_a_row_shows_the_question_the_last_reply_and_what_went_wrong():
    shown = ROWS["good"].shown()
    assert shown["request"] == "What is the weather in Lisbon?"
    assert shown["reply"] == "Sunny in Lisbon."
    assert (shown["outcome"], shown["tone"]) == ("success", "good")
    assert (shown["seconds"], shown["tokens"]) == (4.0, 40)
    assert ROWS["broken"].shown()["findings"] == [["usage.sum", "error"]]


@pytest.mark.parametrize(
    ("answer", "reply", "trouble"),
    [
        (Reply(call=("weather", '{"city": 1}')), 'weather {"city": 1}', ""),
        (Reply(text="", reasoning="Only thought."), "(no text)", ""),
        (json_response({"error": "no"}, 400), 'status 400: {"error": "no"}', "status 400"),
        (broken("timeout"), "No answer within 60 s.", "timeout"),
    ],
)
def test_the_reply_of_a_row_is_what_came_in_the_end(answer, reply, trouble):
    said = said_in(rollout(score("weather"), [answer]))
    assert (said.reply, said.trouble) == (reply, trouble)


def test_a_probe_that_provokes_a_refusal_shows_its_status_without_a_tone():
    refused = score("limit", 1, "provider_error", task="limits", value=None)
    found = row(refused, [exchange("chat", False, json_response({"error": "no"}, 400))])
    assert found.outcome == ("status 400", "")
    assert [found.kind, ROWS["probed"].kind] == [REFUSED, "provider_error"]


def test_findings_of_probes_are_added_once():
    own, other = finding("time"), finding("time", "cot.used")
    judged = row(score("time", findings=(own,)), of_probes=(own, other))
    assert [each.id for each in judged.findings] == ["usage.sum", "cot.used"]


def test_an_attempt_without_a_request_has_a_row():
    said = said_in(rollout(score("weather"), []))
    assert (said.request, said.reply, said.seconds) == ("", "", 0)
