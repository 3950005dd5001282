"""Create a golden file with the reference engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harmony.vocabulary import bytes_of
from harness.golden import engine
from harness.golden.defects import DEFECTS, pattern_of
from harness.golden.distance import Compared, Entry, compare, tolerance
from harness.golden.engine import Answer, EngineOptions, Question, Requests
from harness.golden.healthy import HEALTHY, HEALTHY_LONG, Numbers, healthy_run
from harness.golden.records import (
    MILLI,
    PARTS,
    RETURNED,
    Continuation,
    Drawn,
    Golden,
    HealthyRun,
    Token,
    drawn_text,
)

DRAWS = 20
LONG_CONTEXT = 32_768
"""Tokens of the context in which the long prompts are answered."""
_HIDDEN_ALTERNATIVES = 5
"""Stored alternatives of tokens whose logprobs most APIs do not return."""
_LETTERS = {part: letter for letter, part in PARTS.items()}

Progress = Callable[[str], None]


def create(
    models: Sequence[str],
    options: EngineOptions,
    requests: Requests,
    progress: Progress,
    command: str,
    *,
    healthy: Sequence[Numbers] = HEALTHY,
    defects: Sequence[str] = DEFECTS,
) -> Golden:
    """Answer all requests, once for the golden answers and once per healthy way to compute.

    The tolerances are learned from these runs. Then each of the `defects` scores the golden
    answers. `models` are the names under which providers serve the model, `command` is recorded.

    Raises:
        ConfigurationError: The engine failed.
    """
    progress(f"golden answers in {options.dtype or 'the default format'}")
    head, answers = engine.score((*_greedy(requests), *_drawn(requests)), options)
    greedy = {answer.id: answer for answer in answers if "/" not in answer.id}
    runs = []
    for numbers in healthy:
        progress(f"healthy run in {numbers}")
        _, others = engine.score(_greedy(requests), numbers.options(options))
        runs.append(_healthy_run(head.engine, numbers, greedy, others))
    patterns = []
    for defect in defects:
        progress(f"the defect {defect}")
        patterns.append(pattern_of(defect, _greedy(requests), options, greedy))
    return Golden(
        models=tuple(models),
        engine=head.engine,
        dtype=head.dtype,
        command=command,
        weights_sha256=head.weights_sha256,
        requests_sha256=requests.sha256,
        current_date=options.current_date,
        continuations={name: _continuation(answer) for name, answer in greedy.items()},
        drawn={name: _texts(name, answers) for name in requests.drawn},
        healthy=tuple(runs),
        tolerance=tolerance(runs),
        exact_tolerance=tolerance([run for run in runs if run.exact]),
        patterns=tuple(pattern for pattern in patterns if pattern is not None),
    )


def create_with_long(
    models: Sequence[str],
    options: EngineOptions,
    requests: Requests,
    long: Requests,
    progress: Progress,
    command: str,
) -> Golden:
    """A golden file with the answers to long prompts; see `create`.

    Long prompts are computed in fewer ways and without defects, which would take an hour.
    """
    golden = create(models, options, requests, progress, command)
    progress("long prompts")
    room = replace(options, max_context=LONG_CONTEXT)
    parts = create(models, room, long, progress, command, healthy=HEALTHY_LONG, defects=())
    return golden.model_copy(update={"long": parts})


def _greedy(requests: Requests) -> Sequence[Question]:
    return [Question(name, "chat", body) for name, body in requests.greedy.items()]


def _drawn(requests: Requests) -> Sequence[Question]:
    return [
        Question(f"{name}/{number}", "chat", {**body, "seed": seed})
        for at, (name, body) in enumerate(requests.drawn.items())
        for number, seed in enumerate(range(at * DRAWS, (at + 1) * DRAWS))
    ]


def _healthy_run(
    name: str, numbers: Numbers, golden: Mapping[str, Answer], others: Sequence[Answer]
) -> HealthyRun:
    each: list[Compared] = []
    gaps: list[float] = []
    for other in others:
        pairs = list(zip(golden[other.id].tokens, other.tokens, strict=False))
        end = next((at for at, (due, came) in enumerate(pairs) if due.id != came.id), None)
        if end is not None:
            gaps.append(_gap(*pairs[end]))
            pairs = pairs[: end + 1]
        each.append(compare([due for due, _ in pairs], [_entry(token) for _, token in pairs]))
    exact = not numbers.fp8_cache
    return healthy_run(name, str(numbers), exact=exact, replies=each, gaps=gaps)


def _entry(token: Token) -> Entry:
    return Entry(bytes_of(token.id), {bytes_of(each): value for each, value in token.top})


def _gap(golden: Token, other: Token) -> float:
    least = golden.top[-1][1]
    return golden.top[0][1] - dict(golden.top).get(other.id, least)


def _continuation(answer: Answer) -> Continuation:
    return Continuation(
        prompt_tokens=answer.prompt_tokens,
        ids=tuple(token.id for token in answer.tokens),
        parts="".join(_LETTERS[token.part] for token in answer.tokens),
        top=tuple(_flat(token) for token in answer.tokens),
    )


def _flat(token: Token) -> tuple[int, ...]:
    kept = token.top if token.part in RETURNED else token.top[:_HIDDEN_ALTERNATIVES]
    return tuple(number for each, value in kept for number in (each, round(value * MILLI)))


def _texts(name: str, answers: Sequence[Answer]) -> Drawn:
    samples = [answer for answer in answers if answer.id.startswith(f"{name}/")]
    texts = (drawn_text(_part(a, "reasoning"), _part(a, "answer")) for a in samples)
    return Drawn(prompt_tokens=samples[0].prompt_tokens, texts=tuple(texts))


def _part(answer: Answer, part: str) -> str:
    data = b"".join(bytes_of(token.id) for token in answer.tokens if token.part == part)
    return data.decode("utf-8", "replace")
