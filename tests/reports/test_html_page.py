"""The page of a tool-calling run: its order, transcripts, and bounded size."""

import re
import time
from collections import Counter
from itertools import cycle, islice, pairwise
from weakref import finalize

import pytest
from replies import Reply
from reporting import (
    TOOLS,
    analysis,
    condition,
    failed_rule,
    failing,
    failing_scores,
    finding,
    passing,
    passing_scores,
    render,
    rollout,
    rule,
    score,
    tool_calling,
)

from harness.records.register import elsewhere
from harness.records.rollouts import Retry
from harness.records.scores import Timing, UsedTokens
from reports.build import build_report
from reports.html import transcripts
from reports.html.report import render_html

TEXTS = {(TOOLS, sample): f"Prompt of {sample}" for sample in "abc"}


def rollouts_of(scores):
    return [rollout(each, [Reply(text="Hello.")]) for each in scores]


def page_of(found, scores, rollouts=None):
    report = build_report(found, found.run_id, texts=TEXTS)
    return render(report, scores, rollouts or rollouts_of(scores))


def text_of(page):
    return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.S).split())


def test_the_first_screen_shows_the_verdict_its_reasons_and_next_steps():
    text = text_of(page_of(failing(), failing_scores()))
    parts = [
        "✕ FAIL",
        "What to do next",
        "Reproduce a finding",
        "Why",
        "pass^2 is 33.3%",
        "Findings ✕",
        "Checks and",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def retried():
    """The rollouts of a failing run, the first of which was retried."""
    first, *rest = rollouts_of(failing_scores())
    exchange = first.exchanges[0].model_copy(update={"retries": (Retry(status=429, waited=1.0),)})
    return [first.model_copy(update={"exchanges": (exchange,)}), *rest]


EMPTY = failed_rule("usage.sum", "failed", finding("a/chat/non-streaming/1", got=""))
CUT = analysis([tool_calling(passing_scores()[:5])], decision="inconclusive", complete=False)
SHOWN = {
    "an empty reply": (
        (failing().model_copy(update={"checks": (EMPTY,)}), failing_scores()),
        ("got nothing arrived where", f"Also {elsewhere('usage.sum')}."),
    ),
    "an unfinished run": (
        (CUT, passing_scores()[:5]),
        ("? INCONCLUSIVE", "gpt-oss-verify --resume mock-20260102-030405"),
    ),
    "a passing run": (
        (passing(), passing_scores()),
        (
            "✓ PASS",
            "of 6 attempts; none allowed",
            "6 requests, no errors, no retries.",
            "Token counts 2 passed",
        ),
    ),
    "a retry": ((failing(), failing_scores(), retried()), ("after status 429",)),
}


@pytest.mark.parametrize("page", SHOWN)
def test_a_page_has_these_texts(page):
    shown, texts = SHOWN[page]
    text = text_of(page_of(*shown))
    assert [each for each in texts if each not in text] == []


def test_key_figures_follow_the_reasons_and_no_symptom_is_printed_twice():
    first, _, rest = page_of(failing(), failing_scores()).partition('<section id="findings"')
    assert first.index("<h2>Why") < first.index('aria-label="Key figures"')
    assert "The total is not the sum" not in first
    assert text_of(rest.partition('<section id="checks"')[0]).count("The total is") == 1


def test_every_attempt_including_a_missing_one_is_a_cell():
    scores = [*failing_scores()[:4], score("c", 1, "timeout"), score("c", 2, "not_run")]
    page = page_of(analysis([tool_calling(scores)]), scores)
    assert page.count('<button class="cell ') == 5
    assert (
        len(re.findall(r'<i class="cell none" role="img" aria-label="try 2: not run">', page)) == 1
    )
    assert 'data-outcome="no_tool_call" aria-label="try 2: no tool call">N</button>' in page
    assert 'data-outcome="timeout" aria-label="try 1: timeout">T</button>' in page
    rows = re.findall(r'<tr data-outcomes="[^"]*" data-failed="(\d)"', page)
    assert rows == sorted(rows, reverse=True)
    assert 'title="Prompt of c"' in page


def test_only_errors_and_warnings_are_open_at_first():
    opened = re.compile(r'<details class="check (\w+)" open>')
    assert opened.findall(page_of(failing(), failing_scores())) == ["failed"]
    assert opened.findall(page_of(passing(), passing_scores())) == []
    noted = page_of(analysis(checks=[failed_rule("a.b", "passed", finding("r")), rule("a.c")]), [])
    assert opened.findall(noted) == []
    assert noted.count('<details class="check noted">') == 1
    assert noted.count('<div class="rule ') == 2


def test_families_with_failures_come_first():
    checks = [rule("cot.raw"), failed_rule("usage.sum", "failed", finding("r"))]
    text = text_of(page_of(analysis(checks=checks, decision="fail"), []))
    assert text.index("Token counts 1 failed") < text.index("Chain of thought 1 passed")


def test_a_command_with_quotes_can_be_copied():
    command = ("gpt-oss-verify", "-p", "a b", "--model", "x'y&z")
    page = page_of(analysis(run={"command": command}), [])
    shown = re.search(r'<div class="command"><pre><code>(.*?)</code>', page)[1]
    assert '<span class="unbroken">--model</span>' in shown
    assert (
        re.sub("<[^>]+>", "", shown)
        == "gpt-oss-verify -p &#39;a b&#39; --model &#39;x&#39;&#34;&#39;&#34;&#39;y&amp;z&#39;"
    )


def test_transcripts_of_evidence_and_failures_come_before_the_rest(monkeypatch):
    monkeypatch.setattr(transcripts, "MOST_KEPT", 3)
    page = page_of(failing(), failing_scores())
    assert re.search(r"has the transcripts of (\d+) of (\d+) records", page).groups() == ("3", "6")
    found = page.split('"transcripts":{')[1]
    for record in ("b/chat/non-streaming/2", "c/chat/non-streaming/1"):
        assert f'"{record}":{{"end"' in found


def test_the_evidence_of_a_probe_can_be_opened():
    probed = score("probe", 7, "answered", task="cot")
    check = failed_rule("cot.present", "failed", finding(probed.record, "cot.present"))
    page = page_of(analysis(checks=[check], decision="fail"), [probed])
    assert f'data-r="{probed.record}" href="#try=probe/chat/non-streaming/7"' in page
    assert f'"{probed.record}":{{"end"' in page
    assert '<button class="cell ' not in page


def test_measures_are_plotted_for_each_condition():
    modes = [condition(mode=mode) for mode in ("streaming", "non-streaming")]
    scores = [
        score(sample, 1, condition=each, timing=(Timing(2.0, 0.5, 90.0),))
        for sample in "ab"
        for each in modes
    ]
    page = page_of(analysis([tool_calling(scores, 1, each) for each in modes]), scores)
    labels = re.findall(r'aria-label="(Time to first token\. [^"]*)"', page)
    assert labels == ["Time to first token. streaming: median 0.5 s; non-streaming: median 0.5 s"]
    assert page.count("<figcaption>") == 5 + 1
    assert page.count("2 of 2 attempts passed") == 2


def chosen_of(scores):
    candidates = transcripts.Candidates()
    for each in scores:
        candidates.add(each)
    return candidates.choose([])


def test_a_sample_is_taken_from_all_parts_of_the_run():
    chosen = chosen_of([score("row", number) for number in range(1, 101)])[:10]
    places = sorted(int(record.rpartition("/")[2]) for record in chosen)
    assert len(set(places)) == 10
    assert max(b - a for a, b in pairwise(places)) <= 20


def test_few_records_of_a_long_run_are_kept():
    scores = [score("row", number) for number in range(1, 10_001)]
    candidates = transcripts.Candidates()
    for each in scores:
        candidates.add(each)
    assert len(candidates._healthy) < 2_001
    records = [each.record for each in scores]
    assert candidates.choose([]) == list(transcripts._evenly_spaced(records))[:500]


def test_each_kind_of_failure_has_a_transcript():
    many = [score("row", number, "timeout") for number in range(50)]
    rare = score("rare", 1, "wrong_tool")
    assert rare.record in chosen_of([*many, rare])[:2]


def test_the_most_important_transcripts_fit():
    assert transcripts.fitting(["a", "b", "c"], {"a": 60, "b": 50, "c": 40}, 100) == {"a", "c"}


def test_a_page_with_less_room_keeps_the_evidence_and_failures():
    scores = failing_scores()
    report = build_report(failing(), "runs/mock")
    page = render_html(report, scores, lambda _: rollouts_of(scores), most_bytes=2_500)
    found = page.split('"transcripts":{')[1]
    assert '"c/chat/non-streaming/1":{"end"' in found
    assert '"a/chat/non-streaming/1":{"end"' not in found


def test_transcripts_kept_in_memory_are_bounded(monkeypatch):
    scores = failing_scores()
    rollouts = rollouts_of(scores)
    one = len(page_of(failing(), scores[:1], rollouts[:1]))
    monkeypatch.setattr(transcripts, "_HELD", 2_500 / transcripts.MOST_BYTES)
    page = page_of(failing(), scores, rollouts)
    assert len(page) < one + 20_000
    assert '"c/chat/non-streaming/1":{"end"' in page
    assert '"b/chat/non-streaming/1":{"end"' not in page


# --- Large runs


def many(count):
    """Scores of a large run under one condition, 20 tries at each sample."""
    for number in range(count):
        case, attempt = divmod(number, 20)
        bad = number % 7 == 0
        yield score(
            f"case-{case}",
            attempt + 1,
            "no_tool_call" if bad else "success",
            detail="The model called no tool." * bad,
            usage=UsedTokens(10, number % 90, 3),
            timing=(Timing(number % 50 / 10),),
        )


def records(count):
    answers = cycle(
        [[Reply(call=("weather", "{}")), Reply(text="Fine. " * 50)], [Reply(text="No.")]]
    )
    for each, answer in zip(many(count), islice(answers, count), strict=True):
        yield rollout(each, answer)


def large(count, rollouts):
    return page_of(analysis([tool_calling(list(many(40)), 20)]), many(count), rollouts)


def test_a_thousand_attempts_give_a_small_page_quickly():
    began = time.process_time()
    page = large(1_000, records(1_000))
    assert time.process_time() - began < 10
    assert 300_000 < len(page.encode()) < 2_000_000
    assert page.count('<button class="cell ') == 1_000


def test_few_records_are_kept_in_memory(monkeypatch):
    monkeypatch.setattr("reports.html.report.MOST_CELLS", 300)
    alive, most = Counter(), 0

    def watched(count):
        nonlocal most
        for one in records(count):
            alive["now"] += 1
            finalize(one, alive.subtract, ["now"])
            most = max(most, alive["now"])
            yield one

    page = large(1_000, watched(1_000))
    assert most < 100
    assert page.count('<button class="cell ') == 300
    assert "35 more rows" in page
