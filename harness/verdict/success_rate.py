"""Decide tool calling by its success rate and by single cases (docs/gate.md). No I/O.

The rule of OpenAI's guide is the other decision: pass@k and pass^k above 90% in every condition.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from harness.records.analysis import GuideRule, TaskResult
from harness.records.conditions import MODES
from harness.records.figures import Decision
from harness.records.settings import Thresholds
from harness.statistics import two_rates
from harness.statistics.rates import at_least
from harness.statistics.two_rates import exceeds, guide_false_alarm
from harness.text import first_few, percentage
from harness.verdict.reference_rate import Target, target_of

MOST_TRIES = 1000  # tries of every case that a run may reasonably make
SHOWN_CASES = 5
EVERYWHERE = "all conditions together"


@dataclass(frozen=True)
class PartVerdict:
    """The decision on a part of a run, its reasons and warnings; most important first.

    `enough_tries` is as in `Verdict`; `advice` says how they settle it, unless more is missing.
    """

    decision: Decision | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    enough_tries: int | None = None
    advice: str = ""


@dataclass(frozen=True)
class PassCounts:
    """Passes and attempts under one condition, or under all together.

    `means` are the shares of passes by case if all attempts that were not made pass.
    """

    name: str
    passed: int
    made: int
    planned: int
    means: tuple[float, ...] = ()

    @property
    def best(self) -> int:
        """Passes if all attempts that were not made pass."""
        return self.passed + self.planned - self.made

    @property
    def text(self) -> str:
        """`174 of 180 (96.7%)`, or `2 of 8 (25.0%; 24 planned)`."""
        share = percentage(self.passed / self.made) if self.made else "no rate"
        planned = f"; {self.planned} planned" if self.made < self.planned else ""
        return f"{self.passed} of {self.made} ({share}{planned})"


@dataclass(frozen=True)
class WeakCase:
    """A case that fails more often than the lower rate allows."""

    text: str
    known: tuple[int, int] | None
    worse: bool


def decide(
    results: Sequence[TaskResult], thresholds: Thresholds, *, sequential: bool = False
) -> PartVerdict:
    """Decide by the best ending: missing tries pass. Raises ConfigurationError.

    With `sequential`, the number of tries followed from earlier looks (see `further_tries`).

    Tries without a reply are left out, except where a single case may be broken: they are no
    evidence about tool calling, but a server must not fail to answer one and the same case.
    Where the modes of a condition alternate, each mode must pass a test of its own.
    """
    target = target_of(thresholds)
    conditions = [_counts(result) for result in results]
    modes = [counts for result in results for counts in _modes(result)]
    pooled = [_pooled(conditions)] if len(conditions) > 1 else []
    tested = [*conditions, *modes, *pooled]
    weak = list(_weak_cases(results, thresholds))
    broken = [case for case in weak if case.worse]
    unknown = [case.text for case in weak if case.known is None]
    warnings = (_unknown_cases_warning(unknown, target),) if unknown else ()
    level = two_rates.fail_level(len(tested))
    under = [counts for counts in tested if _evidence(counts, target) <= level]
    low = [
        counts
        for counts in under
        if two_rates.spread_failures(counts.means, target.reference, len(tested))
    ]
    if low or broken:
        reasons = [_too_low_reason(low, target, results)] if low else []
        reasons += [_broken_cases_reason(broken)] if broken else []
        return PartVerdict("fail", tuple(reasons), warnings)
    if under:
        return PartVerdict("inconclusive", (_few_cases_reason(under, target),), warnings)
    undecided = [tried for tried in conditions if _evidence(tried, target) < two_rates.pass_level()]
    undecided += [mode for mode in modes if not _is_above(mode, target, sequential=sequential)]
    if undecided:
        return replace(_undecided(undecided, target, results, len(tested)), warnings=warnings)
    worst = min(conditions, key=_best_rate)
    return PartVerdict(
        "pass", (_pass_reason(worst, target, thresholds, len(conditions)),), warnings
    )


def further_tries(
    results: Sequence[TaskResult], thresholds: Thresholds, most: int
) -> Mapping[str, int]:
    """Return the tries that may settle an undecided run, by API and mode; nothing if none can.

    Only the modes whose own rate is undecided get more: as many as settle it if all of them pass,
    at most one for each case, and at most `most` in all. So a run is looked at when it can be
    decided, until it is. Each look has the error rates of one: a mode passes by the evidence of
    `harness.statistics.two_rates`, which has no look too many, and not by a test of one look.
    Raises ConfigurationError.
    """
    if decide(results, thresholds, sequential=True).decision != "inconclusive":
        return {}
    target = target_of(thresholds)
    modes = [counts for result in results for counts in _modes(result) or [_counts(result)]]
    wanted: dict[str, int] = {}
    for counts in modes:
        if not _is_above(counts, target, sequential=True):
            lacking = two_rates.pass_level() - _evidence(counts, target)
            needed = math.ceil(lacking / two_rates.evidence(1, 1, target.reference, target.lower))
            left = most - sum(wanted.values())
            wanted[counts.name] = min(needed, results[0].samples, left)
    return {name: tries for name, tries in wanted.items() if tries > 0}


def _is_above(counts: PassCounts, target: Target, *, sequential: bool) -> bool:
    """Whether the tries of one mode exclude the lower rate."""
    if sequential:
        return _evidence(counts, target) >= two_rates.pass_level()
    return two_rates.above(counts.best, counts.planned, target.lower)


def forecast(
    samples: int, tries: int, thresholds: Thresholds, *, alternating: bool = False
) -> Iterator[str]:
    """Why a run of this size cannot pass, even without a failure. Raises ConfigurationError.

    With `alternating`, the tries under each condition alternate between the modes.
    """
    needed = _fewest(thresholds, alternating=alternating)
    if not thresholds.by_guide and samples * tries < needed:
        yield (
            f"tool calling: CANNOT PASS with fewer than {needed} tries under each condition"
            f" (-k {math.ceil(needed / samples)}); may fail"
        )


def fewest_tries(samples: int, thresholds: Thresholds, *, alternating: bool = False) -> int:
    """Return the first tries of each of so many cases, with which a run without a failure passes.

    `alternating` is as in `forecast`. Raises ConfigurationError.
    """
    return math.ceil(_fewest(thresholds, alternating=alternating, sequential=True) / samples)


def _fewest(thresholds: Thresholds, *, alternating: bool, sequential: bool = False) -> int:
    """Return the tries under each condition from which a run without a failure passes."""
    target = target_of(thresholds)
    needed = 1 + two_rates.further_tries(1, 1, target.reference, target.lower, 1)
    if not alternating:
        return needed
    in_mode = needed if sequential else two_rates.fewest_above(target.lower)
    return max(needed, len(MODES) * in_mode)


def so_far(results: Sequence[TaskResult]) -> str:
    """Return what passed of the attempts that were made, over all conditions, in a sentence."""
    counts = list(map(_counts, results))
    every = _pooled(counts) if len(counts) > 1 else counts[0]
    return f"Of the tool calls so far, {every.text} passed."


def _counts(result: TaskResult) -> PassCounts:
    passed = sum(succeeded for succeeded, _ in result.cases.values())
    made = result.finished - sum(result.no_reply.values())
    planned = result.planned - sum(result.no_reply.values())
    best = [
        (
            succeeded + _tries(result, case) - finished,
            _tries(result, case) - result.no_reply.get(case, 0),
        )
        for case, (succeeded, finished) in result.cases.items()
    ]
    means = tuple(good / tries if tries else 1.0 for good, tries in best)
    return PassCounts(result.name, passed, made, planned, means)


def _modes(result: TaskResult) -> list[PassCounts]:
    """Return the tries in each mode, if the modes alternate."""
    modes = []
    for mode, cases in result.modes.items():
        if cases:  # With one case and one try, one of the modes has none.
            passed, made, planned = map(sum, zip(*cases.values(), strict=True))
            best = [(e.passed + e.planned - e.finished, e.planned) for e in cases.values()]
            means = tuple(good / tries for good, tries in best)
            modes.append(PassCounts(f"{result.name} · {mode}", passed, made, planned, means))
    return modes


def _tries(result: TaskResult, case: str) -> int:
    return result.tries + result.further.get(case, 0)


def _pooled(conditions: Sequence[PassCounts]) -> PassCounts:
    means = tuple(fmean(rates) for rates in zip(*(e.means for e in conditions), strict=True))
    sums = ((condition.passed, condition.made, condition.planned) for condition in conditions)
    passed, made, planned = map(sum, zip(*sums, strict=True))
    return PassCounts(EVERYWHERE, passed, made, planned, means)


def _best_rate(counts: PassCounts) -> float:
    return counts.best / counts.planned


def _evidence(counts: PassCounts, target: Target) -> float:
    return two_rates.evidence(counts.best, counts.planned, target.reference, target.lower)


def _weak_cases(results: Sequence[TaskResult], thresholds: Thresholds) -> Iterator[WeakCase]:
    """Yield the cases that fail too often under one condition, or under all together."""
    target = target_of(thresholds)
    groups = len(results) + (len(results) > 1)
    level = two_rates.case_level(groups * len(results[0].cases))
    for case in results[0].cases:
        tried = [
            PassCounts(result.name, *result.cases[case], _tries(result, case)) for result in results
        ]
        pooled = replace(_pooled(tried), name="")
        known = thresholds.reference_cases.get(case)
        for counts in (pooled, *tried):
            failed = counts.made - counts.passed
            if at_least(failed, counts.planned, 1 - target.lower) > level:
                continue
            place = f" for {counts.name}" if counts.name else ""
            text = f"{case} ({counts.passed} of {counts.made} passed{place})"
            worse = known is not None and (
                two_rates.chance_of_worse(counts.best, counts.planned, *known) <= level
            )
            yield WeakCase(text, known, worse)
            break


def _too_low_reason(
    low: Sequence[PassCounts], target: Target, results: Sequence[TaskResult]
) -> str:
    names = {counts.name for counts in low}
    everywhere = len(results) > 1 and names >= {EVERYWHERE, *(result.name for result in results)}
    shown = low[-1:] if everywhere else _most_specific(low, results)
    places = "; ".join(f"{counts.name} {counts.text}" for counts in shown)
    missing = any(counts.made < counts.planned for counts in shown)
    ending = ", even if all missing attempts pass" if missing else ""
    under_each = "too low under each condition, " if everywhere else ""
    return (
        f"Tool calls succeed less often than {target}{ending}: {under_each}{places}."
        f" Most failures: {most_frequent_failure(results)}."
    )


def _most_specific(low: Sequence[PassCounts], results: Sequence[TaskResult]) -> list[PassCounts]:
    """Without an API of which only one mode is too low, and without the modes of the others."""
    names = {counts.name for counts in low}
    left_out: set[str] = set()
    for result in results:
        modes = {f"{result.name} · {mode}" for mode in result.modes}
        only_one = len(modes & names) == 1
        left_out |= {result.name} if only_one else modes & names
    return [counts for counts in low if counts.name not in left_out]


def _few_cases_reason(under: Sequence[PassCounts], target: Target) -> str:
    worst = min(under, key=_best_rate)
    return (
        f"Tool calls succeed less often than {target}: {worst.name} {worst.text}. But few cases"
        " cause the failures, and these may be too hard for the model: compare with a run of a"
        " trusted server (--reference RUN)."
    )


def _broken_cases_reason(cases: Sequence[WeakCase]) -> str:
    passed = "it" if len(cases) == 1 else "them"
    return (
        f"{_count(len(cases))} often, and the reference passes {passed}: "
        f"{first_few([case.text for case in cases], SHOWN_CASES)}."
    )


def _unknown_cases_warning(cases: Sequence[str], target: Target) -> str:
    return (
        f"{_count(len(cases))} far more often than {_rate(1 - target.lower)} of the time: "
        f"{first_few(cases, SHOWN_CASES)}. The run cannot tell whether the model or the server is "
        "the cause; compare with a run of a trusted server (--reference RUN)."
    )


def _count(cases: int) -> str:
    return f"{cases} case{' fails' if cases == 1 else 's fail'}"


def _undecided(
    counts: Sequence[PassCounts], target: Target, results: Sequence[TaskResult], tests: int
) -> PartVerdict:
    rates = target.reference, target.lower
    worst = min(counts, key=_best_rate)
    made = results[0].tries
    further = [
        two_rates.further_tries(tried.best, tried.planned, *rates, tests) * made / tried.planned
        for tried in counts
    ]
    tries = made + math.ceil(max(further))
    good, bad = (_rate(rate) for rate in rates)
    fits = f"{worst.text} for {worst.name} fits both a good server ({good}) and a bad one ({bad})."
    if any(_cannot_fail(tried, target, tests) for tried in counts):
        advice = (
            "However often so few cases fail, they may be too hard for the model: add cases, or"
            " compare with a run of a trusted server (--reference RUN)."
        )
    elif tries > MOST_TRIES:
        turning = percentage(two_rates.turning_point(*rates))
        advice = f"Near {turning}, more tries hardly help; examine the failures."
    else:
        advice = f"At the same rate, `--resume RUN -k {tries}` would settle it."
        reasons = (f"Too few tries: {fits}",)
        return PartVerdict("inconclusive", reasons, enough_tries=tries, advice=advice)
    return PartVerdict("inconclusive", (f"{fits} {advice}",))


def _cannot_fail(counts: PassCounts, target: Target, tests: int) -> bool:
    """Whether failures at this rate do not fail the run, even if they occur in all cases."""
    even = [_best_rate(counts)] * len(counts.means)
    low = _evidence(counts, target) < 0
    return low and not two_rates.spread_failures(even, target.reference, tests)


def _pass_reason(worst: PassCounts, target: Target, thresholds: Thresholds, conditions: int) -> str:
    place = " under every condition; in the worst" if conditions > 1 else ""
    shown = two_rates.shown_rate(worst.best, worst.planned)
    required = f"{_rate(target.lower)}{thresholds.where('lower_rate')}"
    return (
        f"Tool calls succeed more than {required} of the time{place}, {worst.name},"
        f" {worst.text} did, which shows at least {percentage(shown)}."
    )


def most_frequent_failure(results: Sequence[TaskResult]) -> str:
    """Return the most frequent kind of failure, with its number."""
    failures: Counter[str] = Counter()
    for result in results:
        failures.update(result.outcomes)
    failures.subtract({kind: failures[kind] for kind in ("success", "not_run")})
    kind, count = max(failures.items(), key=lambda item: item[1], default=("none", 0))
    return f"{kind.replace('_', ' ')} ({count})" if count else "none"


def _rate(rate: float) -> str:
    return f"{rate * 100:.3g}%"


def guide_rule(results: Sequence[TaskResult], thresholds: Thresholds) -> GuideRule | None:
    """The decision on results, and how often it fails a provider at the reference rate.

    None unless they are complete.
    """
    if not results or any(result.finished < result.planned for result in results):
        return None
    first, rate = results[0], target_of(thresholds).reference
    failed = any(True for result in results for _ in too_low(result, thresholds, complete=True))
    return GuideRule(
        decision="fail" if failed else "pass",
        k=first.tries,
        pass_at=min(result.at_k[-1].pass_at.value for result in results),
        pass_hat=min(result.at_k[-1].pass_hat.value for result in results),
        rate=rate,
        false_alarm=guide_false_alarm(
            first.samples,
            first.tries,
            len(results),
            rate,
            thresholds.min_pass_at_k,
            thresholds.min_pass_hat_k,
        ),
    )


def too_low(result: TaskResult, thresholds: Thresholds, *, complete: bool) -> Iterator[str]:
    """Each rate that does not exceed its threshold; if incomplete, the best possible one."""
    complete = complete and not result.no_reply
    rates = _rates(result) if complete else (result.best_pass_at, result.best_pass_hat)
    verb = "is" if complete else "can reach at most"
    settings = ("min_pass_at_k", "min_pass_hat_k")
    for name, rate, setting in zip(("pass@", "pass^"), rates, settings, strict=True):
        if not exceeds(rate, getattr(thresholds, setting)):
            yield (
                f"{result.name}: {name}{result.tries} {verb} {percentage(rate)},"
                f" {_required(thresholds, setting)};"
                f" most failures: {most_frequent_failure([result])}."
            )


def _rates(result: TaskResult) -> tuple[float, float]:
    """pass@k and pass^k; attempts without a reply, which are not evidence, count as passed."""
    if result.no_reply:
        return result.best_pass_at, result.best_pass_hat
    return result.at_k[-1].pass_at.value, result.at_k[-1].pass_hat.value


def pass_reason(results: Sequence[TaskResult], thresholds: Thresholds) -> str:
    """Why complete results pass."""
    at_k, hat_k = map(min, zip(*map(_rates, results), strict=True))
    k = results[0].tries
    where = "under the worst condition" if len(results) > 1 else "tool calling:"
    return (
        f"By the guide's rule, {where} pass@{k} is {percentage(at_k)}"
        f" ({_required(thresholds, 'min_pass_at_k')}) and pass^{k} {percentage(hat_k)}"
        f" ({_required(thresholds, 'min_pass_hat_k')})."
    )


def _required(thresholds: Thresholds, setting: str) -> str:
    return f"required: above {getattr(thresholds, setting) * 100:g}%{thresholds.where(setting)}"
