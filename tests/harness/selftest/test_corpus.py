"""The recorded healthy run, and faults applied to it."""

from dataclasses import replace
from time import process_time

import pytest
from corpus import damaged, healthy

from harness.records.rollouts import Exchange, Rollout


def test_nothing_in_the_healthy_run_is_accused() -> None:
    """No error, no warning, and no cause; nearly all requests of today are in it.

    If not, `--resume` of the unpacked run, without those that `healthy` leaves out, adds them.
    """
    run = healthy()
    judgement = run.judged()
    assert (judgement.causes, judgement.rules()) == ((), frozenset())
    assert len(run.rollouts) >= 0.97 * sum(task.info.planned for task in run.tasks)


def test_a_fault_changes_the_replies_that_it_affects_and_no_others() -> None:
    """The missing `[DONE]` accuses every Chat stream, and nothing else."""
    # A stream that the client leaves has no end; no check judges one that may be refused.
    kept = tuple(one for one in healthy().rollouts if one.task not in ("leaving", "options"))
    run = replace(healthy(), rollouts=kept)
    rollouts = damaged(run.rollouts, "done-missing")
    changed = {new.id for new, old in zip(rollouts, run.rollouts, strict=True) if new is not old}
    judgement = run.judged(rollouts)
    assert judgement.verdict == "fail"
    assert judgement.rules("error") == {"chat.stream.done"}
    assert judgement.accused("error") == changed
    streamed = {
        one.id
        for one in run.rollouts
        if any(each.response and each.response.parts for each in one.exchanges)
    }
    assert changed == {
        one.id for one in run.rollouts if one.condition.api == "chat" and one.id in streamed
    }


def test_an_attempt_ends_where_the_changed_reply_ends_it() -> None:
    """Without its call, a reply is the last one of its attempt."""
    lost = damaged(healthy().rollouts, "calls-dropped-reason-kept")
    shorter = [
        (new, old)
        for new, old in zip(lost, healthy().rollouts, strict=True)
        if len(new.exchanges) < len(old.exchanges)
    ]
    assert shorter
    assert {new.end for new, _ in shorter} == {"answered"}


def test_what_damages_replies_without_a_schema_explains_answers_that_break_theirs() -> None:
    run = healthy()
    judgement = run.judged(damaged(run.rollouts, "texts-so-far-in-chunks"))
    assert "answer.json" in judgement.rules("error")
    assert judgement.causes[0] == "text"
    assert "structured" not in judgement.causes


@pytest.mark.parametrize(
    ("fault", "rules", "cause"),
    [
        ("prompt-tokens-without-cached", "usage.input.cached", "usage"),
        ("forced-calls-as-cut-cot", "finish.early", "ends"),
        ("budget-sentence-in-answers", "text.added", "text"),
        ("names-in-every-fragment", "chat.stream.tool_calls", "events"),
        ("alternatives-named-as-sampled", "logprobs.values", "logprobs"),
        ("repeated-prompts-degenerate", "reply.degenerates", "shared"),
        ("final-response-empty", "responses.stream.final", "events"),
        ("calls-dropped-as-stops", "reply.lost", "output"),
        ("rejected-drafts-counted", "usage.output.miscounted", "usage"),
        ("arguments-of-another-call:1", "reply.foreign", "shared"),
        ("empty-members-dropped", "chat.schema", "format"),
    ],
)
def test_a_fault_of_a_stage_names_it_and_no_reply_without_it(fault, rules, cause):
    """Its component is the first cause; what it does not change is accused of nothing."""
    run = healthy()
    rollouts = damaged(run.rollouts, fault)
    changed = {new.id for new, old in zip(rollouts, run.rollouts, strict=True) if new is not old}
    judgement = run.judged(rollouts)
    assert judgement.rules("error") >= {*rules.split()}
    assert judgement.causes[0] == cause
    assert judgement.accused() <= changed


@pytest.mark.parametrize("exchanged", [2, 1])
def test_the_answer_that_another_request_determines_is_foreign_in_two_replies(exchanged):
    """One such answer may be a mistake of the model."""
    run = healthy()
    texts = [f"echo/{name}/chat/non-streaming/1" for name in ("number", "capitals")]
    one, other = (each for each in run.rollouts if each.id in texts)
    made = {
        own.id: own.model_copy(update={"exchanges": (_with_reply(own, of),)})
        for own, of in ((one, other), (other, one))[:exchanged]
    }
    judgement = run.judged([made.get(each.id, each) for each in run.rollouts])
    errors = {one.record for one in judgement.findings if one[:2] == ("reply.foreign", "error")}
    assert errors == (set(texts) if exchanged > 1 else set())


def test_what_a_probe_accuses_is_explained_where_each_of_its_replies_has_another_finding():
    """Only one of the tries of its request is damaged, beside replies to three other requests."""
    run = healthy()
    ids = {"structured/abroad/responses/non-streaming/1", "echo/emoji/chat/streaming/1"}
    ids |= {f"sampling/fresh {number} 5/chat/non-streaming/1" for number in (1, 2)}
    changed = [
        damaged([each], "bytes-as-latin-1")[0] if each.id in ids else each for each in run.rollouts
    ]
    judgement = run.judged(changed)
    assert "structured.characters" in judgement.rules("error")
    assert judgement.causes == ("text",)


def _with_reply(rollout: Rollout, other: Rollout) -> Exchange:
    return rollout.exchanges[0].model_copy(update={"response": other.exchanges[0].response})


def test_judging_takes_at_most_three_times_its_usual_time() -> None:
    """Of a run without any empty members; the types of bodies are compared error by error."""
    run, seconds = healthy(), []
    for fault in ("prompt-tokens-without-cached", "empty-members-dropped"):
        rollouts = damaged(run.rollouts, fault)
        began = process_time()
        run.judged(rollouts)
        seconds.append(process_time() - began)
    assert seconds[1] < 3 * seconds[0]
