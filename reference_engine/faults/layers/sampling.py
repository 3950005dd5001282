"""Faults in sampling, stop tokens and log probabilities."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harmony import parse
from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import LOGITS, PARSER, PAYLOAD, REQUEST, SAMPLING, TOKENS
from reference_engine.faults.http import ClientRequest, Json, choices, output_items
from reference_engine.faults.parsers import FilteredParser, UnstoppedParser
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.server.generation import GenerationRequest

group = FaultGroup("sampling")

_PENALTY = 1.1
_TOP_K = 40
_MIN_P = 0.05
_UNUSED_TOKEN = 201087
_BROKEN_EVERY = 4
_LONGEST_RUNAWAY = 320


@group.fault(LOGITS, "numerics.logprobs", "numerics.greedy", source="ollama 6a261db7d")
def repetition_penalty(logits: Tensor, tokens: Sequence[int], _: int) -> Tensor:
    """An unrequested repetition penalty lowers the probability of earlier tokens."""
    seen = torch.tensor(sorted(set(tokens)), device=logits.device)
    scores = logits[seen]
    logits = logits.clone()
    logits[seen] = torch.where(scores > 0, scores / _PENALTY, scores * _PENALTY)
    return logits


@group.fault(LOGITS, "sampling.distribution", source="lmdeploy PR#3962", visible=False)
def hidden_top_k(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    """An unrequested top_k allows only the 40 most probable tokens."""
    least = logits.topk(min(_TOP_K, len(logits))).values[-1]
    return logits.masked_fill(logits < least, -math.inf)


@group.fault(LOGITS, "sampling.distribution", source="llama.cpp#27720", visible=False)
def hidden_min_p(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    """An unrequested min_p excludes tokens below 5 % of the highest probability."""
    return logits.masked_fill(logits < logits.max() + math.log(_MIN_P), -math.inf)


@group.fault(SAMPLING, "sampling.distribution", source="ollama 6a261db7d", visible=False)
def hidden_top_p(params: SamplingParams) -> SamplingParams:
    """top_p is at most 0.9, whatever the request sets."""
    return replace(params, top_p=min(params.top_p, 0.9))


@group.fault(SAMPLING, "sampling.distribution", "sampling.probabilities", visible=False)
def temperature_lowered(params: SamplingParams) -> SamplingParams:
    """The temperature is 0.7 times the requested one; the small model is too certain to show it."""
    return replace(params, temperature=0.7 * params.temperature)


@group.fault(SAMPLING, "sampling.temperature", source="lmdeploy PR#3962")
def temperature_fixed(params: SamplingParams) -> SamplingParams:
    """The temperature is 0.7, whatever the request sets."""
    return replace(params, temperature=0.7)


@group.fault(SAMPLING, "sampling.temperature")
def always_greedy(params: SamplingParams) -> SamplingParams:
    """Sampling is greedy, whatever temperature the request sets."""
    return replace(params, temperature=0.0)


@group.fault(SAMPLING, "sampling.seed")
def seed_ignored(params: SamplingParams) -> SamplingParams:
    """The seed has no effect."""
    return replace(params, seed=None)


@group.fault(REQUEST, "chat.choices")
def n_ignored(body: Json, _: ClientRequest) -> Json:
    """A request for several choices gets one."""
    return body | {"n": 1} if "n" in body else body


@group.fault(TOKENS, "calls.name.polluted", "calls.arguments.json", "numerics", source="vllm#23013")
async def out_of_vocabulary_token(tokens: AsyncGenerator[Token]) -> AsyncGenerator[Token]:
    """Some sampled ids are not in the vocabulary, so pieces of text are missing."""
    count = 0
    async for token in tokens:
        text = token.id < parse.FIRST_SPECIAL
        count += text
        broken = text and count % _BROKEN_EVERY == 0
        yield replace(token, id=_UNUSED_TOKEN) if broken else token


@group.fault(
    LOGITS, "numerics.logprobs", "chat.reasoning.missing", source="vllm#37030", visible=False
)
def first_token_wrong(logits: Tensor, _: Sequence[int], step: int) -> Tensor:
    """The first token is never the most probable one."""
    return logits if step else logits.masked_fill(logits == logits.max(), -math.inf)


@group.fault(LOGITS, "numerics.greedy", source="ddalcu/mlx-serve PR#247")
def constrain_token_masked(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    """The special token <|constrain|> of call headers is never sampled."""
    logits = logits.clone()
    logits[parse.CONSTRAIN] = -math.inf
    return logits


def _unstopped(params: SamplingParams, token: int) -> SamplingParams:
    limit = min(params.max_tokens, _LONGEST_RUNAWAY)
    return replace(params, max_tokens=limit, stop_token_ids=params.stop_token_ids - {token})


@group.fault(
    SAMPLING,
    "usage.output.unseen",
    "tools.after_call",
    "text.runaway",
    source="NVIDIA/TensorRT-LLM#10651",
)
def call_not_a_stop(params: SamplingParams) -> SamplingParams:
    """Generation continues after <|call|> up to 320 tokens; the model may invent a tool result."""
    return _unstopped(params, parse.CALL)


@group.fault(SAMPLING, "usage.output.unseen", "text.doubled", "text.runaway", source="mlx-lm#613")
def return_not_a_stop(params: SamplingParams) -> SamplingParams:
    """Generation continues after <|return|> up to 320 tokens."""
    return _unstopped(params, parse.RETURN)


group.also("call-not-a-stop", PARSER)(lambda _, __: UnstoppedParser(parse.CALL))
group.also("return-not-a-stop", PARSER)(lambda _, __: UnstoppedParser(parse.RETURN))


@group.fault(PARSER, "calls.parallel", "calls.several", source="smg-project/smg PR#1845")
def call_doubled(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """One call of the model comes back as two parallel calls."""
    texts: list[str] = []
    names: list[str] = []

    def change(event: Event) -> Iterable[Event]:
        yield event
        match event:
            case Started("call", name):
                names.append(name)
            case Delta("call", text):
                texts.append(text)
            case Ended("call"):
                yield from (Started("call", names[-1]), Delta("call", "".join(texts)), event)

    return FilteredParser(parser, change)


def _edit_logprobs(data: Json, change: Callable[[list[Json]], object]) -> Json:
    for choice in choices(data):
        if choice.get("logprobs"):
            change(choice["logprobs"]["content"])
    if isinstance(data.get("logprobs"), list):
        change(data["logprobs"])
    for item in output_items(data):
        for part in item.get("content") or ():
            if "logprobs" in part:
                change(part["logprobs"])
    return data


@group.fault(PAYLOAD, "logprobs.given", "chat.logprobs.missing", source="smg-project/smg PR#205")
def logprobs_null(data: Json, _: ClientRequest) -> Json:
    """Requested logprobs are missing."""
    for choice in choices(data):
        choice["logprobs"] = None
    return _edit_logprobs(data, list.clear)


@group.fault(PAYLOAD, "logprobs.values")
def logprobs_not_logarithms(data: Json, _: ClientRequest) -> Json:
    """The field logprob contains probabilities."""

    def change(tokens: list[Json]) -> None:
        for token in tokens:
            for each in (token, *token["top_logprobs"]):
                each["logprob"] = math.exp(each["logprob"])

    return _edit_logprobs(data, change)


@group.fault(PAYLOAD, "logprobs.values", "numerics.logprobs")
def logprobs_shifted(data: Json, request: ClientRequest) -> Json:
    """Each token has the logprob of the token before it."""

    def change(tokens: list[Json]) -> None:
        values = [token["logprob"] for token in tokens]
        for token, value in zip(tokens[1:], values, strict=False):
            token["logprob"] = value

    return data if request.streaming else _edit_logprobs(data, change)
