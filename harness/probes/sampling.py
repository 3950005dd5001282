"""What steers sampling: effort, temperature, seed and the number of choices.

Every figure here is random, and every judgement is one that a healthy provider all but never
fails: the numbers of requests and the bounds are chosen for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import median

from harness.api.base import Reply
from harness.api.conversation import Message
from harness.checks.base import CHAT, GUIDE, Problem
from harness.checks.texts import GARBLED
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import fate, served
from harness.records.conditions import Api
from harness.statistics.differences import share_larger

EFFORTS = ("low", "medium", "high")
_EFFORT_TRIES = 5
_TRIES = 4
_HOT_TRIES = 6
_OPEN_TOKENS = 64
_CHOICES = 3
_LEAST_ORDER = 0.75
"""Where the effort changes nothing, five pairs of replies reach it once in nine times."""
_AS_VARIED = 0.6
"""Replies that should be the same are not, if they vary by more than this share of what the same
questions vary by at temperature 1."""
_LEAST_VARIED = 0.15
_BEGINNING = 60
"""Characters of a reply that are compared: a while later, healthy batches differ by noise."""

_PUZZLE = (
    Message(
        "user", "How many positive whole numbers below 1000 are divisible by neither 2 nor 3 nor 5?"
    ),
)
_QUESTIONS = tuple(
    (Message("user", text),)
    for text in (
        "Name three random animals and a colour.",
        "Is tea better than coffee, and why? Give a reason nobody expects.",
        "A: 3 apples B: 7 pears C: 12 plums D: 5 figs. Which of these is the odd one out?",
    )
)
"""None has a right answer, so that weak and strong models vary at all of them."""


def _asks(_api: Api) -> tuple[Ask, ...]:
    refusal = GARBLED | {"request.refused"}
    return (
        *(
            Ask(f"effort {effort}", _PUZZLE, effort=effort, max_tokens=2048, tries=_EFFORT_TRIES)
            for effort in EFFORTS
        ),
        *_open("hot", _HOT_TRIES, GARBLED, temperature=1.0),
        *_open("cold", _TRIES, GARBLED, temperature=0.0),
        *_open("seeded", _TRIES, refusal, temperature=1.0, options={"seed": 20_825}),
        Ask(
            "choices",
            _QUESTIONS[0],
            temperature=1.0,
            max_tokens=_OPEN_TOKENS,
            options={"n": _CHOICES},
            provokes=refusal,
        ),
    )


def _open(
    name: str,
    tries: int,
    provokes: frozenset[str],
    *,
    temperature: float,
    options: Mapping[str, int] | None = None,
) -> Iterator[Ask]:
    """The open questions, each asked several times; what a weak model makes up may be any bytes."""
    for at, question in enumerate(_QUESTIONS, 1):
        yield Ask(
            f"{name} {at}",
            question,
            temperature=temperature,
            max_tokens=_OPEN_TOKENS,
            tries=tries,
            options=options or {},
            provokes=provokes,
        )


BENCH = Bench("sampling", _asks)
_HOT, _COLD, _SEEDED = (
    tuple(f"{name} {at}" for at in range(1, len(_QUESTIONS) + 1))
    for name in ("hot", "cold", "seeded")
)
_EFFORT_ASKS = tuple(f"effort {effort}" for effort in EFFORTS)


@BENCH.probe(
    "sampling.effort",
    uses=("effort low", "effort high"),
    severity="error",
    summary="High effort makes the model think longer than low effort.",
    why="Scores differ by many points between efforts; a provider that ignores it serves another.",
    source=GUIDE,
)
def _effort(answers: Answers) -> Iterator[Trial]:
    yield _unordered(answers, "low", "high")


@BENCH.probe(
    "sampling.effort.steps",
    uses=_EFFORT_ASKS,
    severity="warning",
    summary="Medium effort makes the model think longer than low effort, and shorter than high.",
    why="On some questions the levels are close; where they are the same, one is not served.",
    source=GUIDE,
)
def _effort_steps(answers: Answers) -> Iterator[Trial]:
    yield _unordered(answers, "low", "medium")
    yield _unordered(answers, "medium", "high")


def _unordered(answers: Answers, less: str, more: str) -> Trial:
    found = {effort: list(answers.replies(f"effort {effort}")) for effort in (less, more)}
    lengths = {effort: [_thinking(r) for _, r in pairs] for effort, pairs in found.items()}
    if not any(lengths[more]):
        raise NotVerifiableError("The replies have no CoT to compare.")
    if share_larger(lengths[less], lengths[more]) >= _LEAST_ORDER:
        return None
    turn, _ = found[more][0]
    message = f"The model does not think longer at {more} effort than at {less} effort."
    low, high = (median(lengths[effort]) for effort in (less, more))
    return Problem(turn, message, f"clearly more than {low:g} (median)", f"{high:g} (median)")


def _thinking(reply: Reply) -> int:
    """How long the CoT is, in characters, which every provider shows."""
    return len(reply.reasoning)


@BENCH.probe(
    "sampling.temperature.high",
    uses=_HOT,
    level="full",
    severity="error",
    summary="At temperature 1, replies to the same question differ.",
    why="Evals and agents sample at 1.0; greedy replies score otherwise, and are no samples.",
    source=CHAT,
)
def _hot(answers: Answers) -> Iterator[Trial]:
    texts = [_texts(answers, name) for name in _HOT]
    turn, _ = next(answers.replies(_HOT[0]))
    message = "At temperature 1, all replies to a question are the same, for each of three."
    got = f"{len(texts[0])} times {texts[0][0]!r}, and so on"
    same = Problem(turn, message, "replies that differ", got)
    yield same if all(len(set(each)) == 1 for each in texts) else None


@BENCH.probe(
    "sampling.temperature.zero",
    uses=(*_HOT, *_COLD),
    level="full",
    severity="error",
    summary="At temperature 0, replies are all but the same.",
    why="Batches of changing size make the same request differ a little; a temperature that is "
    "not taken over makes it differ as much as any.",
    source=CHAT,
)
def _cold(answers: Answers) -> Iterator[Trial]:
    turn, _ = next(answers.replies(_COLD[0]))
    message = "Replies at temperature 0 begin as differently as at temperature 1."
    yield _as_varied(answers, turn, message, _COLD)


@BENCH.probe(
    "sampling.seed",
    uses=(*_HOT, *_SEEDED),
    apis=("chat",),
    needs="seed",
    level="full",
    severity="warning",
    summary="The same seed gives the same reply, mostly.",
    why="Those who set it want to repeat what they saw; it is promised as best effort only.",
    source=CHAT,
)
def _seed(answers: Answers) -> Iterator[Trial]:
    served(answers, _SEEDED[0], "seeds")
    turn, _ = next(answers.replies(_SEEDED[0]))
    message = "Replies with the same seed begin as differently as without."
    yield _as_varied(answers, turn, message, _SEEDED)


@BENCH.probe(
    "sampling.n",
    uses=("choices",),
    apis=("chat",),
    needs="n",
    severity="error",
    summary="A request for several choices gets as many, each with its message.",
    why="Left out in silence they cost whoever counts on them; a refusal would be plain.",
    source=CHAT,
)
def _n(answers: Answers) -> Iterator[Trial]:
    for view in served(answers, "choices", "several choices"):
        turn = view.turns[-1]
        choices = objects({} if turn.reply is None else turn.reply.raw.get("choices"))
        count = sum(isinstance(choice.get("message"), dict) for choice in choices)
        got = fate(turn) if turn.reply is None else f"{count} choices with a message"
        message = "The reply does not have the choices that were asked for."
        wrong = Problem(turn, message, f"{_CHOICES} choices", got, "$.choices")
        yield None if count == _CHOICES else wrong


def _as_varied(answers: Answers, turn: ParsedExchange, message: str, names: Sequence[str]) -> Trial:
    """The problem that replies vary by as much as at temperature 1, unless they do not.

    Raises:
        NotVerifiableError: They vary too little at temperature 1 to compare, or are too few.
    """
    usual, found = (_variety([_texts(answers, name) for name in each]) for each in (_HOT, names))
    if usual < _LEAST_VARIED:
        raise NotVerifiableError("The model's replies hardly differ at temperature 1.")
    if found <= _AS_VARIED * usual:
        return None
    got = f"{found:.0%} of the pairs differ, of those at temperature 1 {usual:.0%}"
    return Problem(turn, message, f"at most {_AS_VARIED * usual:.0%} that differ", got)


def _texts(answers: Answers, name: str) -> list[str]:
    """How each reply begins, CoT first. Raises NotVerifiableError."""
    texts = [(reply.reasoning + reply.text)[:_BEGINNING] for _, reply in answers.replies(name)]
    if len(texts) < _TRIES / 2:
        raise NotVerifiableError(f"Too few of the replies to {name!r} came.")
    return texts


def _variety(questions: Sequence[Sequence[str]]) -> float:
    """Share of the pairs of replies to the same question that differ."""
    pairs = [pair for texts in questions for pair in combinations(texts, 2)]
    return sum(a != b for a, b in pairs) / len(pairs)
