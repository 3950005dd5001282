"""Rates of findings by API and mode: for each finding a row of bars, one for each condition."""

from collections.abc import Sequence

from markupsafe import Markup

from harness.records.conditions import APIS, MODES
from reports.html.charts.svg import WIDTH, chart, tag, text
from reports.model import ShownRule
from reports.text import NOTHING, counted

_MOST = 8  # findings, the heaviest first
_HEAD, _ROW, _GAP, _BAR = 34, 38, 6, 15

_Column = tuple[str, str]  # an API and a mode


def findings(rules: Sequence[ShownRule]) -> Markup | None:
    """Return the chart of errors and warnings; None without any, or under one condition only.

    A bar is the share of the replies with the finding, beside their count. The result of a probe
    that judges both modes together has one bar for both.
    """
    found = [rule for rule in rules if rule.status in ("failed", "warned")]
    every = [(api, mode) for api in APIS for mode in MODES]
    columns = [place for place in every if any(_judged(rule, *place) for rule in found)]
    if len(columns) < 2:
        return None
    shown = found[:_MOST]
    width = (WIDTH + _GAP) / len(columns)
    parts = _heads(columns, width)
    for row, rule in enumerate(shown):
        parts += _row(rule, columns, width, _HEAD + _ROW * row)
    more = len(found) - len(shown)
    height = _HEAD + _ROW * len(shown) + (16 if more else 0)
    if more:
        parts.append(text(0, height - 4, f"{counted(more, 'further finding')} below"))
    names = ", ".join(f"{rule.result.check.id} in {rule.share}" for rule in shown)
    return chart(height, f"Findings by API and mode: {names}", *parts)


def _judged(rule: ShownRule, api: str, mode: str) -> tuple[int, int] | None:
    """Return the failures and the trials of a rule under a condition; None without any."""
    counts, modes = rule.result.counts, rule.result.check.modes
    return counts.get(f"{api} · {mode}") or (counts.get(api) if mode in modes else None)


def _heads(columns: Sequence[_Column], width: float) -> list[Markup]:
    parts = []
    for at, (api, mode) in enumerate(columns):
        if at == 0 or columns[at - 1][0] != api:
            parts.append(text(at * width, 11, api, kind="name"))
        parts.append(text(at * width, 25, mode))
    return parts


def _row(rule: ShownRule, columns: Sequence[_Column], width: float, top: float) -> list[Markup]:
    counts = rule.result.counts
    parts = [text(0, top + 13, rule.result.check.id, kind="name")]
    at = 0
    while at < len(columns):
        api, mode = columns[at]
        together = api in counts and at + 1 < len(columns) and columns[at + 1][0] == api
        span = 2 if together and len(rule.result.check.modes) > 1 else 1
        parts += _bar(rule, _judged(rule, api, mode), at * width, span * width - _GAP, top + 18)
        at += span
    return parts


def _bar(
    rule: ShownRule, judged: tuple[int, int] | None, left: float, width: float, top: float
) -> list[Markup]:
    if judged is None:
        return [text(left, top + 11, NOTHING)]
    failed, every = judged
    place = {"x": left, "y": top, "height": _BAR}
    kind = "count bad" if rule.status == "failed" else "count poor"
    return [
        tag("rect", **place, width=width, class_="track"),
        tag("rect", **place, width=width * failed / every, class_=f"{kind} light"),
        text(left + 4, top + 11, f"{failed:,} of {every:,}", kind="figures"),
    ]
