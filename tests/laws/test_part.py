"""Part: each part of a healthy run is healthy."""

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import EFFORT, healthy_run, samples, statuses

from harness.records.conditions import BOTH_APIS, MODES
from harness.rules.suites import choose

_PROBES = choose("standard").probes
_RULES_OF_A_GROUP = 3 * EFFORT  # that are chosen alone


def _shapes() -> Iterator[dict[str, Any]]:
    apis, modes = ([(one,) for one in all_] + [all_] for all_ in (BOTH_APIS, MODES))
    for shape in itertools.product(apis, modes, ("tools", "standard")):
        yield dict(zip(("apis", "modes", "suite"), shape, strict=True))
    families = sorted({probe.about.family for probe in _PROBES})
    yield from ({"only": (family,)} for family in families)
    yield from ({"only": (family, "cases")} for family in families)
    for _, group in itertools.groupby(_PROBES, lambda probe: probe.group.name):
        yield from ({"only": (one.id,)} for one in itertools.islice(group, _RULES_OF_A_GROUP))


@pytest.mark.parametrize("shape", [*_shapes()], ids=lambda s: " ".join(map(str, s.values())))
def test_a_run_with_other_settings_is_healthy(shape):
    judgement = healthy_run().with_settings(shape).judged()
    assert not statuses(judgement)
    assert not judgement.causes


@pytest.mark.parametrize("number", [10, 25, 50, 100, 200, 400, 800])
def test_the_first_and_last_attempts_are_healthy(number):
    recorded = healthy_run()
    assert not statuses(recorded.judged(recorded.rollouts[:number]))
    assert not statuses(recorded.judged(recorded.rollouts[-number:]))


@settings(max_examples=6 * EFFORT, deadline=None)
@given(share=st.sampled_from([0.02, 0.1, 0.3, 0.7]), seed=st.integers(0, 10**6))
def test_a_random_share_of_the_samples_is_healthy(share, seed):
    assert not statuses(samples(share, seed).judged())


@settings(max_examples=4 * EFFORT, deadline=None)
@given(share=st.sampled_from([0.02, 0.1, 0.3, 0.7]), seed=st.integers(0, 10**6))
def test_a_random_share_of_the_attempts_is_healthy(share, seed):
    random, recorded = Random(seed), healthy_run()
    kept = [one for one in recorded.rollouts if random.random() < share]
    assert not statuses(recorded.judged(kept))
