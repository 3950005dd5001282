"""The replies of a run are read by a model or a witness, into `rescored.jsonl`."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gpt_oss_verify.screen import say, stderr
from gpt_oss_verify.witness import witness
from harmony.conversation import texts_of
from harmony.parse import parse_completion
from harmony.render import OTHER_ORDERS, Order, RenderError, tokens_sha256
from harmony.spelling import canonical
from harness.api.parsed_rollout import parse_rollout
from harness.errors import ConfigurationError
from harness.records.readings import PromptFault, ReaderInfo, Reading, Unread
from harness.records.runs import RunInfo
from harness.rescoring.history import History
from harness.rescoring.judgement import judged
from harness.rescoring.log import RescoredLog, read_readings
from harness.rescoring.prompt_faults import AHEAD, Hypothesis, decide, ratio
from harness.rescoring.questions import Question, questions_of
from harness.run.run_log import read_rollouts
from reference_engine.errors import SetupError
from reference_engine.faults.fault import Fault
from reference_engine.prescribed_replies import prescribed_reply
from reference_engine.rescoring.prompts import Rendering, hypotheses, prompt_of
from reference_engine.rescoring.reading import Passage, Reader, ReadToken
from reference_engine.rescoring.search import Sample, most_probable
from reference_engine.rescoring.tree import TreeReader
from reference_engine.scoring import identity
from reference_engine.server.serve import load
from reference_engine.server.settings import ServeSettings

if TYPE_CHECKING:
    from gpt_oss_verify.rescore import ReaderOptions

_AT_ONCE = 256  # distinct replies that are read and then written
_LOOKED_AT, _TRIED = 400, 8  # replies among which those are sought with which a form is chosen
_DECIMALS = 4  # of logprobs in the file
_LONGEST_REASON = 200  # characters
_SURELY = 10.0  # nats by which another rendering must be better


def read_run(run: Path, info: RunInfo, options: "ReaderOptions", causes: str) -> None:
    """Read the replies of a run that were not read yet, and look for a cause.

    Raises ConfigurationError and RunLogError.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        _read_run(run, info, options, causes)
    except SetupError as error:
        raise ConfigurationError(str(error)) from error


def _read_run(run: Path, info: RunInfo, options: "ReaderOptions", causes: str) -> None:
    questions = list(_questions(run))
    readable = [question for question in questions if question.unread is None]
    if not readable:
        raise ConfigurationError(
            f"{run} has no reply that could be read; see which with: gpt-oss-verify recheck {run}"
        )
    reader, described = _opened(options, info)
    before = read_readings(run)
    if before is None:
        rendering = _rendering(reader, readable)
    else:
        rendering = Rendering(before.reader.dated, before.reader.order)
    described = described.model_copy(update={"dated": rendering.dated, "order": rendering.order})
    with RescoredLog(run, described) as log:
        left = [question for question in questions if question.key not in log.done]
        with _progress("reading replies", len(left)) as advance:
            for part, readings in read_questions(reader, rendering, left):
                log.append(readings)
                advance(part)
        kept = read_readings(run)
        assert kept is not None
        found = judged(kept.readings)
        wanted = causes == "all" or (causes == "auto" and found.suspicious)
        if wanted and kept.cause is None:
            evidence = found.evidence(kept.readings, whole=causes == "all")
            cause = cause_of(reader, rendering, readable, evidence)
            if cause is not None:
                odd = [each.reading for each in (*found.improbable, *found.deviating)]
                log.append_cause(_with_explained(reader, rendering, readable, odd, cause))


def _questions(run: Path) -> Iterator[Question]:
    history = History()
    for rollout in read_rollouts(run):
        yield from questions_of(parse_rollout(rollout), history)


def _opened(options: "ReaderOptions", info: RunInfo) -> tuple[Reader, ReaderInfo]:
    """Return who reads, and its description. Raises SetupError and ConfigurationError."""
    if options.witness is not None:
        return witness(options, info)
    settings = ServeSettings(device=options.device, dtype=options.dtype, threads=options.threads)
    if options.checkpoint is not None:
        settings = replace(settings, checkpoint=options.checkpoint)
    model = load(settings)
    described = ReaderInfo(
        name=f"gpt-oss-verify {version('gpt-oss-verify')}, PyTorch {torch.__version__}",
        model=settings.checkpoint.name if options.checkpoint else "gpt-oss-small",
        weights=identity(settings.checkpoint),
        dtype=str(model.embedding.weight.dtype).removeprefix("torch."),
    )
    return TreeReader(model), described


def read_questions(
    reader: Reader, rendering: Rendering, questions: Sequence[Question]
) -> Iterator[tuple[int, list[Reading]]]:
    """Yield the readings of the questions in parts, each with its number of questions."""
    samples: dict[Sample, list[Question]] = defaultdict(list)
    unread: list[Reading] = []
    for question in questions:
        if question.unread is not None:
            unread.append(_blank(question))
            continue
        try:
            sample = _sample(question, rendering)
            if _is_prescribed(sample):
                unread.append(_blank(question, "prescribed"))
            else:
                samples[sample].append(question)
        except RenderError as error:
            unread.append(_blank(question, "unrenderable", str(error)))
    yield len(unread), unread
    order = sorted(samples, key=lambda sample: sample.prompt)
    for at in range(0, len(order), _AT_ONCE):
        part = order[at : at + _AT_ONCE]
        readings = []
        for sample, read in zip(part, most_probable(reader, part), strict=True):
            for question in samples[sample]:
                if isinstance(read, str):
                    readings.append(_blank(question, "refused_by_reader", read))
                else:
                    free = [place.judged for place in read.spelling.places]
                    ids = read.spelling.ids
                    readings.append(reading_of(question, sample.prompt, ids, free, read.tokens))
        yield len(readings), readings


def _sample(question: Question, rendering: Rendering, fault: Fault | None = None) -> Sample:
    prompt = prompt_of(question.api, question.body, rendering, question.date, fault)
    if prompt is None:
        raise RenderError("The request is refused.")
    return Sample(prompt, question.reply, question.temperature, question.top_p)


def _is_prescribed(sample: Sample) -> bool:
    """Whether a reply is one that the reference server gives instead of its model."""
    reply = prescribed_reply(sample.prompt)
    if reply is None:
        return False
    written = "".join(message.text for message in sample.reply.messages)
    return "".join(texts_of(item)[-1] for item in parse_completion(reply).items).startswith(written)


def _blank(question: Question, unread: Unread | None = None, why: str = "") -> Reading:
    record, exchange, choice = question.key
    return Reading(
        record=record,
        exchange=exchange,
        choice=choice,
        unread=unread or question.unread,
        why=why[:_LONGEST_REASON],
    )


def reading_of(
    question: Question,
    prompt: Sequence[int],
    ids: Sequence[int],
    free: Sequence[bool],
    tokens: Sequence[ReadToken],
) -> Reading:
    """Return the record of a reply that was read as these tokens; `free` are those to judge."""

    def rounded(values: Iterable[float]) -> tuple[float, ...]:
        return tuple(round(value, _DECIMALS) for value in values)

    record, exchange, choice = question.key
    return Reading(
        record=record,
        exchange=exchange,
        choice=choice,
        prompt_tokens=len(prompt),
        prompt_sha256=tokens_sha256(prompt),
        temperature=question.temperature,
        seeded=question.body.get("seed") is not None,
        ids=tuple(ids),
        best=tuple(token.best for token in tokens),
        logprobs=rounded(token.logprob for token in tokens),
        gaps=rounded(token.gap for token in tokens),
        surprises=rounded(token.surprise for token in tokens),
        judged=tuple(free),
        open=tuple(
            (round(token.own, _DECIMALS), rounded(token.probable))
            for token, judged in zip(tokens, free, strict=True)
            if token.probable and judged
        ),
    )


def _rendering(reader: Reader, questions: Sequence[Question]) -> Rendering:
    """Return how the provider renders prompts: the usual way, unless its replies say otherwise."""
    orders: Sequence[Order] = ("before", *OTHER_ORDERS)
    dated = _likeliest(reader, questions, [Rendering(), Rendering(dated=True)])
    return _likeliest(reader, questions, [replace(dated, order=order) for order in orders])


def _likeliest(
    reader: Reader, questions: Sequence[Question], forms: Sequence[Rendering]
) -> Rendering:
    """Return the form after which replies are most probable, the first one if none surely is."""
    samples: list[list[Sample]] = []
    for question in questions[:: max(1, len(questions) // _LOOKED_AT)]:
        try:
            made = [_sample(question, form) for form in forms]
        except RenderError:
            continue
        if len({sample.prompt for sample in made}) > 1 and made not in samples:
            samples.append(made)
    spelled = [
        (sample, canonical(sample.reply).ids) for made in samples[:_TRIED] for sample in made
    ]
    passages = [Passage(sample.prompt, ids) for sample, ids in spelled]
    logprobs = [
        sum(token.logprob for token in tokens) if not isinstance(tokens, str) else 0.0
        for tokens in reader.read(passages, lambda *_: ())
    ]
    totals = [sum(logprobs[at :: len(forms)]) for at in range(len(forms))]
    best = max(range(len(forms)), key=lambda at: totals[at])
    return forms[best] if totals[best] > totals[0] + _SURELY else forms[0]


def cause_of(
    reader: Reader,
    rendering: Rendering,
    questions: Sequence[Question],
    evidence: Sequence[Reading],
) -> PromptFault | None:
    """Return the known fault of prompts that explains these readings, or None."""
    asked = {question.key: question for question in questions}
    faults = {fault.name: fault for fault in hypotheses()}
    tried: dict[str, dict[tuple[str, int, int], Reading]] = defaultdict(dict)
    with _progress("comparing with known faults", len(evidence)) as advance:
        for right in evidence:
            question = asked[right.key]
            by_sample = _samples(question, rendering, faults, right)
            passages = [
                Passage(sample.prompt, right.ids, sample.temperature, sample.top_p)
                for sample in by_sample
            ]
            read = reader.read(passages, lambda *_: ())
            for (sample, names), tokens in zip(by_sample.items(), read, strict=True):
                if not isinstance(tokens, str):
                    after = reading_of(question, sample.prompt, right.ids, right.judged, tokens)
                    tried |= {name: tried[name] | {right.key: after} for name in names}
            advance(1)
    return decide(
        {reading.key: reading for reading in evidence},
        [
            Hypothesis(name, faults[name].description, faults[name].allowed, readings)
            for name, readings in tried.items()
        ],
    )


def _with_explained(
    reader: Reader,
    rendering: Rendering,
    questions: Sequence[Question],
    odd: Sequence[Reading],
    cause: PromptFault,
) -> PromptFault:
    """Return a cause with all odd replies that it explains, not only those that showed it."""
    asked = {question.key: question for question in questions}
    fault = next(fault for fault in hypotheses() if fault.name == cause.fault)
    explained = {*cause.replies}
    for right in odd:
        question = asked[right.key]
        try:
            sample = _sample(question, rendering, fault)
        except RenderError:
            continue
        passage = Passage(sample.prompt, right.ids, sample.temperature, sample.top_p)
        tokens = reader.read([passage], lambda *_: ())[0]
        if not isinstance(tokens, str):
            after = reading_of(question, sample.prompt, right.ids, right.judged, tokens)
            if ratio(right, after) > AHEAD:
                explained.add(right.key)
    return cause.model_copy(update={"replies": tuple(sorted(explained))})


def _samples(
    question: Question, rendering: Rendering, faults: Mapping[str, Fault], right: Reading
) -> Mapping[Sample, list[str]]:
    """Return the samples that faults make of a question, with their names, but the right one."""
    made: dict[Sample, list[str]] = defaultdict(list)
    for name, fault in faults.items():
        try:
            sample = _sample(question, rendering, fault)
        except RenderError:
            continue
        if tokens_sha256(sample.prompt) != right.prompt_sha256:
            made[sample].append(name)
    return made


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far something is; yield a function that adds to it."""
    console = stderr()
    if not console.is_terminal:
        say(f"{what}: {total}")
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
