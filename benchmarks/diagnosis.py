"""The accuracy of the diagnosis: right and wrong causes, and calibration.

    python benchmarks/diagnosis.py [SIGNATURES] [--again OTHER] [--seed N]

Each measured signature is a recorded run. Without --again, a run is judged with signatures that
were not measured in it: those of all other defects, and the catalogue's expectation for its own
defect. With --again, the runs are those of OTHER, a file that another `selftest --signatures`
wrote, and SIGNATURES are used unchanged. Pairs, rates and reduced suites are derived from the
recorded counts. "Left out" omits the defect from the catalogue.

"Others" are the 141 defects of `others.json`, whose author did not know the catalogue. A script
applied each to the replies of one recorded run. The file has the checks with findings, the layers
that a reader may call right, and the known defects that are the same (for 33 of them).

A cause is right if its layer has one of the defects. "First" is whether the first cause is right,
"defect" whether its first example is a defect of the server, "examples" whether the examples of all
causes include all of them, "wrong" whether any cause is wrong. The confidence is calibrated if the
share of right causes is at least the stated one.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from harness.probes.rule_results import RULES
from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS, Api
from harness.records.diagnosis import Cause, Signature, Signatures
from harness.records.scores import Evidence, Finding
from harness.verdict.match import diagnose
from harness.verdict.signatures import shipped

PAIRS = 30
SEVERAL = 5
"""Combinations of defects, as in real servers."""
CLEAN_APPLICABLE = 8
"""Assumed number of rollouts of a check without findings, which signatures do not contain."""

Counts = Mapping[str, tuple[int, int]]


HEADS = ("first", "defect", "examples", "unknown", "wrong")
BANDS = ((0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01))
OTHERS = Path(__file__).with_name("others.json")


@dataclass(frozen=True)
class Trial:
    """A run with the defects of the server, and the signatures that judge it.

    The server has the defects only in `apis`. `layers` are the right layers, if not only theirs.
    """

    kind: str
    truth: tuple[Signature, ...]
    counts: Counts
    known: Signatures
    apis: tuple[Api, ...] = BOTH_APIS
    layers: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()

    @property
    def right(self) -> frozenset[str]:
        """The layers that are right."""
        return self.layers | {each.layer for each in self.truth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("signatures", nargs="?", type=Path)
    parser.add_argument("--again", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    known = read(options.signatures) if options.signatures else shipped()
    again = read(options.again) if options.again else None
    outcomes: dict[str, list[tuple[bool, ...]]] = defaultdict(list)
    stated: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    every = [*trials(known, again, random.Random(options.seed)), *others(known)]
    for trial in every:
        found = diagnose(results(trial), trial.known, BOTH_APIS)
        if found is None:
            continue
        kind = trial.kind if trial.kind in ("left out", "others") else "in the catalogue"
        stated[kind] += [(each.probability, each.layer in trial.right) for each in found.causes]
        outcomes[trial.kind].append(verdict(found.causes, trial))
    print(f"{'runs':20}{'number':>8}", *(f"{head:>9}" for head in HEADS))
    for kind, each in outcomes.items():
        shares = [sum(column) / len(each) for column in zip(*each, strict=True)]
        print(f"{kind:20}{len(each):8}", *(f"{share:9.0%}" for share in shares))
    print("Right causes by confidence:")
    for kind, causes in stated.items():
        bands = [[good for p, good in causes if low <= p < high] for low, high in BANDS]
        parts = [
            f"{low:.0%}+ {sum(each) / max(1, len(each)):4.0%} of {len(each):4}"
            for (low, _), each in zip(BANDS, bands, strict=True)
        ]
        print(f"{kind:20}", "  ".join(parts))


def read(path: Path) -> Signatures:
    return Signatures.model_validate_json(path.read_text(encoding="utf-8"))


def trials(known: Signatures, again: Signatures | None, rng: random.Random) -> Iterator[Trial]:
    """Every kind of trial on every recorded run with findings."""
    own = {fault.name: fault for fault in known.faults}
    runs = [fault for fault in (again or known).faults if fault.found and fault.name in own]
    for run in runs:
        judging = known if again else without_run(known, run.name)
        yield Trial("alone", (run,), counts(run), judging)
        for rate in (0.5, 0.2, 0.05):
            yield Trial(f"at {rate:.0%}", (run,), thinned(counts(run), rate, rng), judging)
        yield Trial("half of the families", (run,), reduced(counts(run), rng), judging)
        api = rng.choice(BOTH_APIS)
        yield Trial("in one API", (run,), limited(run, api), judging, apis=(api,))
        others = tuple(fault for fault in known.faults if fault.name != run.name)
        left = known.model_copy(update={"faults": others})
        yield Trial("left out", (run,), counts(run), left)
    for kind, number in (("pairs", 2), (f"{SEVERAL} defects", SEVERAL)):
        for _ in range(PAIRS if len(runs) >= number else 0):
            some = tuple(rng.sample(runs, number))
            judging = known
            for run in () if again else some:
                judging = without_run(judging, run.name)
            yield Trial(kind, some, reduce(union, map(counts, some)), judging)


def others(known: Signatures) -> Iterator[Trial]:
    """The runs of defects whose author did not know the catalogue."""
    content = json.loads(OTHERS.read_text(encoding="utf-8"))
    nothing = {name: (0, judged) for name, judged in content["judged"].items()}
    for each in content["defects"]:
        truth = tuple(fault for fault in known.faults if fault.name in each["same"])
        found = {name: (hits, judged) for name, (hits, judged) in each["found"].items()}
        groups = tuple(f"{api} · {mode}" for api in each["apis"] for mode in each["modes"])
        apis, layers = tuple(each["apis"]), frozenset(each["layers"])
        yield Trial("others", truth, {**nothing, **found}, known, apis, layers, groups)


def without_run(known: Signatures, name: str) -> Signatures:
    """The signatures with one defect as if it had never been measured."""
    faults = (
        each.model_copy(update={"found": {}, "clean": ()}) if each.name == name else each
        for each in known.faults
    )
    return known.model_copy(update={"faults": tuple(faults)})


def counts(run: Signature) -> Counts:
    return {**run.found, **dict.fromkeys(run.clean, (0, CLEAN_APPLICABLE))}


def limited(run: Signature, api: Api) -> Counts:
    """The run of a server that has the defect only in one API."""
    return {
        name: (-(-hits // len(where)) if api in where else 0, total)
        for name, (hits, total) in counts(run).items()
        for where in [run.partial.get(name, RULES[name].about.apis)]
    }


def thinned(run: Counts, rate: float, rng: random.Random) -> Counts:
    """The run of a server that shows its defect only in a share of its replies."""
    return {
        name: (sum(rng.random() < rate for _ in range(hits)), total)
        for name, (hits, total) in run.items()
    }


def reduced(run: Counts, rng: random.Random) -> Counts:
    """The run of a suite with half of the families of checks."""
    families = sorted({RULES[name].about.family for name in run})
    kept = set(rng.sample(families, (len(families) + 1) // 2))
    return {name: each for name, each in run.items() if RULES[name].about.family in kept}


def union(one: Counts, other: Counts) -> Counts:
    """The run of a server with two defects."""
    names = one.keys() | other.keys()
    nothing = (0, CLEAN_APPLICABLE)
    return {name: max(one.get(name, nothing), other.get(name, nothing)) for name in names}


def results(trial: Trial) -> Sequence[RuleResult]:
    return [
        RuleResult(
            check=RULES[name].about,
            status="failed" if hits else "passed",
            applicable=total,
            failures=hits,
            groups=where(name, trial) if hits else (),
            examples=examples(name, trial.truth) if hits else (),
        )
        for name, (hits, total) in trial.counts.items()
    ]


def examples(check: str, truth: Sequence[Signature]) -> tuple[Finding, ...]:
    """The findings of `numerics.defect`, which names the server's defect in all recorded runs."""
    if check != "numerics.defect":
        return ()
    evidence = Evidence(record="", exchange=0, expected="", got="")
    return tuple(
        Finding(id=check, severity="error", message=f"({each.name})", evidence=evidence)
        for each in truth
        if check in each.found
    )


def where(check: str, trial: Trial) -> tuple[str, ...]:
    """The APIs, and modes if they are known, in which a check has findings."""
    if trial.kind == "others":
        able = RULES[check].about.apis
        groups = trial.groups or trial.apis
        return tuple(each for each in groups if each.partition(" ")[0] in able) or able[:1]
    causes = [each for each in trial.truth if check in each.found]
    every = {api for each in causes for api in each.partial.get(check, BOTH_APIS)}
    every &= set(trial.apis)
    return tuple(api for api in RULES[check].about.apis if api in every)


def verdict(causes: Sequence[Cause], trial: Trial) -> tuple[bool, ...]:
    """The judgment of a run, in the order of HEADS."""
    truth = {each.name for each in trial.truth}
    named = {example.name for cause in causes for example in cause.examples}
    first = causes[0] if causes else None
    return (
        first is not None and first.layer in trial.right,
        first is not None and any(each.name in truth for each in first.examples[:1]),
        bool(truth) and truth <= named,
        first is None,
        any(each.layer not in trial.right for each in causes),
    )


if __name__ == "__main__":
    main()
