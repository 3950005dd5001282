"""Separate findings that a healthy model may cause from those that only a server causes. No I/O.

A rule may tolerate its problem in the share of rollouts in which the model causes it. The rollouts
of all tasks are judged together, because a rare defect shows only in many replies. To detect
defects of one API, mode or replica behind a load balancer, each of these is also tested alone.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.records.conditions import parts_of
from harness.records.scores import Finding, Score
from harness.rules.account import NO_ACCOUNT, Account
from harness.rules.account.court import most
from harness.rules.catalogue import CHECKS, compare_rollouts
from harness.rules.habits import MALFORMED_HEADERS
from harness.rules.rule import as_warning, tolerated
from harness.statistics.rates import LEVEL_OF_A_LOOK, exceeds, excessive
from harness.tasks.tool_calling import invalidated

Stratum = tuple[str, str]  # a property of rollouts and its value: `("API", "chat")`

EVERY: Stratum = ("run", "")
_FEWEST_SCORES, _MOST_REPLICAS = 10, 8


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
    of a reply count once. A `growing` run is looked at many times, first with few conversations:
    each look has a smaller level, and each conversation counts once. Elsewhere they become
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
    strata = _strata(compared)
    ids = {finding.id for score in compared for finding in score.findings}
    exceeded = {rule: _excessive(rule, CHECKS[rule].tolerated, strata, growing) for rule in ids}
    for rule in ids & reference.keys():
        exceeded[rule] = frozenset(
            stratum
            for stratum in exceeded[rule]
            if exceeds(_counts(rule, strata[stratum]), _in_stratum(reference[rule], stratum))
        )
    serious = {
        rule: _excessive(rule, above, strata, growing)
        for rule in ids
        if (above := CHECKS[rule].error_above) is not None
    }
    return [
        _judged(
            score,
            exceeded,
            serious,
            may_warn,
            counted=score.condition.name not in miscounted,
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


def strata_of(score: Score) -> Iterator[Stratum]:
    """Yield the strata that a rollout belongs to."""
    condition = score.condition
    yield EVERY
    yield "API", condition.api
    yield "mode", str(condition.mode)
    yield "API and mode", condition.name
    yield from score.traits.replicas


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


def _strata(scores: Iterable[Score]) -> Mapping[Stratum, list[Score]]:
    """Return the rollouts of each stratum. Replicas are strata if several have enough rollouts."""
    members: dict[Stratum, list[Score]] = defaultdict(list)
    for score in scores:
        for stratum in dict.fromkeys(strata_of(score)):
            members[stratum].append(score)
    values = Counter(name for name, _ in members)
    return {
        stratum: rollouts
        for stratum, rollouts in members.items()
        if stratum[0] in ("run", "API", "mode", "API and mode")
        or (1 < values[stratum[0]] <= _MOST_REPLICAS and len(rollouts) >= _FEWEST_SCORES)
    }


def _in_stratum(counts: Mapping[str, tuple[int, int]], stratum: Stratum) -> tuple[int, int]:
    """Return failures and trials of the conditions that belong to a stratum; of a replica, all."""
    kind, value = stratum
    every = kind not in ("API", "mode", "API and mode")
    chosen = [each for name, each in counts.items() if every or value in (name, *parts_of(name))]
    return sum(failed for failed, _ in chosen), sum(tries for _, tries in chosen)


def _excessive(
    check_id: str, rate: float, strata: Mapping[Stratum, Sequence[Score]], growing: bool
) -> frozenset[Stratum]:
    """Return the strata in which the findings of a check exceed a rate, such as the model's."""
    if not rate:
        return frozenset((EVERY,))
    counts = {stratum: _counts(check_id, members) for stratum, members in strata.items()}
    if not growing:
        return excessive(counts, rate)
    once = {
        stratum: [(hits / tries, 1) for hits, tries in pairs] for stratum, pairs in counts.items()
    }
    return excessive(once, rate, LEVEL_OF_A_LOOK)


def _counts(check_id: str, scores: Iterable[Score]) -> list[tuple[float, int]]:
    """Return affected and judged rollouts by conversation, which several samples may share.

    Copies count once: records of one reply, and equal greedy replies to equal requests, also of
    other samples.
    """
    judged: dict[str, set[object]] = defaultdict(set)
    affected: dict[str, set[object]] = defaultdict(set)
    first: dict[object, str] = {}
    for score in scores:
        if check_id in score.applicable:
            rows = score.replies
            conversation = score.traits.conversation or f"{score.task}/{score.sample}"
            reply: object = score.reply_ids or score.record
            if rows and all(row.greedy for row in rows):
                reply = tuple((row.stops, row.reasoning, row.text, row.calls) for row in rows)
                if all(row.request for row in rows):
                    requests = tuple((row.request, row.format) for row in rows)
                    conversation = first.setdefault((requests, reply), conversation)
            judged[conversation].add(reply)
            if any(e.severity != "info" for e in score.findings if e.id == check_id):
                affected[conversation].add(reply)
    return [(len(affected[name]), len(replies)) for name, replies in judged.items()]


def _judged(
    score: Score,
    exceeded: Mapping[str, Collection[Stratum]],
    serious: Mapping[str, Collection[Stratum]],
    may_warn: Collection[str],
    *,
    counted: bool,
    obedient: bool,
) -> Score:
    if not score.findings:
        return score
    strata = set(strata_of(score))
    written = {reply.exchange for reply in score.readings if not reply.rule}

    def judged(finding: Finding) -> Finding:
        rule = CHECKS[finding.id]
        if rule.habit and finding.evidence.exchange in written:
            return tolerated(finding)
        of_headers = rule.counts or rule.habit is MALFORMED_HEADERS
        proven = finding.proven and (obedient or not of_headers)
        if rule.counts and not counted:
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
