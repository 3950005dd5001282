"""What is new in a run since the one before it, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from evals.comparison.records import CheckChange, Flip, News

from reports import words
from reports.compare_words import moment, verdict

_NAMED = 5


def sentences(one: News) -> list[str]:
    """What is new since the previous run, a sentence each; the first names that run."""
    since = f"Since {one.previous} ({moment(one.previous_at)})"
    if one.quiet:
        return [f"{since}: nothing new beyond chance."]
    found = [
        _listed("came to fail", [_check(change) for change in one.broken], "check"),
        _listed("no longer failing", [_check(change) for change in one.fixed], "check"),
        _listed(
            "worse beyond chance",
            [_flipped(each) for each in one.flips if not each.better],
            "case",
        ),
        _listed(
            "better beyond chance", [_flipped(each) for each in one.flips if each.better], "case"
        ),
        *(f"{each.name} is {verdict(each.difference)}." for each in one.scores),
    ]
    said = [sentence for sentence in found if sentence]
    return [f"{since}: {said[0]}", *said[1:]]


def _listed(what: str, names: Sequence[str], one: str) -> str:
    if not names:
        return ""
    shown = "; ".join(names[:_NAMED])
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{words.counted(len(names), one)} {what}: {shown}{more}."


def _check(change: CheckChange) -> str:
    chance = "" if change.beyond_chance else ", which chance could do"
    return (
        f"{change.id} (failures {change.here[0]} of {change.here[1]}, "
        f"before {change.there[0]} of {change.there[1]}{chance})"
    )


def _flipped(one: Flip) -> str:
    return (
        f"{words.visible(one.sample)}, {one.group} ({one.here[0]} of {one.here[1]}, "
        f"before {one.there[0]} of {one.there[1]})"
    )
