"""What each rule stands on, as `checks RULE` and reports print it.

    python tools/register.py

Writes `harness/data/register.json` from the findings of real servers (`benchmarks/real/*.yaml`),
what is said of known cases (`tools/judgements.json`), the catalogue of faults and the recorded
healthy run. A fault
counts for the rules that it names as detectors; one that names only the beginning of their ids
counts for those that are known to find it, or else, if that is not known, for their family. The
first fault with a public thread that names a rule is the known defect of its causes.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

import corpus  # noqa: E402

from harness.records.register import KINDS  # noqa: E402
from harness.rules.catalogue import CHECKS, RULES  # noqa: E402
from reference_engine.faults.catalogue import CATALOGUE  # noqa: E402

STORED = ROOT / "harness/data/register.json"
_RECORDED = "reported/"
_FEW = 3
"""Faults of a rule of which one is an example; a rule that finds more finds different defects."""
_NAMED = re.compile(r".*? \w?\d+(\.\d+)*")  # a server with its version
_THREAD = re.compile(r"https://github\.com/([^/]+/[^/]+)/(?:issues|pull|discussions)/(\d+).*")


_REPORTED = re.compile(r"(?:(?P<owner>[^/ ]+)/)?(?P<name>[^/ ]+)(?P<pull> PR)?#(?P<number>\d+)")
_OWNERS = {
    "FastFlowLM": "FastFlowLM",
    "Rapid-MLX": "raullenchai",
    "TensorRT-LLM": "NVIDIA",
    "flashinfer": "flashinfer-ai",
    "langchain": "langchain-ai",
    "llama.cpp": "ggml-org",
    "lmdeploy": "InternLM",
    "lmstudio-bug-tracker": "lmstudio-ai",
    "mlx-lm": "ml-explore",
    "ollama": "ollama",
    "promptfoo": "promptfoo",
    "sglang": "sgl-project",
    "text-generation-inference": "huggingface",
    "vllm": "vllm-project",
}
"""Of repositories that the catalogue names without their owners."""


Found = Iterator[tuple[str, str, str]]  # a rule, a kind, and what it was seen in


def register() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return the names of each kind for each rule, without those of rules that are no more."""
    rows: dict[str, dict[str, dict[str, None]]] = {rule: defaultdict(dict) for rule in RULES}
    for rule, kind, name in [
        *_servers(),
        *_cases(),
        *_faults(),
        *_threads(),
        *_judged_attempts(),
        *_defects(),
    ]:
        if rule in rows:
            rows[rule][kind][name] = None
    for row in rows.values():
        if row.keys() & {"reports", "constructed"}:
            row.pop("family", None)
        if len(row.get("reports", ())) + len(row.get("constructed", ())) > _FEW:
            row.pop("example", None)
    return {
        rule: {kind: list(row[kind]) for kind in (*KINDS, "example") if kind in row}
        for rule, row in rows.items()
        if row
    }


def _servers() -> Found:
    for file in sorted((ROOT / "benchmarks/real").glob("*.yaml")):
        server = yaml.safe_load(file.read_text("utf-8"))
        named = _NAMED.match(server["about"])
        assert named is not None, f"{file}: `about` begins with the server and its version"
        for rule in server["expected"]:
            yield rule.partition(" ")[0], "servers", named[0]


def _cases() -> Found:
    for case, line in _judged().items():
        failed, warned = (line.get(status, "").split() for status in ("failed", "warned"))
        if case.startswith(_RECORDED):
            for rule in failed + warned:
                yield rule, "recordings", case.removeprefix(_RECORDED)
        if len(failed) == 1:
            yield failed[0], "only", case


def _judged_attempts() -> Found:
    """Yield the tasks whose attempts a check judges, those with the most first.

    A probe judges the requests that it sends; `checks RULE` prints them.
    """
    run = corpus.healthy()
    tasks = {rollout.id: rollout.task for rollout in run.rollouts}
    _, scores = run.analyzed(run.rollouts)
    judged = Counter(
        (rule, tasks[score.record])
        for score in scores
        for rule in score.applicable
        if rule in CHECKS
    )
    for (rule, task), attempts in judged.most_common():
        yield rule, "judged", f"{task} ({attempts})"


def _faults() -> Found:
    for fault in CATALOGUE.values():
        line = _judged().get(f"fault {fault.name}")
        found = f"{line['failed']} {line['warned']}".split() if line else ()
        for rule in RULES:
            if fault.allowed or not rule.startswith(fault.detectors):
                continue
            if rule not in fault.detectors and rule not in found:
                if line is None:
                    yield rule, "family", fault.name
            elif fault.source == "constructed":
                yield rule, "constructed", fault.name
            else:
                yield rule, "reports", fault.source


def _defects() -> Found:
    """Yield the first reported fault that names a rule: what a server did, and the thread."""
    told = set[str]()
    for fault in CATALOGUE.values():
        thread = _REPORTED.fullmatch(fault.source)
        owner = thread and (thread["owner"] or _OWNERS.get(thread["name"]))
        if thread is None or owner is None or fault.allowed:
            continue
        kind = "pull" if thread["pull"] else "issues"
        page = f"https://github.com/{owner}/{thread['name']}/{kind}/{thread['number']}"
        for rule in fault.detectors:
            if rule not in told:
                told.add(rule)
                yield rule, "example", fault.description
                yield rule, "example", page


def _threads() -> Found:
    """Yield the threads that a rule names as its source or as those of a known defect."""
    for rule in RULES.values():
        for address in (rule.about.source, *(rule.example.sources if rule.example else ())):
            if thread := _THREAD.fullmatch(address):
                yield rule.id, "reports", "#".join(thread.groups())


@cache
def _judged() -> Mapping[str, Mapping[str, str]]:
    lines: Mapping[str, Mapping[str, str]] = json.loads(
        (ROOT / "tools/judgements.json").read_text("utf-8")
    )
    return lines


if __name__ == "__main__":
    lines = (f" {json.dumps(rule)}: {json.dumps(row)}" for rule, row in register().items())
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
