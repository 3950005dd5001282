"""Each rule that reads the account, on a run with its defect and on a healthy one."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_account import COT, HEALTHY, REFUSALS, TEXTS, call, counted, reply, run, twins

from harness.records.conditions import Condition
from harness.records.replies import Row, Wanted
from harness.records.scores import Score
from harness.rules.catalogue import RULES
from harness.rules.check import AccountRule

ACCOUNT_RULES = {id_: rule for id_, rule in RULES.items() if isinstance(rule, AccountRule)}
WHOLE = reply("one, two, three, four, five, six", request="count")
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
            call(
                f'{{"max_depth": {n}}}',
                f"With maxDepth: {n}.",
                Wanted(name="set_depth", arguments={"maxDepth": n}),
                "set_depth",
            )
            for n in range(6)
        ),
    ],
    "calls.arguments.retyped": [
        *NOTES,
        *(
            call(
                f'{{"levels": "[1, 2, {n}]"}}',
                wanted=Wanted(name="set_levels", arguments={"levels": [1, 2, n]}),
                name="set_levels",
                wrote=f'{{"levels": [1, 2, {n}]}}',
            )
            for n in range(6)
        ),
    ],
    "reply.degenerates": [
        replace(reply(text, request="again"), streamed=True)
        for text in (TEXTS[0], f"{TEXTS[0]} of of of of", f"{TEXTS[0]} of of of of of")
    ],
    "reply.declined": [
        *(reply(f"{text} {at}") for at in range(3) for text in TEXTS),
        *(
            replace(reply(said, "", wrote=text, thought=COT), request=said, greedy=False)
            for said, text in zip(REFUSALS, TEXTS, strict=False)
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
