"""Create a golden file with the reference engine, and what it learns from healthy engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harmony.vocabulary import bytes_of
from harness.golden import engine
from harness.golden.distance import LEAST_ALONE, Compared, Entry, compare, distance, tolerance
from harness.golden.engine import Answer, EngineOptions, Question, Requests
from harness.golden.records import (
    MILLI,
    PARTS,
    RETURNED,
    Continuation,
    Drawn,
    Golden,
    HealthyRun,
    Pattern,
    Token,
    drawn_text,
)

DRAWS = 20
LONG_CONTEXT = 32_768
"""Tokens of the context in which the long prompts are answered."""
_HIDDEN_ALTERNATIVES = 5
"""Stored alternatives of tokens whose logprobs most APIs do not return."""
_LETTERS = {part: letter for letter, part in PARTS.items()}
DEFECTS = (
    *("sinks-dropped", "sinks-of-other-heads"),
    *("window-one-too-long", "window-one-too-short"),
    *("window-on-odd-layers", "window-nowhere", "window-everywhere"),
    *("yarn-rounded", "yarn-absent", "concentration-missing"),
    *("router-bias-missing", "softmax-before-top-k", "expert-bias-unweighted"),
    *("swiglu-without-clamp", "norm-eps-wrong", "unembedding-fp8"),
    *("history-ends-with-return", "calls-end-with-end", "result-order-reversed"),
    *("user-named-human", "knowledge-cutoff-altered", "tools-before-instructions"),
)
"""Faults of the reference engine that leave a pattern: of the computation, and of prompts whose
length stays the same."""
_MOST_ALTERNATIVES = 200
"""Alternatives at which a defect is computed; it may move a golden one far down."""
_LEAST_CHANGE = 1
"""A pattern without a change of this many thousandths of a nat tells nothing."""


@dataclass(frozen=True)
class Numbers:
    """How a healthy engine computes: number formats, batch size, and whether keys and values are
    stored as 8-bit floats.
    """

    dtype: str
    batch: int = 32
    residual: str = "float32"
    fp8_cache: bool = False

    def __str__(self) -> str:
        parts = [self.dtype, f"batch {self.batch}"]
        parts += ["residual stream in bfloat16"] if self.residual == "bfloat16" else []
        parts += ["KV cache in fp8 (e4m3)"] if self.fp8_cache else []
        return ", ".join(parts)

    def options(self, given: EngineOptions) -> EngineOptions:
        """The engine's options."""
        fault = "kv-cache-fp8" if self.fp8_cache else None
        return replace(
            given, dtype=self.dtype, batch=self.batch, residual=self.residual, fault=fault
        )


HEALTHY = (
    Numbers("float32"),
    *(Numbers("bfloat16", batch) for batch in (1, 8, 32)),
    Numbers("bfloat16", residual="bfloat16"),
    Numbers("bfloat16", residual="bfloat16", fp8_cache=True),
)
"""Healthy ways to compute that providers use."""
HEALTHY_LONG = HEALTHY[-2:]
"""Those that differ most, for prompts whose computation takes long."""

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
        patterns.append(_pattern_of(defect, _greedy(requests), options, greedy))
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


def _pattern_of(
    defect: str,
    greedy: Sequence[Question],
    options: EngineOptions,
    golden: Mapping[str, Answer],
) -> Pattern | None:
    """The pattern that a defect leaves in the golden answers to requests; None if it leaves none.

    Raises:
        ConfigurationError: The engine failed.
    """
    questions = [
        replace(
            question,
            completion=tuple(token.id for token in golden[question.id].tokens),
            top=_MOST_ALTERNATIVES,
        )
        for question in greedy
    ]
    head, answers = engine.score(questions, replace(options, fault=defect))
    changes = {answer.id: _changes(golden[answer.id], answer) for answer in answers}
    largest = max(
        abs(change or 0) for tokens in changes.values() for token in tokens for change in token
    )
    if largest < _LEAST_CHANGE:
        return None
    return Pattern(defect=defect, text=" ".join(head.faults), changes=changes)


def _changes(golden: Answer, defective: Answer) -> tuple[tuple[int | None, ...], ...]:
    return tuple(
        _moved(token, dict(other.top)) if token.part in RETURNED else ()
        for token, other in zip(golden.tokens, defective.tokens, strict=True)
    )


def _moved(token: Token, values: Mapping[int, float]) -> tuple[int | None, ...]:
    found = ((values.get(each), value) for each, value in token.top)
    return tuple(None if came is None else round((came - value) * MILLI) for came, value in found)


def learn(golden: Golden, run: HealthyRun) -> Golden:
    """The golden file with another healthy run, whose deviation its tolerances then cover."""
    runs = (*golden.healthy, run)
    return golden.model_copy(
        update={
            "healthy": runs,
            "tolerance": tolerance(runs),
            "exact_tolerance": tolerance([each for each in runs if each.exact]),
        }
    )


def healthy_run(
    name: str, numbers: str, *, exact: bool, replies: Sequence[Compared], gaps: Sequence[float]
) -> HealthyRun:
    """The deviation of a healthy engine. `gaps` are those of the replies that diverge."""
    judged = [one for one in replies if len(one.differences) >= LEAST_ALONE]
    return HealthyRun(
        engine=name,
        numbers=numbers,
        exact=exact,
        distance=distance(sum(replies, Compared()), gaps),
        farthest=max((distance(one).p95 for one in judged), default=0.0),
    )
