"""harmony over a raw completions endpoint: prompts are rendered and answers parsed here.

The endpoint is the engine without the provider's conversion of prompts and answers. The fields are
those of `/v1/completions` in vLLM and SGLang, with a prompt of token ids; llama.cpp's also reads
such a prompt. The tokens of an answer are `token_ids` if the endpoint returns them, otherwise
those of its text, which must include the special tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from harmony import conversation as harmony
from harmony.parse import (
    FIRST_SPECIAL,
    MESSAGE,
    STOP_TOKENS,
    Completion,
    messages_in,
    parse_completion,
)
from harmony.render import RenderError, continued, render_prompt
from harmony.vocabulary import VocabularyError, bytes_of, encode, harmony_encoding
from harness.api.dialect import Dialect, choices_of, json_events, require_end
from harness.api.fields import member, objects, objects_at, optional_member, read_usage
from harness.api.items import (
    Body,
    Finish,
    History,
    Items,
    Message,
    Reasoning,
    Reply,
    RequestSettings,
    Tool,
    ToolCall,
    ToolResult,
    UnreadableReplyError,
)
from harness.api.sse import StreamEvent
from harness.errors import ConfigurationError
from harness.records.conditions import Api
from harness.records.rollouts import Response

MOST_TOKENS = 4096
"""Token limit unless the run sets one: without a limit, these endpoints stop after 16 tokens."""
_SEPARATOR = "\n\n"
_NAMED_BY_ID = "token_id:"
_FINISHES: Mapping[str, Finish] = {"stop": "stop", "length": "length"}
_JOINED = ("tokens", "token_logprobs", "top_logprobs", "content")
_EFFORTS: Mapping[str, harmony.Effort] = {"low": "low", "medium": "medium", "high": "high"}


class HarmonyDialect(Dialect):
    """POST /completions with a prompt of harmony tokens."""

    api: Api = "harmony"
    path = "/completions"
    sdk = "completions"
    streaming: ClassVar = {"stream": True, "stream_options": {"include_usage": True}}

    def next_request(
        self, body: Mapping[str, Any], reply: Reply, items: Items, *, history: History = "sent"
    ) -> Body:
        """Return the body after `reply`, whose tokens are sent back as the model wrote them."""
        path, choice = choices_of(reply.raw)[0]
        answer = completion_of(choice, path)
        added = items_of(items, {call.id: call.name for call in reply.calls})
        return {**body, "prompt": continued(body["prompt"], answer, added)}

    def turns(self, body: Mapping[str, Any]) -> list[Any]:
        """Return the messages of the prompt in the form of Chat Completions."""
        prompt = body.get("prompt")
        if not isinstance(prompt, list) or not all(type(token) is int for token in prompt):
            return [] if prompt is None else [{"role": "user", "content": prompt}]
        return [_turn(message) for message in messages_in(prompt) if MESSAGE in message]

    def logprob_options(self, alternatives: int) -> dict[str, Any]:
        """Return the body members that request logprobs, with tokens named by their ids."""
        return {"logprobs": alternatives, "return_tokens_as_token_ids": True}

    def logprobs(self, raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the entries of all tokens, CoT and markers included."""
        listed = choices_of(raw)[0][1].get("logprobs")
        if not isinstance(listed, dict):
            return []
        if isinstance(listed.get("content"), list):  # llama.cpp has the form of Chat Completions.
            return objects(listed["content"])
        lists = [listed.get(name) or [] for name in _JOINED[:3]]
        return [
            _entry(name, value) | {"top_logprobs": [_entry(*pair) for pair in (top or {}).items()]}
            for name, value, top in zip(*lists, strict=False)
        ]

    def _conversation(
        self,
        items: Items,
        instructions: str | None,
        tools: Sequence[Tool],
        settings: RequestSettings,
    ) -> Body:
        try:
            prompt = render_prompt(conversation_of(items, instructions, tools, settings))
        except (RenderError, VocabularyError) as error:
            raise ConfigurationError(f"--apis harmony: {error}") from error
        return {
            "prompt": prompt,
            "stop_token_ids": sorted(STOP_TOKENS),
            "skip_special_tokens": False,
            "return_token_ids": True,
        }

    def _options(self, settings: RequestSettings) -> Body:
        return {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens or MOST_TOKENS,
            "seed": settings.seed,
        }

    def _reassembled(self, response: Response, events: Iterable[StreamEvent]) -> Body:
        """Return the object that the chunks of a stream add up to."""
        completion: dict[str, Any] = {}
        texts: list[str] = []
        tokens: list[Any] = []
        logprobs: dict[str, list[Any]] = {}
        finish: str | None = None
        for event, chunk in json_events(response, events):
            completion |= {key: value for key, value in chunk.items() if value is not None}
            for path, choice in objects_at(chunk, "choices", f"stream part {event.number}: "):
                texts.append(optional_member(choice, "text", str, path) or "")
                tokens += optional_member(choice, "token_ids", list, path) or ()
                for name, value in (optional_member(choice, "logprobs", dict, path) or {}).items():
                    if name in _JOINED and isinstance(value, list):
                        logprobs.setdefault(name, []).extend(value)
                finish = optional_member(choice, "finish_reason", str, path) or finish
        require_end(response, finish)
        choice = {"index": 0, "text": "".join(texts), "finish_reason": finish}
        choice |= {"token_ids": tokens} if tokens else {}
        choice |= {"logprobs": logprobs} if logprobs else {}
        return {**completion, "choices": [choice]}

    def _reply(self, raw: Body) -> Reply:
        path, choice = choices_of(raw)[0]
        items = completion_of(choice, path).items
        texts = (harmony.Preamble, harmony.Answer)
        calls = [item for item in items if isinstance(item, harmony.Call)]
        finish = _FINISHES.get(optional_member(choice, "finish_reason", str, path) or "", "unknown")
        return Reply(
            reasoning=_SEPARATOR.join(i.text for i in items if isinstance(i, harmony.Reasoning)),
            text=_SEPARATOR.join(item.text for item in items if isinstance(item, texts)),
            calls=tuple(
                ToolCall(f"call_{at}", call.name, call.arguments) for at, call in enumerate(calls)
            ),
            finish="tool_calls" if calls and finish == "stop" else finish,
            usage=read_usage(raw, prompt="prompt", completion="completion"),
            raw=raw,
        )


def completion_of(choice: Mapping[str, Any], path: str) -> Completion:
    """The parsed tokens of a choice. Raises UnreadableReplyError for text without harmony."""
    text = member(choice, "text", str, path)
    ids = optional_member(choice, "token_ids", list, path)
    if ids:
        if not all(type(token) is int and token >= 0 for token in ids):
            raise UnreadableReplyError(f"{path}.token_ids should be a list of token ids")
        return parse_completion(ids)
    tokens = encode(text)
    if tokens and all(token < FIRST_SPECIAL for token in tokens):
        raise UnreadableReplyError(
            f"{path} has neither token_ids nor special tokens of harmony in its text"
        )
    return parse_completion(tokens)


def conversation_of(
    items: Items, instructions: str | None, tools: Sequence[Tool], settings: RequestSettings
) -> harmony.Conversation:
    """Return what a first request asks, without a date."""
    leading = [] if instructions is None else [harmony.Developer(instructions)]
    return harmony.Conversation(
        items=(*leading, *items_of(items)),
        tools=tuple(
            harmony.FunctionTool(tool.name, tool.description, tool.parameters) for tool in tools
        ),
        effort=_EFFORTS.get(settings.reasoning_effort or "", "medium"),
    )


def items_of(
    items: Items, names: Mapping[str, str] = {}, separator: str = ""
) -> list[harmony.ConversationItem]:
    """Items as harmony messages; `names` are the functions of earlier calls by their ids.

    `separator` joins the parts of a text.
    """

    def text_of(item: Message | ToolResult) -> str:
        return item.text if isinstance(item.text, str) else separator.join(item.text)

    known = {**names, **{item.id: item.name for item in items if isinstance(item, ToolCall)}}
    turns: list[harmony.ConversationItem] = []
    for at, item in enumerate(items):
        match item:
            case Message(role="assistant"):
                calls_next = any(
                    isinstance(following, ToolCall) for following in items[at + 1 : at + 2]
                )
                text = text_of(item)
                turns.append(harmony.Preamble(text) if calls_next else harmony.Answer(text))
            case Message(role="user"):
                turns.append(harmony.User(text_of(item)))
            case Message():
                turns.append(harmony.Developer(text_of(item)))
            case Reasoning():
                turns.append(harmony.Reasoning(item.text))
            case ToolCall():
                turns.append(harmony.Call(item.name, item.arguments))
            case ToolResult():
                turns.append(harmony.Result(known.get(item.call_id, item.call_id), text_of(item)))
    return turns


def _turn(message: Sequence[int]) -> dict[str, Any]:
    """A message of a prompt in the form of Chat Completions."""
    middle = message.index(MESSAGE)
    decode = harmony_encoding().decode
    role = decode(list(message[1:middle])).partition("<|channel|>")[0].split(" ")[0]
    if role != "assistant":
        content = decode([token for token in message[middle + 1 :] if token < FIRST_SPECIAL])
        called = role.removeprefix("functions.")
        known = role in ("system", "developer", "user")
        return {"role": role if known else "tool", "content": content} | (
            {} if known else {"tool_call_id": called}
        )
    turn: dict[str, Any] = {"role": "assistant", "content": None}
    for item in parse_completion(message[2:]).items:
        match item:
            case harmony.Reasoning(text):
                turn["reasoning"] = text
            case harmony.Call(name, arguments):
                function = {"name": name, "arguments": arguments}
                turn["tool_calls"] = [{"id": name, "type": "function", "function": function}]
            case harmony.Preamble(text) | harmony.Answer(text):
                turn["content"] = text
    return turn


def _entry(name: object, value: object) -> dict[str, Any]:
    """A token, named by its id or text, with its logprob."""
    token = str(name)
    number = token.removeprefix(_NAMED_BY_ID)
    if number == token or not number.isdecimal():
        return {"token": token, "logprob": value}
    data = bytes_of(int(number))
    return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "logprob": value}
