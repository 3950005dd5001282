"""Runs the stages that have no results yet, each in a separate process."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from . import engine, kernels, launches, measuring, peers, report
from .measuring import Result, Setup
from .report import Stage

LONGEST_STAGE = 600
"""Seconds."""
TAIL = 4_000
"""Number of characters of a failed stage's output that are kept."""

Run = Callable[[Setup], Iterator[Result]]

STAGES: dict[str, tuple[Run, str]] = {
    "device": (measuring.describe, "20b"),
    "launches": (launches.launches, "20b"),
    "errors": (kernels.errors, "20b"),
    "graphs": (engine.graphs, "20b"),
    "kernels-20b": (kernels.speeds, "20b"),
    "speed-20b": (engine.speed, "20b"),
    "kernels-120b": (kernels.speeds, "120b"),
    "speed-120b": (engine.speed, "120b"),
    "context-20b": (engine.context, "20b"),
    "context-120b": (engine.context, "120b"),
    "transformers-20b": (peers.transformers, "20b"),
}
"""The stages and their shapes; correctness comes first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all stages, or one of them in this process."""
    options = _parser().parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.inside:
        return _run_here(options.stages[0], device)
    if device == "cpu":
        print("PyTorch finds no CUDA device. Triton's interpreter runs a tiny shape instead.")
    stages = report.read(options.out)
    for name in options.stages or STAGES:
        if name in stages and not stages[name].error and not options.again:
            continue
        print(f"{name} …", end=" ", flush=True)
        stages[name] = _run_apart(name)
        print("failed" if stages[name].failed else "done", f"({stages[name].seconds:.0f} s)")
        report.write(options.out, {each: stages[each] for each in STAGES if each in stages})
    print(options.out / report.PAGE)
    return int(any(stage.failed for stage in stages.values()))


def _run_here(name: str, device: str) -> int:
    """Print each result as a line of JSON."""
    torch.manual_seed(0)
    run, shape = STAGES[name]
    with torch.inference_mode():
        for result in run(Setup(device, shape if device == "cuda" else "tiny")):
            print(json.dumps(asdict(result)), flush=True)
    return 0


def _run_apart(name: str) -> Stage:
    """Run a stage in its own process, so that a GPU error only ends this stage."""
    command = [sys.executable, "-m", "benchmarks.gpu", name, "--inside"]
    interpreted = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    begin, error = time.monotonic(), None
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LONGEST_STAGE,
            env=os.environ | interpreted,
        )
        output = done.stdout
        if done.returncode:
            error = done.stderr[-TAIL:] or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode()
        error = f"not finished within {LONGEST_STAGE} s"
    results = [Result(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]
    title = " ".join((STAGES[name][0].__doc__ or "").partition("\n\n")[0].split())
    return Stage(title, time.monotonic() - begin, results, error)


def _parser() -> argparse.ArgumentParser:
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
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
