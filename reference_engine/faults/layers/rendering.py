"""Faults of the system and developer messages, and of the user's text in the prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from harmony.conversation import Conversation, Developer, User
from harmony.vocabulary import harmony_encoding
from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.messages import Message, rewritten
from reference_engine.faults.orders import conversing, with_turns
from reference_engine.faults.seams import ORDER, PROMPT
from reference_engine.server.generation import Order

family = Family("rendering")

_INSTRUCTIONS = "# Instructions\n\n"
_NOTE = "\nCalls to these tools must go to the commentary channel: 'functions'."
_PYTHON = (
    "\n\n# Tools\n\n## python\n\nUse this tool to execute Python code in your chain of thought.\n\n"
)


def _edited(
    tokens: list[int], role: str, edit: Callable[[str], str], header: str | None = None
) -> list[int]:
    """The prompt with the content of all messages of a role edited, and their header if given."""

    def change(message: Message) -> Iterable[Message]:
        if message.role != role or message.content is None:
            return [message]
        return [Message(header or message.header, edit(message.content), message.end)]

    return rewritten(tokens, change)


@family.fault(
    ORDER,
    "system-dropped",
    "Instructions of the client's system and developer messages do not reach the prompt.",
    source="vllm#33210",
    detectors=("prompt.system", "prompt.developer"),
)
def _system_dropped(order: Order) -> Order:
    turns = order.conversation.turns
    return with_turns(order, (turn for turn in turns if not isinstance(turn, Developer)))


@family.fault(
    ORDER,
    "second-system-dropped",
    "Only the first system or developer message reaches the prompt.",
    source="vllm PR#44330",
    detectors=("prompt.system.second",),
)
def _second_system_dropped(order: Order) -> Order:
    turns = order.conversation.turns
    first = next((turn for turn in turns if isinstance(turn, Developer)), None)
    return with_turns(
        order, (turn for turn in turns if turn is first or not isinstance(turn, Developer))
    )


@family.fault(
    PROMPT,
    "system-as-system-message",
    "Instructions become a second harmony system message without a heading.",
    source="vllm#33210",
    detectors=("prompt.system", "prompt.developer"),
)
def _system_as_system_message(tokens: list[int], _: Conversation) -> list[int]:
    return _edited(
        tokens, "developer", lambda content: content.removeprefix(_INSTRUCTIONS), "system"
    )


@family.fault(
    PROMPT,
    "instructions-heading-missing",
    "The developer message lacks its heading '# Instructions'.",
    source="vllm PR#33514",
    detectors=("prompt.system", "prompt.developer"),
)
def _instructions_heading_missing(tokens: list[int], _: Conversation) -> list[int]:
    return _edited(tokens, "developer", lambda content: content.removeprefix(_INSTRUCTIONS))


@family.fault(
    PROMPT,
    "instructions-in-identity",
    "Instructions take the place of the identity in the system message.",
    source="vllm PR#45342",
    detectors=("prompt.system", "prompt.developer"),
)
def _instructions_in_identity(tokens: list[int], conversation: Conversation) -> list[int]:
    leading = [turn.text for turn in conversation.turns if isinstance(turn, Developer)]
    if not leading:
        return tokens
    text = leading[0]
    tokens = _edited(tokens, "system", lambda content: re.sub("^.*", lambda _: text, content))
    return _edited(tokens, "developer", lambda content: content.replace(text, "", 1))


@family.fault(
    PROMPT,
    "tools-before-instructions",
    "The developer message holds its tools before its instructions.",
    source="vllm PR#44330",
    detectors=("prompt.tool.with_system", "numerics.logprobs"),
)
def _tools_before_instructions(tokens: list[int], _: Conversation) -> list[int]:
    def swapped(content: str) -> str:
        instructions, found, tools = content.partition("\n\n# Tools\n\n")
        return f"# Tools\n\n{tools}\n\n{instructions}" if found else content

    return _edited(tokens, "developer", swapped)


@family.fault(
    PROMPT,
    "empty-developer-message",
    "A developer message without content stands in the prompt where the client sent none.",
    source="vllm PR#44330",
    detectors=("prompt.system", "prompt.tool"),
)
def _empty_developer_message(tokens: list[int], _: Conversation) -> list[int]:
    if "developer" in _roles(tokens):
        return tokens
    empty = Message("developer", _INSTRUCTIONS, "<|end|>")
    return rewritten(
        tokens, lambda message: [message, empty] if message.role == "system" else [message]
    )


def _roles(tokens: list[int]) -> list[str]:
    found: list[str] = []

    def note(message: Message) -> Iterable[Message]:
        found.append(message.role)
        return [message]

    rewritten(tokens, note)
    return found


@family.fault(
    PROMPT,
    "functions-note-without-tools",
    "The system message sends calls to the commentary channel though there are no functions.",
    source="unsloth/gpt-oss-20b-BF16 discussion 6",
    detectors=("prompt.tool",),
)
def _functions_note_without_tools(tokens: list[int], _: Conversation) -> list[int]:
    return _edited(tokens, "system", lambda content: content.removesuffix(_NOTE) + _NOTE)


@family.fault(
    PROMPT,
    "functions-note-missing",
    "The system message does not say to which channel calls go.",
    source="tenstorrent/vllm#386",
    detectors=("prompt.tool",),
)
def _functions_note_missing(tokens: list[int], _: Conversation) -> list[int]:
    return _edited(tokens, "system", lambda content: content.removesuffix(_NOTE))


@family.fault(
    PROMPT,
    "channel-list-changed",
    "The system message names only analysis and final as valid channels.",
    source="tenstorrent/vllm#386",
    detectors=("prompt.bare", "numerics.logprobs"),
)
def _channel_list_changed(tokens: list[int], _: Conversation) -> list[int]:
    return _edited(tokens, "system", lambda content: content.replace(" commentary,", ""))


@family.fault(
    PROMPT,
    "builtin-advertised",
    "The system message offers the built-in tool python though nobody asked for it.",
    source="vllm#27385",
    detectors=("prompt.bare", "numerics.logprobs", "calls.name.built_in"),
)
def _builtin_advertised(tokens: list[int], _: Conversation) -> list[int]:
    return _edited(
        tokens, "system", lambda content: content.replace("\n\n# Valid", f"{_PYTHON}# Valid", 1)
    )


@family.fault(
    ORDER,
    "effort-ignored",
    "Every request is served with medium reasoning effort.",
    source="ollama#12589",
    detectors=("sampling.effort", "numerics.logprobs"),
)
def _effort_ignored(order: Order) -> Order:
    return conversing(order, effort="medium")


@family.fault(
    ORDER,
    "date-stale",
    "The system message says that today is a day of two years ago.",
    source=HYPOTHETICAL,
    detectors=("numerics.logprobs",),
    visible=False,
)
def _date_stale(order: Order) -> Order:
    return conversing(order, current_date="2023-11-14")


@family.fault(
    PROMPT,
    "knowledge-cutoff-altered",
    "The system message names another knowledge cutoff.",
    source=HYPOTHETICAL,
    detectors=("numerics.logprobs",),
    visible=False,
)
def _knowledge_cutoff_altered(tokens: list[int], _: Conversation) -> list[int]:
    return _edited(tokens, "system", lambda content: content.replace("2024-06", "2023-10"))


@family.fault(
    PROMPT,
    "special-tokens-in-user-text",
    "Text of the user that looks like a harmony marker becomes one.",
    source=HYPOTHETICAL,
    detectors=("prompt.special",),
)
def _special_tokens_in_user_text(tokens: list[int], conversation: Conversation) -> list[int]:
    encoding = harmony_encoding()
    for turn in conversation.turns:
        if isinstance(turn, User):
            plain = encoding.encode(turn.text, disallowed_special=())
            tokens = _replaced(tokens, plain, encoding.encode(turn.text, allowed_special="all"))
    return tokens


def _replaced(tokens: list[int], old: list[int], new: list[int]) -> list[int]:
    """The tokens with the first occurrence of a run replaced."""
    for at in range(len(tokens) - len(old) + 1):
        if tokens[at : at + len(old)] == old:
            return tokens[:at] + new + tokens[at + len(old) :]
    return tokens


@family.fault(
    ORDER,
    "non-ascii-escaped",
    "Letters beyond ASCII in the user's text reach the prompt as backslash escapes.",
    source=HYPOTHETICAL,
    detectors=("prompt.scripts",),
)
def _non_ascii_escaped(order: Order) -> Order:
    turns = (
        User(turn.text.encode("ascii", "backslashreplace").decode())
        if isinstance(turn, User)
        else turn
        for turn in order.conversation.turns
    )
    return with_turns(order, turns)


@family.fault(
    PROMPT,
    "system-message-missing",
    "The harmony system message, which sets effort and channels, is not in the prompt.",
    source="vllm-mlx#568",
    detectors=("prompt.bare", "sampling.effort", "numerics.logprobs"),
)
def _system_message_missing(tokens: list[int], _: Conversation) -> list[int]:
    return rewritten(tokens, lambda message: [] if message.role == "system" else [message])


@family.fault(
    PROMPT,
    "user-named-human",
    "User messages carry a role that harmony does not have.",
    source="vllm-mlx#568",
    detectors=("numerics.logprobs",),
)
def _user_named_human(tokens: list[int], _: Conversation) -> list[int]:
    return rewritten(
        tokens,
        lambda message: [replace(message, header="human") if message.role == "user" else message],
    )
