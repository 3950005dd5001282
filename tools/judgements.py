"""What is said of each known case: the body of evidence that a change of a rule is compared with.

    python tools/judgements.py [--only PATTERN ...] [--some N [--seed SEED]] [--write]

The cases: the recorded healthy run (`tests/support/corpus.py`) with each fault of replies, with
each mixture of habits, and with plain damage (`tests/laws/runs.py`) in all replies, in one API,
in one API and mode, and in a tenth of the replies; then the recordings of reported defects and of
healthy variations (`tests/support/reported.tar.xz`). No case needs a model. `--some` draws N of the
cases, others at each time of day; it prints the seed that draws them again.
`judgements.json` has a line for each: the verdict, the rules that failed and that warned, and the
causes with their conditions, the first one first. Prints the lines that differ and exits with 1 if
there are any; `--write` stores them. Prints last how many faults have a right first cause, which
is the component of a rule that the catalogue expects. 15 minutes of CPU. The changed replies are
kept in `build/judgements`; remove it after a change of faults.
"""

import argparse
import io
import json
import lzma
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / each) for each in ("", "tools", "tests/support", "tests/laws")]

import corpus  # noqa: E402
from ablation import kept, served  # noqa: E402
from runs import DAMAGES, Changes, damaged  # noqa: E402

from evals.restoring import all_tasks  # noqa: E402
from harness.errors import ConfigurationError  # noqa: E402
from harness.records.analysis import Analysis  # noqa: E402
from harness.records.conditions import APIS, MODES  # noqa: E402
from harness.records.rollouts import Rollout  # noqa: E402
from harness.records.runs import ProviderInfo  # noqa: E402
from harness.rules.catalogue import RULES  # noqa: E402
from harness.run.run_log import read_run_info  # noqa: E402
from harness.selftest.habits import MIXTURES  # noqa: E402
from harness.selftest.styles import Style  # noqa: E402
from harness.traffic.conversations import read_traffic, write_traffic  # noqa: E402
from harness.verdict.judge import Judge  # noqa: E402
from reference_engine.faults.catalogue import CATALOGUE  # noqa: E402
from reference_engine.prescribed import PrescribedServer  # noqa: E402

STORED = Path(__file__).with_suffix(".json")
_REPORTED = ROOT / "tests/support/reported.tar.xz"
Judgement = Mapping[str, Any]


@cache
def cases() -> Mapping[str, Callable[[], Judgement]]:
    """Return how each case is judged, by name."""
    run = corpus.healthy()
    made: dict[str, Callable[[], Sequence[Rollout]]] = {
        f"fault {fault.name}": partial(corpus.damaged, run.rollouts, fault.name)
        for fault in corpus.faults_of_replies()
        if fault.visible
    }
    for name, habits in MIXTURES.items():
        made[f"mixture {name}"] = partial(served, run, Style(habits), PrescribedServer)
    for at, damage in enumerate(DAMAGES):
        api, mode = APIS[at % 2], MODES[at // 2 % 2]
        for share, *part in ((1.0,), (1.0, api), (1.0, api, mode), (0.1,)):
            place = ", ".join(part) or ("all replies" if share == 1 else f"{share:.0%} of replies")
            made[f"{damage}: {place}"] = partial(_damaged, run, damage, frozenset(part), share)
    judged = {name: partial(_of_run, run, name, make) for name, make in made.items()}
    return judged | {name: partial(_of_recording, name) for name in _recordings().getnames()}


def _damaged(run: corpus.Recorded, damage: str, part: Set[str], share: float) -> Sequence[Rollout]:
    """Return the run with damage to a share of the replies of an API, a mode of it, or all."""
    changes = Changes.of(
        run,
        lambda one: damaged(one, DAMAGES[damage]),
        lambda one: part <= {one.api, one.condition.mode},
    )
    return changes.some(share)[0]


def _of_run(run: corpus.Recorded, name: str, make: Callable[[], Sequence[Rollout]]) -> Judgement:
    return _line(run.judged(kept(ROOT / "build/judgements", name, make, run)).analysis)


@cache
def _recordings() -> tarfile.TarFile:
    """Return the recordings, in memory: processes that are forked would share a file's position."""
    return tarfile.open(fileobj=io.BytesIO(lzma.decompress(_REPORTED.read_bytes())))


def _of_recording(name: str) -> Judgement:
    """Judge a recording as `import --verdict` does; what it cannot use is a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(name).name
        content = _recordings().extractfile(name)
        assert content is not None
        file.write_bytes(content.read())
        try:
            traffic = read_traffic([file])
        except ConfigurationError as error:
            return {"verdict": str(error)}
        provider = ProviderInfo(
            name="case", base_url="unknown", model="gpt-oss", extra_body={}, header_names=(),
            launch_command=None,
        )  # fmt: skip
        run = write_traffic(traffic, provider, out=Path(folder), command=(), verdict=True)
        info = read_run_info(run)
        judge = Judge(run, all_tasks(run, info))
        judge.read()
        return _line(judge.judged(info).analysis)


def _line(analysis: Analysis) -> Judgement:
    def having(status: str) -> str:
        return " ".join(sorted(one.check.id for one in analysis.checks if one.status == status))

    causes = analysis.diagnosis.causes if analysis.diagnosis else ()
    return {
        "verdict": analysis.verdict.decision or "scored",
        "failed": having("failed"),
        "warned": having("warned"),
        "causes": [
            cause.component + cause.sentence[len(cause.description) - 1 : -1] for cause in causes
        ],
    }


def judgement_of(name: str) -> Judgement:
    """Judge one case; an error of the tool is a judgement, too."""
    try:
        return cases()[name]()
    except Exception as error:  # noqa: BLE001 (the other cases are still judged)
        return {"verdict": f"raises {type(error).__name__}: {error}"}


def differences(stored: Mapping[str, Judgement], found: Mapping[str, Judgement]) -> Iterator[str]:
    """Yield what differs, case by case: each member as it was stored and as it is."""
    for name, new in found.items():
        old = stored.get(name, {})
        members = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        for key in members:
            yield f"{name}: {key}\n  - {old.get(key, '')}\n  + {new.get(key, '')}"


def first_causes(found: Mapping[str, Judgement]) -> tuple[list[str], int]:
    """Return the faults whose first cause is another than expected, and of how many faults."""
    wrong, every = [], 0
    for fault in CATALOGUE.values():
        causes = found.get(f"fault {fault.name}", {}).get("causes")
        if causes and not fault.allowed:
            expected = {
                rule.component for rule in RULES.values() if rule.id.startswith(fault.detectors)
            }
            every += 1
            wrong += [] if causes[0].partition(" (")[0] in expected else [fault.name]
    return wrong, every


def main() -> int:
    """Judge the cases, and compare or store the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", default=["*"], help="patterns of names of cases")
    parser.add_argument("--some", type=int, help="number of these cases to draw; all by default")
    parser.add_argument("--seed", default=datetime.now().isoformat(timespec="seconds"))
    parser.add_argument("--write", action="store_true", help="store the lines of these cases")
    parser.add_argument("--stored", type=Path, default=STORED, help="file of the lines")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    names = [name for name in cases() if any(fnmatch(name, each) for each in given.only)]
    if given.some is not None:
        names = Random(given.seed).sample(names, min(given.some, len(names)))
        print(f"--some {given.some} --seed {given.seed}: {', '.join(names)}", flush=True)
    stored = json.loads(given.stored.read_text("utf-8")) if given.stored.exists() else {}
    found: dict[str, Judgement] = {}
    with ProcessPoolExecutor(given.processes) as pool:
        for name, line in zip(names, pool.map(judgement_of, names), strict=True):
            found[name] = line
            for difference in differences(stored, {name: line}):
                print(difference, flush=True)
    wrong, every = first_causes(found)
    if every:
        print(f"{every - len(wrong)} of {every} first causes are right; not: {', '.join(wrong)}")
    different = [name for name in names if stored.get(name) != found[name]]
    print(f"{len(different)} of {len(names)} cases differ.")
    if given.write:
        known = {name: (stored | found)[name] for name in cases() if name in stored | found}
        lines = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in known.items())
        given.stored.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    return int(bool(different) and not given.write)


if __name__ == "__main__":
    sys.exit(main())
