"""The engine serves concurrent requests: batches, the queue, cancellation, and errors."""

import asyncio
import math
from contextlib import aclosing, closing, contextmanager
from dataclasses import replace

import pytest
import torch
from tiny_model import random_transformer
from waiting import until

from reference_engine.errors import SetupError
from reference_engine.generation.engine import Engine, SamplingParams, Token
from reference_engine.generation.errors import (
    ContextOverflowError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
)
from reference_engine.generation.sampling import sample
from reference_engine.kv_cache.memory import Memory
from reference_engine.model.transformer import Transformer


@contextmanager
def running(model: Transformer, **settings):
    with closing(Engine(model, **settings)) as engine:
        engine.start()
        yield engine


@pytest.fixture(scope="module")
def model():
    return random_transformer(num_hidden_layers=2)


async def collect(engine: Engine, prompt, params: SamplingParams) -> list[Token]:
    return [token async for token in engine.generate(prompt, params)]


def tokens(count: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 300, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def read_and_reused(engine: Engine) -> tuple[int, int]:
    """Returns the prompt tokens of the metrics."""
    totals = engine.snapshot().totals
    return totals["prompt_tokens"][1], totals["reused_prompt_tokens"][1]


def load(engine: Engine) -> tuple[int, int]:
    """Returns the numbers of running and waiting requests."""
    requests = engine.snapshot().requests
    return requests["running"], requests["waiting"]


async def settled(engine: Engine, wanted: tuple[int, int]) -> None:
    await until(lambda: load(engine) == wanted, 20)


@pytest.mark.parametrize("length", [1, 5, 64, 65, 200, 700])
@pytest.mark.parametrize("window", [3, 128])
async def test_the_cache_changes_nothing(length, window):
    """Prompt lengths are near the block size, the window, and the multiple of keys."""
    model = random_transformer(sliding_window=window)
    prompt = tokens(length)
    with running(model) as engine:
        made = await collect(
            engine, prompt, SamplingParams(max_tokens=80, temperature=0, top_logprobs=0)
        )
    ids = [token.id for token in made]
    with torch.inference_mode():
        whole = model(torch.tensor([prompt + ids])).log_softmax(-1)[0, length - 1 : -1]
    wanted = whole.gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert (wanted - torch.tensor([token.logprob for token in made])).abs().max() < 1e-4
    assert (whole.max(-1).values - wanted).max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("experts", [4, 8], ids=["all experts", "chosen experts"])
async def test_a_seed_gives_the_same_tokens_alone_and_in_a_batch(dtype, experts):
    """The logprobs are equal to the last bit; prompts share prefixes and differ in length."""
    model = random_transformer(dtype, num_local_experts=experts, num_hidden_layers=2)
    prompts = [tokens(150)[: 1 + 29 * n] + tokens(3 * n, seed=n) for n in range(12)]
    wishes = [
        SamplingParams(
            max_tokens=20,
            seed=n,
            temperature=[1.0, 0.7][n % 2],
            top_p=[1.0, 0.9, 0.5][n % 3],
            top_logprobs=2,
        )
        for n in range(12)
    ]
    with running(model) as engine:
        alone = [await collect(engine, *pair) for pair in zip(prompts, wishes, strict=True)]
        assert await collect(engine, prompts[3], wishes[3]) == alone[3]
    with running(model, max_batch=9) as engine:
        pairs = zip(prompts, wishes, strict=True)
        together = await asyncio.gather(*(collect(engine, *pair) for pair in pairs))
    assert together == alone


async def test_seeds_give_different_tokens_and_no_seed_is_random(model):
    with running(model) as engine:
        wishes = [SamplingParams(max_tokens=12, seed=seed) for seed in [1, 2, None, None]]
        made = await asyncio.gather(*(collect(engine, [5], params) for params in wishes))
    assert len({tuple(token.id for token in tokens) for tokens in made}) == 4


async def test_the_smallest_numbers_are_zero_in_the_engine():
    """Sampling from a quarter of the vocabulary below 1e-38 would take four times as long."""
    found: list[float] = []

    def sampler(logits, draws):
        found.append((torch.tensor([1e-39]) * 1).item())
        return sample(logits, draws)

    with running(random_transformer(), sampler=sampler) as engine:
        await collect(engine, tokens(5), SamplingParams(max_tokens=1))
    assert found == [0]
    assert (torch.tensor([1e-39]) * 1).item() > 0


async def test_a_stop_token_is_the_last_token(model):
    with running(model) as engine:
        free = await collect(engine, [5], SamplingParams(max_tokens=9, seed=1))
        ids = [token.id for token in free]
        stop = frozenset({ids[4]})
        stopped = await collect(engine, [5], SamplingParams(9, seed=1, stop_token_ids=stop))
        assert [token.id for token in stopped] == ids[: ids.index(ids[4]) + 1]
        assert len(free) == 9
        await settled(engine, (0, 0))


async def test_requests_join_and_leave_while_others_run(model):
    with running(model, max_batch=2) as engine:
        async with aclosing(engine.generate([1], SamplingParams(max_tokens=4000))) as long:
            await anext(long)
            for n in range(3):
                assert len(await collect(engine, tokens(70, n), SamplingParams(3))) == 3
            assert load(engine)[0] == 1
        await settled(engine, (0, 0))


async def test_a_task_cancelled_in_the_queue_never_starts(model):
    with running(model, max_batch=1) as engine:
        first = engine.generate([1], SamplingParams(max_tokens=8000))
        await anext(first)
        waiting = asyncio.create_task(collect(engine, [2], SamplingParams(max_tokens=8000)))
        await settled(engine, (1, 1))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await first.aclose()
        await settled(engine, (0, 0))


async def test_a_full_queue_rejects_requests(model):
    with running(model, max_batch=1, max_queue=1) as engine:
        first = engine.generate([1], SamplingParams(max_tokens=8000))
        await anext(first)
        second = asyncio.create_task(collect(engine, [2], SamplingParams(max_tokens=2)))
        await settled(engine, (1, 1))
        with pytest.raises(QueueFullError, match="1 requests are already waiting"):
            await collect(engine, [3], SamplingParams(max_tokens=2))
        await first.aclose()
        await second


async def test_disconnected_consumers_do_not_fill_the_queue(model):
    with running(model, max_batch=1, max_queue=2) as engine:
        first = engine.generate([1], SamplingParams(max_tokens=8000))
        await anext(first)
        wishes = SamplingParams(max_tokens=2)
        waiting = [asyncio.create_task(collect(engine, [n], wishes)) for n in range(2)]
        await settled(engine, (1, 2))
        waiting[1].cancel()
        await asyncio.wait(waiting[1:])
        third = asyncio.create_task(collect(engine, [3], wishes))
        await settled(engine, (1, 2))
        await first.aclose()
        assert len(await waiting[0]) == len(await third) == 2


async def test_the_context_bounds_prompt_and_continuation(model):
    with running(model, max_context=100) as engine:
        assert len(await collect(engine, tokens(90), SamplingParams(max_tokens=500))) == 10
        with pytest.raises(ContextOverflowError, match=r"100 tokens.*context of 100"):
            await collect(engine, tokens(100), SamplingParams(max_tokens=1))


@pytest.mark.parametrize(("prompt", "words"), [([], "at least one"), ([300], "outside 0 to 299")])
async def test_invalid_prompts_are_rejected(prompt, words):
    with running(random_transformer()) as engine, pytest.raises(ValueError, match=words):
        await collect(engine, prompt, SamplingParams(max_tokens=1))


async def test_closing_ends_all_waiting_requests(model):
    with running(model, max_batch=1) as engine:
        wishes = SamplingParams(max_tokens=8000)
        tasks = [asyncio.create_task(collect(engine, [n], wishes)) for n in range(3)]
        await settled(engine, (1, 2))
        await asyncio.to_thread(engine.close)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, EngineClosedError)
        with pytest.raises(EngineClosedError, match="not running"):
            await collect(engine, [1], wishes)
        engine.start()
        assert len(await collect(engine, [1], SamplingParams(max_tokens=2))) == 2


async def test_a_crash_fails_the_requests_but_not_the_engine(model, monkeypatch, caplog):
    with running(model) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(model.unembedding, "forward", lambda stream: 1 / 0)
            wishes = SamplingParams(max_tokens=3)
            results = await asyncio.gather(
                *(collect(engine, [n], wishes) for n in range(3)), return_exceptions=True
            )
            assert {type(result) for result in results} == {GenerationError}
            assert "division by zero" in str(results[0])
        assert "A step of the engine failed" in caplog.text
        assert len(await collect(engine, [1], wishes)) == 3


async def test_after_an_error_of_the_gpu_the_engine_accepts_no_requests(monkeypatch):
    model, told = random_transformer(num_hidden_layers=2), []

    def fail(_: torch.Tensor) -> torch.Tensor:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with running(model) as engine:
        engine.on_failure = lambda: told.append(True)
        monkeypatch.setattr(model.unembedding, "forward", fail)
        with pytest.raises(GenerationError, match="illegal memory access"):
            await collect(engine, [1], SamplingParams(max_tokens=3))
        with pytest.raises(EngineClosedError):
            await collect(engine, [1], SamplingParams(max_tokens=3))
    assert engine.failed
    assert told == [True]


async def test_any_error_ends_an_engine_whose_gpu_accepts_no_more_work(model, monkeypatch):
    """Triton reports an error of the GPU as a RuntimeError."""

    def fail(_: object) -> None:
        raise RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered")

    with running(model) as engine:
        engine._device = torch.device("cuda")
        monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
        monkeypatch.setattr(model.unembedding, "forward", fail)
        with pytest.raises(GenerationError, match="illegal memory access"):
            await collect(engine, [1], SamplingParams(max_tokens=3))
        assert not engine.failed
        monkeypatch.setattr(torch.cuda, "synchronize", fail)
        with pytest.raises(GenerationError, match="illegal memory access"):
            await collect(engine, [1], SamplingParams(max_tokens=3))
        with pytest.raises(EngineClosedError):
            await collect(engine, [1], SamplingParams(max_tokens=3))
    assert engine.failed


@pytest.mark.parametrize("top_p", [1.0, 0.5])
async def test_non_finite_logits_fail_only_their_request(model, monkeypatch, caplog, top_p):
    """The pages of the failed request are not shared afterwards."""
    unembed, prompt = model.unembedding.forward, tokens(200)
    wishes = SamplingParams(max_tokens=5, seed=1, top_p=top_p)

    def broken(stream: torch.Tensor) -> torch.Tensor:
        logits = unembed(stream)
        logits[0] = math.nan
        return logits

    with running(model) as engine:
        alone = await collect(engine, [1, 2], wishes)
        with monkeypatch.context() as patch:
            patch.setattr(model.unembedding, "forward", broken)
            with pytest.raises(GenerationError, match="not finite"):
                await collect(engine, prompt, wishes)
        assert "not finite" in caplog.text
        before = read_and_reused(engine)[1]
        assert len(await collect(engine, prompt, wishes)) == 5
        assert read_and_reused(engine)[1] == before
        assert await collect(engine, [1, 2], wishes) == alone


async def test_a_consumer_with_a_closed_loop_is_dropped(model):
    with running(model, max_batch=1) as engine:

        def abandon() -> None:
            loop = asyncio.new_event_loop()
            abandoned.append(engine.generate([1], SamplingParams(max_tokens=8000)))
            loop.run_until_complete(anext(abandoned[0]))
            loop.close()

        abandoned: list = []
        await asyncio.to_thread(abandon)
        assert len(await asyncio.wait_for(collect(engine, [2], SamplingParams(2)), 20)) == 2
        await abandoned[0].aclose()


async def test_cached_prefixes_are_not_prefilled_again():
    model = random_transformer(num_hidden_layers=3)
    shared = tokens(200)
    wishes = SamplingParams(max_tokens=1, seed=3, top_logprobs=1)
    with running(model) as engine:
        await collect(engine, [*shared, 1], wishes)
        assert read_and_reused(engine) == (201, 0)
        again = await collect(engine, [*shared, 2, 3], wishes)
        assert read_and_reused(engine) == (211, 192)
    with running(model) as fresh:
        assert await collect(fresh, [*shared, 2, 3], wishes) == again


async def test_the_memory_bounds_the_context(model, caplog):
    page = 2 * 64 * 2 * 16 * 4  # Keys and values of 64 tokens, 2 heads of 16 floats.
    with running(model, memory=Memory(5 * page)) as engine:
        assert engine.max_context == 3 * 64
        assert "fits only 192 tokens" in caplog.text
        assert len(await collect(engine, tokens(180), SamplingParams(max_tokens=500))) == 12
        with pytest.raises(ContextOverflowError, match="context of 192"):
            await collect(engine, tokens(192), SamplingParams(max_tokens=1))
    with pytest.raises(SetupError, match="--kv-memory"):
        Engine(model, memory=Memory(1))


async def test_requests_with_one_prompt_share_its_prefill(model):
    """All start together: the first one prefills, and the others share its pages."""
    prompt = tokens(300)
    wishes = [SamplingParams(max_tokens=12, seed=seed, top_logprobs=1) for seed in range(16)]
    with running(model) as engine:
        together = await asyncio.gather(*(collect(engine, prompt, wish) for wish in wishes))
        assert read_and_reused(engine) == (300 + 15 * (300 - 256), 15 * 256)
    with running(model) as engine:
        assert await collect(engine, prompt, wishes[7]) == together[7]


async def test_equal_requests_share_a_sequence_and_get_what_each_gets_alone(model):
    """Limits, disconnection and cached tokens are those of each request; chance shares nothing."""
    prompt, greedy = tokens(140), SamplingParams(max_tokens=30, temperature=0)
    short = replace(greedy, max_tokens=7, seed=3, top_p=0.5)
    seeded = SamplingParams(max_tokens=12, seed=5)
    random = SamplingParams(max_tokens=12)
    with_logprobs = replace(greedy, max_tokens=12, top_logprobs=2)
    wishes = [greedy, greedy, short, seeded, seeded, with_logprobs, random, random]
    with running(model) as engine:
        alone = [await collect(engine, prompt, params) for params in wishes]
    with running(model, shares_equal=True) as engine:
        read = await asyncio.gather(*(collect(engine, prompt, params) for params in wishes[:6]))
        assert read == alone[:6]
        assert engine.snapshot().totals["generated_tokens"][1] == 30 + 12 + 12
        assert [made[0].reused for made in read[1:]] == [128] * 5
        chance = await asyncio.gather(*(collect(engine, prompt, random) for _ in range(2)))
        assert chance[0] != chance[1]
        async with aclosing(engine.generate(prompt, greedy)) as first:
            begun = [await anext(first) for _ in range(3)]
            late = asyncio.create_task(collect(engine, prompt, greedy))
            begun += [await anext(first) for _ in range(3)]
        assert begun == alone[0][:6]  # It leaves, and the other goes on.
        assert await late == alone[0]
        longer = replace(greedy, max_tokens=40)
        both = await asyncio.gather(
            collect(engine, prompt, greedy), collect(engine, prompt, longer)
        )
        assert [len(made) for made in both] == [30, 40]
        await settled(engine, (0, 0))


async def test_an_error_ends_all_requests_of_a_sequence(model):
    def broken(logits, draws):
        raise ValueError("broken")

    with running(model, sampler=broken, shares_equal=True) as engine:
        params = SamplingParams(temperature=0)
        made = (collect(engine, tokens(9), params) for _ in range(3))
        errors = await asyncio.gather(*made, return_exceptions=True)
    assert [type(error) for error in errors] == [GenerationError] * 3
