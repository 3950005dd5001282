"""Sampling of tokens: temperature, top_p, top_k, seeds, constraints, and logprobs."""

import math
from collections import Counter

import pytest
import torch

from reference_engine.generation import sampling
from reference_engine.generation.sampling import Draw, SamplingParams, uniform
from reference_engine.model.logits import AllLogits


def sample(logits, draws):
    return sampling.sample(AllLogits(logits), draws)


def draw(logits, *, seed=0, **wishes):
    params = SamplingParams(max_tokens=1, **wishes)
    return sample(torch.as_tensor(logits, dtype=torch.float32)[None], [Draw(params, seed, 0)])[0]


def test_uniform_numbers_are_uniform_and_depend_only_on_seed_and_step():
    numbers = [uniform(seed, step) for seed in range(100) for step in range(100)]
    assert all(0 <= number < 1 for number in numbers)
    assert len(set(numbers)) == len(numbers)
    counts = Counter(int(number * 10) for number in numbers)
    assert all(abs(count - 1000) < 150 for count in counts.values())
    assert uniform(7, 3) == uniform(7, 3)
    assert uniform(-1, 0) == uniform(2**64 - 1, 0)


SHARES = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()
RARE = [0.0 if token in (3, 777) else -math.inf for token in range(1000)]


@pytest.mark.parametrize(
    ("logits", "wishes", "drawn"),
    [
        ([0.0, 3.0, 2.9], {"temperature": 0}, {1}),
        (RARE, {}, {3, 777}),  # impossible tokens are never drawn
        ([-math.inf, 0.0, -math.inf], {"top_p": 0.5}, {1}),
        ([1.0, 1.0, 0.0, 1.0], {"top_k": 2}, {0, 1}),  # no more of equally probable tokens
        (SHARES, {"top_p": 0.3}, {1}),
        (SHARES, {"top_p": 0.4}, {1}),
        (SHARES, {"top_p": 0.6}, {1, 2}),
        (SHARES, {"top_p": 0.75}, {1, 2, 3}),
        (SHARES, {"top_p": 0.95}, {0, 1, 2, 3}),
        (SHARES, {"top_p": 1.0}, {0, 1, 2, 3}),
    ],
)
def test_only_the_tokens_that_the_limits_leave_are_drawn(logits, wishes, drawn):
    assert {draw(logits, seed=seed, **wishes).id for seed in range(200)} == drawn


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-40, 1e-20])
def test_a_tiny_temperature_selects_the_most_probable_token(temperature):
    """These temperatures, or logits divided by them, underflow or overflow float32."""
    logits = torch.tensor([0.0, 30.0, 29.0, -40.0]).expand(3, -1)
    wishes = [SamplingParams(1, temperature=temperature, top_p=top_p) for top_p in (1.0, 0.5, 1e-9)]
    tokens = sample(logits, [Draw(params, 3, 0) for params in wishes])
    assert [token.id for token in tokens] == [1, 1, 1]


@pytest.mark.parametrize("top_p", [1, 0.5])
def test_a_tiny_temperature_and_large_logits_do_not_overflow(top_p):
    logits = torch.zeros(1, 300)
    logits[0, 7] = 1e12
    (token,) = sample(logits, [Draw(SamplingParams(temperature=1e-30, top_p=top_p), 0, 0)])
    assert token.id == 7


def test_flat_logits_of_the_whole_vocabulary_reach_every_part_of_it():
    vocabulary, draws = 201_088, 200
    params = SamplingParams(max_tokens=1)
    ids = [
        sample(torch.zeros(1, vocabulary), [Draw(params, 5, step)])[0].id for step in range(draws)
    ]
    expected = [min(int(uniform(5, step) * vocabulary), vocabulary - 1) for step in range(draws)]
    assert max(abs(a - b) for a, b in zip(ids, expected, strict=True)) <= 1


def limited(logits, temperature, top_k, top_p):
    """The probabilities after top_k and then top_p, one token after another."""
    rest = (logits.double() / temperature).softmax(-1).tolist()
    ranked = sorted(range(len(rest)), key=lambda token: (-rest[token], token))[: top_k or None]
    whole = sum(rest[token] for token in ranked)
    kept, reached = [], 0.0
    for token in ranked:
        if reached < top_p * whole:
            kept.append(token)
        reached += rest[token]
    total = sum(rest[token] for token in kept)
    return torch.tensor([rest[n] / total if n in kept else 0.0 for n in range(len(rest))])


@pytest.mark.parametrize(
    ("candidates", "size", "top_k", "top_p", "temperature"),
    [
        *((1024, size, 0, 1, each) for size in (5, 128, 300) for each in (1.0, 0.5, 2.0)),
        *(
            (candidates, 300, *limits)
            for candidates in (4, 1024)
            for limits in ((1, 1, 2.0), (3, 1, 1.0), (8, 1, 0.7), (8, 0.6, 1.0), (30, 0.9, 2.0))
        ),
        *((4, 300, 1000, 0.8, 1.0), (1024, 300, 1000, 0.8, 1.0)),
    ],
)
def test_frequencies_follow_the_plain_probabilities(
    monkeypatch, candidates, size, top_k, top_p, temperature
):
    """With four candidates, a larger top_k is drawn from the whole vocabulary."""
    monkeypatch.setattr(sampling, "CANDIDATES", candidates)
    logits = torch.randn(size, generator=torch.Generator().manual_seed(3)) * 2
    draws = 4000
    params = SamplingParams(1, temperature=temperature, top_k=top_k, top_p=top_p)
    tokens = sample(logits.expand(draws, -1), [Draw(params, 11, step) for step in range(draws)])
    counts = torch.bincount(torch.tensor([token.id for token in tokens]), minlength=size)
    expected = limited(logits, temperature, top_k, top_p) * draws
    assert not counts[expected == 0].any()
    assert ((counts - expected).abs() < 5 * (expected.sqrt() + 1)).all()


def test_logprobs_ignore_temperature_top_p_and_top_k():
    logits = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()
    token = draw(logits, temperature=0, top_p=0.5, top_k=1, top_logprobs=2)
    assert (token.id, token.logprob) == (1, pytest.approx(math.log(0.4)))
    assert [pair[0] for pair in token.top] == [1, 2]
    assert [pair[1] for pair in token.top] == pytest.approx([math.log(0.4), math.log(0.3)])


class Among:
    """A constraint that always allows the same tokens."""

    def __init__(self, allowed):
        self.mask = allowed

    def take(self, token):
        return bool(self.mask[token])

    def allowed(self):
        return self.mask


@pytest.mark.parametrize(
    ("top_p", "top_k", "drawn"), [(1.0, 0, {1, 2, 4}), (0.7, 0, {2, 4}), (1.0, 1, {2})]
)
def test_a_constraint_keeps_the_odds_of_the_allowed_tokens(top_p, top_k, drawn):
    logits = torch.tensor([0.3, 0.1, 0.25, 0.2, 0.15]).log()
    rule = Among(torch.tensor([False, True, True, False, True]))
    draws = [Draw(SamplingParams(1, top_p=top_p, top_k=top_k), 7, n, rule) for n in range(900)]
    counts = Counter(token.id for token in sample(logits.expand(900, -1), draws))
    assert counts.keys() == drawn
    if len(drawn) == 3:
        assert [counts[n] / 900 for n in (1, 2, 4)] == pytest.approx([0.2, 0.5, 0.3], abs=0.06)


def test_a_constraint_does_not_change_logprobs():
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log()
    rule = Among(torch.tensor([True, False, False, True]))
    [token] = sample(logits, [Draw(SamplingParams(1, temperature=0, top_logprobs=1), 0, 0, rule)])
    assert (token.id, token.logprob) == (3, pytest.approx(math.log(0.2)))
    assert token.top[0][0] == 1


def test_logprobs_are_returned_only_on_request_and_finite():
    assert draw([0.0, -500.0], top_logprobs=2).top[1][1] == pytest.approx(-500)
    assert draw([0.0, 1.0]).logprob is None
    alone = draw([0.0, 1.0], top_logprobs=0)
    assert (alone.logprob is not None, alone.top) == (True, ())


def test_a_row_gives_the_same_token_alone_and_in_a_batch():
    logits = torch.randn(20, 5000, generator=torch.Generator().manual_seed(4)) * 3
    draws = [
        Draw(SamplingParams(max_tokens=1, temperature=[0.7, 1.0][n % 2], top_logprobs=3), n, 9)
        for n in range(20)
    ]
    together = sample(logits, draws)
    assert [sample(logits[n : n + 1].clone(), draws[n : n + 1])[0] for n in range(20)] == together


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"top_logprobs": -1},
    ],
)
def test_invalid_parameters_are_rejected(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplingParams(**{"max_tokens": 1, **wrong})


@pytest.mark.parametrize(("spread", "counts"), [(8.0, [20]), (0.5, [20, 300])])
@pytest.mark.parametrize("limit", [{"top_p": 0.5}, {"top_k": 5}])
def test_the_vocabulary_is_sorted_only_if_candidates_do_not_suffice(
    monkeypatch, spread, counts, limit
):
    """Rounded logits have many equally probable tokens."""
    tried, plain = [], sampling._draw_limited

    def recorded(probable, *given, **settings):
        tried.append(probable.shape[1])
        return plain(probable, *given, **settings)

    monkeypatch.setattr(sampling, "CANDIDATES", 20)
    monkeypatch.setattr(sampling, "_draw_limited", recorded)
    logits = torch.randn(40, 300, generator=torch.Generator().manual_seed(2)) * spread
    logits = (logits * 4).round() / 4
    draws = [Draw(SamplingParams(1, **limit), row, 0) for row in range(40)]
    found = sample(logits, draws)
    assert tried == counts
    monkeypatch.setattr(sampling, "CANDIDATES", 300)
    assert found == sample(logits, draws)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_a_row_without_finite_logits_has_no_token_and_does_not_affect_others(wrong, top_p):
    logits = torch.randn(3, 300, generator=torch.Generator().manual_seed(1))
    draws = [Draw(SamplingParams(1, top_p=top_p, top_logprobs=2), 5, step) for step in range(3)]
    expected = sample(logits, draws)
    broken = logits.clone()
    broken[1, 7] = wrong
    tokens = sample(broken, draws)
    assert tokens[1] is None
    assert [tokens[0], tokens[2]] == [expected[0], expected[2]]
    broken[1] = -math.inf
    assert sample(broken, draws)[1] is None


def test_penalties_lower_the_logits_of_generated_tokens():
    """Token 0 was generated three times, token 2 once; the prompt does not count."""
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0]])
    params = SamplingParams(frequency_penalty=0.5, presence_penalty=-0.25)
    lowered = torch.tensor([3.0 - 3 * 0.5 + 0.25, 1.0, 2.0 - 0.5 + 0.25, 0.0]).softmax(-1)
    seeds = range(1000)
    tokens = sample(
        logits.expand(len(seeds), -1), [Draw(params, seed, 4, None, (0, 2, 0, 0)) for seed in seeds]
    )
    counts = Counter(token.id for token in tokens)
    for token, probability in enumerate(lowered.tolist()):
        deviation = math.sqrt(len(seeds) * probability * (1 - probability))
        assert abs(counts[token] - len(seeds) * probability) < 4 * deviation


@pytest.mark.parametrize("wishes", [{"temperature": 0}, {"top_k": 1}, {"top_p": 0.1}])
def test_penalties_apply_before_the_most_probable_tokens_are_chosen(wishes):
    params = SamplingParams(frequency_penalty=1, top_logprobs=0, **wishes)
    draws = [Draw(params, 0, 3, None, (1, 1, 1)), Draw(params, 0, 3, None, (0,))]
    logits = torch.tensor([[2.0, 3.0], [2.0, 3.0]])
    first, second = sample(logits, draws)
    assert (first.id, second.id) == (0, 1)
    assert first.logprob == pytest.approx(float(logits[0].log_softmax(-1)[0]))


def test_penalties_apply_to_the_tokens_that_a_grammar_allows():
    rule = Among(torch.tensor([True, True, False]))
    draw_of = Draw(SamplingParams(temperature=0, presence_penalty=2), 0, 1, rule, (1,))
    (token,) = sample(torch.tensor([[4.0, 5.0, 9.0]]), [draw_of])
    assert token.id == 0
