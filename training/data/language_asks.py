"""Requests to identify the language of a text, which may be anywhere in the request."""

from random import Random

from harmony.conversation import FunctionTool
from training.data import natural
from training.data.phrases import fill, settled, shown_at, template
from training.data.samples import utterance
from training.data.showing import FENCES, QUOTES, between
from training.data.spans import copy
from training.data.task import Ask, parameter_names

_TEMPLATE_SHARE = 0.6


def language(rng: Random, tool: FunctionTool) -> Ask:
    """A request to identify the language of a text."""
    text = utterance(rng)
    if rng.random() < _TEMPLATE_SHARE:
        asked = _template(rng)
        shown = shown_at(rng, asked, "{t}", text, 0.7)
        asked, text = settled(fill(rng, asked, {"t": shown}), shown, text)
    else:
        asked, text = _framed(rng, text)
    return Ask(asked, {parameter_names(tool)[0]: copy(text)})


def _framed(rng: Random, text: str) -> tuple[str, str]:
    """A text within a request or on separate lines, and the text alone."""
    before, after = "", ""
    draw = rng.random()
    if draw < 0.45:
        frame = rng.choice(_INSIDE)
        if rng.random() < 0.5 or not frame.endswith("?"):
            frame = f"{frame} {rng.choice(_WISHES)}"
        if rng.random() < 0.15:
            frame = f"{rng.choice(_REMARKS)} {frame}"
        asked = natural.capitalised(natural.filled(rng, frame))
        return fill(rng, asked, {"t": between(rng, text, QUOTES)}), text
    if rng.random() < 0.08:
        text = f"{text}\n{utterance(rng)}"
    if draw < 0.8:
        before = rng.choice((*_HEADS, *_WISHES))
        if rng.random() < 0.25:
            before = f"{rng.choice(_REMARKS)} {before}"
        before += rng.choice(("\n", "\n\n", "\n\n"))
    if draw >= 0.7:
        after = rng.choice(("\n", "\n\n")) + rng.choice(_WISHES)
    said = natural.capitalised(natural.filled(rng, before))
    shown = text if rng.random() < 0.55 else between(rng, text, (*FENCES, *QUOTES))
    return said + shown + natural.filled(rng, after), text


_INSIDE = (
    "{M} said {t} to me {T}.", "I found {t} on a {N}.", "the {N} in {P} has {t} on it.",
    "so {t} is what?",
    "what would you say {t} is?", "{t} was written on my {N}.", "{M} keeps saying {t}.",
    "I read {t}.",
    "my {A} {N} says {t}, nothing more.", "they sell {S} with the words {t}.",
    "is {t} from Europe?",
    "{t}, wrote {M}, and then nothing.", "in {P} they shouted {t} at me.",
    "is {t} Turkish or Finnish?",
    "does anybody in {P} speak like {t}?", "the letter starts with {t} and ends there.",
    "take {t}.",
    "the {N} by the {N} reads {t}.", "a card with {t} came {T}.", "{t} is on page {D} of my book.",
    "what do you call the language of {t}, {M} asks?", "{M}'s tattoo is {t}.", "it says {t} here.",
    "I have to file {t} under some language.", "the subtitle was {t} in the film {T}.", "{t} -",
    "{t}:",
    "my {N} answered {t} when I pressed it.", "if {M} says {t}, where does {M} come from?", "{t} |",
    "someone called {M} and said {t} twice.", "line {D} of the log is {t}.",
    "label for {t}, please.",
)  # fmt: skip
_WISHES = (
    "Which language?", "What language is it?", "Tell me the language.", "Language, please.",
    "lang?",
    "Name the language for {M}.", "I'd like to know the language.",
    "In what language was that said?",
    "What tongue is that?", "Find out which language that is.", "Could you identify the language?",
    "Please detect it.", "No translation, only the language.", "Do you know the language?",
    "language??",
    "{M} and I can't tell what language it is.", "Which language do they speak, then?",
    "detect lang",
    "I need to know which dictionary to {V}.", "Welche Sprache ist das?", "C'est quelle langue ?",
    "¿Qué idioma es?", "Che lingua è?", "Que língua é esta?", "Welke taal is dit?",
    "Jaki to język?",
    "Vilket språk är det?", "Какой это язык?", "これは何語ですか。", "这是什么语言？",
    "Hangi dil bu?",
    "Guess the language.", "Any idea which language?", "what lang is dis",
    "The language is all I want.",
)  # fmt: skip
_HEADS = (
    "this came {T}:", "what language does {M} write here?", "language of the text below:",
    "identify:",
    "look at this line, which language is it in?", "the language of these words, please:", "text:",
    "tell me which language follows.", "{M} sent me this and I don't know the language:",
    "lang id:",
    "I copied it from a {N}. What language?", "detect the language",
    "here, name the language of it:",
    "the {N} talks to me in some language:", "unknown language ahead:", "Input for language check:",
)  # fmt: skip
_REMARKS = (
    "I work in a {N} shop.", "We have guests from {P}.", "{M} thinks it's Danish.",
    "I speak only English.",
    "It's about {S}, I believe.", "This is for {M}.", "My {N} can't read it.",
    "Sorry to ask again.",
    "{M} bet {D} euros on it.", "I study {S}, not languages.", "Good evening.",
    "Hi, a riddle for you.",
)  # fmt: skip


def _template(rng: Random) -> str:
    """A handwritten request, or a request form around a phrase."""
    return template(
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
