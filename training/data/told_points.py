"""Points as sentences about values at a time or a place, usually with units."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple

from training.data.point_numbers import (
    Number,
    PointText,
    across,
    hundredths,
    several,
    small,
    steps,
    tenths,
)

_MEASURES = (
    "{v} kg", "{v} kg", "{v}kg", "{v} %", "{v}%", "{v} percent", "${v}", "${v}", "{v} €", "€{v}",
    "£{v}", "{v} euros", "{v} dollars", "{v} m", "{v} cm", "{v}cm", "{v} mm", "{v} km", "{v} km/h",
    "{v} degrees", "{v}°C", "{v} °C", "{v}°", "{v} litres", "{v} l", "{v} kWh", "{v} points",
    "{v} people", "{v} visitors", "{v} boxes", "{v} orders", "{v} goals", "{v} calls", "{v} bpm",
    "{v} ms", "{v} MB", "{v} pages", "{v} steps", "{v} votes", "{v} eggs", "{v} tickets", "{v} V",
    "{v} lbs", "{v} hPa", "{v} kcal", "{v} Stück", "{v} personnes", "{v} fish", "{v} bikes",
)  # fmt: skip
_MARKS = (
    "week", "week", "day", "day", "hour", "month", "lap", "round", "level", "page", "floor", "game",
    "sprint", "trial", "test", "chapter", "lesson", "stage", "season", "run", "Woche", "Tag",
    "semaine", "jour", "semana", "día", "Monat", "stop", "batch", "try", "step", "Week", "Day",
)  # fmt: skip
_COUNTED = (
    "{m} {x}: {y}", "{m} {x} {y}", "{m} {x} was {y}", "{m} {x} gave {y}", "{m} {x} had {y}",
    "{y} in {m} {x}", "{y} on {m} {x}", "{y} at {m} {x}", "{y} for {m} {x}", "{m} {x} -> {y}",
    "{m} {x} = {y}", "in {m} {x} it was {y}", "{m} {x} brought {y}", "{y} ({m} {x})",
    "{m} {x} ({y})", "{m} {x} with {y}", "{m} {x}, {y}", "{m} {x} came to {y}", "{m} {x} => {y}",
)  # fmt: skip
_DATED = (
    "{y} in {x}", "{y} in {x}", "in {x} it was {y}", "{x}: {y}", "{x} had {y}", "{x} {y}",
    "{y} for {x}", "{x} ({y})", "{x} saw {y}", "{x} - {y}", "{y} back in {x}", "{y} during {x}",
    "{x} was {y}", "{x} with {y}", "we had {y} in {x}", "in {x} {y}", "{y} ({x})", "{x} => {y}",
    "the year {x} gave {y}", "{x} brought {y}", "{x} → {y}", "{y} en {x}", "im Jahr {x} {y}",
)  # fmt: skip
_SCALES = (
    "{v} s", "{v} s", "{v} min", "{v} minutes", "{v} h", "{v} hours", "{v} m", "{v} km", "{v} cm",
    "{v} °C", "{v} degrees", "{v} seconds", "{v} years", "{v} months", "{v} mg", "{v} V", "{v} N",
    "{v} Hz", "{v} rpm", "{v} km/h", "{v} bags", "{v} users", "{v} ms", "{v} days", "{v} weeks",
)  # fmt: skip
_MEASURED = (
    "at {x} it is {y}", "at {x} it was {y}", "at {x} {y}", "{y} at {x}", "{x}: {y}", "{x} -> {y}",
    "after {x} {y}", "{y} after {x}", "after {x} we had {y}", "{x} gave {y}", "with {x} it is {y}",
    "{x} => {y}", "for {x} I got {y}", "{x} = {y}", "{x} makes {y}", "{x} / {y}",
    "at {x} I read {y}", "{x} means {y}", "{x}, then {y}", "it is {y} at {x}", "{x} vs {y}",
)  # fmt: skip


_BEGINNINGS = (
    "it started with {y} {p}", "it began with {y} {p}", "there were {y} {p}", "we had {y} {p}",
    "first came {y} {p}", "{p} it was {y}", "I noted {y} {p}", "{p} I counted {y}",
)  # fmt: skip
_RISES = ("rose to {y} {p}", "went up to {y} {p}", "climbed to {y} {p}", "grew to {y} {p}",
          "{p} it was up at {y}", "jumped to {y} {p}", "reached {y} {p}")  # fmt: skip
_FALLS = ("fell to {y} {p}", "went down to {y} {p}", "dropped to {y} {p}", "sank to {y} {p}",
          "{p} it was down at {y}", "came down to {y} {p}", "slid to {y} {p}")  # fmt: skip
_STAYS = ("stayed at {y} {p}", "was still {y} {p}", "{p} again {y}")


class _Axis(NamedTuple):
    """Values of x with their wordings, alone and in a story, and sentence forms for a pair."""

    values: list[Number]
    scale: str
    place: str
    forms: Sequence[str]


def told(rng: Random) -> PointText:
    """Points as sentences about values at a time or a place, usually with units."""
    count = rng.choice((2, 3, 3, 3, 4, 4, 5, 6, 7))
    number = rng.choice((small, small, small, tenths, hundredths))
    ys = several(rng, number, count)
    measure = rng.choice(_MEASURES) if rng.random() < 0.6 else "{v}"
    axis = _axis(rng, count)
    writer = _story if rng.random() < 0.18 else _enumerated
    text = writer(rng, axis, ys, [measure.format(v=y) for y in ys])
    return PointText(text, [[x, y] for x, y in zip(axis.values, ys, strict=True)])


def _enumerated(rng: Random, axis: _Axis, _ys: list[Number], shown: list[str]) -> str:
    """Every point with the same wording."""
    form = rng.choice(axis.forms)
    joins = ("; ", "\n", "; ", ". ") if ", " in form else (", ", ", ", "; ", ", then ", "\n", "\n")
    said = [
        form.replace("{x}", axis.scale.format(v=x)).replace("{y}", y)
        for x, y in zip(axis.values, shown, strict=True)
    ]
    if rng.random() < 0.15 and form.index("{x}") < form.index("{y}"):
        said[1:] = [f"{x}: {y}" for x, y in zip(axis.values[1:], shown[1:], strict=True)]
    join = rng.choice(joins)
    last = rng.choice((" and ", ", and ")) if join == ", " and rng.random() < 0.7 else join
    return join.join(said[:-1]) + last + said[-1]


def _story(rng: Random, axis: _Axis, ys: list[Number], shown: list[str]) -> str:
    """The points as a story of rises and falls."""
    places = [axis.place.replace("{x}", axis.scale.format(v=x)) for x in axis.values]
    said = [rng.choice(_BEGINNINGS)]
    for before, after in pairwise(ys):
        said.append(rng.choice(_STAYS if before == after else _RISES if after > before else _FALLS))
    parts = [
        form.replace("{y}", y).replace("{p}", place)
        for form, y, place in zip(said, shown, places, strict=True)
    ]
    return ", ".join(parts[:-1]) + rng.choice((" and ", ", then ", " and then ")) + parts[-1]


def _axis(rng: Random, count: int) -> _Axis:
    draw = rng.random()
    if draw < 0.33:
        years = steps(rng, rng.randint(1950, 2028), rng.choice((1, 1, 1, 5)), count)
        return _Axis(years, "{v}", "in {x}", _DATED)
    if draw < 0.67:
        mark = rng.choice(_MARKS)
        marks = steps(rng, rng.choice((1, 1, 1, 2, 20)), rng.choice((1, 1, 2)), count)
        forms = [form.replace("{m}", mark) for form in _COUNTED]
        return _Axis(marks, "{v}", f"{rng.choice(('in', 'on', 'at'))} {mark} {{x}}", forms)
    places = ("at {x}", "after {x}", "at {x}")
    return _Axis(
        sorted(across(rng, tenths, count)), rng.choice(_SCALES), rng.choice(places), _MEASURED
    )
