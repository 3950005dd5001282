"""What a reader of the replies accuses; `harness.rescoring.accusations` computes it."""

from collections.abc import Iterator, Sequence

from harness.records.conditions import Api
from harness.records.readings import ReadReply
from harness.records.scores import Score
from harness.rules.check import Difference, Family, evidence

_SOURCE = "https://arxiv.org/abs/2511.20621"
family = Family("reference", _SOURCE, component="text")
_PATHS = {
    "chat": {
        "CoT": "$.choices[0].message.reasoning",
        "answer": "$.choices[0].message.content",
        "arguments": "$.choices[0].message.tool_calls",
    },
    "responses": {
        "CoT": "$.output[?@.type=='reasoning']",
        "answer": "$.output[?@.type=='message']",
        "arguments": "$.output[?@.type=='function_call']",
    },
}


def _was_read(score: Score) -> bool:
    return bool(score.readings)


def _has_numbers(score: Score) -> bool:
    return any(reply.numbers for reply in score.readings)


def _accused(scores: Sequence[Score], rule: str) -> Iterator[Difference]:
    """Yield the first reply of each rollout that a rule accuses."""
    for score in scores:
        reply = next((reply for reply in score.readings if reply.rule == rule), None)
        if reply is not None:
            path = _path(score.condition.api, reply)
            shown = evidence(score.record, path, reply.expected, reply.got, reply.exchange)
            yield reply.message, shown, True


def _path(api: Api, reply: ReadReply) -> str:
    return _PATHS.get(api, {}).get(reply.place, "$")


@family.cross_check("reference.text", _was_read, of_readings=True)
def _text(scores: Sequence[Score]) -> Iterator[Difference]:
    """Every text is one that the model would write after its prompt.

    The reference reads the prompt and then the reply, and finds a token that the model would not
    have written there: the text was changed after generation, or is the reply to another request.
    """
    return _accused(scores, "reference.text")


@family.cross_check("reference.prompt", _was_read, component="prompt", of_readings=True)
def _prompt(scores: Sequence[Score]) -> Iterator[Difference]:
    """The replies are probable after the prompts that the requests must become.

    They are improbable after these, and as probable as those of a healthy server after the prompts
    that a known defect makes.
    """
    return _accused(scores, "reference.prompt")


@family.cross_check("reference.model", _has_numbers, component="model", of_readings=True)
def _model(scores: Sequence[Score]) -> Iterator[Difference]:
    """The replies are those of the reference's weights in a usual number format.

    Many replies differ a little from what these weights write: another model, quantized weights, a
    defect of the inference code, or settings of sampling that the request does not have.
    """
    return _accused(scores, "reference.model")


@family.cross_check("reference.sampling", _has_numbers, component="sampling", of_readings=True)
def _sampling(scores: Sequence[Score]) -> Iterator[Difference]:
    """Sampled replies are as varied as their temperature and top_p make them.

    A hidden top_p or a lower temperature makes replies more predictable.
    """
    return _accused(scores, "reference.sampling")
