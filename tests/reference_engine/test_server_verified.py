"""The reference server under our own checks, with good and odd models."""

import itertools
import json
from collections import Counter
from zlib import crc32

import pytest
from scripted import CALL_OF as CALL
from scripted import COT, ScriptedEngine, as_asked, running

from gpt_oss_verify.app import run

ODD = [
    CALL.format("no_such_tool", "{}"),
    CALL.format("get_weather", '{"a'),
    "<|channel|>analysis<|message|>only thoughts<|return|>",
    "<|channel|>final<|message|>no thoughts<|return|>",
    "no header at all<|return|>",
    "<|start|>assistant<|channel|><|channel|>x<|message|>hi<|end|>",
    COT + "<|channel|>commentary<|message|>First this.<|end|><|start|>assistant"
    "<|channel|>final<|message|>then that<|return|>",
    "<|return|>",
    "<|call|>",
    "<|end|><|end|><|message|>" * 10,
    "<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>analysis<|message|>two"
    "<|end|><|start|>assistant<|channel|>final<|message|>answer<|return|>",
]  # fmt: skip
FOUND = {"failed", "warned"}
# Findings that only the model can cause.
THE_MODELS_OWN = {
    "calls.arguments.json",
    "calls.name.unknown",
    "reasoning.missing",
    "reasoning.rare",
    "reply.empty",
}


pytestmark = pytest.mark.usefixtures("empty_folder")


def verified(script, capsys, *options):
    with running(ScriptedEngine(script)) as url:
        code = run(
            ["--base-url", url, "--model", "gpt-oss-small", "--suite", "tools", "--json", *options]
        )
    return code, json.loads(capsys.readouterr().out)


def test_a_good_model_passes_without_findings(capsys):
    code, summary = verified(as_asked, capsys, "-n", "12", "-k", "2", "--rule", "guide", "--strict")
    assert code == 0
    assert not {rule["id"] for rule in summary["checks"] if rule["status"] in FOUND}
    assert {tuple(result["outcomes"].items()) for result in summary["results"]} == {
        (("success", 24),)
    }


def test_a_good_model_passes_over_harmony(capsys):
    _, summary = verified(as_asked, capsys, "--apis", "harmony", "-n", "6", "-k", "2", "--strict")
    assert [result["outcomes"] for result in summary["results"]] == [{"success": 12}]


def test_evals_run_over_harmony(capsys):
    said = COT + "<|channel|>final<|message|>The answer is 7.<|return|>"
    with running(ScriptedEngine(said)) as url:
        options = ["--eval", "aime25", "--samples", "--examples", "2", "-k", "1", "--json"]
        run(["eval", "--base-url", url, "--model", "gpt-oss-small", "--apis", "harmony", *options])
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["finished"] == 2
    assert set(result["outcomes"]) <= {"correct", "wrong"}


def test_an_odd_model_is_read_over_harmony(capsys):
    said = itertools.cycle(ODD)
    options = ["--streaming", "-n", str(len(ODD)), "-k", "1", "--max-turns", "1"]
    _, summary = verified(lambda *_: next(said), capsys, "--apis", "harmony", *options)
    (result,) = summary["results"]
    assert result["finished"] == len(ODD)
    assert not {rule["id"] for rule in summary["checks"] if rule["status"] in FOUND}


def test_defects_of_an_odd_model_are_not_attributed_to_the_server(capsys):
    # One of eight: an unfinished JSON object in 3 of 77 calls is more than a model writes. Which
    # reply is odd depends on the prompt and not on the order in which requests arrive.
    replies = [reply for odd in ODD for reply in (odd, *[None] * 7)]
    seen = Counter()

    def odd(prompt, params):
        key = crc32(repr(prompt).encode())
        seen[key] += 1
        return replies[(key + 9 * seen[key]) % len(replies)] or as_asked(prompt, params)

    code, summary = verified(odd, capsys, "-n", "8", "-k", "3")
    assert code == 1
    assert {rule["id"] for rule in summary["checks"] if rule["status"] in FOUND} <= THE_MODELS_OWN
    outcomes = {kind for result in summary["results"] for kind in result["outcomes"]}
    assert "provider_error" not in outcomes
