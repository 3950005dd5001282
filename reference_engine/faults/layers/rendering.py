"""Faults in the system message, the developer message and the user's text of a prompt."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace

from harmony.conversation import Answer, Conversation, ConversationItem, Developer, Result, User
from harmony.vocabulary import encode, harmony_encoding
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import CONVERSATION, ITEM, MESSAGE, PROMPT, message_text
from reference_engine.faults.prompts import Message, edit_messages

group = FaultGroup("rendering")

SYSTEM_TEXT = message_text("system")
DEVELOPER_TEXT = message_text("developer")
_INSTRUCTIONS = "# Instructions\n\n"
_NOTE = "\nCalls to these tools must go to the commentary channel: 'functions'."
_PYTHON = (
    "\n\n# Tools\n\n## python\n\nUse this tool to execute Python code in your chain of thought.\n\n"
)


@group.fault(ITEM, "prompt.system", "prompt.developer", source="vllm#33210")
def system_dropped(item: ConversationItem) -> ConversationItem | None:
    """The prompt lacks the client's system and developer messages."""
    return None if isinstance(item, Developer) else item


@group.fault(CONVERSATION, "prompt.system.second", source="vllm PR#44330")
def second_system_dropped(conversation: Conversation) -> Conversation:
    """Only the first system or developer message reaches the prompt."""
    items = conversation.items
    first = next((item for item in items if isinstance(item, Developer)), None)
    kept = (item for item in items if item is first or not isinstance(item, Developer))
    return replace(conversation, items=tuple(kept))


@group.fault(MESSAGE, "prompt.system", "prompt.developer", source="vllm#33210")
def system_as_system_message(message: Message) -> list[Message]:
    """Instructions become a second harmony system message without a heading."""
    if message.role != "developer" or message.content is None:
        return [message]
    text = message.content.removeprefix(_INSTRUCTIONS)
    return [replace(message, header="system", content=text)]


@group.fault(DEVELOPER_TEXT, "prompt.system", "prompt.developer", source="vllm PR#33514")
def instructions_heading_missing(text: str) -> str:
    """The developer message lacks its heading '# Instructions'."""
    return text.removeprefix(_INSTRUCTIONS)


@group.fault(PROMPT, "prompt.system", "prompt.developer", source="vllm PR#45342")
def instructions_in_identity(tokens: list[int], conversation: Conversation) -> list[int]:
    """Instructions replace the model identity in the system message."""
    leading = [item.text for item in conversation.items if isinstance(item, Developer)]
    if not leading:
        return tokens
    text = leading[0]

    def edit(message: Message) -> list[Message]:
        content = message.content or ""
        if message.role == "system":
            return [replace(message, content=re.sub("^.*", lambda _: text, content))]
        if message.role == "developer":
            return [replace(message, content=content.replace(text, "", 1))]
        return [message]

    return edit_messages(tokens, edit)


@group.fault(DEVELOPER_TEXT, "prompt.tool.order", source="vllm PR#44330")
def tools_before_instructions(text: str) -> str:
    """The developer message lists its tools before its instructions."""
    instructions, found, tools = text.partition("\n\n# Tools\n\n")
    return f"# Tools\n\n{tools}\n\n{instructions}" if found else text


@group.fault(PROMPT, "prompt.system", "prompt.tool", source="vllm PR#44330")
def empty_developer_message(tokens: list[int], _: Conversation) -> list[int]:
    """The prompt has an empty developer message although the client sent none."""
    empty = Message("developer", _INSTRUCTIONS, "<|end|>")
    roles: list[str] = []

    def edit(message: Message) -> list[Message]:
        roles.append(message.role)
        return [message, empty] if message.role == "system" else [message]

    changed = edit_messages(tokens, edit)
    return tokens if "developer" in roles else changed


@group.fault(SYSTEM_TEXT, "prompt.tool", source="unsloth/gpt-oss-20b-BF16 discussion 6")
def functions_note_without_tools(text: str) -> str:
    """The system message directs calls to the commentary channel without any functions."""
    return text.removesuffix(_NOTE) + _NOTE


@group.fault(SYSTEM_TEXT, "prompt.tool", source="tenstorrent/vllm#386")
def functions_note_missing(text: str) -> str:
    """The system message does not direct calls to the commentary channel."""
    return text.removesuffix(_NOTE)


@group.fault(SYSTEM_TEXT, "prompt.bare", "numerics", source="tenstorrent/vllm#386")
def channel_list_changed(text: str) -> str:
    """The system message lists only analysis and final as valid channels."""
    return text.replace(" commentary,", "")


@group.fault(SYSTEM_TEXT, "prompt.bare", "numerics", "calls.name.built_in", source="vllm#27385")
def builtin_advertised(text: str) -> str:
    """The system message offers the built-in tool python, which no client requested."""
    return text.replace("\n\n# Valid", f"{_PYTHON}# Valid", 1)


@group.fault(CONVERSATION, "sampling.effort", "numerics", source="ollama#12589")
def effort_ignored(conversation: Conversation) -> Conversation:
    """Every request runs with medium reasoning effort."""
    return replace(conversation, effort="medium")


@group.fault(CONVERSATION, "numerics", visible=False)
def date_stale(conversation: Conversation) -> Conversation:
    """The system message gives a current date that is years old."""
    return replace(conversation, current_date="2023-11-14")


@group.fault(SYSTEM_TEXT, "numerics", visible=False)
def knowledge_cutoff_altered(text: str) -> str:
    """The system message gives a wrong knowledge cutoff."""
    return text.replace("2024-06", "2023-10")


@group.fault(PROMPT, "prompt.special")
def special_tokens_in_user_text(tokens: list[int], conversation: Conversation) -> list[int]:
    """User text that looks like a special token is encoded as that special token."""
    for item in conversation.items:
        if isinstance(item, User):
            plain = harmony_encoding().encode(item.text, disallowed_special=())
            tokens = _replaced(tokens, plain, encode(item.text))
    return tokens


def _replaced(tokens: list[int], old: list[int], new: list[int]) -> list[int]:
    """The tokens with the first occurrence of `old` replaced."""
    for at in range(len(tokens) - len(old) + 1):
        if tokens[at : at + len(old)] == old:
            return tokens[:at] + new + tokens[at + len(old) :]
    return tokens


@group.fault(ITEM, "prompt.scripts")
def non_ascii_escaped(item: ConversationItem) -> ConversationItem:
    """Non-ASCII characters of the user's text reach the prompt as backslash escapes."""
    if not isinstance(item, User):
        return item
    return User(item.text.encode("ascii", "backslashreplace").decode())


_EXACT = ("prompt.exact.user", "prompt.exact.system", "prompt.exact.answer", "prompt.exact.result")


def _with_text(item: ConversationItem, change: Callable[[str], str]) -> ConversationItem:
    """The item with its text changed, if it is not CoT or a call."""
    match item:
        case User(text) | Developer(text) | Answer(text):
            return type(item)(change(text))
        case Result(name, output):
            return Result(name, change(output))
    return item


@group.fault(ITEM, *_EXACT)
def text_in_lower_case(item: ConversationItem) -> ConversationItem:
    """Messages and results reach the prompt in lower case."""
    return _with_text(item, str.lower)


@group.fault(ITEM, *_EXACT)
def blank_lines_removed(item: ConversationItem) -> ConversationItem:
    """Messages and results reach the prompt without blank lines."""
    return _with_text(item, lambda text: re.sub(r"\n{2,}", "\n", text))


@group.fault(ITEM, *_EXACT)
def indentation_removed(item: ConversationItem) -> ConversationItem:
    """The lines of messages and results reach the prompt without indentation."""
    return _with_text(item, lambda text: re.sub(r"(?m)^[ \t]+", "", text))


@group.fault(ITEM, *_EXACT)
def compatibility_characters_replaced(item: ConversationItem) -> ConversationItem:
    """Ligatures, fractions and full-width letters reach the prompt as plain letters."""
    return _with_text(item, lambda text: unicodedata.normalize("NFKC", text))


@group.fault(ITEM, *_EXACT)
def text_escaped_as_html(item: ConversationItem) -> ConversationItem:
    """Quotes and angle brackets of messages and results reach the prompt as HTML entities."""
    return _with_text(item, html.escape)


@group.fault(MESSAGE, "prompt.bare", "sampling.effort", "numerics", source="vllm-mlx#568")
def system_message_missing(message: Message) -> list[Message]:
    """The prompt lacks the harmony system message, which sets the effort and the channels."""
    return [] if message.role == "system" else [message]


@group.fault(MESSAGE, "numerics", source="vllm-mlx#568")
def user_named_human(message: Message) -> list[Message]:
    """User messages have the role human, which harmony does not define."""
    return [replace(message, header="human") if message.role == "user" else message]
