"""The shipped weights: their size, their record, and their abilities."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
import torch
from scripted import started

from harmony.conversation import Conversation, FunctionTool, User
from harmony.parse import STOP_TOKENS
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding
from harness.run.cases import load_suite
from reference_engine.checkpoint import Checkpoint, load_model
from reference_engine.generation.engine import Engine
from reference_engine.generation.sampling import SamplingParams
from reference_engine.small import SMALL_CHECKPOINT

TOOLS = tuple(
    FunctionTool(tool.name, tool.description, tool.parameters) for tool in load_suite().tools
)
TRIES = 5
CALL = re.compile(
    r"(<\|channel\|>analysis<\|message\|>.*<\|end\|><\|start\|>assistant)?"
    r"<\|channel\|>commentary to=functions\.(?P<tool>\w+) <\|constrain\|>json<\|message\|>"
    r"(?P<arguments>.*)<\|call\|>",
    re.DOTALL,
)
"""A reply that is exactly one call in the harmony format, optionally after CoT."""


def test_the_folder_is_small_and_its_record_matches_the_weights() -> None:
    assert sum(file.stat().st_size for file in SMALL_CHECKPOINT.iterdir()) < 10_000_000
    record = json.loads((SMALL_CHECKPOINT / "provenance.json").read_text("utf-8"))
    weights = (SMALL_CHECKPOINT / "model.safetensors").read_bytes()
    assert record["file_sha256"] == hashlib.sha256(weights).hexdigest()
    card = (SMALL_CHECKPOINT / "MODEL_CARD.md").read_text("utf-8")
    valid = record["scores"]["overall"]["smoke tools: valid call"]
    assert f"{valid['right']} of {valid['of']}" in card


def test_it_has_the_full_vocabulary_and_token_codes() -> None:
    checkpoint = Checkpoint(SMALL_CHECKPOINT)
    assert checkpoint.has_token_codes
    assert checkpoint.config.vocab_size == 201_088


async def replies(engine: Engine, requests: list[str]) -> list[tuple[str, str]]:
    """Return each request with each of its replies."""

    async def reply(text: str, seed: int) -> str:
        params = SamplingParams(max_tokens=400, seed=seed, stop_token_ids=STOP_TOKENS)
        prompt = render_prompt(Conversation((User(text),), TOOLS))
        return harmony_encoding().decode(
            [token.id async for token in engine.generate(prompt, params)]
        )

    asked = [text for text in requests for _ in range(TRIES)]
    return list(
        zip(asked, await asyncio.gather(*map(reply, asked, range(len(asked)))), strict=True)
    )


def valid(name: str, arguments: Mapping[str, Any]) -> bool:
    (tool,) = (tool for tool in TOOLS if tool.name == name)
    return jsonschema.Draft202012Validator(tool.parameters).is_valid(arguments)


@pytest.mark.slow
def test_it_calls_tools_and_copies_words_it_never_saw() -> None:
    asked = {
        "how warm does Quorvenshire feel?": ("get_weather", {"location": "Quorvenshire"}),
        "Is the backend still online?": ("service_status", {}),
        "plot [[4, 9], [7, 12]] as a bar chart": (
            "draw_chart",
            {"chart_type": "bar", "data": [[4, 9], [7, 12]]},
        ),
    }
    with started(Engine(load_model(SMALL_CHECKPOINT, dtype=torch.float32))) as engine:
        received = asyncio.run(replies(engine, list(asked)))
    matches = [(asked[text], CALL.fullmatch(reply)) for text, reply in received]
    calls = [
        (expected, (match["tool"], json.loads(match["arguments"])))
        for expected, match in matches
        if match
    ]
    assert len(calls) >= 14
    assert sum(call[0] == expected[0] and valid(*call) for expected, call in calls) >= 14
    assert sum(call == expected for expected, call in calls) >= 11
