"""Each rule that reads the account, on a run with its defect and on a healthy one."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_account import COT, HEALTHY, TEXTS, call, counted, reply, run, twins

from harness.records.conditions import Condition
from harness.records.replies import Row, Wanted
from harness.records.scores import Score
from harness.rules.catalogue import RULES
from harness.rules.check import AccountRule

ACCOUNT_RULES = {id_: rule for id_, rule in RULES.items() if isinstance(rule, AccountRule)}
WHOLE = reply("one, two, three, four, five, six", request="count")
STOPPED = {"request": "count", "stops": ("five",), "end": "stop string"}
DEPTH = Wanted(name="set_depth", arguments={"maxDepth": 7})
LEVELS = Wanted(name="set_levels", arguments={"levels": [1, 2, 3]})

NOTE = '{"note": "salt"}'
NOTES = [call(NOTE, wanted=Wanted(name="add_note"), wrote=NOTE)] * 4

DEFECTIVE = {
    "text.added": twins(lambda text: f"{text} Powered by us."),
    "text.changed": twins(lambda text: text.replace(" ", "")),
    "text.doubled": [*HEALTHY[1:], reply(TEXTS[0] * 2, wrote=TEXTS[0])],
    "reply.broken_off": [
        reply(TEXTS[0][: -9 if cut else None], request=str(number), streamed=bool(cut))
        for number in range(8)
        for cut in (0, 0, 1, 1)
    ],
    "usage.output.lost": twins(lambda text: text[8:]),
    "usage.output.miscounted": [
        counted(one, lambda n, one=one: n + one.streamed) for one in twins(lambda text: text)
    ],
    "usage.output.unexplained": [*HEALTHY[1:], counted(reply(TEXTS[0]), lambda n: n + 61)],
    "stop.followed": [
        replace(each, request=number)
        for number in "abcd"
        for each in [
            WHOLE,
            *[reply("one, two, three, four,  six", wrote=WHOLE.text, **STOPPED)] * 2,
        ]
    ],
    "limits.prefix": [
        replace(each, request=number)
        for number in "abcd"
        for each in [
            WHOLE,
            *[reply("The limit was reached.", COT[:20], request="count", end="limit")] * 2,
        ]
    ],
    "calls.arguments.changed": [
        *NOTES,
        *(
            replace(call('{"max_depth": 7}', "With maxDepth: 7.", DEPTH, "set_depth"), request=name)
            for name in "abcdef"
        ),
    ],
    "calls.arguments.retyped": [
        *NOTES,
        *(
            replace(
                call(
                    '{"levels": "[1, 2, 3]"}',
                    wanted=LEVELS,
                    name="set_levels",
                    wrote='{"levels": [1, 2, 3]}',
                ),
                request=name,
            )
            for name in "abcdef"
        ),
    ],
}


def reporting(rows: Sequence[Row]) -> set[str]:
    """The rules with a finding in a run with these replies."""
    account, records = run(rows)
    condition = Condition(model="m", api="chat", mode="streaming")
    found = set()
    for record, one in zip(records, rows, strict=True):
        made = Score(record, "probes", "sample", condition, 1, "answered")
        score = replace(made, rows=(replace(one, record=record),))
        found |= {id_ for id_, rule in ACCOUNT_RULES.items() if rule.result(score, account)[1]}
    return found


@pytest.mark.parametrize("rule", ACCOUNT_RULES)
def test_each_rule_reports_its_defect(rule: str) -> None:
    """A rule without a row has no proof."""
    assert rule in reporting(DEFECTIVE[rule])


def test_no_rule_reports_a_healthy_run() -> None:
    assert reporting(HEALTHY) == set()
