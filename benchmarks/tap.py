"""The time that `gpt-oss-verify tap` adds to a request: `python benchmarks/tap.py`.

Requests go to a local mock server alternately directly and through the proxy, one at a time, over
one connection each. The proxy runs in a separate process, as for users.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import httpx
from mock_server import running

_REQUESTS = 1000
_BODY = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}


def main() -> None:
    """Measure and print medians in milliseconds."""
    start = "from gpt_oss_verify.app import main; main()"
    with running() as origin, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", start, "tap", "--upstream", f"{origin}/0ms/v1", "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        through = process.stderr.readline().split()[-1]
        direct: list[float] = []
        proxied: list[float] = []
        with (
            httpx.Client(base_url=f"{origin}/0ms/v1") as one,
            httpx.Client(base_url=through) as two,
        ):
            for _ in range(_REQUESTS):
                direct.append(_milliseconds(one))
                proxied.append(_milliseconds(two))
        process.send_signal(signal.SIGINT)
        process.communicate()
    before, after = statistics.median(direct), statistics.median(proxied)
    print(f"direct {before:.2f} ms, through tap {after:.2f} ms, added {after - before:.2f} ms")


def _milliseconds(client: httpx.Client) -> float:
    began = time.perf_counter()
    client.post("/chat/completions", json=_BODY).raise_for_status()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
