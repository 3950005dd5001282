# ruff: noqa: E501 (reports have long lines)
import io
import re
from collections import Counter
from itertools import groupby

import pytest
from analyses import analysis_of, run_info
from healthy import SUITE, Say, chat_whole, json_response, right, rollout
from inline_snapshot import snapshot
from rich.console import Console

from reports.markdown import render_markdown
from reports.terminal import print_analysis
from reports.words import visible

CASES = SUITE.cases[:3]
CHAT = run_info(apis=("chat",), streaming=(False,), tries=2)
NASTY = "\x1b[31mred\x1b[0m\n`code` | <script>alert(1)</script> \u202egnp [x](y) **b** ```"


def healthy():
    return [
        rollout(right(case), sample=case.id, attempt=number) for case in CASES for number in (1, 2)
    ]


def failing(text="I cannot do that."):
    body = chat_whole(Say(text=text))
    body["usage"]["total_tokens"] = 1
    return [
        *healthy()[:3],
        rollout([Say(text=text)], sample=CASES[1].id, attempt=2),
        rollout([json_response(body)], sample=CASES[2].id, attempt=1),
        healthy()[5],
    ]


def printed(analysis, width=100):
    stream = io.StringIO()
    print_analysis(analysis, "runs/mock", Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def without_checks(text):
    """The text without the table of checks and what follows it in its section."""
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(
        r"^(checks |## Checks).*?\n(?=Findings|PASS|FAIL|## )", "", text, flags=re.S | re.M
    )


def test_the_terminal_shows_a_pass():
    text = without_checks(printed(analysis_of(healthy(), CHAT)))
    assert text == snapshot("""\

mock · gpt-oss-mock · http://127.0.0.1:1/v1
3 cases × 2 tries × 1 group, 6 of 6 attempts

                          chat
                         whole
attempts                6 of 6
invalid                      0
pass@1 %        100.0 (54–100)
pass@2 %        100.0 (29–100)
pass^1 %        100.0 (54–100)
pass^2 %        100.0 (29–100)
success                      6
exact arguments              6
requests                    12
retries                      0
tokens in                  600
tokens out                 240
of it reasoning            108
first token, s               –
request, s         2.00 / 2.00
tokens/s                     –
Of planned attempts; times and speeds p50 / p90 of whole replies; in brackets 95 % intervals

PASS  0 invalid responses; in the weakest group pass@2 is 100.0% (asked: above 90%) and pass^2
      100.0% (asked: above 90%).

Report  runs/mock/report.html
Next    Ask for more with --strict, or for narrower intervals with a higher --tries.
""")


def test_the_terminal_shows_why_it_failed():
    text = without_checks(printed(analysis_of(failing(), CHAT)))
    assert text == snapshot("""\

mock · gpt-oss-mock · http://127.0.0.1:1/v1
3 cases × 2 tries × 1 group, 6 of 6 attempts

                           chat
                          whole
attempts                 6 of 6
invalid                       1
pass@1 %           66.7 (8–100)
pass@2 %         100.0 (29–100)
pass^1 %           66.7 (8–100)
pass^2 %            33.3 (0–97)
success                       4
no_tool_call                  1
invalid_response              1
exact arguments               4
requests                     10
retries                       0
tokens in                   500
tokens out                  200
of it reasoning              90
first token, s                –
request, s          2.00 / 2.00
tokens/s                      –
Of planned attempts; times and speeds p50 / p90 of whole replies; in brackets 95 % intervals

Worst cases
  1/2 status-check · chat · non-streaming
      The model answered without calling a tool.
      expected  service_status({})
      got       I cannot do that.
  1/2 status-down · chat · non-streaming
      usage.sum: The total is not the sum of input and output tokens.
      expected  70
      got       1

Findings
  error usage.sum · 1 of 6 attempts, 16.7 (0–94) %
      The total is not the sum of input and output tokens.
      expected  70
      got       1

FAIL  chat · non-streaming: 1 invalid of 6 attempts, none allowed.
      chat · non-streaming: pass^2 is 33.3% (interval 0.2% to 96.0%), more than 90% is asked; most failures:
      no_tool_call (1).

Report  runs/mock/report.html
Next    Start with the errors above: each names its record in rollouts.jsonl, where every exchange stands as it was on the wire.
""")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_tables_are_never_wider_than_the_terminal(width):
    text = printed(analysis_of(healthy()), width)
    rows = [line for line in text.splitlines() if line.startswith(("pass@", "attempts", "success"))]
    assert rows
    assert max(map(len, rows)) <= width


def test_four_groups_fit_a_usual_terminal():
    assert printed(analysis_of(healthy()), 80).count("pass@1 %") == 1
    assert printed(analysis_of(healthy()), 60).count("pass@1 %") == 2


def test_an_unfinished_run_says_how_to_go_on():
    text = printed(analysis_of(healthy()[:3], CHAT))
    assert "INCONCLUSIVE" in text
    assert "gpt-oss-verify --resume runs/mock" in text


def test_the_markdown_of_a_pass():
    assert without_checks(render_markdown(analysis_of(healthy(), CHAT))) == snapshot("""\
# PASS: gpt-oss on `mock`

- 0 invalid responses; in the weakest group pass@2 is 100.0% (asked: above 90%) and pass^2 100.0% (asked: above 90%).

Model `gpt-oss-mock`, `http://127.0.0.1:1/v1`, 2026-01-02T03:04:05+00:00. 3 cases × 2 tries × 1 group, 6 of 6 attempts.

## Results

|  | chat · non-streaming |
| --- | ---: |
| attempts | 6 of 6 |
| invalid | 0 |
| pass@1 % | 100.0 (54–100) |
| pass@2 % | 100.0 (29–100) |
| pass^1 % | 100.0 (54–100) |
| pass^2 % | 100.0 (29–100) |
| success | 6 |
| exact arguments | 6 |
| requests | 12 |
| retries | 0 |
| tokens in | 600 |
| tokens out | 240 |
| of it reasoning | 108 |
| first token, s | – |
| request, s | 2.00 / 2.00 |
| tokens/s | – |

Every planned attempt is in the denominator. pass@k: at least one of k tries passes; pass^k: all k do. In brackets the 95 % interval, cases as clusters. An attempt is invalid if a reply could not be read or an error was found in one.

## To repeat this run

```sh
gpt-oss-verify --provider mock
```

- apis: `['chat']`
- streaming: `[False]`
- tries: `2`
- max_turns: `10`
- strict: `False`
- concurrency: `8`
- suite: `smoke`
- thresholds: at most 0 invalid, pass@k above 90%, pass^k above 90%
- cases: `cases.jsonl` (sha256 cccccccccccccccc…)
- tools: `tools.json` (sha256 dddddddddddddddd…)
- gpt-oss-verify 0.1.0; python 3.11.0
- records: `mock-20260102-030405/rollouts.jsonl`, every exchange as it was on the wire
""")


def test_the_markdown_of_a_failure_shows_findings_and_worst_cases():
    text = render_markdown(analysis_of(failing(), CHAT))
    assert text[text.index("## Errors") : text.index("## To repeat")] == snapshot("""\
## Errors

### `usage.sum` in 1 of 6 attempts, 16.7 (0–94) %

The total is the sum of input and output tokens. Providers bill by these counts, and users plan budgets with them. ([source](https://platform.openai.com/docs/api-reference/chat/object))

Seen in: chat · non-streaming.

- `status-down/chat/non-streaming/1`, request 1, `$.usage`: The total is not the sum of input and output tokens.
  - expected `70`
  - got `1`

## Worst cases

- **1 of 2 passed**: `status-check`, chat · non-streaming (success 1, no_tool_call 1)
  - prompt `Please check the service status.`
  - `status-check/chat/non-streaming/2`: The model answered without calling a tool.
  - expected `service_status({})`
  - got `I cannot do that.`
- **1 of 2 passed**: `status-down`, chat · non-streaming (invalid_response 1, success 1)
  - prompt `Users say the service is down. Can you look?`
  - `status-down/chat/non-streaming/1`: usage.sum: The total is not the sum of input and output tokens.
  - expected `70`
  - got `1`

""")


def test_the_checks_are_counted_by_family():
    analysis = analysis_of(failing(), CHAT)
    usage = next(line for line in printed(analysis).splitlines() if line.startswith("usage"))
    head = next(line for line in printed(analysis).splitlines() if line.startswith("checks"))
    assert head.split() == ["checks", "passed", "failed", "not", "verifiable", "skipped"]
    counts = Counter(each.status for each in analysis.checks if each.check.family == "usage")
    expected = [str(counts["passed"]), str(counts["failed"])]
    assert expected[1] == "1"
    assert usage.split()[1:3] == expected
    row = next(line for line in render_markdown(analysis).splitlines() if "| usage |" in line)
    assert row.split(" | ")[1:3] == expected


def test_checks_that_judged_nothing_are_named_with_the_reason():
    text = render_markdown(analysis_of(healthy(), CHAT))
    (skipped,) = (line for line in text.splitlines() if line.startswith("Skipped: "))
    assert "`responses.stream.terminal`" in skipped
    assert skipped.endswith(
        "It does not apply to the APIs and modes of this run: chat · non-streaming."
    )
    (unseen,) = (line for line in text.splitlines() if line.startswith("Not verifiable: "))
    assert "`stop.kept`" in unseen


def test_what_the_provider_declares_is_shown_as_such():
    analysis = analysis_of(failing(), CHAT)
    declared = [
        each.model_copy(update={"status": "declared", "reason": "No sums, its entry says."})
        if each.status == "failed"
        else each
        for each in analysis.checks
    ]
    shown = analysis.model_copy(update={"checks": tuple(declared)})
    assert "declared usage.sum" in printed(shown)
    assert "## Declared by the provider" in render_markdown(shown)
    assert "No sums, its entry says." in render_markdown(shown)


def test_hostile_text_stays_text():
    analysis = analysis_of(failing(NASTY), CHAT)
    markdown, terminal = render_markdown(analysis), printed(analysis)
    for text in (markdown, terminal):
        assert "\x1b" not in text
        assert "\u202e" not in text
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown)
    assert "script" not in outside_code


def test_nobody_is_called_by_what_a_model_said():
    call = rollout([Say(call=("@octocat", "{"))], sample=CASES[0].id)
    outside_code = re.sub(r"`[^`]*`", "", render_markdown(analysis_of([call], CHAT)))
    assert "octocat" in outside_code
    assert "@octocat" not in outside_code


def test_table_cells_cannot_break_their_table():
    lines = render_markdown(analysis_of(failing(), run_info(tries=2))).splitlines()
    for _, rows in groupby(lines, key=lambda line: line.startswith("|")):
        table = list(rows)
        assert len({line.count("|") for line in table}) == 1 or not table[0].startswith("|")


def test_what_does_not_print_is_made_visible():
    assert visible("a\nb\t\x1b\u200b é 札") == "a\\nb\\t\\x1b\\u200b é 札"


def test_the_markdown_report_fits_a_comment_whatever_was_found():
    analysis = analysis_of(failing(), CHAT)
    found = next(result for result in analysis.checks if result.examples)
    huge = found.examples[0].model_copy(update={"message": "m" * 900})
    loud = found.model_copy(update={"status": "failed", "examples": (huge,) * 5})
    every = tuple(loud.model_copy(update={"check": result.check}) for result in analysis.checks)
    for checks in (every, every[:20]):
        text = render_markdown(analysis.model_copy(update={"checks": checks}))
        assert len(text) <= 65_536
        assert "To repeat this run" in text
    assert "m" * 900 in text


def test_the_markdown_report_fits_a_comment_however_long_the_prompts_are():
    analysis = analysis_of(failing(), CHAT)
    case = analysis.worst_cases[0].model_copy(update={"prompt": "p" * 30_000})
    text = render_markdown(analysis.model_copy(update={"worst_cases": (case,) * 10}))
    assert len(text) <= 60_000
    assert "To repeat this run" in text
    text = render_markdown(analysis.model_copy(update={"worst_cases": (case,) * 90}))
    assert 55_000 < len(text) <= 60_000
    assert text.endswith("The rest did not fit: it is in report.html.)\n")
