"""Faults that affect only some requests; the catalogue gives the share that each affects."""

import re
from collections import Counter, OrderedDict
from dataclasses import replace
from uuid import uuid4

import orjson

from harmony.parse import START
from harmony.vocabulary import harmony_encoding
from reference_engine.faults import hooks
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    Reply,
    messages_key,
    messages_of,
)
from reference_engine.faults.layers.parsing import dropped

_MOST_CACHED, _KEPT_WORDS = 1000, 5
_LAST: dict[str, Json] = {}
_CACHE: OrderedDict[bytes, bytes] = OrderedDict()
_TIMES: Counter[bytes] = Counter()
_OF_PROMPT = ("prompt_tokens", "input_tokens", "total_tokens")
_KEYED = ("model", "messages", "input", "instructions", "tools")

hooks.PARSED.faults({"sometimes-empty": dropped("answer")})
hooks.whole_text("answer").faults(
    {"words-sometimes-masked": lambda text: re.sub(r"(?<=[\w,;:] )\w{2,}", "***", text, count=1)}
)


@hooks.INPUT("prefix-cache-hides-results")
def prefix_cache_hides_results(tokens: list[int]) -> list[int]:
    encode = harmony_encoding().encode
    starts = [at for at, token in enumerate(tokens) if token == START]
    roles = [tokens[at + 1] for at in starts]
    if encode("functions")[0] not in roles:
        return tokens
    after = starts[roles.index(encode("user")[0]) + 1]
    return [*tokens[:after], START, *encode("assistant")]


@hooks.REPLY("replies-cached-with-new-ids")
def replies_cached_with_new_ids(reply: Reply, request: ClientRequest) -> Reply:
    if reply.status != 200 or not reply.body:
        return reply
    key = orjson.dumps([request.api, request.body], option=orjson.OPT_SORT_KEYS)
    if key not in _CACHE:
        _CACHE[key] = reply.body
        if len(_CACHE) > _MOST_CACHED:
            _CACHE.popitem(last=False)
        return reply
    body = orjson.loads(_CACHE[key])
    body["id"] = f"{str(body.get('id')).partition('_')[0]}_{uuid4().hex}"
    return Reply(reply.status, reply.headers, orjson.dumps(body))


@hooks.REPLY("cache-key-lacks-temperature")
def cache_key_lacks_temperature(reply: Reply, request: ClientRequest) -> Reply:
    if reply.status != 200 or not reply.body:
        return reply
    keyed = {name: value for name, value in request.body.items() if name != "temperature"}
    key = orjson.dumps([request.api, "options", keyed], option=orjson.OPT_SORT_KEYS)
    return Reply(reply.status, reply.headers, _CACHE.setdefault(key, reply.body))


def _stored(key: object, reply: Reply, fewest: int = 1) -> Reply:
    """Return the reply that a cache has for a key since so many requests, with an id of its own."""
    if reply.status != 200 or not reply.body:
        return reply
    place = orjson.dumps(key, option=orjson.OPT_SORT_KEYS)
    _TIMES[place] += 1
    if _TIMES[place] <= fewest:
        _CACHE[place] = reply.body
        return reply
    body = orjson.loads(_CACHE[place])
    body["id"] = f"{str(body.get('id')).partition('_')[0]}_{uuid4().hex}"
    return Reply(reply.status, reply.headers, orjson.dumps(body))


hooks.REPLY.faults(
    {
        "cache-by-meaning": lambda reply, request: _stored(
            ["meaning", request.api, re.sub(r"\d+", "#", str(_beside_seed(request)).lower())], reply
        ),
        "cache-from-third-request": lambda reply, request: _stored(
            ["third", request.api, _beside_seed(request)], reply, fewest=2
        ),
        "cache-key-lacks-options": lambda reply, request: _stored(
            ["options", request.api, *(request.body.get(name) for name in _KEYED)], reply
        ),
    },
)


@hooks.REPLY.when(lambda reply, request: request.api == "chat" and reply.status == 200)(
    "repeated-prompts-degenerate"
)
def repeated_prompts_degenerate(reply: Reply, request: ClientRequest) -> Reply:
    """From the second equal greedy request on, a long answer becomes one word over and over."""
    if not reply.body or request.body.get("temperature") != 0:
        return reply
    place = orjson.dumps(["again", _beside_seed(request)], option=orjson.OPT_SORT_KEYS)
    _TIMES[place] += 1
    body = reply.json
    for choice in body["choices"] if _TIMES[place] > 1 else ():
        words = (choice["message"].get("content") or "").split(" ")
        if len(words) > _KEPT_WORDS:
            kept = [*words[:_KEPT_WORDS], *words[_KEPT_WORDS - 1 : _KEPT_WORDS] * len(words)]
            choice["message"]["content"] = " ".join(kept)
    return replace(reply, body=orjson.dumps(body))


_ARGUMENTS: dict[tuple[str, str], str] = {}


@hooks.CALL.when(lambda call, request: not request.streaming)("arguments-of-another-call")
def arguments_of_another_call(call: Json, request: ClientRequest) -> None:
    """Return the arguments of the call of the same function before this one, of any request."""
    own = call.get("function", call)
    place = request.api, str(own.get("name"))
    before, _ARGUMENTS[place] = _ARGUMENTS.get(place), own["arguments"]
    own["arguments"] = before or own["arguments"]


def _beside_seed(request: ClientRequest) -> Json:
    return {name: value for name, value in request.body.items() if name != "seed"}


@hooks.REQUEST("reply-of-another-request")
def reply_of_another_request(body: Json, request: ClientRequest) -> None:
    last = _LAST.get(request.api)
    _LAST[request.api] = dict(body)
    if last is None or last.get(messages_key(last)) == body.get(messages_key(body)):
        return
    tools = {key: last[key] for key in last.keys() & {"tools", "tool_choice", "instructions"}}
    body |= {messages_key(body): last.get(messages_key(last))} | tools


@hooks.REPLY.when(lambda reply, _: reply.status == 200 and bool(reply.body))("errors-as-replies")
def errors_as_replies(reply: Reply, _: ClientRequest) -> Reply:
    error = {"message": "Upstream error.", "type": "server_error", "param": None, "code": None}
    return Reply(reply.status, reply.headers, orjson.dumps({"error": error}))


@hooks.CHOICE("answers-sometimes-refused")
def answers_sometimes_refused(choice: Json, _: ClientRequest) -> None:
    if (message := choice.get("message")) and message.get("content"):
        message |= {"content": None, "refusal": "I cannot help with that."}


@hooks.CHOICE("first-words-sometimes-lost")
def first_words_sometimes_lost(choice: Json, _: ClientRequest) -> None:
    if (message := choice.get("message")) and message.get("content"):
        message["content"] = re.sub(r"^\W*\w+", "", message["content"])


_DECLINES = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "Désolé, je ne peux pas répondre à cette question.",
    "抱歉，我无法回答。",
)


@hooks.CHOICE("earlier-answers-given-again")
def earlier_answers_given_again(choice: Json, request: ClientRequest) -> None:
    turns = (turn for turn in messages_of(request.body) if turn.get("role") == "assistant")
    before = [turn["content"] for turn in turns if isinstance(turn.get("content"), str)]
    if choice.get("message", {}).get("content") and before and before[-1]:
        choice["message"]["content"] = before[-1]


@hooks.CHOICE("answers-declined-in-their-place")
def answers_declined_in_their_place(choice: Json, _: ClientRequest) -> None:
    if (message := choice.get("message")) and (said := message.get("content")):
        message |= {"content": _DECLINES[len(said) % len(_DECLINES)], "reasoning": None}


hooks.USAGE.faults(
    {
        "replica-with-another-template": lambda usage, _: usage.update(
            {name: usage[name] + 7 for name in usage if name in _OF_PROMPT}
        )
    }
)
hooks.RESPONSE.faults(
    {
        "ids-sometimes-shared": lambda response, _: response.update(
            {"id": f"resp_{0:032}"} if "id" in response else {}
        ),
        "other-model-sometimes": lambda response, _: response.update(
            {"model": "gpt-oss-mini"} if "model" in response else {}
        ),
    },
)
