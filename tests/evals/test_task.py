"""An eval as a task: the attempts it plans, how it scores them, and the figures from the scores."""

import json
from dataclasses import replace

import pytest
import reporting
from healthy import exchange, json_response
from healthy import rollout as recorded
from replies import Reply, chat_whole, responses_whole
from sample_evals import CONDITION, eval_task

from evals.baselines.baseline_verdict import with_grades
from evals.tally import curve_ks, vote
from harness.api.parsed_rollout import parse_rollout
from harness.errors import ConfigurationError
from harness.records.conditions import Condition
from harness.records.figures import BaselineVerdict
from harness.records.rollouts import Rollout, TransportFailure
from harness.records.scores import Score, UsedTokens
from harness.records.settings import Sampling
from harness.tasks.attempt_order import planned_attempts
from harness.tasks.task import not_run

# --- The plan

CONDITIONS = tuple(
    Condition(model=model, effort=effort, api="chat", mode="non-streaming")
    for model in ("openai/gpt-oss-20b", "b")
    for effort in ("low", "high")
)
AIME3, GPQA2 = (
    eval_task(name, conditions=CONDITIONS, tries=tries, extra_body={"provider": "x"})
    for name, tries in (("aime25", 3), ("gpqa", 2))
)
TASKS = (AIME3, GPQA2)


def ids():
    return [attempt.id for attempt in planned_attempts(TASKS)]


def test_every_question_gets_its_first_try_before_any_gets_a_second():
    numbers = [attempt.number for attempt in planned_attempts(TASKS)]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2, 3}


def test_the_planned_attempts_have_unique_ids():
    planned = sum(task.info.planned for task in TASKS)
    assert len(ids()) == len(set(ids())) == planned
    assert planned == 4 * (3 * len(AIME3.question_ids) + 2 * len(GPQA2.question_ids))


def empty_rollout(**fields):
    planned = {
        "id": "x",
        "task": "aime25",
        "sample": "S-01",
        "condition": CONDITIONS[0],
        "attempt": 1,
        "end": "failed",
        "exchanges": (),
    }
    return Rollout(**(planned | fields))


def test_every_planned_attempt_is_recognized_in_the_log():
    for attempt in AIME3.all_attempts():
        rollout = empty_rollout(
            sample=attempt.sample.id, condition=attempt.condition, attempt=attempt.number
        )
        score = AIME3.score(parse_rollout(rollout))
        assert (score.sample, score.condition, score.attempt) == (
            attempt.sample.id,
            attempt.condition,
            attempt.number,
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"sample": "S-99"},
        {"sample": ""},
        {"sample": "S-01/1"},
        {"attempt": 0},
        {"attempt": 4},
        {"condition": CONDITIONS[0].model_copy(update={"effort": "medium"})},
        {"condition": CONDITIONS[0].model_copy(update={"mode": "streaming"})},
    ],
)
def test_an_unplanned_rollout_has_no_score(fields):
    assert AIME3.score(parse_rollout(empty_rollout(**fields))) is None


def test_an_attempt_has_the_settings_of_its_condition():
    sampling = Sampling(temperature=0.5, seed=5, max_tokens=131_072)
    task = eval_task(
        "aime25",
        conditions=CONDITIONS,
        tries=3,
        sampling=sampling,
        seed=5,
        extra_body={"provider": "x"},
    )
    attempt = next(task.attempts(2))
    assert (attempt.id, attempt.number) == ("aime25/S-01/openai:gpt-oss-20b/low/2", 2)
    settings = attempt.settings
    assert (settings.model, settings.reasoning_effort) == ("openai/gpt-oss-20b", "low")
    assert (settings.temperature, settings.seed) == (0.5, 5)
    assert (settings.max_tokens, settings.extra_body) == (131_072, {"provider": "x"})
    assert attempt.sample.turns == task.test.prompt("S-01", 2).messages


def test_the_seed_that_chooses_questions_is_not_sent():
    assert next(eval_task("aime25", seed=5).all_attempts()).settings.seed is None


def test_examples_are_the_same_for_the_same_seed():
    def chosen(**options):
        return eval_task("gpqa", **options).question_ids

    assert chosen(examples=5, seed=1) == chosen(examples=5, seed=1) != chosen(examples=5, seed=2)
    assert set(chosen(examples=5)) < set(chosen(examples=9))
    with pytest.raises(ConfigurationError, match="--examples must be between 1 and"):
        chosen(examples=999)


# --- The score of a rollout

AIME, GPQA, HEALTH = (eval_task(name, tries=10) for name in ("aime25", "gpqa", "healthbench"))
REST = Reply(text="Rest.")
RIGHT = AIME.test.items["S-01"].answer


def scored(answer, *, api="chat", end="answered", task=AIME, question="S-01", number=1, **changes):
    condition = CONDITION.model_copy(update={"api": api})
    here = eval_task(task.name, conditions=[condition], tries=10) if api != "chat" else task
    rollout = recorded(
        [answer], api=api, end=end, attempt=number, sample=question, task=task.name, effort="low"
    )
    return here.score(parse_rollout(rollout.model_copy(update=changes)))


def chat(**changes):
    whole = chat_whole(Reply(text=rf"\boxed{{{RIGHT}}}"))
    choice = whole["choices"][0]
    choice["finish_reason"] = changes.pop("finish", "stop")
    choice["message"] |= changes
    return json_response(whole)


def responses(parts):
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    return json_response(responses_whole(Reply(), [{**item, "content": parts}]))


FAILED = exchange("chat", False, None, failure=TransportFailure(kind="timeout", message="no"))


@pytest.mark.parametrize(
    ("answer", "api", "end", "outcome", "value"),
    [
        (Reply(text=rf"\boxed{{{RIGHT}}}"), "chat", "answered", "correct", 1.0),
        (Reply(text=rf"\boxed{{{RIGHT}}}"), "responses", "answered", "correct", 1.0),
        (Reply(text=r"\boxed{999}"), "chat", "answered", "wrong", 0.0),
        (Reply(text="I do not know."), "chat", "answered", "unread", 0.0),
        (Reply(text="  "), "chat", "answered", "no_answer", 0.0),
        (Reply(call=("browser", "{}")), "chat", "max_turns", "no_answer", 0.0),
        (Reply(text="I’m sorry, but I can’t help with that."), "chat", "answered", "refused", 0.0),
        (chat(content=None, refusal="No."), "chat", "answered", "refused", 0.0),
        (responses([{"type": "refusal", "refusal": "No."}]), "responses", "answered", "refused", 0),
        (chat(finish="content_filter"), "chat", "answered", "refused", 0.0),
        (chat(finish="length"), "chat", "answered", "truncated", 0.0),
        (json_response({"error": {"message": "no"}}, 500), "chat", "failed", "provider_error", 0.0),
        (json_response("{oops"), "chat", "unreadable", "provider_error", 0.0),
        (FAILED, "chat", "failed", "provider_error", 0.0),
    ],
)
def test_each_ending_of_an_attempt_has_its_outcome(answer, api, end, outcome, value):
    found = scored(answer, api=api, end=end)
    assert (found.outcome, found.value) == (outcome, value)
    assert found.detail or outcome in {"correct", "wrong", "unread", "refused"}


@pytest.mark.parametrize(
    ("answer", "end", "wanted"),
    [
        (
            Reply(text="I do not know.", reasoning=rf"It is \boxed{{{RIGHT}}}."),
            "answered",
            (None, 0.0, 0.0, 22),
        ),
        (Reply(text=rf"\boxed{{\text{{{RIGHT}}}}}"), "answered", (str(RIGHT), 1.0, 0.0, 26)),
        (json_response({}, 500), "failed", (None, 0.0, 0.0, None)),
    ],
)
def test_both_extractors_read_the_answer_and_never_the_cot(answer, end, wanted):
    found = scored(answer, end=end)
    assert (found.answer, found.value, found.openai_value, found.usage.output) == wanted


def test_tokens_and_time_are_those_the_provider_reports():
    found = scored(Reply(text="1"))
    assert (found.usage.output, found.usage.reasoning, found.seconds) == (20, 9, 2.0)


def test_a_letter_is_scored_by_the_choice_order_of_its_attempt():
    question = GPQA.question_ids[0]
    for number in range(1, 9):
        order = GPQA.test.prompt(question, number).order
        letter = "ABCD"[order.index(0)]
        found = scored(Reply(text=f"Answer: {letter}"), task=GPQA, question=question, number=number)
        assert (found.outcome, found.order) == ("correct", order)


def test_a_merged_run_keeps_the_choice_order_of_each_request():
    question = GPQA.question_ids[0]
    order = GPQA.test.prompt(question, 2).order
    answer = Reply(text=f"Answer: {'ABCD'[order.index(0)]}")
    found = scored(answer, task=GPQA, question=question, number=10, presented_as=2)
    assert (found.outcome, found.attempt, found.order) == ("correct", 10, order)


def test_healthbench_answers_are_graded_or_a_grader_error():
    question = HEALTH.question_ids[0]
    items = HEALTH.test.rows[question].items

    def graded(met, answer=REST, end="answered"):
        task = eval_task("healthbench", tries=10)
        task._verdicts = {f"{question}/chat/non-streaming/1": met}
        return task.with_grade(scored(answer, task=task, question=question, end=end))

    good = graded({item.id: item.points > 0 for item in items})
    assert (good.outcome, good.value, good.openai_value) == ("graded", 1.0, None)
    faults = graded({item.id: item.points < 0 for item in items})
    gains = [item.text for item in items if item.points > 0]
    lost = [f"not met: {text}" for text in gains]
    lost += [f"met: {item.text}" for item in items if item.points < 0]
    assert sorted(faults.got.splitlines()) == sorted(lost)
    one = graded({item.id: item.text in gains[1:] for item in items})
    assert one.got.splitlines()[0] == f"not met: {gains[0]}"  # what cost points stands first
    ungraded = graded({})
    assert ungraded.outcome == "grader_error"
    assert f"{len(items)} of {len(items)} rubric items without a grade" in ungraded.detail
    failed = graded({}, json_response(json.dumps({})), "unreadable")
    assert (failed.outcome, failed.value) == ("provider_error", 0.0)


# --- The figures


def score(question, number, outcome="correct", **more):
    value = float(outcome == "correct")
    fields = {
        "record": f"gpqa/{question}/{number}",
        "task": "gpqa",
        "sample": question,
        "condition": CONDITION,
        "attempt": number,
        "outcome": outcome,
        "value": value,
        "openai_value": value,
        "usage": UsedTokens(input=50, output=100, reasoning=80),
    }
    return Score(**(fields | more))


def task_of(tries=2, questions=("a", "b"), **options):
    """GPQA with other names of questions."""
    task = eval_task("gpqa", tries=tries, examples=len(questions), **options)
    task.question_ids = questions
    return task


def result(*scores, tries=2, questions=("a", "b")):
    (found,) = task_of(tries, questions).results(scores)
    return found


def missing(question, number):
    return replace(score(question, number, "not_run"), openai_value=None, usage=UsedTokens())


def test_every_attempt_that_was_made_is_in_the_denominator():
    found = result(score("a", 1), score("a", 2), score("b", 1, "truncated"), missing("b", 2))
    assert found.openai_score == 2 / 3
    assert found.score.estimate.value == 0.5  # the mean over questions
    assert (found.planned, found.finished) == (4, 3)
    assert found.outcomes == {"correct": 2, "truncated": 1, "not_run": 1}


def test_values_are_in_the_order_of_attempts_regardless_of_the_log():
    task = task_of()
    scores = [score("a", 2), score("a", 1, "wrong"), score("b", 1)]
    found = task.eval_scores(CONDITION, task.tallies(scores)[CONDITION])
    assert (found.scores, found.rounds) == ({"a": (0.0, 1.0), "b": (1.0,)}, 1)
    assert found.missing == 1
    assert found.filled(0.0, 2).scores == {"a": (0.0, 1.0), "b": (1.0, 0.0)}


@pytest.mark.parametrize(("reading", "values"), [("ours", (1.0, 0.0)), ("openai", (0.0, 0.0))])
def test_a_baseline_is_compared_with_the_reading_that_it_was_measured_with(
    reading, values, monkeypatch
):
    class Baseline:
        def reference(self, scores):
            return f"{scores.scores['a']}."

    Baseline.reading = reading
    monkeypatch.setattr("evals.task.choose_baseline", lambda _: Baseline())
    found = result(score("a", 1, openai_value=0.0), score("a", 2, "wrong"), questions=("a",))
    assert found.baseline.reason.endswith(f"not compared: {values}.")
    assert (found.score.estimate.value, found.openai_score) == (0.5, 0.0)


def test_figures_at_k():
    found = result(score("a", 1), score("a", 2), score("b", 1), score("b", 2, "no_answer"))
    assert [at.k for at in found.at_k] == [1, 2]
    assert (found.at_k[1].pass_at.value, found.at_k[1].pass_hat.value) == (1.0, 0.5)
    assert found.at_k[1].majority == 1.0


@pytest.mark.parametrize(
    ("tries", "sizes"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (16, [1, 2, 4, 8, 16]),
                         (5, [1, 2, 4, 5])],
)  # fmt: skip
def test_k_is_reported_at_powers_of_two_and_at_the_number_of_tries(tries, sizes):
    assert curve_ks(tries) == sizes


def test_votes_are_counted_by_choice_not_by_letter():
    first = score("a", 1, "wrong", answer="A", order=(2, 0, 1, 3))
    assert vote(first) == vote(score("a", 2, "wrong", answer="D", order=(1, 0, 3, 2))) == "choice 2"
    assert vote(score("a", 3, "correct", answer="B", order=(2, 0, 1, 3))) == "right"
    assert vote(score("a", 4, "wrong", answer="17")) == "17"
    assert vote(score("a", 5, "truncated", answer="A")) is None


def test_two_attempts_at_the_same_wrong_choice_outvote_one_right_one():
    wrong = [
        score("a", 1, "wrong", answer="A", order=(2, 0, 1, 3)),
        score("a", 2, "wrong", answer="D", order=(1, 0, 3, 2)),
    ]
    assert result(*wrong, score("a", 3), tries=3, questions=("a",)).at_k[-1].majority == 0.0


def test_reasoning_tokens_are_counted_separately_from_answer_tokens():
    found = result(score("a", 1), score("b", 1, usage=UsedTokens(unreported=1)))
    assert (found.tokens.output, found.tokens.unreported) == (100, 1)
    assert (found.tokens.reasoning_each.p50, found.tokens.answer_each.p50) == (80, 20)


def test_failed_questions_reference_a_failed_attempt():
    (failed,) = result(
        score("a", 1), score("a", 2), score("b", 1), score("b", 2, "refused", detail="No.")
    ).failures
    assert (failed.sample, failed.mean, failed.outcome) == ("b", 0.5, "refused")
    assert failed.record.endswith("b/2")


@pytest.mark.parametrize(("examples", "graded"), [(1, 0), (2, 0), (2, 1), (2, 2)])
def test_only_wholly_graded_attempts_have_a_score(examples, graded):
    task = eval_task("healthbench", tries=1, examples=examples)
    attempts = task.all_attempts()
    scores = []
    for place, attempt in enumerate(attempts):
        items = task.test.rows[attempt.sample.id].items
        known = items if place < graded else items[:-1]
        task._verdicts[attempt.id] = {item.id: item.points > 0 for item in known}
        scores.append(task.with_grade(replace(not_run(attempt), outcome="graded")))
    (found,) = task.results(scores)
    whole = found.score and (found.score.estimate.value, found.score.tries)
    assert whole == ((1.0, graded) if graded else None)
    assert [each.value for each in scores] == [1.0] * graded + [None] * (examples - graded)
    assert (found.is_eval, found.failed, found.rubric.grader_errors) == (
        True,
        0,
        examples - graded,
    )
    reason = found.baseline.reason
    assert (f"({graded} of {examples} attempts count)" in reason) == (graded < examples)


def verdict(decision):
    return BaselineVerdict(decision=decision, reason="good")


@pytest.mark.parametrize(
    ("worst", "best", "errors", "decision"),
    [
        ("pass", "pass", 1, "pass"),
        ("inconclusive", "pass", 1, "inconclusive"),
        ("fail", "pass", 1, "inconclusive"),
        ("pass", "pass", 0, "pass"),
    ],
)
def test_ungraded_items_make_the_verdict_inconclusive_if_they_can_change_it(
    worst, best, errors, decision
):
    task = eval_task("healthbench", tries=1, examples=1)
    rubric = reporting.rubric().model_copy(
        update={"grader_errors": errors, "ungraded_items": errors}
    )
    own = task.eval_scores(CONDITION, task.tallies()[CONDITION])
    found = with_grades(verdict(worst), verdict(best), own, rubric)
    assert found.decision == decision
    assert f"{errors} of 40 rubric items" in found.reason
