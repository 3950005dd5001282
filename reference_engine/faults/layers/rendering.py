"""Faults in the prompt: the system message, the developer message, and the clients' texts."""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace

from harmony.conversation import Answer, Conversation, ConversationItem, Developer, Result, User
from harmony.vocabulary import encode, harmony_encoding
from reference_engine.faults import hooks
from reference_engine.faults.http import BODY, ClientRequest, Json, messages_of
from reference_engine.faults.prompts import Message

_INSTRUCTIONS = "# Instructions\n\n"
_NOTE = "\nCalls to these tools must go to the commentary channel: 'functions'."
_PYTHON = (
    "\n\n# Tools\n\n## python\n\nUse this tool to execute Python code in your chain of thought.\n\n"
)
_ADDRESS = re.compile(r"[\w.]+@[\w.]+|\d{9,}")
_FOR_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})
_WITHOUT_WIDTH = re.compile(r"[\u200b-\u200f\ufeff]")

hooks.ITEM_FILTER.faults({"system-dropped": lambda item: not isinstance(item, Developer)})
hooks.DEVELOPER_TEXT.faults(
    {"instructions-heading-missing": lambda text: text.removeprefix(_INSTRUCTIONS)}
)
hooks.SYSTEM_TEXT.faults(
    {
        "functions-note-without-tools": lambda text: text.removesuffix(_NOTE) + _NOTE,
        "functions-note-missing": lambda text: text.removesuffix(_NOTE),
        "channel-list-changed": lambda text: text.replace(" commentary,", ""),
        "builtin-advertised": lambda text: text.replace("\n\n# Valid", f"{_PYTHON}# Valid", 1),
    },
)
hooks.CONVERSATION.faults(
    {
        "effort-ignored": lambda conversation: replace(conversation, effort="medium"),
        "effort-ignored-with-tools": lambda conversation: (
            replace(conversation, effort="medium") if conversation.tools else conversation
        ),
        "effort-ignored-in-streams": lambda conversation: (
            replace(conversation, effort="medium") if BODY.get().get("stream") else conversation
        ),
    },
)


hooks.RESPONSE.faults(
    {
        "instructions-ignored-without-tools": hooks.echo("instructions"),
        "instructions-ignored-beside-messages": hooks.echo("instructions"),
    },
)


@hooks.REQUEST("instructions-ignored-without-tools")
def instructions_ignored_without_tools(body: Json, _: ClientRequest) -> None:
    if not body.get("tools"):
        body.pop("instructions", None)


@hooks.REQUEST("instructions-ignored-beside-messages")
def instructions_ignored_beside_messages(body: Json, _: ClientRequest) -> None:
    roles = {message.get("role") for message in messages_of(body)}
    if roles & {"system", "developer"}:
        body.pop("instructions", None)


hooks.MESSAGE.faults(
    {"system-message-missing": lambda message: [] if message.role == "system" else [message]}
)
hooks.HEADER.faults({"user-named-human": lambda header: "human" if header == "user" else header})
hooks.item_text(User).faults(
    {
        "non-ascii-escaped": lambda text: text.encode("ascii", "backslashreplace").decode(),
        "addresses-masked": lambda text: _ADDRESS.sub("[REDACTED]", text),
        "characters-composed": lambda text: _WITHOUT_WIDTH.sub(
            "", unicodedata.normalize("NFC", text)
        ),
        "user-text-trimmed": str.strip,
    },
)
hooks.TOOL.faults(
    {
        "descriptions-in-lower-case": lambda tool: replace(
            tool, description=(tool.description or "").lower()
        )
    }
)
hooks.item_text(Developer).faults(
    {"long-instructions-cut": lambda text: text[:8_000], "instructions-trimmed": str.strip},
)
hooks.item_text(Result).faults(
    {
        "results-trimmed": str.strip,
        "results-as-json-for-html": lambda text: json.dumps(text, ensure_ascii=False).translate(
            _FOR_HTML
        ),
    },
)
hooks.item_text(User, Developer, Answer, Result).faults(
    {"text-escaped-as-html": html.escape},
)


@hooks.ITEMS("second-system-dropped")
def second_system_dropped(items: hooks.Items) -> Iterator[ConversationItem]:
    first = next((item for item in items if isinstance(item, Developer)), None)
    return (item for item in items if item is first or not isinstance(item, Developer))


@hooks.ITEMS("late-system-dropped")
def late_system_dropped(items: hooks.Items) -> Iterator[ConversationItem]:
    first = next((at for at, item in enumerate(items) if not isinstance(item, Developer)), 0)
    return (item for at, item in enumerate(items) if at < first or not isinstance(item, Developer))


@hooks.ITEMS("questions-joined")
def questions_joined(items: hooks.Items) -> list[ConversationItem]:
    joined: list[ConversationItem] = []
    for item in items:
        if isinstance(item, User) and joined and isinstance(joined[-1], User):
            joined[-1] = User(f"{joined[-1].text}\n\n{item.text}")
        else:
            joined.append(item)
    return joined


@hooks.MESSAGE("system-as-system-message")
def system_as_system_message(message: Message) -> list[Message]:
    if message.role != "developer" or message.content is None:
        return [message]
    return [replace(message, header="system", content=message.content.removeprefix(_INSTRUCTIONS))]


@hooks.DEVELOPER_TEXT("tools-before-instructions")
def tools_before_instructions(text: str) -> str:
    instructions, found, tools = text.partition("\n\n# Tools\n\n")
    return f"# Tools\n\n{tools}\n\n{instructions}" if found else text


@hooks.PROMPT("special-tokens-in-user-text")
def special_tokens_in_user_text(tokens: list[int], conversation: Conversation) -> list[int]:
    for item in conversation.items:
        if isinstance(item, User):
            plain = harmony_encoding().encode(item.text, disallowed_special=())
            tokens = _replaced(tokens, plain, encode(item.text))
    return tokens


def _replaced(tokens: list[int], old: list[int], new: list[int]) -> list[int]:
    """Return the tokens with the first occurrence of `old` replaced."""
    for at in range(len(tokens) - len(old) + 1):
        if tokens[at : at + len(old)] == old:
            return tokens[:at] + new + tokens[at + len(old) :]
    return tokens
