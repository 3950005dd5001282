"""What a server may have done to a prompt, from the number of tokens that it has."""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from harmony.vocabulary import encode, harmony_encoding
from harness.api.base import ConversationItem, Message, Reasoning, ToolCall, ToolResult
from harness.probes.rendering import Prompt, Rendering, count, instructs, tokens

_LIBRARY = Rendering()
_MOST_NAMED = 3
_QUOTES = str.maketrans({"“": '"', "”": '"', "«": '"', "»": '"', "„": '"', "‘": "'", "’": "'"})

TEXT_MISTAKES: Mapping[str, Callable[[str], str]] = {
    "letters are in lower case": str.lower,
    "blank lines are missing": lambda text: re.sub(r"\n\s*\n", "\n", text),
    "indentation is missing": lambda text: re.sub(r"(?m)^[ \t]+", "", text),
    "white space is reduced to single spaces": lambda text: " ".join(text.split()),
    "compatibility characters are replaced (NFKC)": lambda text: unicodedata.normalize(
        "NFKC", text
    ),
    "accents are separate characters (NFD)": lambda text: unicodedata.normalize("NFD", text),
    "typographic quotes are replaced by ASCII": lambda text: text.translate(_QUOTES),
    "quotes and angle brackets are escaped as in HTML": html.escape,
    "HTML entities are replaced by characters": html.unescape,
    "quotes and line breaks are escaped as in JSON": lambda text: json.dumps(
        text, ensure_ascii=False
    )[1:-1],
    "characters beyond ASCII are escaped": lambda text: text.encode(
        "ascii", "backslashreplace"
    ).decode(),
    "characters beyond ASCII are replaced by ?": lambda text: text.encode(
        "ascii", "replace"
    ).decode(),
    "characters beyond ASCII are missing": lambda text: text.encode("ascii", "ignore").decode(),
}
"""Changes of every text that the client sends."""


def explanation(longer: Prompt, shorter: Prompt, got: int) -> str | None:
    """The mistakes that would give this difference, in a phrase. Raises VocabularyError."""
    named = [name for name, counted in _mistakes() if counted(longer) - counted(shorter) == got][
        :_MOST_NAMED
    ]
    return f"as if {', or '.join(named)}" if named else None


def with_texts(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    """The prompt with every text of messages, results and tool descriptions changed."""
    tools = (replace(tool, description=change(tool.description)) for tool in prompt.tools)
    return Prompt(tuple(_with_text(turn, change) for turn in prompt.turns), tuple(tools))


def _with_text(turn: ConversationItem, change: Callable[[str], str]) -> ConversationItem:
    match turn:
        case Message(text=str(text)) | ToolResult(text=str(text)) | Reasoning(text):
            return replace(turn, text=change(text))
        case Message(text=tuple(parts)) | ToolResult(text=tuple(parts)):
            return replace(turn, text=tuple(map(change, parts)))
        case _:
            return turn


def _mistakes() -> Iterator[tuple[str, Callable[[Prompt], int]]]:
    """Every known mistake, and the tokens that a prompt has with it."""

    def counted(change: Callable[[Prompt], Prompt]) -> Callable[[Prompt], int]:
        return lambda prompt: count(change(prompt), _LIBRARY)

    yield "earlier CoT is kept", counted(lambda prompt: prompt)
    for name, unwanted in _LOST.items():
        yield f"{name} missing", counted(_without(unwanted))
    yield "only the first part of a text is read", counted(_first_parts)
    yield "the heading '# Instructions' is missing", _without_heading
    yield "words are split at combining marks", _split_at_marks
    for name, change in TEXT_MISTAKES.items():
        yield name, counted(partial(with_texts, change=change))


def _announces(turn: ConversationItem, after: ConversationItem | None) -> bool:
    return isinstance(turn, Message) and isinstance(after, ToolCall)


_Unwanted = Callable[[ConversationItem, ConversationItem | None, ConversationItem | None], bool]
"""Whether a turn is left out, from the turn and those after and before it."""
_LOST: Mapping[str, _Unwanted] = {
    "CoT is": lambda turn, *_: isinstance(turn, Reasoning),
    "instructions are": lambda turn, *_: instructs(turn),
    "text before a tool call is": lambda turn, after, _: _announces(turn, after),
    "text between CoT and a tool call is": lambda turn, after, before: (
        _announces(turn, after) and isinstance(before, Reasoning)
    ),
    "CoT and text before a tool call are": lambda turn, after, _: (
        isinstance(turn, Reasoning) or _announces(turn, after)
    ),
    "tool results are": lambda turn, *_: isinstance(turn, ToolResult),
    "tool calls and their results are": lambda turn, *_: isinstance(turn, ToolCall | ToolResult),
    "earlier answers are": lambda turn, *_: isinstance(turn, Message) and turn.role == "assistant",
}


def _without(unwanted: _Unwanted) -> Callable[[Prompt], Prompt]:
    def change(prompt: Prompt) -> Prompt:
        turns = prompt.turns
        around = zip(turns, (*turns[1:], None), (None, *turns[:-1]), strict=True)
        return replace(prompt, turns=tuple(each[0] for each in around if not unwanted(*each)))

    return change


def _first_parts(prompt: Prompt) -> Prompt:
    turns = (
        replace(turn, text=turn.text[0])
        if isinstance(turn, Message | ToolResult) and isinstance(turn.text, tuple)
        else turn
        for turn in prompt.turns
    )
    return replace(prompt, turns=tuple(turns))


def _without_heading(prompt: Prompt) -> int:
    heading = len(harmony_encoding().encode("# Instructions\n\n"))
    return count(prompt, _LIBRARY) - heading * any(map(instructs, prompt.turns))


def _split_at_marks(prompt: Prompt) -> int:
    """The tokens from a tokenizer that takes combining marks for punctuation, as llama.cpp's."""
    rendered = tokens(prompt, _LIBRARY)
    text = harmony_encoding().decode(rendered)
    marked = (f"\0{each}" if unicodedata.category(each)[0] == "M" else each for each in text)
    parts = "".join(marked).split("\0")
    return sum(len(encode(part)) for part in parts) if len(parts) > 1 else len(rendered)
