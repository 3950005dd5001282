"""Denominator: a reply that is unreadable, lost or refused changes the rate of nothing else."""

from collections.abc import Callable, Mapping

import pytest
from corpus import Judgement
from runs import DAMAGES, EFFORT, Changes, damaged, samples, with_response

from harness.records.rollouts import Response, Rollout
from harness.rules.catalogue import CHECKS
from harness.rules.check import AccountRule

_LOST: Mapping[str, Callable[[Response], Response]] = {
    "refused": lambda _: Response(status=503, headers={}, body='{"error": {"message": "Busy."}}'),
    "unreadable": lambda _: Response(status=200, headers={}, body="<html>Welcome!</html>"),
    "cut": lambda r: r.model_copy(
        update={"complete": False, "parts": r.parts[: len(r.parts) // 2]}
    ),
}
_TRIED = [*DAMAGES] if EFFORT > 1 else [*DAMAGES][1::4]
_CASES = [None, *_TRIED]


def _findings(
    judgement: Judgement, but: frozenset[str], tolerated: bool = False
) -> set[tuple[str, str]]:
    """Return the findings of checks; of probes, a judgement has only examples.

    What the account says of a reply counts as one: its count decides if its twin is lost. Whether a
    share is `tolerated` depends on the number of replies.
    """
    counted = (one for one in judgement.findings if tolerated or one.severity != "info")
    named = (
        (one, isinstance(CHECKS[one.rule], AccountRule)) for one in counted if one.rule in CHECKS
    )
    return {
        ("account" if own else one.rule, one.record) for one, own in named if one.record not in but
    }


@pytest.mark.parametrize("lost", _LOST)
@pytest.mark.parametrize("damage", _CASES)
def test_lost_replies_change_no_other_judgement(damage, lost):
    def lose(one: Rollout) -> Rollout | None:
        response = one.exchanges[-1].response
        if response is None or not response.good_status:
            return None
        end = "unreadable" if lost == "unreadable" else "failed"
        return with_response(one, _LOST[lost](response)).model_copy(update={"end": end})

    recorded = samples(0.3, 5)
    rollouts = list(recorded.rollouts)
    if damage is not None:
        rollouts, _ = Changes.of(recorded, lambda one: damaged(one, DAMAGES[damage])).some(0.4)
    before = recorded.judged(rollouts)
    places = {one.id: at for at, one in enumerate(rollouts)}
    _, ids = Changes.of(recorded, lose, seed=7).some(0.1)
    for id_ in ids:
        rollouts[places[id_]] = lose(rollouts[places[id_]]) or rollouts[places[id_]]
    assert _findings(recorded.judged(rollouts), ids) <= _findings(before, ids, tolerated=True)
