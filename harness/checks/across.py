"""Comparisons: rules about several rollouts of a run."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from harness.checks import (
    added_texts,
    changed_calls,
    foreign,
    hidden_limit,
    lost_tokens,
    prompt_texts,
)
from harness.checks.base import Difference, comparison, evidence
from harness.records.conditions import Api, Condition
from harness.records.scores import Finding, Score
from harness.text import shared_beginning

_FEW_DIGITS = 7
_FEWEST_VARYING = 2


def _shared_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    """No two requests of a run get replies with the same id.

    The reply to one request was delivered to another one, or came from a cache. Logs, support
    tickets and stored responses cannot tell such replies apart.
    """
    if not _from_small_range(examined):
        yield from _collisions(examined)


def _small_range(examined: Sequence[Score]) -> Iterator[Difference]:
    """The ids of replies come from a range that is large enough for them to be unique.

    Ids of a few random digits, of a counter or of a clock collide by chance. Logs and support
    tickets cannot tell such replies apart.
    """
    if _from_small_range(examined):
        yield from _collisions(examined)


def _collisions(examined: Sequence[Score]) -> Iterator[Difference]:
    first: dict[str, str] = {}
    for each in examined:
        for reply_id in each.reply_ids:
            other = first.setdefault(reply_id, each.record)
            if other != each.record:
                message = f"The reply has the same id as a reply in {other}."
                yield message, evidence(each.record, "$.id", "a unique id", reply_id)


def _from_small_range(examined: Sequence[Score]) -> bool:
    """Whether ids differ in a few digits at their end only, like a counter or a clock."""
    ids = {reply_id for each in examined for reply_id in each.reply_ids}
    if len(ids) < 2:
        return False
    start = shared_beginning(min(ids), max(ids))
    ends = [reply_id[start:] for reply_id in ids]
    return all(len(end) <= _FEW_DIGITS and (end or "0").isdigit() for end in ends)


def _other_models(examined: Sequence[Score]) -> Iterator[Difference]:
    """Under one condition, all replies name the same model.

    Any name is fine if it stays the same, also after a path. A second name in some replies means
    that another model, or another version, wrote them.
    """
    groups: dict[Condition, list[Score]] = defaultdict(list)
    for each in examined:
        groups[each.condition].append(each)
    for group in groups.values():
        times = Counter(name for each in group for name in each.traits.models)
        usual = max(times, key=lambda name: times[name])
        for each in group:
            if (others := each.traits.models - {usual}) and 2 * times[usual] > len(group):
                message = "The reply names another model than most replies under this condition."
                got = ", ".join(sorted(others))
                yield message, evidence(each.record, "$.model", usual, got)


def _input_tokens(examined: Sequence[Score]) -> Iterator[Difference]:
    """Identical requests report the same number of prompt tokens, streaming or not.

    A difference means that the prompt is rendered in two ways, or by backends that disagree. Some
    gateways route requests to different backends deliberately. If attempts under one condition
    differ, no prompt can be judged by its tokens.
    """
    groups: dict[tuple[str, str, Api], list[Score]] = defaultdict(list)
    for each in examined:
        groups[each.task, each.sample, each.condition.api].append(each)
    for group in groups.values():
        usual = Counter(each.first_input for each in group).most_common(1)[0][0]
        for each in group:
            if each.first_input != usual:
                message = "The prompt token count differs from other attempts at the same request."
                got = str(each.first_input)
                yield message, evidence(each.record, "$.usage", str(usual), got)


def counts_vary(examined: Iterable[Score]) -> bool:
    """Whether identical requests under one condition report different prompt tokens, repeatedly."""
    counts: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for each in examined:
        if each.first_input:
            counts[each.task, each.sample, each.condition.name].add(each.first_input)
    return sum(len(found) > 1 for found in counts.values()) >= _FEWEST_VARYING


COMPARISONS = (
    comparison(
        "reply.id.shared", "schema", lambda each: bool(each.reply_ids), _shared_ids, "error"
    ),
    comparison("reply.id.range", "schema", lambda each: bool(each.reply_ids), _small_range),
    comparison(
        "reply.model.differs", "schema", lambda each: bool(each.traits.models), _other_models
    ),
    foreign.COMPARISON,
    comparison(
        "usage.input.differs", "usage", lambda each: each.first_input is not None, _input_tokens
    ),
    prompt_texts.COMPARISON,
    changed_calls.COMPARISON,
    hidden_limit.COMPARISON,
    added_texts.COMPARISON,
    *lost_tokens.COMPARISONS,
)


def compare_rollouts(examined: Sequence[Score]) -> Iterator[tuple[frozenset[str], list[Finding]]]:
    """Compare the rollouts: for each, the ids of the applicable comparisons, and their findings."""
    found = [(each, each.findings(examined)) for each in COMPARISONS]
    for one in examined:
        applicable = frozenset(comparison.id for comparison, _ in found if comparison.applies(one))
        yield applicable, [findings[one.record] for _, findings in found if one.record in findings]
