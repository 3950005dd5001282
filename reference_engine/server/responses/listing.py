"""The list of the input items of a stored response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from reference_engine.server.errors import invalid

T = TypeVar("T")
_LIMIT: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=100)])
_ORDER: TypeAdapter[str] = TypeAdapter(Literal["asc", "desc"])
_DEFAULTS = {"limit": "20", "order": "desc"}


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """The part of the list that `limit`, `order` and `after` select. Raises ApiError."""
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
