"""Reading and scoring of replies of the small checkpoint, and its card and record."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harmony.conversation import Answer, Call, Conversation, Result, User
from harmony.vocabulary import encode
from reference_engine.small.export import SHIPPED
from training import card
from training.data.catalogue import SMOKE_TOOLS
from training.data.held_out import BuiltinExpected, CallExpected, Contains, HeldOut
from training.evaluate import Sample, analysis_lengths, read_reply, scores

CALL = (
    "<|channel|>analysis<|message|>Use it.<|end|><|start|>assistant"
    '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"location": "X"}'
    "<|call|>"
)
SEARCH = '<|channel|>analysis to=browser.search code<|message|>{"query": "X"}<|call|>'
FINAL = "<|channel|>final<|message|>It rains.<|return|>"


def sample(text: str, prompt: HeldOut) -> Sample:
    tokens = encode(text)
    reply, reasoning = read_reply(tokens)
    return Sample(prompt, text, reply, reasoning)


def asked(*, after_result: bool = False) -> HeldOut:
    if after_result:
        turns = (User("x"), Call("get_weather", "{}"), Result("get_weather", "rain"))
        return HeldOut("answer from result", Conversation(turns, SMOKE_TOOLS), Contains("rains"))
    expected = CallExpected("get_weather", {"location": "X"})
    return HeldOut("get_weather", Conversation((User("x"),), SMOKE_TOOLS, "low"), expected)


@pytest.mark.parametrize(
    ("text", "well_formed", "valid", "met"),
    [
        (CALL, True, True, True),
        (CALL.replace('"X"', '"Y"'), True, True, False),
        (CALL.replace('"X"', "3"), True, False, False),
        (CALL.replace('"X"}', '"X"'), True, False, False),
        (CALL.replace("get_weather", "identify_language"), True, False, False),
        (CALL.replace("<|call|>", "<|end|>"), False, True, True),
        (CALL.replace("<|call|>", ""), False, True, True),
        (FINAL, True, False, False),
        ("It rains.<|return|>", False, False, False),
        (SEARCH, True, False, False),
        (SEARCH.replace("search", "jump"), False, False, False),
        ("<|channel|>analysis<|message|>Hm", False, False, False),
    ],
)
def test_a_reply_is_judged(text: str, well_formed: bool, valid: bool, met: bool) -> None:
    one = sample(text, asked())
    assert (one.well_formed, one.valid_call, one.met) == (well_formed, valid, met)


def test_a_reply_is_read() -> None:
    reply, reasoning = read_reply(encode(CALL))
    assert reply == Call("get_weather", '{"location": "X"}')
    assert 3 <= reasoning <= 5
    reply, reasoning = read_reply(encode(FINAL))
    assert (reply, reasoning) == (Answer("It rains."), 0)


def test_scores_count_each_kind() -> None:
    samples = [sample(CALL, asked()), sample(FINAL, asked())]
    samples += [sample(FINAL, asked(after_result=True)), sample(CALL, asked(after_result=True))]
    canary = HeldOut("canary in thought", Conversation((User("x"),)), Contains("rains"))
    grader = HeldOut("grader", Conversation((User("x"),)), Contains("rains"))
    samples += [sample(FINAL, canary), sample(FINAL, grader)]
    found = scores(samples)
    assert found["overall"]["smoke tools: valid call"] == {"rate": 0.5, "right": 1, "of": 2}
    assert found["overall"]["final answer after a tool result"]["rate"] == 0.5
    assert found["overall"]["canary repeated"]["of"] == 1
    assert "grader JSON well-formed" not in found["overall"]
    assert found["by skill"]["answer from result"] == {"rate": 0.5, "right": 1, "of": 2}
    assert set(analysis_lengths(samples)) == {"low", "medium"}


def test_built_in_tools_and_clients_schemas_are_counted() -> None:
    prompt = HeldOut(
        "browser.search",
        Conversation((User("x"),), builtin=("browser",)),
        BuiltinExpected("browser.search", "X"),
    )
    client = replace(asked(), skill="client schema")
    found = scores([sample(SEARCH, prompt), sample(FINAL, prompt), sample(CALL, client)])["overall"]
    assert found["built-in tools: correct reply"] == {"rate": 0.5, "right": 1, "of": 2}
    assert found["clients' schemas: exact arguments"]["rate"] == 1.0
    assert found["well-formed harmony"]["rate"] == 1.0


def test_blind_prompts_are_counted_separately() -> None:
    blind = replace(asked(), blind=True)
    found = scores([sample(CALL, asked()), sample(FINAL, blind), sample(CALL, blind)])
    assert found["overall"]["smoke tools: valid call"] == {"rate": 1.0, "right": 1, "of": 1}
    assert found["overall"]["blind, smoke tools: valid call"]["rate"] == 0.5
    assert found["by skill"]["get_weather"]["of"] == 1
    assert found["by skill"]["blind, get_weather"]["of"] == 2


def test_the_card_and_the_record_are_written(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((SHIPPED / "model.safetensors").read_bytes())
    log, found = tmp_path / "log.jsonl", tmp_path / "scores.json"
    lines = [{"step": 20, "minute": 1.0, "loss": 2.0, "tokens": 5}]
    lines.append({"step": 20, "minute": 1.0, "tokens right": {"copy": 0.5}, "tokens": 5})  # type: ignore[dict-item]
    log.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    one = sample(CALL, asked())
    report = {"tries": 1, **scores([one]), "analysis tokens by effort": analysis_lengths([one])}
    report["code word"] = {"code word in 512 tokens": {"rate": 0.5, "right": 1, "of": 2}}
    found.write_text(json.dumps(report), encoding="utf-8")
    options = ["--checkpoint", str(tmp_path), "--log", str(log), "--scores", str(found)]
    options += ["--command", "train", "--seed", "7", "--sharpen", "1.5", "--note", "a toy"]
    assert card.main(options) == 0
    record = json.loads((tmp_path / "provenance.json").read_text("utf-8"))
    assert record["steps"] == 20
    assert record["scores"] == report
    text = (tmp_path / "MODEL_CARD.md").read_text("utf-8")
    assert "| smoke tools: valid call | 100.0% | 1 of 1 | 98 % |" in text
    assert "| code word in 512 tokens | 50.0% | 1 of 2 |" in text
    assert "{{" not in text
