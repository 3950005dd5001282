"""Read run folders of schema version 2 as those of the current version.

Version 2 had two kinds of runs: smoke tests (tool calling and probes) and eval runs. Its rollouts
have an API and a boolean `streaming` instead of a task and a condition. Ids and hashes are kept,
so that findings, grades and seals still refer to the same records.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

Members = dict[str, Any]  # the members of a JSON object

_MODES = {True: "streaming", False: "non-streaming"}
_SAME = (
    "command", "finished_at", "provider", "resumed", "seals", "started_at", "stopped",
    "tool_version", "versions",
)  # fmt: skip
_SAME_SETTINGS = (
    ("suite", "only", "skip", "first_cases", "strict", "concurrency", "thresholds", "budget"),
    (
        "evals", "examples", "concurrency", "grader", "baseline", "margin", "margins", "origins",
        "until_decided", "budget_samples", "budget_tokens", "budget", "seed",
    ),
)  # fmt: skip


def upgraded_info(members: Members, folder: Path) -> Members:
    """`run.json` of version 2 as the members of a `RunInfo`; the version is kept."""
    upgrade = _eval_info if members.get("kind") == "eval" else _smoke_test_info
    same = {name: members[name] for name in _SAME if name in members}
    return {"schema_version": 2, **same, **upgrade(members, folder)}


def rollout_upgrade(members: Members, log: str) -> Callable[[Members], Members]:
    """The conversion of the members of a version 2 rollout to a `Rollout`, for one log of a run."""
    settings = members["settings"]
    if log.startswith("grades-"):
        grader = (settings.get("grader") or {}).get("model", "")
        return lambda record: _rollout(
            record, "grading", record["sample"], grader, None, record["attempt"]
        )
    if members.get("kind") == "eval":
        models = {model.replace("/", ":"): model for model in settings["models"]}
        return lambda record: _eval_rollout(record, models)
    model = members["provider"]["model"]
    return lambda record: _smoke_test_rollout(record, model, settings.get("reasoning_effort"))


def _smoke_test_info(members: Members, folder: Path) -> Members:
    old = members["settings"]
    modes = [_MODES[streaming] for streaming in old["streaming"]]
    conditions = [
        _condition(members["provider"]["model"], old.get("reasoning_effort"), api, mode)
        for api, mode in product(old["apis"], modes)
    ]
    sampling = {name: old.get(name) for name in ("temperature", "max_tokens", "seed", "max_turns")}
    only, skip = old.get("only") or (), old.get("skip") or ()
    tasks: list[Members] = []
    left = members["planned"]
    if (not only or "smoke" in only) and "smoke" not in skip:
        cases = _case_count(folder, old.get("first_cases"))
        planned = min(left, cases * len(conditions) * old["tries"])
        left -= planned
        tasks.append(
            {
                "name": "tool_calling",
                "kind": "tool_calling",
                "conditions": conditions,
                "samples": cases,
                "tries": old["tries"],
                "planned": planned,
                "sampling": sampling,
                "files": {
                    "cases.jsonl": members["cases_sha256"],
                    "tools.json": members["tools_sha256"],
                },
            }
        )
    if left:
        golden = members.get("golden_sha256")
        files = {"golden.json": golden} if golden else {}
        probes = {"conditions": conditions, "samples": left, "tries": 1, "planned": left}
        tasks.append({"name": "probes", "kind": "probes", "files": files, **probes})
    same = {name: old[name] for name in _SAME_SETTINGS[0] if name in old}
    settings = {**same, "apis": old["apis"], "modes": modes, "seed": old.get("seed")}
    ended = "complete" if members.get("finished_at") else None
    return {"settings": settings, "tasks": tasks, "ended": ended}


def _eval_info(members: Members, folder: Path) -> Members:
    old = members["settings"]
    mode = _MODES[old["streaming"]]
    conditions = [
        _condition(model, effort, old["api"], mode)
        for model, effort in product(old["models"], old["efforts"])
    ]
    sampling = {name: old.get(name) for name in ("temperature", "top_p", "max_tokens")}
    sampling["seed"] = old["seed"] if old.get("send_seed") else None
    data = {each["eval"]: each for each in members["datasets"]}
    samples = {name: old.get("examples") or data[name]["rows"] for name in old["evals"]}
    planned = _planned(samples, old["tries"], len(conditions), members.get("shard"))
    tasks = [
        {
            "name": name,
            "kind": "eval",
            "conditions": conditions,
            "samples": samples[name],
            "tries": old["tries"][name],
            "planned": planned[name],
            "sampling": sampling,
            "dataset": data[name],
        }
        for name in old["evals"]
    ]
    same = {name: old[name] for name in _SAME_SETTINGS[1] if name in old}
    settings = {
        **same,
        "apis": [old["api"]],
        "modes": [mode],
        "required_evals": old.get("must_ask", ()),
    }
    ended = {"all tries": "complete"}.get(members.get("ended") or "", members.get("ended"))
    more = ("shard", "merged", "merged_seals")
    same_info = {name: members[name] for name in more if name in members}
    return {"settings": settings, "tasks": tasks, "ended": ended, **same_info}


def _planned(
    samples: Mapping[str, int], tries: Mapping[str, int], conditions: int, shard: list[int] | None
) -> Counter[str]:
    """Planned attempts of each eval; in a shard, only those of the shard."""
    part, parts = shard or (1, 1)
    counts: Counter[str] = Counter(dict.fromkeys(samples, 0))
    place = 0
    for number in range(1, max(tries.values()) + 1):
        for name, count in samples.items():
            if number <= tries[name]:
                attempts = range(place, place + count * conditions)
                counts[name] += sum(each % parts == part - 1 for each in attempts)
                place += count * conditions
    return counts


def _smoke_test_rollout(record: Members, model: str, effort: str | None) -> Members:
    task, sample = "tool_calling", record["sample"]
    if sample.startswith("probe:"):
        task, _, sample = sample.removeprefix("probe:").partition("/")
    return _rollout(record, task, sample, model, effort, record["attempt"])


def _eval_rollout(record: Members, models: Mapping[str, str]) -> Members:
    """The id is `<eval>/<model>/<effort>/<question>/<number>`, with ":" for "/" in the model."""
    name, model, effort, rest = record["id"].split("/", 3)
    sample, _, number = rest.rpartition("/")
    upgraded = _rollout(record, name, sample, models.get(model, model), effort, int(number))
    if record["attempt"] != int(number):
        upgraded["presented_as"] = record["attempt"]
    return upgraded


def _rollout(
    record: Members, task: str, sample: str, model: str, effort: str | None, number: int
) -> Members:
    kept = {name: record[name] for name in ("id", "end", "exchanges")}
    condition = _condition(model, effort, record["api"], _MODES[record["streaming"]])
    return {"task": task, "sample": sample, "condition": condition, "attempt": number, **kept}


def _condition(model: str, effort: str | None, api: str, mode: str) -> Members:
    return {"model": model, "effort": effort, "api": api, "mode": mode}


def _case_count(folder: Path, first: int | None) -> int:
    try:
        lines = (folder / "cases.jsonl").read_text("utf-8-sig").split("\n")
    except OSError:
        return first or 0
    count = sum(1 for line in lines if line.strip())
    return count if first is None else min(first, count)
