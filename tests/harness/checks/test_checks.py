"""What all checks say about a reply: a healthy one, one with a fault, and hostile data."""

import ast
import re
from functools import partial
from pathlib import Path

import pytest
from analyses import planned, scored
from examined import details
from healthy import SUITE, correct, json_response, rollout, stream_response
from judged_replies import ANSWER, BY_FAULT, CALL, ROWS, Judged, told
from pydantic import TypeAdapter
from replies import Reply, chat_blocks, chat_chunks, chat_whole, counts, responses_whole
from written import ABSENT, chat, faulty, responses_stream

from harness.api.parsed_rollout import parse_rollout
from harness.records.analysis import RuleResult
from harness.records.scores import Score
from harness.repeat import commands
from harness.repeat.subject import Subject
from harness.rules import catalogue
from harness.rules.catalogue import CHECKS, RULES
from harness.rules.check import AccountRule
from harness.rules.probe import ProbeOptions
from harness.rules.text.checks import misread
from harness.run.run_folder import COMPARED
from reference_engine.faults.catalogue import CATALOGUE

OF_FAULTS = [
    (lambda kind=kind, reply=reply, fault=fault: faulty(kind({}, reply), fault), found)
    for (kind, reply), faults in BY_FAULT.items()
    for fault, found in faults.items()
]


def found(answers, api="chat", streaming=False):
    return catalogue.examine(parse_rollout(rollout(answers, api=api, streaming=streaming)))[1]


def judged(rollouts):
    """The scores of strict tool calling, as they are written to the folder."""
    run = planned(strict=True, tries=1, only=("cases",), suite=SUITE)
    dump = TypeAdapter(Score).dump_python
    scores = [each for each in scored(rollouts, run) if each.finished]
    return [dump(each, mode="json", exclude=COMPARED) for each in scores]


@pytest.mark.parametrize("row", [*ROWS, *OF_FAULTS])
def test_nothing_else_is_found_in_a_reply(row: Judged):
    recording, expected = row
    assert told(recording(), expected) == {*expected.split()}


# --- Healthy


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("case", SUITE.cases, ids=lambda case: case.id)
def test_healthy_replies_have_no_findings(api, streaming, case):
    assert found(correct(case), api=api, streaming=streaming) == ()


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_rejected_request_is_reported(api):
    refused = json_response({"error": {"message": "no CoT, please"}}, status=400)
    (finding,) = found([CALL, refused], api=api)
    assert (finding.id, finding.evidence.exchange) == ("request.refused", 1)
    assert "no CoT, please" in finding.evidence.got


def test_kinds_of_refusals_are_told_apart_by_what_decides():
    """Foundry Local 2.2's errors begin with the signature of a C++ function."""

    def refused(reason):
        text = f"generate failed: {'std::vector<int64_t> ' * 30}{reason}"
        bodies = {"error": {"message": text}}, {"detail": text}
        problems = [found([json_response(body, status=400)])[0] for body in bodies]
        assert all(each.evidence.got.endswith(reason) for each in problems)
        return {each.message for each in problems}

    (first,) = refused("request a1 has too few tokens: 97")
    (again,) = refused("request b2 has too few tokens: 102")
    (other,) = refused("a tool has no grammar")
    assert first == again != other


def test_error_messages_are_shortened_for_reports():
    reply = Reply(call=("f" * 1_000_000, "{"), call_id="")
    assert 0 < max(map(len, [finding.message for finding in found([reply])])) < 400


def test_the_text_of_an_issue_has_what_each_finding_names(monkeypatch):
    """An event, in a long one the member that its path names, or this member of a response."""
    monkeypatch.setattr(commands, "_MOST_LINES", 8)
    monkeypatch.setattr(commands, "_LONGEST_LINE", 200)
    shown = set()
    for recording in {found: make for make, found in (*ROWS, *OF_FAULTS)}.values():
        for finding in details(recorded := recording()):
            about, at = RULES[finding.id].about, finding.evidence
            result = RuleResult(check=about, status="failed", applicable=1, failures=1, findings=1)
            subject = Subject(result, finding, recorded, (), ProbeOptions("m", ("chat",)))
            text = commands.issue(subject, ["curl"], commands.Outcome()).partition("## Response")[2]
            response = recorded.exchanges[at.exchange].response
            named = [f'"{name}": ' for name in re.findall(r"[a-z]\w+", at.path or "")[-1:]]
            if at.event is not None and not any(f"{each.strip()}{{" in text for each in named):
                named = [line[:90] for line in response.parts[at.event].raw.splitlines()[:1]]
            for part in named:
                if part in response.text:
                    assert part in text, finding
                    shown.add(finding.id)
    assert len(shown) > 50


def test_a_changed_item_of_the_final_response_is_reported_with_the_difference():
    examined = parse_rollout(responses_stream({"-1.response.output.1.arguments": "{}"}, CALL))
    found = [each for each in catalogue.examine(examined)[1] if each.id == "responses.stream.final"]
    (evidence,) = [each.evidence for each in found]
    assert evidence.got == "{'arguments': '{}'}"
    assert set(ast.literal_eval(evidence.expected)) == {"arguments"}


def test_the_message_on_a_missing_field_is_a_sentence():
    recorded = parse_rollout(chat({"choices.0.index": ABSENT}, ANSWER))
    (finding,) = [each for each in catalogue.examine(recorded)[1] if each.id == "chat.schema"]
    assert finding.message == "The required field $.choices[0].index is missing."
    assert finding.evidence.expected == "a required field"
    assert finding.evidence.got == "no such field"


@pytest.mark.parametrize(
    ("usage", "message", "got"),
    [
        (None, "The reply lacks token counts.", "none"),
        ("many", "The reply lacks token counts.", "usage is a string"),
        ({"output_tokens": 5}, "The usage lacks input_tokens.", "none"),
        (
            {"input_tokens": 9.0, "output_tokens": 5},
            "input_tokens is not an integer.",
            "a number, 9.0",
        ),
        (
            {"input_tokens": 9, "output_tokens": "5"},
            "output_tokens is not an integer.",
            "a string, '5'",
        ),
    ],
)
def test_missing_counts_and_counts_of_another_type_are_told_apart(usage, message, got):
    findings = found([json_response(responses_whole(ANSWER) | {"usage": usage})], api="responses")
    (missing,) = [each for each in findings if each.id == "usage.missing"]
    assert (missing.message, missing.evidence.got) == (message, got)


_IN_ROWS = {"usage.output.miscounted"}
ELSEWHERE = {
    "test_sent_schemas.py": {"request.schema"},
    "test_added_prompts.py": {"prompt.added"},
    "test_account.py": {name for name, check in CHECKS.items() if isinstance(check, AccountRule)}
    - _IN_ROWS,
    "test_account_rules.py": _IN_ROWS,
    "test_checks.py": {
        "calls.id.repeated",
        "chat.schema.minor",
        "chat.stream.finish.repeated",
        "request.refused",
        "request.server_error",
        "reply.content_type",
        "reply.id.repeated",
        "stream.content_type",
        "text.masked",
    },
    "test_cross_checks.py": {"calls.id.shared", "stream.cut.always"},
    "test_evidence.py": {
        "calls.arguments.json.none",
        "harmony.cut",
        "logprobs.tokens",
        "usage.reasoning",
    },
    "test_hidden_failures.py": {"request.limit_name", "request.refused.partly"},
    "test_named_exactly.py": {
        "prompt.cut",
        "calls.custom",
        "calls.refused",
        "clients.refused_form",
        "reply.broken_off",
        "state.background.ignored",
        "usage.unasked",
    },
    "test_reported_kinds.py": {
        "calls.arguments.escapes",
        "calls.arguments.line_breaks",
        "calls.arguments.quotes",
    },
    "test_stream_timing.py": {"stream.left_open", "stream.silent"},
    "test_truncated_replies.py": {
        "logprobs.empty",
        "request.refused.foreign",
        "responses.status.cut",
        "text.one_token",
    },
}
"""Files of tests, and the checks that are violated by them alone."""


def test_every_check_is_violated_by_a_test():
    broken = {told.partition(":")[0] for _, found in (*ROWS, *OF_FAULTS) for told in found.split()}
    for fault in CATALOGUE.values():  # test_faults_found.py
        broken.update(fault.detectors)
    (root,) = (each for each in Path(__file__).parents if each.name == "tests")
    for name, checks in ELSEWHERE.items():
        (file,) = root.rglob(name)
        tests, here = file.read_text("utf-8"), file == Path(__file__)  # which has this table
        unproved = {check for check in checks - broken if tests.count(f'"{check}"') <= here}
        assert not unproved, f"{name} violates none of these"
        broken |= checks
    assert set(CHECKS) - broken == set()


# --- Hostile data


@pytest.mark.parametrize("depth", [300, 100_000])
def test_deep_nesting_does_not_crash_the_checks(depth):
    nested = "[" * depth + "]" * depth
    call = Reply(call=("get_weather", f'{{"location": "Lisbon", "x": {nested}}}'))
    for answer in (call, json_response(nested), stream_response([f"data: {nested}"])):
        judged([rollout([answer])])


@pytest.mark.parametrize("streaming", [False, True])
def test_endless_digits_do_not_crash_the_checks(streaming):
    """Python reads no number of more than 4,300 digits."""
    digits = "9" * 5000
    arguments = f'{{"location": {digits}}}'
    for answer in (Reply(call=("get_weather", arguments)), Reply(text=arguments, reasoning=digits)):
        found([answer], streaming=streaming)  # raises what a rule raises


# --- Evidence and descriptions


def test_a_finding_points_at_its_evidence():
    body = chat_whole(CALL)
    body["usage"]["total_tokens"] = 1
    (finding,) = found([CALL, json_response(body | {"id": "x"})][1:])
    evidence = finding.evidence
    assert (finding.id, finding.severity) == ("usage.sum", "error")
    assert (evidence.record, evidence.exchange) == ("weather-lisbon/chat/non-streaming/1", 0)
    assert (evidence.path, evidence.expected, evidence.got) == (
        "$.usage",
        str(50 + counts(CALL)[1]),
        "1",
    )


def test_evidence_in_a_stream_has_event_and_path():
    chunks = chat_chunks(CALL)
    chunks[2]["created"] = "x"
    chunks[3]["created"] = "x"
    every = found([stream_response(chat_blocks(chunks))], streaming=True)
    finding = next(each for each in every if each.id == "chat.schema")
    assert (finding.evidence.event, finding.evidence.path) == (2, "$.created")
    assert finding.evidence.got == '"x"'


@pytest.mark.parametrize(
    "text",
    ["»Spaß« sagt er, »der Fuß«.", "Ça va ? « À bientôt »", "naïve Gödel, žluté lodě",
     "東京 🌊 ÄÖÜß", "È «così»", "ÁÉÍÓÚ ÂÊÎ", "20 °C – 30 °C…"],
)  # fmt: skip
def test_correct_letters_are_not_mojibake(text):
    assert len(misread(text)) < 2
    assert misread(f"{text.encode().decode('latin-1')} Ã©Ã¨ et Ã\xa0") != []


def test_ids_are_unique():
    check = CHECKS["usage.sum"]
    with pytest.raises(ValueError, match=r"two rules have the id usage\.sum"):
        catalogue._by_id([check, check])


def test_the_family_of_a_rule_is_its_folder():
    for rule in RULES.values():
        judge = getattr(rule, "judge", None) or getattr(rule, "compare", None) or rule.judges
        while isinstance(judge, partial):
            judge = judge.func
        if judge.__module__ not in ("harness.rules.probe", "harness.rules.check"):  # the account
            assert judge.__module__.split(".")[2] == rule.about.family
