"""Events of one shape are validated only once, because equal shapes are equally valid."""

from typing import Any, Literal, get_args, get_origin

import orjson
import pytest

from harness.api.sdk_types import (
    FREE_OBJECTS,
    FREE_STRINGS,
    chunk_model,
    event_model,
    mismatches,
    reply_model,
    shape_of,
)

DELTA = {
    "type": "response.output_text.delta",
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "Hello",
    "logprobs": [],
    "sequence_number": 4,
}


def closed(annotation: Any) -> bool:
    """Whether a type allows only some strings, or only some objects."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return True
    return str not in parts and any(closed(part) for part in parts if not isinstance(part, str))


def test_shapes_omit_no_field_that_the_package_restricts() -> None:
    models, left = [], [chunk_model(), reply_model("chat"), reply_model("responses")]
    left += filter(None, map(event_model, ["response.completed", "response.output_item.done"]))
    while left:
        model = left.pop()
        models.append(model)
        for field in model.model_fields.values():
            left += [each for each in inner(field.annotation) if each not in (*models, *left)]
    for model in models:
        for name, field in model.model_fields.items():
            if name in FREE_STRINGS:
                assert not closed(field.annotation), (model, name)
            if name in FREE_OBJECTS:
                assert "object" in str(field.annotation), (model, name)


def inner(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [each for part in get_args(annotation) for each in inner(part)]


@pytest.mark.parametrize(
    ("member", "value"),
    [("delta", 1), ("type", "response.other"), ("sequence_number", "4"), ("output_index", 0.5)],
)
def test_restricted_values_are_part_of_the_shape(member: str, value: object) -> None:
    assert shape_of({**DELTA, member: value}) != shape_of(DELTA)


def test_free_texts_and_numbers_are_not_part_of_the_shape() -> None:
    other = {**DELTA, "delta": "!", "item_id": "msg_2", "sequence_number": 5}
    assert shape_of(other) == shape_of(DELTA)


def test_an_invalid_shape_is_reported_once_in_an_exchange() -> None:
    model = event_model("response.output_text.delta")
    assert model is not None
    text = '{"type": "response.output_text.delta", "delta": 1}'
    data = {"type": "response.output_text.delta", "delta": 1}
    judged: set[object] = set()
    assert "$.delta" in [each.path for each in mismatches(model, text, data, judged)]
    assert list(mismatches(model, text, data, judged)) == []
    assert list(mismatches(model, text, data, set())) != []


def test_a_fraction_is_reported_after_an_integer_that_the_parser_reads_as_a_float() -> None:
    chunk = (
        '{"id": "a", "object": "chat.completion.chunk", "created": %s, "model": "m", "choices": []}'
    )
    for created, wrong in (("18446744073709551616", 0), ("1.5", 1)):
        text = chunk % created
        assert len(mismatches(chunk_model(), text, orjson.loads(text), set())) == wrong
