"""One client of the throughput benchmark, in a separate process.

    python benchmarks/clients.py NAME BASE_URL SAMPLES IN_FLIGHT

Prints one JSON object: samples, wall-clock and CPU seconds (of the sampling, without imports and
report), peak memory in MB, and for our client the median and the 99th percentile of the recorded
latencies in ms. Exit code 3 means that the client is not installed.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

QUESTION = (
    "Find the number of positive integers n such that 1 <= n <= 1000 and the sum of the digits "
    "of n is divisible by 13."
)
PROMPT = f"{QUESTION}\nPlease reason step by step, and put your final answer within \\boxed{{}}."
ANSWER = 70
TRIES = 8  # of each question, as evals are usually run
NOT_INSTALLED = 3


class Stopwatch:
    """Wall-clock and CPU seconds of a `with` block, of all threads and ended child processes."""

    wall = cpu = 0.0
    latency: tuple[float, float] | None = None  # in ms

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure."""
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        yield
        self.wall, self.cpu = time.perf_counter() - wall, sum(os.times()[:4]) - cpu


Client = Callable[[str, int, int, Stopwatch], None]


def harness(base_url: str, samples: int, in_flight: int, watch: Stopwatch) -> None:
    """This project's eval run, with records, scores and the live display."""
    from harness.run.run_log import read_rollouts
    from harness.statistics.estimators import percentiles

    with tempfile.TemporaryDirectory() as place:
        sample_aime(base_url, samples, in_flight, Path(place), watch)
        recorded = percentiles([one.exchanges[-1].elapsed for one in read_rollouts(Path(place))])
    assert recorded is not None
    watch.latency = recorded.p50 * 1000, recorded.p99 * 1000


def sample_aime(base_url: str, samples: int, in_flight: int, place: Path, watch: Stopwatch) -> None:
    """Sample questions, each up to eight times, into the folder `place`."""
    from rich.console import Console

    from evals.registry import load_data
    from evals.task import EvalTask
    from gpt_oss_verify.progress import display
    from harness.providers.entries import adhoc_provider, changed
    from harness.records.conditions import Condition
    from harness.records.runs import RunSettings
    from harness.records.settings import Sampling
    from harness.session import sample
    from harness.tasks.plan import Plan, new_info
    from harness.verdict.judge import judge

    provider = changed(adhoc_provider(base_url, "m", ["chat"]), concurrency=in_flight)
    settings = RunSettings(
        evals=("aime25",), apis=("chat",), modes=("non-streaming",), concurrency=in_flight
    )
    file = place / "questions.jsonl"
    tries = math.gcd(samples, TRIES)
    questions = (f"{QUESTION} This is question {number}." for number in range(samples // tries))
    rows = (json.dumps({"question": text, "answer": str(ANSWER)}) for text in questions)
    file.write_text("\n".join(rows), encoding="utf-8")
    condition = Condition(model="m", effort="high", api="chat", mode="non-streaming")
    data = load_data("aime25", file)
    sampling = Sampling(temperature=1.0, max_tokens=131_072)
    task = EvalTask(data, [condition], tries, sampling, settings)
    info = new_info(provider.info(), [task], settings, ("benchmark",))
    with watch.running():
        with open_nowhere() as screen:
            console = Console(file=screen, force_terminal=True, width=100)
            with display(info, debug=False, console=console) as shown:
                sample(Plan(provider, (task,), info), place, shown)
        (result,) = judge(place, info, [task]).analysis.results
    assert result.finished == result.outcomes["correct"] == samples


def bare(base_url: str, samples: int, in_flight: int, watch: Stopwatch) -> None:
    """Aiohttp alone, without records, scores or display."""
    import aiohttp
    import orjson

    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "temperature": 1.0}
    numbers = iter(range(samples))

    async def work(session: aiohttp.ClientSession) -> None:
        headers = {"Content-Type": "application/json"}
        for _ in numbers:
            url = f"{base_url}/chat/completions"
            async with session.post(url, data=orjson.dumps(body), headers=headers) as response:
                orjson.loads(await response.read())

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(in_flight):
                group.create_task(work(session))

    with watch.running():
        asyncio.run(run())


def gpt_oss(base_url: str, samples: int, in_flight: int, watch: Stopwatch) -> None:
    """openai/gpt-oss: its AIME eval over its Chat Completions sampler, `in_flight` threads."""
    from gpt_oss.evals.aime_eval import AIME25Eval
    from gpt_oss.evals.chat_completions_sampler import ChatCompletionsSampler

    os.environ["OPENAI_API_KEY"] = "none"
    sampler = ChatCompletionsSampler(
        model="m",
        reasoning_model=True,
        reasoning_effort="high",
        temperature=1.0,
        base_url=base_url,
        max_tokens=131_072,
    )
    aime = AIME25Eval.__new__(AIME25Eval)  # its constructor downloads the questions
    aime.examples = [{"question": QUESTION, "answer": ANSWER}] * samples
    aime.n_threads = in_flight
    with watch.running():
        result = aime(sampler)
    assert result.score == 1


def inspect(base_url: str, samples: int, in_flight: int, watch: Stopwatch) -> None:
    """inspect-ai: a data set in memory, generate, a scorer, its log on disk, no display."""
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    os.environ |= {"MOCK_API_KEY": "none", "MOCK_BASE_URL": base_url}
    task = Task(
        dataset=MemoryDataset([Sample(input=PROMPT, target=str(ANSWER)) for _ in range(samples)]),
        solver=generate(),
        scorer=includes(),
    )
    with tempfile.TemporaryDirectory() as folder, watch.running():
        (log,) = evaluate(
            task,
            model="openai-api/mock/m",
            max_connections=in_flight,
            max_samples=in_flight,
            log_dir=folder,
            display="none",
            temperature=1.0,
        )
    assert log.status == "success"
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1


CLIENTS: dict[str, Client] = {
    "harness": harness,
    "bare": bare,
    "gpt_oss": gpt_oss,
    "inspect": inspect,
}


def open_nowhere() -> TextIO:
    """A terminal stream whose output is discarded."""
    return Path(os.devnull).open("w", encoding="utf-8")


def main(arguments: list[str]) -> int:
    name, base_url, samples, in_flight = arguments
    watch = Stopwatch()
    try:
        with open_nowhere() as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            CLIENTS[name](base_url, int(samples), int(in_flight), watch)
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    used: dict[str, object] = {"samples": int(samples), "wall": watch.wall, "cpu": watch.cpu}
    used["latency"] = watch.latency
    used["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(used))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
