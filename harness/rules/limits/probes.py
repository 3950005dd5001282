"""Where a reply ends: at the token limit, or at a stop string."""

from dataclasses import replace
from functools import partial

from harness.api.items import Message
from harness.api.json_text import ends_early
from harness.api.ledger import FRAMING
from harness.records.conditions import MODES, Api
from harness.rules.evidence.offers import NOTE, answer_format, closed
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import (
    GARBLED,
    MAY_BE_REFUSED,
    MORE_TOKENS,
    NON_STREAMING,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
    Trials,
)
from harness.rules.refusals import declined, outcome
from harness.rules.rule import CHAT, RESPONSES, Problem

LIMIT = 40  # output tokens; ends within a long answer, or within the arguments of a long call
LEAST = 1024  # output tokens that a reply without a limit may have at least
_UNIT = 16  # servers set limits that are multiples of this
STOP = "code word"
_OF_WORD, _IN_WORD = closed({"code_word": {"type": "string"}}), "596"
"""A schema of an answer, and a stop string within the answer that conforms to it."""
_UNUSED_STOP = "\nObservation:"

_TEXT = (
    "From the quay to the light it is two miles; keep the church behind the white house. The boat "
    "that lies by the old mill has two sails and a green flag. At nine the wind turns to the west, "
    "and five men bring bread, salt, apples and rope on board before the tide falls."
)
_LONG = (Message("user", f"Please repeat after me: {_TEXT}"),)
_LONG_ANSWERS = {
    "long answer": "Write all numbers from 1 to 400 in words, one per line. Leave none out.",
    "other long answer": (
        "Write all numbers from 401 to 800 in words, one per line. Leave none out, and do not "
        "abbreviate. Begin with four hundred and one, end with eight hundred, and add nothing else."
    ),
}
_TOOL_LONG = (Message("user", f"Save this note: {_TEXT}"),)
_QUESTION = (
    Message("developer", "The code word is orchid596. Answer in a whole sentence."),
    Message("user", "What is the code word?"),
)
_OTHER_LIMIT = "max_completion_tokens"
_CUT_JSON, _WITHIN_JSON = "cut list", 320  # its limit; ends within the list
_IN_COT, _WITHIN_COT = "cut in the CoT", 24  # its limit; a CoT with high effort is longer
_AT_HEADER = {f"cut at {limit}": limit for limit in range(16, 48, 4)}
"""Requests whose limits are 4 tokens apart: four limits fall inside the header between CoT and
answer, so one of these does if the CoT has 8 to 39 tokens. `limits.prefix` judges them."""
_ZEROS = 360
"""Entries of a list that a schema requires. The answer has more than `LEAST` tokens, also that of a
model that ends other answers early."""
_LIST = (Message("user", f"Give a JSON object whose zeros is a list of {_ZEROS} zeros."),)
_OF_ZEROS = closed(
    {
        "zeros": {
            "type": "array",
            "items": {"type": "integer", "enum": [0]},
            "minItems": _ZEROS,
            "maxItems": _ZEROS,
        }
    }
)


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    refusable = MAY_BE_REFUSED | {"request.failed"}
    other = {_OTHER_LIMIT: LIMIT}
    cut = partial(ProbeRequest, effort="low", max_tokens=LIMIT, whole=False)
    cut_list = partial(
        cut,
        turns=_LIST,
        options=answer_format(api, _OF_ZEROS),
        provokes=refusable | GARBLED | {"text.runaway", "answer.json"},
    )
    requests = [
        cut("cut", _LONG, modes=MODES),
        cut("cut tool", _TOOL_LONG, (NOTE,), modes=MODES),
        cut("unlimited", _QUESTION, effort="high", temperature=0.0, max_tokens=None),
        cut(
            _IN_COT,
            _QUESTION,
            effort="high",
            temperature=0.0,
            max_tokens=_WITHIN_COT,
            tries=2,
            modes=MODES,
        ),
        cut_list(_CUT_JSON, max_tokens=_WITHIN_JSON, modes=MODES),
        cut_list("unlimited list", max_tokens=None, context=2 * LEAST),
        *(
            cut(
                name,
                _QUESTION,
                effort=None,
                temperature=0.0,
                max_tokens=limit,
                provokes=refusable,
                modes=MODES,
            )
            for name, limit in _AT_HEADER.items()
        ),
        *(
            cut(
                name,
                (Message("user", text),),
                max_tokens=MORE_TOKENS,
                context=MORE_TOKENS + LEAST,
                provokes=MAY_BE_REFUSED,
                modes=NON_STREAMING,
            )
            for name, text in _LONG_ANSWERS.items()
        ),
        ProbeRequest("whole", _QUESTION, temperature=0.0, modes=("streaming",)),
    ]
    if api == "chat":
        requests += [
            cut(
                "cut otherwise",
                _LONG,
                max_tokens=None,
                options=other,
                provokes=refusable | {"finish.limit"},
            ),
            ProbeRequest(
                "stopped",
                _QUESTION,
                temperature=0.0,
                options={"stop": [STOP]},
                tries=3,
                provokes=refusable,
                modes=MODES,
            ),
            ProbeRequest(
                "stopped at a limit",
                _QUESTION,
                temperature=0.0,
                max_tokens=LIMIT,
                whole=False,
                options={"stop": [STOP]},
                provokes=refusable,
                modes=MODES,
            ),
            *(
                ProbeRequest(
                    name,
                    _QUESTION,
                    temperature=0.0,
                    options=answer_format(api, _OF_WORD) | stop,
                    provokes=refusable | ({"answer.json"} if stop else set()),
                    modes=MODES,
                )
                for name, stop in (("schema", {}), ("stopped in a schema", {"stop": [_IN_WORD]}))
            ),
            ProbeRequest(
                "stopped by another",
                _QUESTION,
                temperature=0.0,
                options={"stop": [_UNUSED_STOP, STOP]},
                tries=2,
                provokes=refusable,
                modes=MODES,
            ),
        ]
    return tuple(requests)


GROUP = ProbeGroup("limits", RESPONSES, generated=_requests, component="ends")


@GROUP.probe(
    "limits.max_completion_tokens",
    ("cut otherwise",),
    source=CHAT,
    apis=("chat",),
    unjudged="shorter_than_limit",
    fix="Apply max_completion_tokens as the limit of output tokens.",
)
def _finish_otherwise(responses: ProbeResponses) -> Trials:
    """max_completion_tokens limits a Chat reply like max_tokens.

    OpenAI's SDKs and agents use this name today. To refuse it is a warning.
    """
    for rollout in responses.all("cut otherwise"):
        last = rollout.exchanges[-1]
        if declined(rollout):
            message = f"The provider refuses {_OTHER_LIMIT}."
            refusal = Problem(last, message, "a reply", outcome(last), f"$.{_OTHER_LIMIT}")
            yield replace(refusal, severity="warning")
        elif (count := last.reply.output_tokens or 0 if last.reply else 0) > LIMIT + FRAMING:
            message = f"The reply is longer than {_OTHER_LIMIT} allows."
            yield Problem(last, message, f"at most {LIMIT} tokens", f"{count}", "$.usage")
        elif count >= LIMIT:
            yield None


@GROUP.probe(
    "limits.default",
    ("unlimited", "unlimited list"),
    fix="Apply no limit of output tokens that the request does not set.",
)
def _default(responses: ProbeResponses) -> Trials:
    """A reply to a request without a token limit is not truncated early.

    A low default limit ends the replies of a reasoning model before the answer begins. A schema
    makes one of the replies long; a provider without schemas may refuse it. A server that does not
    report the truncation ends this JSON after a round number of tokens. Where a reply was
    truncated, shorter ones do not count: they cannot show its limit.
    """
    responses.all("unlimited", "unlimited list")
    whole: list[int | None] = []
    cut: list[int] = []
    for _, exchange, reply in responses.readable("unlimited", "unlimited list"):
        count = reply.output_tokens
        if reply.finish != "length" and not (
            count and count % _UNIT == 0 and ends_early(reply.text)
        ):
            whole.append(count)
        elif count is None:
            raise NotVerifiableError("no_output_tokens")
        elif count > LEAST:
            yield None
        else:
            cut.append(count)
            message, expected = "A reply without a token limit was truncated.", f"more than {LEAST}"
            yield Problem(exchange, message, f"{expected} tokens", f"{count}", "$.usage")
    for count in whole:
        if count is None or count >= min(cut, default=0):
            yield None
