"""Renders a conversation to harmony tokens, without stale chain of thought.

openai-harmony does the rendering, but not the dropping of analysis: its own rule applies only if
the last assistant message is `final`, and only to messages before the first `final`
(openai/harmony `src/encoding.rs`). Instead, `drop_stale_reasoning` follows OpenAI's "How to handle
the raw chain of thought in gpt-oss".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

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
from harmony.parse import CALL, END, END_OF_TEXT, MESSAGE, RETURN, Completion, messages_in
from harmony.vocabulary import encode, harmony_encoding

_EFFORT = {
    "low": oh.ReasoningEffort.LOW,
    "medium": oh.ReasoningEffort.MEDIUM,
    "high": oh.ReasoningEffort.HIGH,
}
CONTENT_TYPES = ("", "json", "<|constrain|>json")
"""The content types that gpt-oss writes into the headers of calls and JSON answers."""
_NOTHING = Developer("")
_IN_ANALYSIS = (Reasoning, BuiltinCall, BuiltinResult)
_AS_WRITTEN = oh.RenderConversationConfig(auto_drop_analysis=False)
_BUILTIN_CALL = "<|start|>assistant<|channel|>analysis to={name} code<|message|>"
"""The header as gpt-oss writes it. openai-harmony puts the recipient before the channel."""

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


def render_prompt(conversation: Conversation) -> list[int]:
    """Render a prompt that ends with `<|start|>assistant`. Raises RenderError."""
    items = drop_stale_reasoning(conversation.items)
    return render_all(replace(conversation, items=items))


def render_all(conversation: Conversation) -> list[int]:
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
            tokens += _item_tokens(item)
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
        tokens += _item_tokens(item)
    return [*tokens, *encode("<|start|>assistant")]


def _is_stale(message: Sequence[int]) -> bool:
    """Whether a message before a final answer is dropped: CoT, and built-in tools within it."""
    header = harmony_encoding().decode(list(message[: message.index(MESSAGE)]))
    return "<|channel|>analysis" in header and "functions." not in header


def message_tokens(item: ConversationItem, content_type: str = "") -> list[int]:
    """The tokens of a message; its header may have one of `CONTENT_TYPES`. Raises RenderError."""
    _require_short_stretches(texts_of(item))
    message = message_of(item)
    message.content_type = content_type or None
    try:
        tokens: list[int] = harmony_encoding().render(message)
    except (ValueError, oh.HarmonyError) as error:
        raise RenderError(f"The message cannot be rendered as harmony: {error}.") from error
    return tokens


def _item_tokens(item: ConversationItem) -> list[int]:
    if not isinstance(item, BuiltinCall):
        tokens: list[int] = harmony_encoding().render(message_of(item))
        return tokens
    content = harmony_encoding().encode(item.content, disallowed_special=())
    return [*encode(_BUILTIN_CALL.format(name=item.name)), *content, *encode("<|call|>")]


def text_tokens(text: str) -> list[int]:
    """Return the tokens of a text, encoded separately from its header. Raises RenderError."""
    _require_short_stretches([text])
    tokens: list[int] = harmony_encoding().encode(text, disallowed_special=())
    return tokens


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


def message_of(item: ConversationItem) -> oh.Message:
    """An item as a message of openai-harmony."""
    match item:
        case Developer(text):
            content = oh.DeveloperContent.new().with_instructions(text)
            return oh.Message.from_role_and_content(oh.Role.DEVELOPER, content)
        case User(text):
            return oh.Message.from_role_and_content(oh.Role.USER, text)
        case Reasoning(text):
            return _assistant(text, "analysis")
        case Preamble(text):
            return _assistant(text, "commentary")
        case Answer(text):
            return _assistant(text, "final")
        case Call(name, arguments):
            call = _assistant(arguments, "commentary").with_recipient(f"functions.{name}")
            return call.with_content_type(CONTENT_TYPES[-1])
        case Result(name, output):
            return _result(f"functions.{name}", output, "commentary")
        case BuiltinCall(name, content):
            return _assistant(content, "analysis").with_recipient(name).with_content_type("code")
        case BuiltinResult(name, output):
            return _result(name, output, "analysis")


def _assistant(text: str, channel: str) -> oh.Message:
    return oh.Message.from_role_and_content(oh.Role.ASSISTANT, text).with_channel(channel)


def _result(tool: str, output: str, channel: str) -> oh.Message:
    author = oh.Author.new(oh.Role.TOOL, tool)
    result = oh.Message.from_author_and_content(author, output)
    return result.with_channel(channel).with_recipient("assistant")
