"""The command that compares what is said of known cases with stored lines."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_case_without_a_line_differs_and_is_stored_on_request(tmp_path):
    """A line has the verdict, the rules that failed and warned, and the causes."""
    name, stored = "reported/traffic/a_lost1.jsonl", tmp_path / "lines.json"
    program = [sys.executable, ROOT / "tools/judgements.py", "--only", name]
    options = ["--processes", "1", "--stored", stored, "--write", "--some", "2", "--seed", "x"]
    run = subprocess.run([*program, *options], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"--some 2 --seed x: {name}\n")
    assert run.stdout.splitlines()[-1] == "1 of 1 cases differ."
    line = json.loads(stored.read_text("utf-8"))[name]
    assert line["verdict"] == "fail"
    assert "reply.lost" in line["failed"].split()
