"""The time left of simulated runs is about right, also of a slow server and of a resumed run."""

import heapq
import random
from collections import Counter

import pytest

from gpt_oss_verify.time_left import TimeLeft

# Attempts, and the tokens of a reply, of tasks in the order in which they are made; as in a run of
# the default suite.
TASKS = [
    ("cases", 12, 400),
    ("prompt", 294, 20),
    ("limits", 79, 60),
    ("tools.arguments", 184, 90),
    ("sampling", 230, 70),
    ("structured", 87, 150),
    ("state", 60, 100),
    ("cases", 132, 400),
]
SCREEN = 10.0  # seconds to which the time left is rounded


def run_of(speed, at_once, *, latency=0.5, earlier=0.0, share=1.0):
    """Return the tasks and durations of earlier attempts, and the ends and begins of the others.

    Each of these has its time, the id and task of the attempt, and how long it takes.
    """
    chance = random.Random(7)
    planned = [
        (task, latency + tokens * chance.lognormvariate(0, 0.5) / speed)
        for task, count, tokens in TASKS
        for _ in range(round(count * share))
    ]
    made = round(earlier * len(planned))
    free, events = [0.0] * at_once, []
    for number, (task, took) in enumerate(planned[made:]):
        begins = heapq.heappop(free)
        events += [(begins, "begins", number, task, took)]
        events += [(begins + took, "ends", number, task, took)]
        heapq.heappush(free, begins + took)
    return planned[:made], sorted(events, key=lambda event: (event[0], event[1] == "begins"))


@pytest.mark.parametrize(
    "run",
    [
        run_of(200, 8),
        run_of(15, 8),
        run_of(80, 1),
        run_of(40, 32),
        run_of(60, 8, earlier=0.3),
        run_of(60, 8, earlier=0.8),
        run_of(100, 8, latency=6),
        run_of(30, 4, share=0.2),
        run_of(50, 16, share=3),
        run_of(8, 32, latency=3),
    ],
    ids="fast slow one_at_once many resumed resumed_late remote small many_tries busy".split(),
)
def test_the_time_left_is_right_within_a_factor_of_two_over_the_last_two_thirds(run):
    earlier, events = run
    end = events[-1][0]
    left = TimeLeft(Counter(task for _, kind, _, task, _ in events if kind == "ends"), 0.0)
    for task, took in earlier:
        left.before(task, took)
    wrong, told = [], 0
    looks = [end * (1 / 3 + part / 300) for part in range(200)]
    for when, kind, number, task, took in events:
        while looks and looks[0] < when:
            now = looks.pop(0)
            estimate, true = left.estimate(now), end - now
            told += estimate is not None
            if estimate is not None and abs(estimate - true) > SCREEN:
                wrong += [(now, estimate)] if not true / 2 <= estimate <= true * 2 else []
        if kind == "begins":
            left.started(number, task, when)
        else:
            left.stopped(number)
            left.ended(task, took)
    assert told >= 190
    assert len(wrong) <= told * 0.1, wrong


def test_an_attempt_that_takes_longer_than_all_others_is_expected_to_go_on():
    left = TimeLeft({"cases": 21}, 0.0)
    for number in range(21):
        left.started(str(number), "cases", 0.0)
    for number in range(20):
        left.stopped(str(number))
        left.ended("cases", 1.0)
    assert left.estimate(100.0) == pytest.approx(50, rel=0.01)
    assert left.estimate(1_000.0) == pytest.approx(500, rel=0.01)
