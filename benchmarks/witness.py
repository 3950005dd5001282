"""The numbers of engines that nobody here wrote, beside those of the reference engine.

    python benchmarks/witness.py [--work DIR]

exports the small checkpoint, runs it in float32 in each engine, and prints a Markdown table: the
largest difference of the log probabilities of the 20 most probable tokens of each position. The
environment of the engines is kept in `--work` and reused. The exit code is 1 if a difference
exceeds 1e-3, and 2 if an engine could not be installed or run.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from real_servers import BenchError, called, exported
from torch import Tensor

from harness.rules.numerics.golden_prompts import requests
from reference_engine.checkpoint.loading import load_model
from reference_engine.small import SMALL_CHECKPOINT

PACKAGES = (
    "onnxruntime-genai==0.18.0", "onnxruntime==1.31.0", "onnx==1.23.2", "onnx_ir==1.1.0",
    "torch==2.13.0", "transformers==5.23.0",
)  # fmt: skip
LENGTHS = (64, 405, 1025)
"""Tokens of the prompts: within the sliding window, beyond it, and where YaRN stretches."""
TOP, MOST = 20, 1e-3
HERE = Path(__file__).parent

Values = Sequence[Tensor]
"""Log probabilities (T, TOP) of each prompt."""


def environment(work: Path) -> Path:
    """Create the environment of the engines, unless it exists; returns its Python."""
    python = work / "witness" / "bin" / "python"
    if not (done := work / "witness" / "installed").exists():
        called(sys.executable, "-m", "venv", "--clear", str(work / "witness"))
        called(str(python), "-m", "pip", "install", "-q", *PACKAGES)
        done.touch()
    return python


def converted(python: Path, checkpoint: Path, work: Path) -> Path:
    """Export the checkpoint for ONNX Runtime in float32, unless it exists."""
    folder = work / "witness" / "onnx"
    if not (folder / "genai_config.json").exists():
        builder = (str(python), "-m", "onnxruntime_genai.models.builder")
        places = ("-i", str(checkpoint), "-o", str(folder), "-c", str(work / "witness" / "cache"))
        called(*builder, *places, "-p", "fp32", "-e", "cpu")
    return folder


def apart(ours: Values, theirs: Values) -> str:
    """The cells of a row; the last says whether all differences are small."""
    most = [(mine - other).abs().max().item() for mine, other in zip(ours, theirs, strict=True)]
    cells = [f"{value:.1e}" for value in most]
    return " | ".join([*cells, "agrees" if max(most) <= MOST else f"above {MOST}"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".real"), help="default: .real")
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = exported(work)
    golden = requests("harmony", "small").greedy
    prompt = [token for name in ("longest", "long") for token in golden[name]["prompt"]]
    prompts = [torch.tensor(prompt[:length]) for length in LENGTHS]

    def numbers(folder: Path, *, packed: bool) -> list[Tensor]:
        model = load_model(folder, dtype=torch.float32, packed=packed)
        with torch.inference_mode():
            return [model(tokens[None])[0].double().log_softmax(-1) for tokens in prompts]

    whole = numbers(checkpoint, packed=False)
    tops = [found.topk(TOP) for found in whole]
    ours, ids = [top.values for top in tops], [top.indices for top in tops]
    asked = json.dumps(
        [
            {"tokens": tokens.tolist(), "ids": top.tolist()}
            for tokens, top in zip(prompts, ids, strict=True)
        ]
    )

    def of(engine: str, folder: Path) -> list[Tensor]:
        script = str(HERE / "real" / "witness_engines.py")
        command = [str(python), script, engine, str(folder)]
        done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{engine} ended with {done.returncode}")
        return [torch.tensor(values, dtype=torch.float64) for values in json.loads(done.stdout)]

    python = environment(work)
    packed = numbers(SMALL_CHECKPOINT, packed=True)
    rows: dict[str, Callable[[], Values]] = {
        "ours, experts packed": lambda: [
            found.gather(1, top) for found, top in zip(packed, ids, strict=True)
        ],
        "transformers": lambda: of("transformers", checkpoint),
        "onnxruntime-genai": lambda: of("onnxruntime-genai", converted(python, checkpoint, work)),
    }
    versions = dict(package.split("==") for package in PACKAGES)
    print("| engine | " + " | ".join(f"{length:,} tokens" for length in LENGTHS) + " | |")
    print("| --- |" + " ---: |" * len(LENGTHS) + " --- |")
    agree = True
    for name, values in rows.items():
        cells = apart(ours, values())
        agree &= cells.endswith("agrees")
        print(f"| {name} {versions.get(name, '')} | {cells} |", flush=True)
    return 0 if agree else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
