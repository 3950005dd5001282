"""Numerics probes with a provider that replays the golden file, with modifications."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from golden_replay import GOLDEN, Replay
from healthy import json_response
from probing import judged, statuses
from replies import Reply, chat_whole

from harmony.parse import FIRST_SPECIAL
from harmony.render import OTHER_ORDERS, Order, render_prompt, tokens_sha256
from harness.api.harmony import conversation_of
from harness.api.items import Settings
from harness.golden.content import Golden, Token
from harness.records.rollouts import Response
from harness.rules.numerics import golden_prompts
from harness.rules.numerics import probes as numerics
from harness.verdict.coverage import too_little_judged

SPREAD = GOLDEN.exact_tolerance.median / 2  # As far as exact healthy engines are, in the median.


def found(provider: Any) -> dict[str, str]:
    return statuses(judged(numerics.GROUP, provider, golden=GOLDEN))


HEALTHY = {
    "exact": {},
    "with the noise of healthy runs": {"noise": SPREAD},
    "log probabilities of all tokens": {"everything": True},
}


@pytest.mark.parametrize("changes", HEALTHY.values(), ids=HEALTHY)
def test_prompts_with_a_date_have_their_own_golden_answers(changes: dict[str, Any]) -> None:
    assert set(found(Replay(golden=GOLDEN.dated, **changes)).values()) == {"passed"}


def test_a_defect_in_prompts_with_a_date_is_named() -> None:
    provider = Replay(golden=GOLDEN.dated, defect="sinks-of-other-heads", noise=SPREAD)
    result = judged(numerics.GROUP, provider, golden=GOLDEN)["numerics.defect"]
    assert "sinks-of-other-heads" in result.examples[0].message


def test_other_prompts_are_not_judged() -> None:
    results = judged(numerics.GROUP, Replay(more_prompt=5), golden=GOLDEN)
    assert set(statuses(results).values()) == {"not_verifiable"}
    assert "The prompts differ" in str(results["numerics.greedy"].reason)


def test_less_exact_logprobs_warn() -> None:
    spread = 0.8 * GOLDEN.tolerance.median  # As far as a KV cache in 8 bits.
    assert found(Replay(noise=spread)) == {
        "numerics.logprobs": "passed",
        "numerics.precision": "warned",
        "numerics.defect": "passed",
        "numerics.recipient": "passed",
        "numerics.greedy": "passed",
    }


def test_logprobs_beyond_the_tolerance_fail() -> None:
    results = found(Replay(noise=2 * GOLDEN.tolerance.median))
    assert results["numerics.logprobs"] == "failed"
    assert results["numerics.defect"] == "passed"


@pytest.mark.parametrize("noise", [0.0, SPREAD])
@pytest.mark.parametrize(
    "defect", ["sinks-of-other-heads", "yarn-rounded", "expert-bias-unweighted"]
)
def test_a_known_defect_is_named(defect: str, noise: float) -> None:
    provider = Replay(defect=defect, noise=noise)
    result = judged(numerics.GROUP, provider, golden=GOLDEN)["numerics.defect"]
    assert result.status == "failed"
    assert defect in result.examples[0].message


def test_a_known_defect_is_named_within_the_tolerance() -> None:
    results = found(Replay(defect="yarn-rounded", noise=SPREAD))
    assert (results["numerics.defect"], results["numerics.logprobs"]) == ("failed", "passed")


def test_a_defect_of_one_prompt_is_named() -> None:
    provider = Replay(defect="result-order-reversed", noise=SPREAD)
    result = judged(numerics.GROUP, provider, golden=GOLDEN)["numerics.defect"]
    assert "result-order-reversed" in result.examples[0].message


def test_half_of_a_defect_is_not_reported() -> None:
    assert found(Replay(defect="yarn-rounded", part=0.5))["numerics.defect"] == "passed"
    assert found(Replay(defect="yarn-rounded", part=-1.0))["numerics.defect"] == "passed"


def test_one_reply_may_exceed_the_tolerance() -> None:
    provider = Replay(noise=0.5 * GOLDEN.tolerance.request_p95, noisy="turns")
    assert found(provider)["numerics.logprobs"] == "passed"
    strict = GOLDEN.tolerance.model_copy(update={"request_p95": 0.5 * GOLDEN.tolerance.request_p95})
    golden = GOLDEN.model_copy(update={"tolerance": strict})
    result = judged(numerics.GROUP, provider, golden=golden)["numerics.logprobs"]
    assert result.status == "failed"
    assert "this reply" in result.examples[0].message


class OneToken(Replay):
    """All alternatives of one token of a short answer are 6.5 nats too likely.

    A healthy engine in bfloat16 did this on an AMD processor.
    """

    def changes(self, name: str, count: int) -> list[tuple[int | None, ...]]:
        moved = [(0, *[6_500] * 19) if at == 16 else () for at in range(count)]
        return moved if name == "unsure" else [()] * count


def test_one_token_of_a_short_reply_does_not_decide() -> None:
    results = found(OneToken())
    assert (results["numerics.logprobs"], results["numerics.precision"]) == ("passed", "passed")


def test_without_logprobs_the_tokens_are_still_compared() -> None:
    results = found(Replay(logprobs=False))
    assert results.pop("numerics.greedy") == results.pop("numerics.recipient") == "passed"
    assert set(results.values()) == {"not_verifiable"}


def shown(rule: str, **changes: Any) -> set[str]:
    """The known defects that a passed probe says it would have detected."""
    result = judged(numerics.GROUP, Replay(**changes), golden=GOLDEN)[rule]
    assert result.status == "passed"
    count, separator, names = result.reason.rstrip(".").partition(": ")
    assert f" of {len(GOLDEN.patterns)} known defects would show in " in count
    listed = set(names.split(", ")) if separator else set()
    assert count.startswith(f"{len(listed)} of ")
    return listed


def test_a_pass_states_which_known_defects_would_have_failed() -> None:
    results = {each.defect: found(Replay(defect=each.defect)) for each in GOLDEN.patterns}
    for rule in ("numerics.logprobs", "numerics.precision", "numerics.defect"):
        failing = {defect for defect, status in results.items() if status[rule] != "passed"}
        assert shown(rule) == failing != set(), rule


def test_fewer_alternatives_reveal_fewer_defects() -> None:
    every, five, one = (shown("numerics.logprobs", alternatives=count) for count in (20, 5, 1))
    assert every >= five >= one
    assert every > one


def test_text_alone_reveals_no_more_defects_than_logprobs() -> None:
    by_text = shown("numerics.greedy", logprobs=False)
    assert by_text
    assert by_text <= shown("numerics.precision")


def test_a_golden_file_of_one_engine_judges_nothing() -> None:
    run = GOLDEN.healthy[0].model_copy(update={"engine": GOLDEN.engine, "numbers": GOLDEN.dtype})
    alone = GOLDEN.model_copy(update={"healthy": (run,)})
    results = judged(numerics.GROUP, Replay(), golden=alone)
    assert set(statuses(results).values()) == {"not_verifiable"}
    assert "Merge it" in str(results["numerics.greedy"].until)


class Other(Replay):
    """Replace the first token of an answer whose best alternative has this gap."""

    least = 0.0
    most = 100.0

    def changed(self, name: str, tokens: list[Token]) -> list[Token]:
        for at, token in enumerate(tokens):
            gap = token.top[0][1] - token.top[1][1]
            if token.part == "answer" and self.least <= gap <= self.most:
                other = token.top[1][0]
                part = "marker" if other >= FIRST_SPECIAL else "answer"
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
    "another prompt": ({"more_prompt": 9}, GOLDEN, "--current-date"),
    "no CoT": ({"reasoning": False}, GOLDEN, "CoT"),
    "an old golden file": ({}, GOLDEN.model_copy(update={"requests_sha256": "0"}), "version"),
}


@pytest.mark.parametrize(("changes", "golden", "reason"), UNFIT.values(), ids=UNFIT)
def test_incomparable_replies_are_reported_with_a_reason(
    changes: dict[str, Any], golden: Any, reason: str
) -> None:
    for result in judged(numerics.GROUP, Replay(**changes), golden=golden).values():
        assert result.status == "not_verifiable"
        assert reason in f"{result.reason} {result.until}"


def test_what_a_golden_file_of_servers_lacks_does_not_prevent_a_pass() -> None:
    golden = GOLDEN.model_copy(update={"patterns": (), "long": None})
    results = judged(numerics.GROUP, Replay(), golden=golden)
    results = {**results, **judged(numerics.LONG_GROUP, Replay(), golden=golden)}
    silent = {rule for rule, status in statuses(results).items() if status == "not_verifiable"}
    assert silent == {"numerics.defect", "long.numerics.logprobs", "long.numerics.greedy"}
    assert "patterns" in str(results["numerics.defect"].reason)
    assert "no answers to these requests" in str(results["long.numerics.greedy"].reason)
    assert not list(too_little_judged(list(results.values())))


def drawing(choose: Any) -> Any:
    """A provider that draws one of the texts of a request, by the number of the try."""

    def provider(request: Any, attempt: Any) -> Response:
        golden = GOLDEN.drawn[request.id]
        thought, _, answer = choose(golden.texts, attempt.number).partition("\n")
        body = chat_whole(Reply(text=answer, reasoning=thought))
        body["usage"]["prompt_tokens"] = golden.prompt_tokens
        return json_response(body)

    return provider


ORDERS = [(order, part) for part in (GOLDEN, GOLDEN.dated) for order in OTHER_ORDERS]


@pytest.mark.parametrize("noise", [0.0, SPREAD])
@pytest.mark.parametrize(("order", "part"), ORDERS)
def test_another_order_of_recipient_and_channel_is_named_and_else_healthy(
    order: Order, part: Any, noise: float
) -> None:
    results = judged(
        numerics.GROUP, Replay(golden=part.in_order(order), noise=noise), golden=GOLDEN
    )
    named = results.pop("numerics.recipient")
    assert set(statuses(results).values()) == {"passed"}
    assert named.examples[0].severity == "info"
    assert {"calls after": "calls have it after", "results after": "results have it after"}.get(
        order, "calls and results have it after"
    ) in named.examples[0].message


def test_without_logprobs_texts_tell_the_order_if_they_differ() -> None:
    """The texts of the small checkpoint are equal in all orders."""
    results = found(Replay(golden=GOLDEN.in_order("after"), logprobs=False))
    assert results["numerics.greedy"] == "passed"


@pytest.mark.parametrize("defect", ["sinks-of-other-heads", "router-softmax-over-all"])
def test_a_known_defect_is_named_in_every_order(defect: str) -> None:
    for order in OTHER_ORDERS:
        provider = Replay(golden=GOLDEN.in_order(order), defect=defect)
        result = judged(numerics.GROUP, provider, golden=GOLDEN)["numerics.defect"]
        assert defect in result.examples[0].message


class Shown(Replay):
    """A server that returns the tokens of its prompts, or their logprobs."""

    prompts: Mapping[str, Sequence[int]] = {}
    by_logprobs = False

    def __call__(self, request: Any, attempt: Any) -> Response:
        response = super().__call__(request, attempt)
        body = json.loads(response.body)
        ids = self.prompts[request.id]
        if self.by_logprobs:
            entries = [{str(token): {"logprob": -0.1, "rank": 1}} for token in ids[1:]]
            body["prompt_logprobs"] = [None, *entries]
        else:
            body["prompt_token_ids"] = ids
        return json_response(body)


def prompts(order: Order = "before", date: str | None = None) -> dict[str, list[int]]:
    """The tokens of the golden prompts, as a server renders them."""
    shown = {}
    for each in golden_prompts.greedy("harmony"):
        settings = each.settings(Settings("m"))
        asked = conversation_of(each.turns, each.instructions, each.tools, settings)
        shown[each.id] = render_prompt(replace(asked, current_date=date), order)
    return shown


@pytest.mark.parametrize("by_logprobs", [False, True])
@pytest.mark.parametrize("order", ["before", *OTHER_ORDERS])
@pytest.mark.parametrize("date", [None, "2031-01-02"])
def test_a_shown_prompt_decides_the_order(
    order: Order, date: str | None, by_logprobs: bool
) -> None:
    part = GOLDEN.dated if date else GOLDEN
    assert part is not None
    part = part if order == "before" else part.in_order(order)
    provider = Shown(golden=part, prompts=prompts(order, date), by_logprobs=by_logprobs)
    results = judged(numerics.GROUP, provider, golden=GOLDEN)
    named = results.pop("numerics.recipient")
    assert bool(named.examples) == (order != "before")
    assert set(statuses(results).values()) == {"passed"}


def test_a_shown_prompt_with_other_tokens_is_not_judged() -> None:
    other = {name: [*tokens[:-1], tokens[-1] + 1] for name, tokens in prompts().items()}
    results = judged(numerics.GROUP, Shown(prompts=other), golden=GOLDEN)
    assert set(statuses(results).values()) == {"not_verifiable"}
    assert "are not the golden ones" in str(results["numerics.greedy"].reason)


def test_the_shipped_digests_are_those_of_the_rendered_prompts() -> None:
    for part in (GOLDEN, GOLDEN.dated):
        assert part is not None
        for order in ("before", *OTHER_ORDERS):
            one = part if order == "before" else part.in_order(order)
            due = {
                name: tokens_sha256(each)
                for name, each in prompts(order, part.current_date).items()
            }
            assert {name: each.prompt_sha256 for name, each in one.continuations.items()} == due


def test_a_golden_file_of_an_older_version_is_read() -> None:
    def older(golden: Golden) -> Golden:
        answers = {
            name: each.model_copy(update={"prompt_sha256": ""})
            for name, each in golden.continuations.items()
        }
        return golden.model_copy(update={"continuations": answers, "orders": {}, "dated": None})

    kept = {"order", "orders"}
    data = older(GOLDEN).model_dump(mode="json", exclude=kept)
    for each in (*data["continuations"].values(), *data["long"]["continuations"].values()):
        del each["prompt_sha256"]
    golden = Golden.model_validate(data)
    results = statuses(judged(numerics.GROUP, Replay(), golden=golden))
    assert results.pop("numerics.recipient") == "not_verifiable"
    assert set(results.values()) == {"passed"}
