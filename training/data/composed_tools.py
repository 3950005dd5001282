"""Tools composed of a verb, an object and parameters, and requests composed of the same parts.

A request shares words with the name of the tool, only with its description, or with a parameter.
The model therefore has to read the whole definition to choose the tool and its arguments.
"""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data import browser_pages, natural, places, samples, words
from training.data.phrases import listed, quoted, request
from training.data.spans import copy, plain
from training.data.task import Ask, Asker

_VERBS = (
    ("get", "fetch", "look up", "show", "retrieve", "check", "find"),
    ("create", "add", "make", "register", "set up", "enter"),
    ("send", "mail", "deliver", "forward", "pass on"),
    ("delete", "remove", "drop", "cancel", "erase"),
    ("update", "change", "adjust", "edit", "modify"),
    ("move", "shift", "relocate", "carry over"),
    ("start", "run", "launch", "trigger", "begin"),
    ("stop", "halt", "end", "abort", "switch off"),
    ("book", "reserve", "schedule", "plan", "arrange"),
    ("list", "enumerate", "display", "print", "name"),
    ("search", "look through", "query", "browse", "scan"),
    ("calculate", "compute", "estimate", "work out"),
    ("convert", "turn", "translate", "transform"),
    ("buy", "order", "purchase", "get hold of"),
    ("record", "log", "note", "write down", "save"),
    ("rate", "review", "judge", "score"),
    ("compare", "match", "contrast"),
    ("assign", "give", "allot", "hand"),
)
_SCALES = (
    ("low", "medium", "high"), ("small", "medium", "large"), ("slow", "fast"), ("red", "green",
     "blue"),
    ("minor", "major", "critical"), ("draft", "final"), ("public", "private", "internal"),
    ("daily", "weekly", "monthly"), ("asc", "desc"), ("json", "csv", "xml"), ("read", "write"),
    ("left", "right"), ("morning", "noon", "evening"), ("first", "second", "third"), ("on", "off"),
    ("metric", "imperial"), ("economy", "business"), ("open", "closed", "pending"),
)  # fmt: skip
_KEYED = ("{k} {v}", "{k}: {v}", "{k} = {v}", "{k} is {v}", "with {k} {v}", "with the {k} {v}",
"the {k} {v}",
          "as {k} {v}", "{v} as {k}", "{k} should be {v}", "{k}={v}")  # fmt: skip
_LONGEST_NAME = 64
_Value = Callable[[Random], Any]


def _date(rng: Random) -> str:
    year, month, day = rng.randint(2019, 2034), rng.randint(1, 12), rng.randint(1, 28)
    iso = f"{year}-{month:02}-{day:02}"
    return rng.choice(
        (iso, iso, iso, f"{iso}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00Z",
         f"{day:02}.{month:02}.{year}", f"{month}/{day}/{year}", f"{day} March {year}",
         natural.filled(rng, "{T}").removeprefix("on ").removeprefix("at "))
    )  # fmt: skip


def _digits(rng: Random) -> str:
    size = rng.randint(4, 12)
    text = "".join(rng.choices(string.digits, k=size))
    return rng.choice(
        (text, text, f"+{text}", f"{text[:3]}-{text[3:]}",
         f"{rng.choice('ABDEFN')}{rng.choice('ELOR')}{text}",
         f"#{text}", f"{words.nonce(rng)}-{text}", f"v{text[0]}.{text[1]}.{text[2]}")
    )  # fmt: skip


def _address(rng: Random) -> str:
    user = rng.choice((words.word(rng), f"{words.word(rng)}.{words.word(rng)}"))
    return rng.choice((f"{user}@{browser_pages.url(rng).split('/')[2]}", browser_pages.url(rng)))


def path(rng: Random) -> str:
    """A file or a folder."""
    parts = [words.identifier(rng) for _ in range(rng.randint(1, 3))]
    text = "/".join(parts) + rng.choice(
        ("", ".py", ".md", ".txt", ".json", ".ts", ".csv", ".go", "/")
    )
    return rng.choice(("", "", "./", "/", "src/", "~/", "../")) + text


def _phrase(rng: Random) -> str:
    return rng.choice((natural.phrase(rng), natural.phrase(rng), samples.prose(rng, 2, 6)))


def _amount(rng: Random) -> float | int:
    number = round(rng.uniform(0, 10 ** rng.randint(1, 4)), rng.choice((0, 1, 1, 2)))
    return int(number) if number.is_integer() else number


@dataclass(frozen=True)
class _Kind:
    """Parameters of one kind: names, type, values, and a phrase without the name."""

    keys: tuple[str, ...]
    type: str
    value: _Value
    said: tuple[str, ...] = ()


_KINDS = (
    _Kind(("name", "customer", "author", "owner", "guest", "driver", "employee", "receiver"),
    "string",
          words.person, ("for {v}", "of {v}", "to {v}", "{v}", "by {v}", "from {v}", "with {v}")),
    _Kind(("name", "user", "contact", "member", "attendee"), "string",
          lambda rng: f"{words.capital(rng)} {words.capital(rng)}", ("for {v}", "of {v}", "{v}")),
    _Kind(("place", "location", "destination", "region", "country", "branch", "site"), "string",
          places.named, ("in {v}", "at {v}", "near {v}", "to {v}", "for {v}")),
    _Kind(("origin", "source", "sender", "start"), "string", words.word, ("from {v}",
    "out of {v}")),
    _Kind(("target", "goal", "end", "sink"), "string", words.word, ("to {v}", "into {v}",
    "over to {v}")),
    _Kind(("date", "due_date", "when", "start_date", "deadline", "departure", "until"), "string",
          _date, ("on {v}", "for {v}", "by {v}", "{v}", "until {v}")),
    _Kind(("code", "number", "phone_number", "account", "serial", "reference", "id", "order_id",
    "sku"), "string",
          _digits, ("{v}", "no. {v}", "number {v}", "with {v}")),
    _Kind(("code", "key", "ref", "badge", "slot"), "string", words.nonce, ("{v}", "for {v}")),
    _Kind(("text", "title", "message", "subject", "note", "content", "comment", "description",
    "label"), "string",
          _phrase, ('that says "{v}"', 'saying "{v}"', '"{v}"', "about {v}", "'{v}'",
          "called {v}")),
    _Kind(("query", "topic", "keyword", "question", "input", "q", "search_term"), "string",
          _phrase, ("for {v}", "about {v}", "on {v}", '"{v}"')),
    _Kind(("url", "email", "link", "address", "endpoint"), "string", _address, ("at {v}", "to {v}",
    "{v}")),
    _Kind(("path", "file", "folder", "filename"), "string", path, ("in {v}", "`{v}`", "{v}")),
    _Kind(("item", "thing", "product", "model", "object"), "string",
          lambda rng: natural.filled(rng, rng.choice(("{N}", "{A} {N}", "{w}"))), ("a {v}",
          "the {v}", "{v}")),
    _Kind(("count", "limit", "amount", "size", "max_results", "quantity", "page"), "integer",
          lambda rng: rng.randint(1, 99), ("{v} of them", "{v} times", "at most {v}", "x {v}",
          "{v}x")),
    _Kind(("hours", "minutes", "people", "rows", "pages", "seats", "steps", "nights", "seconds"),
    "integer",
          lambda rng: rng.randint(1, 10 ** rng.randint(1, 4)),
          ("{v} {k}", "for {v} {k}", "at most {v} {k}", "in {v} {k}", "the next {v} {k}",
           "up to {v} {k}")),
    _Kind(("year", "level", "position", "rank", "row", "version", "index", "port"), "integer",
          lambda rng: rng.randint(0, 10 ** rng.randint(1, 4)), ("at {k} {v}", "{k} {v}",
          "on {k} {v}")),
    _Kind(("kg", "metres", "euros", "percent", "litres", "km", "dollars", "degrees"), "number",
          _amount, ("{v} {k}", "of {v} {k}", "for {v} {k}", "to {v} {k}", "by {v} {k}")),
    _Kind(("price", "value", "weight", "height", "speed", "budget", "factor", "threshold"),
    "number",
          _amount, ("at {v}", "of {v}", "to {v}", "for {v}")),
    _Kind(("urgent", "public", "verbose", "recursive", "active", "dry_run", "paid", "heavy"),
    "boolean",
          lambda rng: rng.random() < 0.6),
    _Kind(("kind", "mode", "category", "status", "format", "type", "size", "colour", "sort"),
    "enum",
          lambda rng: rng.choice(_SCALES), ("{v}", "in {v}", "as {v}")),
    _Kind(("tags", "names", "items", "parts", "columns", "users", "topics", "words"), "array",
          lambda rng: [natural.filled(rng, rng.choice(("{N}", "{w}", "{S}", "{A} {N}")))
                       for _ in range(rng.choice((1, 2, 2, 3)))],
          ("with {v}", "{v}", "for {v}", "{k} {v}", "of {v}")),
)  # fmt: skip
_TRUE = ("{k}", "with {k}", "{k} on", "{k}: yes", "make it {k}", "{k}=true", "it is {k}", "and {k}")
_FALSE = ("not {k}", "no {k}", "without {k}", "{k} off", "{k}: no", "{k}=false", "it is not {k}")
_NONE = (
    "no {k}",
    "without a {k}",
    "{k} is not known",
    "no {k} yet",
    "without {k}",
    "leave out the {k}",
)
_NOTES = (
    "The {k} of the {n}.", "{K}", "{k} to use", "Which {k}", "{K} of the {n}", "The {k}.", "A {k}",
    "{K}; optional", "the {k}, such as {e}", "{K} (e.g. {e})", "What the {k} is.", "{s}",
    "Name of the {k}",
)  # fmt: skip
_DESCRIBED = (
    "{V} {a} {n}.", "{V} {a} {n}", "{V}s {a} {n}.", "Use this to {v} {a} {n}.", "{V} {a} {n}. {s}",
    "Tool to {v} the {n}.", "Lets you {v} a {n}. {s}", "{V} {n}s in the {w} system.", "{n}: {v}",
    "Useful when the user wants to {v} a {n}.", "{V} the {n} of a {w}.", "{s} {V} a {n}.",
    "Can {v} {a} {n}.",
)  # fmt: skip


@dataclass(frozen=True)
class _Parameter:
    """A parameter; `options` are those of an enumeration."""

    key: str
    kind: _Kind
    options: tuple[str, ...] = ()
    free: bool = False

    @property
    def spoken(self) -> str:
        return self.key.replace("_", " ")

    def schema(self, rng: Random, noun: str) -> dict[str, Any]:
        kind = self.kind.type
        schema: dict[str, Any] = {"type": "string" if kind == "enum" else kind}
        if kind == "enum":
            schema["enum"] = list(self.options)
        elif kind == "array":
            schema["items"] = {"type": "string"}
        elif kind in {"integer", "number"} and rng.random() < 0.2:
            schema["minimum"] = 0
        if rng.random() < 0.55:
            slots = {"k": self.spoken, "K": self.spoken.capitalize(), "n": noun}
            slots |= {"s": natural.sentence(rng), "e": words.word(rng)}
            schema["description"] = rng.choice(_NOTES).format(**slots)
        return schema

    def asked(self, rng: Random) -> tuple[str, Any]:
        """The words of a request for the parameter, and the argument."""
        if self.kind.type == "boolean":
            truth = self.kind.value(rng)
            return rng.choice(_TRUE if truth else _FALSE).replace("{k}", self.spoken), truth
        value: Any = rng.choice(self.options) if self.options else self.kind.value(rng)
        loose = self.kind.said if self.free else ()
        form = rng.choice((*loose, *loose, *_KEYED) if rng.random() < 0.5 else loose or _KEYED)
        shown, argument = str(value), value
        if isinstance(value, list):
            shown, argument = listed(rng, value), [copy(one) for one in value]
        elif isinstance(value, str):
            inside = re.search("[\"'`]{v}", form)
            bare = value.replace(inside[0][0], "") if inside else value
            shown, argument = bare if inside else quoted(rng, bare, 0.25), copy(bare)
        spoken = rng.choice((self.key, self.spoken, self.spoken, self.spoken))
        return form.replace("{k}", spoken).replace("{v}", shown), argument

    def adjective(self, value: object) -> str:
        """The argument in front of the noun, or nothing."""
        if value is True:
            return self.spoken
        return plain(str(value)) if self.options and self.free else ""

    def denied(self, rng: Random) -> str:
        """A statement that the request gives no value for the parameter."""
        return rng.choice(_NONE).replace("{k}", self.spoken)


@dataclass(frozen=True)
class Composed:
    """A tool's parts.

    Attributes:
        verbs: the action, in several wordings.
        noun: the object of the action.
        shares_verb: other available tools have the same noun, so a request names the verb.
    """

    verbs: tuple[str, ...]
    noun: str
    parameters: tuple[_Parameter, ...]
    required: frozenset[str]
    shares_verb: bool

    def ask(self, rng: Random, _tool: FunctionTool) -> Ask:
        """A request for the tool."""
        said: list[str] = []
        before = ""
        given: dict[str, Any] = {}
        for one in self.parameters:
            if one.key not in self.required and rng.random() < 0.5:
                if rng.random() < 0.4 and one.kind.type != "boolean":
                    said.append(one.denied(rng))
                continue
            text, given[one.key] = one.asked(rng)
            adjective = one.adjective(given[one.key])
            if adjective and not before and rng.random() < 0.35:
                before = f"{adjective} "
            else:
                said.append(text)
        rng.shuffle(said)
        details = rng.choice((", ", " ", " and ", ", ", "; ")).join(said)
        return Ask(self._worded(rng, before, details), given)

    def _worded(self, rng: Random, before: str, details: str) -> str:
        verb = rng.choice(self.verbs)
        thing = f"{before}{self.noun}"
        article = rng.choice(("a ", "the ", "", "the ", "our ", "that "))
        values = {"v": verb, "n": thing, "d": details}
        joint = rng.choice((" ", " ", ", ", ": ", " – ")) if details else ""
        verbs = (f"{{v}} {article}{{n}}{joint}{{d}}",)
        if self.shares_verb:
            return request(rng, values, verbs=verbs, tails=False)
        nouns = (f"{article}{{n}}{joint}{{d}}", f"{{n}}{joint}{{d}}")
        return request(rng, values, verbs=verbs, nouns=nouns, tails=False)


def composed(
    rng: Random, noun: str = "", verbs: tuple[str, ...] = ()
) -> tuple[FunctionTool, Asker]:
    """A tool and its asker; with a noun, one of several tools for it."""
    shared, noun = bool(noun), noun or _noun(rng)
    verbs = verbs or rng.choice(_VERBS)
    parameters = _parameters(rng)
    required = frozenset(
        one.key for at, one in enumerate(parameters) if at == 0 or rng.random() < 0.6
    )
    described = rng.choice(_DESCRIBED).format(
        v=(verb := rng.choice(verbs)), V=verb.capitalize(), n=noun, a=rng.choice(("the", "a",
        "one")),
        w=words.word(rng), s=natural.sentence(rng),
    )  # fmt: skip
    whole = Composed(verbs, noun, parameters, required, shared)
    properties = {one.key: one.schema(rng, noun) for one in parameters}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = [one.key for one in parameters if one.key in required]
    return FunctionTool(_name(rng, verbs, noun, hidden=not shared), described, schema), whole.ask


def _noun(rng: Random) -> str:
    return natural.filled(rng, rng.choice(("{N}", "{N}", "{N} {N}", "{w}", "{w} {N}", "{A} {N}")))


def _parameters(rng: Random) -> tuple[_Parameter, ...]:
    found: dict[str, _Parameter] = {}
    kinds = rng.sample(_KINDS, rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5)))
    loose: set[str] = set()
    for kind in kinds:
        key = rng.choice(kind.keys)
        draw = rng.random()
        if draw < 0.35:
            key = words.word(rng) if draw < 0.2 else f"{words.word(rng)}_{key}"
        options = tuple(kind.value(rng)) if kind.type == "enum" else ()
        free = key in kind.keys or kind.type not in loose
        loose |= {kind.type} if key not in kind.keys else set()
        found[key] = _Parameter(key, kind, options, free)
    return tuple(found.values())


def _name(rng: Random, verbs: Sequence[str], noun: str, *, hidden: bool) -> str:
    """A function name: verb and noun, or sometimes other words."""
    parts = rng.choice(
        ([rng.choice(verbs), noun], [rng.choice(verbs), noun], [noun, rng.choice(verbs)])
    )
    if hidden and rng.random() < 0.3:
        parts = [words.word(rng) for _ in range(rng.choice((1, 1, 2)))]
    pieces = " ".join(parts).replace("-", " ").lower().split()
    pieces = ["".join(c for c in piece if c in string.ascii_lowercase) or "x" for piece in pieces]
    draw = rng.random()
    if draw < 0.12:
        return pieces[0] + "".join(piece.capitalize() for piece in pieces[1:])
    if draw < 0.2:
        return "-".join(pieces)
    name = "_".join(pieces)
    if draw < 0.3:
        name = f"{rng.choice(('mcp__', '', ''))}{words.word(rng)}__{name}"
    return name[:_LONGEST_NAME]


def suite(rng: Random, count: int) -> list[tuple[FunctionTool, Asker]]:
    """Tools with different actions on the same noun."""
    noun = _noun(rng)
    return [composed(rng, noun, verbs) for verbs in rng.sample(_VERBS, count)]
