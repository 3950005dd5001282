"""The logprobs of completions, token by token: the reference for other servers.

A request is the body that a server would receive, so the server's own code renders the prompt. The
model generates a completion, or scores a given completion (teacher forcing). Every token comes with
its logprob and the most probable alternatives. This includes headers and chain of thought, which no
API returns.

With faults, the tokens are scored as by a server with these defects: the faults of the model, the
forward pass, the conversation and the prompt are applied.
"""

import asyncio
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import orjson
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from harmony.conversation import Conversation
from harmony.parse import parts_of
from harmony.render import render_prompt, tokens_sha256
from reference_engine.errors import SetupError
from reference_engine.faults.catalogue import read_plan
from reference_engine.faults.fault import activated, changed
from reference_engine.faults.hooks import GENERATION, PROMPT
from reference_engine.generation.engine import Engine
from reference_engine.generation.errors import EngineError
from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import forward_for
from reference_engine.generation.sampling import UNLIMITED, SamplingParams, Token, logprobs_of
from reference_engine.model.config import ModelConfig
from reference_engine.model.transformer import Transformer, sink_attention
from reference_engine.server.api_error import ApiError
from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.fields import parse_request
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.raw_completions import CompletionRequest
from reference_engine.server.responses.input_items import history_of
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.serve import load
from reference_engine.server.settings import ServeSettings

TOP = 20
"""Number of alternatives per token unless a question asks for more; the maximum of the APIs."""
_MAX_TOKENS = 512
_ROWS_AT_ONCE = 64
_SHORTEST_CHUNK = 16  # tokens
_MOST_SCORES = 2**26  # numbers in the attention scores of a chunk, 256 MiB in float32
_UNBOUNDED = 2**31  # tokens


_Order = GenerationRequest | CompletionRequest


class Question(BaseModel):
    """One line of input: a request body, and optionally a completion to score.

    The body of a raw completion (`harmony`) has the prompt, which only faults of prompts change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    api: Literal["chat", "responses", "harmony"]
    body: dict[str, object]
    completion: tuple[int, ...] | None = None
    top: int = TOP


@dataclass(frozen=True)
class Scored:
    """One token of a completion.

    `part` is the kind of text (reasoning, preamble, answer or call) or `marker` for other tokens.
    `top` has token IDs and logprobs, most probable first.
    """

    id: int
    logprob: float
    part: str
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Answer:
    """One line of output; `prompt_sha256` is that of the prompt's tokens."""

    id: str
    prompt_tokens: int
    prompt_sha256: str
    tokens: tuple[Scored, ...]

    def line(self) -> bytes:
        """Return the answer as a line of JSON."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)


def identity(checkpoint: Path) -> str:
    """Return the SHA-256 of a checkpoint's config and weights, file by file in order."""
    digest = hashlib.sha256()
    for path in (checkpoint / "config.json", *sorted(checkpoint.glob("*.safetensors"))):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def answer_lines(lines: Iterable[bytes], settings: ServeSettings) -> Iterator[bytes]:
    """Yield a description of the engine, then the answers, as JSON lines. Raises SetupError."""
    try:
        questions = [Question.model_validate_json(line) for line in lines if line.strip()]
        date = settings.app.current_date
        pairs = [(question, _order(question, date)) for question in questions]
        plan = read_plan(settings.faults)
        model = load(settings)
        head = {
            "engine": f"gpt-oss-verify {version('gpt-oss-verify')}, PyTorch {torch.__version__}",
            "weights_sha256": identity(settings.checkpoint),
            "dtype": str(model.embedding.weight.dtype).removeprefix("torch."),
            "faults": [fault.description for fault in plan.faults],
        }
        yield orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE)
        model = plan.damage(model)
        with activated(plan.faults):
            answers = list(_answers(model, settings, pairs, plan.forward(forward_for)))
        yield from (answer.line() for answer in answers)
    except (ApiError, EngineError, ValidationError) as error:
        raise SetupError(str(error)) from error


def _answers(
    model: Transformer,
    settings: ServeSettings,
    pairs: Sequence[tuple[Question, _Order]],
    forward: MakeForward,
) -> Iterator[Answer]:
    open_ended = [pair for pair in pairs if pair[0].completion is None]
    if open_ended:
        yield from _generate(model, settings, open_ended, forward)
    for question, order in pairs:
        if question.completion is not None:
            prompt = _prompt(order)
            tokens = score_completion(model, prompt, question.completion, question.top)
            yield _answer(question, prompt, tokens)


def _prompt(order: _Order) -> list[int]:
    if isinstance(order, CompletionRequest):
        return changed(PROMPT, order.tokens(), Conversation(()))
    order = changed(GENERATION, order)
    return changed(PROMPT, render_prompt(order.conversation), order.conversation)


def _sampling(order: _Order) -> SamplingParams:
    if isinstance(order, CompletionRequest):
        return order.sampling(order.max_tokens, None)
    return order.sampling


def _generate(
    model: Transformer,
    settings: ServeSettings,
    pairs: Sequence[tuple[Question, _Order]],
    forward: MakeForward,
) -> Sequence[Answer]:
    engine = Engine(
        model,
        max_batch=settings.max_batch,
        max_context=settings.max_context,
        prefill_chunk=settings.prefill_chunk,
        memory=settings.memory,
        max_queue=len(pairs),
        forward=forward,
    )

    async def generate(question: Question, order: _Order) -> Answer:
        prompt, sampling = _prompt(order), _sampling(order)
        limit = _MAX_TOKENS if sampling.max_tokens == UNLIMITED else sampling.max_tokens
        params = replace(sampling, max_tokens=limit, top_logprobs=TOP)
        async with aclosing(engine.generate(prompt, params)) as tokens:
            return _answer(question, prompt, [token async for token in tokens])

    async def generate_all() -> Sequence[Answer]:
        return await asyncio.gather(*(generate(*pair) for pair in pairs))

    engine.start()
    try:
        return asyncio.run(generate_all())
    finally:
        engine.close()


def score_completion(
    model: Transformer, prompt: Sequence[int], completion: Sequence[int], top: int = TOP
) -> list[Token]:
    """Return the logprobs of a given completion, with `top` alternatives each.

    The model reads prompt and completion in chunks, so that attention needs only a bounded amount
    of memory in addition to keys and values.
    """
    ids = torch.tensor([[*prompt, *completion]], device=model.unembedding.weight.device)
    context, length = _ChunkedContext(model.config), ids.shape[1]
    size = max(_SHORTEST_CHUNK, _MOST_SCORES // (length * model.config.num_attention_heads))
    with torch.inference_mode():
        streams = []
        for start in range(0, length - 1, size):
            chunk = ids[:, start : min(start + size, length - 1)]
            context.positions = torch.arange(start, start + chunk.shape[1], device=ids.device)[None]
            streams.append(model.stream(chunk, context)[0, max(len(prompt) - 1 - start, 0) :])
        chosen = ids[0, len(prompt) :]
        pieces = (slice(at, at + _ROWS_AT_ONCE) for at in range(0, len(chosen), _ROWS_AT_ONCE))
        stream = torch.cat(streams)
        return [
            token
            for rows in pieces
            for token in logprobs_of(
                model.logits(stream[rows]), chosen[rows], [top] * len(chosen[rows])
            )
        ]


class _ChunkedContext:
    """The context of one sequence that is read chunk by chunk; keeps all keys and values.

    Set `positions`, (1, T), before each chunk of T tokens.
    """

    positions: Tensor

    def __init__(self, config: ModelConfig) -> None:
        sizes = {"sliding_attention": config.sliding_window}
        self._windows = [sizes.get(kind, _UNBOUNDED) for kind in config.layer_types]
        self._past: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Return the attention of the chunk within the layer's window."""
        window = self._windows[layer]
        if layer in self._past:
            earlier = self._past[layer]
            key, value = (torch.cat(pair, 1) for pair in zip(earlier, (key, value), strict=True))
        self._past[layer] = key[:, -(window - 1) :], value[:, -(window - 1) :]
        last = int(self.positions[0, -1])
        keys = torch.arange(last + 1 - key.shape[1], last + 1, device=key.device)
        distance = self.positions[0, :, None] - keys
        hidden = (distance < 0) | (distance >= window)
        visible = torch.zeros(hidden.shape, device=key.device).masked_fill(hidden, -math.inf)
        key, value = (F.pad(x.transpose(1, 2), (0, 0, 1, 0)) for x in (key, value))
        return sink_attention(query, key, value, visible[None], sinks)


def _order(question: Question, date: str | None) -> _Order:
    body = orjson.dumps(question.body)
    if question.api == "harmony":
        return parse_request(CompletionRequest, body)
    if question.api == "chat":
        return parse_request(ChatRequest, body).generation_request(date)
    request = parse_request(ResponsesRequest, body)
    return request.generation_request(history_of(request.items, (), {}, lambda _: None), date)


def _answer(question: Question, prompt: Sequence[int], tokens: Iterable[Token]) -> Answer:
    found = list(tokens)
    ids = [token.id for token in found]
    scored = []
    for token, part in zip(found, parts_of(ids), strict=True):
        assert token.logprob is not None
        scored.append(Scored(token.id, token.logprob, part, token.top))
    return Answer(question.id, len(prompt), tokens_sha256(prompt), tuple(scored))
