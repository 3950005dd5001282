"""Runs the stages that have no results yet, each in a separate process."""

import argparse
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import torch

from . import engine, http, kernels, launches, measuring, peers, repeat, report, small, steps
from .measuring import Result, Setup, Task
from .report import Stage

LONGEST_STAGE = 540
"""Seconds."""
SHORTEST_STAGE = 45
"""Seconds; with less time left, no further stage is started."""
GRACE = 10
"""Seconds in which a stage writes what it is doing after its time is over."""
TAIL = 4_000
"""Number of characters of a failed stage's output that the report contains."""

Run = Callable[[Setup], Iterator[Task]]

STAGES: dict[str, tuple[Run, str]] = {
    "device": (measuring.describe, "20b"),
    "launches": (launches.launches, "20b"),
    "repeat": (repeat.repeat, "20b"),
    "errors": (kernels.errors, "20b"),
    "steps": (steps.steps, "20b"),
    "graphs": (engine.graphs, "20b"),
    "small": (small.small, "20b"),
    "kernels-20b": (kernels.speeds, "20b"),
    "speed-20b": (engine.speed, "20b"),
    "kernels-120b": (kernels.speeds, "120b"),
    "speed-120b": (engine.speed, "120b"),
    "context-20b": (engine.context, "20b"),
    "context-120b": (engine.context, "120b"),
    "http-20b": (http.http, "20b"),
    "http-120b": (http.http, "120b"),
    "transformers-20b": (peers.transformers, "20b"),
    "gpt-oss-triton-20b": (peers.gpt_oss_triton, "20b"),
}
"""The stages and their shapes; correctness comes first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all stages, or one of them in this process."""
    options = parser().parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.inside:
        _end_after(options.inside)
        _run_here(options.stages[0], device)
        return 0
    if device == "cpu":
        print("PyTorch finds no CUDA device. Triton's interpreter runs a tiny shape instead.")
    end = time.monotonic() + 60 * options.minutes
    stages = report.read(options.out)
    wanted = options.stages or list(STAGES)
    for name in wanted:
        if name in stages and not stages[name].error and not options.again:
            continue
        left = min(LONGEST_STAGE, end - time.monotonic() - GRACE)
        if left < SHORTEST_STAGE:
            print(f"No time is left for {name}. Run the same command again.")
            break
        print(f"{name} …", end=" ", flush=True)
        stages.pop(name, None)
        for stage in _run_apart(name, left, options.out):
            stages[name] = stage
            known = {each: stages[each] for each in STAGES if each in stages}
            report.write(options.out, known, [each for each in STAGES if each not in stages])
        print("failed" if stages[name].failed else "done", f"({stages[name].seconds:.0f} s)")
    print(options.out / report.PAGE)
    return int(any(stage.failed for stage in stages.values()) or not stages.keys() >= {*wanted})


def _end_after(seconds: float) -> None:
    """Print the main thread's stack and end the process after this time, also inside a GPU call.

    A signal runs in that thread. `faulthandler.dump_traceback_later` reads the frames of threads
    that go on running, which can crash before the first frame is printed.
    """
    faulthandler.enable()
    faulthandler.register(signal.SIGALRM, all_threads=False, chain=True)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _run_here(name: str, device: str) -> None:
    """Print each result as a line of JSON."""
    torch.manual_seed(0)
    run, shape = STAGES[name]
    with torch.inference_mode():
        for task in run(Setup(device, shape if device == "cuda" else "tiny")):
            for result in results(task):
                print(json.dumps(asdict(result)), flush=True)
            if device == "cuda":
                torch.cuda.synchronize()  # This ends the stage if the GPU accepts no more work.
                torch.cuda.empty_cache()


def results(task: Task) -> Iterator[Result]:
    """The results of a task; if it fails, one that says why."""
    try:
        yield from task.run()
    except Exception as error:  # noqa: BLE001 - the other tasks must run
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        yield Result(task.name, 0, "", passed=False, note=why[:200].replace("|", "/"))


def _run_apart(name: str, seconds: float, folder: Path) -> Iterator[Stage]:
    """Run a stage in its own process, so that a GPU error only ends this stage.

    Yields the stage after each result, so that the report is complete whenever a run is stopped.
    """
    command = [sys.executable, "-m", "benchmarks.gpu", name, "--inside", f"{seconds:.0f}"]
    interpreted = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    begin, found = time.monotonic(), list[Result]()
    title = " ".join((STAGES[name][0].__doc__ or "").partition("\n\n")[0].split())
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / report.LOG).open("a+", encoding="utf-8") as log:
        start = log.seek(0, os.SEEK_END)
        print(f"=== {name}", file=log, flush=True)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | interpreted
        ) as process:
            stuck = threading.Timer(seconds + GRACE, process.kill)
            stuck.start()
            try:
                for result in _read(process, log):
                    found.append(result)
                    yield Stage(title, time.monotonic() - begin, list(found), "not finished")
                code = process.wait()
            finally:
                stuck.cancel()
                process.kill()
        taken = time.monotonic() - begin
        error = None
        if code:
            log.seek(start)
            late = taken >= seconds
            why = f"not finished within {seconds:.0f} s" if late else f"exit code {code}"
            error = f"{why}\n{log.read()[-TAIL:]}"
        yield Stage(title, taken, found, error)


def _read(process: subprocess.Popen[str], log: TextIO) -> Iterator[Result]:
    """The results that a stage prints; its other lines go to the log."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            yield Result(**json.loads(line))
        else:
            print(line, end="", file=log, flush=True)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument(
        "stages",
        nargs="*",
        metavar="stage",
        choices=[[], *STAGES],
        default=[],
        help=f"of {', '.join(STAGES)}; default: all",
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="folder for results")
    parser.add_argument("--again", action="store_true", help="repeat stages that have results")
    parser.add_argument(
        "--minutes", type=float, default=1e6, help="stop after this time; a second call continues"
    )
    parser.add_argument("--inside", type=float, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
