"""Create a golden file with the reference engine, and what it learns from healthy engines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harmony.render import Order
from harness.golden.content import (
    MILLI,
    Answers,
    Continuation,
    Drawn,
    Golden,
    Pattern,
    Requests,
    Respelled,
    Token,
    drawn_text,
    unspaced,
)
from harness.golden.tolerances import healthy_run, learned, marked, with_long
from harness.golden.trusted_engines import Engine, Question, ReferenceEngine, Server

DRAWS = 20
LONG_CONTEXT = 65_536  # tokens of the context in which the long prompts are answered
DEFECTS = tuple(
    """
    sinks-dropped sinks-of-other-heads window-one-too-long window-one-too-short
    window-on-odd-layers window-nowhere window-everywhere yarn-rounded yarn-missing
    router-softmax-over-all expert-of-another-token expert-bias-unweighted swiglu-without-clamp
    experts-in-int4 experts-in-tf32
    history-ends-with-return result-order-reversed user-named-human tools-before-instructions
    """.split()
)
"""Faults of the reference engine that leave a pattern, and that a public report names: faults of
the computation, and of prompts that keep their length."""
_MOST_ALTERNATIVES = 200
"""Alternatives at which a defect is computed; it may move a golden one far down."""
_BFLOAT16 = {"dtype": "bfloat16", "max_batch": 32, "residual": "float32"}
_ALL_BFLOAT16 = _BFLOAT16 | {"residual": "bfloat16"}
HEALTHY: Mapping[str, Mapping[str, Any]] = {
    "float32, batch 32": _BFLOAT16 | {"dtype": "float32"},
    "bfloat16, batch 1": _BFLOAT16 | {"max_batch": 1},
    "bfloat16, batch 8": _BFLOAT16 | {"max_batch": 8},
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
    engine: Engine,
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
    progress("golden answers")
    head, answers = engine.answers([*questions_of(requests), *_drawn(requests)])
    runs = {}
    for numbers, changes in healthy.items():
        progress(f"healthy run in {numbers}")
        runs[numbers] = engine.answers(questions_of(requests), changes)
    greedy = {name: answers[name] for name in requests.greedy}
    greedy = marked(greedy, [others for _, others in runs.values()])
    patterns = []
    for defect in defects:
        progress(f"the defect {defect}")
        patterns.append(pattern_of(defect, questions_of(requests), engine, greedy))
    progress("other orders of recipient and channel")
    orders = respelled(engine, requests, head.current_date, healthy, defects)
    return Golden(
        models=tuple(models),
        engine=head.engine,
        dtype=head.dtype,
        command=command,
        weights_sha256=head.weights_sha256,
        requests_sha256=requests.sha256,
        current_date=head.current_date,
        continuations=greedy,
        drawn={name: _texts(name, answers) for name in requests.drawn},
        patterns=tuple(pattern for pattern in patterns if pattern is not None),
        orders=orders,
        **learned([healthy_run(run[0], numbers, greedy, run[1]) for numbers, run in runs.items()]),
    )


def respelled(
    engine: Engine,
    requests: Requests,
    date: str | None,
    healthy: Mapping[str, Mapping[str, Any]] = HEALTHY,
    defects: Sequence[str] = DEFECTS,
) -> dict[Order, Respelled]:
    """Answer the prompts that are spelled differently in other orders of recipient and channel.

    Tokens that healthy configurations change most are marked, but the tolerances are not learned
    from these few prompts. `date` is that of the prompts.
    """
    orders: dict[Order, dict[str, Continuation]] = {}
    questions = _respelled(requests, date)
    if not questions:
        return {}
    _, answers = engine.answers(questions)
    runs = []
    for changes in healthy.values():
        at = _respelled(requests, changes.get("current_date", date))
        runs.append(engine.answers(at, changes)[1])
    greedy = marked(answers, runs)
    patterns = [pattern_of(defect, questions, engine, greedy) for defect in defects]
    for order, bodies in requests.respelled(date).items():
        names = {f"{order}/{name}": name for name in bodies}
        orders[order] = {name: greedy[id_] for id_, name in names.items()}
    return {
        order: Respelled(
            continuations=named,
            patterns=tuple(
                pattern.model_copy(
                    update={"changes": {e: pattern.changes[f"{order}/{e}"] for e in named}}
                )
                for pattern in patterns
                if pattern is not None
            ),
        )
        for order, named in orders.items()
    }


def _respelled(requests: Requests, date: str | None) -> Sequence[Question]:
    return [
        Question(f"{order}/{name}", "harmony", body)
        for order, bodies in requests.respelled(date).items()
        for name, body in bodies.items()
    ]


def create_all(
    models: Sequence[str],
    engine: ReferenceEngine,
    requests: Requests,
    long: Requests,
    progress: Progress,
    command: str,
) -> Golden:
    """Return a golden file also with dated prompts, unless all have a date, and with long ones.

    Long prompts are computed in fewer configurations and without defects.
    """
    golden = create(models, engine, requests, progress, command)
    if engine.current_date is None:
        progress("prompts with a date")
        on_day = replace(engine, current_date=_DATE)
        dated = create(models, on_day, requests, progress, command, healthy=HEALTHY_DATED)
        golden = golden.model_copy(update={"dated": dated})
    progress("long prompts")
    room = replace(engine, max_context=LONG_CONTEXT)
    parts = create(models, room, long, progress, command, healthy=HEALTHY_LONG, defects=())
    return with_long(golden, parts)


def record(
    models: Sequence[str], server: Server, requests: Requests, progress: Progress, command: str
) -> Golden:
    """Return a golden file of a trusted server's answers, without patterns of defects.

    `requests` are those of raw completions. The server answers the greedy ones twice, one by one
    and concurrently, because its numbers depend on the batch. Other healthy engines differ more:
    merge the file with theirs.
    """
    healthy = {server.numbers: {"at_once": len(requests.greedy)}}
    return create(models, server, requests, progress, command, healthy=healthy, defects=())


def questions_of(requests: Requests) -> Sequence[Question]:
    """Return the greedy requests of a golden file."""
    return [Question(name, requests.api, body) for name, body in requests.greedy.items()]


def _drawn(requests: Requests) -> Sequence[Question]:
    return [
        Question(f"{name}/{number}", requests.api, {**body, "seed": at * DRAWS + number})
        for at, (name, body) in enumerate(requests.drawn.items())
        for number in range(DRAWS)
    ]


def _texts(name: str, answers: Answers) -> Drawn:
    samples = [answers[f"{name}/{number}"] for number in range(DRAWS)]
    texts = (drawn_text(sample.text("reasoning"), sample.text("answer")) for sample in samples)
    return Drawn(prompt_tokens=samples[0].prompt_tokens, texts=tuple(texts))


def pattern_of(
    defect: str, greedy: Sequence[Question], engine: Engine, golden: Answers
) -> Pattern | None:
    """Return the pattern that a defect leaves in the golden answers; None if it changes nothing."""
    questions = [
        replace(question, completion=golden[question.id].ids, top=_MOST_ALTERNATIVES)
        for question in greedy
    ]
    head, answers = engine.answers(questions, {"fault": defect})
    changes = {name: _changes(golden[name], answer) for name, answer in answers.items()}
    if not any(change for tokens in changes.values() for token in tokens for change in token):
        return None
    _, own = engine.answers(greedy, {"fault": defect})
    said = {
        name: unspaced(answer.text("reasoning"), answer.text("answer"))
        for name, answer in own.items()
        if answer.ids != golden[name].ids
    }
    return Pattern(defect=defect, text=" ".join(head.faults), changes=changes, said=said)


def _changes(golden: Continuation, defective: Continuation) -> tuple[tuple[int | None, ...], ...]:
    pairs = zip(golden.tokens(), defective.tokens(), strict=True)
    return tuple(
        _moved(token, dict(other.top)) if token.comparable else () for token, other in pairs
    )


def _moved(token: Token, values: Mapping[int, float]) -> tuple[int | None, ...]:
    pairs = ((values.get(id_), value) for id_, value in token.top)
    return tuple(None if came is None else round((came - value) * MILLI) for came, value in pairs)
