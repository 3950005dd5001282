"""Faults that affect only some requests; the catalogue gives the share that each affects."""

import re
from collections import OrderedDict
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
)
from reference_engine.faults.layers.parsing import dropped

_MOST_CACHED = 1000
_LAST: dict[str, Json] = {}
_CACHE: OrderedDict[bytes, bytes] = OrderedDict()

hooks.PARSED.faults(sometimes_empty=dropped("answer"))
hooks.whole_text("answer").faults(
    words_sometimes_masked=lambda text: re.sub(r"(?<=[\w,;:] )\w{2,}", "***", text, count=1)
)


@hooks.INPUT
def prefix_cache_hides_results(tokens: list[int]) -> list[int]:
    encode = harmony_encoding().encode
    starts = [at for at, token in enumerate(tokens) if token == START]
    roles = [tokens[at + 1] for at in starts]
    if encode("functions")[0] not in roles:
        return tokens
    after = starts[roles.index(encode("user")[0]) + 1]
    return [*tokens[:after], START, *encode("assistant")]


@hooks.REPLY
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


@hooks.REPLY
def cache_key_lacks_temperature(reply: Reply, request: ClientRequest) -> Reply:
    if reply.status != 200 or not reply.body:
        return reply
    keyed = {name: value for name, value in request.body.items() if name != "temperature"}
    key = orjson.dumps([request.api, "options", keyed], option=orjson.OPT_SORT_KEYS)
    return Reply(reply.status, reply.headers, _CACHE.setdefault(key, reply.body))


@hooks.REQUEST
def reply_of_another_request(body: Json, request: ClientRequest) -> None:
    last = _LAST.get(request.api)
    _LAST[request.api] = dict(body)
    if last is None or last.get(messages_key(last)) == body.get(messages_key(body)):
        return
    tools = {key: last[key] for key in last.keys() & {"tools", "tool_choice", "instructions"}}
    body |= {messages_key(body): last.get(messages_key(last))} | tools


@hooks.CHOICE
def answers_sometimes_refused(choice: Json, _: ClientRequest) -> None:
    if (message := choice.get("message")) and message.get("content"):
        message |= {"content": None, "refusal": "I cannot help with that."}


@hooks.RESPONSE
def ids_sometimes_shared(response: Json, _: ClientRequest) -> None:
    if "id" in response:
        response["id"] = "resp_00000000000000000000000000000000"


@hooks.RESPONSE
def other_model_sometimes(response: Json, _: ClientRequest) -> None:
    if "model" in response:
        response["model"] = "gpt-oss-mini"
