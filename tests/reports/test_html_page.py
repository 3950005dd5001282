import re
import time
from collections import Counter
from dataclasses import replace
from itertools import cycle, islice, pairwise
from weakref import finalize

from analyses import analysis_of, run_info
from harness.records.judgements import Judgement, Speed, Tokens
from healthy import SUITE, Say, right, rollout
from recorded_runs import broken, many_cases, troubled

from harness.records.scores import Evidence, Finding, Outcome
from reports.html import heatmap, selection
from reports.html.check_list import families, statuses
from reports.html.smoke import render_html
from reports.tries import Try

CASES = SUITE.cases[:3]
CHAT = run_info(apis=("chat",), streaming=(False,), tries=2)


def healthy(tries=2):
    return [
        rollout(right(case), sample=case.id, attempt=number)
        for case in CASES
        for number in range(1, tries + 1)
    ]


def failing():
    return [
        *healthy()[:3],
        rollout([Say(text="I cannot do that.")], sample=CASES[1].id, attempt=2),
        rollout([broken("timeout")], sample=CASES[2].id, attempt=1, end="failed"),
    ]


def page_of(rollouts, info=CHAT):
    judged = []
    analysis = analysis_of(rollouts, info, keep=judged.extend)
    return render_html(analysis, judged, rollouts, {case.id: case.prompt for case in CASES})


def text_of(page):
    return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.S).split())


def test_the_first_screen_says_what_came_of_it_why_and_what_to_do():
    text = text_of(page_of([*failing(), healthy()[5]]))
    parts = ["✕ FAIL", "Why", "pass^2 is 33.3%", "What to do next", "Start with", "Checks and"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_a_run_that_was_cut_off_says_how_to_go_on():
    text = text_of(page_of(healthy()[:5]))
    assert "? INCONCLUSIVE" in text
    assert "1 of 6 planned attempts were not made." in text
    assert "gpt-oss-verify --resume mock-20260102-030405" in text


def test_a_pass_says_so():
    text = text_of(page_of(healthy()))
    assert "✓ PASS" in text
    assert "0 of 6 planned attempts; none allowed" in text
    assert "12 requests, no errors, no retries." in text


def test_every_try_is_a_cell_and_the_missing_one_too():
    page = page_of(failing())
    assert page.count('<button class="cell ') == 5
    assert (
        len(re.findall(r'<i class="cell none" role="img" aria-label="try 2: not run">', page)) == 1
    )
    assert 'data-kind="no_tool_call" aria-label="try 2: no tool call">N</button>' in page
    assert 'data-kind="timeout" aria-label="try 1: timeout">T</button>' in page
    rows = re.findall(r'<tr data-kinds="[^"]*" data-failed="(\d)"', page)
    assert rows == sorted(rows, reverse=True)


def test_only_what_speaks_is_shown_at_first_and_passes_where_nothing_does():
    quiet = analysis_of(failing(), CHAT).checks
    loud = [quiet[0].model_copy(update={"status": "failed"}), *quiet[1:]]
    assert [one.status for one in statuses(loud) if one.shown] == ["failed"]
    assert [one.status for one in statuses(quiet) if one.shown] == ["passed"]
    assert sum(len(family.listed) for family in families(quiet)) == len(quiet)


def test_a_command_with_quotes_can_be_copied_whole():
    info = CHAT.model_copy(update={"command": ("gpt-oss-verify", "-p", "a b", "--model", "x'y&z")})
    page = page_of(healthy(), info)
    shown = re.search(r'<div class="command"><pre><code>(.*?)</code>', page)[1]
    assert (
        shown
        == "gpt-oss-verify -p &#39;a b&#39; --model &#39;x&#39;&#34;&#39;&#34;&#39;y&amp;z&#39;"
    )


def test_transcripts_of_evidence_and_failures_come_before_the_rest(monkeypatch):
    monkeypatch.setattr(selection, "MOST_KEPT", 3)
    page = page_of([*healthy()[1:], *failing()[3:]])
    kept = re.search(r"has the transcripts of (\d+) of (\d+) records", page)
    assert kept.groups() == ("3", "7")
    found = page.split('"transcripts":{')[1]
    for record in (f"{CASES[1].id}/chat/non-streaming/2", f"{CASES[2].id}/chat/non-streaming/1"):
        assert f'"{record}":{{"end"' in found


def test_the_evidence_of_a_probe_can_be_opened():
    analysis = analysis_of(failing(), CHAT)
    found = next(each for each in analysis.checks if each.check.kind == "check")
    probed = rollout([Say(text="Hello.")], sample="probe", attempt=7)
    evidence = Evidence(record=probed.id, exchange=0, expected="a", got="b")
    finding = Finding(id=found.check.id, severity="error", message="wrong", evidence=evidence)
    loud = found.model_copy(update={"status": "failed", "findings": 1, "examples": (finding,)})
    page = render_html(analysis.model_copy(update={"checks": (loud,)}), [], [probed], {})
    assert f'data-r="{probed.id}" href="#try=probe/chat/non-streaming/7"' in page
    assert f'"{probed.id}":{{"end"' in page


def test_a_sample_is_taken_from_all_over_the_run():
    tries = [a_try(number) for number in range(100)]
    chosen = selection.choose([], tries)[:10]
    places = sorted(int(record) for record in chosen)
    assert len(set(places)) == 10
    assert max(b - a for a, b in pairwise(places)) <= 20


def a_try(number):
    return Try(str(number), "row", "chat · non-streaming", number, "success", good=True, score=1.0)


def test_each_way_to_fail_has_its_turn():
    many = [replace(a_try(number), kind="timeout", good=False) for number in range(50)]
    rare = replace(a_try(99), kind="wrong_tool", good=False)
    assert "99" in selection.choose([], [*many, rare])[:2]


# --- Large runs


def many(count, seed=3):
    """Records and judgements of a large run, made from those of a small one."""
    few = list(troubled(many_cases(6), tries=2, seed=seed))
    for number, one in enumerate(islice(cycle(few), count)):
        case, attempt = divmod(number, 20)
        new = {
            "id": f"case-{case}/{one.api}/{number}",
            "sample": f"case-{case}",
            "attempt": attempt + 1,
        }
        yield one.model_copy(update=new)


def judged_of(rollouts):
    for number, one in enumerate(rollouts):
        bad = number % 7 == 0
        yield Judgement(
            record=one.id,
            sample=one.sample,
            api="chat",
            mode="non-streaming",
            attempt=one.attempt,
            outcome=Outcome(kind="no_tool_call" if bad else "success", detail="said no" * bad),
            tokens=Tokens(input=10, output=number % 90, reasoning=3),
            speeds=(Speed(total=number % 50 / 10),),
            requests=1,
        )


def large(count):
    info = run_info(apis=("chat",), streaming=(False,), tries=20)
    analysis = analysis_of([], info, suite=SUITE.first(3))
    return render_html(analysis, judged_of(many(count)), many(count), {})


def test_three_thousand_tries_are_rendered_soon_and_stay_small():
    began = time.process_time()
    page = large(3_000)
    assert time.process_time() - began < 10
    assert 1_000_000 < len(page.encode()) < 5_000_000
    assert page.count('<button class="cell ') == 3_000


def test_few_records_are_held_at_a_time(monkeypatch):
    monkeypatch.setattr(heatmap, "MOST_CELLS", 1_000)
    alive, most = Counter(), 0

    def watched(count):
        nonlocal most
        for one in many(count):
            alive["now"] += 1
            finalize(one, alive.subtract, ["now"])
            most = max(most, alive["now"])
            yield one

    analysis = analysis_of([], run_info(apis=("chat",), streaming=(False,), tries=20))
    page = render_html(analysis, judged_of(many(4_000)), watched(4_000), {})
    assert most < 100
    assert page.count('<button class="cell ') == 1_000
    assert "150 more rows, those with the fewest failures, are not shown" in page
