"""A provider that replays the shipped golden file, with modifications."""

import random
from itertools import zip_longest
from typing import Any

from healthy import json_response
from replies import Reply, chat_whole, responses_whole

from harmony.vocabulary import bytes_of
from harness.golden import files
from harness.golden.content import MILLI, Continuation, Token
from harness.records.rollouts import Response

GOLDEN = files.shipped()


def text(tokens: list[Token], part: str) -> str:
    return b"".join(bytes_of(t.id) for t in tokens if t.part == part).decode("utf-8", "replace")


class Replay:
    """Replays the golden file."""

    golden = GOLDEN
    """The golden file, or a part of it."""
    noise = 0.0
    noisy: str | None = None
    """The only request with noisy logprobs; None for all."""
    defect: str | None = None
    """The defect whose changes the logprobs have."""
    part = 1.0
    """The part of these changes."""
    logprobs = True
    alternatives = 20
    """How many alternatives a token has."""
    everything = False
    more_prompt = 0
    reasoning = True

    def __init__(self, **changes: Any) -> None:
        vars(self).update(changes)
        self._random = random.Random(5)

    def __call__(self, request: Any, attempt: Any) -> Response:
        golden = self.golden.continuations[request.id]
        tokens = self.changed(request.id, list(golden.tokens()))
        call = text(tokens, "call")
        thought = text(tokens, "reasoning") if self.reasoning else ""
        said = Reply(None if call else text(tokens, "answer"), reasoning=thought)
        if call:
            said = Reply(call=("get_weather", call), reasoning=thought)
        noise = self.noise if self.noisy in (None, request.id) else 0.0
        changes = self.changes(request.id, len(tokens))
        return self.reply(attempt.condition.api, said, tokens, golden, noise, changes)

    def changes(self, name: str, count: int) -> list[tuple[int | None, ...]]:
        """The changes of each token's alternatives, in thousandths of a nat."""
        patterns = [each for each in self.golden.patterns if each.defect == self.defect]
        return [*patterns[0].changes[name]] if patterns else [()] * count

    def changed(self, _name: str, tokens: list[Token]) -> list[Token]:
        return tokens

    def reply(
        self,
        api: str,
        reply: Reply,
        tokens: list[Token],
        golden: Continuation,
        noise: float,
        changes: list[tuple[int | None, ...]],
    ) -> Response:
        entries = [
            self.entry(token, noise, change)
            for token, change in zip(tokens, changes, strict=True)
            if self.logprobs and (self.everything or token.part == "answer")
        ]
        cut = golden.parts[-1] != "m"
        prompt = golden.prompt_tokens + self.more_prompt
        if api == "chat":
            body = chat_whole(reply)
            body["choices"][0]["logprobs"] = {"content": entries, "refusal": None}
            if cut:
                body["choices"][0]["finish_reason"] = "length"
            body["usage"]["prompt_tokens"] = prompt
        else:
            body = responses_whole(reply)
            for item in body["output"]:
                if item["type"] == "message":
                    item["content"][0]["logprobs"] = entries
            if cut:
                body |= {"status": "incomplete", "incomplete_details": {"reason": "length"}}
                body["incomplete_details"] = {"reason": "max_output_tokens"}
            body["usage"]["input_tokens"] = prompt
        return json_response(body)

    def entry(self, token: Token, noise: float, change: tuple[int | None, ...]) -> dict[str, Any]:
        top = [
            self.named(
                each,
                min(0.0, value + self.part * (moved or 0) / MILLI + self._random.gauss(0, noise)),
            )
            for (each, value), moved in zip_longest(token.top, change)
        ]
        return {**self.named(token.id, top[0]["logprob"]), "top_logprobs": top[: self.alternatives]}

    def named(self, token: int, value: float) -> dict[str, Any]:
        data = bytes_of(token)
        return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "logprob": value}
