"""From recorded rollouts to the analysis of a run."""

import json

import pytest
import written
from analyses import analysis_of, planned
from healthy import SUITE, correct, json_response, rollout, stream_response
from replies import Reply, chat_blocks, chat_chunks, chat_whole

from harness.records.analysis import Analysis
from harness.records.rollouts import Response
from harness.records.settings import Thresholds
from harness.rules.catalogue import CHECKS
from harness.rules.evidence.rendering import bare_lengths
from harness.rules.prompt.probes import PROMPTS
from harness.run.cases import Case

CASES = SUITE.cases[:3]
SILENT = [Reply(text="I cannot do that.")]
CHAT = planned(apis=("chat",), modes=("non-streaming",), tries=4)


def attempts(passed, *, tries=4, skip=0):
    """Chat rollouts of the first three cases; the first `passed[i]` tries of case i succeed."""
    return [
        rollout(
            correct(case) if number <= count else SILENT,
            sample=case.id,
            attempt=number,
        )
        for case, count in zip(CASES, passed, strict=True)
        for number in range(1, tries + 1 - skip)
    ]


def asking(case, made):
    """The rollout as one at a case, with a conversation of its own."""
    turns = [{"role": "user", "content": case.id}]
    return written.asked(made, {"messages": turns}).model_copy(update={"sample": case.id})


def test_a_group_has_the_figures_of_its_attempts():
    (group,) = analysis_of(attempts([4, 3, 0]), CHAT).results
    assert (group.samples, group.tries, group.planned, group.finished) == (3, 4, 12, 12)
    assert group.outcomes == {"success": 7, "no_tool_call": 5}
    assert [round(each.pass_at.value, 4) for each in group.at_k] == [0.5833, 0.6667, 0.6667, 0.6667]
    assert [round(each.pass_hat.value, 4) for each in group.at_k] == [0.5833, 0.5, 0.4167, 0.3333]
    assert (group.invalid, group.exact) == (0, 7)
    assert (group.requests, group.tokens.input, group.tokens.output) == (19, 950, 456)


def test_at_k_equal_to_the_tries_the_rates_are_counts_of_any_and_all():
    (group,) = analysis_of(attempts([4, 3, 0]), CHAT).results
    assert group.at_k[-1].pass_at.value == pytest.approx(2 / 3)
    assert group.at_k[-1].pass_hat.value == pytest.approx(1 / 3)


def test_attempts_that_were_not_made_are_counted_beside_those_that_were():
    analysis = analysis_of(attempts([4, 4, 4], skip=1), CHAT)
    (group,) = analysis.results
    assert (group.planned, group.finished) == (12, 9)
    assert group.outcomes == {"success": 9, "not_run": 3}
    assert [(at.k, at.pass_at.value, at.pass_hat.value) for at in group.at_k] == [
        (1, 1.0, 1.0),
        (2, 1.0, 1.0),
        (3, 1.0, 1.0),
    ]
    assert "Of the tool calls so far, 9 of 9 (100.0%; 12 planned) passed." in (
        analysis.verdict.reasons
    )
    assert not analysis.complete
    assert analysis.verdict.decision == "inconclusive"


def test_every_api_and_mode_that_was_planned_is_a_group():
    analysis = analysis_of([])
    names = [group.name for group in analysis.results]
    assert names == [
        "responses · streaming",
        "responses · non-streaming",
        "chat · streaming",
        "chat · non-streaming",
    ]
    assert {group.finished for group in analysis.results} == {0}
    assert analysis.verdict.decision == "inconclusive"


def test_worst_cases_come_first_with_an_example():
    (result,) = analysis_of(attempts([4, 3, 0]), CHAT).results
    worst = result.failures
    assert result.failed == len(worst) == 2
    assert [(case.sample, case.passed, case.tries) for case in worst] == [
        (CASES[2].id, 0, 4),
        (CASES[1].id, 3, 4),
    ]
    assert worst[1].record == f"{CASES[1].id}/chat/non-streaming/4"
    assert worst[1].outcomes == {"success": 3, "no_tool_call": 1}
    assert worst[0].got == "I cannot do that."


def results(analysis):
    return {result.check.id: result for result in analysis.checks}


def test_every_check_has_a_result_and_what_failed_has_its_rate_and_examples():
    body = chat_whole(Reply(text="Done."))
    body["usage"]["total_tokens"] = 1
    broken = [
        rollout([correct(CASES[0])[0], json_response(body)], sample=CASES[0].id, attempt=number)
        for number in range(1, 5)
    ]
    analysis = analysis_of([*broken, *attempts([4, 4, 4])[4:]], CHAT)
    assert list(results(analysis)) == [
        name for name, rule in CHECKS.items() if not rule.of_readings
    ]
    result = results(analysis)["usage.sum"]
    assert (result.status, result.applicable, result.failures, result.findings) == (
        "failed", 12, 4, 4,
    )  # fmt: skip
    assert result.rate.value == pytest.approx(1 / 3)
    assert [example.evidence.record[-1] for example in result.examples] == ["1", "2", "3"]
    assert {example.evidence.exchange for example in result.examples} == {1}
    assert result.groups == ("chat · non-streaming",)
    assert results(analysis)["usage.reasoning"].status == "passed"
    assert (analysis.results[0].invalid, analysis.verdict.decision) == (4, "fail")
    assert analysis.results[0].failures[0].outcomes == {"invalid_response": 4}


def test_checks_that_judged_nothing_say_why():
    skipped = results(analysis_of(attempts([4, 4, 4]), CHAT))["responses.stream.terminal"]
    assert (skipped.status, skipped.applicable, skipped.rate) == ("skipped", 0, None)
    assert "chat · non-streaming" in skipped.reason
    unseen = results(analysis_of([], CHAT))["usage.sum"]
    assert (unseen.status, unseen.applicable) == ("not_verifiable", 0)
    assert unseen.reason


def test_a_check_with_few_enough_findings_passes_with_a_reason():
    quiet = rollout(
        [
            Reply(text="No."),
        ],
        sample=CASES[0].id,
    )
    body = chat_whole(Reply(text="No."))
    del body["choices"][0]["message"]["reasoning"]
    thoughtless = rollout([json_response(body)], sample=CASES[0].id)
    some = [thoughtless, quiet, quiet, quiet, quiet]
    rare = results(analysis_of(some, CHAT))["reasoning.missing"]
    assert (rare.status, rare.failures, rare.findings) == ("passed", 1, 1)
    assert "(3%" in rare.reason
    once = results(analysis_of([thoughtless] * 3, CHAT))["reasoning.missing"]
    assert once.status == "passed"  # a conversation counts once
    counted = {"completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 35}}
    lost = rollout([json_response({**body, "usage": body["usage"] | counted})], sample=CASES[0].id)
    assert results(analysis_of([lost, *some], CHAT))["reasoning.missing"].status == "failed"
    every = [asking(case, rollout([json_response(body)])) for case in CASES]
    assert results(analysis_of(every, CHAT))["reasoning.missing"].status == "failed"


def test_declared_limitations_neither_fail_nor_pass():
    ignored = written.chat({}, Reply(text="No."), {"tool_choice": "required"})
    ignored = ignored.model_copy(update={"sample": CASES[0].id})
    assert results(analysis_of([ignored], CHAT))["calls.choice"].status == "failed"
    provider = CHAT.info.provider.model_copy(update={"limitations": ("tool_choice",)})
    known = CHAT.info.model_copy(update={"provider": provider})
    declared = results(analysis_of([ignored], CHAT, info=known))["calls.choice"]
    assert (declared.status, declared.failures) == ("declared", 1)
    assert declared.reason == "The provider's entry says that it does not support tool_choice."
    assert results(analysis_of([ignored], CHAT, info=known))["usage.sum"].status == "passed"


def test_rollouts_are_compared_with_each_other():
    def saying(reply_id, prompt, number):
        body = chat_whole(Reply(text="No."))
        body["id"] = reply_id
        body["usage"] |= {"prompt_tokens": prompt, "total_tokens": prompt + 20}
        return rollout([json_response(body)], sample=CASES[0].id, attempt=number)

    found = results(analysis_of([saying("a", 50, 1), saying("b", 50, 2), saying("a", 51, 3)], CHAT))
    shared, differs = found["reply.id.shared"], found["usage.input.differs"]
    assert (shared.status, shared.failures, shared.applicable) == ("failed", 1, 3)
    assert (differs.status, differs.failures, differs.applicable) == ("warned", 1, 3)
    assert differs.examples[0].evidence.record.endswith("/3")
    assert (differs.examples[0].evidence.expected, differs.examples[0].evidence.got) == ("50", "51")


@pytest.mark.parametrize(
    ("varying", "expected"), [(0, "failed"), (1, "failed"), (2, "not_verifiable")]
)
def test_varying_prompt_tokens_of_identical_requests_are_not_verifiable(varying, expected):
    def asked(task, sample, prompt, number=1):
        body = chat_whole(Reply(text="No.", mark=f"{sample}{number}"))
        body["usage"] |= {"prompt_tokens": prompt, "total_tokens": prompt + 20}
        return rollout([json_response(body)], sample=sample, attempt=number, task=task)

    cases = [
        asked("tool_calling", case.id, 50 + number * (index < varying), number)
        for index, case in enumerate(CASES)
        for number in (1, 2)
    ]
    prompts = [asked("prompt", name, 50) for name in ("base", "tool")]
    run = planned(apis=("chat",), modes=("non-streaming",), only=("cases", "prompt.tool"))
    assert results(analysis_of([*cases, *prompts], run))["prompt.tool"].status == expected


@pytest.mark.parametrize(("more", "expected"), [(0, "passed"), (60, "warned")])
def test_unrequested_built_in_calls_are_attributed_to_the_model_if_not_in_the_prompt(
    more, expected
):
    calls = [asking(case, rollout([Reply(call=("python", "print(1)"))])) for case in CASES]
    body = chat_whole(Reply(text="Hi!", prompt=min(bare_lengths(PROMPTS["base"])) + more))
    bare = rollout([json_response(body)], sample="base", attempt=1, task="prompt")
    run = planned(apis=("chat",), modes=("non-streaming",), only=("cases", "prompt.bare"))
    assert results(analysis_of([*calls, bare], run))["calls.name.built_in"].status == expected


def test_prompt_counts_may_differ_with_built_in_tools():
    def searching(prompt, number):
        body = chat_whole(Reply(text="No.", mark=str(number)))
        body["usage"] |= {"prompt_tokens": prompt, "total_tokens": prompt + 20}
        made = rollout([json_response(body)], sample=CASES[0].id, attempt=number)
        return written.asked(made, {"tools": [{"type": "web_search"}]})

    found = results(analysis_of([searching(50, 1), searching(51, 2)], CHAT))["usage.input.differs"]
    assert found.status == "not_verifiable"


def test_strictness_and_thresholds_are_those_of_the_run_by_default():
    wrong = [
        rollout(
            [Reply(call=(case.tool_name, "{}")), Reply(text="Done.")], sample=case.id, attempt=n
        )
        for case in CASES
        for n in range(1, 5)
    ]
    assert analysis_of(wrong, CHAT).verdict.decision == "inconclusive"
    half = Thresholds(lower_rate=0.5)
    assert analysis_of(wrong, CHAT, thresholds=half).verdict.decision == "pass"
    assert analysis_of(attempts([4, 3, 0]), CHAT).verdict.decision == "fail"
    low = Thresholds(reference=0.6, lower_rate=0.1)
    lenient = analysis_of(attempts([4, 3, 0]), CHAT, thresholds=low)
    assert (lenient.verdict.decision, lenient.verdict.thresholds) == ("pass", low)


def test_rollouts_of_other_cases_are_ignored():
    stranger = rollout(correct(SUITE.cases[9]), sample=SUITE.cases[9].id)
    (group,) = analysis_of([stranger, *attempts([4, 4, 4])], CHAT).results
    assert group.finished == 12


def test_speed_of_streams_is_taken_from_the_arrival_of_their_events():
    info = planned(apis=("chat", "responses"), modes=("streaming",), tries=1)
    recorded = [
        rollout(correct(CASES[0]), sample=CASES[0].id, api=api, streaming=True)
        for api in ("chat", "responses")
    ]
    chat, responses = analysis_of(recorded, info).results
    assert chat.latency.first_token.p50 == pytest.approx(0.2)
    assert responses.latency.first_token.p50 > 0.2
    assert chat.latency.total.p50 == 2.0
    assert chat.latency.tokens_per_second is None


def test_the_rate_of_a_stream_leaves_out_the_time_to_its_first_token():
    role, *words, finish, usage = chat_chunks(Reply(text="x" * 30, reasoning=""))
    blocks = chat_blocks([role, *(words * 4), finish, usage])
    recorded = rollout([stream_response(blocks)], sample=CASES[0].id, streaming=True)
    info = planned(apis=("chat",), modes=("streaming",), tries=1)
    (group,) = analysis_of([recorded], info).results
    assert group.latency.first_token.p50 == pytest.approx(0.2)
    assert group.latency.tokens_per_second.p50 == pytest.approx(8 / 1.1)


def test_whole_replies_have_no_time_to_the_first_token():
    (group,) = analysis_of(attempts([4, 4, 4]), CHAT).results
    assert group.latency.first_token is None
    assert group.latency.total.count == 24


def test_the_same_records_give_the_same_analysis_and_it_survives_json():
    first, second = (analysis_of(attempts([4, 3, 0]), CHAT) for _ in range(2))
    assert first == second
    assert Analysis.model_validate_json(first.model_dump_json()) == first


def test_probes_that_were_added_after_a_run_are_not_missing_from_it() -> None:
    run = planned(only=("prompt",), apis=("chat",))
    (task,) = run.info.tasks
    info = run.info.model_copy(update={"tasks": (task.model_copy(update={"planned": 2}),)})
    known = rollout([Reply(text="Hi.")], sample="base", task="prompt")
    gone = rollout([Reply(text="Hi.")], sample="x", task="gone")
    whole = analysis_of([known, gone], run, info=info)
    assert (whole.complete, whole.probe_attempts, whole.probe_attempts_made) == (True, 2, 2)
    assert whole.tokens == whole.probe_tokens > 0
    assert whole.verdict.decision == "pass"
    probes = {each.check.id: each.status for each in whole.checks if each.check.kind == "probe"}
    assert probes.pop("prompt.bare") in {"warned", "not_verifiable"}  # needs no other request
    skipped = {name for name, status in probes.items() if status == "skipped"}
    assert skipped == {name for name in probes if name.startswith("prompt.instructions")}
    assert {probes[name] for name in probes.keys() - skipped} == {"not_verifiable"}
    cut_off = analysis_of([known], run, info=info)
    assert cut_off.verdict.reasons == ("1 of 2 planned attempts were not made.",)


def raw(*said: str) -> list[Response]:
    """Answers of a raw completions endpoint."""
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    return [
        json_response(
            {"id": "cmpl-1", "choices": [{"text": text, "finish_reason": "stop"}], "usage": usage}
        )
        for text in said
    ]


def calls(case: Case) -> str:
    arguments = json.dumps(dict(case.expected_arguments))
    header = f"<|channel|>commentary to=functions.{case.tool_name} <|constrain|>json"
    return f"{header}<|message|>{arguments}"


@pytest.mark.parametrize("component", ["API conversion", "engine"])
def test_the_component_at_fault_follows_from_harmony_and_chat(component: str) -> None:
    run = planned(apis=("chat", "harmony"), modes=("non-streaming",), tries=4)
    final = "<|channel|>final<|message|>All done."
    recorded = [
        rollout(
            raw(calls(case), final) if component == "API conversion" else raw(final),
            api="harmony",
            sample=case.id,
            attempt=number,
        )
        for case in CASES
        for number in range(1, 5)
    ]
    analysis = analysis_of([*attempts([0, 0, 0]), *recorded], run)
    passed = 12 if component == "API conversion" else 0
    assert [result.outcomes.get("success", 0) for result in analysis.results] == [0, passed]
    assert [each.component for each in analysis.diagnosis.components] == [component]
    assert (
        f"{passed} of 12 tool calls succeed over harmony" in analysis.diagnosis.components[0].text
    )
