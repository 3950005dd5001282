"""Streams of Chat Completions: the rules of their grammar."""

from __future__ import annotations

from harness.checks.base import CHAT_STREAM, Family
from harness.checks.streams import Rule, rules
from harness.parsing import chat_grammar as grammar

family = Family("stream")

_RULES = (
    Rule(
        grammar.DONE_MARK,
        "error",
        "A stream ends with data: [DONE], once, as its last event.",
        "Clients tell a finished stream from a broken one by it.",
    ),
    Rule(
        grammar.FINISH,
        "error",
        "A chunk has a finish_reason, and nothing else is said after it.",
        "Clients stop reading there, or wait for it.",
    ),
    Rule(
        grammar.FINISH_REPEATED,
        "warning",
        "Only one chunk has a finish_reason.",
        "Some gateways say it again with the token counts; most clients take the last.",
    ),
    Rule(
        grammar.ROLE,
        "warning",
        "The first delta says role assistant.",
        "Most clients assume it.",
    ),
    Rule(
        grammar.ID,
        "error",
        "All chunks of a stream have the same id.",
        "Clients put messages together by it.",
    ),
    Rule(
        grammar.CONSTANT,
        "info",
        "All chunks of a stream have the same model and creation time.",
        "The API says so; few clients look.",
    ),
    Rule(
        grammar.TOOL_CALLS,
        "error",
        "A streamed tool call starts with its id and name and keeps its index.",
        "Clients put calls together by it.",
    ),
    Rule(
        grammar.TOOL_CALLS_REPEATED,
        "warning",
        "The id and name of a streamed tool call are sent once.",
        "Clients that join all strings of a delta get them twice over.",
    ),
    Rule(
        grammar.USAGE_PLACE,
        "info",
        "Token counts come in one chunk of their own, after the finish_reason.",
        "Servers differ here, and clients take the last counts they see.",
    ),
)

rules(family, "chat", CHAT_STREAM, _RULES)
