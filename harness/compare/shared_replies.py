"""Replies of one log that are those of another: a cache of the harness answered. No I/O.

lm_eval 0.4.13 leaves the server out of the key of `--use_cache`: the log of a second server can
consist of the replies of the first one, without any request.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from harness.compare.columns import Column
from harness.compare.eval_log import EvalLog, LogTry
from harness.statistics.copies import ONE_REPLY, WHOLE_TRIES, Said, said


def without_shared_replies(column: Column, base: Column) -> Column:
    """Return a column without the values of tries that are copies of the reference's.

    A note has their number. Replies are equal without a copy if both logs have one seed or
    temperature 0, unless both name the same cache; these values stay, and a note says so.
    """
    copies: set[str] = set()
    notes = []
    for log in column.logs:
        for other in (other for other in base.logs if other.task == log.task):
            same = _same(log, other)
            if not same:
                continue
            found = f"{len(same)} of {len(log.tries)} replies of {log.task} are "
            if _determined(log, other) and not _one_cache(log, other):
                notes.append(
                    f"{found}those of {base.entry.label} word for word. Equal servers answer so "
                    "with one seed or at temperature 0, but so does a cache of replies."
                )
                continue
            copies |= same
            notes.append(
                f"{found}copies of those of {base.entry.label}, and say nothing about this server:"
                f" {_reason(log, other)}."
            )
    if not notes:
        return column
    kept = column.tries["value"].where(~column.tries["record"].isin(copies))
    entry = column.entry.model_copy(update={"notes": (*column.entry.notes, *notes)})
    return replace(column, entry=entry, tries=column.tries.assign(value=kept))


def _reason(log: EvalLog, other: EvalLog) -> str:
    if _one_cache(log, other):
        return f"both used the cache {log.cache}; ask it again without that cache"
    return "a cache of replies, or one log under two names; ask it again without a cache"


def _one_cache(log: EvalLog, other: EvalLog) -> bool:
    return log.cache is not None and log.cache == other.cache


def _determined(log: EvalLog, other: EvalLog) -> bool:
    greedy = log.sampling.temperature == 0 == other.sampling.temperature
    return greedy or bool(log.seeds & other.seeds)


def _same(log: EvalLog, other: EvalLog) -> frozenset[str]:
    """Return the names of the tries whose equality with another log's is no chance.

    A long reply is a copy by itself; short ones are if all replies to the questions that both logs
    have are equal, and chance would do that less than once in 1,000 runs. If both used one cache,
    that need not be improbable.
    """
    theirs = _by_content(other)
    asked = [(tried, _said(tried)) for tried in log.tries if tried.answer]
    asked = [(tried, reply) for tried, reply in asked if tried.content in theirs]
    equal = {
        log.record(tried): max(0.0, reply.nats - math.log(theirs[tried.content].total()))
        for tried, reply in asked
        if reply.hash in theirs[tried.content]
    }
    nats = sum(equal.values())
    if chance := _agreement(log, other):  # a model that repeats itself agrees with others, too
        nats = min(nats, -math.log(chance) * len(equal))
    if len(equal) == len(asked) and (nats >= WHOLE_TRIES or _one_cache(log, other)):
        return frozenset(equal)
    return frozenset(name for name, nats in equal.items() if nats >= ONE_REPLY)


def _by_content(log: EvalLog) -> Mapping[str, Counter[int]]:
    """Return the hashes of the replies to each question."""
    replies: dict[str, Counter[int]] = defaultdict(Counter)
    for tried in log.tries:
        if tried.answer:
            replies[tried.content][_said(tried).hash] += 1
    return replies


def _said(tried: LogTry) -> Said:
    return said(tried.answer, tried.question)


def _agreement(*logs: EvalLog) -> float | None:
    """Return how often two tries of one log at a question are equal; None if there are no two."""
    counts = [replies for log in logs for replies in _by_content(log).values()]
    pairs = sum(math.comb(replies.total(), 2) for replies in counts)
    equal = sum(math.comb(count, 2) for replies in counts for count in replies.values())
    return (equal + 1) / (pairs + 2) if pairs else None
