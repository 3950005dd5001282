"""Numerics probes with a provider that replays the golden file, with modifications."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from golden_replay import GOLDEN, Replay
from healthy import json_response
from probing import Served, judged, prove, statuses
from replies import Reply, chat_whole

from harmony.parse import FIRST_SPECIAL
from harmony.render import OTHER_ORDERS, Order, render_prompt, tokens_sha256
from harness.api.harmony import conversation_of
from harness.api.items import RequestSettings
from harness.golden.content import Golden, Token
from harness.records.conditions import BOTH_APIS
from harness.records.rollouts import Response
from harness.rules.numerics import golden_prompts
from harness.rules.numerics import probes as numerics
from harness.verdict.coverage import too_little_judged

SPREAD = GOLDEN.exact_tolerance.median / 2  # As far as exact healthy engines are, in the median.


GROUP = replace(
    numerics.GROUP, probes=[replace(probe, proves=None) for probe in numerics.GROUP.probes]
)
"""Without what a pass proves, which takes most of the time."""
RULES = [probe.id for probe in GROUP.probes]
DEFECT, LOGPROBS, PRECISION = (f"numerics.{e}" for e in ("defect", "logprobs", "precision"))
GREEDY, RECIPIENT = "numerics.greedy", "numerics.recipient"
UNKNOWN = "not_verifiable"


class OneToken(Replay):
    """All alternatives of one token of a short answer are 6.5 nats too likely.

    A healthy engine in bfloat16 did this on an AMD processor.
    """

    def changes(self, name: str, count: int) -> list[tuple[int | None, ...]]:
        moved = [(0, *[6_500] * 19) if at == 16 else () for at in range(count)]
        return moved if name == "unsure" else [()] * count


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
    results = {
        each.defect: statuses(judged(GROUP, Replay(defect=each.defect), golden=GOLDEN))
        for each in GOLDEN.patterns
    }
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


class Retold(Replay):
    """Replies with the texts of an engine with a defect, to at most `most` requests."""

    told = ""
    most = 8

    def reply(self, api: str, reply: Reply, *given: Any) -> Response:
        pattern = next(each for each in GOLDEN.patterns if each.defect == self.told)
        golden = given[1]
        names = [name for name in pattern.said if self.golden.continuations[name] is golden]
        if {*names} & {*[*pattern.said][: self.most]}:
            reply = Reply(text=pattern.said[names[0]], reasoning="")
        return super().reply(api, reply, *given)


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


def drawing(choose: Any) -> Any:
    """A provider that draws one of the texts of a request, by the number of the try."""

    def provider(request: Any, attempt: Any) -> Response:
        golden = GOLDEN.drawn[request.id]
        thought, _, answer = choose(golden.texts, attempt.number).partition("\n")
        body = chat_whole(Reply(text=answer, reasoning=thought))
        body["usage"]["prompt_tokens"] = golden.prompt_tokens
        return json_response(body)

    return provider


class Shown(Replay):
    """A server that returns the tokens of its prompts, or their logprobs."""

    prompts: Mapping[str, Sequence[int]] = {}
    by_logprobs = False

    def __call__(self, request: Any, attempt: Any) -> Response:
        body = json.loads(super().__call__(request, attempt).body)
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
        settings = each.settings(RequestSettings("m"))
        asked = conversation_of(each.turns, each.instructions, each.tools, settings)
        shown[each.id] = render_prompt(replace(asked, current_date=date), order)
    return shown


def test_the_shipped_digests_are_those_of_the_rendered_prompts() -> None:
    for part in (GOLDEN, GOLDEN.dated):
        assert part is not None
        for order in ("before", *OTHER_ORDERS):
            one = part if order == "before" else part.in_order(order)
            assert {name: each.prompt_sha256 for name, each in one.continuations.items()} == {
                name: tokens_sha256(each)
                for name, each in prompts(order, part.current_date).items()
            }


def test_a_golden_file_of_an_older_version_is_read() -> None:
    def older(golden: Golden) -> Golden:
        answers = {
            name: each.model_copy(update={"prompt_sha256": ""})
            for name, each in golden.continuations.items()
        }
        return golden.model_copy(update={"continuations": answers, "orders": {}, "dated": None})

    data = older(GOLDEN).model_dump(mode="json", exclude={"order", "orders"})
    for each in (*data["continuations"].values(), *data["long"]["continuations"].values()):
        del each["prompt_sha256"]
    golden = Golden.model_validate(data)
    prove(GROUP, Replay(), dict.fromkeys(RULES, "passed") | {RECIPIENT: UNKNOWN}, golden=golden)


def golden_with(**changes: Any) -> Golden:
    return GOLDEN.model_copy(update=changes)


def in_order(order: str, part: Any = GOLDEN) -> Any:
    return part if order == "before" else part.in_order(order)


STRICT = GOLDEN.tolerance.model_copy(update={"request_p95": 0.5 * GOLDEN.tolerance.request_p95})
OF_ONE_ENGINE = (
    GOLDEN.healthy[0].model_copy(update={"engine": GOLDEN.engine, "numbers": GOLDEN.dtype}),
)
NAMED = {"calls after": ": calls have it", "results after": ": results have it"}
PASSED = dict.fromkeys(RULES, "passed")
WRONG = {LOGPROBS: "failed", PRECISION: "warned"}
UNLIKE = dict.fromkeys(RULES, UNKNOWN)
EIGHT_BITS, NOISY = 0.8 * GOLDEN.tolerance.median, 0.5 * GOLDEN.tolerance.request_p95
_SERVERS: dict[str, tuple[Replay, dict[str, str], Any]] = {
    "exact": (Replay(golden=GOLDEN.dated), PASSED, GOLDEN),
    "noise": (Replay(golden=GOLDEN.dated, noise=SPREAD), PASSED, GOLDEN),
    "all tokens": (Replay(golden=GOLDEN.dated, everything=True), PASSED, GOLDEN),
    "a dated defect": (
        Replay(golden=GOLDEN.dated, defect="sinks-of-other-heads", noise=SPREAD),
        {DEFECT: "failed: sinks-of-other-heads"} | WRONG,
        GOLDEN,
    ),
    "other prompts": (
        Replay(more_prompt=5),
        {**UNLIKE, GREEDY: f"{UNKNOWN}: prompts differ"},
        GOLDEN,
    ),
    "a cache in 8 bits": (Replay(noise=EIGHT_BITS), PASSED | {PRECISION: "warned"}, GOLDEN),
    "great noise": (
        Replay(noise=2 * GOLDEN.tolerance.median),
        WRONG | {DEFECT: "passed"},
        GOLDEN,
    ),
    **{
        f"{defect}, noise {noise:.3f}": (
            Replay(defect=defect, noise=noise),
            {DEFECT: f"failed: {defect}"} | more,
            GOLDEN,
        )
        for defect, more in (
            ("sinks-of-other-heads", WRONG),
            ("yarn-rounded", {}),
            ("expert-bias-unweighted", WRONG),
            ("experts-in-int4", WRONG),
        )
        for noise in (0.0, SPREAD)
    },
    **{
        f"texts of {defect}": (
            Retold(told=defect),
            {DEFECT: f"failed: ({defect})", GREEDY: "failed"},
            GOLDEN,
        )
        for defect in ("expert-of-another-token", "yarn-missing")
    },
    "experts-in-tf32": (
        Replay(defect="experts-in-tf32"),
        {DEFECT: "failed: experts-in-tf32"},
        GOLDEN,
    ),
    "two texts of a defect": (
        Retold(told="yarn-missing", most=2),
        {DEFECT: "passed", GREEDY: "failed"},
        GOLDEN,
    ),
    "a defect of one prompt": (
        Replay(defect="result-order-reversed", noise=SPREAD),
        {DEFECT: "failed: result-order-reversed"} | WRONG,
        GOLDEN,
    ),
    "half of a defect": (Replay(defect="yarn-rounded", part=0.5), {DEFECT: "passed"}, GOLDEN),
    "the opposite of a defect": (
        Replay(defect="yarn-rounded", part=-1.0),
        {DEFECT: "passed"},
        GOLDEN,
    ),
    "one noisy reply": (
        Replay(noise=NOISY, noisy="turns"),
        {LOGPROBS: "passed", PRECISION: "warned"},
        GOLDEN,
    ),
    "one noisy reply beyond its limit": (
        Replay(noise=NOISY, noisy="turns"),
        {LOGPROBS: "failed: this reply", PRECISION: "warned"},
        golden_with(tolerance=STRICT),
    ),
    "one token": (OneToken(), {LOGPROBS: "passed", PRECISION: "passed"}, GOLDEN),
    "no logprobs": (
        Replay(logprobs=False),
        UNLIKE | {GREEDY: "passed", RECIPIENT: "passed"},
        GOLDEN,
    ),
    "one engine": (
        Replay(),
        {**UNLIKE, GREEDY: UNKNOWN},
        golden_with(healthy=OF_ONE_ENGINE),
    ),
    "another token within the gap": (
        Other(most=GOLDEN.tolerance.gap, everything=False),
        {GREEDY: "passed"},
        GOLDEN,
    ),
    "another token": (
        Other(least=2 * GOLDEN.tolerance.gap),
        {GREEDY: "failed: less probable"},
        GOLDEN,
    ),
    "no golden file": (Replay(), UNLIKE, None),
    "no CoT": (Replay(reasoning=False), {**UNLIKE, GREEDY: f"{UNKNOWN}: CoT"}, GOLDEN),
    "an old golden file": (Replay(), UNLIKE, golden_with(requests_sha256="0")),
    "no patterns": (
        Replay(),
        {DEFECT: f"{UNKNOWN}: patterns", GREEDY: "passed"},
        golden_with(patterns=()),
    ),
    "an order by texts": (  # The texts of the small checkpoint are equal in all orders.
        Replay(golden=GOLDEN.in_order("after"), logprobs=False),
        {GREEDY: "passed"},
        GOLDEN,
    ),
    **{
        f"order {order}, {named}": (
            Replay(golden=part.in_order(order), noise=noise),
            PASSED | {RECIPIENT: f"passed: {NAMED.get(order, 'calls and results have')}"},
            GOLDEN,
        )
        for named, part, noise in (("plain", GOLDEN, SPREAD), ("dated", GOLDEN.dated, 0.0))
        for order in OTHER_ORDERS
    },
    **{
        f"{defect} in order {order}": (
            Replay(golden=GOLDEN.in_order(order), defect=defect),
            {DEFECT: f"failed: {defect}", LOGPROBS: logprobs, PRECISION: "warned"},
            GOLDEN,
        )
        for defect, logprobs in (
            ("sinks-of-other-heads", "failed"),
            ("router-softmax-over-all", "passed"),
        )
        for order in OTHER_ORDERS
    },
    **{
        f"prompt shown in order {order}{', dated' * bool(date)}": (
            Shown(
                golden=in_order(order, GOLDEN.dated if date else GOLDEN),
                prompts=prompts(order, date),
                by_logprobs=bool(date) == (at % 2 == 0),
            ),
            PASSED | {RECIPIENT: "passed: info:" if order != "before" else "passed"},
            GOLDEN,
        )
        for at, order in enumerate(("before", *OTHER_ORDERS))
        for date in (None, "2031-01-02")
    },
    "another prompt is shown": (
        Shown(prompts={name: [*ids[:-1], ids[-1] + 1] for name, ids in prompts().items()}),
        {**UNLIKE, GREEDY: f"{UNKNOWN}: not the golden"},
        GOLDEN,
    ),
}
SERVERS: Served = {
    name: (GROUP, provider, found, BOTH_APIS, golden)
    for name, (provider, found, golden) in _SERVERS.items()
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(*SERVERS[server])


def test_what_a_golden_file_of_servers_lacks_does_not_prevent_a_pass() -> None:
    golden = golden_with(patterns=(), long=None)
    results = {
        **judged(GROUP, Replay(), golden=golden),
        **judged(numerics.LONG_GROUP, Replay(), golden=golden),
    }
    silent = {rule for rule, status in statuses(results).items() if status == UNKNOWN}
    assert silent == {DEFECT, "long.numerics.logprobs", "long.numerics.greedy"}
    assert not list(too_little_judged(list(results.values())))


@pytest.mark.parametrize(
    ("server", "until"),
    [
        ("one engine", "Merge it"),
        ("no golden file", "golden create"),
        ("other prompts", "--current-date"),
        ("an old golden file", "version"),
    ],
)
def test_a_result_says_what_would_give_one(server: str, until: str) -> None:
    group, provider, _, apis, golden = SERVERS[server]
    result = judged(group, provider, apis, golden)[GREEDY]
    assert until in f"{result.reason} {result.until}"
