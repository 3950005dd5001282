"""Requests for the six smoke tools and for their relatives with other names and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from reference_engine.harmony.conversation import FunctionTool
from reference_engine.small.data import words
from reference_engine.small.data.phrases import listed, quoted, request, settled
from reference_engine.small.data.spans import copy
from reference_engine.small.data.task import Ask

Asker = Callable[[Random, FunctionTool], Ask]


def parameter_names(tool: FunctionTool) -> tuple[str, ...]:
    """The parameters of a tool, in order."""
    return tuple((tool.parameters or {}).get("properties", {}))


def status(rng: Random, _tool: FunctionTool) -> Ask:
    """Is it up?"""
    thing = rng.choice(("service", "system", "server", "backend", "platform", "API", "runtime"))
    states = ("running", "healthy", "alive", "online", "working", "available")
    state = rng.choice(states if thing == "service" else (*states, "up"))
    text = request(
        rng,
        {"t": thing, "s": state},
        verbs=(
            "check the {t}", "see whether the {t} is {s}", "report how the {t} fares",
            "look at how the {t} is doing", "make sure the {t} is {s}", "test if the {t} is {s}",
            "verify that the {t} is {s}", "ping the {t}",
            "confirm that the {t} is {s}", "run a health check on the {t}", "probe the {t}",
            "find out if the {t} is {s}", "inspect the {t}", "tell me if the {t} responds",
        ),
        nouns=(
            "the {t} condition these days", "a sign of life from the {t}",
            "some word on the {t} status",
            "the uptime of the {t}", "the hours that the {t} has run", "a {t} check",
            "the state of the {t}", "the health of the {t}", "a status report",
            "an update about the {t}", "the latest {t} status", "news of the {t}",
        ),
        questions=(
            "is the {t} {s}?", "is the {t} still {s}?", "is our {t} {s} at the moment?",
            "does the {t} work?", "how is the {t} doing?", "any trouble with the {t}?",
            "has the {t} gone down?", "are we {s}?", "is anything broken?", "are you still {s}?",
            "since when is the {t} {s}?",
            "{w} {w} the {t} {w}?", "{w} the {t} {w} {w} {s}?", "{w} {w} outage {w} {w}?",
            "{w} {w} uptime {w}?", "{w} {w} offline {w} {t}?", "{w} {w} {s} {w}?",
            "has the {t} {w} fallen over?", "I worry that the {t} {w} died.", "{t} ok?",
            "is anyone able to log in, or is the {t} {w}?", "was there a {t} incident {w}?",
            "is everything ok with the {t}?", "all good at the {t}?", "did the {t} crash?",
            "can people reach the {t}?", "is there an outage?", "everything fine over there?",
            "did the {t} stop?", "is it {s}?", "{t} {s}?", "{t} status?", "does the {t} respond?",
            "are there problems with the {t}?", "what state is the {t} in?", "did something fail?",
            "can the {t} be used now?", "nothing loads, is the {t} {s}?", "are our machines {s}?",
            "the {t} feels slow, is it {s}?", "will the {t} answer?", "has the {t} been {s} long?",
        ),
    )  # fmt: skip
    return Ask(text)


def weather(rng: Random, tool: FunctionTool) -> Ask:
    """The weather somewhere, perhaps in a unit."""
    where = words.place(rng)
    arguments: dict[str, Any] = {"location": copy(where)}
    unit = ""
    if "unit" in parameter_names(tool) and rng.random() < 0.4:
        name = rng.choice(("celsius", "fahrenheit"))
        arguments["unit"] = name
        shown = rng.choice(
            (name, name.capitalize(), name.capitalize(), "°C" if name[0] == "c" else "°F")
        )
        unit = rng.choice(
            (" in {u}", ", in {u}", " using {u}", " ({u})", ", unit {u}", " in degrees {u}")
        )
        unit = unit.replace("{u}", shown)
    text = request(
        rng,
        {"p": _spoken_place(rng, where), "u": unit, "g": rng.choice(_GARMENTS)},
        verbs=(
            "check the weather at {p}{u}", "look up the weather for {p}{u}",
            "tell me how warm it is in {p}{u}", "find the temperature in {p}{u}",
            "see what it is like outside in {p}{u}", "get the conditions around {p}{u}",
            "measure how hot {p} is{u}", "describe the sky over {p}{u}",
            "tell whether it rains in {p}{u}", "say if it is cold in {p}{u}",
        ),
        nouns=(
            "the weather in {p}{u}", "the temperature at {p}{u}", "current conditions for {p}{u}",
            "{p} weather{u}", "a weather report for {p}{u}", "the forecast for {p} now{u}",
            "the degrees in {p}{u}", "weather details of {p}{u}", "today's temperature for {p}{u}",
            "a meteorological report on {p}{u}", "weather news from {p}{u}",
            "the sky above {p}{u}",
        ),
        questions=(
            "is it raining in {p}?{u}", "how cold is {p} right now{u}?",
            "how warm does {p} feel{u}?",
            "do I need an umbrella in {p}{u}?", "is {p} sunny today{u}?",
            "what is it like in {p}{u}?",
            "what's the temperature in {p}{u}?", "will I freeze in {p}{u}?", "how hot is {p}{u}?",
            "I am travelling to {p}, how is the weather there{u}?", "weather at {p}{u}?",
            "we land in {p} tonight. What is the weather{u}?", "in {p}, is it warm{u}?",
            "{w} {w} rain {w} in {p}{u}?", "{w} degrees {w} {w} at {p}{u}", "{w} sky {w} {p}{u}?",
            "in {p} {w} {w} sunny {w}{u}?", "{w} weather {w} {w} for {p}{u}",
            "{w} cold {w} {p}{u}?",
            "{w} {w} {w} outdoors in {p}{u}?", "{w} snow {w} {w} near {p}{u}?",
            "my flight goes to {p}, {w} {w} warm clothes{u}?", "{p} {w} {w} temperature {w}{u}",
            "will the {w} in {p} get wet{u}?", "what clothes for {p} this week{u}?",
            "should I take a jacket to {p}{u}?", "will it snow in {p}?{u}",
            "is it windy in {p}{u}?",
            "does {p} get rain today{u}?", "are the skies clear over {p}{u}?",
            "{p} outside now{u}?",
            "how humid is {p}{u}?", "what should I wear in {p}{u}?", "sun or clouds in {p}{u}?",
            "is it freezing in {p}{u}?", "how many degrees has {p}{u}?", "{p}: hot or cold{u}?",
            "can we eat outside in {p}{u}?", "is there a storm near {p}{u}?", "{p} temperature{u}?",
            "could it rain on our trip to {p}{u}?", "I am in {p} later, boots or sandals{u}?",
            "do I need {g} in {p}{u}?", "shall I pack {g} for {p}{u}?", "is it {g} time in {p}{u}?",
            "would you wear {g} in {p}{u}?", "will {g} do for {p} tomorrow{u}?",
            "are people in {p} wearing {g}{u}?", "do we need {g} around {p} now{u}?",
        ),
    )  # fmt: skip
    return Ask(text, arguments)


_GARMENTS = (
    "an umbrella", "a hat", "a scarf", "gloves", "boots", "sunglasses", "sun cream", "a sweater",
    "a warm pullover", "shorts", "sandals", "a cap", "thick socks", "a swimsuit", "a parasol",
)  # fmt: skip


def _spoken_place(rng: Random, where: str) -> str:
    """A place as people say it: numbers are often said to be codes."""
    if where.isdigit() and rng.random() < 0.6:
        kind = rng.choice(("ZIP", "zip code", "postcode", "the postal area", "area", "code"))
        return f"{kind} {where}"
    return quoted(rng, where, 0.12)


def language(rng: Random, tool: FunctionTool) -> Ask:
    """Which language is this?"""
    text = rng.choice(
        (words.foreign_sentence, words.foreign_sentence, words.sentence, words.foreign)
    )(rng)
    shown = quoted(rng, text, 0.7)
    asked = request(
        rng,
        {"t": shown},
        verbs=(
            "name the language of {t}", "tell which language this is: {t}",
            "work out what language {t} is in", "say in which tongue this was written: {t}",
            "recognise the language of this text: {t}", "guess the language here: {t}",
            "identify what language {t} is", "detect the language used in {t}",
            "find out which language {t} belongs to", "determine the language: {t}",
        ),
        nouns=("the language of {t}", "the language this is written in: {t}",
               "the tongue of the following line: {t}", "the name of the language in {t}",
               "a language check of {t}", "language of: {t}", "the language behind {t}"),
        questions=(
            "which language is {t}?", "in what language is {t} written?",
            "somebody wrote {t} to me, which language is it?", "{t}: which language?",
            "what tongue is that: {t}", "I got a note saying {t}. What language is it?",
            "{t} - what language might this be?", "which language would you say this is: {t}",
            "a sign says {t}. In which language?", "is this Dutch or something else? {t}",
            "{w} {w} language {w}: {t}", "{w} language {w} {w} this: {t}", "{w} lang {w}: {t}",
            "{w} {w} speak {w}: {t}", "which of all languages {w} {w}: {t}",
            "{t} {w} language {w}?",
            "the {w} at the {w} said {t}, what do they speak there?", "Danish or Finnish? {t}",
            "what language was {t} said in?", "my friend said {t}. which language was that?",
            "is {t} Polish or Turkish?", "{t} is in which language?", "lang of {t}?",
            "can you tell the language from {t}?", "do you recognise {t}? which language?",
            "I heard {t}, what do they speak?", "I read {t} on a poster. language?",
            "what are they speaking here: {t}", "{t} stands on a box, but in what language?",
            "my phone shows {t}, tell me its language", "language? {t}", "detect this: {t}",
        ),
        tails=False,
    )  # fmt: skip
    asked, text = settled(asked, shown, text)
    return Ask(asked, {parameter_names(tool)[0]: copy(text)})


def _markdown_line(rng: Random) -> str:
    one, two = words.words(rng, 1, 3), words.words(rng, 1, 3)
    return rng.choice(
        (
            f"# {one.capitalize()}", f"## {one.capitalize()}", f"### {one}", f"- {one}", f"* {one}",
            f"1. {one}", f"2. {two}", f"> {one}", f"**{one}**", f"*{one}* {two}", f"`{one}`",
            f"{one} **{two}**", f"[{one}](https://{words.word(rng)}.com)", f"_{one}_ and {two}",
            f'He said "{one}" {two}.', f"{one.capitalize()} {two}.", f"~~{one}~~", "---",
            f"| {one} | {two} |", f"- [ ] {one}", f"![{one}]({words.word(rng)}.png)",
        )
    )  # fmt: skip


def markdown(rng: Random, tool: FunctionTool) -> Ask:
    """Markdown into HTML, of one line or several."""
    lines = [_markdown_line(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4)))]
    if rng.random() < 0.08:
        lines = ["```", f"{words.word(rng)} = {words.number_text(rng)}", "```"]
    source = rng.choice(("\n", "\n\n")).join(lines)
    if len(lines) == 1 and rng.random() < 0.6 and "`" not in source:
        shown = quoted(rng, source, 0.8)
        joint = " "
    else:
        shown, joint = source, rng.choice(("\n\n", "\n", "\n\n"))
    asked = request(
        rng,
        {"m": shown, "j": joint},
        verbs=(
            "make HTML of this:{j}{m}", "convert the Markdown below:{j}{m}",
            "turn this Markdown into HTML:{j}{m}", "translate this Markdown to HTML:{j}{m}",
            "produce web markup from this Markdown:{j}{m}", "rewrite as HTML:{j}{m}",
            "use HTML for this Markdown:{j}{m}", "transform this to HTML code:{j}{m}",
            "render the following Markdown:{j}{m}", "export my Markdown to HTML:{j}{m}",
            "change this from Markdown to HTML:{j}{m}", "format this text for a web page:{j}{m}",
            "generate HTML out of it:{j}{m}", "run the converter over my Markdown:{j}{m}",
        ),
        nouns=("the HTML for this Markdown:{j}{m}", "an HTML version of:{j}{m}",
               "HTML from:{j}{m}", "this Markdown as HTML:{j}{m}", "web page code for:{j}{m}",
               "the markup version of this:{j}{m}", "HTML code of the Markdown:{j}{m}"),
        questions=(
            "how does this Markdown look as HTML?{j}{m}", "what HTML does this give?{j}{m}",
            "what is the HTML of{j}{m}", "HTML of this, from Markdown:{j}{m}",
            "here is some Markdown, I need HTML:{j}{m}", "my notes in Markdown, as HTML:{j}{m}",
            "{w} {w} Markdown {w} HTML:{j}{m}", "{w} HTML {w} {w}:{j}{m}", "{w} html {w}:{j}{m}",
            "my {w} begins like this, {w} for a browser:{j}{m}", "{w} {w} web page {w}:{j}{m}",
            "the {w} wants this as HTML:{j}{m}",
            "what would this be in HTML?{j}{m}", "can this Markdown become HTML?{j}{m}",
            "this has to be HTML soon:{j}{m}", "for my website, HTML of this:{j}{m}",
            "a Markdown file begins so, convert it:{j}{m}", "Markdown to HTML:{j}{m}",
            "md -> html:{j}{m}", "the browser wants HTML, I have:{j}{m}",
        ),
        tails=False,
    )  # fmt: skip
    return Ask(_unpunctuated(asked, shown), {parameter_names(tool)[0]: copy(source)})


def _unpunctuated(asked: str, value: str) -> str:
    """Cut what a request form put behind a value that stands at the end."""
    return asked[: asked.rindex(value) + len(value)]


def _point_list(rng: Random) -> tuple[str, list[list[float]]]:
    number = rng.choice(
        (_small_number, _small_number, _small_number, _small_number, _decimal, _signed)
    )
    if rng.random() < 0.35:
        values = [number(rng) for _ in range(rng.randint(2, 6))]
        shown = listed(rng, [str(v) for v in values])
        return shown, [[at + 1, v] for at, v in enumerate(values)]
    points = [[number(rng), number(rng)] for _ in range(rng.randint(2, 5))]
    comma = rng.choice((",", ", "))
    left, right = rng.choice(("()", "()", "[]"))
    pairs = [f"{left}{x}{comma}{y}{right}" for x, y in points]
    if left == "[":
        return "[" + rng.choice((", ", ",")).join(pairs) + "]", points
    return rng.choice((listed(rng, pairs), comma.join(pairs), " ".join(pairs))), points


def _small_number(rng: Random) -> float:
    return rng.randint(0, rng.choice((9, 20, 100, 500)))


def _signed(rng: Random) -> float:
    return rng.randint(-20, 20)


def _decimal(rng: Random) -> float:
    return rng.randint(0, 99) / 10 if rng.random() < 0.7 else rng.randint(-9, 20)


_EXTRAS: Mapping[str, tuple[str, ...]] = {
    "title": (", titled {v}", " with the title {v}", " called {v}", ", title {v}", " named {v}",
              ". Its title is {v}", ". Put {v} above it", ", headed {v}"),
    "x_label": (", x axis {v}", " with x label {v}", ", x-axis labelled {v}", ". Label x as {v}"),
    "y_label": (", y axis {v}", " with y label {v}", ", y-axis labelled {v}", ". Label y as {v}"),
}  # fmt: skip


def chart(rng: Random, tool: FunctionTool) -> Ask:
    """A chart of points or of a series, perhaps with a title or labels."""
    shown, points = _point_list(rng)
    kind = rng.choice(("line", "bar", "scatter"))
    names = parameter_names(tool)
    values: dict[str, Any] = {"chart_type": kind, "data": points}
    extra = ""
    for name in _EXTRAS:
        if name in names and rng.random() < (0.4 if name == "title" else 0.2):
            value = rng.choice(
                (words.capital, words.word, lambda r: words.words(r, 2, 3).capitalize())
            )(rng)
            values[name] = copy(value)
            extra += rng.choice(_EXTRAS[name]).replace("{v}", quoted(rng, value, 0.6))
    word = rng.choice(("chart", "chart", "plot", "graph", "diagram"))
    asked = request(
        rng,
        {"k": kind, "c": word, "d": shown, "e": extra},
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
    return Ask(asked, {name: values[name] for name in names if name in values})


def _condition(rng: Random) -> tuple[str, str]:
    """A condition as shown and as it must be written."""
    column = words.identifier(rng)
    if rng.random() < 0.4:
        sign = rng.choice((">", "<", "=", ">=", "<=", "!="))
        text = f"{column} {sign} {words.number_text(rng)}"
        return text, copy(text)
    if rng.random() < 0.25:
        said, sign = rng.choice(_COMPARISONS)
        number = words.number_text(rng)
        return f"{column} {said} {number}", f"{copy(column)} {sign} {copy(number)}"
    value = rng.choice((words.word, words.capital, words.nonce))(rng)
    if rng.random() < 0.6:
        text = f"{column} = '{value}'"
        return text, copy(text)
    return f"{column} is '{value}'", f"{copy(column)} = '{copy(value)}'"


_COMPARISONS = (
    ("is above", ">"), ("is over", ">"), ("is greater than", ">"), ("is more than", ">"),
    ("is below", "<"), ("is under", "<"), ("is less than", "<"), ("equals", "="), ("is", "="),
)  # fmt: skip
_TABLES = ("order", "orders", "limit", "columns", "filter", "table", "rows", "data", "users")


def query(rng: Random, tool: FunctionTool) -> Ask:
    """Columns of a table, perhaps with a condition, an order or a limit."""
    columns = [words.identifier(rng) for _ in range(rng.choice((1, 2, 2, 2, 3, 3, 4)))]
    table = rng.choice(_TABLES) if rng.random() < 0.1 else words.identifier(rng)
    names = parameter_names(tool)
    values: dict[str, Any] = {"table": copy(table), "columns": [copy(c) for c in columns]}
    extra = ""
    if rng.random() < 0.3:
        shown, written = _condition(rng)
        values["filters" if "filters" in names else "filter"] = written
        extra += rng.choice(
            (" where {v}", ", only where {v}", " with {v}", ", condition {v}", " if {v}",
             " filtered by {v}", ", filter {v}", " for which {v}", ", under the condition {v}")
        ).replace("{v}", quoted(rng, shown, 0.2))  # fmt: skip
    if rng.random() < 0.3:
        column = rng.choice((*columns, words.identifier(rng)))
        values["order_by"] = copy(column)
        extra += rng.choice(
            (
                " sorted by {v}",
                ", ordered by {v}",
                " order by {v}",
                ", sort by {v}",
                " in order of {v}",
                ", arranged by {v}",
                ", sorting by {v}",
            )
        ).replace("{v}", column)
    if rng.random() < 0.35:
        limit = rng.choice((rng.randint(1, 20), rng.randint(1, 100), rng.randint(1, 1000)))
        values["limit"] = limit
        extra += rng.choice(
            (
                ", at most {v} rows",
                " limit {v}",
                ", limit {v}",
                ", first {v} rows",
                ", no more than {v}",
                ", just {v} of them",
                ", max {v}",
                ". Only {v} rows",
                ", {v} rows",
                ", top {v}",
                ", maximum {v}",
                ", up to {v} rows",
                " ({v} rows)",
            )
        ).replace("{v}", str(limit))
    shown_table = quoted(rng, table, 0.2)
    asked = request(
        rng,
        {"c": listed(rng, columns), "t": shown_table, "e": extra},
        verbs=(
            "read {c} from {t}{e}", "select {c} from the table {t}{e}",
            "list {c} of the {t} table{e}",
            "get {c} out of {t}{e}", "look up {c} in {t}{e}", "query {t} for {c}{e}",
            "pull {c} from the {t} table{e}", "load the columns {c} of {t}{e}",
            "show {c} from the {t} table{e}", "fetch {c} of {t}{e}",
            "extract {c} from table {t}{e}", "give me {c} in {t}{e}", "take {c} from {t}{e}",
            "return {c} from table {t}{e}", "search the table {t} for {c}{e}",
            "run a query on {t} for {c}{e}", "open the table {t} and print {c}{e}",
        ),
        nouns=(
            "{c} from {t}{e}", "the {c} columns of {t}{e}", "{c} of table {t}{e}",
            "rows of {t} with {c}{e}", "the columns {c} in the {t} table{e}",
            "columns {c} out of table {t}{e}", "all {c} in {t}{e}", "data from {t}: {c}{e}",
            "the values of {c} from {t}{e}", "a query of {t} with {c}{e}", "the {t} table's {c}{e}",
        ),
        questions=(
            "what {c} are in {t}{e}?", "which {c} does {t} have{e}?",
            "in the table {t}, what are {c}{e}?", "from {t} I want {c}{e}.",
            "table {t}, columns {c}{e}", "SELECT {c} FROM {t}{e}",
            "{w} {w} table {t} {w} columns {c}{e}", "{w} {w} columns {c} {w} table {t}{e}",
            "{w} {w} rows of {t}: {c}{e}", "{w} the {t} table: {w} {w} {c}{e}",
            "for the {w}: {c} from {t}{e}", "who {w} here? {c} out of {t}{e}",
            "the {w} wants {c} (table {t}){e}", "table {t}; columns {c}{e}",
            "in {t}, what {c} are stored{e}?", "{t}: {c}{e}", "could I see {c} of {t}{e}?",
            "from the database table {t}, {c}{e}", "database question: {c} in {t}{e}",
            "which {c} are listed in {t}{e}?", "table {t}. Columns: {c}{e}",
            "the table is {t}, the columns are {c}{e}", "with the table {t}: give {c}{e}",
            "table {t}, column names {c}{e}", "my database has {t}. I want its {c}{e}",
        ),
        tails=False,
    )  # fmt: skip
    return Ask(asked, {name: values[name] for name in names if name in values})


ASKERS: Mapping[str, Asker] = {
    "service_status": status,
    "get_system_health": status,
    "get_weather": weather,
    "identify_language": language,
    "detect_language": language,
    "markdown_to_html": markdown,
    "draw_chart": chart,
    "generate_chart": chart,
    "query_table": query,
    "query_database": query,
}
