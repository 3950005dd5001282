"""Renders a conversation to harmony tokens, without stale chain of thought.

The headers of messages are written here, as in openai/harmony `docs/format.md`: another package
with the import name `openai_harmony` writes others (`harmony.installed`). The module behind that
name only provides the vocabulary, and writes the contents of the system message and of tools.

It does not drop analysis, either: its rule applies only if the last assistant message is `final`,
and only to messages before the first `final` (openai/harmony `src/encoding.rs`). Instead,
`drop_stale_reasoning` follows OpenAI's "How to handle the raw chain of thought in gpt-oss".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

import openai_harmony as oh

from harmony.conversation import (
    Answer,
    AnswerFormat,
    BuiltinCall,
    BuiltinResult,
    Call,
    Conversation,
    ConversationItem,
    Developer,
    FunctionTool,
    Preamble,
    Reasoning,
    Result,
    User,
    texts_of,
)
from harmony.parse import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    END_OF_TEXT,
    MESSAGE,
    RETURN,
    START,
    Completion,
    messages_in,
)
from harmony.vocabulary import encode, harmony_encoding

_EFFORT = {
    "low": oh.ReasoningEffort.LOW,
    "medium": oh.ReasoningEffort.MEDIUM,
    "high": oh.ReasoningEffort.HIGH,
}
CONTENT_TYPES = ("", "json", "<|constrain|>json")
"""The content types that gpt-oss writes into the headers of calls and JSON answers."""
_CONSTRAINED = "<|constrain|>"

Order = Literal["before", "calls after", "results after", "after"]
"""Whether the recipients of function calls and of their results stand before the channel, as in
openai/harmony `docs/format.md` and most of its renderings, or after it. gpt-oss writes both in its
calls. All orders have as many tokens."""
_RECIPIENT_LAST: Mapping[Order, tuple[type[ConversationItem], ...]] = {
    "before": (),
    "calls after": (Call,),
    "results after": (Result,),
    "after": (Call, Result),
}
OTHER_ORDERS: tuple[Order, ...] = ("calls after", "results after", "after")
_INSTRUCTIONS = "# Instructions\n\n"
_NOTHING = Developer("")
_IN_ANALYSIS = (Reasoning, BuiltinCall, BuiltinResult)
_AS_WRITTEN = oh.RenderConversationConfig(auto_drop_analysis=False)

_MARKS = 4  # Start, role, message, end.
_LONGEST_TOKEN = 128  # Bytes.

# The tokenizer's time is quadratic in the length of a run of letters, of punctuation or of spaces.
_LONGEST_STRETCH = 20_000
_STRETCH = re.compile(
    rf"[^\W\d_]{{{_LONGEST_STRETCH}}}|[^\w\s]{{{_LONGEST_STRETCH}}}|\s{{{_LONGEST_STRETCH}}}"
)


class RenderError(ValueError):
    """A conversation cannot be rendered; the message gives the reason."""


def drop_stale_reasoning(items: Sequence[ConversationItem]) -> tuple[ConversationItem, ...]:
    """Drop every chain of thought, with its built-in tools, before the last final answer."""
    finals = [at for at, item in enumerate(items) if isinstance(item, Answer)]
    last_final = finals[-1] if finals else -1
    return tuple(
        item
        for at, item in enumerate(items)
        if at > last_final or not isinstance(item, _IN_ANALYSIS)
    )


def least_tokens(conversation: Conversation) -> int:
    """A lower bound for the length of the prompt, without rendering it."""
    items = drop_stale_reasoning(conversation.items)
    messages = sum(not isinstance(item, Developer) for item in items)
    texts = _texts(replace(conversation, items=items))
    return _MARKS * messages + sum(len(text) // _LONGEST_TOKEN for text in texts)


def render_prompt(conversation: Conversation, order: Order = "before") -> list[int]:
    """Render a prompt that ends with `<|start|>assistant`. Raises RenderError."""
    return render_all(replace(conversation, items=drop_stale_reasoning(conversation.items)), order)


def render_all(conversation: Conversation, order: Order = "before") -> list[int]:
    """Like `render_prompt`, with the complete chain of thought. Raises RenderError."""
    items = tuple(item for item in conversation.items if item != _NOTHING)
    conversation = replace(conversation, items=items)
    _require_short_stretches(_texts(conversation))
    try:
        leading = [_system(conversation), *_leading_developer(conversation)]
        tokens: list[int] = harmony_encoding().render_conversation(
            oh.Conversation.from_messages(leading), config=_AS_WRITTEN
        )
        for item in items[_leading(items) :]:
            tokens += _message_tokens(item, order=order)
        tokens += encode("<|start|>assistant")
    except (ValueError, TypeError, RecursionError, oh.HarmonyError) as error:
        reason = str(error).partition(" at line ")[0]
        raise RenderError(f"The conversation cannot be rendered as harmony: {reason}.") from error
    return tokens


def continued(
    prompt: Sequence[int], completion: Completion, items: Iterable[ConversationItem]
) -> list[int]:
    """Return the prompt with an answer exactly as the model wrote it, followed by further items.

    CoT before the last final answer is dropped, as in `drop_stale_reasoning`. The answer may lack
    its end token. Raises RenderError.
    """
    called = isinstance(completion.items[-1], Call) if completion.items else False
    written = completion.tokens
    if written and written[-1] in {RETURN, CALL, END, END_OF_TEXT}:
        written = written[:-1]
    messages = messages_in([*prompt, *written, CALL if called else END])
    if any(isinstance(item, Answer) for item in completion.items):
        messages = [message for message in messages if not _is_stale(message)]
    tokens = [token for message in messages for token in message]
    for item in items:
        _require_short_stretches(texts_of(item))
        tokens += _message_tokens(item)
    return [*tokens, *encode("<|start|>assistant")]


def _is_stale(message: Sequence[int]) -> bool:
    """Whether a message before a final answer is dropped: CoT, and built-in tools within it."""
    header = harmony_encoding().decode(list(message[: message.index(MESSAGE)]))
    return "<|channel|>analysis" in header and "functions." not in header


def tokens_sha256(tokens: Iterable[int]) -> str:
    """SHA-256 (hexadecimal) of token ids, written in decimal and separated by commas."""
    return sha256(",".join(map(str, tokens)).encode()).hexdigest()


def message_tokens(item: ConversationItem, content_type: str = "") -> list[int]:
    """The tokens of a message; its header may have one of `CONTENT_TYPES`. Raises RenderError."""
    _require_short_stretches(texts_of(item))
    try:
        return _message_tokens(item, content_type)
    except ValueError as error:
        raise RenderError(f"The message cannot be rendered as harmony: {error}.") from error


@dataclass(frozen=True)
class _RenderedHeader:
    author: str
    channel: str = ""
    recipient: str = ""
    content_type: str = ""
    end: int = END


def _header(item: ConversationItem) -> _RenderedHeader:
    match item:
        case Developer():
            return _RenderedHeader("developer")
        case User():
            return _RenderedHeader("user")
        case Reasoning():
            return _RenderedHeader("assistant", "analysis")
        case Preamble():
            return _RenderedHeader("assistant", "commentary")
        case Answer():
            return _RenderedHeader("assistant", "final")
        case Call(name):
            recipient = f"functions.{name}"
            return _RenderedHeader("assistant", "commentary", recipient, CONTENT_TYPES[-1], CALL)
        case Result(name):
            return _RenderedHeader(f"functions.{name}", "commentary", "assistant")
        case BuiltinCall(name):
            return _RenderedHeader("assistant", "analysis", name, "code", CALL)
        case BuiltinResult(name):
            return _RenderedHeader(name, "analysis", "assistant")


def _message_tokens(
    item: ConversationItem, content_type: str | None = None, order: Order = "before"
) -> list[int]:
    """The tokens of a message; the recipient of a built-in call is where gpt-oss writes it."""
    header = _header(item)
    kind = header.content_type if content_type is None else content_type
    recipient = f" to={header.recipient}" if header.recipient else ""
    last = isinstance(item, (BuiltinCall, *_RECIPIENT_LAST[order]))
    tokens = [START, *_text(header.author + recipient * (not last))]
    if header.channel:
        tokens += [CHANNEL, *_text(header.channel + recipient * last)]
    if kind.startswith(_CONSTRAINED):
        tokens += [*_text(" "), CONSTRAIN, *_text(kind.removeprefix(_CONSTRAINED))]
    elif kind:
        tokens += _text(f" {kind}")
    content = texts_of(item)[-1]
    "".join(texts_of(item)).encode()  # a UnicodeEncodeError, which the tokenizer does not raise
    heading = _INSTRUCTIONS if isinstance(item, Developer) else ""
    return [*tokens, MESSAGE, *_text(heading + content), header.end]


def _text(text: str) -> list[int]:
    tokens: list[int] = harmony_encoding().encode(text, disallowed_special=())
    return tokens


def text_tokens(text: str) -> list[int]:
    """Return the tokens of a text, encoded separately from its header. Raises RenderError."""
    _require_short_stretches([text])
    return _text(text)


def written_tokens(prompt: str) -> list[int]:
    """Return the tokens of a prompt with special tokens as text. Raises RenderError."""
    _require_short_stretches([prompt])
    return encode(prompt)


def _require_short_stretches(texts: Iterable[str]) -> None:
    for text in texts:
        if len(text) >= _LONGEST_STRETCH and _STRETCH.search(text):
            raise RenderError(
                f"A text has a run of {_LONGEST_STRETCH} letters, punctuation or spaces, "
                "which would take too long to tokenize: break it up."
            )


def _texts(conversation: Conversation) -> Iterator[str]:
    for item in conversation.items:
        yield from texts_of(item)
    for tool in conversation.tools:
        yield tool.description
        yield from _strings(tool.parameters)
    if conversation.answer_format:
        yield conversation.answer_format.description
        yield from _strings(conversation.answer_format.schema)


def _strings(schema: object) -> Iterator[str]:
    """All keys and strings of a JSON value of any depth."""
    waiting = [schema]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case Mapping() as fields:
                waiting += [*fields.keys(), *fields.values()]
            case list(values):
                waiting += values


def _leading(items: Sequence[ConversationItem]) -> int:
    """Return the number of developer items at the start."""
    return next(
        (at for at, item in enumerate(items) if not isinstance(item, Developer)), len(items)
    )


def _system(conversation: Conversation) -> oh.Message:
    content = oh.SystemContent.new().with_reasoning_effort(_EFFORT[conversation.effort])
    if conversation.current_date:
        content = content.with_conversation_start_date(conversation.current_date)
    if "browser" in conversation.builtin:
        content = content.with_browser_tool()
    if "python" in conversation.builtin:
        content = content.with_python_tool()
    return oh.Message.from_role_and_content(oh.Role.SYSTEM, content)


def _leading_developer(conversation: Conversation) -> list[oh.Message]:
    """The leading instructions joined by a blank line, then the tools and the answer's format."""
    leading = conversation.items[: _leading(conversation.items)]
    text = "\n\n".join(item.text for item in leading if isinstance(item, Developer) and item.text)
    answer_format = conversation.answer_format
    if not text and not conversation.tools and not answer_format:
        return []
    parts: list[oh.Content] = [developer_content(text, conversation.tools)]
    if answer_format:
        separator = "\n\n" if text or conversation.tools else ""
        parts.append(oh.TextContent(text=separator + _response_formats(answer_format)))
    return [oh.Message.from_role_and_contents(oh.Role.DEVELOPER, parts)]


def developer_content(text: str, tools: Sequence[FunctionTool]) -> oh.DeveloperContent:
    """Instructions and tools as openai-harmony renders them in a developer message."""
    content = oh.DeveloperContent.new()
    if text:
        content = content.with_instructions(text)
    if tools:
        described = [
            oh.ToolDescription.new(
                tool.name,
                tool.description,
                None if tool.parameters is None else dict(tool.parameters),
            )
            for tool in tools
        ]
        content = content.with_function_tools(described)
    return content


def _response_formats(answer_format: AnswerFormat) -> str:
    """Return the last section of a developer message, as in openai/harmony `docs/format.md`."""
    schema = json.dumps(dict(answer_format.schema), ensure_ascii=False, separators=(",", ":"))
    comment = f"// {answer_format.description}\n" if answer_format.description else ""
    return f"# Response Formats\n\n## {answer_format.name}\n\n{comment}{schema}"
