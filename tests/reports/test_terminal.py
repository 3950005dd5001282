"""The report on a terminal: its content, its width, and its escaping."""

import io

import pytest
from inline_snapshot import snapshot
from reporting import (
    FOUR,
    analysis,
    condition,
    dataset,
    eval_result,
    failed_rule,
    failing,
    failing_scores,
    finding,
    passing,
    passing_scores,
    score,
    tool_calling,
)
from rich.console import Console

from harness.records.analysis import ClientResult
from harness.records.diagnosis import Cause, ComponentFault, Diagnosis
from harness.records.reasons import Reason
from reports.build import build_report
from reports.terminal import MOST_LINES, print_report
from reports.text import visible


def printed(found, width=100, **report):
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False)
    print_report(build_report(found, "runs/mock", **report), console)
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n"))


def four_conditions():
    return analysis([tool_calling(passing_scores(), under=each) for each in FOUR])


def evals(*names, efforts=("low", "medium", "high"), **changes):
    return [
        eval_result(
            [
                score(sample, number, outcome, task=name, condition=condition(effort=effort))
                for sample, outcome in (("q1", "correct"), ("q2", "wrong"))
                for number in (1, 2)
            ],
            **changes,
        )
        for name in names
        for effort in efforts
    ]


def test_a_pass():
    assert printed(passing(), 80) == snapshot("""\
mock · gpt-oss-mock · http://127.0.0.1:1/v1
3 cases × 2 tries, 1 condition, 6 of 6 attempts

PASS  All figures meet the thresholds.

times: median in s attempts invalid pass@1 pass@2 pass^2 TTFT request
chat non-streaming        6       0  100.0  100.0  100.0    –    2.00

Checks  2 of 2 passed, 1 not verifiable, 1 skipped
Report  runs/mock/report.html
Next    Leave out --suite tools, so that probes test prompts, CoT, limits and
        more.
""")


def test_a_failure_shows_the_verdict_and_the_finding_before_the_figures():
    assert printed(failing(), 80) == snapshot("""\
mock · gpt-oss-mock · http://127.0.0.1:1/v1
3 cases × 2 tries, 1 condition, 6 of 6 attempts

FAIL  chat · non-streaming: 1 invalid of 6 attempts, none allowed.
      pass^2 is 33.3%, required: more than 90%.

  error usage.sum · failed in 1 of 6 attempts, chat · non-streaming
    The total is not the sum of prompt and completion tokens.
    Got: 1

times: median in s attempts invalid pass@1 pass@2 pass^2 TTFT request
chat non-streaming        6       1   66.7  100.0   33.3    –    2.00

Checks  1 of 2 passed, 1 failed, 1 not verifiable, 1 skipped
Report  runs/mock/report.html
Next    Reproduce a finding with the smallest request:
gpt-oss-verify reproduce runs/mock usage.sum
Then    After a fix, test whether its findings are gone:
gpt-oss-verify retest runs/mock
""")


@pytest.mark.parametrize("decision", ["fail", "pass"])
def test_the_line_of_clients_names_apis_and_what_fails_on_request(decision):
    found = passing()
    broken = ClientResult(
        client="Codex", api="responses", status="breaks", breaking=("streams",), returns_cot="yes"
    )
    asked = ClientResult(
        client="Agno",
        api="chat",
        status="works",
        breaking_on_request=("answer_schema",),
        returns_cot="no",
    )
    verdict = found.verdict.model_copy(update={"decision": decision})
    shown = printed(found.model_copy(update={"clients": (broken, asked), "verdict": verdict}))
    lines = [
        "Clients 1 work, 1 break",
        "        Break: Codex (streams over responses)",
    ]
    assert "\n".join(lines) in shown
    line = (
        "        Break only with features that users must ask for: Agno (answer_schema over chat)\n"
    )
    assert (line in shown) == (decision == "fail")


def test_a_probe_whose_replies_all_have_one_wrong_value_is_named():
    found = passing()
    value = '{"id": 712}'
    alike = tuple(
        each.model_copy(update={"reasons": (Reason(code="same_value", values={"got": value}),)})
        if each.status == "not_verifiable"
        else each
        for each in found.checks
    )
    [name] = [each.check.id for each in alike if each.status == "not_verifiable"]
    shown = " ".join(printed(found.model_copy(update={"checks": alike})).split())
    assert f"Not verifiable: {name} (every try has one value" in shown
    assert value in shown


@pytest.mark.parametrize("known", [True, False])
def test_a_prompt_that_fits_no_rendering_is_named_if_others_of_the_server_fit(known):
    found = passing()
    reason = Reason(code="tokens_fit_no_prompt", values={})
    probe = {"kind": "probe", "family": "prompt" if known else "limits"}
    checks = tuple(
        each.model_copy(update={"reasons": (reason,)})
        if each.status == "not_verifiable"
        else each.model_copy(update={"check": each.check.model_copy(update=probe)})
        for each in found.checks
    )
    shown = " ".join(printed(found.model_copy(update={"checks": checks})).split())
    assert ("the prompt tokens match no known rendering, although" in shown) == known


def test_findings_that_do_not_fit_are_counted():
    found = failing()
    [rule] = [each for each in found.checks if each.check.id == "usage.sum"]
    ids = [f"usage.e{number:02}" for number in range(50)] + ["usage.w"]
    several = tuple(
        rule.model_copy(
            update={
                "check": rule.check.model_copy(update={"id": each}),
                "status": "warned" if each == "usage.w" else "failed",
            }
        )
        for each in ids
    )
    shown = printed(found.model_copy(update={"checks": several, "diagnosis": None}))
    assert MOST_LINES - 5 <= len(shown.splitlines()) <= MOST_LINES
    fitting = shown.count("error usage.e")
    assert f"and {50 - fitting} more errors, 1 more warning in the report" in shown
    assert shown.count("The total is not the sum") == 1
    assert "50 failed, 1 warned" in shown


def with_rules(*rules):
    return analysis([tool_calling(failing_scores())], decision="fail").model_copy(
        update={"checks": rules, "diagnosis": None}
    )


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        ({"Lost.": 5, "Moved.": 2}, ["5 × Lost.", "2 × Moved."]),
        ({"Lost.": 6}, ["The total is not"]),
        ({"Request 1.": 1, "Request 2.": 1, "Request 3.": 1}, ["The total is not"]),
    ],
)
def test_each_message_of_a_rule_has_its_count(messages, shown):
    rule = failed_rule("usage.a", "failed", finding("a/chat/non-streaming/1"))
    text = printed(with_rules(rule.model_copy(update={"messages": messages, "failures": 6})))
    assert all(each in text for each in shown)
    assert ("\n    5 × " in text) == (len(shown) > 1)


def test_the_finding_in_most_replies_comes_first():
    few = failed_rule("errors.few", "failed", finding("a/chat/non-streaming/1"))
    few = few.model_copy(update={"check": few.check.model_copy(update={"family": "errors"})})
    many = few.model_copy(
        update={
            "check": few.check.model_copy(update={"id": "state.many", "family": "state"}),
            "counts": {"chat": (604, 829)},
            "failures": 604,
            "applicable": 829,
        }
    )
    few = few.model_copy(update={"counts": {"chat": (1, 1)}, "failures": 1, "applicable": 1})
    text = printed(with_rules(few, many))
    assert text.index("state.many") < text.index("errors.few")


def test_two_long_reasons_of_a_verdict_both_fit():
    reasons = ["Tool calls are lost. " * 30, "Probes failed. " * 30]
    found = analysis([tool_calling(failing_scores())], decision="fail", reasons=reasons)
    assert "Tool calls are lost" in (text := printed(found, 80))
    assert "Probes failed" in text


def test_a_cause_without_room_for_its_finding_has_its_sentence():
    found = analysis(
        [tool_calling(failing_scores(), under=each) for each in FOUR],
        decision="fail",
        reasons=["Tool calls succeed less often than the reference. " * 9] * 4,
    )
    example = finding("a/chat/non-streaming/1")
    rules = tuple(failed_rule(f"usage.e{n}", "failed", example) for n in range(5))
    causes = tuple(
        Cause(
            component="output",
            description=f"The server does number {number} wrongly.",
            effect="Clients break.",
            remedy="Do it rightly.",
            examples=(),
            explains=(rule.check.id,),
        )
        for number, rule in enumerate(rules)
    )
    diagnosis = Diagnosis(causes=causes, unexplained=(), components=())
    found = found.model_copy(update={"checks": rules, "diagnosis": diagnosis})
    text = printed(found, 80)
    for part in text.split("Likely cause of 1 error: ")[1:]:
        number = part.removeprefix("The server does number ")[0]
        assert f"usage.e{number}" in part
    assert f"  usage.e4: {example.message}" in text


def test_the_largest_summary_fits_one_screen():
    found = analysis(
        [tool_calling(failing_scores(), under=each) for each in FOUR],
        decision="fail",
        reasons=["Tool calls succeed less often than the reference. " * 9] * 4,
    )
    example = finding("a/chat/non-streaming/1")
    rules = tuple(failed_rule(f"usage.e{n}", "failed", example) for n in range(9))
    cause = Cause(
        component="output",
        description="The server parses channels wrongly. " * 9,
        effect="Clients break. " * 9,
        remedy="Fixed in a pull request. " * 9,
        examples=(),
        explains=tuple(each.check.id for each in rules),
    )
    component = ComponentFault(component="engine", text="The engine is at fault. " * 9)
    causes = Diagnosis(causes=(cause,) * 3, unexplained=(), components=(component,))
    found = found.model_copy(update={"checks": rules, "diagnosis": causes})
    text = printed(found, 80, regressions=["Since r1: worse. " * 30])
    long = [line for line in text.splitlines() if not line.startswith(("Next", "Then"))]
    assert max(map(len, long)) <= 80
    assert sum(-(-len(line) // 80) or 1 for line in text.splitlines()) <= MOST_LINES
    assert (shown := text.count("error usage.e")) >= 1
    assert f"and {9 - shown} more errors in the report" in text


def test_information_without_a_cause_has_no_heading_beside_a_cause():
    found = analysis([tool_calling(failing_scores())], decision=None)
    settings = found.run.settings.model_copy(update={"findings_only": True})
    found = found.model_copy(update={"run": found.run.model_copy(update={"settings": settings})})
    example = finding("a/chat/non-streaming/1")
    error, noted = (failed_rule(f"usage.{name}", "failed", example) for name in ("a", "b"))
    noted = noted.model_copy(update={"status": "passed"})
    cause = Cause(component="output", description="Parsed wrongly.", effect="", remedy="Mend it.",
                  examples=(), explains=("usage.a",))  # fmt: skip
    diagnosis = Diagnosis(causes=(cause,), unexplained=(), components=())
    text = printed(found.model_copy(update={"checks": (error, noted), "diagnosis": diagnosis}))
    assert "usage.b" in text
    assert "without a known cause" not in text


def test_information_does_not_follow_a_pass_but_is_what_imported_traffic_shows():
    noted = failed_rule("usage.sum", "passed", finding("a/chat/non-streaming/1"))
    passed = passing().model_copy(update={"checks": (noted,)})
    text = printed(passed)
    assert "The total is not the sum" not in text
    assert "Checks  1 of 1 passed\n" in text
    settings = passed.run.settings.model_copy(update={"findings_only": True})
    run = passed.run.model_copy(update={"settings": settings})
    assert "The total is not the sum" in printed(passed.model_copy(update={"run": run}))


def test_what_decides_is_never_cut():
    reasons = ["Replies are lost " * 14 + "in streams. " + "This is an aside. " * 30]
    example = finding(
        "a/chat/non-streaming/1", got="in " + "Tool& " * 40 + "tool_choice is unknown"
    )
    found = analysis([tool_calling(failing_scores())], decision="fail", reasons=reasons)
    text = " ".join(
        printed(found.model_copy(update={"checks": (failed_rule("a.b", "failed", example),)}), 60)
        .replace("\n", " ")
        .split()
    )
    assert "lost in streams." in text
    assert "The total is not the sum of prompt and completion tokens." in text
    assert "Tool& tool_choice is unknown" in text
    assert text.count("…") == 1  # in the middle of what the server sent


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_tables_are_never_wider_than_the_terminal(width):
    text = printed(four_conditions(), width)
    rows = [line for line in text.splitlines() if line.startswith(("chat", "responses"))]
    assert rows
    assert max(map(len, rows)) <= width


def test_four_conditions_fit_a_usual_terminal():
    assert printed(four_conditions(), 80).count("chat non-streaming") == 1
    assert printed(four_conditions(), 60).count("chat non-streaming") == 2


def test_rows_name_only_what_varies():
    modes = [condition(mode=mode) for mode in ("streaming", "non-streaming")]
    text = printed(analysis([tool_calling(passing_scores(), under=each) for each in modes]))
    assert "\nstreaming " in text
    assert "\nnon-streaming " in text
    efforts = printed(analysis(evals("gpqa", efforts=("low", "high"))))
    assert "\ngpqa, low effort " in efforts
    assert "\ngpqa, high effort " in efforts


def test_an_unfinished_run_says_how_to_finish_it():
    found = failing().model_copy(update={"complete": False})
    assert "gpt-oss-verify --resume runs/mock" in printed(found)
    only = analysis(evals("gpqa"), complete=False)
    tasks = tuple(task for task in only.run.tasks if task.kind == "eval")
    only = only.model_copy(update={"run": only.run.model_copy(update={"tasks": tasks})})
    assert "gpt-oss-verify eval --resume runs/mock" in printed(only)


def test_the_previous_run_is_mentioned():
    text = printed(failing(), regressions=["Since r1:\x1b worse."])
    assert r"Since r1:\x1b worse." in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_of_evals_fit_the_terminal(width):
    text = printed(analysis(evals("aime25", "gpqa"), decision="fail"), width)
    shown = [line for line in text.splitlines() if not line.startswith(("Report", "Next", "Note"))]
    assert max(map(len, shown)) <= width


def test_evals_show_reasons_and_warnings():
    text = printed(analysis(evals("gpqa"), decision="fail", reasons=["gpqa: worse by far."]), 120)
    assert "FAIL  gpqa: worse by far." in text
    assert text.count("Sampled with temperature 0.5.") == 1
    assert "Report  runs/mock/report.html" in text
    assert "Next    Start with sample q2" in text


def test_one_summary_shows_tool_calling_and_evals():
    found = analysis([tool_calling(failing_scores()), *evals("gpqa")], failing().checks, "fail")
    text = printed(found, 120)
    places = [text.index(part) for part in ("FAIL", "error usage.sum", " invalid ", "score %")]
    assert places == sorted(places)
    assert "6 of 6 attempts; 1 eval, 3 conditions, 12 of 12 attempts" in text


def test_sample_data_is_named():
    results = evals(
        "gpqa", decision=None, dataset=dataset("gpqa", sample=True, source="samples/gpqa.csv")
    )
    text = printed(analysis(results, decision=None))
    assert "SCORED" in text
    assert "gpqa (samples)" in text
    assert "INCONCLUSIVE" not in text


def test_unprintable_characters_are_escaped():
    assert visible("a\nb\t\x1b\u200b é 札") == "a\\nb\\t\\x1b\\u200b é 札"


def test_hostile_text_stays_text():
    hostile = "\x1b[31mred\x1b[0m [bold]x[/bold] \u202egnp"
    found = failing()
    [rule] = [each for each in found.checks if each.examples]
    example = rule.examples[0].model_copy(update={"message": hostile})
    changed = rule.model_copy(update={"examples": (example,)})
    text = printed(found.model_copy(update={"checks": (changed,)}), 200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31mred\x1b[0m [bold]x[/bold] \u202egnp" in text
