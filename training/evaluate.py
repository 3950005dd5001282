"""Evaluates a checkpoint on held-out prompts at temperature 1.0, and on long prompts at 0.

`python -m training.evaluate --checkpoint DIR --tries 4 [--json FILE]`
"""

import argparse
import asyncio
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import torch

from harmony.conversation import Answer, Call, Result
from harmony.parse import STOP_TOKENS, Delta, Event, HarmonyParser, Started
from harmony.vocabulary import harmony_encoding
from reference_engine.checkpoint import load_model
from reference_engine.generation.engine import Engine
from reference_engine.generation.sampling import SamplingParams
from reference_engine.small.export import SHIPPED
from training.data.catalogue import SMOKE_TOOLS
from training.data.held_out import CallExpected, HeldOut, JsonObject, held_out
from training.data.held_out.haystacks import haystacks

MAX_TOKENS = 400
LENGTHS = (512, 1024, 2048, 4096, 8192, 16_384)
_SHOWN = 1000
_WELL_FORMED = re.compile(
    r"(<\|channel\|>analysis<\|message\|>[^<]*(<(?!\|)[^<]*)*<\|end\|><\|start\|>assistant)?"
    r"(<\|channel\|>commentary to=functions\.[\w-]+ <\|constrain\|>json<\|message\|>"
    r"(?s:.*)<\|call\|>"
    r"|<\|channel\|>analysis to=(browser\.(search|open|find)|python) code<\|message\|>"
    r"(?s:.*)<\|call\|>"
    r"|<\|channel\|>final<\|message\|>(?s:.*)<\|return\|>)"
)


@dataclass(frozen=True)
class Sample:
    """One reply to a held-out prompt."""

    prompt: HeldOut
    text: str
    reply: Call | Answer | None
    analysis_tokens: int

    @property
    def well_formed(self) -> bool:
        """Whether the reply has exactly the harmony format."""
        return _WELL_FORMED.fullmatch(self.text) is not None

    @property
    def met(self) -> bool:
        """Whether the reply is correct."""
        return self.prompt.expect.met(self.reply)

    @property
    def called(self) -> bool:
        """Whether the expected tool is called."""
        expect = self.prompt.expect
        return isinstance(expect, CallExpected) and expect.called(self.reply)

    @property
    def valid_call(self) -> bool:
        """Whether the expected tool is called with arguments that match its schema."""
        if not self.called or not isinstance(self.reply, Call):
            return False
        name = self.reply.name
        tool = next(tool for tool in self.prompt.conversation.tools if tool.name == name)
        try:
            jsonschema.validate(json.loads(self.reply.arguments), dict(tool.parameters or {}))
        except (ValueError, jsonschema.ValidationError):
            return False
        return True


def read_reply(tokens: Iterable[int]) -> tuple[Call | Answer | None, int]:
    """Returns the final call or answer of a completion and its number of reasoning tokens."""
    parser = HarmonyParser()
    started: Started | None = None
    text: list[str] = []
    reasoning = 0

    def take(events: Iterable[Event]) -> None:
        nonlocal started
        for event in events:
            if isinstance(event, Started):
                started = event
                text.clear()
            elif isinstance(event, Delta):
                text.append(event.text)

    for token in tokens:
        take(parser.feed(token))
        reasoning += parser.open is not None and parser.open.kind == "reasoning"
    take(parser.finish())
    if started is None or started.kind not in {"call", "answer"}:
        return None, reasoning
    whole = "".join(text)
    return (Call(started.name, whole) if started.kind == "call" else Answer(whole)), reasoning


async def _sample(engine: Engine, prompt: HeldOut, seed: int, temperature: float = 1.0) -> Sample:
    params = SamplingParams(
        max_tokens=MAX_TOKENS, temperature=temperature, seed=seed, stop_token_ids=STOP_TOKENS
    )
    stream = engine.generate(list(prompt.tokens), params)
    tokens = [token.id async for token in stream]
    reply, reasoning = read_reply(tokens)
    return Sample(prompt, harmony_encoding().decode(tokens), reply, reasoning)


async def sample_all(engine: Engine, prompts: Sequence[HeldOut], tries: int) -> list[Sample]:
    """Returns `tries` replies to each prompt."""
    jobs = [
        _sample(engine, prompt, seed=number * tries + attempt)
        for number, prompt in enumerate(prompts)
        for attempt in range(tries)
    ]
    return list(await asyncio.gather(*jobs))


async def sample_long(engine: Engine, lengths: Sequence[int]) -> list[Sample]:
    """Returns the most probable reply to each prompt of these lengths, one prompt at a time."""
    prompts = [prompt for length in lengths for prompt in haystacks(length)]
    return [await _sample(engine, prompt, 0, temperature=0.0) for prompt in prompts]


def _rate(samples: Sequence[Sample], good: Callable[[Sample], bool]) -> dict[str, float | int]:
    hits = sum(map(good, samples))
    return {"rate": round(hits / len(samples), 4), "right": hits, "of": len(samples)}


def scores(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, float | int]]]:
    """Returns the rates of the samples that are not blind, of the blind samples, and by skill."""
    blind = [one for one in samples if one.prompt.blind]
    overall = _overall([one for one in samples if not one.prompt.blind])
    overall |= {f"blind, {name}": rate for name, rate in _overall(blind).items()}
    by_skill: dict[str, list[Sample]] = defaultdict(list)
    for one in samples:
        by_skill[f"{'blind, ' * one.prompt.blind}{one.prompt.skill}"].append(one)
    skills = {skill: _rate(found, lambda one: one.met) for skill, found in sorted(by_skill.items())}
    return {"overall": overall, "by skill": skills}


def _overall(samples: Sequence[Sample]) -> dict[str, dict[str, float | int]]:
    expected_call = [one for one in samples if isinstance(one.prompt.expect, CallExpected)]
    first_call = [one for one in expected_call if not _after_result(one)]
    smoke = [one for one in first_call if one.prompt.conversation.tools == SMOKE_TOOLS]
    to_answer = [
        one
        for one in samples
        if _after_result(one) and not isinstance(one.prompt.expect, CallExpected)
    ]
    grader = [one for one in samples if isinstance(one.prompt.expect, JsonObject)]
    canary = [one for one in samples if one.prompt.skill.startswith("canary")]
    clients = [one for one in samples if one.prompt.skill.startswith("client schema")]
    builtin = [one for one in samples if one.prompt.conversation.builtin]
    measures: dict[str, tuple[list[Sample], Callable[[Sample], bool]]] = {
        "well-formed harmony": (list(samples), lambda one: one.well_formed),
        "smoke tools: valid call": (smoke, lambda one: one.valid_call),
        "smoke tools: exact arguments": (smoke, lambda one: one.met),
        "all tools: valid call": (expected_call, lambda one: one.valid_call),
        "all tools: exact arguments": (expected_call, lambda one: one.met),
        "final answer after a tool result": (
            to_answer,
            lambda one: isinstance(one.reply, Answer),
        ),
        "canary repeated": (canary, lambda one: one.met),
        "grader JSON well-formed": (grader, _grader_parses),
        "clients' schemas: valid call": (clients, lambda one: one.valid_call),
        "clients' schemas: exact arguments": (clients, lambda one: one.met),
        "built-in tools: correct reply": (builtin, lambda one: one.met),
    }
    return {name: _rate(found, good) for name, (found, good) in measures.items() if found}


def analysis_lengths(samples: Sequence[Sample]) -> dict[str, float]:
    """Returns the mean number of reasoning tokens per effort."""
    lengths: dict[str, list[int]] = defaultdict(list)
    for one in samples:
        lengths[one.prompt.conversation.effort].append(one.analysis_tokens)
    return {
        effort: round(sum(lengths[effort]) / len(lengths[effort]), 1)
        for effort in ("low", "medium", "high")
        if lengths[effort]
    }


def _after_result(sample: Sample) -> bool:
    return isinstance(sample.prompt.conversation.items[-1], Result)


def _grader_parses(sample: Sample) -> bool:
    expect = sample.prompt.expect
    return isinstance(expect, JsonObject) and expect.parsed(sample.reply) is not None


def evaluate(
    checkpoint: Path, prompts: Sequence[HeldOut], tries: int, lengths: Sequence[int]
) -> tuple[list[Sample], dict[str, Any]]:
    """Loads the model, samples and scores; `lengths` are those of the long prompts, in tokens."""
    model = load_model(checkpoint, dtype=torch.float32)
    engine = Engine(model, max_batch=32, max_queue=100_000, max_context=2 * LENGTHS[-1])
    engine.start()
    try:
        samples = asyncio.run(sample_all(engine, prompts, tries))
        found = asyncio.run(sample_long(engine, lengths))
    finally:
        engine.close()
    report = {"tries": tries, **scores(samples), "code word": _code_word(found)}
    report["analysis tokens by effort"] = analysis_lengths(samples)
    return [*samples, *found], report


def _code_word(samples: Sequence[Sample]) -> dict[str, dict[str, float | int]]:
    """Returns the share of long prompts of each length whose code word is in the answer."""
    skills = dict.fromkeys(one.prompt.skill for one in samples)
    return {
        skill: _rate([one for one in samples if one.prompt.skill == skill], lambda one: one.met)
        for skill in skills
    }


def _print(report: dict[str, Any]) -> None:
    out = sys.stdout.write
    for part in ("overall", "by skill", "code word"):
        out(f"{part}\n")
        for name, rate in report[part].items():
            out(f"  {name:36} {rate['rate']:7.1%}  {rate['right']:5} of {rate['of']}\n")
    lengths = report["analysis tokens by effort"]
    out("analysis tokens  " + "  ".join(f"{name} {mean}" for name, mean in lengths.items()) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--tries", type=int, default=4, help="replies per prompt")
    parser.add_argument(
        "--lengths",
        type=lambda text: [int(part) for part in text.split(",") if part],
        default=LENGTHS,
        help="tokens of the long prompts, such as 512,4096; empty for none",
    )
    parser.add_argument("--skill", help="evaluate only prompts whose skill contains this text")
    parser.add_argument("--json", type=Path, help="file for the scores")
    parser.add_argument("--misses", type=Path, help="file for the incorrect replies")
    options = parser.parse_args(arguments)
    prompts = [one for one in held_out() if (options.skill or "") in one.skill]
    samples, report = evaluate(options.checkpoint, prompts, options.tries, options.lengths)
    _print(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if options.misses:
        missed = [_miss(one) for one in samples if not one.met or not one.well_formed]
        options.misses.write_text("".join(missed), encoding="utf-8")
    return 0


def _miss(sample: Sample) -> str:
    asked = str(sample.prompt.conversation.items[-1])[-_SHOWN:]
    line = {"skill": sample.prompt.skill, "last turn": asked, "expected": str(sample.prompt.expect)}
    return json.dumps(line | {"reply": sample.text}, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
