"""The cost of judging a recorded run again.

    python benchmarks/judging.py [--attempts 2000 10000] [--profile FILE]

A stored smoke run (`tests/characterization/runs/smoke_pass.tar.xz`: both APIs, streamed and not,
two requests per attempt) is multiplied. Every copy has different ids, numbers and words, so that
copies do not share texts. `recheck` then judges the run in a separate process, with all reports.
Prints CPU seconds for 1,000 attempts, peak memory, and the size of the page.
"""

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORED = ROOT / "tests/characterization/runs/smoke_pass.tar.xz"
COPIES = 9
SECONDS_BETWEEN_LOOKS = 0.25
PROGRAM = str(Path(sys.executable).with_name("gpt-oss-verify"))
IDS = re.compile(r"\b((?:resp|call|msg|fc|rs|chatcmpl)[-_])([0-9a-f]{8,})\b")
WORDS = {
    " user": (" user", " person", " client", " customer", " human"),
    " wants": (" wants", " needs", " wishes", " expects", " demands"),
    " takes": (" takes", " needs", " has", " gets", " uses"),
    " gave": (" gave", " returned", " says", " reports", " shows"),
    "412": tuple(str(number) for number in range(200, 1000)),
}
"""Words of the recorded replies that are one token, and one-token words to replace them."""


def multiply(folder: Path, attempts: int) -> Path:
    """Create a run of about `attempts` attempts at 36 cases, below `folder`."""
    from harness.records.rollouts import Rollout
    from harness.run.run_log import RunLog, read_rollouts, read_run_info, write_run_info

    with tarfile.open(STORED) as archive:
        archive.extractall(folder, filter="data")
    stored, run = folder / "smoke_pass", folder / f"run-{attempts}"
    run.mkdir()
    rollouts = [each for each in read_rollouts(stored) if each.attempt == 1]
    tries = max(1, attempts // (len(rollouts) * COPIES))
    cases = _copied_cases(stored / "cases.jsonl", {each.sample for each in rollouts})
    tools = (stored / "tools.json").read_bytes()
    files = {"cases.jsonl": cases, "tools.json": tools}
    for name, content in files.items():
        (run / name).write_bytes(content)
    info = read_run_info(stored)
    task = info.tasks[0].model_copy(
        update={
            "tries": tries,
            "samples": cases.count(b"\n"),
            "planned": tries * len(rollouts) * COPIES,
            "files": {name: sha256(content).hexdigest() for name, content in files.items()},
        }
    )
    settings = info.settings.model_copy(update={"first_cases": None, "case_ids": ()})
    write_run_info(run, info.model_copy(update={"tasks": (task,), "settings": settings}))
    texts = [(each, each.model_dump_json()) for each in rollouts]
    with RunLog(run) as log:
        for number, copy, (one, text) in product(range(1, tries + 1), range(COPIES), texts):
            chance = random.Random(f"{number} {copy} {one.id}")
            sample = f"{one.sample}-{copy}"
            changes = {"id": f"{one.id}/{copy}/{number}", "sample": sample, "attempt": number}
            changed = Rollout.model_validate_json(varied(text, chance))
            log.append(changed.model_copy(update=changes))
    return run


def _copied_cases(path: Path, samples: set[str]) -> bytes:
    """The cases of these samples, copied under several ids."""
    cases = map(json.loads, path.read_text("utf-8").splitlines())
    named = [case for case in cases if case["id"] in samples]
    lines = (
        json.dumps({**case, "id": f"{case['id']}-{copy}"})
        for copy, case in product(range(COPIES), named)
    )
    return ("\n".join(lines) + "\n").encode()


def varied(text: str, chance: random.Random) -> str:
    """A record with different ids, words and numbers."""
    for word, others in WORDS.items():
        text = text.replace(word, chance.choice(others))
    key = chance.getrandbits(64)
    return IDS.sub(lambda found: f"{found[1]}{_other(found[2], key)}", text)


def _other(digits: str, key: int) -> str:
    return f"{int(digits, 16) ^ key:0{len(digits)}x}"


def judge(run: Path, profile: str | None) -> dict[str, float]:
    """Judge a run in separate processes; returns seconds, CPU seconds and peak memory in MB."""
    command = [sys.executable, *(("-m", "cProfile", "-o", profile) if profile else ()), PROGRAM]
    command += ["recheck", str(run)]
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = 0.0
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL) as judging:
        while judging.poll() is None:
            peak = max(peak, memory(judging.pid))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall = time.perf_counter() - started
    return {"cpu": cpu, "wall": wall, "peak": peak}


def memory(process: int) -> float:
    """Memory of a process and its children in MB, with shared pages divided (Linux PSS)."""
    total = 0.0
    with suppress(OSError):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text("ascii")
        total = int(rollup.partition("\nPss:")[2].split()[0]) / 1024
        children = Path(f"/proc/{process}/task/{process}/children").read_text("ascii")
        total += sum(memory(int(child)) for child in children.split())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--attempts", type=int, nargs="+", default=[2000, 10_000])
    parser.add_argument("--profile", help="write a profile of the last run to this file")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    options = parser.parse_args()
    print(
        f"{'attempts':>9}{'seconds':>9}{'CPU s':>8}{'CPU s/1,000':>13}{'peak MB':>9}{'page MB':>9}"
    )
    with tempfile.TemporaryDirectory() as place:
        for attempts in sorted(options.attempts):
            folder = (options.keep or Path(place)).resolve()
            run = folder / f"run-{attempts}"
            if not run.exists():
                multiply(folder, attempts)
            used = judge(run, options.profile)
            made = sum(1 for _ in (run / "rollouts.jsonl").open("rb"))
            per_thousand, page = used["cpu"] / made * 1000, run / "report.html"
            print(f"{made:9,}{used['wall']:9.1f}{used['cpu']:8.1f}{per_thousand:13.2f}", end="")
            print(f"{used['peak']:9.0f}{page.stat().st_size / 2**20:9.1f}", flush=True)


if __name__ == "__main__":
    main()
