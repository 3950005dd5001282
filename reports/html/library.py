"""The transcripts of a page: read from the log in one pass, as many as there is room for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.records.rollouts import Rollout
from reports.html.selection import choose, fitting
from reports.html.traffic import Traffic
from reports.html.transcripts import Json, packed, said_of, transcript
from reports.tries import Try


@dataclass(frozen=True)
class Library:
    """What the script of a page gets: what was judged of tries, and the transcripts there is
    room for, both by record; and what was counted on the way.
    """

    judged: Mapping[str, Json]
    transcripts: Mapping[str, Json]
    rollouts: int
    traffic: Traffic


def library(
    rollouts: Iterable[Rollout],
    tries: Sequence[Try],
    named: Iterable[str],
    labels: Mapping[str, str],
    *,
    texts: bool = True,
) -> Library:
    """Read the log once.

    Args:
        rollouts: The log.
        tries: What was judged.
        named: Records that the page refers to.
        labels: The words for each kind of outcome.
        texts: Whether what was said may be shown at all.
    """
    order = choose(named, tries)
    wanted = set(order) if texts else set()
    by_record = {one.record: one for one in tries}
    traffic = Traffic()
    found: dict[str, str] = {}
    count = 0
    for rollout in rollouts:
        count += 1
        for exchange in rollout.exchanges:
            traffic.add(exchange)
        if rollout.id in wanted:
            found[rollout.id] = packed(transcript(rollout, by_record.get(rollout.id)))
    kept = fitting(order, {record: len(text.encode()) for record, text in found.items()})
    shown = [record for record in order if record in by_record]
    return Library(
        judged={
            record: said_of(by_record[record], labels[by_record[record].kind]) for record in shown
        },
        transcripts={record: json.loads(found[record]) for record in order if record in kept},
        rollouts=count,
        traffic=traffic,
    )
