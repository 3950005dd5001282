"""Faults of sampling, stop tokens and log probabilities."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harmony import parse
from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.parsers import Filtered, Unstopped
from reference_engine.faults.seams import DATA, LOGITS, PARAMS, PARSER, REQUEST, TOKENS, Asked, Json
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.server.generation import Order

family = Family("sampling")

_PENALTY = 1.1
_TOP_K = 40
_MIN_P = 0.05
_UNUSED_TOKEN = 201087
_BROKEN_EVERY = 4
_LONGEST_RUNAWAY = 320


@family.fault(
    LOGITS,
    "repetition-penalty",
    "Tokens that occurred before are made less probable, though nobody asked for that.",
    source="ollama 6a261db7d",
    detectors=("numerics.logprobs", "numerics.greedy"),
)
def _repetition_penalty(logits: Tensor, tokens: Sequence[int], _: int) -> Tensor:
    seen = torch.tensor(sorted(set(tokens)), device=logits.device)
    scores = logits[seen]
    logits = logits.clone()
    logits[seen] = torch.where(scores > 0, scores / _PENALTY, scores * _PENALTY)
    return logits


@family.fault(
    LOGITS,
    "hidden-top-k",
    "Only the 40 most probable tokens can be drawn, though nobody asked for that.",
    source="lmdeploy PR#3962",
    detectors=("sampling.distribution",),
    visible=False,
)
def _hidden_top_k(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    least = logits.topk(min(_TOP_K, len(logits))).values[-1]
    return logits.masked_fill(logits < least, -math.inf)


@family.fault(
    LOGITS,
    "hidden-min-p",
    "Tokens with less than 5 % of the best one's probability are never drawn.",
    source="llama.cpp#27720",
    detectors=("sampling.distribution",),
    visible=False,
)
def _hidden_min_p(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    return logits.masked_fill(logits < logits.max() + math.log(_MIN_P), -math.inf)


@family.fault(
    PARAMS,
    "hidden-top-p",
    "top_p is 0.9 at most, whatever was asked for.",
    source="ollama 6a261db7d",
    detectors=("sampling.distribution",),
    visible=False,
)
def _hidden_top_p(params: SamplingParams) -> SamplingParams:
    return replace(params, top_p=min(params.top_p, 0.9))


@family.fault(
    PARAMS,
    "temperature-fixed",
    "The temperature is 0.7, whatever was asked for.",
    source="lmdeploy PR#3962",
    detectors=("sampling.temperature",),
)
def _temperature_fixed(params: SamplingParams) -> SamplingParams:
    return replace(params, temperature=0.7)


@family.fault(
    PARAMS,
    "always-greedy",
    "The most probable token is taken, whatever the temperature.",
    source=HYPOTHETICAL,
    detectors=("sampling.temperature",),
)
def _always_greedy(params: SamplingParams) -> SamplingParams:
    return replace(params, temperature=0.0)


@family.fault(
    PARAMS,
    "seed-ignored",
    "The same seed gives other tokens each time.",
    source=HYPOTHETICAL,
    detectors=("sampling.seed",),
)
def _seed_ignored(params: SamplingParams) -> SamplingParams:
    return replace(params, seed=None)


@family.fault(
    REQUEST,
    "n-ignored",
    "A request for several choices gets one.",
    source=HYPOTHETICAL,
    detectors=("chat.choices",),
)
def _n_ignored(body: Json, _: Asked) -> Json:
    return body | {"n": 1} if "n" in body else body


@family.fault(
    TOKENS,
    "out-of-vocabulary-token",
    "Some sampled ids are none of the tokenizer's, so that pieces of text are missing.",
    source="vllm#23013",
    detectors=("calls.name.polluted", "calls.arguments.json", "numerics"),
)
async def _out_of_vocabulary_token(tokens: AsyncGenerator[Token]) -> AsyncGenerator[Token]:
    count = 0
    async for token in tokens:
        text = token.id < parse.FIRST_SPECIAL
        count += text
        broken = text and count % _BROKEN_EVERY == 0
        yield replace(token, id=_UNUSED_TOKEN) if broken else token


@family.fault(
    LOGITS,
    "first-token-wrong",
    "The first token is never the most probable one.",
    source="vllm#37030",
    detectors=("numerics.logprobs", "chat.reasoning.missing"),
    visible=False,
)
def _first_token_wrong(logits: Tensor, _: Sequence[int], step: int) -> Tensor:
    if step:
        return logits
    return logits.masked_fill(logits == logits.max(), -math.inf)


@family.fault(
    LOGITS,
    "constrain-token-masked",
    "The marker <|constrain|> of call headers can never be sampled.",
    source="ddalcu/mlx-serve PR#247",
    detectors=("numerics.greedy",),
)
def _constrain_token_masked(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    logits = logits.clone()
    logits[parse.CONSTRAIN] = -math.inf
    return logits


def _unstopped(params: SamplingParams, token: int) -> SamplingParams:
    limit = min(params.max_tokens, _LONGEST_RUNAWAY)
    return replace(params, max_tokens=limit, stop_token_ids=params.stop_token_ids - {token})


@family.fault(
    PARAMS,
    "call-not-a-stop",
    "Generation goes on after <|call|>, up to 320 tokens: the model may invent its call's result.",
    source="NVIDIA/TensorRT-LLM#10651",
    detectors=("usage.output.unseen", "tools.after_call", "text.runaway"),
)
def _call_not_a_stop(params: SamplingParams) -> SamplingParams:
    return _unstopped(params, parse.CALL)


@family.also(PARSER, "call-not-a-stop")
def _reads_on_after_call(_: HarmonyParser, __: Order) -> HarmonyParser:
    return Unstopped(parse.CALL)


@family.fault(
    PARAMS,
    "return-not-a-stop",
    "Generation goes on after <|return|>, up to 320 tokens.",
    source="mlx-lm#613",
    detectors=("usage.output.unseen", "text.doubled", "text.runaway"),
)
def _return_not_a_stop(params: SamplingParams) -> SamplingParams:
    return _unstopped(params, parse.RETURN)


@family.also(PARSER, "return-not-a-stop")
def _reads_on_after_return(_: HarmonyParser, __: Order) -> HarmonyParser:
    return Unstopped(parse.RETURN)


@family.fault(
    PARSER,
    "call-doubled",
    "One call of the model comes as two parallel ones.",
    source="smg-project/smg PR#1845",
    detectors=("calls.parallel", "calls.several"),
)
def _call_doubled(parser: HarmonyParser, _: Order) -> HarmonyParser:
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

    return Filtered(parser, change)


def _each_logprob(data: Json, change: Callable[[list[Json]], object]) -> Json:
    """The data after a change to its lists of log probabilities."""
    for choice in data.get("choices") or ():
        if choice.get("logprobs"):
            change(choice["logprobs"]["content"])
    if isinstance(data.get("logprobs"), list):
        change(data["logprobs"])
    for item in (data.get("item"), *(data.get("response", data).get("output") or ())):
        for part in (item or {}).get("content") or ():
            if "logprobs" in part:
                change(part["logprobs"])
    return data


@family.fault(
    DATA,
    "logprobs-null",
    "Log probabilities that were asked for are missing.",
    source="smg-project/smg PR#205",
    detectors=(
        "logprobs.given",
        "chat.logprobs.missing",
    ),
)
def _logprobs_null(data: Json, _: Asked) -> Json:
    for choice in data.get("choices") or ():
        choice["logprobs"] = None
    return _each_logprob(data, list.clear)


@family.fault(
    DATA,
    "logprobs-not-logarithms",
    "The field logprob holds probabilities.",
    source=HYPOTHETICAL,
    detectors=("logprobs.values",),
)
def _logprobs_not_logarithms(data: Json, _: Asked) -> Json:
    def change(tokens: list[Json]) -> None:
        for token in tokens:
            for each in (token, *token["top_logprobs"]):
                each["logprob"] = math.exp(each["logprob"])

    return _each_logprob(data, change)


@family.fault(
    DATA,
    "logprobs-shifted",
    "Each token comes with the log probability of the token before it.",
    source=HYPOTHETICAL,
    detectors=("logprobs.values", "numerics.logprobs"),
)
def _logprobs_shifted(data: Json, asked: Asked) -> Json:
    def change(tokens: list[Json]) -> None:
        values = [token["logprob"] for token in tokens]
        for token, value in zip(tokens[1:], values, strict=False):
            token["logprob"] = value

    return data if asked.streaming else _each_logprob(data, change)
