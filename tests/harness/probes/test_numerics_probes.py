"""Numerics probes with a provider that replays the golden file, with modifications."""

from __future__ import annotations

from typing import Any

import pytest
from golden_replay import GOLDEN, Replay
from healthy import Say, chat_whole, json_response
from probing import judged, statuses

from harness.golden.records import Token
from harness.golden.tokens import special
from harness.probes import numerics
from harness.records.rollouts import Response

SPREAD = GOLDEN.tolerance.median / 1.5  # As far as healthy runs are, in the median.


def found(provider: Any) -> dict[str, str]:
    return statuses(judged(numerics.GROUP, provider, golden=GOLDEN))


HEALTHY = {
    "exact": {},
    "with the noise of healthy runs": {"noise": SPREAD},
    "log probabilities of all tokens": {"everything": True},
}


@pytest.mark.parametrize("changes", HEALTHY.values(), ids=HEALTHY)
def test_the_reference_passes(changes: dict[str, Any]) -> None:
    assert found(Replay(**changes)) == {"numerics.logprobs": "passed", "numerics.greedy": "passed"}


def test_logprobs_beyond_the_tolerance_fail() -> None:
    provider = Replay(noise=6 * SPREAD)
    assert found(provider) == {"numerics.logprobs": "failed", "numerics.greedy": "passed"}


def test_a_defect_on_one_prompt_is_detected() -> None:
    provider = Replay(noise=0.6 * GOLDEN.tolerance.request_p95, noisy="turns")
    result = judged(numerics.GROUP, provider, golden=GOLDEN)["numerics.logprobs"]
    assert (result.status, result.failures) == ("failed", 2)  # One reply over each API.
    assert "this reply" in result.examples[0].message


def test_without_logprobs_the_tokens_are_still_compared() -> None:
    results = found(Replay(logprobs=False))
    assert results == {"numerics.logprobs": "not_verifiable", "numerics.greedy": "passed"}


class Other(Replay):
    """Replace the first token of an answer whose best alternative has this gap."""

    least = 0.0
    most = 100.0

    def changed(self, name: str, tokens: list[Token]) -> list[Token]:
        for at, token in enumerate(tokens):
            gap = token.top[0][1] - token.top[1][1]
            if token.part == "answer" and self.least <= gap <= self.most:
                other = token.top[1][0]
                part = "marker" if special(other) else "answer"
                return [*tokens[:at], Token(other, part, token.top)]
        return tokens


def test_a_different_token_fails_only_where_the_reference_is_certain() -> None:
    allowed = GOLDEN.tolerance.gap
    assert found(Other(most=allowed, everything=False))["numerics.greedy"] == "passed"
    result = judged(numerics.GROUP, Other(least=2 * allowed), golden=GOLDEN)["numerics.greedy"]
    assert result.status == "failed"
    assert "less probable" in result.examples[0].evidence.got


UNFIT = {
    "no golden file": ({}, None, "golden create"),
    "another prompt": ({"more_prompt": 11}, GOLDEN, "--current-date"),
    "no CoT": ({"reasoning": False}, GOLDEN, "CoT"),
    "an old golden file": ({}, GOLDEN.model_copy(update={"requests_sha256": "0"}), "version"),
}


@pytest.mark.parametrize(("changes", "golden", "reason"), UNFIT.values(), ids=UNFIT)
def test_incomparable_replies_are_reported_with_a_reason(
    changes: dict[str, Any], golden: Any, reason: str
) -> None:
    for result in judged(numerics.GROUP, Replay(**changes), golden=golden).values():
        assert result.status == "not_verifiable"
        assert reason in str(result.reason)


def drawn(choose: Any) -> str:
    def provider(request: Any, attempt: Any) -> Response:
        golden = GOLDEN.drawn[request.name]
        thought, _, answer = choose(golden.texts, attempt.number).partition("\n")
        body = chat_whole(Say(text=answer, reasoning=thought))
        body["usage"]["prompt_tokens"] = golden.prompt_tokens
        return json_response(body)

    return statuses(judged(numerics.DRAWN_GROUP, provider, golden=GOLDEN))["sampling.distribution"]


def test_only_texts_of_the_reference_distribution_pass() -> None:
    assert drawn(lambda texts, number: texts[3 * number % len(texts)]) == "passed"
    assert drawn(lambda texts, _: texts[0][::-1]) == "warned"
