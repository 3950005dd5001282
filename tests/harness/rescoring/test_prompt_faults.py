"""Which fault of prompts is named, and when none is."""

import math

import pytest
from readings import greedy, sampled

from harness.rescoring.prompt_faults import Hypothesis, decide

_RIGHT = [greedy(30.0, record=f"g{at}") for at in range(3)]
_RIGHT += [sampled(record=f"s{at}") for at in range(3)]


def _after(nats: dict[str, float], *, left: float = 0.0, prompt: str = "other") -> dict:
    """Return readings that are so much more probable than the right ones, by record."""
    made = {}
    for reading in _RIGHT:
        if reading.record in nats:
            values = [value + nats[reading.record] / len(reading.ids) for value in reading.logprobs]
            gaps = [left if at == 3 else 0.0 for at in range(len(reading.ids))]
            changes = {
                "logprobs": values,
                "gaps": gaps,
                "prompt_sha256": f"{prompt} {reading.record}",
            }
            made[reading.key] = reading.model_copy(update=changes)
    return made


def _named(*hypotheses: dict) -> str | None:
    made = [Hypothesis(f"fault{at}", "…", False, each) for at, each in enumerate(hypotheses)]
    found = decide({reading.key: reading for reading in _RIGHT}, made)
    return None if found is None else found.fault


_GREEDY = {"g0": 25.0, "g1": 25.0, "g2": 25.0}


@pytest.mark.parametrize(
    ("hypotheses", "named"),
    [
        ([_after(_GREEDY), _after({"s0": 2.0})], "fault0"),
        ([_after({"g0": 15.0})], None),  # too little
        ([_after(_GREEDY), _after(_GREEDY | {"g2": 23.0}), _after({"g0": 2.0})], "fault0"),
        ([_after(_GREEDY | {"g2": 23.0 + at}) for at in range(4)], None),  # too many are alike
        ([_after(_GREEDY, left=3.0)], None),  # another model: surprise is left
        ([], None),
    ],
)
def test_a_fault_is_named_if_it_alone_explains_the_replies(hypotheses, named) -> None:
    assert _named(*hypotheses) == named


def test_a_fault_of_a_part_of_the_requests_has_its_share() -> None:
    replies = _after(_GREEDY | {"s0": -4.0, "s1": -4.0, "s2": -4.0})
    hypothesis = Hypothesis("part", "…", False, replies)
    found = decide({reading.key: reading for reading in _RIGHT}, [hypothesis])
    assert found is not None
    assert found.share < 1
    assert {record for record, *_ in found.replies} == {"g0", "g1", "g2"}
    assert math.isclose(found.nats, 75, abs_tol=5)


def test_faults_that_the_replies_cannot_tell_apart_are_named_together() -> None:
    alike = [Hypothesis(name, "…", name == "ok:b", _after(_GREEDY)) for name in ("a", "ok:b")]
    found = decide({reading.key: reading for reading in _RIGHT}, alike)
    assert found is not None
    assert ({found.fault, *found.indistinguishable}, found.allowed) == ({"a", "ok:b"}, True)
