"""Where a reply ends: at the token limit, or at a stop string."""

from functools import partial

from harness.api.items import Message
from harness.api.json_text import ends_early
from harness.api.ledger import FRAMING
from harness.records.conditions import MODES
from harness.rules.evidence.offers import NOTE, answer_format, closed
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import (
    GARBLED,
    MAY_BE_REFUSED,
    MORE_TOKENS,
    NON_STREAMING,
    ProbeGroup,
    ProbeRequest,
    Sent,
    Trials,
)
from harness.rules.refusals import declined, outcome
from harness.rules.rule import CHAT, RESPONSES, Problem

LIMIT = 40  # output tokens; ends within a long answer, or within the arguments of a long call
LEAST = 512  # output tokens that a reply without a limit may have at least
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
_WITHIN_JSON = 320  # a limit that ends within the list
_WITHIN_COT = 24  # a limit; a CoT with high effort is longer
_AT_HEADER = range(16, 48, 4)
"""Limits that are 4 tokens apart: four limits fall inside the header between CoT and
answer, so one of these does if the CoT has 8 to 39 tokens. `limits.prefix` judges them."""
_ZEROS = 200
"""Entries of a list that a schema requires. With a space after each comma, the answer has more than
`LEAST` tokens, also that of a model that ends other answers early."""
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


GROUP = ProbeGroup("limits", RESPONSES, component="ends")
_REFUSABLE = MAY_BE_REFUSED | {"request.failed"}
_cut = partial(ProbeRequest, effort="low", max_tokens=LIMIT, whole=False)
_cut_list = partial(
    _cut,
    turns=_LIST,
    options_of=partial(answer_format, schema=_OF_ZEROS),
    provokes=_REFUSABLE | GARBLED | {"text.runaway", "answer.json"},
)
_asked = partial(ProbeRequest, turns=_QUESTION, temperature=0.0)
_hard = partial(_cut, turns=_QUESTION, effort="high", temperature=0.0)
_stopped = partial(_asked, apis=("chat",), provokes=_REFUSABLE, modes=MODES)
_UNLIMITED = GROUP.send(_hard("unlimited", max_tokens=None))
_UNLIMITED_LIST = GROUP.send(_cut_list("unlimited list", max_tokens=None, context=2 * LEAST))
# Checks and the account judge the replies to the others.
GROUP.send(_cut("cut", _LONG, modes=MODES))
GROUP.send(_cut("cut tool", _TOOL_LONG, (NOTE,), modes=MODES))
GROUP.send(_hard("cut in the CoT", max_tokens=_WITHIN_COT, tries=2, modes=MODES))
GROUP.send(_cut_list("cut list", max_tokens=_WITHIN_JSON, modes=MODES))
GROUP.send_all(
    _asked(f"cut at {limit}", max_tokens=limit, whole=False, provokes=_REFUSABLE, modes=MODES)
    for limit in _AT_HEADER
)
GROUP.send_all(
    _cut(
        name,
        (Message("user", text),),
        max_tokens=MORE_TOKENS,
        context=MORE_TOKENS + LEAST,
        provokes=MAY_BE_REFUSED,
        modes=NON_STREAMING,
    )
    for name, text in _LONG_ANSWERS.items()
)
GROUP.send(_asked("whole", modes=("streaming",)))
GROUP.send(_stopped("stopped", options={"stop": [STOP]}, tries=3))
GROUP.send(_stopped("stopped at a limit", options={"stop": [STOP]}, max_tokens=LIMIT, whole=False))
_in_schema = partial(_stopped, options_of=partial(answer_format, schema=_OF_WORD))
GROUP.send(_in_schema("schema"))
GROUP.send(
    _in_schema(
        "stopped in a schema",
        options={"stop": [_IN_WORD]},
        provokes=_REFUSABLE | {"answer.json"},
    )
)
GROUP.send(_stopped("stopped by another", options={"stop": [_UNUSED_STOP, STOP]}, tries=2))
_CUT_OTHERWISE = GROUP.send(
    _cut(
        "cut otherwise",
        _LONG,
        max_tokens=None,
        apis=("chat",),
        options={_OTHER_LIMIT: LIMIT},
        provokes=_REFUSABLE | {"finish.limit"},
    )
)


@GROUP.probe(
    "limits.max_completion_tokens",
    _CUT_OTHERWISE,
    source=CHAT,
    apis=("chat",),
    unjudged="shorter_than_limit",
    fix="Apply max_completion_tokens as the limit of output tokens.",
)
def _finish_otherwise(cut: Sent) -> Trials:
    """max_completion_tokens limits a Chat reply like max_tokens.

    OpenAI's SDKs and agents use this name today. To refuse it is a warning.
    """
    for rollout, last in cut.last:
        if declined(rollout):
            message = f"The provider refuses {_OTHER_LIMIT}."
            path = f"$.{_OTHER_LIMIT}"
            yield Problem(last, message, "a reply", outcome(last), path, severity="warning")
        elif (count := last.reply.output_tokens or 0 if last.reply else 0) > LIMIT + FRAMING:
            message = f"The reply is longer than {_OTHER_LIMIT} allows."
            yield Problem(last, message, f"at most {LIMIT} tokens", f"{count}", "$.usage")
        elif count >= LIMIT:
            yield None


@GROUP.probe(
    "limits.default",
    (_UNLIMITED, _UNLIMITED_LIST),
    fix="Apply no limit of output tokens that the request does not set.",
)
def _default(unlimited: Sent) -> Trials:
    """A reply to a request without a token limit is not truncated early.

    A low default limit ends the replies of a reasoning model before the answer begins. A schema
    makes one of the replies long; a provider without schemas may refuse it. A server that does not
    report the truncation ends this JSON after a round number of tokens. Where a reply was
    truncated, shorter ones do not count: they cannot show its limit.
    """
    whole: list[int | None] = []
    cut: list[int] = []
    for exchange, reply in unlimited.readable if unlimited.rollouts else ():
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
