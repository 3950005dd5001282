"""Tool-call arguments reach the client unchanged: texts, and JSON values of each type.

The model may copy a text incorrectly. Only typical server defects count as problems: the requested
text with its special part deleted, escaped once more, or replaced, unless the tokens show that the
model wrote it so (see `harness.rules.evidence.authorship`). Schema-valid arguments can still differ
from what the model wrote, so other values also count only if the server probably changed them.
"""

import html
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from pydantic import TypeAdapter

from harness.api.items import Reply, Tool
from harness.records.conditions import MODES, Mode
from harness.rules.evidence.authorship import (
    Author,
    ExtraTokens,
    author,
    named_calls,
    proven,
    with_arguments,
)
from harness.rules.evidence.json_text import parsed_object
from harness.rules.evidence.offers import BY_NAME, TOOLS, offered, schema
from harness.rules.evidence.subjects import Call
from harness.rules.evidence.tables import table
from harness.rules.evidence.twins import FEWEST_UNLIKE, has_twin
from harness.rules.missing import required
from harness.rules.probe import ProbeGroup, ProbeResponses, TrialResult, Trials
from harness.rules.rule import FUNCTION_CALLING, HARMONY, Problem

_UNDECODED, _OTHER_MARKS = "[?\ufffd]{1,4}", r"[^\w\s]{0,4}"
"""What servers make of a letter, and of a typographic mark or an emoji."""


def _or_other_marks(sign: str) -> str:
    """Return the pattern of a character, or of what servers make of one beyond ASCII."""
    other = _UNDECODED if sign.isalnum() else _OTHER_MARKS
    return re.escape(sign) if sign.isascii() else f"(?:{re.escape(sign)}|{other})"


@dataclass(frozen=True)
class Text:
    """A text that a call must contain; `special` is the part that servers damage."""

    tool: str
    prompt: str
    special: str
    before: str = ""
    after: str = ""
    source: str = HARMONY
    what: str = ""

    def damaged(self) -> tuple[str, ...]:
        """Return the text as damaged by typical server defects."""
        escaped = json.dumps(self.special)[1:-1]
        instead = {escaped, json.dumps(self.special, ensure_ascii=False)[1:-1]}
        instead |= {html.escape(self.special), html.unescape(self.special)}
        instead |= {self.special.encode().decode("latin-1", "replace")}
        instead |= {re.sub(r"<[^>]*>", "", self.special)}
        instead |= {re.sub(r"\s+", " ", self.special), self.special.lower()}
        instead |= {unicodedata.normalize(form, self.special) for form in ("NFC", "NFD", "NFKC")}
        if "\\" in self.special:
            decoded = self.special.encode().decode("unicode_escape")
            instead |= {decoded, *(self.special.replace("\\", other) for other in ("/", ""))}
        if self.before and self.after:
            instead.add("")
        if not self.special.isascii():
            apart = unicodedata.normalize("NFKD", self.special)
            kept = ("".join(filter(str.isascii, text)) for text in (self.special, apart))
            instead |= set(kept) - {""}
        return tuple(
            f"{self.before}{special}{self.after}" for special in instead if special != self.special
        )

    def has_other_marks(self, text: str) -> bool:
        """Whether a text is the undamaged one with other marks instead of those beyond ASCII."""
        pattern = "".join(map(_or_other_marks, self.intact))
        return re.search(rf"{pattern}(?!\s*\w)", text) is not None

    def is_lost_from(self, text: str) -> bool:
        """Whether a text is the part on one side of `special`, without `special`."""
        if self.before and not self.after:
            return text.rstrip().endswith(self.before.strip())
        if self.after and not self.before:
            return text.lstrip().startswith(self.after.strip())
        return False

    @property
    def arguments(self) -> dict[str, str]:
        """The arguments with the undamaged text."""
        (name,) = BY_NAME[self.tool].parameters["properties"]
        return {name: self.intact}

    @property
    def intact(self) -> str:
        """The undamaged text."""
        return f"{self.before}{self.special}{self.after}"


TEXTS = TypeAdapter(dict[str, Text]).validate_python(table("calls")["texts"])

_greedy = partial(replace, temperature=0.0)
_TEXT_REQUESTS = tuple(
    _greedy(offered(name, text.prompt, TOOLS if (tool := BY_NAME[text.tool]) in TOOLS else (tool,)))
    for name, text in TEXTS.items()
)
GROUP = ProbeGroup(
    "tools.arguments",
    lambda _api: _TEXT_REQUESTS,
    HARMONY,
    modes=MODES,
    family="calls",
    component="calls",
)


Copies = Iterator[tuple[TrialResult, Author]]


def _judge(
    copies: Callable[[str, ProbeResponses], Copies],
    names: Iterable[str],
    name: str,
    responses: ProbeResponses,
) -> Trials:
    """Judge the calls of one request.

    One call that a server seems to have changed proves nothing: it can have the tokens of another
    one by chance.
    """
    found = list(copies(name, responses))
    if all(who != "server" for _, who in found):
        return proven(found)
    sent = filter(responses.rollouts.get, names)
    changed = sum(who == "server" for other in sent for _, who in copies(other, responses))
    if changed < FEWEST_UNLIKE:
        found = [copy for copy in found if copy[1] != "server"]
    return proven(found)


def _who(
    found: Call, right: Mapping[str, object], intact: Iterable[Reply], tokens: ExtraTokens
) -> Author:
    """Who changed a call that should have other arguments, and has them in the `intact` replies."""
    reply = found.exchange.reply
    if reply is not None and has_twin(reply, intact):
        return "server"
    return author(found, with_arguments(found.call, right), tokens)


def _copies(name: str, responses: ProbeResponses) -> Copies:
    value = TEXTS[name]
    made = named_calls(responses, *TEXTS)
    tokens = ExtraTokens.of((call, TEXTS[text].intact in _text(call)) for text, call in made)
    calls = [found for _, found in named_calls(responses, name)]
    intact = [c.exchange.reply for c in calls if value.intact in _text(c) and c.exchange.reply]
    for found in calls:
        text = _text(found)
        who = _who(found, value.arguments, intact, tokens)
        damaged = any(copy in text for copy in value.damaged()) or value.has_other_marks(text)
        damaged |= who == "server" and text.isascii() and not value.intact.isascii()
        if value.intact in text:
            yield None, "unknown"
        elif damaged or value.is_lost_from(text) or _truncated(found, value):
            message = "The arguments of a tool call contain a changed copy of the requested text."
            got = text or found.call.arguments
            yield Problem(found.exchange, message, value.intact, got), who


def _truncated(found: Call, value: Text) -> bool:
    """Whether the arguments end within the text, right after a non-ASCII character."""
    ends = [at + 1 for at, sign in enumerate(value.intact) if not sign.isascii()]
    return any(found.call.arguments.endswith(value.intact[:end]) for end in ends)


def _text(found: Call) -> str:
    """All strings in the arguments of a call, one per line; '' if they are not an object."""
    values = (parsed_object(found.call.arguments) or {}).values()
    return "\n".join(value for value in values if isinstance(value, str))


for _name, _value in TEXTS.items():
    GROUP.probe(
        f"tools.arguments.{_name.replace(' ', '_')}",
        (_name,),
        source=_value.source,
        unjudged="not_copied",
        text=f"Tool-call arguments with {_value.what or _name} reach the client unchanged. "
        "Otherwise the client runs the tool with arguments that the model did not generate.",
    )(partial(_judge, _copies, TEXTS, _name))


_BEYOND_ASCII = tuple(name for name, value in TEXTS.items() if not value.special.isascii())
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}")
_FEWEST_RECODED = 2


@GROUP.probe("tools.arguments.encoding", _BEYOND_ASCII, severity="warning")
def _encoding(responses: ProbeResponses) -> Trials:
    """Letters beyond ASCII in arguments are encoded alike with and without streaming.

    The model writes them in one way, so one mode encodes the arguments again. Clients send them
    back, and the model then reads other tokens than it wrote.
    """
    escaped: dict[Mode, list[tuple[str, Call]]] = {mode: [] for mode in MODES}
    written: dict[Mode, list[tuple[str, Call]]] = {mode: [] for mode in MODES}
    for name, call in named_calls(responses, *_BEYOND_ASCII):
        mode: Mode = "streaming" if call.exchange.events else "non-streaming"
        if _ESCAPE.search(call.call.arguments):
            escaped[mode].append((name, call))
        elif not call.call.arguments.isascii():
            written[mode].append((name, call))
    required(written["streaming"] + written["non-streaming"], "only_ascii")
    for mode, other in (MODES, MODES[::-1]):
        apart = not escaped[other] and not written[mode]
        if apart and min(len(escaped[mode]), len(written[other])) >= _FEWEST_RECODED:
            message = f"Only {mode} replies escape letters beyond ASCII in arguments."
            same = {name: call.call.arguments for name, call in written[other]}
            for name, call in escaped[mode]:
                expected = same.get(name, "letters beyond ASCII")
                yield Problem(call.exchange, message, expected, call.call.arguments)
            return
    yield None


_MISSING = object()
_NO = ("no", "off", "0")  # what servers that convert booleans to text make of false


@dataclass(frozen=True)
class Typed:
    """An argument that a call must contain: its function, its JSON value, and the prompt."""

    name: str
    description: str
    parameter: Mapping[str, object]
    value: int | float | bool | str | list[str] | dict[str, object] | None
    prompt: str
    what: str = "null"

    @property
    def tool(self) -> Tool:
        """The function, whose only parameter has the second part of its name."""
        parameters = schema({self.key: self.parameter})
        return Tool(self.name, self.description, parameters, '{"done": true}')

    @property
    def key(self) -> str:
        """The name of the parameter."""
        return self.name.partition("_")[2]

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments with this value."""
        return {self.key: self.value}

    def is_renamed_to(self, key: str) -> bool:
        """Whether a name is that of the parameter in another style."""
        names = (re.sub(r"[-_]", "", name).lower() for name in (key, self.key))
        return key != self.key and len({*names}) == 1

    def is_changed_to(self, got: object) -> bool:
        """Whether a value is what servers make of this one: text, a default, or nothing.

        Of an object, each member may be unchanged, or changed so.
        """
        if isinstance(self.value, dict):
            members = got if isinstance(got, dict) else {None: got}
            return members.keys() <= self.value.keys() and all(
                value == members.get(key) or (not value and key not in members)
                or _is_retyped(value, members.get(key))
                for key, value in self.value.items()
            )  # fmt: skip
        as_text = json.dumps(self.value)
        others = [as_text, f'"{as_text}"', str(self.value), None, "", 0, 1, _MISSING]
        return any(type(got) is type(other) and got == other for other in others)

    def is_misfit(self, got: object) -> bool:
        """Whether a value is this one as a text or without its list, against the schema."""
        if isinstance(self.value, list):
            return got in self.value
        return _is_retyped(self.value, got) or (self.value is False and got in _NO)

    def is_other(self, got: object) -> bool:
        """Whether a value is another number, the opposite boolean, or a word in another case.

        Of a number or id with too many digits for a float, only the value that a float makes of it
        counts: models copy such numbers incorrectly.
        """
        digits = str(self.value)
        if isinstance(self.value, str) and isinstance(got, str):
            return got != self.value and got.lower() == self.value.lower()
        if digits.isdigit() and (isinstance(self.value, str) or len(digits) > sys.float_info.dig):
            with suppress(TypeError, ValueError):
                return got != self.value and float(got) == float(digits)  # type: ignore[arg-type]
            return False
        return _kind(got) is not None and _kind(got) == _kind(self.value)


def _is_same(value: object, other: object) -> bool:
    """Whether two JSON values are equal; 0 and false are not."""
    return value == other and json.dumps(value, sort_keys=True) == json.dumps(other, sort_keys=True)


def _is_retyped(value: object, got: object) -> bool:
    """Whether a value is a number or boolean as a text, or a text of digits as a number."""
    if isinstance(value, str):
        digits = value.isdigit() and _kind(got) == "number"
        return digits and float(got) == float(value)  # type: ignore[arg-type]
    text = got.lower().replace(",", ".") if isinstance(got, str) else None
    return _kind(value) is not None and text == json.dumps(value)


def _kind(value: object) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else None


VALUES = TypeAdapter(dict[str, Typed]).validate_python(table("calls")["values"])
RELIABLE = frozenset({"number"})
"""Values that models write as requested. Models also do not repeatedly write another number, the
opposite boolean, or a text where the schema allows only a boolean. For all other values, tokens
must show what the model wrote."""

_VALUE_REQUESTS = tuple(
    _greedy(offered(name, typed.prompt, (typed.tool,))) for name, typed in VALUES.items()
)
TYPES_GROUP = ProbeGroup(
    "tools.types",
    lambda _api: _VALUE_REQUESTS,
    FUNCTION_CALLING,
    modes=MODES,
    family="calls",
    component="calls",
)


def _values(name: str, responses: ProbeResponses) -> Copies:
    typed = VALUES[name]
    made = named_calls(responses, *VALUES)
    tokens = ExtraTokens.of(
        (call, parsed_object(call.call.arguments) == VALUES[other].arguments)
        for other, call in made
    )
    calls = [found for _, found in named_calls(responses, name)]
    parsed = [parsed_object(found.call.arguments) for found in calls]
    intact = [
        found.exchange.reply
        for found, values in zip(calls, parsed, strict=True)
        if _is_same(values, typed.arguments) and found.exchange.reply
    ]
    for found, values in zip(calls, parsed, strict=True):
        key, got = next(iter((values or {}).items()), (typed.key, _MISSING))
        renamed = typed.is_renamed_to(key) and got == typed.value
        other_name = key != typed.key and not renamed and not typed.is_misfit(got)
        if values is None or len(values) > 1 or other_name:
            continue  # Servers change only the style of names: the model wrote another name.
        right = {typed.key if renamed else key: typed.value}
        message = "The name of an argument is in another style than in the schema."
        if not renamed:
            message = "An argument of a tool call does not have the requested value."
        problem = Problem(found.exchange, message, json.dumps(right), found.call.arguments)
        other = renamed or typed.is_other(got) or typed.is_misfit(got)
        if not renamed and _is_same(got, typed.value):
            yield None, "unknown"
        elif other or typed.is_changed_to(got):
            who = _who(found, right, intact, tokens)
            if other or name in RELIABLE or who != "unknown":
                yield problem, who


for _name, _typed in VALUES.items():
    TYPES_GROUP.probe(
        f"tools.arguments.{_name.replace(' ', '_')}",
        (_name,),
        unjudged="not_written",
        text=f"An argument that is {_typed.what} keeps its JSON type and value. A value of another "
        "type may conform to the schema and still do something else.",
    )(partial(_judge, _values, VALUES, _name))
