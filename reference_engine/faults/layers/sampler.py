"""Faults in sampling, stop tokens and log probabilities."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harmony import parse
from reference_engine.faults import hooks
from reference_engine.faults.http import ClientRequest, Json, choices, output_items
from reference_engine.generation.sampling import SamplingParams

_PENALTY = 1.1
_DEFAULT_SEED = 42
_LONGEST_RUNAWAY = 320
_LOOP = 4  # tokens that a loop repeats
_CERTAIN = 1000.0  # nats by which a forced token exceeds all others


class _UnstoppedParser(parse.HarmonyParser):
    """Continues after the given stop token, even if the next message has another role."""

    def __init__(self, token: int) -> None:
        super().__init__()
        self._token = token

    def feed(self, token: int) -> list[parse.Event]:
        events = super().feed(token)
        if token == self._token:
            self.done = False
        return events

    def _start_message(self) -> list[parse.Event]:
        events = super()._start_message()
        if not events:
            self.done = False
            self.open = parse.Started("answer")
            events.append(self.open)
        return events


hooks.SAMPLING.faults(
    {
        "token-zero-up-to-limit": lambda params: _limited(params),
        "answers-that-loop": lambda params: _limited(params),
        "hidden-top-p": lambda params: replace(params, top_p=min(params.top_p, 0.9)),
        # The small model is too certain to show a lower temperature.
        "temperature-lowered": lambda params: replace(params, temperature=0.7 * params.temperature),
        "temperature-fixed": lambda params: replace(params, temperature=0.7),
        "always-greedy": lambda params: replace(params, temperature=0.0),
        "seed-constant": lambda params: replace(params, seed=params.seed or _DEFAULT_SEED),
        "seed-ignored": lambda params: replace(params, seed=None),
        "seed-zero-ignored": lambda params: replace(params, seed=params.seed or None),
        "call-not-a-stop": lambda params: _unstopped(params, parse.CALL),
        "return-not-a-stop": lambda params: _unstopped(params, parse.RETURN),
    },
)
hooks.PARSER.faults(
    {
        "call-not-a-stop": lambda _, __: _UnstoppedParser(parse.CALL),
        "return-not-a-stop": lambda _, __: _UnstoppedParser(parse.RETURN),
    },
)
hooks.REQUEST.faults(
    {"default-temperature-lowered": lambda body, _: body.setdefault("temperature", 0.7)}
)
hooks.REQUEST.when(lambda body, _: "temperature" in body).faults(
    {"top-p-dropped-beside-temperature": lambda body, _: body.pop("top_p", None)}
)
hooks.REQUEST.when(lambda body, _: bool(body.get("tools"))).faults(
    {"temperature-zero-beside-tools": lambda body, _: body.update(temperature=0)}
)
hooks.REQUEST.when(lambda body, _: "n" in body).faults(
    {"n-ignored": lambda body, _: body.update(n=1)}
)


def _limited(params: SamplingParams) -> SamplingParams:
    return replace(params, max_tokens=min(params.max_tokens, _LONGEST_RUNAWAY))


@hooks.LOGITS("token-zero-up-to-limit")
def token_zero_up_to_limit(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    return _forced(logits, 0) if tokens[-1] in (parse.MESSAGE, 0) else logits


@hooks.LOGITS("answers-that-loop")
def answers_that_loop(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    special = next(at for at in reversed(range(len(tokens))) if tokens[at] >= parse.FIRST_SPECIAL)
    in_text = tokens[special] == parse.MESSAGE and len(tokens) - special > _LOOP
    return _forced(logits, tokens[-_LOOP]) if in_text else logits


def _forced(logits: Tensor, token: int) -> Tensor:
    logits = logits.clone()
    logits[token] += _CERTAIN
    return logits


def _unstopped(params: SamplingParams, token: int) -> SamplingParams:
    limit = min(params.max_tokens, _LONGEST_RUNAWAY)
    return replace(params, max_tokens=limit, stop_token_ids=params.stop_token_ids - {token})


@hooks.LOGITS("repetition-penalty")
def repetition_penalty(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    seen = torch.tensor(sorted(set(tokens)), device=logits.device)
    scores = logits[seen]
    logits = logits.clone()
    logits[seen] = torch.where(scores > 0, scores / _PENALTY, scores * _PENALTY)
    return logits


@hooks.LOGITS("constrain-token-masked")
def constrain_token_masked(logits: Tensor, _: Sequence[int]) -> Tensor:
    logits = logits.clone()
    logits[parse.CONSTRAIN] = -math.inf
    return logits


def edit_logprobs(data: Json, change: Callable[[list[Json]], object]) -> None:
    for choice in choices(data):
        if choice.get("logprobs"):
            change(choice["logprobs"]["content"])
    if isinstance(data.get("logprobs"), list):
        change(data["logprobs"])
    for item in output_items(data):
        for part in item.get("content") or ():
            if "logprobs" in part:
                change(part["logprobs"])


@hooks.PAYLOAD("alternatives-without-text")
def alternatives_without_text(data: Json, _: ClientRequest) -> None:
    def change(tokens: list[Json]) -> None:
        for token in tokens:
            for other in (token.get("top_logprobs") or ())[1:]:
                other |= {"token": "", "bytes": []}

    edit_logprobs(data, change)


@hooks.PAYLOAD("logprobs-null")
def logprobs_null(data: Json, _: ClientRequest) -> None:
    for choice in choices(data):
        choice["logprobs"] = None
    edit_logprobs(data, list.clear)


@hooks.PAYLOAD("alternatives-named-as-sampled")
def alternatives_named_as_sampled(data: Json, _: ClientRequest) -> None:
    def change(tokens: list[Json]) -> None:
        for token in tokens:
            for other in token.get("top_logprobs") or ():
                other |= {"token": token["token"], "bytes": token.get("bytes")}

    edit_logprobs(data, change)


hooks.PAYLOAD.when(hooks.of_streams).faults({"logprobs-missing-in-streams": logprobs_null})


@hooks.RESPONSE.when(hooks.of_responses)("settings-repeated-as-defaults")
def settings_repeated_as_defaults(response: Json, _: ClientRequest) -> None:
    if isinstance(response.get("text"), dict):
        response |= {"previous_response_id": None, "text": {"format": {"type": "text"}}}


@hooks.PAYLOAD("logprobs-shifted")
def logprobs_shifted(data: Json, request: ClientRequest) -> None:
    def change(tokens: list[Json]) -> None:
        values = [token["logprob"] for token in tokens]
        for token, value in zip(tokens[1:], values, strict=False):
            token["logprob"] = value

    if not request.streaming:
        edit_logprobs(data, change)
