"""What a page draws of a run: rates of findings, tiles, and which tries stream; a history."""

import re

import pytest
from replies import Reply
from reporting import (
    FOUR,
    analysis,
    condition,
    finding,
    passing_scores,
    render,
    rollout,
    rule,
    score,
    tool_calling,
)

from harness.compare.history import history
from harness.records.analysis import PassedTries
from harness.records.conditions import Condition
from harness.records.scores import Estimate
from reports.build import build_report
from reports.history import sparkline, table
from reports.html.charts.findings import findings
from reports.html.site import render_history
from reports.model import ShownRule

RECORD = "a/chat/non-streaming/1"


def shown(name, counts, status="failed", modes=("streaming", "non-streaming"), kind="check"):
    failures = sum(failed for failed, _ in counts.values())
    found = rule(
        name, status, kind=kind, counts=counts, failures=failures, findings=failures,
        examples=(finding(RECORD),),
    )  # fmt: skip
    about = found.check.model_copy(update={"modes": modes})
    return ShownRule(found.model_copy(update={"check": about}))


def bars(drawing):
    """The texts of a chart in order, and the width of each filled bar."""
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", str(drawing))
    filled = re.findall(r'width="([\d.]+)" class="count [a-z]+ light"', str(drawing))
    return texts, [float(width) for width in filled]


def test_findings_are_drawn_by_api_and_mode():
    drawing = findings(
        [
            shown("chat.schema", {"chat · streaming": (3, 6), "chat · non-streaming": (0, 8)}),
            shown("cot.used", {"chat": (2, 2), "responses": (0, 2)}, kind="probe"),
            shown("limits.default", {"chat": (1, 1)}, modes=("non-streaming",), kind="probe"),
            shown("usage.sum", {"chat · streaming": (1, 2)}, status="passed"),
        ]
    )
    texts, widths = bars(drawing)
    head = ["responses", "streaming", "non-streaming", "chat", "streaming", "non-streaming"]
    assert texts == [
        *head,
        *("chat.schema", "–", "–", "3 of 6", "0 of 8"),
        *("cot.used", "0 of 2", "2 of 2"),
        *("limits.default", "–", "–", "–", "1 of 1"),
    ]
    column, gap = (360 + 6) / 4, 6
    each = [(column - gap) / 2, 0, 0, 2 * column - gap, column - gap]
    assert widths == [pytest.approx(width, abs=0.06) for width in each]


def test_findings_under_one_condition_are_not_drawn():
    assert findings([shown("usage.sum", {"chat · streaming": (1, 2)})]) is None
    assert findings([]) is None


def test_findings_that_do_not_fit_are_counted():
    counts = {"chat · streaming": (1, 2), "chat · non-streaming": (1, 2)}
    texts, widths = bars(findings([shown(f"usage.e{n:02}", counts) for n in range(10)]))
    assert texts[-1] == "2 further findings below"
    assert len(widths) == 16


def alternating(streaming_passed):
    """A result of four tries of `chat`, of which two stream."""
    under = Condition(model="gpt-oss-mock", api="chat", mode=None)
    modes = {
        "streaming": {"a": PassedTries(streaming_passed, 2, 2)},
        "non-streaming": {"a": PassedTries(2, 2, 2)},
    }
    made = tool_calling(passing_scores(), under=FOUR[0])
    changes = {"condition": under, "modes": modes, "cases": {"a": (2 + streaming_passed, 4)}}
    return made.model_copy(update=changes)


@pytest.mark.parametrize(
    ("passed", "value", "note"),
    [(0, "0.0%", "chat · streaming: 0 of 2; "), (2, "100.0%", "chat: 4 of 4; ")],
)
def test_the_tile_of_the_success_rate_has_the_worst_mode(passed, value, note):
    tiles = {t.label: t for t in build_report(analysis([alternating(passed)]), "r").tiles}
    tile = tiles["Lowest success rate"]
    assert tile.value == value
    assert tile.note.startswith(note)


def page_with(modes):
    scores = [
        score("a", number, "success", condition=condition(api="chat", mode=mode))
        for number, mode in enumerate(modes, 1)
    ]
    found = analysis([alternating(2)])
    logged = [rollout(each, [Reply(text="Hello.")]) for each in scores]
    return render(build_report(found, found.run_id), scores, logged)


def test_tries_that_stream_look_different_where_the_modes_alternate():
    page = page_with(["streaming", "non-streaming"])
    cells = re.findall(r'<button class="cell ([a-z ]+)"[^>]*aria-label="([^"]*)"', page)
    assert cells == [("good streams", "try 1, streaming: success"), ("good", "try 2: success")]
    assert "</span>streaming</li>" in page
    alone = page_with(["streaming", "streaming"])
    assert "cell good streams" not in alone
    assert "</span>streaming</li>" not in alone


def estimates(*values):
    return [None if v is None else Estimate(value=v, low=0.0, high=1.0) for v in values]


@pytest.mark.parametrize(
    ("values", "bars_", "ends"),
    [
        ((0.5, None, 1.0), "▁·█", "50.0 to 100.0%"),
        ((0.99, 1.0), "▇█", "90.0 to 100.0%"),
        ((0.0, 0.0), "▁▁", "0.0 to 10.0%"),
        ((-0.2, 0.8), "▁█", "-20.0 to 80.0%"),
    ],
)
def test_a_sparkline_says_what_its_ends_mean(values, bars_, ends):
    assert sparkline(estimates(*values)) == (bars_, ends)


def test_a_page_of_a_history_draws_rates_of_several_runs_and_links_reports(tmp_path):
    under = analysis([tool_calling(passing_scores())])
    made = []
    for day in (2, 3):
        folder = tmp_path / "runs" / f"mock-{day}"
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("")
        info = under.run.model_copy(update={"started_at": f"2026-01-0{day}T03:04:05+00:00"})
        made.append((str(folder), under.model_copy(update={"run": info, "run_id": folder.name})))
    past = history(str(tmp_path / "runs"), made, ["runs/x has no analysis.json"])
    page = render_history(past, tmp_path, "1.0")
    assert page.count('<svg viewBox="0 0 360') == 2  # pass@2 and pass^2
    assert '<a href="runs/mock-2/report.html">2026-01-02 03:04</a>' in page
    assert "Left out: runs/x has no analysis.json" in page
    assert "FINDINGS" not in page
    assert "<svg" not in render_history(replace_lines(past), tmp_path, "1.0")


def replace_lines(past):
    """The same history with the first run only."""
    line = past.lines[0]
    return past.model_copy(update={"lines": (line.model_copy(update={"points": line.points[:1]}),)})


def test_recorded_traffic_has_findings_and_no_verdict_in_a_history():
    found = analysis([tool_calling(passing_scores())], decision=None)
    settings = found.run.settings.model_copy(update={"findings_only": True})
    imported = found.model_copy(update={"run": found.run.model_copy(update={"settings": settings})})
    for each, verdict in ((imported, "NO FINDINGS"), (found, "SCORED")):
        [line] = history("runs", [("runs/a", each)]).lines
        assert table(line).rows[0].cells[0].text == verdict
