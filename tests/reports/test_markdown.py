"""The Markdown report: its content, its escaping, and its bounded length."""

# ruff: noqa: E501 (reports have long lines)
import re
from itertools import groupby

import pytest
from inline_snapshot import snapshot
from reporting import (
    FOUR,
    analysis,
    because,
    condition,
    dataset,
    eval_result,
    failed_rule,
    failing,
    failing_scores,
    finding,
    passing,
    passing_scores,
    rubric,
    rule,
    score,
    tool_calling,
)

from reports.build import build_report
from reports.markdown import render_markdown
from reports.model import ShownRule

HOSTILE = "\x1b[31mred\x1b[0m\n`code` | <script>alert(1)</script> \u202egnp [x](y) **b** ```"
HOSTILE_SAMPLE = "q`1`|<b>@all*"


def markdown(found, **report):
    return render_markdown(build_report(found, "mock-20260102-030405", **report))


def evals(name="gpqa", sample=HOSTILE_SAMPLE, **changes):
    scores = [
        score(each, number, outcome, task=name, condition=condition(effort="low"),
              answer="B", order=(2, 0, 1, 3))
        for each, outcome in (("a", "correct"), (sample, "wrong"))
        for number in (1, 2)
    ]  # fmt: skip
    return eval_result(scores, **changes)


def test_the_report_states_what_a_pass_proves():
    proof = "2 of 3 known defects would show in these `logprobs`: a, b."
    proven = because("proven", text=proof)
    text = markdown(analysis(checks=[rule("numerics.logprobs", reasons=proven), rule("usage.sum")]))
    assert f"Passed: `numerics.logprobs`. {proof}" in text
    assert "usage.sum" not in text


def test_a_pass():
    assert markdown(passing()) == snapshot("""\
# PASS: `gpt-oss-mock` on `mock`

- All figures meet the thresholds.

Model `gpt-oss-mock`, `http://127.0.0.1:1/v1`, 2026-01-02T03:04:05+00:00. 3 cases × 2 tries, 1 condition, 6 of 6 attempts.

## What to do next

- Leave out --suite tools, so that probes test prompts, CoT, limits and more.

## Tool calling

|  | chat, non-streaming |
| --- | ---: |
| attempts | 6 of 6 |
| invalid | 0 |
| pass@1 % | 100.0 (90–100) |
| pass@2 % | 100.0 (90–100) |
| pass^2 % | 100.0 (90–100) |
| success | 6 |
| exact arguments | 6 |
| requests | 12 |
| retries | 0 |
| prompt tokens | 500 |
| completion tokens | 200 |
| of which reasoning | 90 |
| first token, s | – |
| request, s | 2.00 / 2.00 |
| tokens/s | – |

Rates are of the attempts that were made. pass@k: at least one of k tries passes. pass^k: all k tries pass. Brackets: 95% interval with samples as clusters. Times and speeds: median / 90th percentile. An attempt is invalid if a reply cannot be read or has an error.

## Checks and probes

|  | passed | not verifiable | skipped |
| --- | ---: | ---: | ---: |
| usage | 2 | – | – |
| stream | – | – | 1 |
| stop | – | 1 | – |

Not verifiable: `stop.kept`. No reply of this run contained anything that this check judges. It is judged if a reply has what it is about, which `gpt-oss-verify checks` lists.

Skipped: `stream.end`. It does not apply to the APIs and modes of this run: chat.

## Repeat this run

```sh
gpt-oss-verify --provider mock
```

The result in one line: `gpt-oss-mock on mock: PASS; passed 2 of 2 checks, 6 of 6 tool calls (100.0%, 54–100); gpt-oss-verify 0.1.0, 2026-01-02: gpt-oss-verify --provider mock`

- provider: `mock`
- address: `http://127.0.0.1:1/v1`
- model: `gpt-oss-mock`
- suite: `tools`
- max context: `131072`
- apis: `chat`
- modes: `non-streaming`
- concurrency: `8`
- max invalid: `0`
- max server errors: `0.02`
- lower rate: `0.9`
- min pass at k: `0.9`
- min pass hat k: `0.9`
- tool calling: `3 samples × 2 tries, max turns 10`
- cases.jsonl: `sha256 cccccccccccccccc…`
- cot: `1 sample × 1 try, max turns 1`
- gpt-oss-verify: `0.1.0`
- python: `3.11.0`
- started: `2026-01-02T03:04:05+00:00`
- finished: `not finished`
- records: `mock-20260102-030405/rollouts.jsonl`, every exchange as it was on the wire
""")


def test_a_failure_shows_errors_first_and_failed_samples():
    text = markdown(failing())
    assert text[text.index("## Findings") : text.index("## What to do next")] == snapshot("""\
## Findings

### ✕ `usage.sum` failed in 1 of 6 attempts

Prompt and completion tokens add up to the total. Billing relies on these figures. ([source](https://platform.openai.com/docs/api-reference/chat/object))

Seen in chat · non-streaming.

- `c/chat/non-streaming/1`, request 1, `$.usage`: The total is not the sum of prompt and completion tokens.
  - expected `70`
  - got `1`

""")
    assert text[text.index("### Failed samples") : text.index("## Checks")] == snapshot("""\
### Failed samples

- **1 of 2 passed**: `b`, chat · non-streaming (success 1, no tool call 1)
  - `b/chat/non-streaming/2`: The model answered without calling a tool.
  - prompt `Please check the service status.`
  - expected `service_status({})`
  - got `I cannot do that.`
- **1 of 2 passed**: `c`, chat · non-streaming (invalid response 1, success 1)
  - `c/chat/non-streaming/1`: usage.sum: The total is not the sum of prompt and completion tokens.
  - prompt `Please check the service status.`
  - expected `70`
  - got `1`

""")


def test_failed_samples_that_are_not_shown_are_counted():
    found = failing()
    (result,) = found.results
    many = result.model_copy(update={"failed": 38})
    text = markdown(found.model_copy(update={"results": (many,)}))
    assert f"### Failed samples: the worst {len(result.failures)} of 38\n" in text


def test_declared_limitations_and_info_are_not_failures():
    example = finding("a")
    declared = failed_rule("usage.sum", "declared", example).model_copy(
        update={"reasons": because("declared_missing", capability="n")}
    )
    text = markdown(analysis(checks=[declared]))
    assert "### § `usage.sum` unsupported in" in text
    assert "The provider's entry says that it does not support n." in text
    noted = markdown(analysis(checks=[failed_rule("usage.sum", "passed", example)]))
    assert "### i `usage.sum` noted in 1 of" in noted


def test_hostile_text_stays_text():
    text = markdown(failing(HOSTILE))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "script" not in re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


def test_no_account_is_mentioned():
    scores = failing_scores()
    scores[3] = score("b", 2, "wrong_tool", detail="It called @octocat, /@octocat.")
    outside_code = re.sub(r"`[^`]*`", "", markdown(analysis([tool_calling(scores)])))
    assert "octocat" in outside_code
    assert "@octocat" not in outside_code


def test_cells_cannot_break_their_table():
    results = [tool_calling(passing_scores(), under=each) for each in FOUR]
    lines = markdown(analysis([*results, evals("g|p")])).splitlines()
    for _, rows in groupby(lines, key=lambda line: line.startswith("|")):
        table = [row.replace(r"\|", "") for row in rows]
        assert len({row.count("|") for row in table}) == 1 or not table[0].startswith("|")


def test_reasons_keep_their_code_spans():
    text = markdown(analysis(reasons=["Use `--resume RUN` <b>now</b>."]))
    assert r"- Use `--resume RUN` \<b\>now\</b\>." in text


def test_the_report_fits_a_comment_with_any_findings():
    huge = finding("a").model_copy(update={"message": "m" * 900})
    loud = [failed_rule(f"usage.rule{number}", "failed", *[huge] * 5) for number in range(150)]
    for checks in (loud, loud[:20]):
        text = markdown(analysis([tool_calling(failing_scores())], checks, "fail"))
        assert len(text) <= 65_536
        assert "## Repeat this run" in text
    assert "m" * 900 in text


def test_the_report_fits_a_comment_with_prompts_of_any_length():
    result = tool_calling(failing_scores())
    case = result.failures[0].model_copy(update={"prompt": "p" * 30_000})
    text = markdown(analysis([result.model_copy(update={"failures": (case,) * 10})]))
    assert len(text) <= 60_000
    assert "## Repeat this run" in text
    text = markdown(analysis([result.model_copy(update={"failures": (case,) * 90})]))
    assert 55_000 < len(text) <= 60_000
    assert text.endswith("The rest does not fit here; report.html has all of it.)\n")


def test_evals_have_scores_baseline_and_evidence():
    graded = evals("healthbench", rubric=rubric(), grader="gpt-4.1")
    text = markdown(analysis([evals(), graded], decision="fail", reasons=["worse"]))
    assert text.startswith("# FAIL: `gpt-oss-mock` on ")
    assert "| score % | 50.0" in text
    assert "- 60.0%: one, table 1 (8 tries)" in text
    assert "| axis accuracy |" in text
    assert "  - answer `B`" in text
    assert "  - choices `A=3 B=1 C=2 D=4 (numbered as in the data)`" in text
    assert "`mock-20260102-030405/rollouts.jsonl`" in text


def test_questions_are_shown_only_if_requested():
    assert "Is it" not in markdown(analysis([evals()]))
    texts = {("gpqa", HOSTILE_SAMPLE): "Is it | <b>this</b>? `@you`"}
    text = markdown(analysis([evals()]), texts=texts)
    assert "``q`1`|<b>@all*``" in text
    assert "`` Is it | <b>this</b>? `@you` ``" in text


@pytest.mark.parametrize(
    ("source", "called", "why"),
    [
        ("samples/gpqa.csv", "samples", "sample questions that ship with the tool"),
        ("own.jsonl", "own questions", "not all of the published questions"),
    ],
)
def test_samples_and_own_questions_are_named(source, called, why):
    result = evals(decision=None, dataset=dataset("gpqa", sample=True, source=source))
    text = markdown(analysis([result], decision=None))
    assert text.startswith("# SCORED")
    assert re.findall(r"gpqa \(([a-z ]+)\)", text)[0] == called
    assert why in text


@pytest.mark.parametrize(
    ("groups", "where"),
    [
        (["chat · streaming"], "chat · streaming"),
        (["chat · streaming", "chat · non-streaming"], "chat"),
        (
            ["chat · streaming", "chat · non-streaming", "responses · streaming"],
            "responses · streaming, chat · both modes",
        ),
        (
            ["chat · non-streaming", "responses · streaming"],
            "responses · streaming, chat · non-streaming",
        ),
    ],
)
def test_conditions_of_findings_are_unambiguous(groups, where):
    assert ShownRule(rule("usage.sum", counts=dict.fromkeys(groups, (1, 2)))).where == where


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        ({"chat": (6, 6), "responses": (0, 6)}, "chat 6 of 6, responses 0 of 6"),
        ({"chat": (6, 6), "responses": (6, 6)}, "12 of 12"),
        ({"chat": (1, 6), "responses": (2, 6)}, "3 of 12"),
        (
            {
                "chat · streaming": (3, 3),
                "chat · non-streaming": (3, 3),
                "responses · streaming": (0, 3),
            },
            "chat 6 of 6, responses 0 of 3",
        ),
        (
            {
                f"{api} · {mode}": (3 * (mode == "streaming"), 3)
                for api in ("chat", "responses")
                for mode in ("streaming", "non-streaming")
            },
            "streaming 6 of 6, non-streaming 0 of 6",
        ),
        (
            {
                "chat · streaming": (3, 3),
                "chat · non-streaming": (0, 3),
                "responses · streaming": (0, 3),
            },
            "chat · streaming 3 of 3, responses · streaming 0 of 3, chat · non-streaming 0 of 3",
        ),
    ],
)
def test_shares_are_by_condition_where_they_depend_on_it(counts, share):
    failures, applicable = map(sum, zip(*counts.values(), strict=True))
    assert rule("usage.sum", counts=counts, failures=failures, applicable=applicable).share == share
