"""Tool-call arguments reach the client unchanged: texts, and JSON values of each type.

Each request says which arguments its call must have. The model may copy a text incorrectly: the
account of the reply tells whether the model or the server changed it (see
`harness.rules.account`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter

from harness.api.items import Tool
from harness.records.conditions import MODES, Mode
from harness.records.replies import Wanted
from harness.rules.account.entry import Entry
from harness.rules.evidence.offers import BY_NAME, TOOLS, offered, schema
from harness.rules.evidence.subjects import Call, calls
from harness.rules.evidence.tables import table
from harness.rules.missing import required
from harness.rules.probe import (
    GARBLED,
    ProbeGroup,
    ProbeRequest,
    Sent,
    Trials,
    account_judge,
)
from harness.rules.refusals import failure
from harness.rules.rule import FUNCTION_CALLING, HARMONY, Problem


def is_call_changed(entry: Entry) -> bool:
    """Whether the account says that the server changed a call."""
    return entry.place in ("arguments", "name") and entry.kind in ("changed", "lost", "added")


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


def _request(name: str, prompt: str, tools: tuple[Tool, ...], wanted: Wanted) -> ProbeRequest:
    """Return a greedy request; models forget one of several escapes that a value needs in JSON."""
    escaped = "\\" in json.dumps(wanted.arguments, ensure_ascii=False)
    return replace(
        offered(name, prompt, tools),
        temperature=0.0,
        wanted=wanted,
        provokes=frozenset({"calls.arguments.json"} if escaped else ()),
    )


GROUP = ProbeGroup("tools.arguments", HARMONY, modes=MODES, family="calls", component="calls")
_TEXT_REQUESTS = GROUP.send_all(
    _request(
        name,
        text.prompt,
        TOOLS if (tool := BY_NAME[text.tool]) in TOOLS else (tool,),
        Wanted(name=text.tool, arguments=text.arguments, special=text.special),
    )
    for name, text in TEXTS.items()
)
for _sent, _value in zip(_TEXT_REQUESTS, TEXTS.values(), strict=True):
    GROUP.probe(
        f"tools.arguments.{_sent.id.replace(' ', '_')}",
        _sent,
        source=_value.source,
        unjudged="not_copied",
        text=f"Tool-call arguments with {_value.what or _sent.id} reach the client unchanged. "
        "Otherwise the client runs the tool with arguments that the model did not generate.",
    )(account_judge(is_call_changed))


_BEYOND_ASCII = [each for each in _TEXT_REQUESTS if not TEXTS[each.id].special.isascii()]


_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}")
_FEWEST_CALLS = 2


@GROUP.probe("tools.arguments.encoding", _BEYOND_ASCII, severity="warning")
def _encoding(beyond_ascii: Sent) -> Trials:
    """Letters beyond ASCII in arguments are encoded in the same way with and without streaming.

    The model writes them in one way, so one mode encodes the arguments again. Clients send them
    back, and the model then reads different tokens than it wrote.
    """
    escaped: dict[Mode, list[tuple[str, Call]]] = {mode: [] for mode in MODES}
    written: dict[Mode, list[tuple[str, Call]]] = {mode: [] for mode in MODES}
    made = ((rollout.rollout.sample, rollout) for rollout in beyond_ascii.rollouts)
    for name, call in ((name, call) for name, rollout in made for call in calls(rollout)):
        mode: Mode = "streaming" if call.exchange.events else "non-streaming"
        if _ESCAPE.search(call.call.arguments):
            escaped[mode].append((name, call))
        elif not call.call.arguments.isascii():
            written[mode].append((name, call))
    required(written["streaming"] + written["non-streaming"], "only_ascii")
    for mode, other in (MODES, MODES[::-1]):
        apart = not escaped[other] and not written[mode]
        if apart and min(len(escaped[mode]), len(written[other])) >= _FEWEST_CALLS:
            message = f"Only {mode} replies escape letters beyond ASCII in arguments."
            same = {name: call.call.arguments for name, call in written[other]}
            for name, call in escaped[mode]:
                expected = same.get(name, "letters beyond ASCII")
                yield Problem(call.exchange, message, expected, call.call.arguments)
            return
    yield None


@dataclass(frozen=True)
class Typed:
    """An argument that a call must contain: its function, its JSON value, and the prompt.

    `more` has the values of the other parameters, and `optional` those that may be absent.
    """

    name: str
    description: str
    parameter: Mapping[str, object]
    value: int | float | bool | str | list[str] | dict[str, object] | None
    prompt: str
    what: str = "null"
    more: Mapping[str, str | bool] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    @property
    def tool(self) -> Tool:
        """The function, whose first parameter has the second part of its name."""
        kinds = {str: "string", bool: "boolean"}
        others = {name: {"type": kinds[type(value)]} for name, value in self.more.items()}
        parameters = schema({self.key: self.parameter, **others})
        parameters["required"] = [
            name for name in parameters["required"] if name not in self.optional
        ]
        return Tool(self.name, self.description, parameters, '{"done": true}')

    @property
    def key(self) -> str:
        """The name of the parameter."""
        return self.name.partition("_")[2]

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments with this value."""
        return {self.key: self.value, **self.more}


VALUES = TypeAdapter(dict[str, Typed]).validate_python(table("calls")["values"])
TYPES_GROUP = ProbeGroup(
    "tools.types", FUNCTION_CALLING, modes=MODES, family="calls", component="calls"
)
for _name, _typed in VALUES.items():
    TYPES_GROUP.probe(
        f"tools.arguments.{_name.replace(' ', '_')}",
        TYPES_GROUP.send(
            _request(
                _name,
                _typed.prompt,
                (_typed.tool,),
                Wanted(name=_typed.name, arguments=_typed.arguments),
            )
        ),
        unjudged="not_written",
        text=f"An argument that is {_typed.what} keeps its JSON type and value. A value of another "
        "type may conform to the schema and still do something else.",
    )(account_judge(is_call_changed))


@dataclass(frozen=True)
class File:
    """A file that a call must write."""

    path: str
    content: str


FILES = TypeAdapter(dict[str, File]).validate_python(table("calls")["files"])
_WRITE = Tool(
    "write_file",
    "Write a file.",
    schema({name: {"type": "string"} for name in ("path", "content")}),
    '{"written": true}',
)
_FILE_TOKENS = 1536  # about 500 of the file, twice with its escapes, and a CoT
FILES_GROUP = ProbeGroup(
    "tools.files", FUNCTION_CALLING, modes=MODES, family="calls", component="calls"
)
_FILE_REQUESTS = FILES_GROUP.send_all(
    replace(
        _request(
            name,
            f"Write exactly this file to {file.path}, with the blank lines at its end:\n"
            f"{file.content}",
            (_WRITE,),
            Wanted(name=_WRITE.name, arguments={"path": file.path, "content": file.content}),
        ),
        effort="low",
        max_tokens=_FILE_TOKENS,
        whole=False,
        provokes=GARBLED | {"calls.arguments.json", "calls.arguments.cut", "text.runaway"},
    )
    for name, file in FILES.items()
)


@FILES_GROUP.probe(
    "tools.files.readable",
    _FILE_REQUESTS,
    fix="Return what the model wrote, also if a call is long or its JSON is invalid.",
)
def _readable(written: Sent) -> Trials:
    """A request to write a file of 40 lines gets a readable reply.

    Coding agents send such requests all the time. If the server fails on the call that its own
    model wrote, the agent repeats the request without end.
    """
    for rollout in written.rollouts:
        yield failure(rollout, "a call that writes a file of 40 lines")


FILES_GROUP.probe(
    "tools.files.kept",
    _FILE_REQUESTS,
    unjudged="not_written",
    text="A file of 40 lines in the arguments of a call reaches the client unchanged. Agents run "
    "what they write, so a lost backslash or quote breaks the user's program.",
)(account_judge(is_call_changed))
