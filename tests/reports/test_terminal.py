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
    failing,
    failing_scores,
    passing,
    passing_scores,
    rubric,
    score,
    tool_calling,
)
from rich.console import Console

from reports.build import build_report
from reports.terminal import print_report
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
    assert printed(passing()) == snapshot("""\

mock · gpt-oss-mock · http://127.0.0.1:1/v1
3 cases × 2 tries, 1 condition, 6 of 6 attempts

PASS  All figures meet the thresholds.

                             chat
                    non-streaming
attempts                   6 of 6
invalid                         0
pass@1 %           100.0 (90–100)
pass@2 %           100.0 (90–100)
pass^2 %           100.0 (90–100)
success                         6
exact arguments                 6
requests                       12
retries                         0
prompt tokens                 500
completion tokens             200
of which reasoning             90
first token, s                  –
request, s            2.00 / 2.00
tokens/s                        –
All planned attempts are in the denominator. pass@k: at least one of k tries passes. pass^k: all k
tries pass. Brackets: 95 % interval with samples as clusters. Times and speeds: median / 90th
percentile. An attempt is invalid if a reply cannot be read or has an error.

checks passed not verifiable skipped
usage       2              –       –
stream      –              –       1
stop        –              1       –

Verdict PASS
Report  runs/mock/report.html
Next    Try --strict, or a higher --tries for narrower intervals.
""")


def test_a_failure_starts_with_the_verdict_and_the_failed_checks():
    text = printed(failing())
    assert text[: text.index("attempts  ")] == snapshot("""\

mock · gpt-oss-mock · http://127.0.0.1:1/v1
3 cases × 2 tries, 1 condition, 6 of 6 attempts

FAIL  chat · non-streaming: 1 invalid of 6 attempts, none allowed.
      pass^2 is 33.3 %, required: more than 90 %.

Findings
  error usage.sum · 1 of 6 attempts, all in chat · non-streaming
      The total is not the sum of prompt and completion tokens.
      expected  70
      got       1

Failed samples
  b · chat · non-streaming: 1 of 2 passed
      The model answered without calling a tool.
      expected  service_status({})
      got       I cannot do that.
  c · chat · non-streaming: 1 of 2 passed
      usage.sum

                             chat
                    non-streaming
""")
    assert text[text.index("\nchecks ") :] == snapshot("""\

checks failed passed not verifiable skipped
usage       1      1              –       –
stream      –      –              –       1
stop        –      –              1       –

Verdict FAIL
Report  runs/mock/report.html
Next    Repeat and reduce the request behind a finding: gpt-oss-verify reproduce runs/mock usage.sum
Then    After a fix, run it again: gpt-oss-verify --provider mock
""")


def test_errors_have_evidence_and_other_findings_are_only_named():
    found = failing()
    [rule] = [each for each in found.checks if each.check.id == "usage.sum"]
    ids = [f"usage.e{number:02}" for number in range(6)] + ["usage.w"]
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
    assert shown.count("  error usage.e") == 6
    assert "1 more: usage.w" in shown


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_tables_are_never_wider_than_the_terminal(width):
    text = printed(four_conditions(), width)
    rows = [line for line in text.splitlines() if line.startswith(("pass@", "attempts", "success"))]
    assert rows
    assert max(map(len, rows)) <= width


def test_four_conditions_fit_a_usual_terminal():
    assert printed(four_conditions(), 80).count("pass@1 %") == 1
    assert printed(four_conditions(), 60).count("pass@1 %") == 2


def test_column_heads_name_only_what_varies():
    modes = [condition(mode=mode) for mode in ("streaming", "non-streaming")]
    text = printed(analysis([tool_calling(passing_scores(), under=each) for each in modes]))
    head = next(line for line in text.splitlines() if "non-streaming" in line)
    assert head.split() == ["streaming", "non-streaming"]
    efforts = printed(analysis(evals("gpqa", efforts=("low", "high"))))
    heads = [line.split() for line in efforts.splitlines() if line.startswith("     ")]
    assert ["gpqa", "gpqa"] in heads
    assert ["low", "effort", "high", "effort"] in heads


def test_an_unfinished_run_says_how_to_finish_it():
    found = failing().model_copy(update={"complete": False})
    assert "gpt-oss-verify --resume runs/mock" in printed(found)
    only = analysis(evals("gpqa"), complete=False)
    tasks = tuple(task for task in only.run.tasks if task.kind == "eval")
    only = only.model_copy(update={"run": only.run.model_copy(update={"tasks": tasks})})
    assert "gpt-oss-verify eval --resume runs/mock" in printed(only)


def test_the_previous_run_is_mentioned():
    text = printed(failing(), regressions=["Since r1: 1 check\x1b failed."])
    assert r"Since r1: 1 check\x1b failed." in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_of_evals_fit_the_terminal(width):
    text = printed(analysis(evals("aime25", "gpqa"), decision="fail"), width)
    shown = [line for line in text.splitlines() if not line.startswith(("Report", "Next", "Note"))]
    assert max(map(len, shown)) <= width


def test_evals_show_reasons_warnings_and_graders():
    graded = evals("healthbench", efforts=("low",), rubric=rubric(), grader="gpt-4.1")
    reasons = ["gpqa: worse by far."]
    found = analysis([*evals("gpqa"), *graded], decision="fail", reasons=reasons)
    text = printed(found, 120)
    assert "FAIL  gpqa: worse by far." in text
    assert text.count("Sampled with temperature 0.5.") == 1
    assert "Report  runs/mock/report.html" in text
    assert "Next    Start with sample q2" in text
    assert "38 of 40 rubric items were graded by gpt-4.1" in text
    assert "Scores by axis in %: accuracy 55." in " ".join(text.split())


def test_one_report_shows_tool_calling_and_evals():
    found = analysis([tool_calling(failing_scores()), *evals("gpqa")], failing().checks, "fail")
    text = printed(found, 120)
    places = [text.index(part) for part in ("FAIL", "error usage.sum", "invalid  ", "score %")]
    assert places == sorted(places)
    assert "3 cases × 2 tries, 1 condition, 6 of 6 attempts; 1 probe" not in text
    assert "6 of 6 attempts; 1 eval, 3 conditions, 12 of 12 attempts" in text


def test_sample_data_is_named():
    results = evals("gpqa", decision=None, dataset=dataset("gpqa", sample=True))
    text = printed(analysis(results, decision=None))
    assert "SCORED" in text
    assert "gpqa (samples)" in text
    assert "sample questions that ship with the tool" in " ".join(text.split())
    assert "INCONCLUSIVE" not in text


def test_unprintable_characters_are_escaped():
    assert visible("a\nb\t\x1b\u200b é 札") == "a\\nb\\t\\x1b\\u200b é 札"


def test_hostile_text_stays_text():
    text = printed(failing("\x1b[31mred\x1b[0m [bold]x[/bold] \u202egnp"), 200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31mred\x1b[0m [bold]x[/bold] \u202egnp" in text
