"""Conversation to harmony prompt tokens; stale chain of thought dropped by OpenAI's rule.

The rendering itself is openai-harmony's. Its automatic dropping of analysis is switched off,
because it only acts when the last assistant message is `final`, and only before the first one
(facts: openai/harmony `src/encoding.rs`); `drop_stale_reasoning` applies the rule of OpenAI's
"How to handle the raw chain of thought in gpt-oss" instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import openai_harmony as oh

from reference_engine.harmony.conversation import (
    Answer,
    Call,
    Conversation,
    Developer,
    Preamble,
    Reasoning,
    Result,
    Turn,
    User,
)
from reference_engine.harmony.vocabulary import harmony_encoding

_EFFORT = {
    "low": oh.ReasoningEffort.LOW,
    "medium": oh.ReasoningEffort.MEDIUM,
    "high": oh.ReasoningEffort.HIGH,
}
_AS_WRITTEN = oh.RenderConversationConfig(auto_drop_analysis=False)


def drop_stale_reasoning(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Drop every chain of thought that a later final answer has concluded; keep the rest."""
    finals = [at for at, turn in enumerate(turns) if isinstance(turn, Answer)]
    last_final = finals[-1] if finals else -1
    return tuple(
        turn for at, turn in enumerate(turns) if at > last_final or not isinstance(turn, Reasoning)
    )


def render_prompt(conversation: Conversation) -> list[int]:
    """Token ids that end with `<|start|>assistant`, ready for the model to go on."""
    messages = [_system(conversation), *_leading_developer(conversation)]
    turns = drop_stale_reasoning(conversation.turns)
    messages += [_message(turn) for turn in turns[_leading(turns) :]]
    tokens: list[int] = harmony_encoding().render_conversation_for_completion(
        oh.Conversation.from_messages(messages), oh.Role.ASSISTANT, config=_AS_WRITTEN
    )
    return tokens


def _leading(turns: Sequence[Turn]) -> int:
    """How many developer turns stand before anything else."""
    return next(
        (at for at, turn in enumerate(turns) if not isinstance(turn, Developer)), len(turns)
    )


def _system(conversation: Conversation) -> oh.Message:
    content = oh.SystemContent.new().with_reasoning_effort(_EFFORT[conversation.effort])
    if conversation.current_date:
        content = content.with_conversation_start_date(conversation.current_date)
    return oh.Message.from_role_and_content(oh.Role.SYSTEM, content)


def _leading_developer(conversation: Conversation) -> list[oh.Message]:
    """The developer message: all leading instructions joined by a blank line, then the tools."""
    leading = conversation.turns[: _leading(conversation.turns)]
    text = "\n\n".join(turn.text for turn in leading if isinstance(turn, Developer) and turn.text)
    if not text and not conversation.tools:
        return []
    content = oh.DeveloperContent.new()
    if text:
        content = content.with_instructions(text)
    if conversation.tools:
        content = content.with_function_tools(
            [
                oh.ToolDescription.new(
                    tool.name,
                    tool.description,
                    dict(tool.parameters) if tool.parameters is not None else None,
                )
                for tool in conversation.tools
            ]
        )
    return [oh.Message.from_role_and_content(oh.Role.DEVELOPER, content)]


def _message(turn: Turn) -> oh.Message:
    match turn:
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
            return call.with_content_type("<|constrain|>json")
        case Result(name, output):
            author = oh.Author.new(oh.Role.TOOL, f"functions.{name}")
            result = oh.Message.from_author_and_content(author, output)
            return result.with_channel("commentary").with_recipient("assistant")


def _assistant(text: str, channel: str) -> oh.Message:
    return oh.Message.from_role_and_content(oh.Role.ASSISTANT, text).with_channel(channel)
