"""Runs of the suite `long` against healthy servers, none of which may have an error.

    python benchmarks/healthy_long_runs.py [--runs N] [--max-context N] [--out DIR]
    python benchmarks/healthy_long_runs.py --url http://localhost:8080/v1 --model NAME

The first command serves the small checkpoint in three number formats, each with three batch
settings. The runs against one server differ in the API and in the number of concurrent requests,
and later ones may find cached prefixes. The second command tests another server.
Prints the rules that failed or warned. The exit code is 1 if a run has an error.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.providers.entries import Launch, Provider
from harness.records.conditions import BOTH_APIS
from harness.run.launch import launched

COMMAND = str(Path(sys.executable).with_name("gpt-oss-verify"))
MODEL = "gpt-oss-small"
FORMATS = {
    "float32": (),
    "bfloat16 residual stream": ("--residual", "bfloat16"),
    "bfloat16": ("--dtype", "bfloat16", "--residual", "bfloat16"),
}
BATCHES = {
    "batch 1": ("--max-batch", "1"),
    "batch 8, chunks of 128": ("--max-batch", "8", "--prefill-chunk", "128"),
    "batch 64, chunks of 2,048": ("--max-batch", "64", "--prefill-chunk", "2048"),
}
CONCURRENCY = (8, 1, 24)


@dataclass
class Tally:
    """The results of the runs against one server."""

    runs: int = 0
    failed: int = 0
    verified: int = 0
    found: Counter[str] = field(default_factory=Counter)

    def add(self, statuses: Mapping[str, str]) -> None:
        """Count one run with the statuses of its rules."""
        self.runs += 1
        self.failed += "failed" in statuses.values()
        self.verified += sum(
            rule.startswith("long.") and status in ("passed", "warned", "failed")
            for rule, status in statuses.items()
        )
        found = [each for each in statuses.items() if each[1] in ("failed", "warned")]
        self.found.update(f"{rule} {status}" for rule, status in found)

    def __str__(self) -> str:
        found = ", ".join(f"{rule} ({runs})" for rule, runs in sorted(self.found.items()))
        verified = f"{self.verified / max(self.runs, 1):.1f}"
        return f"{self.runs} | {verified} | {self.failed} | {found or 'none'}"


def verify(url: str, options: argparse.Namespace, number: int) -> Mapping[str, str]:
    """The statuses of the rules in one run. Raises RuntimeError if it ends without a result."""
    api = BOTH_APIS[number % len(BOTH_APIS)]
    command = [
        *(COMMAND, "--base-url", url, "--model", options.model, "--suite", "long", "--json"),
        *("--apis", api, "--concurrency", f"{CONCURRENCY[number % len(CONCURRENCY)]}"),
        *("--max-context", f"{options.max_context}", "--out", str(options.out)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 4):
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-500:]}")
    return {each["id"]: each["status"] for each in json.loads(done.stdout)["checks"]}


def servers(options: argparse.Namespace) -> Iterator[tuple[str, Provider]]:
    """The configurations of the reference engine, or the server in the options."""
    if options.url:
        yield (
            options.url,
            Provider(name="healthy", base_url=options.url, model=options.model, apis=BOTH_APIS),
        )
        return
    for (format_, precision), (batch, sizes) in itertools.product(FORMATS.items(), BATCHES.items()):
        command = (
            *("{python}", "-m", "reference_engine", "serve", "--port", "{port}"),
            *("--threads", "1", "--max-context", f"{options.max_context}", *precision, *sizes),
        )
        launch = Launch(command=command, ready_url="http://127.0.0.1:{port}/health")
        url = "http://127.0.0.1:{port}/v1"
        provider = Provider(
            name="healthy", base_url=url, model=options.model, apis=BOTH_APIS, launch=launch
        )
        yield f"{format_}, {batch}", provider


async def served(name: str, provider: Provider, options: argparse.Namespace) -> Tally:
    """The runs against one configuration."""
    tally = Tally()
    async with launched(provider, options.out / "server.log") as ready:
        for number in range(options.runs):
            tally.add(await asyncio.to_thread(verify, ready.base_url, options, number))
    print(f"| {name} | {tally} |", flush=True)
    return tally


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="runs against each server")
    parser.add_argument("--max-context", type=int, default=8192, help="tokens")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/healthy-long"), help="folder of runs"
    )
    parser.add_argument("--url", help="base URL of another server")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--only", default="", help="configurations whose name contains this text")
    options = parser.parse_args()
    print("| server | runs | probes verified, mean | runs with errors | findings (runs) |")
    print("| --- | ---: | ---: | ---: | --- |")
    tallies = [
        asyncio.run(served(name, provider, options))
        for name, provider in servers(options)
        if options.only in name
    ]
    return int(any(tally.failed for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
