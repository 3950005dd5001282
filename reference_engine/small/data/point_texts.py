"""Points as people write them down: pairs, lists, tables, years, and amounts with units."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from reference_engine.small.data.phrases import listed

Number = float
"""A whole number or a decimal, such that `str` writes it as the request does."""

Points = list[tuple[Number, Number]]


class PointText(NamedTuple):
    """Points, and the text that says them; a text of several lines is a block of its own."""

    text: str
    points: list[list[Number]]


def point_text(rng: Random) -> PointText:
    """Two to six points in one of the ways that people write them."""
    if rng.random() < 0.13:
        return _series(rng)
    if rng.random() < 0.36:
        return _told(rng)
    number = rng.choice(_NUMBERS)
    count = rng.choice((2, 2, 3, 3, 3, 4, 4, 5, 6))
    points = list(zip(_across(rng, number, count), _several(rng, number, count), strict=True))
    writer = rng.choice((_pairs, _pairs, _pairs, _pairs, _two_lists, _rows, _as_json))
    return PointText(writer(rng, points), [[x, y] for x, y in points])


def _small(rng: Random) -> Number:
    return rng.randint(0, rng.choice((9, 20, 100, 500, 9999)))


def _signed(rng: Random) -> Number:
    return rng.randint(-20, 20)


def _tenths(rng: Random) -> Number:
    return rng.randint(0, rng.choice((99, 999))) / 10


def _mixed(rng: Random) -> Number:
    return rng.randint(-90, 300) / 10 if rng.random() < 0.7 else rng.randint(-9, 20)


def _hundredths(rng: Random) -> Number:
    return rng.randint(1, 2000) / 100


_NUMBERS: tuple[Callable[[Random], Number], ...] = (
    _small, _small, _small, _small, _small, _tenths, _signed, _mixed, _hundredths,
)  # fmt: skip


def _several(rng: Random, number: Callable[[Random], Number], count: int) -> list[Number]:
    return [number(rng) for _ in range(count)]


def _across(rng: Random, number: Callable[[Random], Number], count: int) -> list[Number]:
    """Values of x: evenly spaced, or whatever was measured."""
    if rng.random() < 0.55:
        return _several(rng, number, count)
    return _steps(rng, rng.choice((0, 1, 1, 1, 10, 100)), rng.choice((1, 1, 1, 2, 5, 10)), count)


def _steps(rng: Random, first: int, step: int, count: int) -> list[Number]:
    start = first + rng.choice((0, 0, 0, step, 2 * step))
    return [start + step * at for at in range(count)]


def _series(rng: Random) -> PointText:
    """Values alone, which stand at 1, 2, 3 and so on."""
    number = rng.choice(_NUMBERS)
    values = _several(rng, number, rng.randint(3, 6))
    text = listed(rng, [str(value) for value in values])
    return PointText(text, [[at, value] for at, value in enumerate(values, 1)])


_PAIRS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("({x}, {y})", (", ", ", ", " ", "; ", " and ", " then ", "\n", " – ", " to ")),
    ("({x},{y})", (",", ", ", " ", ";", " and ", " & ", "\n", "->")),
    ("({x}; {y})", (", ", "; ", " and ", " ")),
    ("({x}|{y})", (", ", " ", "; ", " und ")),
    ("[{x}, {y}]", (", ", "; ", " and ", " ", "\n")),
    ("[{x},{y}]", (",", ", ", " ", "\n", " then ")),
    ("<{x}, {y}>", (", ", " ")),
    ("{x}/{y}", (", ", " ", "; ", " and ", ",", "\n", " then ")),
    ("{x} / {y}", (", ", "; ", "\n")),
    ("{x}:{y}", (", ", " ", "; ", ",", "\n")),
    ("{x}: {y}", (", ", "; ", "\n")),
    ("{x} -> {y}", (", ", "; ", " and ", "\n")),
    ("{x}->{y}", (", ", " ", ",", "; ")),
    ("{x} => {y}", (", ", "; ", " and ", "\n")),
    ("{x}=>{y}", (", ", " ", ",")),
    ("{x} → {y}", (", ", "; ", "\n")),
    ("{x}={y}", (", ", "; ", " ")),
    ("{x} = {y}", (", ", "; ", "\n")),
    ("{x} vs {y}", (", ", "; ", " and ", "\n")),
    ("{x} vs. {y}", (", ", "; ")),
    ("{x} against {y}", (", ", "; ", " and ")),
    ("{x} with {y}", (", ", "; ", " and ")),
    ("{x} to {y}", (", ", "; ", " and ")),
    ("{x} gives {y}", (", ", "; ", " and ")),
    ("{x} maps to {y}", (", ", "; ", " and ")),
    ("{x},{y}", ("; ", ";", " then ", " and then ", " and ", " | ", "\n", " ", " / ")),
    ("{x}, {y}", ("; ", " then ", " and then ", " | ", "\n", " / ", "; then ")),
    ("{x} {y}", ("; ", ", ", ",", " | ", "\n", " / ", " then ", ";")),
    ("{x};{y}", (" ", ", ", "\n", " | ")),
    ("{x} and {y}", ("; ", ", ", ", then ", "\n")),
    ("x={x} y={y}", (", ", "; ", " and ", "\n", " / ")),
    ("x={x}, y={y}", ("; ", " and ", "\n", " / ", " then ")),
    ("x={x},y={y}", ("; ", " ", "\n", " and ")),
    ("x={x}; y={y}", (", ", "\n", " and ")),
    ("x = {x}, y = {y}", ("; ", " and ", "\n")),
    ("x = {x} and y = {y}", ("; ", ", ", "\n")),
    ("x {x} y {y}", (", ", "; ", "\n", " and ")),
    ("x: {x}, y: {y}", ("; ", "\n", " and ", " | ")),
    ("x:{x} y:{y}", (", ", "; ", " ", "\n")),
    ("X={x} Y={y}", (", ", "; ", "\n")),
    ("x is {x} and y is {y}", ("; ", ", then ", ", ")),
    ("y={y} at x={x}", (", ", "; ", " and ")),
    ("y is {y} when x is {x}", (", ", "; ", " and ")),
    ("y = {y} for x = {x}", (", ", "; ", " and ")),
    ("f({x})={y}", (", ", "; ", " ", " and ")),
    ("f({x}) = {y}", (", ", "; ", " and ", "\n")),
)
"""How a pair is written, and what may stand between two pairs written so."""


def _pairs(rng: Random, points: Points) -> str:
    form, joins = rng.choice(_PAIRS)
    pairs = [form.format(x=x, y=y) for x, y in points]
    join = rng.choice(joins)
    if join == "\n":
        return "\n".join(_bulleted(rng, pairs))
    if join == ", " and rng.random() < 0.3:
        return f"{join.join(pairs[:-1])}{rng.choice((' and ', ', and '))}{pairs[-1]}"
    return join.join(pairs)


def _bulleted(rng: Random, lines: Sequence[str]) -> list[str]:
    bullet = rng.choice(("", "", "", "- ", "* ", "• "))
    return [bullet + line for line in lines]


_LISTS = (
    "x: {x}, y: {y}", "x: {x}; y: {y}", "x={x} y={y}", "x = {x} and y = {y}", "X: {x} / Y: {y}",
    "x = {x}, y = {y}", "xs {x} ys {y}", "x values {x}; y values {y}", "x: {x}\ny: {y}",
    "x\t{x}\ny\t{y}", "x-values {x} and y-values {y}", "{x} on the x axis and {y} on the y axis",
    "y: {y}; x: {x}", "the x values are {x}, the y values {y}", "{x} for x, {y} for y",
    "x {x}\ny {y}", "x coordinates {x}, y coordinates {y}", "y = {y} against x = {x}",
    "{x} across, {y} up", "horizontal {x}, vertical {y}", "X {x} Y {y}", "y: {y}\nx: {x}",
)  # fmt: skip


def _two_lists(rng: Random, points: Points) -> str:
    form = rng.choice(_LISTS)
    left, right = rng.choice((("", ""), ("", ""), ("[", "]"), ("(", ")")))
    join = rng.choice((" ", ", ", ","))
    xs, ys = (left + join.join(str(point[axis]) for point in points) + right for axis in range(2))
    return form.format(x=xs, y=ys)


_HEADS = (
    ("x", "y"), ("x", "y"), ("X", "Y"), ("x value", "y value"), ("day", "visitors"),
    ("dose", "response"), ("age", "height"), ("distance", "cost"), ("load", "bend"),
    ("Stunde", "Wert"), ("t", "v"), ("speed", "fuel"), ("size", "price"), ("km", "min"),
    ("n", "time"), ("depth", "pressure"), ("mois", "ventes"), ("hora", "gente"), ("in", "out"),
)  # fmt: skip
_CELLS = ("\t", "\t", " | ", ",", ",", ", ", ";", "   ", " : ")


def _rows(rng: Random, points: Points) -> str:
    """A table of two columns."""
    rows = [(str(x), str(y)) for x, y in points]
    head = [rng.choice(_HEADS)] if rng.random() < 0.55 else []
    if head and rng.random() < 0.3:
        lines = [f"| {x} | {y} |" for x, y in (*head, *rows)]
        return "\n".join([lines[0], "|---|---|", *lines[1:]])
    cell = rng.choice(_CELLS)
    return "\n".join(cell.join(row) for row in (*head, *rows))


def _as_json(rng: Random, points: Points) -> str:
    draw = rng.randrange(7)
    compact = rng.choice(((", ", ": "), (",", ":")))
    if draw == 0:
        rows: object = [{"x": x, "y": y} for x, y in points]
    elif draw == 1:
        rows = {"x": [x for x, _ in points], "y": [y for _, y in points]}
    elif draw == 2:
        return str(points)
    else:
        rows = [[x, y] for x, y in points]
    return json.dumps(rows, separators=compact)


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
    "{v} Hz", "{v} rpm", "{v} km/h", "{v} bar", "{v} users", "{v} ms", "{v} days", "{v} weeks",
)  # fmt: skip
_MEASURED = (
    "at {x} it is {y}", "at {x} it was {y}", "at {x} {y}", "{y} at {x}", "{x}: {y}", "{x} -> {y}",
    "after {x} {y}", "{y} after {x}", "after {x} we had {y}", "{x} gave {y}", "with {x} it is {y}",
    "{x} => {y}", "for {x} I got {y}", "{x} = {y}", "{x} makes {y}", "{x} / {y}",
    "at {x} I read {y}", "{x} means {y}", "{x}, then {y}", "it is {y} at {x}", "{x} vs {y}",
)  # fmt: skip


def _told(rng: Random) -> PointText:
    """Points told as values of something at a time or a place, mostly in units."""
    count = rng.choice((2, 3, 3, 3, 4, 4, 5))
    number = rng.choice((_small, _small, _small, _tenths, _hundredths))
    ys = _several(rng, number, count)
    measure = rng.choice(_MEASURES) if rng.random() < 0.6 else "{v}"
    forms, scale, xs = _told_along(rng, count)
    form = rng.choice(forms)
    joins = ("; ", "\n", "; ", ". ") if ", " in form else (", ", ", ", "; ", ", then ", "\n", "\n")
    said = [
        form.replace("{x}", scale.format(v=x)).replace("{y}", measure.format(v=y))
        for x, y in zip(xs, ys, strict=True)
    ]
    if rng.random() < 0.15 and form.index("{x}") < form.index("{y}"):
        said[1:] = [f"{x}: {y}" for x, y in zip(xs[1:], ys[1:], strict=True)]
    join = rng.choice(joins)
    last = rng.choice((" and ", ", and ")) if join == ", " and rng.random() < 0.7 else join
    text = join.join(said[:-1]) + last + said[-1]
    return PointText(text, [[x, y] for x, y in zip(xs, ys, strict=True)])


def _told_along(rng: Random, count: int) -> tuple[Sequence[str], str, list[Number]]:
    """Forms to tell a value in, how x is written there, and the values of x."""
    draw = rng.random()
    if draw < 0.33:
        return _DATED, "{v}", _steps(rng, rng.randint(1950, 2028), rng.choice((1, 1, 1, 5)), count)
    if draw < 0.67:
        mark = rng.choice(_MARKS)
        forms = [form.replace("{m}", mark) for form in _COUNTED]
        return forms, "{v}", _steps(rng, rng.choice((1, 1, 1, 2, 20)), rng.choice((1, 1, 2)), count)
    return _MEASURED, rng.choice(_SCALES), _across(rng, _tenths, count)
