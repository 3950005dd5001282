"""What streaming over HTTP costs an engine in the same process, with steps of a fixed length.

    python benchmarks/serving.py [--milliseconds 3] [--streams 1,8,64] [--tokens 300]

The device is simulated: a decode step computes nothing and takes a fixed time, during which other
threads can run, as with a GPU. Scheduling, filling the batch and reading the tokens are those of a
GPU. The engine's thread and the server share Python's interpreter; if they need more time than a
step takes, the device waits. The client is another process and needs about a tenth of the server's
time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from statistics import mean, median
from typing import cast

import torch
from gpu.http import completions, direct, random_prompts, serving
from gpu.load import Requests, receive
from torch import Tensor

from harmony.vocabulary import encode
from reference_engine.generation.engine import Engine
from reference_engine.generation.forward import Row
from reference_engine.generation.graphs import Decoder, GraphedForward, Launched
from reference_engine.generation.sampling import Draw, SamplingParams, Token
from reference_engine.kv_cache.cache import KVCache
from reference_engine.model.config import TINY, VOCABULARY
from reference_engine.model.transformer import Transformer

CHAT_PROMPT = 200
"""More tokens than the prompt of any request has."""
WARM_UP = 20
"""Steps at the start of the answers, in which the client's connections are still being served."""
PROMPT = 60
"""Tokens of a raw prompt; with fewer than 64, no prompt shares pages with another."""
START = encode("<|channel|>final<|message|>")
WORDS = encode(
    " We count the letters of each word, one after another, and then compare the two sums."
)
"""Repeated as the text of every answer."""
FORMS = ("engine", "completions", "chat", "responses")


@dataclass(frozen=True)
class Cost:
    """The steps with a full batch: mean and median length, and CPU time of this process.

    Other processes on a busy machine interrupt some steps. They change the mean much more than the
    median and the CPU time.
    """

    mean: float
    median: float
    cpu: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[tuple[float, float]]]) -> Cost:
        """The cost from the wall and CPU clock at the start of each step of several runs."""
        pairs = [pair for run in runs for pair in pairwise(run)]
        lengths = [after[0] - before[0] for before, after in pairs]
        return cls(mean(lengths), median(lengths), mean(b[1] - a[1] for a, b in pairs))


@dataclass(frozen=True)
class SimulatedStep:
    """A launched step whose tokens are known, and can be read when the device has finished it."""

    draws: Sequence[Draw]
    ready: float
    overlaps: bool = True

    def tokens(self) -> list[Token | None]:
        """Waits for the device."""
        time.sleep(max(self.ready - time.perf_counter(), 0))
        return [Token(answer_token(draw.step)) for draw in self.draws]


def answer_token(step: int) -> int:
    """The token of an answer after this many others: a final message without an end."""
    if step < len(START):
        return START[step]
    return WORDS[(step - len(START)) % len(WORDS)]


class SimulatedDevice:
    """Runs launched steps one after another; `full` has the clocks at launches of a full batch."""

    def __init__(self, seconds: float, rows: int) -> None:
        self._seconds = seconds
        self._rows = rows
        self._free = 0.0
        self.full: list[tuple[float, float]] = []

    def launch(self, draws: Sequence[Draw]) -> SimulatedStep:
        """Starts a step when the previous ones are finished."""
        now = time.perf_counter()
        if len(draws) == self._rows:
            self.full.append((now, time.process_time()))
        self._free = max(now, self._free) + self._seconds
        return SimulatedStep(draws, self._free)

    def taken(self) -> list[tuple[float, float]]:
        """The clocks since the last call, without those of the first steps."""
        taken, self.full = self.full[WARM_UP:], []
        return taken


class SimulatedDecoder(Decoder):
    """Fills the batch of a step as on a GPU."""

    def __init__(
        self, model: Transformer, cache: KVCache, rows: int, device: SimulatedDevice
    ) -> None:
        super().__init__(model, cache, lambda run: run, rows)
        self._device = device

    def launch(self, rows: Sequence[Row], draws: Sequence[Draw]) -> Launched:
        """Starts a step."""
        batch, _ = self._step(rows, draws)
        batch.fill(rows, draws)
        return cast("Launched", self._device.launch(draws))


class SimulatedForward(GraphedForward):
    """A forward pass that computes nothing."""

    def __init__(self, model: Transformer, cache: KVCache, device: SimulatedDevice) -> None:
        super().__init__(model, cache, lambda run: run)
        self._device = device

    def __call__(self, rows: Sequence[Row], length: int) -> Tensor:
        """Prefills rows; the unembedding gives the first token of every answer."""
        return torch.ones(len(rows), self._model.config.hidden_size)

    def decoder(self, rows: int) -> Decoder:
        """Returns a decoder whose steps take a fixed time."""
        return SimulatedDecoder(self._model, self._cache, rows, self._device)


def simulated_engine(device: SimulatedDevice, streams: int, tokens: int) -> Engine:
    """An engine whose answers are known."""
    model = Transformer(TINY).requires_grad_(False)
    model.unembedding.weight.zero_()[START[0]] = 1
    return Engine(
        model,
        max_batch=streams,
        max_context=2 * (CHAT_PROMPT + tokens),
        forward=partial(SimulatedForward, device=device),
    )


def requests_of(form: str, port: int, streams: int, tokens: int) -> Requests:
    """The requests of an API for greedy answers of this length."""
    common = {"model": "gpt-oss-small", "stream": True, "temperature": 0}
    if form == "chat":
        messages = [{"role": "user", "content": "Compare two numbers."}]
        bodies = [common | {"messages": messages, "max_tokens": tokens}] * streams
        return Requests(port, "/v1/chat/completions", bodies, '"content":"')
    if form == "responses":
        bodies = [common | {"input": "Compare two numbers.", "max_output_tokens": tokens}] * streams
        return Requests(port, "/v1/responses", bodies, '"type":"response.output_text.delta"')
    raw = completions(port, random_prompts(streams, PROMPT, VOCABULARY, seed=0), tokens)
    return replace(raw, bodies=[body | common for body in raw.bodies])


def stream(form: str, engine: Engine, port: int, streams: int, tokens: int) -> None:
    """Receive answers without HTTP (`engine`) or over one of the APIs."""
    if form == "engine":
        prompts = random_prompts(streams, PROMPT, VOCABULARY, seed=0)
        direct(engine, prompts, SamplingParams(tokens, temperature=0))
    else:
        receive(requests_of(form, port, streams, tokens))


def compare(streams: int, tokens: int, seconds: float, repeat: int) -> dict[str, Cost]:
    """The cost of each form; the forms take turns, and the first turn does not count."""
    device = SimulatedDevice(seconds, streams)
    engine = simulated_engine(device, streams, tokens)
    engine.start()
    runs: dict[str, list[list[tuple[float, float]]]] = {form: [] for form in FORMS}
    try:
        with serving(engine) as port:
            for _ in range(1 + repeat):
                for form in FORMS:
                    stream(form, engine, port, streams, tokens)
                    runs[form].append(device.taken())
    finally:
        engine.close()
    return {form: Cost.of(each[1:]) for form, each in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--milliseconds", type=float, default=3, help="length of a step")
    parser.add_argument("--streams", default="1,8,64")
    parser.add_argument("--tokens", type=int, default=300, help="tokens per answer")
    parser.add_argument("--repeat", type=int, default=3, help="turns of each API")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'streams':>7}  {'':11} {'mean step':>9} {'median':>9} {'CPU':>9} {'per token':>9}")
    for streams in map(int, options.streams.split(",")):
        seconds = options.milliseconds / 1000
        for form, cost in compare(streams, options.tokens, seconds, options.repeat).items():
            lengths = (cost.mean, cost.median, cost.cpu)
            figures = " ".join(f"{1000 * each:6.2f} ms" for each in lengths)
            print(
                f"{streams:7}  {form:11} {figures} {1e6 * cost.cpu / streams:6.0f} µs", flush=True
            )


if __name__ == "__main__":
    main()
