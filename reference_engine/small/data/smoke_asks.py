"""Requests for the six smoke tools and for their relatives with other names and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from reference_engine.harmony.conversation import FunctionTool
from reference_engine.small.data import words
from reference_engine.small.data.chart_asks import chart
from reference_engine.small.data.documents import document
from reference_engine.small.data.phrases import fill, quoted, settled, shown_at, template
from reference_engine.small.data.samples import utterance
from reference_engine.small.data.spans import copy
from reference_engine.small.data.table_asks import query
from reference_engine.small.data.task import Ask, Asker, parameter_names


def status(rng: Random, _tool: FunctionTool) -> Ask:
    """Is it up?"""
    thing = rng.choice(("service", "system", "server", "backend", "platform", "API", "runtime"))
    states = ("running", "healthy", "alive", "online", "working", "available")
    state = rng.choice(states if thing == "service" else (*states, "up"))
    text = template(
        rng,
        "service_status",
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
    return Ask(fill(rng, text, {"t": thing, "s": state}))


def weather(rng: Random, tool: FunctionTool) -> Ask:
    """The weather somewhere, perhaps in a unit."""
    text = template(
        rng,
        "get_weather",
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
            "are drops falling in {p}?{u}", "how cold is {p} right now{u}?",
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
    where = words.place(rng)
    arguments: dict[str, Any] = {"location": copy(where)}
    values = {"p": _spoken_place(rng, where), "u": "", "g": rng.choice(_GARMENTS)}
    if "{u}" in text and "unit" in parameter_names(tool) and rng.random() < 0.5:
        arguments["unit"] = rng.choice(("celsius", "fahrenheit"))
        values["u"] = _spoken_unit(rng, arguments["unit"])
    return Ask(fill(rng, text, values), arguments)


_UNITS = (
    " in {u}", ", in {u}", " using {u}", " ({u})", ", unit {u}", " in degrees {u}", " in {u}",
    ", {u} please", " (use {u})", " in {u} degrees", ", as {u}", " with {u}", ", units: {u}",
    " - {u}", ", {u}", " measured in {u}", " given in {u}", " and use {u}",
)  # fmt: skip
_SHOWN_UNITS = {
    "celsius": ("celsius", "Celsius", "Celsius", "°C", "C", "centigrade"),
    "fahrenheit": ("fahrenheit", "Fahrenheit", "Fahrenheit", "°F", "F"),
}


def _spoken_unit(rng: Random, unit: str) -> str:
    return rng.choice(_UNITS).replace("{u}", rng.choice(_SHOWN_UNITS[unit]))


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
    asked = template(
        rng,
        "identify_language",
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
    text = utterance(rng)
    shown = shown_at(rng, asked, "{t}", text, 0.7)
    asked, text = settled(fill(rng, asked, {"t": shown}), shown, text)
    return Ask(asked, {parameter_names(tool)[0]: copy(text)})


def markdown(rng: Random, tool: FunctionTool) -> Ask:
    """Markdown into HTML, of one line or several."""
    asked = template(
        rng,
        "markdown_to_html",
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
    after = asked.partition("{m}")[2]
    source = document(rng, one_line=after[:1] not in {"", "{"})
    last = not after.strip(".?!")
    shown, joint = source, rng.choice(("\n\n", "\n", "\n\n"))
    if "\n" not in source and (rng.random() < 0.5 or after[:1] not in {"", "{"}):
        shown, joint = shown_at(rng, asked, "{m}", source, 0.8), rng.choice((" ", " ", "\n"))
    if after.startswith("{j}") and shown == source:
        joint = "\n\n"
    text = fill(rng, asked, {"m": shown, "j": joint})
    if last:
        text = text[: text.rindex(shown) + len(shown)]
    return Ask(text, {parameter_names(tool)[0]: copy(source)})


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
