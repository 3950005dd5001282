"""Which replies the readings of a run accuse, by which rule, in words. No I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harmony.parse import FIRST_SPECIAL, HarmonyParser
from harmony.vocabulary import bytes_of
from harness.records.readings import (
    PromptFault,
    Reading,
    ReadReply,
    Rescored,
    SumOfReplies,
)
from harness.rescoring.judgement import OTHER_MODEL, Improbable, Judgement, judged
from harness.rescoring.log import ReadRun

_SHOWN = 40  # characters of a text before and after a place
_FOUR = 4
"""How many times as many large first gaps as small ones there must be for texts to be accused
beside another model: a model of 4 bits has one large gap for two small ones."""
_ODD = 3.0  # nats below the entropy: a place that speaks for another model
_PLACES = {"reasoning": "CoT", "answer": "answer", "preamble": "answer", "call": "arguments"}
_OF_NUMBERS = ("reference.model", "reference.sampling")


def accused(
    run: ReadRun, conditions: Mapping[str, str]
) -> tuple[Mapping[str, Sequence[ReadReply]], Rescored]:
    """Return the read replies by record, each with the rule that accuses it, and the figures.

    Args:
        run: What was read.
        conditions: The name of the condition of each record; those of others are left out.
    """
    readings = [reading for reading in run.readings if reading.record in conditions]
    by_condition = set(conditions.values())

    def part(reading: Reading) -> Iterable[str]:
        return (conditions[reading.record],) if len(by_condition) > 1 else ()

    whole = judged(readings, part)
    found: dict[tuple[str, int, int], ReadReply] = {}
    rest, judgement = readings, whole
    if run.cause is not None:
        explained = {*run.cause.replies}
        rest = [reading for reading in readings if reading.key not in explained]
        judgement = judged(rest, part)
        if not run.cause.allowed:
            found |= {key: _of_prompt(key, run.cause) for key in explained}
    if whole.enough:
        made = _accusations(judgement, rest, conditions)
        of_numbers = () if run.reader.judges_numbers else _OF_NUMBERS
        found |= {key: reply for key, reply in made.items() if reply.rule not in of_numbers}
    by_record: dict[str, list[ReadReply]] = defaultdict(list)
    for reading in readings:
        if reading.unread is None and whole.enough:
            numbers = run.reader.judges_numbers
            reply = found.get(reading.key, ReadReply(reading.exchange, numbers=numbers))
            by_record[reading.record].append(reply)
    return by_record, _figures(run, readings, whole, judgement)


def _accusations(
    judgement: Judgement, readings: Sequence[Reading], conditions: Mapping[str, str]
) -> dict[tuple[str, int, int], ReadReply]:
    found: dict[tuple[str, int, int], ReadReply] = {}
    if judgement.too_certain and not judgement.other_model:
        parts = {name for name, sums in judgement.sums.items() if sums.high < OTHER_MODEL}
        for reading in readings:
            if reading.open and parts & {"", conditions[reading.record]}:
                found[reading.key] = _varied(reading)
    if judgement.other_model:
        for each in judgement.deviating:
            found[each.reading.key] = _differs(each, "reference.model", _MODEL)
        parts = {name for name, sums in judgement.sums.items() if sums.low < OTHER_MODEL}
        for reading in readings:
            odd = (reading.unread is None and not reading.greedy) and _odd_place(reading)
            if odd is not None and odd is not False and parts & {"", conditions[reading.record]}:
                found[reading.key] = _differs(Improbable(reading, odd), "reference.model", _MODEL)
    damaged = len({(each.reading.prompt_sha256, each.reading.ids) for each in judgement.improbable})
    if not judgement.other_model or damaged >= _FOUR * len(judgement.deviating):
        for each in judgement.improbable:
            found[each.reading.key] = _differs(each, "reference.text", _TEXT)
    return found


_TEXT = "The model would not have written this text after its prompt."
_MODEL = "Replies differ from what the reference's weights write, a little and in many places."
_SAMPLING = "Replies are more predictable than sampling with the request's settings makes them."


def _of_prompt(key: tuple[str, int, int], cause: PromptFault) -> ReadReply:
    others = "".join(f" or {name}" for name in cause.indistinguishable)
    return ReadReply(
        key[1],
        "reference.prompt",
        message=f"The prompt is another one. {cause.description}",
        expected="replies that are probable after the prompt of the request",
        got=f"replies that are {cause.nats:.0f} nats more probable after the prompts of the known "
        f"defect {cause.fault}{others} (the next one: {cause.second:.0f} nats)",
    )


def _varied(reading: Reading) -> ReadReply:
    return ReadReply(
        reading.exchange,
        "reference.sampling",
        message=_SAMPLING,
        expected="tokens as varied as the distribution",
        got=f"{len(reading.open)} uncertain places with the most probable tokens",
    )


def _differs(each: Improbable, rule: str, message: str) -> ReadReply:
    reading, at = each.reading, each.token
    kind, before = _context(reading, at)
    got = b"".join(map(bytes_of, reading.ids[at : at + _SHOWN // 2])).decode("utf-8", "replace")
    wanted = bytes_of(reading.best[at]).decode("utf-8", "replace")
    after = f"after {before[-_SHOWN:]!r}" if before else "at its beginning"
    place = _PLACES.get(kind, "reply")
    return ReadReply(
        reading.exchange,
        rule,
        place=place,  # type: ignore[arg-type]
        message=message,
        expected=f"{after}: {wanted!r}, which is {reading.gaps[at]:.1f} nats more probable",
        got=got[:_SHOWN],
    )


def _context(reading: Reading, at: int) -> tuple[str, str]:
    """Return the kind of the message that a token belongs to, and its text before the token."""
    parser, text = HarmonyParser(), b""
    for token in reading.ids[:at]:
        before = parser.open
        parser.feed(token)
        text = b"" if parser.open is not before or parser.open is None else text
        if parser.open is not None and parser.open is before and token < FIRST_SPECIAL:
            text += bytes_of(token)
    return (parser.open.kind if parser.open else ""), text.decode("utf-8", "replace")


def _odd_place(reading: Reading) -> int | None:
    """Return the judged token of a sampled reply that speaks most for another model, if any."""
    odd = [
        at
        for at, (surprise, free) in enumerate(zip(reading.surprises, reading.judged, strict=True))
        if free and surprise > _ODD
    ]
    return max(odd, key=lambda at: reading.surprises[at]) if odd else None


def _figures(
    run: ReadRun, readings: Sequence[Reading], whole: Judgement, judgement: Judgement
) -> Rescored:
    return Rescored(
        reader=run.reader,
        read=whole.read,
        unread=dict(Counter(r.unread for r in readings if r.unread is not None).most_common()),
        tokens=sum(len(reading.ids) for reading in readings),
        improbable=len(judgement.improbable),
        greedy=judgement.greedy,
        deviating=len(judgement.deviating),
        sums=tuple(
            SumOfReplies(part=str(name), places=sums.places, low=sums.low, high=sums.high)
            for name, sums in judgement.sums.items()
        ),
        cause=run.cause,
        enough=whole.enough,
    )
