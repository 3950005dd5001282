"""The rules by which a recorded try gets its outcome and score."""

import json

import pytest
from evals.plan import Try
from evals.records import Cell
from evals.scoring import score_try
from healthy import Say, chat_whole, exchange, json_response, responses_whole
from healthy import rollout as recorded
from sample_evals import load_eval

from harness.records.rollouts import TransportFailure

AIME = load_eval("aime25")
GPQA = load_eval("gpqa")
HEALTH = load_eval("healthbench")
RIGHT = AIME._rows["S-01"].answer


def try_of(name, question, number=1):
    return Try(Cell(eval=name, model="m", effort="low"), question, number)


def score(answer, *, api="chat", end="answered", test=AIME, question="S-01", number=1, met=None):
    rollout = recorded([answer], api=api, end=end, attempt=number)
    return score_try(try_of(test.name, question, number), rollout, test, met)


def chat(**changes):
    whole = chat_whole(Say(text=rf"\boxed{{{RIGHT}}}"))
    choice = whole["choices"][0]
    choice["finish_reason"] = changes.pop("finish", "stop")
    choice["message"] |= changes
    return json_response(whole)


def responses(parts):
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    return json_response(responses_whole(Say(), [{**item, "content": parts}]))


FAILED = exchange("chat", False, None, failure=TransportFailure(kind="timeout", message="no"))


@pytest.mark.parametrize(
    ("answer", "api", "end", "outcome", "points"),
    [
        (Say(text=rf"\boxed{{{RIGHT}}}"), "chat", "answered", "correct", 1.0),
        (Say(text=rf"\boxed{{{RIGHT}}}"), "responses", "answered", "correct", 1.0),
        (Say(text=r"\boxed{999}"), "chat", "answered", "wrong", 0.0),
        (Say(text="I do not know."), "chat", "answered", "no_answer", 0.0),
        (Say(text="  "), "chat", "answered", "no_answer", 0.0),
        (Say(call=("browser", "{}")), "chat", "max_turns", "no_answer", 0.0),
        (Say(text="I’m sorry, but I can’t help with that."), "chat", "answered", "refused", 0.0),
        (chat(content=None, refusal="No."), "chat", "answered", "refused", 0.0),
        (responses([{"type": "refusal", "refusal": "No."}]), "responses", "answered", "refused", 0),
        (chat(finish="content_filter"), "chat", "answered", "refused", 0.0),
        (chat(finish="length"), "chat", "answered", "truncated", 0.0),
        (json_response({"error": {"message": "no"}}, 500), "chat", "failed", "provider_error", 0.0),
        (json_response("{oops"), "chat", "unreadable", "provider_error", 0.0),
        (FAILED, "chat", "failed", "provider_error", 0.0),
    ],
)
def test_each_way_to_end_has_its_outcome(answer, api, end, outcome, points):
    found = score(answer, api=api, end=end)
    assert (found.outcome, found.score) == (outcome, points)
    assert found.detail or outcome in {"correct", "wrong", "no_answer", "refused"}


def test_the_cot_is_never_marked():
    found = score(Say(text="I do not know.", reasoning=rf"It is \boxed{{{RIGHT}}}."))
    assert (found.outcome, found.answer, found.openai_score) == ("no_answer", None, 0.0)


def test_both_scores_are_kept_where_extractors_differ():
    found = score(Say(text=rf"\boxed{{\text{{{RIGHT}}}}}"))
    assert (found.score, found.openai_score) == (1.0, 0.0)


def test_a_failed_try_scores_nothing_by_either_script():
    found = score(json_response({}, 500), end="failed")
    assert (found.score, found.openai_score, found.output_tokens) == (0.0, 0.0, None)


def test_tokens_and_time_are_the_providers():
    found = score(Say(text="1"))
    assert (found.output_tokens, found.reasoning_tokens, found.seconds) == (20, 9, 2.0)


def test_a_letter_is_marked_in_the_order_of_its_own_try():
    question = GPQA.questions[0].id
    for number in range(1, 9):
        order = GPQA.put(question, number).order
        letter = "ABCD"[order.index(0)]
        found = score(Say(text=f"Answer: {letter}"), test=GPQA, question=question, number=number)
        assert (found.outcome, found.order) == ("correct", order)


def test_in_a_merged_run_the_order_is_still_that_of_the_record():
    question = GPQA.questions[0].id
    order = GPQA.put(question, 2).order
    rollout = recorded([Say(text=f"Answer: {'ABCD'[order.index(0)]}")], attempt=2)
    found = score_try(try_of("gpqa", question, 10), rollout, GPQA)
    assert (found.outcome, found.number, found.order) == ("correct", 10, order)


def test_health_answers_are_graded_or_the_graders_error():
    question = HEALTH.questions[0].id
    items = HEALTH.rows[question].items
    everything_good = {item.id: item.points > 0 for item in items}
    whole = score(Say(text="Rest."), test=HEALTH, question=question, met=everything_good)
    assert (whole.outcome, whole.score, whole.openai_score) == ("graded", 1.0, None)
    part = score(Say(text="Rest."), test=HEALTH, question=question, met={})
    assert part.outcome == "grader_error"
    assert f"{len(items)} of {len(items)} rubric items without a grade" in part.detail
    cut = score(json_response(json.dumps({})), test=HEALTH, question=question, end="unreadable")
    assert (cut.outcome, cut.score) == ("provider_error", 0.0)
