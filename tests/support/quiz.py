"""A provider of recorded answers to the sample questions: right with a known probability.

An answer depends only on the question and the seed of the request, so a repeated try gets the same
answer.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

from mock_provider import Handler, Received, error, write_head, write_json, write_text
from replies import Reply, whole

from evals.registry import load_data, make_eval

MODEL = "gpt-oss-mock"


@cache
def _keys(name: str) -> Mapping[str, str]:
    """The right answers by the texts of the questions."""
    items = make_eval(load_data(name, "samples"), 0).items.values()
    return {item.text: item.answer for item in items}


def answer(prompt: str, seed: int, chance: float) -> str:
    """The recorded answer, which is right with probability `chance`."""
    question = prompt.split("\n\n")[0]
    right = draw(f"{question}/{seed}") < chance
    if question in _keys("aime25"):
        return rf"So it is \boxed{{{int(_keys('aime25')[question]) + (0 if right else 1)}}}."
    if question in _keys("gpqa"):
        lines = [line for line in prompt.splitlines() if line[:1] == "(" and line[2:4] == ") "]
        letter = next(line[1] for line in lines if line[4:] == _keys("gpqa")[question])
        return f"Answer: {letter if right else chr((ord(letter) - ord('A') + 1) % 4 + ord('A'))}"
    return "Please see a doctor."


def draw(text: str) -> float:
    """A number in [0, 1) that is determined by the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def quiz(chance: float) -> Handler:
    """A handler that answers questions and grades rubric items."""
    unseeded = Random(7)

    async def handle(request: Received, writer: asyncio.StreamWriter) -> None:
        body = request.body or {}
        seed = body.get("seed")
        text = reply(body, unseeded.getrandbits(30) if seed is None else seed, chance)
        answer = Reply(text=text, reasoning=r"I guess \boxed{1} or Answer: A.")
        write_json(writer, whole(answer, chat=request.is_chat))

    return handle


def reply(body: Mapping[str, Any], seed: int, chance: float) -> str:
    prompt = str((body.get("messages") or body.get("input"))[-1]["content"])
    if "criteria_met" in prompt:
        return json.dumps({"explanation": "It is so.", "criteria_met": draw(prompt) < 0.5})
    return answer(prompt, seed, chance)


def unreliable(inner: Handler, share: float) -> Handler:
    """`inner`, but a share of the requests gets a 429, a 500, no answer, a cut or a broken body."""
    random = Random(3)

    async def handle(request: Received, writer: asyncio.StreamWriter) -> None:
        if (request.body or {}).get("max_tokens") == 16 or random.random() >= share:
            await inner(request, writer)
            return
        match random.randrange(8):
            case 0 | 5:
                write_json(writer, error("slow down"), 429, {"Retry-After": "0"})
            case 1 | 6:
                write_json(writer, error("oops"), 500)
            case 2:
                await asyncio.sleep(3600)
            case 3 | 7:
                writer.close()
            case 4:
                write_head(writer, {"Content-Type": "application/json"}, 200, 5000)
                writer.write(b'{"choices": [{"message"')
                await writer.drain()
                writer.close()

    return handle


def malformed(inner: Handler, share: float) -> Handler:
    """`inner`, but a share of the questions always gets a body that is not JSON."""

    async def handle(request: Received, writer: asyncio.StreamWriter) -> None:
        body = request.body or {}
        prompt = json.dumps(body.get("messages"))
        if body.get("max_tokens") != 16 and draw(f"{prompt}/{body.get('seed')}") < share:
            write_text(writer, '{"choices": [')
        else:
            await inner(request, writer)

    return handle
