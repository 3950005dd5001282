"""Several choices of one request: their number, their difference, and their token counts."""

from collections.abc import Iterable
from functools import partial

from harmony.render import text_tokens
from harness.api.fields import objects
from harness.api.items import Reply
from harness.api.ledger import extra_tokens
from harness.rules.missing import NotVerifiableError, required, unlike
from harness.rules.probe import Sent, Trials, prompt_tokens
from harness.rules.refusals import failure
from harness.rules.rule import Problem
from harness.rules.sampling.probes import texts_of
from harness.rules.sampling.requests import (
    CHOICES,
    CHOICES_SENT,
    CHOICES_STREAMED,
    FRESH,
    GROUP,
    HOT,
    STREAMS,
    TRIES,
)

_FEWEST_LOST_TOKENS = 24
"""Tokens of a CoT that was lost; fewer may be those of malformed headers."""
_MOST_OF = 0.8
"""The share of the tokens of all choices below which a count omits one of three: a model may spell
a text with fewer tokens than the tokenizer."""
_of_choices = partial(GROUP.probe, apis=("chat",), needs="n")


@_of_choices(
    "sampling.n",
    CHOICES_SENT,
    (HOT[0], *FRESH[0]),
    component="sampling",
    fix="Return one choice for each requested sample, or refuse n.",
)
def _n(sent: Sent, alike: Sent) -> Trials:
    """A request for several choices gets that many, each a separate sample with message and CoT.

    Clients that rely on them fail on a reply that silently omits them. A provider that does not
    support them must reject the request.
    """
    for rollout in sent.served("several choices").rollouts:
        last = rollout.exchanges[-1]
        if last.reply is None:
            yield failure(rollout, "several choices")
            continue
        choices = objects(last.reply.raw.get("choices"))
        count = sum(isinstance(choice.get("message"), dict) for choice in choices)
        got = f"{count} choices with a message"
        message = "The reply does not have the requested number of choices."
        wrong = Problem(last, message, f"{CHOICES} choices", got, "$.choices")
        yield None if count == CHOICES else wrong
        if count == CHOICES:
            replies = (last.reply, *last.reply.others)
            have = _have_cot(replies)
            message = "Some choices have CoT, and others lack the CoT that their tokens include."
            lost = Problem(last, message, "CoT in all choices", "in some", "$.choices")
            missing = (extra_tokens(last.reply) or 0) > _FEWEST_LOST_TOKENS
            mixed = any(have) and not all(have)
            yield (lost if missing else unlike("CoT in some choices")) if mixed else None
            same = len({reply.reasoning + reply.text for reply in replies}) == 1
            message = (
                "All choices are the same, although repeated requests always get different replies."
            )
            copies = Problem(last, message, "new samples", repr(last.reply.text), "$.choices")
            yield copies if same and _never_repeats(alike) else None


@_of_choices(
    "sampling.n.streaming",
    CHOICES_STREAMED,
    in_other_mode="sampling.n",
    modes=("streaming",),
    component="sampling",
)
def _n_streamed(sent: Sent) -> Trials:
    """A streaming request for several choices also gets that many, each with its own CoT.

    The pieces of the choices are interleaved. A parser that all choices share takes the CoT of one
    choice for the answer of another.
    """
    trials: list[Problem | None] = []
    for rollout in sent.served("several choices").rollouts:
        last = rollout.exchanges[-1]
        if last.reply is None:
            yield failure(rollout, "several choices")
            continue
        replies = (last.reply, *last.reply.others)
        if len(replies) < CHOICES and not any(event.is_done for event in last.events):
            raise NotVerifiableError("unreadable")  # The stream was cut.
        got = f"{len(replies)} choices"
        message = "The stream does not have the requested number of choices."
        wrong = Problem(last, message, f"{CHOICES} choices", got, "$.choices")
        yield None if len(replies) == CHOICES else wrong
        have = _have_cot(replies)
        message = "In every stream, some choices have CoT and others do not."
        mixed = Problem(last, message, "CoT in all choices", f"in {sum(have)} of {len(have)}")
        trials.append(mixed if any(have) and not all(have) else None)
    if len(trials) >= STREAMS and all(trials):
        yield from trials
    else:
        yield from (unlike(trial.got) for trial in trials if trial is not None)


def _have_cot(choices: Iterable[Reply]) -> list[bool]:
    """Whether choices have CoT, without those of which the token limit may have cut a header."""
    return [
        bool(choice.reasoning)
        for choice in choices
        if choice.reasoning or choice.text or choice.calls or choice.finish != "length"
    ]


@_of_choices(
    "sampling.n.usage",
    CHOICES_SENT,
    HOT[0],
    severity="warning",
    component="usage",
    fix="Count the prompt once, and the tokens of all choices.",
)
def _n_counted(sent: Sent, hot: Sent) -> Trials:
    """A reply with several choices reports the prompt tokens once, and the output tokens of all.

    Users compute the cost from these counts.
    """
    rollouts = sent.served("several choices").rollouts
    replies = [reply for rollout in rollouts for reply in rollout.replies if reply[1].others]
    once = hot.prompt
    for exchange, reply in required(replies, "no_choices"):
        tokens, texts = prompt_tokens(reply), [reply, *reply.others]
        message = "The prompt tokens are counted for each choice instead of once."
        again = Problem(exchange, message, str(once), str(tokens), "$.usage.prompt_tokens")
        yield again if once and tokens == once * len(texts) else None
        least = sum(len(text_tokens(choice.reasoning + choice.text)) for choice in texts)
        message = "The output tokens are fewer than those of all choices."
        expected = f"about {least} or more"
        got = str(reply.output_tokens)
        fewer = Problem(exchange, message, expected, got, "$.usage.completion_tokens")
        yield fewer if (reply.output_tokens or 0) < _MOST_OF * least else None


def _never_repeats(alike: Sent) -> bool:
    """Whether all of several replies to the question of the choices differ."""
    texts = [text for each in alike if each.made for text in texts_of(each, least=1)]
    return len(texts) >= TRIES and len(set(texts)) == len(texts)
