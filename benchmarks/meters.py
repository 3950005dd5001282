"""What load testers take for the first token and for a success, measured with a scripted server.

    python benchmarks/meters.py [NAME …] [--work DIR] [--write]

Installs each load tester of benchmarks/real/meters/meters.yaml in an environment of its own, and
lets it send three requests of each kind to a server on loopback, whose CoT begins after 0.3 s, and
whose answer begins after 3 s. Prints the table of docs/real-traffic.md; `--write` puts what was
measured there. It needs Python with venv and its package index; inference-perf needs `python3.12`.

Exit code 1 means that the page has another table, 2 that a load tester cannot be installed or run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "benchmarks")]

from real.clients.packages import install  # noqa: E402
from real.meters import server  # noqa: E402
from real.table_in_page import keep, table_row  # noqa: E402

DESCRIBED = ROOT / "benchmarks/real/meters/meters.yaml"
PAGE = ROOT / "docs/real-traffic.md"
_LONGEST = 300.0  # seconds of one test: assumed; most of it is the start of the load tester
_REQUESTS = 3
_TIMES = {"cot": "chat", "content": "chat", "cot, Responses": "responses"}
"""The kinds of replies whose first token is measured, and the API of each."""
_FAILURES = {"event": "chat", "ended": "chat", "aborted": "chat", "call": "chat"}
_HEADINGS = (
    *("load tester", "CoT in `reasoning`", "in `reasoning_content`", "Responses"),
    *("error event", "ends in its CoT", "connection breaks", "a tool call"),
)
_TOKENIZER = """
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
import sys
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
PreTrainedTokenizerFast(tokenizer_object=made, eos_token="!").save_pretrained(sys.argv[1])
"""
_PROGRAM = """
import json, os, pathlib, subprocess, sys
BASE, API, OUT, TOKENIZER, PROMPTS = (
    os.environ[name] for name in ("BASE", "API", "OUT", "TOKENIZER", "PROMPTS")
)
def run(name, *arguments):
    command = [str(pathlib.Path(sys.executable).parent / name), *arguments]
    subprocess.run(command, stdout=sys.stderr, check=False)
def read(pattern):
    path = next(pathlib.Path(OUT).glob(pattern), None)
    return path and json.loads(path.read_text())
"""


def measured(
    python: Path, row: Mapping[str, Any], work: Path, base: str, api: str
) -> dict[str, float | None]:
    """Return the first token and the successes of a test. Raises RuntimeError."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = Path(folder, "out")
        out.mkdir()
        env = {**os.environ, "BASE": base, "API": api, "OUT": str(out)}
        env |= {"TOKENIZER": str(work / "tokenizer"), "PROMPTS": str(work / "prompts.jsonl")}
        ran = subprocess.run(
            [str(python), "-c", _PROGRAM + row["program"]],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
    if ran.returncode:
        raise RuntimeError(f"{row['says']} ({base}): {ran.stderr[-600:]}")
    measured: dict[str, float | None] = json.loads(ran.stdout.splitlines()[-1])
    return measured


def line(python: Path, row: Mapping[str, Any], work: Path, address: str) -> str:
    """Return the row of a load tester in the table. Raises RuntimeError."""
    cells = [row["says"]]
    for kind, api in _TIMES.items():
        if api == "responses" and not row.get("responses"):
            cells.append("–")
            continue
        made = measured(python, row, work, f"{address}/{kind.partition(',')[0]}", api)
        cells.append(_taken(made["first"]))
    for kind, api in _FAILURES.items():
        made = measured(python, row, work, f"{address}/{kind}", api)
        cells.append("success" if made["good"] == _REQUESTS else "failure")
    return table_row(*cells)


def _taken(seconds: float | None) -> str:
    """Return which token a time to the first one belongs to: it is less than that of the next."""
    if seconds is None:
        return "none"
    return "CoT" if seconds < server.ANSWER_AT else "answer"


def main(arguments: Sequence[str]) -> int:
    """Install, measure and print; see above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "meters")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    rows = yaml.safe_load(DESCRIBED.read_text("utf-8"))
    rows = {name: row for name, row in rows.items() if name in (options.names or rows)}
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    tools = {"tokenizer-maker": {"packages": ["tokenizers", "transformers"]}, **rows}
    described = {"python": tools, "npm": {"packages": []}, "clients": {}}
    problems, lines = list(install(work, described, newest=False, jobs=1).values()), []
    asked = json.dumps({"text": "What is six times seven?"})
    (work / "prompts.jsonl").write_text(f"{asked}\n" * _REQUESTS, encoding="utf-8")
    maker = [str(work / "tokenizer-maker/bin/python"), "-c", _TOKENIZER, str(work / "tokenizer")]
    subprocess.run(maker, check=True, capture_output=True)
    with server.serving() as (address, _):
        for name, row in rows.items():
            try:
                lines.append(line(work / name / "bin/python", row, work, address))
                print(lines[-1], end="", flush=True)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                problems.append(str(error))
    print(*problems, sep="\n", file=sys.stderr)
    kept = keep(PAGE, "meters", _HEADINGS, lines, write=options.write)
    return 2 if problems else kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
