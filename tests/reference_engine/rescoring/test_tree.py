"""A model that reads many passages at once finds the numbers that it finds one by one."""

import random

import pytest
import torch

from harmony.vocabulary import encode
from reference_engine.rescoring.reading import Passage
from reference_engine.rescoring.tree import TreeReader
from reference_engine.scoring import score_completion
from reference_engine.server.serve import load
from reference_engine.server.settings import ServeSettings

_PROMPT = encode(
    "<|start|>user<|message|>What is the weather in Rome?<|end|><|start|>assistant"
    "<|channel|>analysis<|message|>"
)


@pytest.fixture(scope="module")
def model():
    """The small checkpoint."""
    return load(ServeSettings(dtype="float32"))


def _passages() -> list[Passage]:
    """Completions that share prompts, beginnings and nothing, and one that is there twice."""
    rng = random.Random(3)
    words = [rng.randrange(1000, 90_000) for _ in range(400)]
    made = [
        Passage((*_PROMPT,), (*encode("The user wants get_weather."),)),
        Passage((*_PROMPT,), (*encode("The user wants to know."),), temperature=0.0),
        Passage((*words[:300], *_PROMPT), (*encode("The user"),), temperature=0.7, top_p=0.9),
        Passage((*words[:150], *_PROMPT), (*words[300:310],)),
        Passage((*words[:300], *_PROMPT), (*encode("The user wants"),)),
    ]
    return [*made, made[0]]


def _nothing(_passage: int, _token: int) -> list[int]:
    return []


def test_the_numbers_are_those_of_one_passage_at_a_time(model) -> None:
    together = TreeReader(model).read(_passages(), _nothing)
    for passage, tokens in zip(_passages(), together, strict=True):
        alone = score_completion(model, passage.prompt, passage.completion, 1)
        for token, expected in zip(tokens, alone, strict=True):
            best, logprob = expected.top[0]
            own = expected.logprob if passage.temperature else expected.logprob - logprob
            assert token.logprob == pytest.approx(own, abs=1e-5, rel=2e-6)
            assert (token.best, token.gap) == (
                best,
                pytest.approx(logprob - expected.logprob, abs=1e-4),
            )
    assert together[0] == together[-1]


def test_a_reader_that_has_read_before_finds_the_same(model) -> None:
    reader = TreeReader(model)
    first = reader.read(_passages(), _nothing)
    again = reader.read(_passages()[::-1], _nothing)[::-1]
    for one, other in zip(first, again, strict=True):
        assert [token.logprob for token in one] == pytest.approx(
            [token.logprob for token in other], abs=1e-5
        )


def test_known_tokens_are_not_read_again(model) -> None:
    passage = _passages()[0]
    known = Passage(passage.prompt, passage.completion, known=3)
    whole, rest = (TreeReader(model).read([each], _nothing)[0] for each in (passage, known))
    assert [token.logprob for token in rest] == pytest.approx(
        [token.logprob for token in whole[3:]], abs=1e-5
    )


def test_improbable_tokens_are_asked_for_others(model) -> None:
    asked: list[tuple[int, int]] = []

    def ask(passage: int, token: int) -> list[int]:
        asked.append((passage, token))
        return [0, 1]

    tokens = TreeReader(model).read(_passages()[3:4], ask)[0]
    assert {place for _, place in asked} == {at for at, t in enumerate(tokens) if t.gap > 0.7}
    found = tokens[asked[0][1]].others
    logprobs = model(
        torch.tensor([[*_passages()[3].prompt, *_passages()[3].completion]])
    ).log_softmax(-1)
    row = logprobs[0, len(_passages()[3].prompt) + asked[0][1] - 1]
    assert found == {
        0: pytest.approx(float(row[0]), abs=1e-4),
        1: pytest.approx(float(row[1]), abs=1e-4),
    }


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.8)])
def test_sampled_tokens_have_the_probability_of_their_settings(model, temperature, top_p) -> None:
    prompt = tuple(_PROMPT)
    logits = model(torch.tensor([prompt]))[0, -1].double() / temperature
    probabilities = logits.softmax(-1)
    order = probabilities.argsort(descending=True)
    kept = order[: int((probabilities[order].cumsum(0) < top_p).sum()) + 1]
    total = probabilities[kept].sum() if top_p < 1 else 1.0
    token = int(order[1])
    read = TreeReader(model).read([Passage(prompt, (token,), temperature, top_p)], _nothing)[0][0]
    if token in kept:
        assert read.own == pytest.approx(float((probabilities[token] / total).log()), abs=1e-3)
        unlikely = (
            (probabilities[kept[1:]] / total).sum() if top_p < 1 else probabilities[order[1:]].sum()
        )
        assert read.surprise == pytest.approx(-float(unlikely.log()), abs=1e-2)
    else:
        assert read.own == -float("inf")
