"""Text survives the way from the model's arguments to the client: quotes, breaks, "functions.".

A model may copy badly. What counts as harm is only what a server does: the text as it was asked
for, but with the special part deleted, escaped once more, or replaced.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.api.base import Tool
from harness.api.conversation import Message
from harness.checks.base import HARMONY, Problem
from harness.checks.json_text import parsed_object
from harness.checks.subjects import Call, calls
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.tools.offers import LANGUAGE, NOTE, REPLY_TOKENS, TOOLS
from harness.records.conditions import Api

_MARKDOWN = next(tool for tool in TOOLS if tool.name == "markdown_to_html")


@dataclass(frozen=True)
class Value:
    """A text that a call must carry.

    `special` is what servers harm in it; `before` and `after` stand right next to it.
    """

    tool: Tool
    prompt: str
    before: str
    special: str
    after: str = ""
    source: str = HARMONY

    def harms(self) -> tuple[str, ...]:
        """What servers make of the text."""
        escaped = json.dumps(self.special)[1:-1]
        instead = {escaped, json.dumps(self.special, ensure_ascii=False)[1:-1]}
        instead |= {html.escape(self.special), self.special.encode().decode("latin-1")}
        if self.before and self.after:
            instead.add("")
        if not self.special.isascii():
            instead |= {sign * len(self.special) for sign in "?\ufffd"}
            instead |= {"".join(filter(str.isascii, self.special))} - {""}
        return tuple(f"{self.before}{each}{self.after}" for each in instead if each != self.special)

    def is_lost_from(self, text: str) -> bool:
        """Whether a text is what stands on one side of `special`, and `special` is gone."""
        if self.before and not self.after:
            return text.rstrip().endswith(self.before.strip())
        if self.after and not self.before:
            return text.lstrip().startswith(self.after.strip())
        return False

    @property
    def whole(self) -> str:
        """The text unharmed."""
        return f"{self.before}{self.special}{self.after}"


VALUES: Mapping[str, Value] = {
    "prefix": Value(
        LANGUAGE,
        'Which language is this: "call functions.open now"',
        "call ", "functions.", "open",
        source="https://github.com/cubist38/mlx-openai-server/pull/50",
    ),
    "quotes": Value(
        LANGUAGE,
        'Identify the language of the text between the marks: <<Elle a dit "oui">>',
        "Elle a dit ", '"', "oui",
    ),
    "line break": Value(
        _MARKDOWN, "Convert this Markdown list to HTML:\n- salt\n- pepper",
        "- salt", "\n", "- pepper",
    ),
    "empty line": Value(
        _MARKDOWN, "Turn this Markdown into HTML:\n# News\n\nAll is well.",
        "# News", "\n\n", "All",
    ),
    "accents": Value(LANGUAGE, 'What language is "žluté lodě" written in?', "", "žluté", " lod"),
    "other script": Value(
        LANGUAGE, 'Identify the language of this text: "Καλημέρα"', "", "Καλημέρα",
    ),
    "ideographs": Value(LANGUAGE, 'Which language is "ありがとう"?', "", "ありがとう"),
    "emoji": Value(NOTE, "Save this note: žluté 潮 🌊", "潮 ", "🌊"),
    "json": Value(
        LANGUAGE, "Identify the language of the text between the marks: <<{\"a\": [1]}>>",
        "", '{"a": [1]}',
    ),
}  # fmt: skip


def _asks(_api: Api) -> tuple[Ask, ...]:
    return tuple(
        Ask(
            name,
            (Message("user", value.prompt),),
            TOOLS if value.tool in TOOLS else (value.tool,),
            max_tokens=REPLY_TOKENS,
        )
        for name, value in VALUES.items()
    )


BENCH = Bench("tools.arguments", _asks)


def _register(name: str, value: Value) -> None:
    probe_id = f"tools.arguments.{name.replace(' ', '_')}"

    @BENCH.probe(
        probe_id,
        uses=[name],
        severity="error",
        summary=f"Arguments come back unharmed: {name}.",
        why="The tool is run with something else than what the model wrote.",
        source=value.source,
        modes=("streaming", "non-streaming"),
    )
    def judge(answers: Answers) -> Iterator[Trial]:
        return _judge(answers, name, value)


def _judge(answers: Answers, name: str, value: Value) -> Iterator[Trial]:
    judged = False
    for found in (call for seen in answers.all(name) for call in calls(seen)):
        text = _text(found)
        harmed = next((harm for harm in value.harms() if harm in text), None)
        if value.whole in text:
            judged = True
            yield None
        elif harmed is not None or value.is_lost_from(text) or _cut_off(found, value):
            judged = True
            message = "A text in the arguments of a call came back harmed."
            yield Problem(found.turn, message, value.whole, text or found.call.arguments)
    if not judged:
        raise NotVerifiableError("The model did not copy the text into a call.")


def _cut_off(found: Call, value: Value) -> bool:
    """Whether the arguments end within the text, right after a sign beyond ASCII."""
    ends = [at + 1 for at, sign in enumerate(value.whole) if not sign.isascii()]
    whole = found.turn.reply is not None and found.turn.reply.finish != "length"
    return whole and any(found.call.arguments.endswith(value.whole[:end]) for end in ends)


def _text(found: Call) -> str:
    """All texts in the arguments of a call, one a line; '' where they are no object."""
    values = (parsed_object(found.call.arguments) or {}).values()
    return "\n".join(value for value in values if isinstance(value, str))


for _name, _value in VALUES.items():
    _register(_name, _value)
