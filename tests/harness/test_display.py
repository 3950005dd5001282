import io

import pytest
from harness.display import DebugDisplay, LineDisplay, LiveDisplay, display
from harness.scoring.judge import Judge
from harness.verification.tally import SmokeTally
from healthy import SUITE, Say, right, rollout
from rich.console import Console

from harness.records.rollouts import Response

JUDGE = Judge(SUITE, strict=False)
CASE = SUITE.cases[0]


def finished(screen, answers, **more):
    screen.finished(rollout(answers, sample=CASE.id, **more))


def shown(screen, stream):
    with screen.shown():
        screen.stage("starting the provider")
        screen.begin(4, 1)
        finished(screen, right(CASE))
        finished(screen, [Say(text="No.")])
        finished(screen, right(CASE))
    return stream.getvalue()


def test_plain_lines_when_not_a_terminal():
    stream = io.StringIO()
    screen = display(Console(file=stream, width=200), SmokeTally(JUDGE), debug=False)
    assert isinstance(screen, LineDisplay)
    assert shown(screen, stream).splitlines() == [
        "starting the provider …",
        "sampling 4 attempts, 1 of them already done",
        "4/4 · 66.7% passed so far · 0 errors · 100 tokens",
    ]


def test_an_overloaded_provider_is_named_for_as_long_as_it_is():
    stream = io.StringIO()
    screen = LineDisplay(Console(file=stream, width=200), SmokeTally(JUDGE))
    screen.begin(1, 0)
    for limit in (16, 31, 32):
        screen.limit_changed(limit, 32)
        finished(screen, right(CASE))
        screen.begin(1, 0)
    said = [line.partition(" errors")[2] for line in stream.getvalue().splitlines()[1::2]]
    assert said == [
        " · 40 tokens · overloaded, 16 at once",
        " · 80 tokens · overloaded, 31 at once",
        " · 120 tokens",
    ]


def test_a_live_line_on_a_terminal():
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    screen = display(console, SmokeTally(JUDGE), debug=False)
    assert isinstance(screen, LiveDisplay)
    text = shown(screen, stream)
    assert "4/4 · 66.7% passed so far · 0 errors · 100 tokens · 0:00 left" in text


def test_the_live_line_says_what_is_waited_for():
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    screen = LiveDisplay(console, SmokeTally(JUDGE))
    screen.stage("starting the provider")
    console.print(screen)
    assert stream.getvalue().strip().endswith("starting the provider …")


def test_the_live_line_says_when_it_will_be_over(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("harness.display.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    screen = LiveDisplay(console, SmokeTally(JUDGE))
    screen.begin(100, 40)
    console.print(screen)
    now[0] += 30
    finished(screen, right(CASE))
    finished(screen, right(CASE))
    console.print(screen)
    first, second = (line.strip() for line in stream.getvalue().splitlines())
    assert first.endswith("40/100 · nothing finished yet · time left unknown")
    assert second.endswith("42/100 · 100.0% passed so far · 0 errors · 80 tokens · 14:30 left")


def test_debug_prints_what_was_sent_and_what_came():
    stream = io.StringIO()
    screen = display(Console(file=stream, width=40), SmokeTally(JUDGE), debug=True)
    assert isinstance(screen, DebugDisplay)
    finished(screen, right(CASE))
    text = stream.getvalue()
    assert f"──── {CASE.id}/chat/non-streaming/1 · request 2" in text
    assert "POST http://test/v1/chat/completions" in text
    assert '"role": "assistant", "content": "All done."' in text


def test_nothing_that_came_steers_the_terminal():
    stream = io.StringIO()
    screen = display(Console(file=stream, width=40), SmokeTally(JUDGE), debug=True)
    answer = Response(status=200, headers={}, body="\x1b[2J\x9b2J\r\x07\ttab")
    screen.begin(1, 0)
    screen.finished(rollout([answer], sample=CASE.id, end="unreadable"))
    assert "\\x1b[2J\\x9b2J\\r\\x07" in stream.getvalue()
    assert not {"\x1b", "\x9b", "\r", "\x07"} & set(stream.getvalue())


@pytest.mark.parametrize(("broken", "text"), [(1, "1 error ·"), (2, "2 errors ·")])
def test_errors_are_counted(broken, text):
    tally = SmokeTally(JUDGE)
    assert str(tally) == "nothing finished yet"
    for _ in range(broken):
        tally.add(rollout([], sample=CASE.id, end="unreadable"))
    assert text in str(tally)
