"""Requests to draw points as a line, bars or dots, perhaps with a title."""

from collections.abc import Mapping
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data.chart_titles import title
from training.data.phrases import fill, quoted, template, written
from training.data.point_texts import point_text
from training.data.spans import copy
from training.data.task import Ask, parameter_names

_KINDS = ("line", "bar", "scatter")
_EXTRAS: Mapping[str, tuple[str, ...]] = {
    "title": (
        ", titled {v}", " with the title {v}", " called {v}", ", title {v}", " named {v}",
        " entitled {v}", ", captioned {v}", " with {v} as the title", ", heading {v}",
        " under the title {v}", ", headed {v}", ", headline {v}", ", and title it {v}",
        " (title {v})", ", and call it {v}", ", with {v} on top", ", the heading being {v}",
        " - title {v}", ", and name it {v}", ", title: {v}", ", having {v} for a headline",
        ", with heading {v}", ", title = {v}", "; title {v}", " (titled {v})", ", caption {v}",
        " with the caption {v}", ", with {v} written above", ", labelled {v} at the top",
        ", Titel {v}", ", titre {v}", ", título {v}", " mit dem Titel {v}", " avec le titre {v}",
        " con el título {v}", " - call it {v}", ", put {v} on top", ", to be called {v}",
        ". Its title is {v}", ". Put {v} above it", ". Title: {v}", ". Call it {v}",
        ". The title should be {v}", ". Name: {v}", ". It should say {v} at the top",
        ". Use {v} as title", ". Header: {v}", ". Caption: {v}", ". Put {v} on top",
        ". Write {v} over it", ". The caption is {v}", ". Title it {v}", ". Heading: {v}",
        ". I want {v} as the headline", ". It is called {v}", ". Name it {v}", ". Titel: {v}",
    ),
    "x_label": (", x axis {v}", " with x label {v}", ", x-axis labelled {v}", ". Label x as {v}",
                ", {v} on the x axis", ". The x axis is {v}", ", horizontal axis {v}"),
    "y_label": (", y axis {v}", " with y label {v}", ", y-axis labelled {v}", ". Label y as {v}",
                ", {v} on the y axis", ". The y axis is {v}", ", vertical axis {v}"),
}  # fmt: skip
_BEFORE = (
    "I am in room {n}.", "This is for slide {n}.", "My train leaves at {n} o'clock.", "Item {n}:",
    "Question {n}.", "I am {n} years old.", "We are {n} people here.", "Ticket {n}.", "Page {n}.",
    "For 3rd graders.", "I have {n} minutes left.", "Exercise {n}:", "It is for chapter {n}.",
    "I need it by {n} pm.", "Figure {n} is still missing.", "Task {n} of my homework.", "{n}.",
    "Meeting in {n} minutes!", "The budget is {n} euros.", "Version {n} of my poster.", "{n})",
)  # fmt: skip
_AFTER = (
    "I need it by {n} o'clock.", "It goes on slide {n}.", "We meet in room {n}.", "A4, please.",
    "There are {n} of us.", "I will print {n} copies.", "My deadline is in {n} hours.",
    "The years go on the x axis.", "No legend.", "x first, then y.", "The first number is x.",
    "I told {n} people about it.", "Thank you!", "It is for page {n}.", "Don't change the numbers.",
)  # fmt: skip
"""Sentences around a request with numbers that must not be drawn."""

_BELOW = ("these", "these numbers", "the points below", "the following", "this data", "my data",
          "the values below", "this", "what follows", "the figures underneath")  # fmt: skip
_ABOVE = ("these", "these numbers", "the points above", "the above", "this data", "my data",
          "the values above", "this", "that", "those figures")  # fmt: skip


def chart(rng: Random, tool: FunctionTool) -> Ask:
    """A chart of points or of a series, perhaps with a title or labels."""
    kind = rng.choice(_KINDS)
    asked = written(rng, f"draw_{kind}") if rng.random() < 0.4 else _asked(rng)
    names = parameter_names(tool)
    shown, points = point_text(rng)
    apart = "\n" in shown or rng.random() < 0.12
    extra, more = _extras(rng, names, asked, last=not apart)
    word = rng.choice(("chart", "chart", "plot", "graph", "diagram"))
    slots = {"k": _spoken_kind(rng, kind), "c": word, "d": shown, "e": extra}
    text = _apart(rng, asked, slots) if apart else fill(rng, asked, slots)
    values: dict[str, Any] = {"chart_type": kind, "data": points, **more}
    arguments = {name: values[name] for name in names if name in values}
    return Ask(_surrounded(rng, text, ended=not extra and not apart), arguments)


def _apart(rng: Random, asked: str, slots: Mapping[str, str]) -> str:
    """A request that refers to points above or below it."""
    if rng.random() < 0.25:
        text = fill(rng, asked, {**slots, "d": rng.choice(_ABOVE)})
        return f"{slots['d']}{rng.choice((chr(10), chr(10) * 2))}{text}"
    text = fill(rng, asked, {**slots, "d": rng.choice(_BELOW)})
    if text[-1].isalpha() and not slots["e"]:
        text += rng.choice((":", ":", "", "."))
    return f"{text}{rng.choice((chr(10), chr(10), chr(10) * 2))}{slots['d']}"


def _surrounded(rng: Random, text: str, *, ended: bool) -> str:
    """The text, perhaps with a sentence before it, or after it if the request ends clearly."""
    draw = rng.random()
    number = str(rng.randint(2, 40))
    if draw < 0.08 and not text.startswith(("{", "[", "x", "X", "|")):
        return f"{rng.choice(_BEFORE).replace('{n}', number)} {text}"
    if draw < 0.2 and ended and text[-1] in "?!":
        return f"{text} {rng.choice(_AFTER).replace('{n}', number)}"
    return text


def _asked(rng: Random) -> str:
    """A request with open slots for the kind and the points."""
    return template(
        rng,
        "draw_chart",
        verbs=(
            "draw a {k} {c} of {d}{e}", "make a {k} {c} from {d}{e}", "plot {d} as a {k} {c}{e}",
            "sketch a {k} {c} with the points {d}{e}", "show {d} in a {k} {c}{e}",
            "put {d} into a {k} {c}{e}", "graph {d} as {k}{e}", "build a {k} {c} for {d}{e}",
            "create a {c} ({k}) of {d}{e}", "draw {d}, type {k}{e}",
            "visualise {d} as a {k} {c}{e}", "display {d} as {k} {c}{e}",
            "render a {k} {c} with {d}{e}", "turn {d} into a {k} {c}{e}",
            "use a {k} {c} for {d}{e}", "generate the {k} {c} of {d}{e}",
        ),
        nouns=(
            "a {k} {c} of {d}{e}", "a {k} {c} showing {d}{e}", "{d} as a {k} {c}{e}",
            "a {c} of type {k} with {d}{e}", "the {k} {c} for {d}{e}",
        ),
        questions=(
            "how would {d} look as a {k} {c}{e}?", "what does a {k} {c} of {d} look like{e}?",
            "my data: {d}. I want a {k} {c}{e}.", "I measured {d}. Draw a {k} {c}{e}.",
            "here are numbers: {d}. A {k} {c} please{e}.", "these are {d}; {k} {c}{e}",
            "{w} {w} {k} {w} {d}{e}", "{w} {k} {c} {w} {w} {d}{e}", "{d} {w} {w} {k} {c}{e}",
            "{w} {w} {d}, {k} {w}{e}", "{k}s please: {d}{e}", "my {w} measured {d}. {k} {c}!{e}",
            "the {w} needs a {k} {c}{e} for {d}", "{d} would {w} {w} as a {k} {c}{e}?",
            "{k} {c}: {d}{e}", "{k} {c} for {d}{e}?", "data {d}, {k} {c}{e}", "{k}: {d}{e}",
            "could {d} be a {k} {c}{e}?", "the values are {d}. As {k} {c} please{e}.",
            "points {d}, please as a {k} {c}{e}", "our numbers {d} need a {k} {c}{e}",
            "I have {d} and want a {k} {c}{e}.", "we counted {d}. {k} {c}{e}",
        ),
        tails=False,
    )  # fmt: skip


def _spoken_kind(rng: Random, kind: str) -> str:
    return rng.choice((kind.upper(), kind.capitalize())) if rng.random() < 0.06 else kind


def _extras(
    rng: Random, names: tuple[str, ...], asked: str, *, last: bool
) -> tuple[str, dict[str, Any]]:
    """Perhaps a title and labels: in words that fit the slot of `asked`, and as arguments."""
    values: dict[str, Any] = {}
    extra = ""
    _, slot, after = asked.partition("{e}")
    if not slot:
        return extra, values
    closes = not after.strip(".?!")
    for name, forms in _EXTRAS.items():
        if name in names and rng.random() < (0.45 if name == "title" else 0.2):
            value = title(rng)
            values[name] = copy(value)
            form = rng.choice([form for form in forms if closes or form[0] != "."])
            bare = form.endswith("{v}") and closes and last
            extra += form.replace("{v}", quoted(rng, value, _quoted_share(value, bare=bare)))
    return extra, values


def _quoted_share(value: str, *, bare: bool) -> float:
    """The probability that a title is quoted, because its end must be clear."""
    if value.isalnum() or (bare and value[-1].isalnum()):
        return 0.5
    return 0.8 if value.istitle() else 1.0
