"""Parameters that control sampling: effort, temperature, seed and the number of choices."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, pairwise

from harmony.render import text_tokens
from harness.api.fields import objects
from harness.api.items import Message, Reply
from harness.api.ledger import extra_tokens
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import EFFORTS
from harness.rules.evidence.offers import WEATHER
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.evidence.refusals import declined, failure, first_replies, served
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import (
    GARBLED,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
    Trials,
    prompt_tokens,
)
from harness.rules.rule import CHAT, GUIDE, Problem
from harness.rules.sampling.effort import (
    SCHEMA,
    TOOL,
    effort_requests,
    other_prompts,
    requests_with,
    same_effort,
)
from harness.statistics.question import p_more
from harness.statistics.rates import at_least
from harness.text import percentage

_TRIES = 6
_COLD_TRIES = 3
"""At temperature 0 or with a seed: four odd replies of nine are more than noise."""
_OPEN_TOKENS = 64
_CHOICES = 3
_STREAMS = 2  # streams of several choices; a model may omit the CoT of one choice
_FEWEST_LOST_TOKENS = 24
"""Tokens of a CoT that was lost; fewer may be those of malformed headers."""
_MOST_OF = 0.8
"""The share of the tokens of all choices below which a count omits one of three: a model may spell
a text with fewer tokens than the tokenizer."""
_NOISE, _LUCK = 0.05, 0.001
"""The share of odd replies that batching causes at temperature 0, and the largest p-value of more:
six odd replies of 18."""
_BESIDE_COLD = 0.05  # the largest p-value of more than at temperature 0
_DIFFERENT = "replies differ from the most frequent one"
_BEGINNING = 60
"""Compared characters of a reply: later ones differ by noise even on healthy servers."""

_QUESTIONS = tuple(
    (Message("user", text),)
    for text in (
        "Make up fifteen names of places that do not exist, and say a few words about each.",
        "Write the first sentence of a story.",
        "Lorem ipsum dolor sit amet, consectetur",
    )
)
"""Messages without a correct answer, so that replies of weak and strong models vary."""
_OTHER_EFFORTS = ("none", "minimal", "xhigh")
"""Efforts that OpenAI's API knows and gpt-oss does not."""
_FRESH = tuple(
    tuple(f"fresh {at} {number}" for number in range(1, _TRIES + 1))
    for at in range(1, len(_QUESTIONS) + 1)
)
"""Requests that a cache of whole requests cannot know: each has its own token limit."""
_COMPARED = 120
_CACHED = 0.001
"""Characters compared, and the largest p-value, of replies that may come from a cache."""
_HOT, _COLD, _SEEDED, _ZERO = (
    tuple(f"{name} {at}" for at in range(1, len(_QUESTIONS) + 1))
    for name in ("hot", "cold", "seeded", "zero as seed")
)
_WITH_TOOL, _SAMPLES = "hot with a tool", 10
_CALLS = frozenset(
    f"calls.{name}"
    for name in ("arguments.json", "arguments.cut", "arguments.strict", "in_text", "lost", "again")
)
"""Checks of calls that a weak model may violate at temperature 1."""
_NARROW = ("narrow 1", "narrow 3")
_NUCLEUS = 0.01  # a top_p with which only the most probable token can be drawn

_at_one = partial(
    ProbeRequest,
    temperature=1.0,
    max_tokens=_OPEN_TOKENS,
    tries=_TRIES,
    whole=False,
    sequential=True,
    provokes=GARBLED,
)
"""A request at temperature 1; weak models may reply with arbitrary bytes."""
_at_zero = partial(_at_one, temperature=0.0)
_REFUSAL = GARBLED | {"request.refused"}
_with_seed = partial(_at_one, options={"seed": 20_825}, provokes=_REFUSAL)
_with_zero = partial(_with_seed, options={"seed": 0})
_REQUESTS = (
    *map(_at_one, _HOT, _QUESTIONS),
    *(
        _at_one(name, question, tries=1, max_tokens=_OPEN_TOKENS + number)
        for names, question in zip(_FRESH, _QUESTIONS, strict=True)
        for number, name in enumerate(names, start=1)
    ),
    _at_one(
        _WITH_TOOL,
        _QUESTIONS[-1],
        (WEATHER,),
        tries=_SAMPLES,
        sequential=False,
        provokes=GARBLED | _CALLS,
    ),
    *map(partial(_at_zero, tries=_COLD_TRIES), _COLD, _QUESTIONS),
    *map(partial(_with_seed, tries=_COLD_TRIES), _SEEDED, _QUESTIONS),
    *map(_with_zero, _ZERO, _QUESTIONS),
    *(
        _at_one(name, question, tries=tries, options={"top_p": _NUCLEUS}, provokes=_REFUSAL)
        for name, question, tries in zip(
            _NARROW, _QUESTIONS[::2], (_COLD_TRIES, _TRIES), strict=True
        )
    ),
    _at_one(
        "choices",
        _QUESTIONS[0],
        tries=1,
        sequential=False,
        options={"n": _CHOICES},
        provokes=_REFUSAL,
    ),
    ProbeRequest(
        "choices streamed",
        _QUESTIONS[1],
        temperature=1.0,
        tries=_STREAMS,
        options={"n": _CHOICES},
        provokes=_REFUSAL,
    ),
)

_EFFORTS = tuple(
    ProbeRequest(
        f"other effort {effort}",
        (Message("user", "Hi there!"),),
        effort=effort,
        provokes=_REFUSAL | {"request.failed", "reasoning.rare", "reasoning.absent"},
    )
    for effort in _OTHER_EFFORTS
)
GROUP = ProbeGroup(
    "sampling", lambda api: (*effort_requests(api), *_EFFORTS, *_REQUESTS), CHAT, component="prompt"
)


@GROUP.probe(
    "sampling.effort",
    requests_with(efforts=EFFORTS),
    relations=UNRELIABLE_PROMPT_TOKENS,
    source=GUIDE,
    fix="Write the effort of the request into the system message.",
    example=(
        "Every request runs with medium reasoning effort.",
        "https://github.com/ollama/ollama/issues/12589",
    ),
)
def _effort(responses: ProbeResponses) -> Trials:
    """A higher effort produces more reasoning than a lower one.

    Scores differ by many points between efforts, so a provider that ignores effort does not serve
    the requested configuration. A model that reasons alike at two efforts still writes other texts.
    """
    problems: list[Problem | None] = [*other_prompts(responses)]
    for less, more in pairwise(EFFORTS):
        with suppress(NotVerifiableError):
            problems += filter(None, [same_effort(responses, less, more)])
    yield from problems or [same_effort(responses, "low", "high")]


@GROUP.probe(
    "sampling.effort.others",
    [request.id for request in _EFFORTS],
    component="errors",
    fix="Refuse an effort that the model does not have by name, or use the nearest one.",
)
def _other_efforts(responses: ProbeResponses) -> Trials:
    """An effort that gpt-oss does not have is refused, or served as one that it has.

    Clients send none, minimal and xhigh to all models. Templates that know three efforts crash.
    """
    for effort, request in zip(_OTHER_EFFORTS, _EFFORTS, strict=True):
        for rollout in responses.all(request.id):
            feature = f"the effort {effort}"
            yield None if declined(rollout) else failure(rollout, feature)


@GROUP.probe(
    "sampling.effort.tools",
    requests_with(TOOL),
    source=GUIDE,
    fix="Write the effort of the request into the system message.",
    example=(
        "Every request with tools runs with medium reasoning effort.",
        "https://github.com/livekit/agents/pull/5088",
    ),
)
def _effort_with_tools(responses: ProbeResponses) -> Trials:
    """High effort also produces more reasoning than low effort in requests with tools.

    Agents send tools in every request, and some servers build these prompts differently.
    """
    yield same_effort(responses, "low", "high", TOOL)


@GROUP.probe(
    "sampling.effort.streaming",
    requests_with(SCHEMA),
    modes=("streaming",),
    source=GUIDE,
    needs="json_schema",
    fix="Write the effort of the request into the system message.",
)
def _effort_in_streams(responses: ProbeResponses) -> Trials:
    """High effort also produces more reasoning than low effort in streams with a JSON schema.

    Some servers read these requests differently. One request tests streams and schemas, so a
    provider that refuses schemas is not judged.
    """
    for name in requests_with(SCHEMA):
        served(responses, name, "a JSON schema for the answer")
    yield same_effort(responses, "low", "high", SCHEMA, mode="streaming")


@GROUP.probe(
    "sampling.temperature.high",
    (*_HOT, *chain.from_iterable(_FRESH), *_COLD),
    component="sampling",
    fix="Apply the temperature of the request, and draw a new seed if it has none.",
)
def _hot(responses: ProbeResponses) -> Trials:
    """At temperature 1, replies to the same question differ.

    Evals and agents sample at 1.0. Greedy replies score differently and are not samples.
    """
    texts = [
        [text for name in (hot, *fresh) for text in _texts(responses, name, least=1)]
        for hot, fresh in zip(_HOT, _FRESH, strict=True)
    ]
    exchange, _ = responses.reply(_HOT[0])
    message = (
        "At temperature 1, all replies to the same question are equal, for each of three questions"
        f"{_author(responses)}."
    )
    got = f"{len(texts[0])} times {texts[0][0]!r}, and likewise for the other questions"
    same = Problem(exchange, message, "replies that differ", got)
    constant = all(len(set(replies)) == 1 for replies in texts)
    answers = {replies[0] for replies in texts}
    if constant and (len(answers) < len(texts) or len(min(answers, key=len)) < _BEGINNING):
        raise NotVerifiableError("too_short_to_compare")  # such as one refusal
    yield same if constant else None


def _author(responses: ProbeResponses) -> str:
    """Return what equal replies at temperature 1 come from, if the other replies tell it.

    Those at temperature 0 are the same if the temperature has no effect. A reply that goes on where
    a lower token limit ends another was generated anew, so that no cache has sent it.
    """
    with suppress(NotVerifiableError):
        if all(
            _texts(responses, cold, least=1)[0] == _texts(responses, hot, least=1)[0]
            for cold, hot in zip(_COLD, _HOT, strict=True)
        ):
            return ", and equal to those at temperature 0: the temperature has no effect"
        for hot, fresh in zip(_HOT, _FRESH, strict=True):
            begun = responses.reply(hot)[1].generated
            longer = (responses.reply(name)[1].generated for name in fresh)
            if any(text.startswith(begun) and text != begun for text in longer):
                return ", but not to those at temperature 0: requests without a seed get the same"
    return ""


@GROUP.probe(
    "sampling.temperature.tools",
    (_HOT[-1], _WITH_TOOL),
    component="sampling",
    fix="Apply the temperature of the request also if it offers tools.",
    example=(
        "With tools, the temperature becomes 0.",
        "https://github.com/LostRuins/koboldcpp/issues/2481",
    ),
)
def _hot_with_tool(responses: ProbeResponses) -> Trials:
    """At temperature 1, ten replies to a question are not all equal if the request offers a tool.

    Agents always offer tools. The same question without a tool shows how much the model varies: if
    more than two of its replies are equal, nothing is judged. Nor is a reply that repeats a few
    words, of which a model is certain, or one that is so frequent over the other API, where others
    occur, that ten alike are no rarity.
    """
    plain, offered = (
        [reply.generated for _, reply in responses.replies(name)] for name in (_HOT[-1], _WITH_TOOL)
    )
    if len(offered) < _SAMPLES - 1 or len(plain) < _TRIES / 2:
        raise NotVerifiableError("too_few_replies", request=_WITH_TOOL)
    if len(set(plain)) < len(plain) - 1:
        raise NotVerifiableError("hardly_varies")
    again = 2 * len(" ".join(dict.fromkeys(offered[0].split()))) < len(offered[0])
    if len(offered[0]) < _BEGINNING or again:
        raise NotVerifiableError("too_short_to_compare")
    elsewhere = [
        reply.generated for _, reply in first_replies(responses.other_apis.get(_WITH_TOOL, ()))
    ]
    frequent = elsewhere.count(offered[0]) / max(len(elsewhere), 1)
    if frequent < 1 and frequent ** len(offered) > _LUCK:
        raise NotVerifiableError("hardly_varies")
    exchange, _ = responses.reply(_WITH_TOOL)
    message = "With a tool, all replies to a question are equal at temperature 1."
    got = (
        f"{len(offered)} times {offered[0]!r}; without a tool, {len(set(plain))} different replies"
    )
    same = Problem(exchange, message, "replies that differ", got)
    yield same if len(set(offered)) == 1 else None


@GROUP.probe(
    "sampling.cached",
    (*_HOT, *chain.from_iterable(_FRESH)),
    component="cache",
    fix="Sample every request anew; a cache of replies is wrong above temperature 0.",
)
def _cached(responses: ProbeResponses) -> Trials:
    """At temperature 1, a repeated request gets a new sample, not the reply to an earlier one.

    Evals and agents that retry rely on new samples. The repeated requests are sent one after the
    other; others with different token limits show how often the model itself repeats a reply.
    """
    same, repeated = _copies(responses, [[name] for name in _HOT])
    usual, fresh = _copies(responses, _FRESH)
    if not repeated or not fresh:
        raise NotVerifiableError("too_short_to_compare")
    if p_more((same, repeated), (usual, fresh)) > _CACHED:
        yield None
        return
    exchange, _ = responses.reply(_HOT[0])
    message = "Replies to repeated requests at temperature 1 are copies of earlier replies."
    expected = f"new samples: {usual} of {fresh} replies to changed requests are copies"
    yield Problem(exchange, message, expected, f"{same} of {repeated} are copies")


def _copies(responses: ProbeResponses, groups: Iterable[Sequence[str]]) -> tuple[int, int]:
    """How many replies to each group of requests equal an earlier one, and how many are later."""
    copies = later = 0
    for names in groups:
        replies = (reply for name in names for _, reply in responses.replies(name))
        texts = [reply.reasoning + reply.text for reply in replies]
        compared = [text[:_COMPARED] for text in texts if len(text) >= _BEGINNING]
        copies += len(compared) - len(set(compared))
        later += max(len(compared) - 1, 0)
    return copies, later


@GROUP.probe(
    "sampling.temperature.zero",
    (*_HOT, *_COLD),
    component="sampling",
    example=(
        "The temperature is 0.7, regardless of the request.",
        "https://github.com/InternLM/lmdeploy/pull/3962",
    ),
)
def _cold(responses: ProbeResponses) -> Trials:
    """At temperature 0, replies to the same request are nearly equal.

    Batching causes small differences. If the provider ignores the temperature, replies differ as
    much as at temperature 1.
    """
    exchange, _ = responses.reply(_COLD[0])
    message = "Replies to one request at temperature 0 differ more often than noise explains."
    yield _as_varied(responses, exchange, message, _COLD)


@GROUP.probe(
    "sampling.top_p",
    (*_HOT, *_COLD, *_NARROW),
    component="sampling",
    fix="Pass top_p on to the engine, also beside a temperature.",
    example=(
        "A gateway drops top_p if the request also sets a temperature.",
        "https://github.com/pollinations/pollinations/pull/12162",
    ),
)
def _narrow(responses: ProbeResponses) -> Trials:
    """At temperature 1 and a top_p near 0, replies to the same request are nearly equal.

    Only the most probable token can be drawn, so replies differ no more than at temperature 0. If
    the provider ignores top_p, they differ as much as without it.
    """
    for name in _NARROW:
        served(responses, name, "top_p")
    exchange, _ = responses.reply(_NARROW[0])
    message = f"At temperature 1, replies differ with a top_p of {_NUCLEUS} as without it."
    problem = _as_varied(responses, exchange, message, _NARROW)
    narrow, cold = (
        _odd([_texts(responses, n, least=1) for n in some]) for some in (_NARROW, _COLD)
    )
    yield problem if problem and p_more(narrow, cold) <= _BESIDE_COLD else None


_of_seeds = partial(GROUP.probe, apis=("chat",), needs="seed", severity="warning")
_of_choices = partial(GROUP.probe, apis=("chat",), needs="n")


@_of_seeds("sampling.seed", (*_HOT, *_SEEDED), component="sampling")
def _seed(responses: ProbeResponses) -> Trials:
    """The same seed usually produces the same reply.

    Users set a seed to reproduce replies. The API only promises best effort.
    """
    served(responses, _SEEDED[0], "seeds")
    exchange, _ = responses.reply(_SEEDED[0])
    message = "Replies to one request with one seed differ more often than noise explains."
    yield _as_varied(responses, exchange, message, _SEEDED)


@_of_seeds("sampling.seed.zero", (*_HOT, *_SEEDED, *_ZERO), suite="full", component="sampling")
def _zero(responses: ProbeResponses) -> Trials:
    """The seed 0 reproduces replies like any other seed.

    Code that tests whether a seed is set may take 0 for none. The replies with a different seed
    show how often the same seed gives different replies, and the replies without a seed show
    whether seeds matter.
    """
    served(responses, _ZERO[0], "the seed 0")
    hot, seeded, zero = (
        [_texts(responses, name) for name in names] for names in (_HOT, _SEEDED, _ZERO)
    )
    if _exceeds_noise(seeded):
        raise NotVerifiableError("seeds_vary")
    (odd, replies), (usual, others) = _odd(zero), _odd(seeded)
    if p_more(_odd(hot), (usual, others)) > _LUCK:
        raise NotVerifiableError("hardly_varies")
    if p_more((odd, replies), (usual, others)) > _LUCK:
        yield None
        return
    exchange, _ = responses.reply(_ZERO[0])
    message = "Replies with the seed 0 vary significantly more than those with a different seed."
    expected = f"{usual} of {others} {_DIFFERENT}, as with a different seed"
    yield Problem(exchange, message, expected, f"{odd} of {replies}")


@_of_choices(
    "sampling.n",
    ("choices", _HOT[0], *_FRESH[0]),
    component="sampling",
    fix="Return one choice for each requested sample, or refuse n.",
)
def _n(responses: ProbeResponses) -> Trials:
    """A request for several choices gets that many, each a separate sample with message and CoT.

    Clients that rely on them fail on a reply that silently omits them. A provider that does not
    support them must reject the request.
    """
    for rollout in served(responses, "choices", "several choices"):
        last = rollout.exchanges[-1]
        if last.reply is None:
            yield failure(rollout, "several choices")
            continue
        choices = objects(last.reply.raw.get("choices"))
        count = sum(isinstance(choice.get("message"), dict) for choice in choices)
        got = f"{count} choices with a message"
        message = "The reply does not have the requested number of choices."
        wrong = Problem(last, message, f"{_CHOICES} choices", got, "$.choices")
        yield None if count == _CHOICES else wrong
        if count == _CHOICES:
            replies = (last.reply, *last.reply.others)
            have = _have_cot(replies)
            message = "Some choices have CoT, and others lack the CoT that their tokens include."
            lost = Problem(last, message, "CoT in all choices", "in some", "$.choices")
            missing = (extra_tokens(last.reply) or 0) > _FEWEST_LOST_TOKENS
            yield lost if any(have) and not all(have) and missing else None
            same = len({reply.reasoning + reply.text for reply in replies}) == 1
            message = (
                "All choices are the same, although repeated requests always get different replies."
            )
            copies = Problem(last, message, "new samples", repr(last.reply.text), "$.choices")
            yield copies if same and _never_repeats(responses) else None


@_of_choices(
    "sampling.n.streaming", ("choices streamed",), modes=("streaming",), component="sampling"
)
def _n_streamed(responses: ProbeResponses) -> Trials:
    """A streaming request for several choices also gets that many, each with its own CoT.

    The pieces of the choices are interleaved. A parser that all choices share takes the CoT of one
    choice for the answer of another.
    """
    trials: list[Problem | None] = []
    for rollout in served(responses, "choices streamed", "several choices"):
        last = rollout.exchanges[-1]
        if last.reply is None:
            yield failure(rollout, "several choices")
            continue
        replies = (last.reply, *last.reply.others)
        got = f"{len(replies)} choices"
        message = "The stream does not have the requested number of choices."
        wrong = Problem(last, message, f"{_CHOICES} choices", got, "$.choices")
        yield None if len(replies) == _CHOICES else wrong
        have = _have_cot(replies)
        message = "In every stream, some choices have CoT and others do not."
        mixed = Problem(last, message, "CoT in all choices", f"in {sum(have)} of {len(have)}")
        trials.append(mixed if any(have) and not all(have) else None)
    if len(trials) >= _STREAMS and all(trials):
        yield from trials


def _have_cot(choices: Iterable[Reply]) -> list[bool]:
    """Whether choices have CoT, without those of which the token limit may have cut a header."""
    return [
        bool(choice.reasoning)
        for choice in choices
        if choice.reasoning or choice.text or choice.calls or choice.finish != "length"
    ]


@_of_choices(
    "sampling.n.usage",
    ("choices", _HOT[0]),
    severity="warning",
    component="usage",
    fix="Count the prompt once, and the tokens of all choices.",
)
def _n_counted(responses: ProbeResponses) -> Trials:
    """A reply with several choices reports the prompt tokens once, and the output tokens of all.

    Users compute the cost from these counts.
    """
    rollouts = served(responses, "choices", "several choices")
    replies = [reply for rollout in rollouts for reply in rollout.replies if reply[1].others]
    once = responses.prompt_tokens(_HOT[0])[1]
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


def _never_repeats(responses: ProbeResponses) -> bool:
    """Whether all of several replies to the question of the choices differ."""
    names = [name for name in (_HOT[0], *_FRESH[0]) if responses.rollouts.get(name)]
    texts = [text for name in names for text in _texts(responses, name, least=1)]
    return len(texts) >= _TRIES and len(set(texts)) == len(texts)


def _as_varied(
    responses: ProbeResponses, exchange: ParsedExchange, message: str, names: Sequence[str]
) -> Problem | None:
    """A problem if the replies vary more than noise explains.

    Raises NotVerifiableError if there are too few, or those at temperature 1 vary too little.
    """
    hot = [_texts(responses, name) for name in _HOT]
    cold = [_texts(responses, name, least=_COLD_TRIES - 1) for name in names]
    (usual, _), (odd, replies) = _odd(hot), _odd(cold)
    if not _exceeds_noise(hot):
        raise NotVerifiableError("hardly_varies")
    if not _exceeds_noise(cold):
        return None
    expected = f"{percentage(_NOISE, 0)} of the {_DIFFERENT}, as noise causes"
    return Problem(exchange, message, expected, f"{odd} of {replies}; at temperature 1, {usual}")


def _texts(responses: ProbeResponses, name: str, least: float = _TRIES / 2) -> list[str]:
    """Return the beginning of each reply, CoT first. Raises NotVerifiableError."""
    texts = [(reply.reasoning + reply.text)[:_BEGINNING] for _, reply in responses.replies(name)]
    if len(texts) < least:
        raise NotVerifiableError("too_few_replies", request=name)
    return texts


def _exceeds_noise(questions: Sequence[Sequence[str]]) -> bool:
    """Whether more replies are odd than batching explains at temperature 0."""
    return at_least(*_odd(questions), _NOISE) <= _LUCK


def _odd(questions: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many replies differ from the most frequent one to the same question, and the total."""
    usual = sum(Counter(texts).most_common(1)[0][1] for texts in questions)
    replies = sum(map(len, questions))
    return replies - usual, replies
