"""What damages a reply for clients, seen in its bytes: the inverse of each damage they were shown.

A damage has the name of its rows in `needs.csv`, and of the fault in
`reference_engine/faults/catalogue.csv` that makes it. It is seen where an object has a member in
another way than it must: missing, null, empty or of another type, too late or twice. Real clients
were shown one of these ways (`make clients`); of another one it is known only that nobody tried it.
"""

import ast
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from harness.api.fields import nested, objects
from harness.api.json_text import parsed_object
from harness.api.ledger import is_below_limit
from harness.api.parsed_rollout import ParsedExchange
from harness.api.sdk_types import event_model
from harness.api.sse import StreamEvent

Part = Mapping[str, Any]
State = Literal["missing", "null", "empty", "of another type", "late", "twice"]
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")
_DETAILS_OF_RESPONSES = ("input_tokens_details", "output_tokens_details")
_OF_CONTENT = re.compile(r"response\.(output_text|reasoning_text|content_part)\.")
_ENDS = frozenset({f"response.{end}" for end in ("completed", "incomplete", "failed", "cancelled")})


class Seen:
    """The objects of one reply, of which equal forms of the events of a stream are seen once."""

    def __init__(self, exchange: ParsedExchange) -> None:
        """Sort what arrived; nothing is judged yet."""
        self.exchange = exchange
        self.chat = exchange.api == "chat"
        self.streams = bool(exchange.events)
        self.events = [event for event in exchange.events if event.data is not None]
        forms: dict[object, Part] = {}
        for event in self.events:
            forms.setdefault(_form(event), event.data or {})
        body = () if exchange.body is None else (exchange.body,)
        self.bodies: Sequence[Part] = [*forms.values()] if self.streams else body

    @cached_property
    def choices(self) -> Sequence[Part]:
        """The choices of a Chat reply."""
        return [choice for body in self.bodies for choice in objects(body.get("choices"))]

    @cached_property
    def messages(self) -> Sequence[Part]:
        """The messages and deltas of a Chat reply."""
        inner = (choice.get(name) for choice in self.choices for name in ("message", "delta"))
        return [message for message in inner if isinstance(message, dict)]

    @cached_property
    def calls(self) -> Sequence[Sequence[Part]]:
        """The calls of a Chat reply, each with its fragments in their order."""
        made: dict[object, list[Part]] = defaultdict(list)
        bodies = (event.data or {} for event in self.events) if self.streams else self.bodies
        for at, body in enumerate(bodies):
            for choice in objects(body.get("choices")):
                of = nested(choice, "delta", "tool_calls") or nested(
                    choice, "message", "tool_calls"
                )
                for number, call in enumerate(objects(of)):
                    index = call.get("index")
                    of_stream = index if isinstance(index, int) else "none"
                    made[of_stream if self.streams else (at, number)].append(call)
        return [*made.values()]

    @cached_property
    def responses(self) -> Sequence[Part]:
        """The response objects of a Responses reply, the last one last."""
        if not self.streams:
            return [body for body in self.bodies if "choices" not in body]
        inner = (nested(event.data, "response") for event in self.events)
        return [response for response in inner if isinstance(response, dict)]

    @cached_property
    def final(self) -> Part:
        """The response object that ends a Responses reply; empty without one."""
        if not self.streams:
            return self.responses[-1] if self.responses else {}
        last = [event for event in self.events if event.type in _ENDS]
        response = nested(last[-1].data, "response") if last else None
        return response if isinstance(response, dict) else {}

    @cached_property
    def items(self) -> Sequence[Part]:
        """The output items of a Responses reply, in its events and response objects."""
        inner = (nested(event.data, "item") for event in self.events)
        of_events = [item for item in inner if isinstance(item, dict)]
        listed = [objects(response.get("output")) for response in self.responses]
        return [*of_events, *(item for those in listed for item in those)]

    @cached_property
    def texts(self) -> Sequence[Part]:
        """The parts of messages with a text, in a Responses reply."""
        inner = [nested(event.data, "part") for event in self.events]
        listed = [part for item in self.items for part in objects(item.get("content"))]
        every = [*(part for part in inner if isinstance(part, dict)), *listed]
        return [part for part in every if part.get("type") == "output_text"]

    @cached_property
    def usages(self) -> Sequence[Part]:
        """What the reply says of its tokens, where it is an object."""
        of = self.bodies if self.chat else [self.final]
        if self.chat and self.streams:
            of = [event.data or {} for event in self.events]
        return [usage for body in of if isinstance(usage := body.get("usage"), dict)]

    @cached_property
    def arguments(self) -> Sequence[object]:
        """The arguments of each call, as they arrive; the fragments of a stream joined."""
        if not self.chat:
            calls = [i for i in objects(self.final.get("output")) if _is_call(i)]
            return [call.get("arguments") for call in calls]
        found: list[object] = []
        for call in self.calls:
            given = [nested(fragment, "function", "arguments") for fragment in call]
            texts = [text for text in given if isinstance(text, str)]
            other = [text for text in given if text is not None and not isinstance(text, str)]
            found.append(other[0] if other else "".join(texts))
        return found

    def of_type(self, *types: str) -> list[StreamEvent]:
        """Return the events of these types, without `response.`."""
        return [each for each in self.events if each.type.removeprefix("response.") in types]

    def ending(self, *ends: str) -> list[StreamEvent]:
        """Return the events whose type has one of these ends."""
        return [event for event in self.events if event.type.endswith(ends)]


def _form(event: StreamEvent) -> object:
    """Return what events with equal members have in common; of others than deltas, themselves."""
    data = event.data or {}
    if event.type:
        is_delta = event.type.endswith(".delta")
        return (event.type, *((k, type(v)) for k, v in data.items())) if is_delta else event.number
    (choice, *_) = objects(data.get("choices")) or [{}]
    delta = choice.get("delta")
    inner = delta.items() if isinstance(delta, dict) else ()
    return (
        *((key, type(value)) for key, value in (*data.items(), *choice.items(), *inner)),
        choice.get("finish_reason"),
    )


def _is_call(item: Part) -> bool:
    return item.get("type") == "function_call"


def state(
    part: Part, name: str, kind: type | tuple[type, ...], *, empty: bool = False
) -> State | None:
    """Return how a member is not as it must be: of a type, and not empty unless it may be."""
    if name not in part:
        return "missing"
    value = part[name]
    if value is None:
        return "null"
    wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    if wrong:
        return "of another type"
    return "empty" if not empty and value in ("", [], {}) else None


def _any(
    parts: Iterable[Part], name: str, kind: type | tuple[type, ...], *, empty: bool = False
) -> State | None:
    """Return the first way in which one of the parts has a member wrongly."""
    return next(filter(None, (state(part, name, kind, empty=empty) for part in parts)), None)


Found = State | bool | None
"""How the reply has the damage, or only that it has it."""


@dataclass(frozen=True)
class Damage:
    """What clients were shown: where it is seen, and the state in which they were shown it."""

    seen: Callable[[Seen], Found]
    shown: State | None = None
    api: Literal["chat", "responses", ""] = ""  # over which it is a damage; over both if empty
    mode: Literal["streams", "whole", ""] = ""
    own: bool = False  # whether a model may have written it
    in_cut: bool = False  # whether a reply that the limit cut has it for the same reason

    def found(self, seen: Seen) -> Found:
        """Return how the damage is in a reply, if it is."""
        other_api = self.api and (self.api == "chat") != seen.chat
        other_mode = self.mode and (self.mode == "streams") != seen.streams
        return None if other_api or other_mode else self.seen(seen)


def _whole_body(seen: Seen) -> Sequence[Part]:
    return seen.bodies if seen.chat else seen.responses


def _function(call: Part) -> Part:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def _of_calls(name: str, *, inner: bool = False) -> Callable[[Seen], Found]:
    """Return where the first fragment of a call lacks a member that it must have."""

    def found(seen: Seen) -> Found:
        for fragments in seen.calls:
            given = [_function(each) if inner else each for each in fragments]
            if first := state(given[0], name, str):
                return "late" if any(not state(each, name, str) for each in given[1:]) else first
        return None

    return found


def _items_lack(
    name: str, kind: type = str, *, of: str = "", empty: bool = False
) -> Callable[[Seen], Found]:
    """Return where items lack a member; of one type, if it is named."""
    kinds = (of,) if of else ("function_call", "message", "reasoning")
    return lambda seen: _any(
        (item for item in seen.items if item.get("type") in kinds), name, kind, empty=empty
    )


def _usage(seen: Seen) -> Found:
    if seen.usages or (seen.streams and seen.chat and not _asks_usage(seen)):
        return None
    of = seen.bodies if seen.chat else [seen.final]
    if not any(of):
        return None
    return "null" if any("usage" in body for body in of) else "missing"


def _asks_usage(seen: Seen) -> bool:
    return bool(nested(seen.exchange.request.body, "stream_options", "include_usage"))


def _details(seen: Seen) -> Found:
    """Return how the details of the tokens are not as they must be."""
    names = _DETAILS if seen.chat else _DETAILS_OF_RESPONSES
    inner = {"input_tokens_details": "cached_tokens", "output_tokens_details": "reasoning_tokens"}
    for usage in filter(None, seen.usages):
        for name in names:
            if (found := state(usage, name, dict)) is not None:
                return found
            if name in inner and (found := state(usage[name], inner[name], int, empty=True)):
                return "empty" if found == "missing" else found
    return None


def _tokens(seen: Seen, names: Sequence[str], wanted: Collection[str]) -> Found:
    usages = [usage for usage in seen.usages if usage]
    found = [state(usage, name, int, empty=True) for usage in usages for name in names]
    return next((each for each in found if each and each in wanted), None)


def _input(seen: Seen) -> Found:
    name = "prompt_tokens" if seen.chat else "input_tokens"
    return _tokens(seen, (name,), ("missing", "null"))


def _as_text(seen: Seen) -> Found:
    names = (
        ("prompt_tokens", "completion_tokens") if seen.chat else ("input_tokens", "output_tokens")
    )
    return _tokens(seen, names, ("of another type",))


def _finishes(seen: Seen) -> list[object]:
    return [choice["finish_reason"] for choice in seen.choices if choice.get("finish_reason")]


def _is_open(seen: Seen) -> bool:
    """Whether a stream lacks its end, and what is in it is not whole."""
    if any(map(_is_failure, seen.events)) or seen.exchange.error_events or not seen.events:
        return False
    if seen.chat:
        return not _finishes(seen) and not any(e.is_done for e in seen.exchange.events)
    added, done = (seen.of_type(f"output_item.{end}") for end in ("added", "done"))
    return not seen.final and len(added) > len(done)


def _deltas(seen: Seen, kind: str) -> Mapping[object, str]:
    """Return the joined deltas of a kind, by item."""
    texts: dict[object, str] = defaultdict(str)
    for event in seen.of_type(f"{kind}.delta"):
        texts[nested(event.data, "output_index")] += str(nested(event.data, "delta") or "")
    return texts


def _done(seen: Seen, kind: str, name: str = "text") -> Mapping[object, str]:
    return {
        nested(event.data, "output_index"): str(nested(event.data, name) or "")
        for event in seen.of_type(f"{kind}.done")
    }


def _ids_by_item(seen: Seen) -> Iterator[set[object]]:
    ids: dict[object, set[object]] = defaultdict(set)
    for event in seen.events:
        item, index = (nested(event.data, name) for name in ("item_id", "output_index"))
        if isinstance(item, str) and isinstance(index, int):
            ids[index].add(item)
    return iter(ids.values())


def _item_ids_change(seen: Seen) -> Found:
    named = [
        [nested(e.data, "item", "id") for e in seen.of_type(f"output_item.{end}")]
        for end in ("added", "done")
    ]
    return (
        all(isinstance(one, str) for ids in named for one in ids)
        and named[0] != named[1]
        and len(named[0]) == len(named[1])
    )


def _shared_index(seen: Seen) -> Found:
    added = [nested(event.data, "output_index") for event in seen.of_type("output_item.added")]
    return any(times > 1 and index is not None for index, times in Counter(added).items())


def _repeated(seen: Seen) -> Found:
    """Whether a done event comes twice, without its number."""
    said = Counter(
        json.dumps(
            {k: v for k, v in (e.data or {}).items() if k != "sequence_number"}, sort_keys=True
        )
        for e in seen.ending(".done")
    )
    return "twice" if any(times > 1 for times in said.values()) else None


def _cut_status(seen: Seen) -> Found:
    if seen.chat:
        return bool(seen.calls) and "stop" in _finishes(seen)
    (last, *_) = [*reversed(objects(seen.final.get("output")))] or [{}]
    whole = parsed_object(str(last.get("arguments"))) is not None
    below = seen.exchange.reply is not None and is_below_limit(seen.exchange)
    return seen.final.get("status") == "incomplete" and _is_call(last) and whole and below


def _unknown_first(seen: Seen) -> Found:
    if not seen.events or _is_failure(seen.events[0]):
        return None
    first = seen.events[0]
    return "choices" not in (first.data or {}) if seen.chat else event_model(first.type) is None


def _written(seen: Seen) -> Iterator[str]:
    """Yield the arguments that are a text and no JSON object."""
    for text in seen.arguments:
        if isinstance(text, str) and parsed_object(text) is None:
            yield text


def _begins_whole(text: str) -> bool:
    try:
        value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _is_python(text: str) -> bool:
    if not text.startswith("{'"):
        return False
    try:
        return isinstance(ast.literal_eval(text), dict)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text.rstrip().endswith("}")


def _kind_of(text: str) -> str:
    if _begins_whole(text):
        return "arguments-in-a-fence"
    if not text.lstrip().startswith("{"):
        return "arguments-without-brace"
    return "arguments-in-single-quotes" if _is_python(text) else "end-of-arguments-lost"


def _arguments(kind: str) -> Damage:
    return Damage(lambda seen: kind in map(_kind_of, _written(seen)), own=True)


def _lacks_events(*types: str, beside: Callable[[Seen], object]) -> Callable[[Seen], Found]:
    """Return where a stream lacks the events of these types, though it has what they belong to."""
    return lambda seen: (
        "missing" if seen.final and beside(seen) and not seen.of_type(*types) else None
    )


def _doubled(seen: Seen) -> Found:
    whole = _done(seen, "output_text")
    return any(
        text
        and len(joined := _deltas(seen, "output_text").get(at, "")) == 2 * len(text)
        and joined != text
        for at, text in whole.items()
    )


def _last_fragment(seen: Seen) -> Found:
    joined = _deltas(seen, "reasoning_text")
    return any(
        text and text != joined.get(at, "") and joined.get(at, "").endswith(text)
        for at, text in _done(seen, "reasoning_text").items()
    )


def _empty_output(seen: Seen) -> Found:
    if not seen.final or seen.final.get("status") == "failed":
        return None
    if "output" in seen.final and seen.final["output"] is None:
        return "null"
    spent = next((usage.get("output_tokens") for usage in seen.usages), 0)
    written = seen.of_type("output_item.done") if seen.streams else spent
    return "empty" if seen.final.get("output") == [] and written else None


def _only(found: State, where: Callable[[Seen], Found]) -> Callable[[Seen], Found]:
    return lambda seen: found if where(seen) == found else None


def _but(found: State, where: Callable[[Seen], Found]) -> Callable[[Seen], Found]:
    """Return where it is found in any other state."""
    return lambda seen: None if (got := where(seen)) == found else got


def _later_type(seen: Seen) -> Found:
    later = (fragment for fragments in seen.calls for fragment in fragments[1:])
    return "null" if any("type" in each and each["type"] is None for each in later) else None


def _index(seen: Seen) -> Found:
    return _any((each for those in seen.calls for each in those), "index", int, empty=True)


def _from_one(seen: Seen) -> Found:
    given = [call[0].get("index") for call in seen.calls]
    return bool(given) and all(isinstance(index, int) and index > 0 for index in given)


def _content_from_one(seen: Seen) -> Found:
    given = [nested(event.data, "content_index") for event in seen.of_type("content_part.added")]
    return bool(given) and all(isinstance(index, int) and index > 0 for index in given)


def _body(name: str, kind: type | tuple[type, ...]) -> Callable[[Seen], Found]:
    return lambda seen: _any(_whole_body(seen), name, kind)


def _created(seen: Seen) -> Found:
    return _any(_whole_body(seen), "created" if seen.chat else "created_at", (int, float))


def _fraction(seen: Seen) -> Found:
    times = (body.get("created" if seen.chat else "created_at") for body in _whole_body(seen))
    return any(isinstance(time, float) and not time.is_integer() for time in times)


def _role(seen: Seen) -> Found:
    if not seen.chat:
        return _items_lack("role", of="message")(seen)
    if not seen.streams:
        return None if any(map(_failed_choices, seen.bodies)) else _any(seen.messages, "role", str)
    return "missing" if seen.messages and not any(m.get("role") for m in seen.messages) else None


def _error_instead(seen: Seen) -> Found:
    """Whether a whole body is an error, and has nothing else."""
    return any(
        body.get("error") and not (body.get("choices") or body.get("output"))
        for body in seen.bodies
    )


def _every_chunk(seen: Seen) -> Found:
    with_choice = (e for e in seen.events if objects((e.data or {}).get("choices")))
    return sum(bool((event.data or {}).get("usage")) for event in with_choice) > 1


def _has_calls(seen: Seen) -> bool:
    return any(map(_is_call, objects(seen.final.get("output"))))


def _empty_message(seen: Seen) -> Found:
    output = objects(seen.final.get("output"))
    return any(
        item.get("type") == "message" and item.get("content") == [] and _is_call(after)
        for item, after in pairwise(output)
    )


_type_of_call = _of_calls("type")
_calls_lack_id = _items_lack("id", of="function_call")
_TEXT_DELTAS = ("output_text.delta", "reasoning_text.delta")
_ITEM_EVENTS = ("output_item.added", "output_item.done")


def _members(name: str, kind: type, *ends: str) -> Callable[[Seen], Found]:
    """Return where the events of a stream whose type has one of these ends lack a member."""
    return lambda seen: _any(
        (e.data or {} for e in seen.events if e.type.endswith(ends)), name, kind, empty=True
    )


def _content_index(seen: Seen) -> Found:
    of_content = (event.data or {} for event in seen.events if _OF_CONTENT.match(event.type))
    return _any(of_content, "content_index", int, empty=True)


def _name(seen: Seen) -> Found:
    of_items = _items_lack("name", of="function_call")
    return (_but("late", _of_calls("name", inner=True)) if seen.chat else of_items)(seen)


def _ends_open(seen: Seen) -> Found:
    return bool(seen.events) and not (seen.final or seen.exchange.error_events or _is_open(seen))


def _other_items_lack_id(seen: Seen) -> Found:
    lacking = (item for item in seen.items if not _is_call(item) and state(item, "id", str))
    return _items_lack("id")(seen) if any(lacking) else None


def _of_stream(name: str, kind: type, *ends: str) -> Damage:
    return Damage(_members(name, kind, *ends), "missing", "responses", "streams")


def _without(*types: str, beside: Callable[[Seen], object]) -> Damage:
    return Damage(_lacks_events(*types, beside=beside), "missing", "responses", "streams")


DAMAGES: Mapping[str, Damage] = {
    "event-names-missing": Damage(
        lambda seen: any(e.type and not e.name for e in seen.events), api="responses"
    ),
    "plain-text": Damage(lambda seen: seen.exchange.content_type == "text/plain"),
    "content-index-missing": Damage(_content_index, "missing", "responses", "streams"),
    "done-events-repeated": Damage(_repeated, "twice", "responses", "streams"),
    "usage-null": Damage(_only("null", _usage), "null", in_cut=True),
    "usage-member-missing": Damage(_only("missing", _usage), "missing", in_cut=True),
    "usage-empty": Damage(
        lambda seen: "empty" if {} in seen.usages else None, "empty", in_cut=True
    ),
    "usage-without-details": Damage(
        _only("missing", _details), "missing", "responses", in_cut=True
    ),
    "usage-details-null": Damage(_only("null", _details), "null", "responses", in_cut=True),
    "usage-details-empty": Damage(_only("empty", _details), "empty", "responses", in_cut=True),
    "usage-without-input": Damage(_input, "missing", in_cut=True),
    "usage-as-text": Damage(_as_text, "of another type", in_cut=True),
    "usage-in-every-chunk": Damage(_every_chunk, api="chat", mode="streams"),
    "status-of-a-cut": Damage(_cut_status),
    "arguments-always-objects": Damage(
        lambda seen: any(not isinstance(text, str) and text is not None for text in seen.arguments)
        or any("arguments" in i and not isinstance(i["arguments"], str | None) for i in seen.items)
    ),
    **{kind: _arguments(kind) for kind in (
        "end-of-arguments-lost", "arguments-without-brace", "arguments-in-single-quotes",
        "arguments-in-a-fence",
    )},
    "id-of-call-missing": Damage(
        lambda seen: _of_calls("id")(seen) if seen.chat else _calls_lack_id(seen), "missing"
    ),
    "call-id-missing": Damage(_items_lack("call_id", of="function_call"), "missing", "responses"),
    "call-name-missing": Damage(_name, "missing"),
    "call-name-late": Damage(
        _only("late", _of_calls("name", inner=True)), "late", "chat", "streams"
    ),
    "call-type-always-null": Damage(_only("null", _type_of_call), "null", "chat"),
    "call-type-always-missing": Damage(_but("null", _type_of_call), "missing", "chat"),
    "call-type-null": Damage(
        lambda seen: None if _type_of_call(seen) else _later_type(seen), "null", "chat", "streams"
    ),
    "call-index-null": Damage(_only("null", _index), "null", "chat", "streams"),
    "call-index-missing": Damage(_but("null", _index), "missing", "chat", "streams"),
    "call-index-from-one": Damage(_from_one, api="chat", mode="streams"),
    "calls-missing": Damage(
        lambda seen: "tool_calls" in _finishes(seen) and not seen.calls, api="chat"
    ),
    "error-event": Damage(
        lambda seen: any(_is_failure(e) for e in seen.exchange.events), mode="streams"
    ),
    "response-failed": Damage(
        lambda seen: bool(seen.of_type("failed")), api="responses", mode="streams"
    ),
    "error-in-choice": Damage(
        lambda seen: any(_failed_choices(body) for body in seen.bodies), api="chat"
    ),
    "error-with-status-200": Damage(_error_instead, mode="whole"),
    "event-cut-off": Damage(
        lambda seen: any(e.data is None and not e.is_done for e in seen.exchange.events),
        mode="streams",
    ),
    "stream-ends-in-the-middle": Damage(_is_open, mode="streams"),
    "completed-missing": Damage(_ends_open, api="responses", mode="streams"),
    "done-missing": Damage(
        lambda seen: bool(_finishes(seen)) and not any(e.is_done for e in seen.exchange.events),
        api="chat", mode="streams",
    ),
    "finish-missing": Damage(
        lambda seen: (
            bool(seen.choices)
            and not (_finishes(seen) or _is_open(seen) or any(map(_is_failure, seen.events)))
        ),
        api="chat",
    ),
    "choice-index-missing": Damage(
        lambda seen: _any(seen.choices, "index", int, empty=True), "missing", "chat"
    ),
    "role-always-missing": Damage(_role, "missing"),
    "content-in-parts": Damage(
        lambda seen: any(isinstance(m.get("content"), list) for m in seen.messages), api="chat"
    ),
    "reply-id-missing": Damage(_body("id", str), "missing", in_cut=True),
    "chunk-ids-differ": Damage(
        lambda seen: len({e.data.get("id") for e in seen.events if e.data and "id" in e.data}) > 1,
        api="chat", mode="streams",
    ),
    "object-missing": Damage(_body("object", str), "missing", in_cut=True),
    "created-time-missing": Damage(_created, "missing", in_cut=True),
    "created-time-with-fraction": Damage(_fraction, api="chat"),
    "model-missing": Damage(_body("model", str), "missing", in_cut=True),
    "output-text-empty": Damage(
        lambda seen: any(r.get("output_text") == "" for r in seen.responses),
        api="responses",
        mode="streams",
    ),
    "sequence-missing": _of_stream("sequence_number", int, ""),
    "keepalive-event": Damage(
        lambda seen: any(
            event_model(e.type) is None and not _is_failure(e) for e in seen.events[1:]
        ),
        api="responses",
        mode="streams",
    ),
    "foreign-event-first": Damage(_unknown_first, mode="streams", in_cut=True),
    "response-id-changes-at-end": Damage(
        lambda seen: len({r["id"] for r in seen.responses if isinstance(r.get("id"), str)}) > 1,
        api="responses", mode="streams",
    ),
    "item-ids-missing": _of_stream("item_id", str, ".delta"),
    "item-ids-change": Damage(
        lambda seen: any(len(ids) > 1 for ids in _ids_by_item(seen)) and not _shared_index(seen),
        api="responses", mode="streams",
    ),
    "items-without-id": Damage(_other_items_lack_id, "missing", "responses"),
    "item-id-changes": Damage(_item_ids_change, api="responses", mode="streams"),
    "output-index-missing": _of_stream("output_index", int, *_ITEM_EVENTS),
    "output-index-zero": Damage(_shared_index, api="responses", mode="streams"),
    "content-index-from-one": Damage(_content_from_one, api="responses", mode="streams"),
    "created-event-missing": _without("created", beside=lambda _: True),
    "item-added-missing": _without(
        "output_item.added", beside=lambda seen: seen.of_type("output_item.done")
    ),
    "item-done-missing": _without(
        "output_item.done", beside=lambda seen: seen.of_type("output_item.added")
    ),
    "part-events-missing": _without(
        "content_part.added",
        "content_part.done",
        beside=lambda seen: seen.of_type(*_TEXT_DELTAS),
    ),
    "text-done-missing": _without(
        "output_text.done", beside=lambda seen: seen.of_type("output_text.delta")
    ),
    "arguments-done-missing": _without("function_call_arguments.done", beside=_has_calls),
    "arguments-when-done": _without(
        "function_call_arguments.delta",
        beside=lambda seen: seen.of_type("function_call_arguments.done"),
    ),
    "text-deltas-missing": _without(
        "output_text.delta", beside=lambda seen: any(_done(seen, "output_text").values())
    ),
    "final-output-empty": Damage(_only("empty", _empty_output), "empty", "responses"),
    "final-output-null": Damage(_only("null", _empty_output), "null", "responses"),
    "annotations-missing": Damage(
        lambda seen: _any(seen.texts, "annotations", list, empty=True), "missing", "responses"
    ),
    "part-logprobs-missing": Damage(
        lambda seen: _any(seen.texts, "logprobs", list, empty=True),
        "missing",
        "responses",
        "streams",
    ),
    "item-status-missing": Damage(_items_lack("status"), "missing", "responses"),
    "response-status-missing": Damage(
        lambda seen: _any(seen.responses, "status", str), "missing", "responses"
    ),
    "summary-missing": Damage(
        _items_lack("summary", list, of="reasoning", empty=True), "missing", "responses"
    ),
    "tools-missing": Damage(
        lambda seen: _any(seen.responses, "tools", list, empty=True), "missing", "responses"
    ),
    "empty-message-first": Damage(_empty_message, api="responses", mode="streams"),
    "fragments-doubled": Damage(_doubled, api="responses", mode="streams"),
    "cot-cut-to-last-fragment": Damage(_last_fragment, api="responses", mode="streams"),
}  # fmt: skip
"""By name: each damage that clients were shown, and those that were measured in reports."""


def _is_failure(event: StreamEvent) -> bool:
    """Whether an event is an error, also one of a type that the API does not have."""
    unknown = bool(event.type) and event_model(event.type) is None
    named = unknown and {"message", "code"} <= (event.data or {}).keys()
    return (event.is_error or named) and not _failed_choices(event.data)


def _failed_choices(body: object) -> bool:
    return any(
        choice.get("error") or choice.get("finish_reason") == "error"
        for choice in objects(nested(body, "choices"))
    )


def is_cut(exchange: ParsedExchange) -> bool:
    """Whether a token limit cut the reply, and it does not only say so."""
    return exchange.truncated and not is_below_limit(exchange)


_ERROR = "error-with-status-200"  # what it lacks as a reply is no other damage


def damages_of(exchange: ParsedExchange) -> Iterator[tuple[str, Found]]:
    """Yield the damages of a response with a good status, each with the way in which it has it."""
    if exchange.good_status:
        seen = Seen(exchange)
        names = [_ERROR] if DAMAGES[_ERROR].found(seen) else [*DAMAGES]
        for name in names:
            damage = DAMAGES[name]
            if (damage.in_cut or not is_cut(exchange)) and (found := damage.found(seen)):
                yield name, found
