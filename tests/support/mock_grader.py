"""A HealthBench grader over a real socket: right answers at random times, faults on request."""

import asyncio
import json
import random

import mock_provider as mock
from mock_provider import Received
from replies import Reply


def true_grade(prompt: str) -> bool:
    """The grade that the mock gives an item: any function of the whole prompt will do."""
    return sum(map(ord, prompt)) % 2 == 0


def prompt_of(request: Received) -> str:
    return str(request.body["messages"][-1]["content"])


def say(text: str) -> mock.Handler:
    async def handle(request: Received, writer: asyncio.StreamWriter) -> None:
        mock.write_reply(request, writer, Reply(text=text, model=request.body["model"]))

    return handle


def graded(request: Received) -> mock.Handler:
    return say(
        json.dumps({"explanation": "So it is.", "criteria_met": true_grade(prompt_of(request))})
    )


class Grader:
    """Answers after random times, and wrongly in a share of the requests."""

    def __init__(self, *, faults: float = 0, slowest: float = 0.02, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._faults = faults
        self._slowest = slowest

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._chance.random() * self._slowest)
        if self._chance.random() >= self._faults:
            await graded(request)(request, writer)
            return
        fault = self._chance.choice(
            [
                say("The criteria was met."),
                say('```json\n{"criteria_met": "true"}\n```'),
                say(""),
                mock.text('{"choices": ['),
                mock.status(429, Retry_After="0"),
                mock.status(503, Retry_After="0"),
            ]
        )
        await fault(request, writer)
