"""Whether the memory of an eval run grows with the number of finished samples.

    python benchmarks/endurance.py [--samples 3000 30000] [--in-flight 64]

Each run has a separate process: a complete eval run against a mock server, with records, scores and
display, and then its judgment. Two sizes show how much memory each finished sample occupies.

Measured: 3,000 samples peaked at 82.5 MB and 30,000 at 82.7 MB, 4 bytes per sample; judging them,
for which numpy, scipy and the types of openai are loaded, at 117.7 and 144.1 MB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import clients
import mock_server

QUESTIONS = 30
PAGE = resource.getpagesize()


def resident() -> int:
    """The resident memory of this process in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def peak() -> int:
    """The peak memory of this process in bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(base_url: str, samples: int, in_flight: int) -> None:
    """Make one run in this process, and print its resource usage as JSON."""
    from harness.verdict.judge import judge

    with tempfile.TemporaryDirectory() as place:
        cpu = time.process_time()
        size = (QUESTIONS, samples // QUESTIONS)
        job = clients.sample_aime(base_url, size, in_flight, Path(place))
        used = {"cpu": time.process_time() - cpu, "peak": peak(), "end": resident()}
        (result,) = judge(job.folder, job.info, job.plan.tasks).analysis.results
        assert result.finished == samples
    print(json.dumps(used | {"judged": peak()}))


def measure(base_url: str, samples: int, in_flight: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--base-url", base_url, "--in-flight", str(in_flight)]
    command += ["--samples", str(samples)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    used: dict[str, float] = json.loads(done.stdout)
    return used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[3000, 30_000])
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.base_url:
        run(options.base_url, options.samples[0], options.in_flight)
        return
    print(f"{'samples':>9}{'CPU s/1,000':>13}{'peak MB':>9}{'at the end':>12}{'judged, peak':>14}")
    found = {}
    with mock_server.running() as address:
        for samples in options.samples:
            used = measure(f"{address}/0ms/v1", samples, options.in_flight)
            found[samples] = used
            sizes = [used[name] / 2**20 for name in ("peak", "end", "judged")]
            print(f"{samples:9,}{used['cpu'] / samples * 1000:13.2f}", end="")
            print("{:9.1f}{:12.1f}{:14.1f}".format(*sizes), flush=True)
    few, many = min(found), max(found)
    if few < many:
        for name, what in (("end", "sampled"), ("judged", "judged")):
            left = (found[many][name] - found[few][name]) / (many - few)
            print(f"bytes kept per sample {what}: {left:.0f}")


if __name__ == "__main__":
    main()
