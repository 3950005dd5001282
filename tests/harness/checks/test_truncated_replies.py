"""Replies that the token limit cut, and what no healthy model or server writes."""

import json
from collections.abc import Iterator
from functools import cache
from itertools import cycle

import pytest
from examined import details
from healthy import json_response, rollout
from judged_replies import Judged, told
from replies import PROMPT_TOKENS, Reply, chat_whole, counts
from written import asked, chat, responses, responses_stream

from harmony.render import text_tokens
from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Rollout
from harness.records.scores import Score
from harness.rules.account import account_of
from harness.rules.catalogue import compare_rollouts
from harness.rules.measured import measured_score
from harness.verdict.tolerances import apply_tolerances

COT = "The user asks for a short plan of a harbour visit, so I list the steps one after another"
PLAN = "First take the ferry, then see the museum, then walk along the quay to the old mill"
SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}


def tokens(*texts: str) -> int:
    return sum(map(len, map(text_tokens, texts)))


def cut(
    cot: str, text: str | None, reported: int, thinking: int | None = None, **request: object
) -> Rollout:
    """A Chat reply that the token limit cut."""
    body = chat_whole(Reply(text=text, reasoning=cot))
    body["choices"][0]["finish_reason"] = "length"
    usage = body["usage"]
    usage |= {"completion_tokens": reported, "total_tokens": reported + usage["prompt_tokens"]}
    thinking = tokens(cot) if thinking is None else thinking
    usage["completion_tokens_details"]["reasoning_tokens"] = thinking
    recorded = rollout([json_response(body)], sample=f"{reported} {text}")
    return asked(recorded, {"max_tokens": reported, "tools": [], **request})


def healthy(cot: str, text: str) -> int:
    """The tokens up to a limit within the answer: the texts and two headers."""
    return tokens(cot, text) + 9


def test_a_server_that_counts_all_tokens_as_reasoning_contradicts_nothing():
    body = chat_whole(Reply(text=PLAN, reasoning=COT))
    truncated = measured(cut("We should", PLAN, 24, 24))
    own = measured(rollout([json_response(body)]))
    usage = body["usage"]
    usage["completion_tokens_details"]["reasoning_tokens"] = usage["completion_tokens"]
    every = measured(rollout([json_response(body)]))
    assert "limits.prefix" in compared([own, truncated])
    assert "limits.prefix" not in compared([every, every, truncated])


def measured(recorded: Rollout) -> Score:
    return measured_score(parse_rollout(recorded), {"outcome": "answered"})


def compared(scores: list[Score]) -> list[str]:
    compared = compare_rollouts(scores, account=account_of(scores))
    return [found.id for _, each in compared for found in each]


@pytest.mark.parametrize(
    ("shift", "uncounted", "found"),
    [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (-6, 0, 2), (-6, 6, 0), (-6, 3, 2), (-14, 0, 2)],
)
def test_a_cot_that_is_cut_in_two_lacks_a_header(shift, uncounted, found):
    """`uncounted` are the tokens of the format that a server never counts.

    With a text that the server appends, even more tokens are missing. One reply shows {}.
    """
    scores = []
    for number in range(6):
        body = chat_whole(Reply(text=f"{PLAN} {number}.", reasoning=COT))
        body["usage"]["completion_tokens"] -= uncounted
        body["usage"]["total_tokens"] -= uncounted
        scores.append(measured(rollout([json_response(body)], sample=str(number))))
    reported = healthy(COT, PLAN) + shift - uncounted
    one = measured(cut(COT, PLAN, reported))
    other = measured(cut(COT, f"{PLAN}!", reported + tokens(f"{PLAN}!") - tokens(PLAN)))
    assert compared([*scores, one, other]).count("limits.prefix") == found
    assert compared([*scores, one]).count("limits.prefix") == 0


BANGS = "!" * 600


def listed(*alternatives: list[str], texts: tuple[str, ...]) -> Rollout:
    """A Chat answer of these tokens; each has alternatives, of which \"\" has no bytes."""
    entries = [
        {
            "token": token,
            "logprob": -0.2,
            "bytes": list(token.encode()),
            "top_logprobs": [
                {"token": other, "logprob": -0.2 - 3 * at, "bytes": list(other.encode())}
                for at, other in enumerate([token, *others])
            ],
        }
        for token, others in zip(texts, alternatives, strict=True)
    ]
    body = chat_whole(Reply(text="".join(texts), reasoning="Say it."))
    body["choices"][0]["logprobs"] = {"content": entries}
    return asked(rollout([json_response(body)]), {"logprobs": True, "top_logprobs": 3})


def priced(counts: Iterator[int], number: int = 12) -> list[Score]:
    """Replies with these prompt tokens to different requests."""
    return [
        measured(rollout([Reply(text="Yes.", prompt=next(counts))], sample=str(at)))
        for at in range(number)
    ]


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        (iter(range(16, 1000, 16)), 12),
        (iter(range(16, 1000, 4)), 0),
        (iter([*range(16, 180, 16), 65, 80]), 0),
        (cycle([64, 80, 96]), 0),
    ],
)
def test_rounded_prompt_tokens_are_one_finding(counts, found):
    assert compared(priced(counts)).count("usage.input.rounded") == found


@cache
def _healthy_scores(number: int) -> list[Score]:
    return [
        measured(rollout([Reply(text=PLAN, reasoning=COT)], sample=str(at), attempt=at))
        for at in range(number)
    ]


def judged_replies(odd: Rollout, number: int) -> set[str]:
    """The severities of the findings about one odd reply among healthy ones."""
    scores = apply_tolerances([*_healthy_scores(number), measured(odd)])
    return {f"{found.id} {found.severity}" for score in scores for found in score.findings}


def said(text: str, *, reasoning: str, extra: int = 0, **request: object) -> Rollout:
    """A whole Chat reply with more tokens than its text."""
    body = chat_whole(Reply(text=text, reasoning=reasoning))
    body["usage"]["completion_tokens"] += extra
    body["usage"]["total_tokens"] += extra
    return asked(rollout([json_response(body)]), {"tools": [], **request})


GARBLED = '{"a": "ary to=functions.functionid596 x'


def test_words_of_a_header_alone_prove_nothing():
    odd = said(GARBLED, reasoning=COT, extra=3, response_format={"type": "json_object"})
    assert "harmony.remains info" in judged_replies(odd, 300)
    dropped = said("Yes.assistantfinalNo.", reasoning=COT, extra=3)
    assert "harmony.remains error" in judged_replies(dropped, 300)
    explained = "First analysis, then commentary to=functions.get_fare json, then final: 13."
    for extra in (3, 12):
        odd = said(explained, reasoning="", extra=extra)
        assert "harmony.remains info" in judged_replies(odd, 300)
    lost = said('commentary to=functions.get_fare json{"stop": "Pier"}', reasoning=COT, extra=4)
    assert "harmony.remains error" in judged_replies(lost, 300)
    unparsed = said("analysisWe need to plan.assistantfinalYes.", reasoning="")
    assert "harmony.remains error" in judged_replies(unparsed, 300)


@pytest.mark.parametrize(
    ("reasoning", "extra", "severity"), [(COT, 14, "info"), (COT, 300, "error"), ("", 60, "error")]
)
def test_one_reply_with_a_few_lost_tokens_may_be_the_models(reasoning, extra, severity):
    odd = said("", reasoning=reasoning, extra=extra)
    assert f"reply.lost {severity}" in judged_replies(odd, 300)


def test_the_finding_about_a_lost_reply_says_what_is_missing():
    (found,) = [each for each in details(cut(COT, None, 900, **SCHEMA)) if each.id == "reply.lost"]
    assert json.dumps(found.evidence.expected).endswith(' more tokens"')


def test_a_count_that_no_text_explains_exceeds_no_limit() -> None:
    """It may be the sum over all chunks; that of a reply without its limit is explained."""
    text = "The ferry leaves the pier at nine, and the tide turns an hour later. " * 3
    assert "finish.limit error" in judged_replies(said(text, reasoning=COT, max_tokens=20), 300)
    inflated = said(text[:60], reasoning=COT, extra=900, max_tokens=256)
    assert not [found for found in judged_replies(inflated, 300) if found.startswith("finish")]


def test_an_empty_reply_with_the_tokens_of_a_text_is_lost_however_rare() -> None:
    assert "reply.lost error" in judged_replies(said("", reasoning=COT, extra=40), 300)
    assert "reply.lost error" not in judged_replies(said("", reasoning=COT, extra=12), 300)


def _ended(further: int) -> Rollout:
    """A reply of nothing but its CoT; its format holds further tokens."""
    usage = {"completion_tokens": tokens(COT) + 4 + further}  # header and end of the CoT
    usage |= {"prompt_tokens": 50, "total_tokens": 50 + usage["completion_tokens"]}
    usage |= {"completion_tokens_details": {"reasoning_tokens": tokens(COT)}}
    return chat({"usage": usage}, Reply(text=None, reasoning=COT), {"tools": [], **SCHEMA})


def _refused(error: dict[str, object]) -> Rollout:
    body = {"error": {"message": "It failed.", "type": "invalid_request_error"} | error}
    request = {**SCHEMA, "max_tokens": 16, "tools": [], "previous_response_id": "resp_1"}
    return asked(rollout([json_response(body, 400)]), request)


def _incomplete(status: str, *, streaming: bool, ended: bool) -> Rollout:
    """A truncated response whose tokens include the end of its message, or not."""
    made = PROMPT + counts(PLANNED)[1] - (not ended)
    whole = {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output.1.status": "incomplete" if streaming else status,
        "usage.output_tokens": made - PROMPT,
        "usage.total_tokens": made,
    }
    if not streaming:
        return responses(whole, PLANNED, {"max_output_tokens": 900})
    members = {f"-1.response.{path}": value for path, value in whole.items()}
    members |= {"-1.type": "response.incomplete", "-2.item.status": status}
    return responses_stream(members, PLANNED, {"max_output_tokens": 900})


def _without_cot(choices: int) -> Rollout:
    """The model wrote no header of a CoT before the limit; the other choice has one."""
    (first,) = chat_whole(Reply(text="", reasoning=""))["choices"]
    (other,) = chat_whole(PLANNED)["choices"]
    made = [first | {"finish_reason": "length"}, *[other | {"index": 1}] * (choices - 1)]
    members = {"choices": made} | {"usage.completion_tokens_details": {"reasoning_tokens": 28}}
    return chat(members, Reply(text="", reasoning=""), {"n": choices, "tools": []})


PROMPT, PLANNED = PROMPT_TOKENS, Reply(text=PLAN, reasoning=COT)
CALL = {"type": "function", "function": {"name": "add_note", "parameters": {}}}
LETTERS = ("caf", "\u00e9", ".", " Yes")
ROWS: tuple[Judged, ...] = (
    (lambda: cut("We should", PLAN, 24, 24), "limits.prefix"),
    (lambda: cut("We should", PLAN, 24, 23), ""),
    (lambda: cut("We should", None, 24, 24), ""),
    (lambda: cut(COT, PLAN, healthy(COT, PLAN)), ""),
    (lambda: cut(COT, PLAN, tokens(COT) + 3), "usage.output.unexplained"),
    (lambda: cut(COT, None, 900, **SCHEMA), "reply.lost"),
    (lambda: cut(COT, None, tokens(COT) + 40, **SCHEMA), ""),
    (lambda: cut(COT, None, 900, tools=[CALL]), ""),
    # A model may spell a run of characters one by one.
    *(
        (
            lambda run=run, more=more: cut(
                COT + run,
                None,
                tokens(COT) + len(run) + more,
                None if more else tokens(COT),
            ),
            found,
        )
        for run in (" " * 256, "\t" * 250, "-" * 256, "\n \n" * 90)
        for more, found in ((0, ""), (200, "reply.lost"))
    ),
    # Further tokens are those of an answer that was begun: a schema that ends at once.
    (lambda: _ended(0), "reply.empty"),
    (lambda: _ended(4), "answer.json reply.empty"),
    *(
        (
            lambda cot=cot, text=text, prompt=prompt: cut(
                cot, text, 900, 700, messages=[{"role": "user", "content": prompt}]
            ),
            found,
        )
        for cot, text, prompt, found in (
            (BANGS, None, "Plan a visit.", "text.one_token"),
            (f"We list {BANGS}", None, "Plan a visit.", "text.one_token"),
            (COT, f"The ferry {BANGS}", "Plan a visit.", "text.one_token"),
            (COT, "0" + " 0" * 400, "Plan a visit.", "text.one_token"),
            (COT, "| --- |" + "-" * 900, "Plan a visit.", "text.runaway"),
            (COT, "Take the ferry. " * 60, "Plan a visit.", "text.runaway"),
            (COT, "0.1" + "0" * 900, "Divide 1 by 10.", "text.runaway"),
            (COT, BANGS, "Write 600 exclamation marks.", "text.runaway"),
            (COT, "A" * 900, "Write the letter A forever.", "text.runaway"),
            (COT, "What a day!!!", "Plan a visit.", ""),
        )
    ),
    *(
        (lambda others=others: listed(*others, texts=LETTERS), found)
        for others, found in (
            ([["", ""]] * 4, "logprobs.empty"),
            ([["", "b"]] * 4, ""),
            ([["a", "b"], ["a", "b"], ["a", "b"], ["", ""]], ""),
            ([["a", "b"], ["a", "b"], ["", ""], ["a", "b"]], ""),
        )
    ),
    *(
        (lambda error=error: _refused(error), "request.refused request.refused.foreign")
        for error in (
            {"param": "guided_json"},
            {"message": "Unsupported parameter: 'guided_json'."},
            {"message": "Unrecognized request argument supplied: output_schema"},
            {"message": "got an unexpected keyword argument 'grammar'"},
            {"param": "id_of_response"},
        )
    ),
    *(
        (lambda error=error: _refused(error), found)
        for error, found in (
            ({"param": "response_format"}, "request.refused"),
            ({"param": "response_format.json_schema.schema"}, "request.refused"),
            ({"param": "text.format"}, "request.refused"),
            (
                {"param": "response_id", "message": "Response 'resp_1' not found."},
                "request.refused",
            ),
            ({"param": "tools"}, "request.refused"),
            ({"param": "max_output_tokens"}, "request.refused"),
            (
                {"param": "top_k", "message": "Missing required parameter: 'top_k'"},
                "request.refused",
            ),
            ({"param": "input_tokens", "message": "The maximum context length is 8192."}, ""),
            ({"message": "Unsupported field value in the request."}, "request.refused"),
            ({"param": None, "message": "JSON schemas are not supported."}, "request.refused"),
        )
    ),
    *(
        (
            lambda status=status, streaming=streaming, ended=ended: _incomplete(
                status, streaming=streaming, ended=ended
            ),
            found,
        )
        for streaming in (False, True)
        for status, ended, found in (
            ("completed", False, "responses.status.cut"),
            ("completed", True, ""),
            ("incomplete", False, ""),
            ("incomplete", True, ""),
        )
    ),
    (lambda: _without_cot(1), "reasoning.missing.truncated usage.sum"),
    (lambda: _without_cot(2), "usage.sum"),
)


@pytest.mark.parametrize("row", ROWS)
def test_nothing_else_is_found_in_a_truncated_reply(row: Judged) -> None:
    recording, expected = row
    assert told(recording(), expected) == {*expected.split()}
