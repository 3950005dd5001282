"""Record the stored runs and the expected figures again.

    python tests/characterization/record.py            # sample all runs, then compute the figures
    python tests/characterization/record.py figures    # only the expected figures, from stored runs
    python tests/characterization/record.py NAME ...   # sample only these steps again, then figures

Sampling starts the bundled reference engine several times, healthy and with known faults, and runs
the command line against it in a neutral folder (`/tmp/characterization`), so that no record
contains a path or name of the machine. It takes about 15 minutes and one free port. Every step
checks the exit code of the command. Files written by judging and reporting are removed before a run
is stored.

Sampled answers differ from one recording to the next, so record again only to cover something
new. If expected figures change for unchanged records, a verdict or a figure has changed, and that
needs a reason.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stored

ROOT = Path(__file__).parents[2]
PLACE = Path("/tmp/characterization")
OUT = PLACE / "runs"
PORT = 18431
ADDRESS = f"http://127.0.0.1:{PORT}"
DERIVED = ("analysis.json", "judgements.jsonl", "scores.jsonl", "news.json", "provider.log")
DERIVED += ("report.md", "report.html", "junit.xml")
SMALL = "gpt-oss-small"
PUBLISHED = "gpt-oss-20b"
COMMAND = "import platform; platform.platform = lambda *a, **k: 'Linux'; " + (
    "from gpt_oss_verify import main; main()"
)


# Tools.


def environment() -> dict[str, str]:
    """The environment of every command: this tree first, and no internet."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}


@contextmanager
def engine(*faults: str) -> Iterator[None]:
    """The reference engine with faults, each `NAME` or `NAME:RATE`."""
    options = [word for fault in faults for word in ("--fault", fault)]
    names = ["--model-name", SMALL, "--model-name", PUBLISHED]
    served = [sys.executable, "-m", "reference_engine", "serve", "--port", str(PORT)]
    limits = ["--max-context", "2048", "--max-batch", "64"]
    with (PLACE / "engine.log").open("ab") as log:
        process = subprocess.Popen(
            [*served, *limits, *names, *options],
            env=environment(),
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(is_ready)
            yield
        finally:
            process.terminate()
            process.wait()


def is_ready() -> bool:
    """Whether the engine answers."""
    try:
        with urllib.request.urlopen(f"{ADDRESS}/health", timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for a condition, for a minute at most."""
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.02)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line."""
    with (PLACE / "commands.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=PLACE,
            env=environment(),
            stdout=log,
            stderr=log,
        )


def run(code: int, *arguments: str) -> None:
    """Run the command line and check its exit code."""
    began = time.monotonic()
    found = start(*arguments).wait()
    print(f"  {found} after {time.monotonic() - began:.0f} s: {' '.join(arguments)}", flush=True)
    if found != code:
        log = (PLACE / "commands.log").read_text(encoding="utf-8")[-3000:]
        raise RuntimeError(f"exit code {found}, expected {code}\n{log}")


def keep(*names: str) -> None:
    """Rename the folders that a command made; the folder of evals is the last one."""
    made = [path for path in OUT.iterdir() if path.name.startswith(("engine-", "eval-"))]
    made.sort(key=lambda path: path.name.startswith("eval-"))
    for path, name in zip(made, names, strict=True):
        shutil.rmtree(OUT / name, ignore_errors=True)
        path.rename(OUT / name)
        store(name)


def store(name: str) -> None:
    """Pack the records of a run reproducibly: the same records give the same bytes."""
    stored.RUNS.mkdir(exist_ok=True)

    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return None if Path(member.name).name in DERIVED else member

    with tarfile.open(stored.RUNS / f"{name}.tar.xz", "w:xz", preset=9) as archive:
        archive.add(OUT / name, name, filter=chosen)


def copy(name: str, other: str) -> Path:
    """Copy a run under another name."""
    shutil.rmtree(OUT / other, ignore_errors=True)
    shutil.copytree(OUT / name, OUT / other)
    return OUT / other


def records(folder: Path) -> int:
    """The number of complete records in the log of a run."""
    log = folder / "rollouts.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def stop_after(count: int, how: signal.Signals, *arguments: str) -> Path:
    """Run the command line, stop it after `count` records, and return the run folder."""
    before = set(OUT.iterdir())
    process = start(*arguments)

    def made() -> list[Path]:
        return [path for path in set(OUT.iterdir()) - before if records(path) >= count]

    wait_until(lambda: bool(made()))
    process.send_signal(how)
    print(f"  {process.wait()} after {how.name}: {' '.join(arguments)}", flush=True)
    return made()[0]


def prepare() -> None:
    """Write the provider entries and the data files that the commands read."""
    shutil.rmtree(PLACE, ignore_errors=True)
    OUT.mkdir(parents=True)
    entry: dict[str, Any] = {
        "base_url": f"{ADDRESS}/v1",
        "model": SMALL,
        "apis": ["responses", "chat"],
        "concurrency": 8,
    }
    entries = {
        "engine": entry,
        "limited": {**entry, "limitations": ["previous_response_id", "logprobs"]},
        "published": {**entry, "model": PUBLISHED},
        "second-grader": {**entry, "model": PUBLISHED, "apis": ["chat"]},
    }
    write_json(PLACE / "providers.yaml", {"providers": entries})
    samples = ROOT / "evals" / "data" / "samples"
    lines = (samples / "aime25.jsonl").read_text(encoding="utf-8").splitlines()
    (PLACE / "aime25.jsonl").write_text("\n".join(lines[:30]) + "\n", encoding="utf-8")
    with (samples / "gpqa.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (PLACE / "gpqa.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows[:9])


def write_json(path: Path, value: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# Steps.

ENGINE = ("--provider", "engine")
GUIDE = (*ENGINE, "--rule", "guide")
"""Few tries decide by the rule of OpenAI's guide."""
EVAL = ("eval", *ENGINE, "--samples")
SUITE = ("--suite", "quick", "-n", "1", "-k", "1", "--only")
CHEAP = "smoke,prompt,errors,limits,state,options,structured,logprobs"
AIME_AND_GPQA = ("--eval", "aime25,gpqa")


def tool_calls() -> None:
    """A passing run, which is also used for tampering."""
    with engine():
        run(0, *GUIDE, "-n", "4", "-k", "2")
        keep("smoke_pass")
        run(0, *GUIDE, "-n", "3", "-k", "5", "--api", "chat")
        keep("smoke_chat")


def tool_calls_with_faults() -> None:
    """A run that fails in several ways."""
    faults = ["usage-sum-wrong:0.3", "call-omitted:0.2", "raw-markers-in-content:0.3"]
    with engine(*faults, "arguments-escaped-twice:0.2", "event-json-broken:0.1"):
        run(1, *GUIDE, "-n", "4", "-k", "3", "--strict")
        keep("smoke_fault")
    with engine("call-omitted:0.9", "finish-length-overwritten"):
        run(1, *GUIDE, "-n", "3", "-k", "5", "--api", "chat")
        keep("smoke_chat_fault")
    with engine("usage-sum-wrong:0.5"):
        demands = ["--may-warn", "usage", "--must-pass", "stream.json,logprobs"]
        run(4, *GUIDE, "-n", "2", "-k", "2", "--api", "chat", "-s", *demands)
        keep("smoke_gate")


def tool_calls_with_other_outcomes() -> None:
    """No call, an error status, a broken stream, a truncated reply, too few turns."""
    with engine("tools-not-rendered:0.3", "header-crash:0.2", "stream-ends-silently:0.2"):
        run(1, *GUIDE, "-n", "4", "-k", "2")
        keep("smoke_outcomes")
        run(1, *GUIDE, "-n", "6", "-k", "1", "--max-tokens", "34", "--max-turns", "1")
        keep("smoke_limits")


def interruptions() -> None:
    """Runs that were stopped by Ctrl-C, killed, resumed, or ended by their budget."""
    small = [*GUIDE, "-n", "4", "-k", "2", "--api", "responses", "--concurrency", "2"]
    with engine():
        folder = stop_after(5, signal.SIGINT, *small)
        folder.rename(OUT / "interrupted")
        store("interrupted")
        folder = stop_after(6, signal.SIGKILL, *small)
        folder.rename(OUT / "killed")
        log = OUT / "killed" / "rollouts.jsonl"
        whole = log.read_bytes()
        log.write_bytes(whole + whole[:500])
        store("killed")
        run(0, "--resume", str(copy("killed", "resumed").relative_to(PLACE)))
        store("resumed")
        run(4, *small, "--max-requests", "9")
        keep("over_budget")


def probes() -> None:
    """Passing probes."""
    with engine():
        run(0, *GUIDE, *SUITE, f"{CHEAP},numerics")
        keep("probes_pass")


def probes_with_faults() -> None:
    """Failing probes, and the numerics probes alone."""
    shutil.rmtree(OUT / "probes_fault", ignore_errors=True)
    faults = "tools-before-instructions,error-as-detail,stop-ignored,previous-response-ignored"
    more = "logprobs-shifted,truncation-as-completed,tool-description-dropped"
    with engine(faults, more):
        run(1, "--provider", "limited", *SUITE, CHEAP)
        (made,) = OUT.glob("limited-*")
        made.rename(OUT / "probes_fault")
        store("probes_fault")
    with engine("sinks-dropped"):
        run(1, *ENGINE, *SUITE, "numerics")
        keep("probes_numerics")


def evals() -> None:
    """AIME and GPQA: plain, under several conditions, truncated, published, in shards."""
    with engine():
        run(0, *EVAL, *AIME_AND_GPQA, "--tries", "4", "--examples", "14")
        keep("evals")
        cells = ["--api", "chat", "--streaming", "--seed", "3", "--reasoning-effort", "low,high"]
        run(0, *EVAL, *AIME_AND_GPQA, "--tries", "3", "--examples", "6", *cells)
        keep("evals_cells")
        data = ["--data-file", "aime25.jsonl", "--eval", "aime25", "--tries", "2"]
        run(1, "eval", "--provider", "published", *data, "--reasoning-effort", "low,medium,high")
        keep("evals_published")
        gated = ["--data-file", "gpqa.csv", "--eval", "gpqa", "--tries", "2"]
        run(0, "eval", *ENGINE, *gated)
        keep("gated")
        few = [*EVAL, *AIME_AND_GPQA, "--tries", "2", "--examples", "7"]
        run(4, *few, "--max-requests", "12")
        keep("evals_interrupted")
        copied = copy("evals_interrupted", "evals_resumed")
        run(0, "eval", "--resume", str(copied.relative_to(PLACE)))
        store("evals_resumed")
        for part in (1, 2):
            run(0, *few, "--shard", f"{part}/2")
            keep(f"evals_shard_{part}")
        run(0, "merge", "runs/evals_shard_1", "runs/evals_shard_2")
        keep("evals_merged")


def evals_with_faults() -> None:
    """Evals with answers that are truncated, missing or broken."""
    with engine("answer-missing:0.3", "header-crash:0.4"):
        run(0, *EVAL, *AIME_AND_GPQA, "--tries", "2", "--examples", "6", "--max-tokens", "34")
        keep("evals_truncated")


def evals_against_a_baseline() -> None:
    """Evals that equal a measured baseline, and evals that are sampled until decided."""
    aime = [*EVAL, "--eval", "aime25"]
    with engine():
        run(0, *aime, "--tries", "4")
        (made,) = OUT.glob("eval-engine-*")
        run(0, "export", f"runs/{made.name}", "--format", "baseline", "--out", "baseline.json")
        shutil.rmtree(made)
        shutil.copy(PLACE / "baseline.json", stored.BASELINE)
        held_to = ["--baseline", "baseline.json", "--margin", "8"]
        run(0, *aime, "--tries", "4", *held_to)
        keep("evals_same")
        run(0, *aime, "--tries", "8", *held_to, "--until-decided")
        keep("evals_until_decided")


def evals_that_are_worse() -> None:
    """Evals that are worse than the measured baseline and the previous run."""
    with engine("answer-missing:0.6"):
        held_to = ["--baseline", "baseline.json", "--margin", "8"]
        run(1, *EVAL, "--eval", "aime25", "--tries", "2", *held_to)
        keep("evals_worse")
        run(0, *EVAL, *AIME_AND_GPQA, "--tries", "4", "--examples", "14")
        keep("evals_fault")


def healthbench() -> None:
    """HealthBench graded by the engine itself, by a second grader, and by one that fails."""
    graded = [*EVAL, "--eval", "healthbench", "--examples", "4"]
    with engine():
        run(0, *graded, "--tries", "2")
        keep("healthbench")
        run(0, *graded)
        keep("healthbench_again")
        copied = str(copy("healthbench", "healthbench_regraded").relative_to(PLACE))
        run(0, "grade", copied, "--grader", "second-grader")
        store("healthbench_regraded")
    with engine("answer-missing:0.4"):
        run(0, *graded)
        keep("healthbench_unanswered")


def failing_grader() -> None:
    """HealthBench graded by a grader that often says nothing."""
    copied = str(copy("healthbench", "healthbench_ungraded").relative_to(PLACE))
    with engine("answer-missing:0.7"):
        run(0, "grade", copied, "--grader", "second-grader")
    store("healthbench_ungraded")


def main_job() -> None:
    """Tool calls and then evals, with one command."""
    with engine():
        run(0, *GUIDE, "-n", "2", "-k", "1", "--evals", "quick")
        keep("main_job_requests", "main_job_evals")


STEPS: Mapping[str, Callable[[], None]] = {
    step.__name__: step
    for step in (
        tool_calls,
        tool_calls_with_faults,
        tool_calls_with_other_outcomes,
        interruptions,
        probes,
        probes_with_faults,
        evals,
        evals_with_faults,
        evals_against_a_baseline,
        evals_that_are_worse,
        healthbench,
        failing_grader,
        main_job,
    )
}


def write_figures() -> None:
    """Compute the expected figures from the stored runs."""
    stored.EXPECTED.mkdir(exist_ok=True)
    for path in stored.EXPECTED.glob("*.json"):
        path.unlink()
    for name, figures in stored.CHARACTERIZATIONS.items():
        with tempfile.TemporaryDirectory() as place:
            write_figures_of(name, figures(Path(place)))


def write_figures_of(name: str, figures: Any) -> None:
    """Write an expected file with one check, attempt or condition per line."""
    text = json.dumps(figures, ensure_ascii=False)
    if isinstance(figures, dict):
        parts = (f"{json.dumps(key)}: {lines_of(value)}" for key, value in figures.items())
        text = "{\n" + ",\n".join(parts) + "\n}"
    (stored.EXPECTED / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def lines_of(value: Any) -> str:
    """JSON with one line per member."""
    opening, closing, members = "", "", [json.dumps(value, ensure_ascii=False)]
    if isinstance(value, dict) and value:
        opening, closing = "{\n ", "\n}"
        members = [f"{json.dumps(key)}: {json.dumps(one)}" for key, one in value.items()]
    elif isinstance(value, list) and value:
        opening, closing = "[\n ", "\n]"
        members = [json.dumps(one, ensure_ascii=False) for one in value]
    return opening + ",\n ".join(members) + closing


def main() -> None:
    """Sample the requested steps, then compute the figures."""
    names = sys.argv[1:]
    if names != ["figures"]:
        if not names or not PLACE.exists():
            prepare()
        for name in names or STEPS:
            print(name, flush=True)
            STEPS[name]()
    write_figures()


if __name__ == "__main__":
    main()
