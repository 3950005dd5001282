"""The shipped weights: their size, their record, and their abilities."""

import asyncio
import hashlib
import json

import pytest
import torch

from harmony.conversation import Conversation, User
from reference_engine.checkpoint import Checkpoint, load_model
from reference_engine.generation.engine import Engine
from reference_engine.small.export import SHIPPED
from training.data.catalogue import SMOKE_TOOLS
from training.data.held_out import CallExpected, HeldOut
from training.evaluate import Sample, sample_all


def test_the_folder_is_small_and_its_record_matches_the_weights() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 10_000_000
    record = json.loads((SHIPPED / "provenance.json").read_text("utf-8"))
    weights = (SHIPPED / "model.safetensors").read_bytes()
    assert record["file_sha256"] == hashlib.sha256(weights).hexdigest()
    card = (SHIPPED / "MODEL_CARD.md").read_text("utf-8")
    valid = record["scores"]["overall"]["smoke tools: valid call"]
    assert f"{valid['right']} of {valid['of']}" in card


def test_it_has_the_full_vocabulary_and_token_codes() -> None:
    checkpoint = Checkpoint(SHIPPED)
    assert checkpoint.has_token_codes
    assert checkpoint.config.vocab_size == 201_088


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
    prompts = [
        HeldOut(name, Conversation((User(text),), SMOKE_TOOLS), CallExpected(name, arguments))
        for text, (name, arguments) in asked.items()
    ]
    engine = Engine(load_model(SHIPPED, dtype=torch.float32))
    engine.start()
    try:
        samples: list[Sample] = asyncio.run(sample_all(engine, prompts, tries=5))
    finally:
        engine.close()
    assert sum(one.well_formed for one in samples) >= 14
    assert sum(one.valid_call for one in samples) >= 14
    assert sum(one.met for one in samples) >= 11
