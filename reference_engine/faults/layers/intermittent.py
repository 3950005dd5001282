"""Faults that affect only some requests; each declares the share that it affects by default.

Some need what the server did before: they keep the last request, or replies by request.
"""

from __future__ import annotations

from collections import OrderedDict
from uuid import uuid4

import orjson

from harmony.parse import Event
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import PARSED, PAYLOAD, REPLY, REQUEST
from reference_engine.faults.http import ClientRequest, Json, Reply, messages_key, response_of
from reference_engine.faults.layers.parsing import dropped

group = FaultGroup("intermittent")

_BROKEN_REPLICA = "fp_0badc0ffee"
_MOST_CACHED = 1000
_LAST: dict[str, Json] = {}
_CACHE: OrderedDict[bytes, bytes] = OrderedDict()


@group.fault(PARSED, "reply.empty", source="TensorRT-LLM#12030", rate=0.05)
def sometimes_empty(event: Event) -> list[Event]:
    """One answer in 20 is empty."""
    return dropped(event, "answer")


@group.fault(PARSED, "chat.reasoning.missing", "responses.reasoning.missing", rate=0.125)
def reasoning_sometimes_missing(event: Event) -> list[Event]:
    """One reply in eight lacks its chain of thought."""
    return dropped(event, "reasoning")


@group.fault(REQUEST, "reply.foreign", "usage.input.differs", rate=0.02)
def reply_of_another_request(body: Json, request: ClientRequest) -> Json:
    """One request in 50 gets the reply to the last other request."""
    last = _LAST.get(request.api)
    _LAST[request.api] = body
    if last is None or last.get(messages_key(last)) == body.get(messages_key(body)):
        return body
    return {**body, messages_key(body): last.get(messages_key(last)), **_tools_of(last)}


def _tools_of(body: Json) -> Json:
    return {name: body[name] for name in ("tools", "tool_choice", "instructions") if name in body}


@group.fault(REQUEST, "state.previous_response", rate=0.34)
def stored_responses_lost(body: Json, _: ClientRequest) -> Json:
    """One stored response in three cannot be continued, because another replica stored it."""
    lost = body.get("previous_response_id")
    return body | {"previous_response_id": "resp_of_another_replica"} if lost else body


@group.fault(REPLY, "reply.id.shared")
def replies_cached(reply: Reply, request: ClientRequest) -> Reply:
    """A request with the same body as an earlier one gets its complete reply, whatever the seed."""
    return _cached(reply, request, new_id=False)


@group.fault(REPLY, "sampling.cached")
def replies_cached_with_new_ids(reply: Reply, request: ClientRequest) -> Reply:
    """A request with the same body as an earlier one gets its reply under a new id."""
    return _cached(reply, request, new_id=True)


def _cached(reply: Reply, request: ClientRequest, *, new_id: bool) -> Reply:
    if reply.status != 200 or not reply.body:
        return reply
    key = orjson.dumps([request.api, new_id, request.body], option=orjson.OPT_SORT_KEYS)
    if key not in _CACHE:
        _CACHE[key] = reply.body
        if len(_CACHE) > _MOST_CACHED:
            _CACHE.popitem(last=False)
        return reply
    body = orjson.loads(_CACHE[key])
    if new_id:
        body["id"] = f"{str(body.get('id')).partition('_')[0]}_{uuid4().hex}"
    return Reply(reply.status, reply.headers, orjson.dumps(body))


@group.fault(PAYLOAD, "reply.id.shared", rate=0.02)
def ids_sometimes_shared(data: Json, _: ClientRequest) -> Json:
    """One reply in 50 has the id of another one."""
    response = response_of(data)
    if "id" in response:
        response["id"] = "resp_00000000000000000000000000000000"
    return data


@group.fault(PARSED, "chat.reasoning.missing", rate=0.25)
def one_replica_without_reasoning(event: Event) -> list[Event]:
    """One server of four behind a load balancer returns no chain of thought."""
    return dropped(event, "reasoning")


@group.also("one-replica-without-reasoning", PAYLOAD)
def _fingerprint(data: Json, _: ClientRequest) -> Json:
    return data | {"system_fingerprint": _BROKEN_REPLICA} if "system_fingerprint" in data else data
