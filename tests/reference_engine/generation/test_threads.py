"""Threads divide the rows of a step, and change no bit of any row."""

import threading
import time
from itertools import cycle

import pytest
import torch
from tiny_model import random_transformer

from reference_engine.checkpoint import load_model
from reference_engine.generation.engine import Engine
from reference_engine.generation.errors import GenerationError
from reference_engine.generation.forward import GatheredForward
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.generation.sequence import Sequence
from reference_engine.generation.setup import runner_for
from reference_engine.generation.threads import Pace, RowThreads
from reference_engine.model.transformer import Transformer
from reference_engine.small import SMALL_CHECKPOINT


@pytest.fixture(scope="module", params=["small", "full unembedding"])
def model(request) -> Transformer:
    if request.param == "small":
        return load_model(SMALL_CHECKPOINT, "cpu", torch.float32)
    return random_transformer(vocab_size=40_000)


def requests() -> list[tuple[tuple[int, ...], SamplingParams]]:
    """Prompts of several lengths, some with a common beginning, with all kinds of draws."""
    text = torch.randint(0, 300, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    kinds = [{}, {"temperature": 0}, {"top_p": 0.8}, {"top_logprobs": 3}]
    return [
        (
            tuple(text[at % 5 : at % 5 + 70 + 11 * at]),
            SamplingParams(4 + at % 3, seed=at, **kinds[at % 4]),
        )
        for at in range(20)
    ]


def tokens_of(runner: Runner) -> list[list[Token]]:
    made: dict[Sequence, list[Token]] = {Sequence(*given): [] for given in requests()}
    for sequence in made:
        runner.add(sequence)
    while runner.scheduler.running:
        for step in runner.step():
            made[step.sequence].append(step.token)
    runner.close()
    return list(made.values())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_number_of_threads_gives_the_same_tokens_and_logprobs(model, count, monkeypatch):
    expected, divided = tokens_of(runner_for(model)), cycle((True, True, False))
    monkeypatch.setattr(RowThreads, "of", lambda model: RowThreads(count))
    monkeypatch.setattr(Pace, "is_divided", lambda pace: next(divided))
    used: set[str] = set()
    run = GatheredForward.__call__

    def noted(self, rows, length):
        used.add(threading.current_thread().name)
        return run(self, rows, length)

    monkeypatch.setattr(GatheredForward, "__call__", noted)
    assert tokens_of(runner_for(model)) == expected
    assert len(used) > 1
    assert all(name.startswith("rows") for name in used)


def test_threads_are_those_of_pytorch_but_one_for_a_wide_model(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert RowThreads.of(random_transformer()).count == 3
    assert RowThreads.of(random_transformer(hidden_size=1088)).count == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert RowThreads.of(random_transformer()).count == 1


@pytest.mark.parametrize(
    ("work", "parts"),
    [
        ([], 1),
        ([1] * 15, 1),  # Two threads would hardly be faster.
        ([1] * 16, 2),
        ([64], 1),  # All blocks of a sequence's prompt run in one thread.
        ([64, 1, 1, 1], 2),
        ([64, 64, *[1] * 20], 3),
        ([1] * 100, 4),
    ],
)
def test_shares_have_about_equal_work(work, parts):
    shares = RowThreads(4).shares(work)
    assert sorted(item for share in shares for item in share) == list(range(len(work)))
    assert len(shares) == parts
    sums = [sum(work[item] for item in share) for share in shares]
    assert max(sums) - min(sums) <= max(work, default=0)


def test_a_short_prompt_counts_as_some_rows_of_work_and_a_long_one_as_more(monkeypatch):
    seen: list[list[int]] = []

    def noted(self, name, work, job):
        if name == "forward":
            seen.append(list(work))
        return [(list(range(len(work))), job(list(range(len(work)))))]

    monkeypatch.setattr(RowThreads, "divided", noted)
    monkeypatch.setattr(RowThreads, "of", lambda model: RowThreads(2))
    runner = runner_for(random_transformer())
    for length in (3, 8, 300):
        runner.add(Sequence(tuple(range(length)), SamplingParams(5)))
        runner.step()
    assert seen == [[16], [18, 1], [16 + 300 // 4, 1, 1]]


@pytest.mark.parametrize(
    ("seconds", "most"),  # with several threads and with one; steps of 1,000 with the slower number
    [((1.0, 1.4), 14), ((4.0, 1.0), 14), ((1.0, 1.0), 14)],
)
def test_the_slower_number_of_threads_is_tried_ever_more_rarely(seconds, most):
    pace, chosen = Pace(), []
    for _ in range(1000):
        divided = pace.is_divided()
        chosen.append(divided)
        pace.note(divided, seconds[not divided])
    slower = chosen.count(seconds[0] > 0.95 * seconds[1])
    assert 2 <= slower <= most


def test_a_neighbour_that_comes_or_goes_is_noticed():
    """One thread keeps its speed, and two lose theirs while another process uses a core."""
    pace, steps = Pace(), {}
    for busy in (False, True, False):
        chosen = []
        for _ in range(600):
            divided = pace.is_divided()
            chosen.append(divided)
            pace.note(divided, (4.0 if busy else 0.7) if divided else 1.0)
        steps[len(steps)] = sum(chosen)
    assert steps[0] > 590
    assert steps[1] < 10
    assert steps[2] > 300


def test_each_thread_has_one_thread_of_pytorch_and_no_denormals():
    row_threads, before = RowThreads(2), torch.get_num_threads()

    def job(share: list[int]) -> tuple[int, bool, float]:
        time.sleep(0.05)  # so that each thread gets one
        tiny = torch.full((1,), 1e-30) * 1e-10
        return torch.get_num_threads(), torch.is_inference_mode_enabled(), tiny.item()

    for count in (2, 1):  # A closed engine can start again.
        made = row_threads.divided("job", [8] * count, job)
        assert [result for _, result in made] == [(1, True, 0.0)] * count
        row_threads.close()
    assert torch.get_num_threads() == before


def test_a_failure_is_raised_after_all_threads_have_ended():
    ended = []

    def job(share: list[int]) -> None:
        if 0 in share:
            raise ValueError("first")
        time.sleep(0.1)
        ended.append(True)

    row_threads = RowThreads(2)
    with pytest.raises(ValueError, match="first"):
        row_threads.divided("job", [8, 8], job)
    assert ended == [True]
    row_threads.close()


async def test_an_engine_survives_a_failure_in_a_thread(monkeypatch):
    monkeypatch.setattr(RowThreads, "of", lambda model: RowThreads(2))
    engine = Engine(random_transformer())
    engine.start()
    run = GatheredForward.__call__

    def fails(self, rows, length):
        raise ValueError("broken")

    async def tokens() -> list[Token]:
        return [token async for token in engine.generate([1, 2, 3], SamplingParams(3, seed=0))]

    try:
        monkeypatch.setattr(GatheredForward, "__call__", fails)
        with pytest.raises(GenerationError, match="broken"):
            await tokens()
        monkeypatch.setattr(GatheredForward, "__call__", run)
        assert len(await tokens()) == 3
    finally:
        engine.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rows")]
