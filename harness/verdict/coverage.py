"""How much of what a run set out to judge was judged; a PASS needs enough of it. No I/O."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.records.analysis import RuleResult
from harness.rules.catalogue import CHECKS
from harness.statistics.two_rates import fewest_above
from harness.text import first_few, percentage

LEAST_JUDGED = 0.5
"""A run passes only if more than this share of what it set out to judge was judged."""
_NAMED = 2  # reasons that a sentence names


class Coverage(NamedTuple):
    """How many things of one kind a run set out to judge, and why some were not judged."""

    kind: str
    planned: int
    not_judged: Mapping[str, int]  # how many, by reason


def too_little_judged(
    rules: Sequence[RuleResult], recorded: Coverage | None = None
) -> Iterator[str]:
    """One sentence for each part of a run of which too little was judged for a PASS."""
    for part in _parts(rules, recorded):
        missing = sum(part.not_judged.values())
        if part.planned - missing <= LEAST_JUDGED * part.planned:
            yield (
                f"{missing} of {part.planned} {part.kind} could not be judged; a PASS requires "
                f"more than half of them: {_why(part)}."
            )


def too_few_replies(rules: Sequence[RuleResult], recorded: Coverage, lower: float) -> Iterator[str]:
    """Why a recording is too short for a PASS, and what most of its replies have, a sentence each.

    A server at the lower rate may pass in at most 5% of recordings, as in tool calling. In a longer
    recording, what a model causes seldom is an error if most replies have it.
    """
    judged = recorded.planned - sum(recorded.not_judged.values())
    fewest = fewest_above(lower)
    if judged < fewest:
        yield (
            f"{judged} of the recorded replies were judged. The smallest recording that can pass "
            f"has {fewest}: then, a server that spoils {percentage(1 - lower)} of its replies "
            "passes in at most 5% of recordings."
        )
        for result in rules:
            seen, of = result.failures, result.applicable
            tolerated = result.status == "passed" and CHECKS[result.check.id].tolerated
            if tolerated and seen > LEAST_JUDGED * of:
                yield (
                    f"{seen} of {of} replies, too few to tell whether the server or the model made "
                    f"it: {result.examples[0].message} ({result.check.id})"
                )


def unsettled(rules: Sequence[RuleResult]) -> Iterator[str]:
    """One sentence for each warning in most replies of a recording that a longer one would prove.

    Where a rule calls a share of replies an error, no model that works causes it in most of them.
    One finding may be the model's, also if there are few replies.
    """
    for result in rules:
        if result.status == "warned" and CHECKS[result.check.id].error_above is not None:
            every = ((result.failures, result.applicable), *result.counts.values())
            most = [(hits, of) for hits, of in every if hits > 1 and hits > LEAST_JUDGED * of]
            for hits, of in most[:1]:
                yield (
                    f"{hits} of {of} replies have a finding of {result.check.id}: too few to tell "
                    "whether the server or the model made it."
                )


def without_reply(recorded: Coverage) -> Iterator[str]:
    """How many recorded requests got no reply, or one that cannot be read, in one sentence.

    If all have one, the recorder may have left the others out.
    """
    missing = sum(recorded.not_judged.values())
    why = _why(recorded)
    if missing == recorded.planned:
        yield (
            f"No recorded request got a reply ({why}): the checks below judge only requests and "
            "rejections."
        )
    elif missing:
        yield (
            f"{missing} of {recorded.planned} recorded requests got no reply ({why}); the checks "
            "judge the others."
        )
    else:
        yield (
            "No recorded reply broke off; many recorders leave out replies that did, or complete "
            "them (docs/real-traffic.md)."
        )


def _why(part: Coverage) -> str:
    reasons = Counter(part.not_judged).most_common()
    return first_few([f"{count} × {why.rstrip('.')}" for why, count in reasons], _NAMED)


def _parts(rules: Sequence[RuleResult], recorded: Coverage | None) -> Iterator[Coverage]:
    """Yield the probes of a run, those of each family that lack replies, and the recorded replies.

    A probe that is skipped, declared missing by the provider's entry, or newer than the run is not
    planned. In one family, only missing replies count, because the provider need not offer every
    feature.
    """
    probes = [
        result
        for result in rules
        if result.of_probe
        and result.status not in ("skipped", "declared")
        and ("request" not in result.lacks or "reply" in result.lacks)
    ]
    if probes:
        silent = [probe for probe in probes if probe.status == "not_verifiable"]
        yield Coverage("probes", len(probes), Counter(probe.reason or "" for probe in silent))
    for family in dict.fromkeys(probe.check.family for probe in probes):
        own = [probe for probe in probes if probe.check.family == family]
        lacking = Counter(probe.reason or "" for probe in own if "reply" in probe.lacks)
        yield Coverage(f"{family} probes", len(own), lacking)
    if recorded is not None:
        yield recorded
