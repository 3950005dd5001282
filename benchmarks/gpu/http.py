"""The server under load: streams over HTTP, compared with the same engine without HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from reference_engine.generation.sampling import SamplingParams
from reference_engine.model.transformer import Transformer

from .load import Requests, Streams, receive
from .measuring import Result, Setup, Task, not_measured
from .model import random_model, shape

if TYPE_CHECKING:
    from reference_engine.generation.engine import Engine

_READY_SECONDS = 30


@dataclass(frozen=True)
class Amount:
    """The number of concurrent streams, and the tokens of each prompt and answer."""

    streams: int
    prompt: int
    answer: int


ON_GPU, ON_CPU = Amount(64, 128, 256), Amount(2, 8, 3)


def http(setup: Setup) -> Iterator[Task]:
    """Streams of random tokens from `/v1/completions`, and from the engine without HTTP."""
    if why := missing("reference_engine.server.serve"):
        yield Task("HTTP", lambda: [not_measured("HTTP", why)])
        return
    model = random_model(shape(setup.shape), setup.device)
    yield Task("HTTP", partial(_http, model, ON_GPU if setup.on_gpu else ON_CPU))


def missing(module: str) -> str:
    """Why a module of the engine, or the vocabulary, cannot be used; empty if both can."""
    try:
        import_module(module)
        from harmony.vocabulary import VocabularyError, token_bytes
    except ImportError as error:
        return f"not installed: {error.name}"
    try:
        token_bytes()
    except VocabularyError as error:
        return f"no vocabulary: {error}".partition("\n")[0]
    return ""


def _http(model: Transformer, amount: Amount) -> Iterator[Result]:
    from reference_engine.generation.engine import Engine

    longest = 2 * (amount.prompt + amount.answer)
    engine = Engine(model, max_batch=amount.streams, max_context=longest)
    engine.prepare()
    engine.start()
    try:
        with serving(engine) as port:
            both(engine, port, Amount(amount.streams, amount.prompt, 2), seed=0)  # warm-up
            alone, served = both(engine, port, amount, seed=1)
    finally:
        engine.close()
    yield from compared(alone, served, amount)


def both(engine: Engine, port: int, amount: Amount, seed: int) -> tuple[Streams, Streams]:
    """Streams from the engine, then the same number of others over HTTP."""
    prompts = random_prompts(2 * amount.streams, amount.prompt, engine.vocab_size, seed)
    own, others = prompts[: amount.streams], prompts[amount.streams :]
    return direct(engine, own, SamplingParams(amount.answer)), receive(
        completions(port, others, amount.answer)
    )


def compared(alone: Streams, served: Streams, amount: Amount) -> Iterator[Result]:
    """The speed of both, and their ratio."""
    for name, found in (("engine without HTTP", alone), ("HTTP", served)):
        where = f"{name}, {amount.streams} streams"
        note = f"{found.count} tokens, prompts of {amount.prompt}"
        yield Result(where, found.rate, "tokens/s", note=note)
        yield Result(f"{where}: time to first token", 1000 * found.first, "ms", note="median")
        for share, label in ((0.5, "median"), (0.99, "99%")):
            gap = 1000 * found.between(share)
            yield Result(f"{where}: time between tokens", gap, "ms", note=label)
    ratio = served.rate / alone.rate
    yield Result("HTTP / engine without HTTP", ratio, "", note="tokens/s")


def random_prompts(count: int, length: int, vocabulary: int, seed: int) -> list[list[int]]:
    """Prompts of random tokens."""
    generator = torch.Generator().manual_seed(seed)
    drawn: list[list[int]] = torch.randint(
        0, min(vocabulary, 199_000), (count, length), generator=generator
    ).tolist()
    return drawn


def completions(port: int, prompts: Sequence[Sequence[int]], tokens: int) -> Requests:
    """Streaming requests to `/v1/completions`."""
    bodies: list[dict[str, Any]] = [
        {
            "model": "gpt-oss-small",
            "prompt": list(prompt),
            "max_tokens": tokens,
            "seed": seed,
            "stream": True,
            "return_token_ids": True,
            "skip_special_tokens": False,
        }
        for seed, prompt in enumerate(prompts)
    ]
    return Requests(port, "/v1/completions", bodies, '"finish_reason":null')


def direct(engine: Engine, prompts: Sequence[Sequence[int]], params: SamplingParams) -> Streams:
    """The tokens of all prompts from a running engine, in an event loop of this process."""

    async def one(prompt: Sequence[int]) -> tuple[float, list[float]]:
        sent = time.perf_counter()
        return sent, [time.perf_counter() async for _ in engine.generate(prompt, params)]

    async def every() -> Streams:
        found = await asyncio.gather(*map(one, prompts))
        return Streams([sent for sent, _ in found], [times for _, times in found])

    return asyncio.run(every())


@contextlib.contextmanager
def serving(engine: Engine) -> Iterator[int]:
    """The port of a server of a running engine, in a thread of this process as in `serve`."""
    from reference_engine.server.app import create_app
    from reference_engine.server.serve import Server
    from reference_engine.server.settings import AppSettings

    server = Server(create_app(engine, AppSettings()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + _READY_SECONDS
        while not server.started:
            if time.monotonic() > end or not thread.is_alive():
                raise RuntimeError("The server does not start.")
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.stop()
            thread.join()
