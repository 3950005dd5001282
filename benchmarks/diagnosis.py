"""The accuracy of the diagnosis of known defects: right and wrong causes, and calibration.

    python benchmarks/diagnosis.py [SIGNATURES] [--again OTHER] [--seed N]

Each measured signature is a recorded run. Without --again, a run is judged with signatures that
were not measured in it: those of all other defects, and the catalogue's expectation for its own
defect. With --again, the runs are those of OTHER, a file that another `selftest --signatures`
wrote, and SIGNATURES are used unchanged. Pairs, rates and reduced suites are derived from the
recorded counts. "Unknown" omits the defect; the right result is then no cause, or a cause in its
layer. Top-1: the first cause is right. Top-3: the (at most three) causes include all defects of the
server.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from harness.diagnosis.match import diagnose
from harness.diagnosis.signatures import shipped
from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS, Api
from harness.records.diagnosis import Cause, Signature, Signatures
from harness.records.scores import Evidence, Finding
from harness.rule_results import RULES

PAIRS = 30
SEVERAL = 5
"""Combinations of defects, as in real servers."""
CLEAN_APPLICABLE = 8
"""Assumed number of rollouts of a check without findings, which signatures do not contain."""

Counts = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Trial:
    """A run with the defects of the server, and the signatures that judge it.

    The server has the defects only in `apis`.
    """

    kind: str
    truth: tuple[Signature, ...]
    counts: Counts
    known: Signatures
    left_out: bool = False
    apis: tuple[Api, ...] = BOTH_APIS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("signatures", nargs="?", type=Path)
    parser.add_argument("--again", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    known = read(options.signatures) if options.signatures else shipped()
    again = read(options.again) if options.again else None
    outcomes: dict[str, list[tuple[bool, ...]]] = defaultdict(list)
    stated: list[tuple[float, bool]] = []
    for trial in trials(known, again, random.Random(options.seed)):
        found = diagnose(results(trial), trial.known, BOTH_APIS)
        if found is None:
            continue
        right = [is_right(cause, trial) for cause in found.causes]
        stated += [(c.probability, good) for c, good in zip(found.causes, right, strict=True)]
        outcomes[trial.kind].append(verdict(found.causes, right, trial))
    heads = ("number", "top-1", "top-3", "unknown", "wrong", "wrong layer")
    print(f"{'runs':20}", *(f"{head:>11}" for head in heads))
    for kind, each in outcomes.items():
        shares = [sum(column) / len(each) for column in zip(*each, strict=True)]
        print(f"{kind:20} {len(each):11}", *(f"{share:11.0%}" for share in shares))
    for low, high in ((0.6, 0.7), (0.7, 0.9), (0.9, 1.01)):
        inside = [good for chance, good in stated if low <= chance < high]
        if inside:
            share = sum(inside) / len(inside)
            print(f"confidence {low:.0%} to {min(high, 1):.0%}: {share:.0%} right of {len(inside)}")


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
        yield Trial("unknown", (run,), counts(run), left, left_out=True)
    for kind, number in (("pairs", 2), (f"{SEVERAL} defects", SEVERAL)):
        for _ in range(PAIRS if len(runs) >= number else 0):
            some = tuple(rng.sample(runs, number))
            judging = known
            for run in () if again else some:
                judging = without_run(judging, run.name)
            yield Trial(kind, some, reduce(union, map(counts, some)), judging)


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
            groups=apis(name, trial) if hits else (),
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


def apis(check: str, trial: Trial) -> tuple[str, ...]:
    """The APIs in which a check has findings."""
    causes = [each for each in trial.truth if check in each.found]
    every = {api for each in causes for api in each.partial.get(check, BOTH_APIS)}
    every &= set(trial.apis)
    return tuple(api for api in RULES[check].about.apis if api in every)


def is_right(cause: Cause, trial: Trial) -> bool:
    """Whether a cause names a defect of the trial, or the layer of one."""
    if trial.left_out or cause.name == cause.layer:
        return cause.layer in {each.layer for each in trial.truth}
    texts = {cause.description, *cause.alternatives}
    return any(each.description in texts for each in trial.truth)


def verdict(causes: Sequence[Cause], right: Sequence[bool], trial: Trial) -> tuple[bool, ...]:
    """The judgment of a run.

    Whether the first cause is right, whether all defects are named, whether no cause is named,
    whether any cause is wrong, and whether any is in a layer without a defect.
    """
    layers = {each.layer for each in trial.truth}
    single = (Trial("", (one,), {}, trial.known, trial.left_out) for one in trial.truth)
    return (
        right[0] if right else trial.left_out,
        (trial.left_out and not causes) or all(any(is_right(c, t) for c in causes) for t in single),
        not causes,
        not all(right),
        any(cause.layer not in layers for cause in causes),
    )


if __name__ == "__main__":
    main()
