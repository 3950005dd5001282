"""The list of the input items of a stored response."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from reference_engine.server.errors import invalid
from reference_engine.server.responses.items import (
    CallItem,
    CodeInterpreterItem,
    CompactionItem,
    CustomCallItem,
    CustomResultItem,
    Item,
    McpCallItem,
    McpListItem,
    MessageItem,
    ReasoningItem,
    ReferenceItem,
    ResultItem,
    WebSearchItem,
    encode_summary,
)

T = TypeVar("T")
_LIMIT: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=100)])
_ORDER: TypeAdapter[str] = TypeAdapter(Literal["asc", "desc"])
_DEFAULTS = {"limit": "20", "order": "desc"}


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """The part of the list that `limit`, `order` and `after` select.

    Raises:
        ApiError: A query parameter is invalid.
    """
    options = _DEFAULTS | dict(query)
    limit = _checked(_LIMIT, "limit", options)
    in_order = list(items if _checked(_ORDER, "order", options) == "asc" else reversed(items))
    if after := options.get("after"):
        places = [at for at, item in enumerate(in_order) if item["id"] == after]
        if not places:
            raise invalid("after", f"'after' is '{after}', but no input item has this id.")
        in_order = in_order[places[0] + 1 :]
    shown = in_order[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(in_order) > limit,
    }


def _checked(adapter: TypeAdapter[T], name: str, options: Mapping[str, str]) -> T:
    try:
        return adapter.validate_python(options[name])
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise invalid(name, f"Invalid value for '{name}': {reason}.") from error


def listed(item: Item) -> dict[str, Any]:
    """An item with the fields of `openai.types.responses.ResponseItem`; references stay as is.

    Fills in the id and the status that its request omitted.
    """
    match item:
        case MessageItem():
            kind = "output_text" if item.role == "assistant" else "input_text"
            part: dict[str, Any] = {"type": kind, "text": item.content}
            if item.role == "assistant":
                part["annotations"] = []
            phase = {"phase": item.phase} if item.phase else {}
            return _head(item, "msg") | {"role": item.role, "content": [part], **phase}
        case ReasoningItem():
            content = [part.model_dump() for part in item.content]
            return _head(item, "rs") | {"summary": [], "content": content}
        case CallItem():
            call = {"call_id": item.call_id, "name": item.name, "arguments": item.arguments}
            return _head(item, "fc") | call
        case CustomCallItem():
            call = {"call_id": item.call_id, "name": item.name, "input": item.input}
            return _head(item, "ctc") | call
        case ResultItem():
            prefix = "ctco" if isinstance(item, CustomResultItem) else "fco"
            return _head(item, prefix) | {"call_id": item.call_id, "output": item.output}
        case CompactionItem():
            return _head(item, "cmp") | {
                "encrypted_content": encode_summary(item.encrypted_content)
            }
        case ReferenceItem():
            return {"id": item.id, "type": item.type}
        case WebSearchItem() | CodeInterpreterItem() | McpCallItem() | McpListItem():
            return item.model_dump()


def _head(
    item: MessageItem | ReasoningItem | CallItem | CustomCallItem | ResultItem | CompactionItem,
    prefix: str,
) -> dict[str, Any]:
    given = item.id if isinstance(item.id, str) and item.id else None
    item_id = given or f"{prefix}_{secrets.token_hex(16)}"
    return {"id": item_id, "type": item.type, "status": "completed"}
