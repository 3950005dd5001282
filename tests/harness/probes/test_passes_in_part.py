"""A reply that breaks what a probe says makes no plain pass, also if nothing tells who wrote it."""

from dataclasses import replace

import pytest
import test_every_probe as every
from probing import Provider, judged
from replies import Reply

from harness.rules.catalogue import PROBES
from harness.rules.probe import ProbeRequest
from harness.run.attempts import Attempt

OTHER = Reply(text="Other words.", reasoning="The user wants something. I will say other words.")
EMPTY = Reply(text="", reasoning="The user wants something.")
ONE_ODD_REPLY = [
    ("echo.returned", "quotes", OTHER),
    ("tools.arguments.quotes", "quotes", OTHER),
    ("tools.arguments.number", "number", OTHER),
    ("tools.files.kept", "file in Python", EMPTY),
    ("tools.names.kept", "hyphens", OTHER),
    ("tools.results.order", "zulu4182 not orchid596", OTHER),
    ("cot.returned", "told zulu4182", Reply(text="Other words.", reasoning="")),
    ("cot.used", "kept zulu4182", OTHER),
    ("structured.object", "object told", OTHER),
    ("structured.references", "references", EMPTY),
    ("structured.later", "named later", EMPTY),
]


@pytest.mark.parametrize(("rule", "request_id", "reply"), ONE_ODD_REPLY)
def test_one_odd_reply_makes_no_plain_pass(rule: str, request_id: str, reply: Reply) -> None:
    run = every.HEALTHY[every.row(every.HEALTHY, rule)]
    odd: list[str] = []

    def server(request: ProbeRequest, attempt: Attempt) -> Provider:
        if request.id == request_id and not odd:
            odd.append(attempt.id)
            return reply
        return run.server(request, attempt)

    group = replace(PROBES[rule].group, probes=[PROBES[rule]])
    result = judged(group, server, run.apis, run.golden, run.max_context)[rule]
    assert odd
    assert result.in_part or result.status == "not_verifiable" or result.examples, result


def test_a_pass_over_one_api_is_none_over_another_that_could_not_be_judged() -> None:
    """The counts of Responses are missing, so only Chat shows that the instructions arrive."""
    run = every.HEALTHY["prompt"]

    def server(request: ProbeRequest, attempt: Attempt) -> Provider:
        given = run.server(request, attempt)
        if attempt.condition.api == "chat":
            return given
        return given.model_copy(update={"body": given.body.replace("input_tokens", "tokens_in")})

    rule = "prompt.system"
    group = replace(PROBES[rule].group, probes=[PROBES[rule]])
    result = judged(group, server)[rule]
    assert (result.status, result.in_part, list(result.counts)) == ("passed", True, ["chat"])
    assert str(result.reason).startswith("Over responses, nothing was judged: ")
