"""What readings say: damaged texts, another model, and nothing of healthy replies."""

import math

import numpy as np
import pytest
from readings import FAIR, greedy, sampled

from harmony.vocabulary import encode
from harness.records.readings import Reading
from harness.rescoring.judgement import OTHER_MODEL, judged

_HEALTHY = [greedy() for _ in range(60)] + [sampled(0.3) for _ in range(60)]
_NO_FORMAT = 0.4  # nats, as bfloat16 makes them


@pytest.mark.parametrize(
    ("odd", "accused", "other_model"),
    [
        ([], 0, False),
        ([greedy(_NO_FORMAT) for _ in range(40)], 0, False),
        ([greedy(0.0, 25.0)], 1, False),
        ([greedy(9.0), greedy(12.0)], 2, False),
        ([greedy(2.0)], 0, False),  # one tie that another order of sums decides otherwise
        ([greedy(2.0) for _ in range(5)], 0, True),
        ([sampled(0.0, 30.0)], 1, False),
        ([sampled(9.0)], 0, False),  # one of 120 replies may have a token of 1 in 8,000
        ([sampled(14.0) for _ in range(20)], 20, False),
    ],
)
def test_what_a_few_replies_show(odd, accused, other_model) -> None:
    judgement = judged([*_HEALTHY, *odd])
    assert {each.reading.record for each in judgement.improbable} <= {r.record for r in odd}
    assert (len(judgement.improbable), judgement.other_model) == (accused, other_model)


def test_the_first_improbable_token_is_named() -> None:
    judgement = judged([*_HEALTHY, greedy(0.0, 25.0, 60.0), sampled(0.0, 5.0, 80.0)])
    assert [each.token for each in judgement.improbable] == [4, 5]


def test_only_the_first_gap_of_a_reply_counts() -> None:
    """After a changed text, the model may be improbable a little in many places."""
    odd = [greedy(30.0, 2.0, 3.0) for _ in range(20)]
    assert not judged([*_HEALTHY, *odd]).other_model


def test_what_the_model_did_not_choose_is_not_judged() -> None:
    free = [True, True, True, False, *[True] * 4]
    assert not judged([*_HEALTHY, greedy(50.0, judged=free)]).improbable


def test_equal_greedy_replies_are_one_piece_of_evidence() -> None:
    copies = [greedy(2.0, prompt_sha256="one") for _ in range(8)]
    judgement = judged([*_HEALTHY, *copies])
    assert (len(judgement.deviating), judgement.other_model) == (1, False)


@pytest.mark.parametrize(("count", "accused"), [(3, 0), (12, 12)])
def test_a_reply_may_end_after_its_cot_as_often_as_models_malform_headers(count, accused) -> None:
    ids = encode("<|channel|>analysis<|message|>I look.<|return|>")
    gaps = [*[0.0] * (len(ids) - 4), 30.0]  # the first three tokens have none
    lost = [greedy(*gaps, text="I look.", ids=ids) for _ in range(count)]
    assert len(judged([*_HEALTHY, *lost]).improbable) == accused


def test_less_than_half_of_the_replies_is_not_enough() -> None:
    unread = [Reading(record=f"u{n}", exchange=0, unread="images") for n in range(121)]
    assert not judged([*_HEALTHY, *unread]).enough
    assert judged([*_HEALTHY, *unread[:119]]).enough


def _drawn(probability: float, places: int, seed: int) -> list[Reading]:
    """Sampled replies whose places have the first of two tokens with this probability.

    The reader finds both equally probable, up to a tenth of a nat.
    """
    random = np.random.default_rng(seed)
    high, low = math.log(0.75), math.log(0.25)
    return [
        sampled(open=[(high if random.random() < probability else low, (high, low))])
        for _ in range(places)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("probability", "found"), [(0.75, (False, False)), (0.5, (True, False)), (0.95, (False, True))]
)
def test_sums_tell_samples_of_the_model_from_others(probability, found, seed) -> None:
    judgement = judged(_drawn(probability, 400, seed))
    assert (judgement.other_model, judgement.too_certain) == found


def test_few_uncertain_places_say_nothing() -> None:
    assert judged([sampled(open=[FAIR]) for _ in range(19)]).sums == {}


def test_a_part_of_the_run_is_judged_by_itself() -> None:
    replies = [*_drawn(0.75, 2000, 1), *_drawn(0.4, 100, 2)]
    part = {reading.record for reading in replies[2000:]}
    judgement = judged(replies, lambda r: ["chat"] if r.record in part else ["responses"])
    assert judgement.sums["chat"].low < OTHER_MODEL < judgement.sums["responses"].low


def test_false_alarms_of_sums_are_as_rare_as_stated() -> None:
    """Of 300 healthy parts, none is another model, and about 5% have a p-value below 5%."""
    low = [judged(_drawn(0.75, 60, seed)).sums[""].low for seed in range(100, 400)]
    assert min(low) > OTHER_MODEL
    assert 0.02 < np.mean(np.array(low) < 0.05) < 0.09
