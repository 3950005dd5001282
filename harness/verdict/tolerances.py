"""Separate findings that a healthy model may cause from those that only a server causes. No I/O.

A rule may tolerate its problem in the share of rollouts in which the model causes it. The rollouts
of all tasks are judged together, because a rare defect shows only in many replies. To detect
defects of one API, mode or replica behind a load balancer, or of one condition of replies, each of
these is also tested alone (see `harness.verdict.denominators`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.records.scores import Finding, Score
from harness.rules.account import NO_ACCOUNT, Account
from harness.rules.account.court import most
from harness.rules.catalogue import CHECKS, compare_rollouts
from harness.rules.habits import MALFORMED_HEADERS
from harness.rules.rule import as_warning, tolerated
from harness.statistics.rates import exceeds
from harness.tasks.tool_calling import invalidated
from harness.verdict.denominators import Denominators, Stratum, counted, in_stratum


def apply_tolerances(
    scores: Sequence[Score],
    may_warn: Collection[str] = (),
    *,
    account: Account = NO_ACCOUNT,
    growing: bool = False,
    reference: Mapping[str, Mapping[str, tuple[int, int]]] = {},
) -> list[Score]:
    """Compare the rollouts, and lower findings that the model may have caused.

    Findings of a check with a tolerated share remain as they are in strata in which the share of
    affected rollouts exceeds it, by the exact binomial test of `harness.statistics.rates`. Copies
    of a reply count once. So they do in a condition in which most replies are affected. A `growing`
    run is looked at many times, first with few conversations: each look has a smaller level, and
    each conversation counts once. Elsewhere they become
    informational, unless their evidence excludes the model (`proven`). Unproven findings are errors
    in strata in which their share exceeds `Rule.error_above`, and warnings elsewhere. Errors of
    checks in `may_warn` become warnings. What remains an error makes the response of a tool-call
    attempt invalid. Of a rule in `reference` (see `Thresholds.reference_rules`), findings are also
    informational in strata in which the share of that run is not significantly exceeded. Findings
    whose evidence is a count are informational where counts are wrong. A model that does not do
    what requests say may write any header: then no finding that headers may explain is proven. A
    reply that a reference has read and finds probable was written by the model: what a model may
    cause is informational there.
    """
    compared = list(_compared(scores, account))
    miscounted = _mostly_miscounted(compared, account)
    among = Denominators.of(compared, growing=growing)
    ids = {finding.id for score in compared for finding in score.findings}
    exceeded = {rule: among.exceeded(rule, CHECKS[rule].tolerated) for rule in ids}
    for rule in ids & reference.keys():
        exceeded[rule] = frozenset(
            stratum
            for stratum in exceeded[rule] & among.rollouts.keys()
            if exceeds(counted(rule, among.rollouts[stratum]), in_stratum(reference[rule], stratum))
        )
    serious = {
        rule: among.exceeded(rule, above)
        for rule in ids
        if (above := CHECKS[rule].error_above) is not None
    }
    return [
        _judged(
            score,
            among,
            exceeded,
            serious,
            may_warn,
            counts=score.condition.name not in miscounted,
            obedient=account.is_obedient,
        )
        for score in compared
    ]


def _mostly_miscounted(scores: Iterable[Score], account: Account) -> frozenset[str]:
    """Return the APIs and modes in which most output counts are known to be wrong."""
    counted, wrong = Counter[str](), Counter[str]()
    for score in scores:
        for row, entry in account.of_replies(score):
            counted[score.condition.name] += row.ledger is not None
            wrong[score.condition.name] += entry.kind == "miscounted"
    return frozenset(name for name, times in wrong.items() if most(times, counted[name]))


def _compared(scores: Sequence[Score], account: Account) -> Iterator[Score]:
    broken: dict[str, str] = {}
    compared = compare_rollouts([score for score in scores if score.finished], broken, account)
    joined: dict[frozenset[str], frozenset[str]] = {}
    for score in scores:
        if score.finished:
            applicable, findings = next(compared)
            every = score.applicable | applicable
            score = replace(
                score,
                applicable=joined.setdefault(every, every),
                findings=(*score.findings, *findings),
                broken=(*score.broken, *broken.items()),
            )
            broken = {}  # one score is enough
        yield score


def _judged(
    score: Score,
    among: Denominators,
    exceeded: Mapping[str, Collection[Stratum]],
    serious: Mapping[str, Collection[Stratum]],
    may_warn: Collection[str],
    *,
    counts: bool,
    obedient: bool,
) -> Score:
    if not score.findings:
        return score
    written = {reply.exchange for reply in score.readings if not reply.rule}

    def judged(finding: Finding) -> Finding:
        rule, strata = CHECKS[finding.id], set(among.of_finding(score, finding))
        if rule.habit and finding.evidence.exchange in written:
            return tolerated(finding)
        of_headers = rule.counts or rule.habit is MALFORMED_HEADERS
        proven = finding.proven and (obedient or not of_headers)
        if rule.counts and not counts:
            return tolerated(finding)
        if not proven and strata.isdisjoint(exceeded[finding.id]):
            return tolerated(finding)
        if finding.id in may_warn:
            return as_warning(finding)
        if (strata_of_errors := serious.get(finding.id)) is None:
            return finding
        if not strata.isdisjoint(strata_of_errors):
            return finding.model_copy(update={"severity": "error"})  # for any usable model
        return finding if proven else as_warning(finding)

    findings = tuple(map(judged, score.findings))
    if score.value is None:
        return replace(score, findings=findings)
    return invalidated(score, findings)
