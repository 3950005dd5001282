"""Requests for the six smoke tools and for their relatives with other names and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from reference_engine.harmony.conversation import FunctionTool
from reference_engine.small.data.chart_asks import chart
from reference_engine.small.data.markdown_asks import markdown
from reference_engine.small.data.phrases import fill, settled, shown_at, template
from reference_engine.small.data.samples import utterance
from reference_engine.small.data.spans import copy
from reference_engine.small.data.table_asks import query
from reference_engine.small.data.task import Ask, Asker, parameter_names
from reference_engine.small.data.weather_asks import weather


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
