"""The words of accusations, and which rule they are of."""

import math

import pytest
from readings import greedy, sampled

from harmony.vocabulary import encode
from harness.records.readings import PromptFault, ReaderInfo, Reading
from harness.rescoring.accusations import accused
from harness.rescoring.log import ReadRun

_READER = ReaderInfo(name="engine 1", model="gpt-oss-small", dtype="float32")
_HEALTHY = [greedy() for _ in range(60)] + [sampled(0.3) for _ in range(60)]
_FAULT = PromptFault(
    fault="system-dropped",
    description="The prompt lacks the system message.",
    nats=80.4,
    second=3.0,
    replies=(("odd0", 0, 0), ("odd1", 0, 0), ("odd2", 0, 0)),
)


def _rules(odd: list[Reading], fault: PromptFault | None = None) -> dict[str, str]:
    """Return the rule that accuses each odd reply, by record."""
    readings = [*_HEALTHY, *odd]
    by_record, _ = accused(
        ReadRun(_READER, readings, fault), {reading.record: "chat" for reading in readings}
    )
    return {reading.record: by_record[reading.record][0].rule for reading in odd}


def _odd(count: int, *gaps: float) -> list[Reading]:
    return [greedy(*gaps, record=f"odd{at}") for at in range(count)]


@pytest.mark.parametrize(
    ("odd", "fault", "rule"),
    [
        (_odd(3, 40.0), None, "reference.text"),
        (_odd(3, 2.0), None, "reference.model"),
        (_odd(3, 40.0), _FAULT, "reference.prompt"),
        (_odd(3, 2.0), _FAULT, "reference.prompt"),
        (_odd(3, 40.0), _FAULT.model_copy(update={"allowed": True}), ""),
        (_odd(1, 2.0), None, ""),
    ],
)
def test_the_rule_that_accuses(odd, fault, rule) -> None:
    assert set(_rules(odd, fault).values()) == {rule}


def test_beside_another_model_a_large_gap_is_no_damage() -> None:
    odd = _odd(3, 40.0) + [greedy(2.0, record=f"small{at}") for at in range(6)]
    assert "reference.text" not in _rules(odd).values()


def test_many_damaged_texts_are_damage_although_some_replies_differ_a_little() -> None:
    odd = _odd(20, 40.0) + [greedy(2.0, record=f"small{at}") for at in range(3)]
    assert list(_rules(odd).values()).count("reference.text") == 20


def test_a_damaged_text_is_told_with_its_place() -> None:
    best = [0] * 5 + encode(" high") + [0, 0]
    readings = [*_HEALTHY, greedy(0.0, 0.0, 30.0, record="odd", best=best)]
    by_record, figures = accused(
        ReadRun(_READER, readings), {reading.record: "chat" for reading in readings}
    )
    reply = by_record["odd"][0]
    assert (reply.place, reply.got) == ("answer", " low.<|return|>")
    assert reply.expected == "after 'It is': ' high', which is 30.0 nats more probable"
    assert (figures.improbable, figures.read, figures.enough) == (1, 121, True)


def test_replies_that_are_too_predictable_are_of_sampling() -> None:
    place = (math.log(0.6), (math.log(0.6), math.log(0.4)))
    predictable = [sampled(record=f"s{at}", open=[place]) for at in range(100)]
    assert set(_rules(predictable).values()) == {"reference.sampling"}


def test_nothing_is_said_if_less_than_half_was_read() -> None:
    unread = [Reading(record=f"u{at}", exchange=0, unread="images") for at in range(200)]
    readings = [*_HEALTHY, *_odd(1, 40.0), *unread]
    by_record, figures = accused(
        ReadRun(_READER, readings), {reading.record: "chat" for reading in readings}
    )
    assert not by_record
    assert (figures.enough, figures.unread) == (False, {"images": 200})


def test_a_witness_without_known_weights_says_nothing_of_them() -> None:
    readings = [*_HEALTHY, *_odd(3, 2.0)]
    reader = _READER.model_copy(update={"judges_numbers": False})
    by_record, _ = accused(ReadRun(reader, readings), {each.record: "chat" for each in readings})
    replies = [reply for replies in by_record.values() for reply in replies]
    assert {(reply.rule, reply.numbers) for reply in replies} == {("", False)}
