"""Prompt tokens of a conversation: in every healthy rendering, and after a server's mistakes.

openai-harmony renders the prompts. It does not drop stale chain of thought here: callers that
expect this leave the CoT out. `Rendering` lists how healthy servers deviate from the library, and
`explanation` names mistakes that would give the number of tokens that a prompt has.
"""

import html
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal

import openai_harmony as oh

from harmony import conversation as harmony
from harmony.conversation import texts_of
from harmony.render import developer_content, message_of, text_tokens
from harmony.vocabulary import encode, harmony_encoding
from harness.api.harmony import functions_of, items_of
from harness.api.items import ConversationItem, Message, Reasoning, Tool, ToolCall, ToolResult
from harness.text import shared_beginning

_AS_WRITTEN = oh.RenderConversationConfig(auto_drop_analysis=False)
_SOME_DATE = "2026-01-31"  # all dates have the same number of tokens
_ENDS_OF_TOOLS = "# Tools\n\n} // namespace functions"
"""A list of tools as far as it can share a token with what precedes or follows it."""

Arguments = Literal["as sent", "spaced", "compact", "ascii"]


@dataclass(frozen=True)
class Rendering:
    """How a healthy rendering deviates; the defaults are openai-harmony's."""

    instructions_end: str = ""  # what the Hugging Face template appends to instructions
    separator: str = "\n\n"
    """Between the parts of a text, and between the instructions of several messages."""
    separate: bool = False  # whether each message with instructions remains a separate message
    instructions_last: bool = False
    """Whether instructions follow the tools, after a blank line, as in Ollama's template. The blank
    line also precedes instructions without tools."""
    call_type: str = "<|constrain|>json"
    """The content type of an earlier tool call (openai/harmony issue 91)."""
    arguments: Arguments = "as sent"  # how the arguments of an earlier tool call are written
    quoted_results: bool = False
    """Whether a tool result is written as a JSON string, as in Ollama's template."""


_WRITINGS: tuple[Arguments, ...] = ("as sent", "spaced", "compact", "ascii")


def renderings() -> Iterator[Rendering]:
    """Every combination of deviations observed on healthy servers."""
    for end, separator, call_type in itertools.product(
        ("", "\n\n"), ("", "\n", "\n\n"), ("<|constrain|>json", "json", "")
    ):
        for separate, last, arguments, quoted in itertools.product(
            (False, True), (False, True), _WRITINGS, (False, True)
        ):
            yield Rendering(end, separator, separate, last, call_type, arguments, quoted)


@dataclass(frozen=True)
class Prompt:
    """A conversation and the offered tools."""

    turns: tuple[ConversationItem, ...]
    tools: tuple[Tool, ...] = ()


def differences(
    longer: Prompt,
    shorter: Prompt,
    *,
    instructions_last: bool = True,
    quoted_results: bool = True,
) -> frozenset[int]:
    """How many tokens one prompt may be longer than the other in the same rendering.

    With `instructions_last`, the instructions may also follow the tools; with `quoted_results`,
    tool results may also be JSON strings. Raises VocabularyError.
    """
    pairs = _pairs(_relevant(longer), _relevant(shorter), instructions_last, quoted_results)
    more = _counts(longer, {one for one, _ in pairs})
    fewer = _counts(shorter, {other for _, other in pairs})
    return frozenset(more[one] - fewer[other] for one, other in pairs)


def _counts(prompt: Prompt, hows: Set[Rendering]) -> Mapping[Rendering, int]:
    """Count a prompt in several renderings."""
    firsts = {how: replace(how, instructions_last=False) for how in hows}
    rendered = {first: len(tokens(prompt, first)) for first in set(firsts.values())}
    return {how: rendered[first] + _moved(prompt, how) for how, first in firsts.items()}


def bare_lengths(prompt: Prompt) -> frozenset[int]:
    """Tokens of a bare prompt, with and without a date. Raises VocabularyError."""
    return frozenset(count(prompt, Rendering(), date) for date in (None, _SOME_DATE))


def count(prompt: Prompt, how: Rendering, date: str | None = None) -> int:
    """Tokens of the prompt up to where the model continues. Raises VocabularyError."""
    return len(tokens(prompt, how, date)) + _moved(prompt, how)


def added_text(longer: Prompt, shorter: Prompt) -> str:
    """What one prompt has between the beginning and the end that it shares with the other."""
    more, fewer = (tokens(prompt, Rendering()) for prompt in (longer, shorter))
    begin = shared_beginning(more, fewer)
    end = min(shared_beginning(more[::-1], fewer[::-1]), len(fewer) - begin)
    added: str = harmony_encoding().decode(more[begin : len(more) - end])
    return added


def tokens(prompt: Prompt, how: Rendering, date: str | None = None) -> list[int]:
    """Return the prompt with instructions before tools, up to where the model continues."""
    system = oh.SystemContent.new()
    if date is not None:
        system = system.with_conversation_start_date(date)
    others = [turn for turn in prompt.turns if not instructs(turn)]
    messages = [
        oh.Message.from_role_and_content(oh.Role.SYSTEM, system),
        *_instructions(prompt, how),
        *(_message(item, how) for item in items_of(others, separator=how.separator)),
    ]
    conversation = oh.Conversation.from_messages(messages)
    rendered: list[int] = harmony_encoding().render_conversation_for_completion(
        conversation, oh.Role.ASSISTANT, config=_AS_WRITTEN
    )
    return rendered


def _moved(prompt: Prompt, how: Rendering) -> int:
    """How many more tokens the developer message has because the instructions come last."""
    texts = _instruction_texts(prompt, how) if how.instructions_last else []
    if not texts:
        return 0
    instructions = f"# Instructions\n\n{texts[0]}"
    tools = _ENDS_OF_TOOLS if prompt.tools else ""
    usual = f"{instructions}\n\n{tools}" if tools else instructions
    encode = harmony_encoding().encode
    moved = encode(f"{tools}\n\n{instructions}", disallowed_special=())
    return len(moved) - len(encode(usual, disallowed_special=()))


def _relevant(prompt: Prompt) -> frozenset[str]:
    """Return the deviations that make a difference for a prompt."""
    instructions = sum(map(instructs, prompt.turns))
    parts = any(
        isinstance(turn, Message | ToolResult) and not isinstance(turn.text, str)
        for turn in prompt.turns
    )
    calls = any(isinstance(turn, ToolCall) for turn in prompt.turns)
    relevant = {
        "instructions_end": instructions > 0,
        "separator": instructions > 1 or parts,
        "separate": instructions > 1,
        "instructions_last": instructions > 0,
        "call_type": calls,
        "arguments": calls,
        "quoted_results": any(map(_is_result, prompt.turns)),
    }
    return frozenset(name for name, differs in relevant.items() if differs)


@cache
def _pairs(
    longer: frozenset[str],
    shorter: frozenset[str],
    instructions_last: bool,
    quoted_results: bool,
) -> frozenset[tuple[Rendering, Rendering]]:
    """Return every rendering, reduced to what makes a difference for each of two prompts."""
    return frozenset(
        (_reduced(how, longer), _reduced(how, shorter))
        for how in renderings()
        if instructions_last or not how.instructions_last
        if quoted_results or not how.quoted_results
    )


def _reduced(how: Rendering, relevant: frozenset[str]) -> Rendering:
    return Rendering(**{name: getattr(how, name) for name in relevant})


def instructs(turn: ConversationItem) -> bool:
    """Whether an item is a message with instructions."""
    return isinstance(turn, Message) and turn.role in ("system", "developer")


def _instructions(prompt: Prompt, how: Rendering) -> Iterator[oh.Message]:
    """Yield the developer messages with instructions and tools."""
    texts = _instruction_texts(prompt, how)
    if texts or prompt.tools:
        content = developer_content("".join(texts[:1]), functions_of(prompt.tools))
        yield oh.Message.from_role_and_content(oh.Role.DEVELOPER, content)
    yield from (message_of(harmony.Developer(text)) for text in texts[1:])


def _instruction_texts(prompt: Prompt, how: Rendering) -> list[str]:
    items = items_of(list(filter(instructs, prompt.turns)), separator=how.separator)
    texts = [text + how.instructions_end for item in items for text in texts_of(item)]
    return texts if how.separate or not texts else [how.separator.join(texts)]


def _message(item: harmony.ConversationItem, how: Rendering) -> oh.Message:
    match item:
        case harmony.Call(name, arguments):
            call = message_of(harmony.Call(name, _written(arguments, how.arguments)))
            call.content_type = how.call_type or None
            return call
        case harmony.Result(name, output) if how.quoted_results:
            return message_of(harmony.Result(name, json.dumps(output)))
    return message_of(item)


def _written(arguments: str, how: Arguments) -> str:
    if how == "as sent":
        return arguments
    separators = (",", ":") if how == "compact" else None
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments  # A model wrote them, and no server can write them in another way.
    return json.dumps(value, ensure_ascii=how == "ascii", separators=separators)


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
    """Return the mistakes that would give this difference, in a phrase. Raises VocabularyError."""
    if count(longer, _LIBRARY) - count(shorter, _LIBRARY) == got:  # The whole prompt is rendered.
        has_cot = any(isinstance(turn, Reasoning) for turn in longer.turns)
        return "as if earlier CoT is kept" if has_cot else None
    named = [name for name, counted in _mistakes() if counted(longer) - counted(shorter) == got]
    named = [*named, *_lost_channels(longer, shorter, got)][:_MOST_NAMED]
    return f"as if {', or '.join(named)}" if named else None


def _lost_channels(longer: Prompt, shorter: Prompt, got: int) -> Iterator[str]:
    """The messages whose `<|channel|>` and its name are missing, if that explains a difference."""
    tokens = 2
    for name, has in (("tool results", _is_result), ("earlier answers", _is_answer)):
        number = sum(map(has, longer.turns)) - sum(map(has, shorter.turns))
        if number > 0 and got + tokens * number in differences(longer, shorter):
            yield f"{name} have no channel"


def _is_result(turn: ConversationItem) -> bool:
    return isinstance(turn, ToolResult)


def _is_answer(turn: ConversationItem) -> bool:
    return isinstance(turn, Message) and turn.role == "assistant"


def with_texts(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    """Return the prompt with every text of messages, results and tool descriptions changed."""
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
    """Every known mistake but kept CoT, and the tokens that a prompt has with it."""

    def counted(change: Callable[[Prompt], Prompt]) -> Callable[[Prompt], int]:
        return lambda prompt: count(change(prompt), _LIBRARY)

    for name, unwanted in _LOST.items():
        yield f"{name} missing", counted(_without(unwanted))
    yield "only the first part of a text is read", counted(_first_parts)
    yield "every part of a text is a message", counted(_split_parts)
    yield "instructions are system messages", _with_system_messages
    yield "the heading '# Instructions' is missing", _without_heading
    yield "words are split at combining marks", _split_at_marks
    yield "white space around texts is missing", counted(partial(with_texts, change=str.strip))
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


def _split_parts(prompt: Prompt) -> Prompt:
    turns: list[ConversationItem] = []
    for turn in prompt.turns:
        if isinstance(turn, Message) and isinstance(turn.text, tuple):
            turns += [replace(turn, text=part) for part in turn.text]
        else:
            turns.append(turn)
    return replace(prompt, turns=tuple(turns))


def _with_system_messages(prompt: Prompt) -> int:
    """The tokens of a prompt with `<|start|>system<|message|>…<|end|>` for each instruction."""
    frame = 4
    texts = [
        "".join(turn.text) for turn in prompt.turns if isinstance(turn, Message) and instructs(turn)
    ]
    others = _without(lambda turn, *_: instructs(turn))(prompt)
    return count(others, _LIBRARY) + sum(frame + len(text_tokens(text)) for text in texts)


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
