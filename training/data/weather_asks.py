"""Requests for the weather at a place, with places and units in many wordings."""

from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data import natural, places
from training.data.phrases import fill, template
from training.data.spans import copy
from training.data.task import Ask, parameter_names

_TEMPLATE_SHARE = 0.5
_TERSE_SHARE = 0.15
_UNIT_SHARE = 0.4


def weather(rng: Random, tool: FunctionTool) -> Ask:
    """A request for the weather at a place, perhaps with a unit."""
    unit = rng.choice(tuple(_SHOWN_UNITS)) if rng.random() < _UNIT_SHARE else ""
    known = "unit" in parameter_names(tool)
    if not known and rng.random() < 0.85:
        unit = ""
    draw = rng.random()
    if draw < _TEMPLATE_SHARE:
        text = _template(rng)
        unit = unit if "{u}" in text else ""
        text = text.replace("{u}", _spoken_unit(rng, _UNITS, unit))
    elif draw < _TEMPLATE_SHARE + _TERSE_SHARE:
        text = _terse(rng, unit)
    else:
        text = _told(rng, unit)
    shown, where = places.spoken(rng)
    arguments: dict[str, Any] = {"location": copy(where)}
    if unit and known:
        arguments["unit"] = unit
    return Ask(fill(rng, text, {"p": shown, "g": rng.choice(_GARMENTS)}), arguments)


_UNITS = (
    " in {u}", ", in {u}", " using {u}", " ({u})", ", unit {u}", " in degrees {u}", " in {u}",
    ", {u} please", " (use {u})", " in {u} degrees", ", as {u}", " with {u}", ", units: {u}",
    " - {u}", ", {u}", " measured in {u}", " given in {u}", " and use {u}", ", but in {u}",
    " (in {u}, please)", " expressed in {u}", ", {u} only", " in {u}, not anything else",
)  # fmt: skip
_UNIT_FIRST = (
    "in {u}, ", "{u} please: ", "({u}) ", "using {u}, ", "unit {u}: ", "in {u}: ", "{u}! ",
    "with {u} as the unit, ", "in degrees {u}, ",
)  # fmt: skip
_UNIT_SAID = (
    "I only understand {u}.", "Please answer in {u}.", "We use {u} at home.", "Only {u}, please.",
    "{u} is what my {N} shows.", "I think in {u}.", "{M} wants {u}.", "The unit should be {u}.",
    "My thermometer is marked in {u}, so please stick to that.", "Any number in {u} will do.",
    "In my country everything is in {u}.", "I never learned anything but {u}.", "Use {u}.",
    "It must be in {u} for the {N}.", "{u}, if you don't mind.", "Give it in {u}.", "unit: {u}",
    "At school we had {u}, and that is what I still know.", "I'd like the answer in {u}.",
    "{M} taught me {u}, so that's what I want.", "The {N} takes {u}.", "And in {u}, thanks.",
    "All our {S} are set to {u}.", "Make it {u}.", "Values in {u} are best for {M}.",
)  # fmt: skip
_SHOWN_UNITS = {
    "celsius": ("celsius", "Celsius", "Celsius", "Celsius", "°C", "C", "centigrade"),
    "fahrenheit": ("fahrenheit", "Fahrenheit", "Fahrenheit", "Fahrenheit", "°F", "F"),
}


def _spoken_unit(rng: Random, forms: tuple[str, ...], unit: str) -> str:
    return rng.choice(forms).replace("{u}", rng.choice(_SHOWN_UNITS[unit])) if unit else ""


_TERSE = (
    "weather {p}", "{p} weather", "temp {p}", "{p} temp", "temperature {p}", "{p} temperature",
    "rain {p}", "forecast {p}", "{p} forecast", "wx {p}", "weather @ {p}", "weather: {p}",
    "weather for {p}", "weather in {p}", "weather - {p}", "meteo {p}", "snow {p}", "{p}: weather",
    "conditions {p}", "{p} conditions", "outside {p}", "how cold {p}", "how hot {p}", "sun {p}",
    "wind {p}", "check {p} weather", "get weather {p}", "show weather {p}", "Wetter {p}",
    "météo {p}", "clima {p}", "tempo {p}", "weer {p}", "väder {p}", "pogoda {p}", "погода {p}",
    "{p} 天気", "hava durumu {p}", "{p} sää", "vejr {p}", "počasí {p}", "wthr {p}", "degrees {p}",
)  # fmt: skip
_TERSE_ENDS = (
    "", "", "", "", "", "?", "?", " now", " now?", " pls", " plz", " please", " right now", " rn",
    " today", " today?", " thx", ".", "!", "??", " asap", " currently", " at the moment", " quick",
)  # fmt: skip
_TERSE_UNITS = (" {u}", " in {u}", ", {u}", " ({u})", " [{u}]", " / {u}", " - {u}", " unit={u}")


def _terse(rng: Random, unit: str) -> str:
    """A request in a few words, as for a search engine."""
    core = rng.choice(_TERSE)
    core = rng.choice((core, core, core, core.upper().replace("{P}", "{p}"), core.capitalize()))
    said = _spoken_unit(rng, _TERSE_UNITS, unit)
    ends = [rng.choice(_TERSE_ENDS), said]
    return core + "".join(ends if rng.random() < 0.3 and ends[0] not in {".", "!"} else ends[::-1])


_ASKED = (
    "what weather have they got in {p}{u}?", "just how warm is {p}{u}?", "has {p} got rain?",
    "tell me the temperature of {p}{u}.", "{p}'s weather, please{u}.",
    "what is {p}'s temperature{u}?",
    "in {p}, what's the sky doing?", "for {p}, give me the current weather{u}.", "is {p} cold{u}?",
    "at {p}, are there clouds?", "how is {p} today, weather-wise{u}?", "what's {p} like{u}?",
    "does {p} have sunshine, or is it grey?", "how many degrees are there in {p}{u}?",
    "check {p} for me, I mean its weather{u}.", "do they need {g} in {p} {T}?",
    "in {p}, {g} or not?",
    "would {M} need {g} in {p}?", "is {p} warm enough for {g}{u}?",
    "I want to know how {p} feels{u}.",
    "let me know the temperature outside in {p}, {M} asked for it{u}.",
    "get {p} weather for {M}{u}.",
    "how does it look in {p}, rain or shine?", "could {M} {V} a {N} outdoors in {p} today?",
    "{p}, is it {A} and wet out there?", "what would a thermometer in {p} show{u}?",
)  # fmt: skip
_WHERE = (
    "I'm flying to {p} {T}.", "{M} lives in {p}, whose winters are long.", "we own a {N} in {p}.",
    "we have a {N} near {p}, whose roof leaks.", "{M} is in {p} with two {S} and no coat.",
    "my {N} stands outdoors in {p}.", "{p} is where {M} and I will {V} the {N}.", "I am in {p}.",
    "our office in {p}, which has no window, is {A}.", "{M} is on the way to {p}, by bike.",
    "at {p}, {M} wants to {V} the {N}.", "there's a {N} in {p} {T}.", "we're off to {p}, yay!",
    "tonight {M} sings in {p}, outdoors.", "{p}, where I was born, has a {A} {N}.",
    "I live in {p}.",
    "the {N} leaves for {p} {T}.", "my parcel, {D} {S}, waits in {p} without a roof over it.",
    "{M}'s wedding is in {p}, in a {N}.", "going to {p} soon, with {M}.", "location: {p}.", "{p}.",
    "the {S} in {p} must not get wet.", "place: {p}.", "they close the {N} in {p} when it's {A}.",
    "{M} moved to {p}, and I worry.", "I left my {N} on a balcony in {p}.", "in {p} right now.",
    "the school in {p}, the one with the {A} {N}, has a trip {T}.", "{M} called me from {p}.",
    "suppose I was in {p}.", "we are camping by {p}.", "from {p} they sent me a {A} {N}.",
)  # fmt: skip
_THERE = (
    "What's the weather there{u}?", "How warm is it there{u}?", "Is it raining?",
    "Will I need {g}?",
    "What's it like outside{u}?", "How cold is it{u}?", "Tell me the temperature{u}.", "Weather?",
    "Is it dry over there?", "{g}, yes or no?", "Is the sky clear?", "Current weather, please{u}.",
    "What does the thermometer say{u}?", "How's the weather{u}?", "Look up the weather{u}.",
    "Do we need {g}?", "Should {M} take {g}?", "Any rain at the moment?",
    "Is it too hot for {g}{u}?",
    "Does the sun shine?", "What temperature is it{u}?", "Is there snow?", "How's it out there{u}?",
    "So I want today's weather{u}.", "Degrees{u}?", "Can {M} go without {g}?", "temp{u}?",
)  # fmt: skip


def _told(rng: Random, unit: str) -> str:
    """A question, or a statement about a place and then a question; the unit may be anywhere."""
    if rng.random() < 0.45:
        parts = [rng.choice(_ASKED)]
    else:
        parts = [rng.choice(_WHERE), rng.choice(_THERE)]
    draw = rng.random()
    if unit and ("{u}" not in parts[-1] or draw < 0.55):
        said = _spoken_unit(rng, _UNIT_SAID, unit)
        parts.insert(rng.randint(0, len(parts)), said)
        unit = ""
    elif unit and draw < 0.65:
        parts[-1] = _spoken_unit(rng, _UNIT_FIRST, unit) + parts[-1]
        unit = ""
    parts = [part.replace("{u}", _spoken_unit(rng, _UNITS, unit)) for part in parts]
    if rng.random() < 0.12:
        parts.insert(rng.choice((0, len(parts))), natural.without_place(rng))
    parts = [natural.filled(rng, part) for part in parts]
    text = " ".join(parts if rng.random() < 0.2 else map(natural.capitalised, parts))
    draw = rng.random()
    if draw < 0.1:
        return text.lower()
    return text.rstrip(".?!") if draw < 0.25 else text


_GARMENTS = (
    "an umbrella", "a hat", "a scarf", "gloves", "boots", "sunglasses", "sun cream", "a sweater",
    "a warm pullover", "shorts", "sandals", "a cap", "thick socks", "a swimsuit", "a parasol",
)  # fmt: skip


def _template(rng: Random) -> str:
    """A handwritten request, or a request form around a phrase."""
    return template(
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
