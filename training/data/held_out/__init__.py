"""Handwritten prompts, outside the training grammar, for evaluating the small checkpoint.

Each line of the `*.jsonl` files next to this module is an object with

- `skill`: what it tests;
- `tools`: the available tools: `"smoke"` for the six tools of the smoke test, `"compatibility"` for
  their six relatives, the name of a tool of the catalogue, or a whole definition
  (`name`, `description`, `parameters`);
- `builtin`, optional: the built-in tools that the system message declares;
- `turns`: the conversation: `{"developer": text}`, `{"user": text}`, `{"reasoning": text}`,
  `{"answer": text}`, `{"call": name, "arguments": object}`, `{"result": name, "output": text}`,
  `{"builtin_call": name, "content": text}` or `{"builtin_result": name, "output": text}`;
- `effort`: low, medium or high;
- `expect`: one of `{"call": name, "arguments": object}`, `{"contains": text}`, `{"exact": text}`,
  `{"no_call": true}`, `{"json": object, "keys": [name]}`, `{"boxed": integer}`,
  `{"letter": "A"}`, `{"builtin": name, "exact": text}` or `{"builtin": name, "contains": text}`.

`blind.jsonl`, if it exists, has prompts that nobody looked at before the weights were final.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from harmony.conversation import (
    Answer,
    BuiltinCall,
    BuiltinResult,
    Call,
    Conversation,
    ConversationItem,
    Developer,
    FunctionTool,
    Reasoning,
    Result,
    User,
)
from harmony.render import render_prompt
from training.data.catalogue import COMPATIBILITY_TOOLS, OTHER_TOOLS, SMOKE_TOOLS

_SETS = {"smoke": SMOKE_TOOLS, "compatibility": COMPATIBILITY_TOOLS}
_BY_NAME = {tool.name: tool for tool in (*COMPATIBILITY_TOOLS, *OTHER_TOOLS, *SMOKE_TOOLS)}
_BOXED = re.compile(r"\\boxed\{(\d+)\}")
_LETTER = re.compile(r"Answer: ([A-D])\b")


class Expectation(Protocol):
    """A requirement on a reply."""

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether the model's reply (None if it is neither a call nor an answer) is right."""
        ...


@dataclass(frozen=True)
class CallExpected:
    """A call of this tool with exactly these arguments."""

    name: str
    arguments: Mapping[str, Any]

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether name and arguments are right."""
        return self.called(reply) and isinstance(reply, Call) and self._exact(reply.arguments)

    def called(self, reply: Call | Answer | None) -> bool:
        """Whether the right tool is called, with any arguments."""
        return isinstance(reply, Call) and reply.name == self.name

    def _exact(self, arguments: str) -> bool:
        try:
            return bool(json.loads(arguments) == self.arguments)
        except ValueError:
            return False


@dataclass(frozen=True)
class Contains:
    """An answer that contains this text."""

    text: str

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether the answer contains the text."""
        return isinstance(reply, Answer) and self.text in reply.text


@dataclass(frozen=True)
class Exact:
    """An answer that equals this text."""

    text: str

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether the answer equals the text."""
        return isinstance(reply, Answer) and reply.text == self.text


@dataclass(frozen=True)
class NoCall:
    """Any answer, but no call."""

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether the reply is an answer."""
        return isinstance(reply, Answer)


@dataclass(frozen=True)
class JsonObject:
    """An answer that is a JSON object with exactly these keys, some of them with these values."""

    keys: frozenset[str]
    values: Mapping[str, Any]

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether keys and values are right."""
        found = self.parsed(reply)
        return found is not None and self.values.items() <= found.items()

    def parsed(self, reply: Call | Answer | None) -> dict[str, Any] | None:
        """The object, if the reply is one with the right keys."""
        try:
            found = json.loads(reply.text) if isinstance(reply, Answer) else None
        except ValueError:
            return None
        return found if isinstance(found, dict) and found.keys() == self.keys else None


@dataclass(frozen=True)
class Boxed:
    r"""An answer whose last `\boxed{}` contains this integer."""

    value: int

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether the last box is right."""
        found = _BOXED.findall(reply.text) if isinstance(reply, Answer) else []
        return bool(found) and int(found[-1]) == self.value


@dataclass(frozen=True)
class Letter:
    """An answer whose last `Answer: X` names this option."""

    letter: str

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether the last letter is right."""
        found = _LETTER.findall(reply.text) if isinstance(reply, Answer) else []
        return bool(found) and found[-1] == self.letter


@dataclass(frozen=True)
class BuiltinExpected:
    """A call of this built-in tool whose content contains this text, or equals it."""

    name: str
    content: str
    whole: bool = False

    def met(self, reply: Call | Answer | None) -> bool:
        """Whether the tool is called with this content."""
        if not isinstance(reply, Call) or reply.name != self.name:
            return False
        return reply.arguments == self.content if self.whole else self.content in reply.arguments


@dataclass(frozen=True)
class HeldOut:
    """One prompt, and the requirement on its reply.

    Attributes:
        blind: whether it was written by someone who saw neither training data nor results, and
            was first used when the shipped weights were final.
    """

    skill: str
    conversation: Conversation
    expect: Expectation
    blind: bool = False

    @property
    def tokens(self) -> tuple[int, ...]:
        """The prompt in harmony."""
        return tuple(render_prompt(self.conversation))


def held_out() -> Iterator[HeldOut]:
    """All held-out prompts, file by file."""
    folder = files(__name__)
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                yield _held_out(json.loads(line), blind=file.name.startswith("blind"))


def user_texts() -> tuple[str, ...]:
    """The last user message of each held-out prompt."""
    last = (
        [turn.text for turn in prompt.conversation.items if isinstance(turn, User)][-1]
        for prompt in held_out()
    )
    return tuple(dict.fromkeys(last))


def _held_out(line: Mapping[str, Any], *, blind: bool) -> HeldOut:
    conversation = Conversation(
        tuple(_turn(turn) for turn in line["turns"]),
        _tools(line["tools"]),
        line["effort"],
        builtin=tuple(line.get("builtin", ())),
    )
    return HeldOut(line["skill"], conversation, _expectation(line["expect"]), blind)


def _tools(named: Sequence[str | Mapping[str, Any]]) -> tuple[FunctionTool, ...]:
    tools: list[FunctionTool] = []
    for tool in named:
        if isinstance(tool, str):
            tools += _SETS.get(tool) or (_BY_NAME[tool],)
        else:
            tools.append(FunctionTool(tool["name"], tool["description"], tool["parameters"]))
    return tuple(tools)


def _turn(turn: Mapping[str, Any]) -> ConversationItem:
    match turn:
        case {"developer": text}:
            return Developer(text)
        case {"user": text}:
            return User(text)
        case {"reasoning": text}:
            return Reasoning(text)
        case {"answer": text}:
            return Answer(text)
        case {"call": name, "arguments": arguments}:
            return Call(name, json.dumps(arguments, ensure_ascii=False))
        case {"result": name, "output": output}:
            return Result(name, output)
        case {"builtin_call": name, "content": content}:
            return BuiltinCall(name, content)
        case {"builtin_result": name, "output": output}:
            return BuiltinResult(name, output)
    raise ValueError(f"held-out turn {turn!r} is of no known kind")


def _expectation(expect: Mapping[str, Any]) -> Expectation:
    match expect:
        case {"call": name, "arguments": arguments}:
            return CallExpected(name, arguments)
        case {"builtin": name, "exact": text}:
            return BuiltinExpected(name, text, whole=True)
        case {"builtin": name, "contains": text}:
            return BuiltinExpected(name, text)
        case {"contains": text}:
            return Contains(text)
        case {"exact": text}:
            return Exact(text)
        case {"no_call": True}:
            return NoCall()
        case {"json": values, "keys": keys}:
            return JsonObject(frozenset(keys), values)
        case {"boxed": value}:
            return Boxed(value)
        case {"letter": letter}:
            return Letter(letter)
    raise ValueError(f"held-out expectation {expect!r} is of no known kind")
