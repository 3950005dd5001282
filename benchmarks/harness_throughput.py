"""Our sampler compared with its peers, all with the same local mock server.

    python benchmarks/harness_throughput.py [--gpt-oss DIR] [--inspect DIR] [--samples N]

`--gpt-oss` is a checkout of openai/gpt-oss, `--inspect` a folder made with
`pip install --target DIR inspect-ai`; missing peers are reported as not installed. Every client is
a separate process. CPU seconds are those of the sampling and hardly depend on the load of the
machine; samples per second do. The latencies are those that our client recorded: they should be
the delay of the server.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import clients
import mock_server

SECONDS_FOR_A_CLIENT = 900


@dataclass(frozen=True)
class Run:
    """One client's run; `share` is its share of `--samples`, below 1 for slow clients.

    `answers` is how the mock server answers.
    """

    client: str
    name: str
    answers: str
    in_flight: int
    share: float = 1.0


@dataclass(frozen=True)
class Used:
    """The resources of a run: seconds, and peak memory in MB; recorded latencies in ms."""

    samples: int
    wall: float
    cpu: float
    rss: float
    latency: tuple[float, float] | None

    @property
    def cpu_per_thousand(self) -> float:
        """CPU seconds for 1,000 samples."""
        return self.cpu / self.samples * 1000


RUNS = (
    *(
        run
        for answers in ("0ms", "0ms-long")
        for run in (
            Run("harness", "gpt-oss-verify eval", answers, 64),
            Run("bare", "aiohttp alone", answers, 64),
            Run("gpt_oss", "gpt_oss.evals, 64 threads", answers, 64, share=0.2),
            Run("gpt_oss", "gpt_oss.evals, as it comes", answers, 1584, share=0.4),
            Run("inspect", "inspect-ai", answers, 64, share=0.2),
        )
    ),
    Run("harness", "gpt-oss-verify eval", "200ms", 8, share=0.1),
    Run("harness", "gpt-oss-verify eval", "200ms", 64, share=0.6),
    Run("harness", "gpt-oss-verify eval", "200ms", 256, share=2),
    Run("harness", "gpt-oss-verify eval", "200ms", 1000),
    Run("bare", "aiohttp alone", "200ms", 1000),
    Run("gpt_oss", "gpt_oss.evals, 64 threads", "200ms", 64, share=0.2),
    Run("gpt_oss", "gpt_oss.evals, as it comes", "200ms", 1584, share=0.4),
    Run("inspect", "inspect-ai", "200ms", 1000, share=0.2),
    Run("harness", "gpt-oss-verify eval", "200ms", 5000, share=4),
    Run("bare", "aiohttp alone", "200ms", 5000, share=4),
)


def measure(run: Run, address: str, samples: int, folders: dict[str, Path | None]) -> Used | None:
    """Run a client in a separate process; None if it is not installed."""
    folder = folders.get(run.client)
    command = [sys.executable, clients.__file__, run.client, f"{address}/{run.answers}/v1"]
    command += [str(round(samples * run.share)), str(run.in_flight)]
    done = subprocess.run(
        command,
        env=os.environ | ({"PYTHONPATH": str(folder)} if folder else {}),
        capture_output=True,
        text=True,
        timeout=SECONDS_FOR_A_CLIENT,
    )
    if done.returncode == clients.NOT_INSTALLED:
        return None
    if done.returncode:
        sys.exit(f"{run.name} failed:\n{done.stderr}")
    return Used(**json.loads(done.stdout))


def row(run: Run, used: Used | None) -> str:
    start = f"{run.name:28}{run.answers:>8}{run.in_flight:9,}"
    if used is None:
        return f"{start}   not installed"
    rate = used.samples / used.wall
    return f"{start}{used.samples:9,}{rate:11,.0f}{used.cpu_per_thousand:12.2f}{used.rss:9.0f}" + (
        "{:11.0f}{:7.0f}".format(*used.latency) if used.latency else ""
    )


def ratios(results: list[tuple[Run, Used | None]]) -> Iterator[str]:
    """The CPU seconds of each other client relative to ours, for the same answers, both at best."""
    cheapest: dict[tuple[str, str], float] = {}
    for run, used in results:
        if used is not None:
            key = (run.answers, run.client)
            cheapest[key] = min(used.cpu_per_thousand, cheapest.get(key, used.cpu_per_thousand))
    for (answers, client), theirs in cheapest.items():
        if client != "harness":
            times = theirs / cheapest[answers, "harness"]
            yield f"{answers}: {client} needs {times:.1f} times our CPU seconds"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--samples", type=int, default=5000, help="for the fast clients")
    parser.add_argument("--gpt-oss", type=Path, help="a checkout of openai/gpt-oss")
    parser.add_argument("--inspect", type=Path, help="a folder with inspect-ai installed in it")
    options = parser.parse_args()
    folders = {"gpt_oss": options.gpt_oss, "inspect": options.inspect}
    print(f"{'':28}{'answers':>8}{'parallel':>9}{'samples':>9}{'samples/s':>11}", end="")
    print(f"{'CPU s/1,000':>12}{'peak MB':>9}{'median ms':>11}{'99th':>7}")
    results = []
    with mock_server.running() as address:
        for run in RUNS:
            results.append((run, measure(run, address, options.samples, folders)))
            print(row(*results[-1]), flush=True)
    print("\n".join(ratios(results)))


if __name__ == "__main__":
    main()
