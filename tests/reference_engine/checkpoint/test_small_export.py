"""The exported small checkpoint: tokenizer, chat template and weights in other libraries."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from harmony.conversation import (
    Answer,
    Call,
    Conversation,
    Developer,
    FunctionTool,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding, token_ids
from harness.run.cases import load_suite
from reference_engine.__main__ import main
from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.export import export_small
from reference_engine.small import SMALL_CHECKPOINT

transformers = pytest.importorskip("transformers")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "place": {"type": "string", "description": "Where"},
        "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        "points": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        "rows": {
            "type": "array",
            "items": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
        "where": {
            "type": "object",
            "description": "An object",
            "properties": {"x": {"type": "integer", "description": "East", "default": 4}},
            "required": ["x"],
        },
        "anything": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "maybe": {"type": ["string", "null"]},
        "nullable": {"type": "string", "nullable": True, "default": "z"},
        "flag": {"type": "boolean", "default": True},
    },
    "required": ["points"],
}
TOOLS = (
    FunctionTool("look", "First line\n\n  Second line", SCHEMA),
    FunctionTool("bare", "No arguments", None),
    FunctionTool("empty", "", {"type": "object", "properties": {}}),
)
CONVERSATIONS = {
    "plain": Conversation((User("Hi"),)),
    "effort and date": Conversation((User("Hi"),), effort="high", current_date="2026-01-02"),
    "instructions": Conversation((Developer("Be brief."), Developer("Be kind."), User("Hi"))),
    "tools": Conversation((User("Go"),), TOOLS),
    "instructions and tools": Conversation((Developer("Be brief."), User("Go")), TOOLS, "low"),
    "call in flight": Conversation(
        (
            User("Go"),
            Reasoning("I look."),
            Call("look", '{"points": [[1, 2]]}'),
            Result("look", "ok"),
        ),
        TOOLS,
    ),
    "two calls with a preamble": Conversation(
        (
            User("Go"),
            Reasoning("First."),
            Preamble("A moment."),
            Call("bare", "{}"),
            Result("bare", '{"a": "é"}'),
            Reasoning("Second."),
            Call("empty", "{}"),
            Result("empty", "done"),
        ),
        TOOLS,
    ),
    "reasoning before a final answer is dropped": Conversation(
        (
            User("Go"),
            Reasoning("I look."),
            Call("look", "{}"),
            Result("look", "ok"),
            Answer("Done."),
            User("Again"),
            Reasoning("Once more."),
            Call("look", "{}"),
            Result("look", "ok"),
        ),
        TOOLS,
    ),
    "late developer message": Conversation(
        (User("Hi"), Answer("Hello"), Developer("Now"), User("x"))
    ),
}


def chat_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """Return the conversation as Chat Completions messages."""
    messages: list[dict[str, Any]] = []
    pending: dict[str, Any] = {}
    for number, turn in enumerate(conversation.items):
        match turn:
            case Developer(text):
                messages.append({"role": "developer", "content": text})
            case User(text):
                messages.append({"role": "user", "content": text})
            case Reasoning(text):
                pending["reasoning"] = text
            case Preamble(text):
                pending["content"] = text
            case Answer(text):
                messages.append({"role": "assistant", **pending, "content": text})
                pending = {}
            case Call(name, arguments):
                function = {"name": name, "arguments": arguments}
                call = {"id": f"call-{number}", "type": "function", "function": function}
                messages.append({"role": "assistant", **pending, "tool_calls": [call]})
                pending = {}
            case Result(_, output):
                last = messages[-1]["tool_calls"][0]["id"]
                messages.append({"role": "tool", "tool_call_id": last, "content": output})
    return messages


@pytest.fixture(scope="module")
def tokenizer(exported: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(exported)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_template_renders_as_harmony_does(tokenizer: Any, name: str) -> None:
    conversation = CONVERSATIONS[name]
    text = tokenizer.apply_chat_template(
        chat_messages(conversation),
        tools=[
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    **({"parameters": dict(tool.parameters)} if tool.parameters else {}),
                },
            }
            for tool in conversation.tools
        ]
        or None,
        reasoning_effort=conversation.effort,
        current_date=conversation.current_date,
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text == harmony_encoding().decode(render_prompt(conversation))


@pytest.mark.slow
def test_the_tokenizer_splits_as_harmony_does(tokenizer: Any) -> None:
    rng = random.Random(0)
    encoding = harmony_encoding()
    tokens = list(token_ids())
    texts = ["", " ", "\n\n", "it's I'LL", "1234567 x", "a/b//\r\n\tc  d", "e\u0301 ﬁ 🇩🇪👩‍🚀 ١٢٣"]
    texts += [b"".join(rng.choices(tokens, k=12)).decode("utf-8", "ignore") for _ in range(300)]
    planes = ((32, 127), (32, 0x3000), (0x4E00, 0x9FFF), (0x1F300, 0x1F700), (9, 14))
    for _ in range(300):
        texts.append("".join(chr(rng.randrange(*rng.choice(planes))) for _ in range(40)))
    texts += [encoding.decode(render_prompt(one)) for one in CONVERSATIONS.values()]
    texts += [case.prompt for case in load_suite().cases]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == encoding.encode(text, allowed_special="all")
        assert tokenizer.decode(ids) == text


def test_the_config_names_a_version_of_transformers_that_trusts_its_tokenizer(
    exported: Path,
) -> None:
    config = json.loads((exported / "config.json").read_text("utf-8"))
    major = int(config["transformers_version"].partition(".")[0])
    assert major >= 5  # With an older or missing version, transformers warns of a wrong tokenizer.


@pytest.mark.slow
def test_transformers_gives_the_same_logits(exported: Path, tmp_path: Path) -> None:
    ours = load_model(SMALL_CHECKPOINT, dtype=torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)
    original = load_model(export_small(tmp_path, "original"), dtype=torch.float32)
    prompt = torch.tensor(
        [render_prompt(CONVERSATIONS["reasoning before a final answer is dropped"])]
    )
    with torch.no_grad():
        logits = ours(prompt).log_softmax(-1)
        assert (theirs(prompt).logits.log_softmax(-1) - logits).abs().max() < 1e-3
        assert (original(prompt).log_softmax(-1) - logits).abs().max() < 1e-4
    generation = json.loads((exported / "generation_config.json").read_text("utf-8"))
    assert generation["eos_token_id"] == [200_002, 199_999, 200_012]


def test_an_export_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["export-small", str(tmp_path / "file"), "--layout", "original"]) == 2
    assert "The checkpoint cannot be written" in capsys.readouterr().err
