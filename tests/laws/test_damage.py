"""Place: damage accuses no other reply. Dose: more damage is not seen less."""

import itertools
from functools import cache

import pytest
from corpus import Judgement
from runs import DAMAGES, EFFORT, Changes, damaged, samples

from harness.records.conditions import BOTH_APIS, MODES
from harness.records.rollouts import Rollout

_DOSES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0) if EFFORT > 1 else (0.05, 0.25, 1.0)
_SAMPLES = 0.25  # the share of the run that is damaged and judged
_MODES = tuple(itertools.product(BOTH_APIS, MODES))
_SHOWN_BY_TWINS = ("the end of the answer lost", "the first word of the answer lost")
"""Damage of a few tokens, which a spelling explains: only intact equal replies show it."""
_CASES = [
    (damage, part, at + more * len(DAMAGES))
    for more in range(EFFORT)
    for at, damage in enumerate(DAMAGES)
    for part in ((), *(_MODES if EFFORT > 1 else _MODES[at % len(_MODES) :][: at % 2]))
]


@cache
def _judged(
    damage: str, part: tuple[str, ...], seed: int
) -> list[tuple[float, frozenset[str], Judgement]]:
    """Judge some samples with each dose of the damage, in one API and mode or in all."""

    def is_in_part(one: Rollout) -> bool:
        return not part or (one.api, one.condition.mode) == part

    changes = Changes.of(
        samples(_SAMPLES, seed), lambda one: damaged(one, DAMAGES[damage]), is_in_part, seed
    )
    runs = ((dose, *changes.some(dose)) for dose in _DOSES)
    return [(dose, ids, changes.recorded.judged(made)) for dose, made, ids in runs]


@pytest.mark.parametrize(("damage", "part", "seed"), _CASES)
def test_only_damaged_replies_are_accused(damage, part, seed):
    """A mistake of the model that was tolerated before may be among what is no longer."""
    own = {(one.rule, one.record) for one in samples(_SAMPLES, seed).judged().findings}
    for dose, ids, judgement in _judged(damage, part, seed):
        accused = [
            (dose, one.rule, one.record, one.message)
            for one in judgement.findings
            if one.severity != "info" and one.record not in ids
            if (one.rule, one.record) not in own
        ]
        assert not accused


@pytest.mark.parametrize(("damage", "part", "seed"), _CASES)
def test_more_damage_is_not_seen_less(damage, part, seed):
    """Which rule reports it may change: a reply without an intact twin is judged by its count."""
    before = 0
    for dose, ids, judgement in _judged(damage, part, seed):
        found = len(judgement.accused("error") & ids)
        least = min(before, 1) if damage in _SHOWN_BY_TWINS else before
        assert found >= least, f"{found} accused at {dose:.0%}, {before} with less of {damage}"
        before = found
