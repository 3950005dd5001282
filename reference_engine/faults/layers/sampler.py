"""Faults in sampling, stop tokens and log probabilities."""

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harmony import parse
from reference_engine.faults import hooks
from reference_engine.faults.http import ClientRequest, Json, choices, output_items
from reference_engine.faults.parsers import UnstoppedParser
from reference_engine.generation.sampling import SamplingParams, Token

_PENALTY = 1.1
_TOP_K = 40
_MIN_P = 0.05
_UNUSED_TOKEN = 201087
_BROKEN_EVERY = 4
_LONGEST_RUNAWAY = 320

hooks.SAMPLING.faults(
    hidden_top_p=lambda params: replace(params, top_p=min(params.top_p, 0.9)),
    # The small model is too certain to show a lower temperature.
    temperature_lowered=lambda params: replace(params, temperature=0.7 * params.temperature),
    temperature_fixed=lambda params: replace(params, temperature=0.7),
    always_greedy=lambda params: replace(params, temperature=0.0),
    seed_ignored=lambda params: replace(params, seed=None),
    seed_zero_ignored=lambda params: replace(params, seed=params.seed or None),
    call_not_a_stop=lambda params: _unstopped(params, parse.CALL),
    return_not_a_stop=lambda params: _unstopped(params, parse.RETURN),
)
hooks.PARSER.faults(
    call_not_a_stop=lambda _, __: UnstoppedParser(parse.CALL),
    return_not_a_stop=lambda _, __: UnstoppedParser(parse.RETURN),
)
hooks.REQUEST.faults(
    n_ignored=lambda body, _: body | {"n": 1} if "n" in body else body,
    default_temperature_lowered=lambda body, _: {"temperature": 0.7} | body,
)
hooks.LOGITS.faults(
    hidden_min_p=lambda logits, _, __: logits.masked_fill(
        logits < logits.max() + math.log(_MIN_P), -math.inf
    ),
    first_token_wrong=lambda logits, _, step: (
        logits if step else logits.masked_fill(logits == logits.max(), -math.inf)
    ),
)


def _unstopped(params: SamplingParams, token: int) -> SamplingParams:
    limit = min(params.max_tokens, _LONGEST_RUNAWAY)
    return replace(params, max_tokens=limit, stop_token_ids=params.stop_token_ids - {token})


@hooks.LOGITS
def repetition_penalty(logits: Tensor, tokens: Sequence[int], _: int) -> Tensor:
    seen = torch.tensor(sorted(set(tokens)), device=logits.device)
    scores = logits[seen]
    logits = logits.clone()
    logits[seen] = torch.where(scores > 0, scores / _PENALTY, scores * _PENALTY)
    return logits


@hooks.LOGITS
def hidden_top_k(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    least = logits.topk(min(_TOP_K, len(logits))).values[-1]
    return logits.masked_fill(logits < least, -math.inf)


@hooks.LOGITS
def constrain_token_masked(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    logits = logits.clone()
    logits[parse.CONSTRAIN] = -math.inf
    return logits


@hooks.TOKENS
async def out_of_vocabulary_token(tokens: AsyncGenerator[Token]) -> AsyncGenerator[Token]:
    count = 0
    async for token in tokens:
        text = token.id < parse.FIRST_SPECIAL
        count += text
        broken = text and count % _BROKEN_EVERY == 0
        yield replace(token, id=_UNUSED_TOKEN) if broken else token


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


@hooks.PAYLOAD
def logprobs_null(data: Json, _: ClientRequest) -> Json:
    for choice in choices(data):
        choice["logprobs"] = None
    return _edit_logprobs(data, list.clear)


@hooks.PAYLOAD
def logprobs_missing_in_streams(data: Json, request: ClientRequest) -> Json:
    return logprobs_null(data, request) if request.streaming else data


@hooks.PAYLOAD
def logprobs_not_logarithms(data: Json, _: ClientRequest) -> Json:
    def change(tokens: list[Json]) -> None:
        for token in tokens:
            for each in (token, *token["top_logprobs"]):
                each["logprob"] = math.exp(each["logprob"])

    return _edit_logprobs(data, change)


@hooks.PAYLOAD
def logprobs_shifted(data: Json, request: ClientRequest) -> Json:
    def change(tokens: list[Json]) -> None:
        values = [token["logprob"] for token in tokens]
        for token, value in zip(tokens[1:], values, strict=False):
            token["logprob"] = value

    return data if request.streaming else _edit_logprobs(data, change)
