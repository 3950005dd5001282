"""What the model says of given requests, token by token: the reference for other servers.

A request is the body that a server would get, so that the prompt is rendered as it renders it. The
model continues it, or is led along a given continuation (teacher forcing), and every token comes
with its log probability and the most probable alternatives, headers and chain of thought included,
which no API shows.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from harmony.parse import FIRST_SPECIAL, STOP_TOKENS, HarmonyParser, Started
from harmony.render import render_prompt
from reference_engine.generation.engine import Engine
from reference_engine.generation.errors import EngineError
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.model.transformer import Transformer, WholeSequences
from reference_engine.server.chat.request import ChatRequest
from reference_engine.server.errors import ApiError
from reference_engine.server.fields import parse_request
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.opening import ServeError, load
from reference_engine.server.responses.items import turns_of
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.settings import ServeSettings

TOP = 20
"""Alternatives of each token, as many as the APIs give."""
_MOST_TOKENS = 512
_ROWS_AT_ONCE = 64


class ScoringError(Exception):
    """Questions that cannot be answered; the message says why."""


class Question(BaseModel):
    """One line of input: a request body, and the continuation to follow, if it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    api: Literal["chat", "responses"]
    body: dict[str, object]
    completion: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Scored:
    """One token of a continuation.

    `part` is what it is text of: reasoning, preamble, answer or call; `marker` where it is none.
    `top` holds ids and log probabilities, the most probable first.
    """

    id: int
    logprob: float
    part: str
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Answer:
    """One line of output. `names` are the functions that are called, in order."""

    id: str
    prompt_tokens: int
    names: tuple[str, ...]
    tokens: tuple[Scored, ...]

    def line(self) -> bytes:
        """The answer as a line of JSON."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)


def identity(checkpoint: Path) -> str:
    """SHA-256 over the configuration and the weights of a checkpoint, file by file in order."""
    digest = hashlib.sha256()
    for path in (checkpoint / "config.json", *sorted(checkpoint.glob("*.safetensors"))):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def answer_lines(lines: Iterable[bytes], settings: ServeSettings) -> Iterator[bytes]:
    """The answers to questions in JSON lines, as JSON lines; the first says what answered.

    Questions without a continuation are answered first, as many together as the engine takes.

    Args:
        lines: A `Question` each.
        settings: The checkpoint and how to run it; the date for the system message.

    Raises:
        ScoringError: A line is none, a body is none that a server would take, a prompt is too
            long, or the checkpoint cannot be loaded.
    """
    try:
        questions = [Question.model_validate_json(line) for line in lines if line.strip()]
        orders = [_order(question, settings.app.current_date) for question in questions]
        model = load(settings)
        head = {"weights_sha256": identity(settings.checkpoint), "dtype": _dtype(model)}
        yield orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE)
        yield from (answer.line() for answer in _answers(model, settings, questions, orders))
    except (ApiError, EngineError, ServeError, ValidationError) as error:
        raise ScoringError(str(error)) from error


def _answers(
    model: Transformer,
    settings: ServeSettings,
    questions: Sequence[Question],
    orders: Sequence[GenerationRequest],
) -> Iterator[Answer]:
    asked = list(zip(questions, orders, strict=True))
    free = [pair for pair in asked if pair[0].completion is None]
    if free:
        yield from _continued(model, settings, free)
    for question, order in asked:
        if question.completion is not None:
            prompt = render_prompt(order.conversation)
            yield _answer(question, len(prompt), follow(model, prompt, question.completion))


def _continued(
    model: Transformer, settings: ServeSettings, asked: Sequence[tuple[Question, GenerationRequest]]
) -> Sequence[Answer]:
    engine = Engine(
        model,
        max_batch=settings.max_batch,
        max_context=settings.max_context,
        prefill_chunk=settings.prefill_chunk,
        memory=settings.memory,
        max_queue=len(asked),
    )
    engine.start()
    try:
        return asyncio.run(_generated(engine, asked))
    finally:
        engine.close()


def follow(model: Transformer, prompt: Sequence[int], completion: Sequence[int]) -> list[Token]:
    """The log probabilities of a given continuation, without a cache: one pass over all of it."""
    ids = torch.tensor([[*prompt, *completion]], device=model.unembedding.weight.device)
    with torch.inference_mode():
        stream = model.stream(ids, WholeSequences(model.config, ids))[0, len(prompt) - 1 : -1]
        chosen = ids[0, len(prompt) :]
        return [
            token
            for at in range(0, len(chosen), _ROWS_AT_ONCE)
            for token in _tokens(
                model.logits(stream[at : at + _ROWS_AT_ONCE]), chosen[at : at + _ROWS_AT_ONCE]
            )
        ]


def _tokens(logits: Tensor, chosen: Tensor) -> Iterator[Token]:
    logprobs = logits.log_softmax(-1)
    best = logprobs.topk(TOP)
    own = logprobs.gather(1, chosen[:, None])[:, 0]
    for token, logprob, ids, values in zip(
        chosen.tolist(), own.tolist(), best.indices.tolist(), best.values.tolist(), strict=True
    ):
        yield Token(token, logprob, tuple(zip(ids, values, strict=True)))


def _order(question: Question, date: str | None) -> GenerationRequest:
    body = orjson.dumps(question.body)
    if question.api == "chat":
        return parse_request(ChatRequest, body).order(date)
    asked = parse_request(ResponsesRequest, body)
    return asked.order(turns_of(asked.items, (), {}, lambda _: None), date)


async def _generated(
    engine: Engine, asked: Sequence[tuple[Question, GenerationRequest]]
) -> list[Answer]:
    async def one(question: Question, order: GenerationRequest) -> Answer:
        prompt = render_prompt(order.conversation)
        how = order.sampling
        params = SamplingParams(
            max_tokens=how.max_tokens or _MOST_TOKENS,
            temperature=how.temperature,
            top_p=how.top_p,
            seed=how.seed,
            stop_token_ids=STOP_TOKENS,
            top_logprobs=TOP,
        )
        async with aclosing(engine.generate(prompt, params)) as tokens:
            return _answer(question, len(prompt), [token async for token in tokens])

    return await asyncio.gather(*(one(question, order) for question, order in asked))


def _dtype(model: Transformer) -> str:
    return str(model.unembedding.weight.dtype).removeprefix("torch.")


def _answer(question: Question, prompt_tokens: int, tokens: Iterable[Token]) -> Answer:
    parser = HarmonyParser()
    scored: list[Scored] = []
    names: list[str] = []
    for token in tokens:
        before = parser.open
        events = parser.feed(token.id)
        names += [e.name for e in events if isinstance(e, Started) and e.kind == "call"]
        text = before is not None and before is parser.open and token.id < FIRST_SPECIAL
        part = before.kind if text and before else "marker"
        assert token.logprob is not None
        scored.append(Scored(token.id, token.logprob, part, token.top))
    return Answer(question.id, prompt_tokens, tuple(names), tuple(scored))
