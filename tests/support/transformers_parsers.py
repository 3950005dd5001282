"""Parsers of transformers for `harmony.conformance`, each with one response template."""

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from transformers.cli.serving import utils as serving
from transformers.utils.chat_parsing import ResponseParser, parse_response

from harmony.conformance import Chunks, Message, Parser
from harmony.conversation import Answer, Call, Reasoning
from harmony.vocabulary import bytes_of

Template = Mapping[str, Any]
PREFIX = "<|start|>assistant"


def text_of(chunks: Chunks) -> str:
    """The text of a whole reply."""
    return b"".join(bytes_of(token) for chunk in chunks for token in chunk).decode(
        "utf-8", "replace"
    )


def message_of(parsed: Mapping[str, Any]) -> list[Message]:
    """What clients get of a parsed message; the CoT has one of two names."""
    reasoning = parsed.get("reasoning_content") or parsed.get("thinking") or ""
    return [Reasoning(reasoning), Answer(parsed.get("content") or ""), *calls_of(parsed)]


def calls_of(parsed: Mapping[str, Any]) -> Iterable[Call]:
    for each in parsed.get("tool_calls") or ():
        arguments = each["function"]["arguments"]
        written = arguments if isinstance(arguments, str) else json.dumps(arguments)
        yield Call(each["function"]["name"], written)


def whole(template: Template) -> Parser:
    """The parser of whole replies, which gets the text of all tokens."""
    parse = cache(lambda text: message_of(parse_response(text, template, prefix=PREFIX)))
    return lambda chunks: parse(text_of(chunks))


def streamed(template: Template) -> Parser:
    """The parser of streams, which its server uses."""

    def parse(chunks: Chunks) -> Sequence[Message]:
        parser = ResponseParser(template, prefix=PREFIX)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts = (decoder.decode(b"".join(map(bytes_of, chunk))) for chunk in chunks)
        events = [event for text in texts for event in parser.feed(text)]
        found: list[Message] = []
        for item in serving.response_events_to_chunks([*events, *parser.finalize()[1]]):
            match item:
                case serving.ToolCall():
                    found.append(Call(item.name, item.arguments))
                case serving.ReasoningText():
                    found.append(Reasoning(item))
                case _:
                    found.append(Answer(item))
        return found

    return parse
