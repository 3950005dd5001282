"""Create a golden file with the reference engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

from harness.golden import engine
from harness.golden.distance import LEAST_ALONE, Compared, Entry, compare, distance, tolerance
from harness.golden.engine import Answer, EngineOptions, Question, Requests
from harness.golden.records import (
    MILLI,
    PARTS,
    Continuation,
    Drawn,
    Golden,
    HealthyRun,
    Token,
    drawn_text,
)
from harness.golden.tokens import bytes_of

DRAWS = 20
_HIDDEN_ALTERNATIVES = 5
"""Stored alternatives of tokens whose logprobs most APIs do not return."""
_RETURNED = frozenset({"answer"})
_LETTERS = {part: letter for letter, part in PARTS.items()}

Runs = Sequence[tuple[str, int]]
"""Healthy engines: number format and batch size."""
HEALTHY: Runs = (("float32", 32), ("bfloat16", 1), ("bfloat16", 8), ("bfloat16", 32))

Progress = Callable[[str], None]


def create(
    models: Sequence[str],
    options: EngineOptions,
    requests: Requests,
    progress: Progress,
    healthy: Runs = HEALTHY,
) -> Golden:
    """Answer all requests, once for the golden answers and once per healthy run.

    The tolerance is learned from the healthy runs. `models` are the names under which providers
    serve the model.

    Raises:
        ConfigurationError: The engine failed.
    """
    progress(f"golden answers in {options.dtype or 'the default format'}")
    head, answers = engine.score((*_greedy(requests), *_drawn(requests)), options)
    greedy = {answer.id: answer for answer in answers if "/" not in answer.id}
    runs = []
    for dtype, batch in healthy:
        progress(f"healthy run in {dtype}, batch size {batch}")
        _, others = engine.score(_greedy(requests), replace(options, dtype=dtype, batch=batch))
        runs.append(_healthy_run(dtype, batch, greedy, others))
    return Golden(
        models=tuple(models),
        weights_sha256=head.weights_sha256,
        requests_sha256=requests.sha256,
        tool_version=version("gpt-oss-verify"),
        dtype=head.dtype,
        current_date=options.current_date,
        continuations={name: _continuation(answer) for name, answer in greedy.items()},
        drawn={name: _texts(name, answers) for name in requests.drawn},
        healthy=tuple(runs),
        tolerance=tolerance(runs),
    )


def _greedy(requests: Requests) -> Sequence[Question]:
    return [Question(name, "chat", body) for name, body in requests.greedy.items()]


def _drawn(requests: Requests) -> Sequence[Question]:
    return [
        Question(f"{name}/{number}", "chat", {**body, "seed": seed})
        for at, (name, body) in enumerate(requests.drawn.items())
        for number, seed in enumerate(range(at * DRAWS, (at + 1) * DRAWS))
    ]


def _healthy_run(
    dtype: str, batch: int, golden: Mapping[str, Answer], others: Sequence[Answer]
) -> HealthyRun:
    each: list[Compared] = []
    gaps: list[float] = []
    for other in others:
        pairs = list(zip(golden[other.id].tokens, other.tokens, strict=False))
        shown = [pair for pair in pairs if pair[0].part in _RETURNED]
        each.append(
            compare([expected for expected, _ in shown], [_entry(token) for _, token in shown])
        )
        first = next((pair for pair in pairs if pair[0].id != pair[1].id), None)
        if first is not None:
            gaps.append(_gap(*first))
    judged = [one for one in each if len(one.differences) >= LEAST_ALONE]
    return HealthyRun(
        dtype=dtype,
        batch=batch,
        distance=distance(sum(each, Compared()), gaps),
        farthest=max((distance(one).p95 for one in judged), default=0.0),
    )


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
    kept = token.top if token.part in _RETURNED else token.top[:_HIDDEN_ALTERNATIVES]
    return tuple(number for each, value in kept for number in (each, round(value * MILLI)))


def _texts(name: str, answers: Sequence[Answer]) -> Drawn:
    samples = [answer for answer in answers if answer.id.startswith(f"{name}/")]
    texts = (drawn_text(_part(a, "reasoning"), _part(a, "answer")) for a in samples)
    return Drawn(prompt_tokens=samples[0].prompt_tokens, texts=tuple(texts))


def _part(answer: Answer, part: str) -> str:
    data = b"".join(bytes_of(token.id) for token in answer.tokens if token.part == part)
    return data.decode("utf-8", "replace")
