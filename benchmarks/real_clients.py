"""What breaks real clients, compared with what the tool says about them.

    python benchmarks/real_clients.py [FAULT …] [--work DIR]

Installs the clients of `PYTHON` and `NPM`, starts the reference server with the small checkpoint,
and lets each client use a tool, over each API and in each mode, for each fault of `FAULTS`. A
client breaks if its calls or its text differ from those without a fault. For each fault, the tool
judges a run of 18 attempts, and says which clients break. Prints a Markdown table; the exit code is
1 if the tool is wrong about a client, and 2 if something cannot be installed.
"""

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from real_servers import COMMAND, BenchError, called

from harness.records.analysis import Analysis
from harness.rules.clients.forms import CLIENTS, FORMS, SharedRules

SCRIPTS = Path(__file__).parent / "real"
PORT, URL = 48217, "http://127.0.0.1:48217/v1"
PYTHON = (
    "openai==3.57.0 openai-agents==0.24.0 langchain==1.5.2 langchain-openai==1.7.4 "
    "pydantic-ai-slim[openai]==2.38.0"
).split()
NPM = (
    "openai@6.49.0 ai@6.0.326 @ai-sdk/openai@3.0.141 @ai-sdk/openai-compatible@2.0.92 zod "
    "@openai/codex@0.169.0"
).split()
FAULTS = (
    *("finish-reason-missing", "call-type-null", "call-index-missing", "call-index-from-one"),
    *("calls-never-streamed", "usage-chunk-missing", "event-json-broken", "stream-ends-silently"),
    *("completed-missing", "created-missing", "output-index-zero", "content-index-counts-deltas"),
    *("message-never-added", "item-id-changes", "final-response-empty", "stream-simulated"),
    *("fragment-repeated",),
)
RUN = ("-n", "4", "-k", "1", "-t", "3", "--max-tokens", "300", "--apis", "responses,chat")
ONLY = "cases,clients.accept,clients.accept_in_streams"


def install(work: Path) -> None:
    """Install the clients, unless they are. Raises BenchError."""
    done = work / "installed"
    if done.exists():
        return
    called(sys.executable, "-m", "venv", "--clear", str(work / "env"))
    called(str(work / "env/bin/pip"), "install", "-q", *PYTHON)
    called("npm", "install", "--silent", "--prefix", str(work), *NPM)
    done.touch()


@contextmanager
def serving() -> Iterator[None]:
    """Run the reference server, whose requests choose their faults. Raises BenchError."""
    command = [sys.executable, "-m", "reference_engine", "serve", "--port", str(PORT)]
    options = "--threads", "1", "--max-context", "16384"  # Codex sends 7,300 tokens
    server = subprocess.Popen([*command, "--faults-by-request", *options])
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"{URL}/models").close()
                break
            except OSError:
                time.sleep(1)
        else:
            raise BenchError(f"The reference server ended; is port {PORT} free?")
        yield
    finally:
        server.terminate()
        server.wait()


def conversations(work: Path, fault: str) -> Mapping[str, object]:
    """Return what each client, API and mode made of the replies: its calls and its text."""
    script = work / "javascript_clients.mjs"  # beside its modules
    script.write_text((SCRIPTS / script.name).read_text("utf-8"), encoding="utf-8")
    python = [str(work / "env/bin/python"), str(SCRIPTS / "python_clients.py"), URL, fault]
    commands = [*python, str(work / "node_modules/.bin/codex")], ["node", str(script), URL, fault]
    found: dict[str, object] = {}
    for command in commands:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        found |= dict(json.loads(line) for line in done.stdout.splitlines())
    return found


def claims(work: Path, fault: str) -> set[str]:
    """Return the clients, APIs and modes that break, as the tool judges a run."""
    runs = work / "runs" / fault
    entry = {"base_url": URL, "model": "gpt-oss-small", "headers": {"X-Fault": fault}}
    providers = work / "providers.yaml"
    providers.write_text(json.dumps({"providers": {"reference": entry}}), encoding="utf-8")
    command = [COMMAND, "--providers", str(providers), "-p", "reference", *RUN, "--only", ONLY]
    subprocess.run([*command, "--out", str(runs)], check=False, stdout=subprocess.DEVNULL)
    latest = max(runs.glob("*/analysis.json"), default=None)
    if latest is None:
        raise BenchError(f"{fault}: the run ended without an analysis.")
    analysis = Analysis.model_validate_json(latest.read_text("utf-8"))
    names = {client.title: name for name, client in CLIENTS.items()}
    parts = {part.name or form.name: part for form in FORMS for part in form.parts}
    broken = set()
    for result in analysis.clients:
        for part in (parts[name] for name in result.breaking):
            of = part.mode if isinstance(part, SharedRules) else None
            modes = [mode for mode in CLIENTS[names[result.client]].modes if of in (None, mode)]
            broken |= {f"{names[result.client]} {result.api} {mode}" for mode in modes}
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", default=FAULTS, metavar="FAULT")
    parser.add_argument("--work", type=Path, default=Path(".real/clients"))
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    wrong = tried = 0
    try:
        install(work)
        with serving():
            healthy = conversations(work, "")
            print("| fault | breaks | wrong |\n| --- | --- | --- |", flush=True)
            for fault in arguments.faults:
                claimed, found = claims(work, fault), conversations(work, fault)
                breaks = {use for use in healthy if found.get(use) != healthy[use]}
                false = sorted(breaks ^ (claimed & healthy.keys()))
                tried, wrong = tried + len(healthy), wrong + len(false)
                cells = (", ".join(uses) or "–" for uses in (sorted(breaks), false))
                print(f"| {fault} | {' | '.join(cells)} |", flush=True)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{wrong} of {tried} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
