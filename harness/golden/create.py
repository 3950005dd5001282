"""Create a golden file with the reference engine, and what it learns from healthy engines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harmony.vocabulary import bytes_of
from harness.golden import trusted_engines
from harness.golden.content import (
    MILLI,
    PARTS,
    RETURNED,
    Continuation,
    Drawn,
    Golden,
    Pattern,
    Token,
    drawn_text,
)
from harness.golden.tolerances import learned, marked, run_of, with_long
from harness.golden.trusted_engines import Answer, EngineOptions, Question, Requests, Server

DRAWS = 20
_DRAWN_AT_ONCE = 16
LONG_CONTEXT = 65_536  # tokens of the context in which the long prompts are answered
_HIDDEN_ALTERNATIVES = 5  # stored alternatives of tokens whose logprobs most APIs do not return
_LETTERS = {part: letter for letter, part in PARTS.items()}
DEFECTS = tuple(
    """
    sinks-dropped sinks-of-other-heads window-one-too-long window-one-too-short
    window-on-odd-layers window-nowhere window-everywhere yarn-rounded yarn-absent
    concentration-missing router-bias-missing softmax-before-top-k expert-bias-unweighted
    swiglu-without-clamp norm-eps-wrong unembedding-fp8 history-ends-with-return
    calls-end-with-end result-order-reversed user-named-human knowledge-cutoff-altered
    tools-before-instructions
    """.split()
)
"""Faults of the reference engine that leave a pattern: faults of the computation, and of prompts
that keep their length."""
_MOST_ALTERNATIVES = 200
"""Alternatives at which a defect is computed; it may move a golden one far down."""
_BFLOAT16 = {"dtype": "bfloat16", "batch": 32, "residual": "float32"}
_ALL_BFLOAT16 = _BFLOAT16 | {"residual": "bfloat16"}
HEALTHY: Mapping[str, Mapping[str, Any]] = {
    "float32, batch 32": _BFLOAT16 | {"dtype": "float32"},
    "bfloat16, batch 1": _BFLOAT16 | {"batch": 1},
    "bfloat16, batch 8": _BFLOAT16 | {"batch": 8},
    "bfloat16, batch 32": _BFLOAT16,
    "bfloat16, batch 32, residual stream in bfloat16": _ALL_BFLOAT16,
    "bfloat16, batch 32, residual stream in bfloat16, KV cache in fp8 (e4m3)": _ALL_BFLOAT16
    | {"fault": "kv-cache-fp8"},
}
"""Healthy numeric configurations that providers use, as options of the engine."""
_DATE = "2026-06-15"
_OTHER_DATES = ("2025-08-05", "2025-12-31", "2026-06-16", "2026-11-23", "2027-01-01", "2029-12-31")
HEALTHY_DATED: Mapping[str, Mapping[str, Any]] = {
    f"{numbers}, {date}": {**changes, "current_date": date}
    for (numbers, changes), date in zip(HEALTHY.items(), _OTHER_DATES, strict=True)
}
"""The same on other days: many servers write the current date into the prompt."""
HEALTHY_LONG = dict(list(HEALTHY.items())[-2:])
"""The two that differ most, for prompts that take long to compute."""

Progress = Callable[[str], None]


def create(
    models: Sequence[str],
    options: EngineOptions,
    requests: Requests,
    progress: Progress,
    command: str,
    *,
    healthy: Mapping[str, Mapping[str, Any]] = HEALTHY,
    defects: Sequence[str] = DEFECTS,
) -> Golden:
    """Answer all requests, once for the golden answers and once per healthy configuration.

    The tolerances are learned from these runs. Then each of the `defects` scores the golden
    answers. `models` are the names under which providers serve the model, `command` is recorded.
    """
    progress(f"golden answers in {options.dtype or 'the default format'}")
    head, answers = trusted_engines.score((*_greedy(requests), *_drawn(requests)), options)
    greedy = {answer.id: answer for answer in answers if "/" not in answer.id}
    healthy_answers = {}
    for numbers, changes in healthy.items():
        progress(f"healthy run in {numbers}")
        _, healthy_answers[numbers] = trusted_engines.score(
            _greedy(requests), replace(options, **changes)
        )
    greedy = marked(greedy, healthy_answers.values())
    runs = [
        run_of(head.engine, numbers, greedy, others, exact="fault" not in healthy[numbers])
        for numbers, others in healthy_answers.items()
    ]
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
        patterns=tuple(pattern for pattern in patterns if pattern is not None),
        **_answered(requests, greedy, answers),
        **learned(runs),
    )


def create_all(
    models: Sequence[str],
    options: EngineOptions,
    requests: Requests,
    long: Requests,
    progress: Progress,
    command: str,
) -> Golden:
    """Return a golden file also with dated prompts, unless all have a date, and with long ones.

    Long prompts are computed in fewer configurations and without defects.
    """
    golden = create(models, options, requests, progress, command)
    if options.current_date is None:
        progress("prompts with a date")
        on_day = replace(options, current_date=_DATE)
        dated = create(models, on_day, requests, progress, command, healthy=HEALTHY_DATED)
        golden = golden.model_copy(update={"dated": dated})
    progress("long prompts")
    room = replace(options, max_context=LONG_CONTEXT)
    parts = create(models, room, long, progress, command, healthy=HEALTHY_LONG, defects=())
    return with_long(golden, parts)


def record(
    models: Sequence[str],
    server: Server,
    requests: Requests,
    sha256: str,
    progress: Progress,
    command: str,
) -> Golden:
    """Return a golden file of a trusted server's answers, without patterns of defects.

    `requests` are those of raw completions, `sha256` identifies them. The server answers the greedy
    ones twice, one by one and concurrently, because its numbers depend on the batch. Other
    healthy engines differ more: `merge` the file with theirs.
    """
    progress("golden answers, one request at a time")
    greedy = {answer.id: answer for answer in server.answers(_greedy(requests), at_once=1)}
    progress("the same requests, concurrently")
    again = server.answers(_greedy(requests), at_once=len(requests.greedy))
    drawn = server.answers(_drawn(requests), at_once=_DRAWN_AT_ONCE)
    greedy = marked(greedy, [again])
    run = run_of(server.engine, server.numbers, greedy, again, exact=server.exact)
    return Golden(
        models=tuple(models),
        engine=server.engine,
        dtype=server.numbers,
        command=command,
        weights_sha256="",
        requests_sha256=sha256,
        current_date=None,
        patterns=(),
        **_answered(requests, greedy, drawn),
        **learned([run]),
    )


def _greedy(requests: Requests) -> Sequence[Question]:
    return [Question(name, requests.api, body) for name, body in requests.greedy.items()]


def _drawn(requests: Requests) -> Sequence[Question]:
    return [
        Question(f"{name}/{number}", requests.api, {**body, "seed": seed})
        for at, (name, body) in enumerate(requests.drawn.items())
        for number, seed in enumerate(range(at * DRAWS, (at + 1) * DRAWS))
    ]


def _answered(
    requests: Requests, greedy: Mapping[str, Answer], drawn: Sequence[Answer]
) -> dict[str, Any]:
    return {
        "continuations": {name: _continuation(answer) for name, answer in greedy.items()},
        "drawn": {name: _texts(name, drawn) for name in requests.drawn},
    }


def _continuation(answer: Answer) -> Continuation:
    return Continuation(
        prompt_tokens=answer.prompt_tokens,
        ids=tuple(token.id for token in answer.tokens),
        parts="".join(_LETTERS[token.part] for token in answer.tokens),
        top=tuple(_flat(token) for token in answer.tokens),
        unsteady=tuple(at for at, token in enumerate(answer.tokens) if not token.steady),
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
    """Return the pattern that a defect leaves in the golden answers; None if it changes nothing."""
    questions = [
        replace(
            question,
            completion=tuple(token.id for token in golden[question.id].tokens),
            top=_MOST_ALTERNATIVES,
        )
        for question in greedy
    ]
    head, answers = trusted_engines.score(questions, replace(options, fault=defect))
    changes = {answer.id: _changes(golden[answer.id], answer) for answer in answers}
    if not any(change for tokens in changes.values() for token in tokens for change in token):
        return None
    return Pattern(defect=defect, text=" ".join(head.faults), changes=changes)


def _changes(golden: Answer, defective: Answer) -> tuple[tuple[int | None, ...], ...]:
    return tuple(
        _moved(token, dict(other.top)) if token.steady and token.part in RETURNED else ()
        for token, other in zip(golden.tokens, defective.tokens, strict=True)
    )


def _moved(token: Token, values: Mapping[int, float]) -> tuple[int | None, ...]:
    found = ((values.get(each), value) for each, value in token.top)
    return tuple(None if came is None else round((came - value) * MILLI) for came, value in found)
