"""Points as text: pairs, two lists, tables, JSON or sentences."""

import json
from collections.abc import Sequence
from random import Random

from training.data import words
from training.data.phrases import listed
from training.data.point_numbers import NUMBERS, Number, PointText, across, several
from training.data.told_points import told

Points = list[tuple[Number, Number]]


def point_text(rng: Random) -> PointText:
    """Two to eight points in one of the formats."""
    if rng.random() < 0.13:
        return _series(rng)
    if rng.random() < 0.36:
        return told(rng)
    number = rng.choice(NUMBERS)
    count = rng.choice((2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8))
    points = list(zip(across(rng, number, count), several(rng, number, count), strict=True))
    writer = rng.choice((_pairs, _pairs, _pairs, _pairs, _two_lists, _rows, _rows, _as_json))
    return PointText(writer(rng, points), [[x, y] for x, y in points])


def _series(rng: Random) -> PointText:
    """Values without x, which is 1, 2, 3 and so on."""
    number = rng.choice(NUMBERS)
    values = several(rng, number, rng.choice((3, 3, 4, 5, 5, 7)))
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
"""Formats of a pair, and the possible separators between two pairs in this format."""


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
_MARKDOWN_TABLES = (
    ("| {x} | {y} |", "|---|---|"), ("| {x} | {y} |", "| --- | --- |"), ("{x} | {y}", "--|--"),
    ("|{x}|{y}|", "|-|-|"), ("| {x} | {y} |", "|:--|--:|"), ("{x} | {y}", "--- | ---"),
)  # fmt: skip
_CELLS = ("\t", "\t", " | ", ",", ",", ", ", ";", "   ", " : ")


def _head(rng: Random) -> tuple[str, str]:
    return rng.choice(_HEADS) if rng.random() < 0.4 else (words.word(rng), words.word(rng))


def _rows(rng: Random, points: Points) -> str:
    """A table of two columns."""
    rows = [(str(x), str(y)) for x, y in points]
    head = [_head(rng)] if rng.random() < 0.7 else []
    if head and rng.random() < 0.35:
        form, rule = rng.choice(_MARKDOWN_TABLES)
        lines = [form.format(x=x, y=y) for x, y in (*head, *rows)]
        return "\n".join([lines[0], rule, *lines[1:]])
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
