"""Names of functions come back as they were given, and every call has an id of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from harness.api.base import Tool
from harness.api.conversation import Message
from harness.checks.base import CHAT, HARMONY, Problem
from harness.checks.subjects import Call, calls
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import failure
from harness.probes.tools.offers import FUNCTION_CALLING, LANGUAGE, REPLY_TOKENS, STATUS, WEATHER
from harness.records.conditions import Api

NAMES: Mapping[str, tuple[Tool, str, str]] = {
    "hyphens": (WEATHER, "get-weather", "What is the weather in Lisbon?"),
    "digits": (STATUS, "service_status_2", "Is the service up right now?"),
    "leading digit": (STATUS, "2_service_status", "Is the service up right now?"),
    "capitals": (WEATHER, "getWeather", "What is the weather in Oslo?"),
    "mixed": (LANGUAGE, "Identify-Language_v2", 'Which language is this: "Der Zug kommt gleich"'),
    "longest": (WEATHER, "get_weather_of_a_town_or_region_or_postal_code_anywhere_on_earth",
                "What is the weather in Rome?"),
    "like a header": (STATUS, "functions_status", "Is the service up right now?"),
    "like a channel": (STATUS, "analysis", "Is the service up right now?"),
}  # fmt: skip
"""A tool, the name it is offered under, and a request that it serves."""

_LEAST_SHARED = 16
_SIGNS = re.compile(r"[\W_]+")


def _asks(_api: Api) -> tuple[Ask, ...]:
    return tuple(
        Ask(
            name,
            (Message("user", prompt),),
            (Tool(given, tool.description, tool.parameters, tool.output),),
            max_tokens=REPLY_TOKENS,
        )
        for name, (tool, given, prompt) in NAMES.items()
    )


BENCH = Bench("tools.names", _asks)


@BENCH.probe(
    "tools.names.accepted",
    uses=NAMES,
    severity="error",
    summary="Function names of letters, digits, _ and -, up to 64 long, are accepted.",
    why="This is what the API promises; names come from programs.",
    source=FUNCTION_CALLING,
)
def _accepted(answers: Answers) -> Iterator[Trial]:
    for name, (_, given, _) in NAMES.items():
        for seen in answers.all(name):
            yield failure(seen, f"a function named {given}")


@BENCH.probe(
    "tools.names.kept",
    uses=NAMES,
    severity="error",
    summary="Function names come back as they were given, hyphens and length included.",
    why="A client cannot run a tool by a name it never gave.",
    source=HARMONY,
)
def _kept(answers: Answers) -> Iterator[Trial]:
    judged = False
    for name, (_, given, _) in NAMES.items():
        for found in _calls(answers, name):
            changed = _changed(given, found.call.name)
            if changed or found.call.name == given:
                judged = True
                message = "The name of a function came back changed."
                got = found.call.name
                yield Problem(found.turn, message, given, got) if changed else None
    if not judged:
        raise NotVerifiableError("The model called none of the functions by its name.")


@BENCH.probe(
    "tools.names.ids",
    uses=NAMES,
    severity="warning",
    summary="Calls in different replies have different ids.",
    why="Within a conversation it is an error; over many, logs and caches mix calls up.",
    source=CHAT,
)
def _ids(answers: Answers) -> Iterator[Trial]:
    known: dict[str, str] = {}
    for name in NAMES:
        for found in _calls(answers, name):
            earlier = known.setdefault(found.call.id, name)
            message = "Calls in two conversations have the same id."
            same = earlier != name
            yield Problem(found.turn, message, "a new id", found.call.id) if same else None
    if not known:
        raise NotVerifiableError("The model called no function.")


def _calls(answers: Answers, name: str) -> Iterator[Call]:
    return (found for seen in answers.all(name) for found in calls(seen))


def _changed(given: str, name: str) -> bool:
    """Whether a server changed the name: other signs, a cut, or something glued to it.

    What else differs is the model's own mistake.
    """
    if name == given:
        return False
    plain_given, plain = (_SIGNS.sub("", text) for text in (given, name))
    cut = len(name) >= _LEAST_SHARED and given.startswith(name)
    return plain == plain_given or cut or given in name
